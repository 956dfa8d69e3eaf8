"""Noise belongs to the document; what is drawn follows the weights."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.select.budget import top_k
from curate.select.noise import gumbel, hashes, id_words, numbers, uniform
from curate.select.sampling import drawn_copies, gumbel_keys, moments
from tests.curate.select.made import ids


def test_an_id_has_its_noise_wherever_it_stands() -> None:
    names = ids(1000)
    order = np.random.default_rng(0).permutation(1000)
    assert (uniform(names.take(pa.array(order)), 3, "x") == uniform(names, 3, "x")[order]).all()


def test_seed_and_purpose_give_unrelated_noise() -> None:
    names = ids(4000)
    base = uniform(names, 0, "a")
    for other in (uniform(names, 1, "a"), uniform(names, 0, "b")):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.06
    assert len(set(hashes(names, 0, "a").tolist())) == 4000


def test_noise_is_uniform_and_gumbel() -> None:
    u = uniform(ids(20_000), 0, "u")
    assert u.min() > 0 and u.max() < 1
    assert np.abs(np.sort(u) - (np.arange(20_000) + 0.5) / 20_000).max() < 0.014  # Kolmogorov, p < 0.001
    g = gumbel(ids(20_000), 0, "g")
    assert g.mean() == pytest.approx(0.5772, abs=0.04)
    assert g.var() == pytest.approx(np.pi**2 / 6, abs=0.09)


def test_ids_sort_like_their_numbers() -> None:
    names = ids(500)
    high, low = id_words(names)
    by_number = sorted(range(500), key=lambda i: (int(high[i]), int(low[i])))
    assert by_number == sorted(range(500), key=lambda i: names[i].as_py())
    assert f"{int(high[7]):016x}{int(low[7]):016x}" == names[7].as_py()


@pytest.mark.parametrize("wrong", ["abc", "Z" * 32, "A" * 32])
def test_other_ids_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="32 hex digits"):
        id_words(pa.array([wrong]))


def test_temperature_nought_is_top_k_and_a_large_one_is_a_uniform_sample() -> None:
    names, scores = ids(2000), np.random.default_rng(2).normal(size=2000)
    ones = np.ones(2000, np.int64)
    best = top_k(scores, ones, names, 200)
    cold = top_k(gumbel_keys(scores, names, temperature=0, seed=0), ones, names, 200)
    cool = top_k(gumbel_keys(scores, names, temperature=1e-6, seed=0), ones, names, 200)
    hot = top_k(gumbel_keys(scores, names, temperature=1e6, seed=0), ones, names, 200)
    assert (cold == best).all() and (cool == best).all()
    assert abs(scores[hot].mean()) < 4 / np.sqrt(200)
    assert scores[top_k(gumbel_keys(scores, names, temperature=2, seed=0), ones, names, 200)].mean() > 0.2


def test_a_document_is_drawn_in_proportion_to_the_exponential_of_its_score() -> None:
    scores = np.log(np.array([1.0, 2.0, 5.0]))
    names, ones = ids(3), np.ones(3, np.int64)
    first = [int(np.argmax(gumbel_keys(scores, names, temperature=1, seed=s))) for s in range(4000)]
    assert np.bincount(first) / 4000 == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.03)
    two = sum(top_k(gumbel_keys(scores, names, temperature=1, seed=s), ones, names, 2) for s in range(4000)) / 4000
    # without replacement: P(i in the first two) by hand
    p = np.array([1, 2, 5]) / 8
    wanted = [p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(3) if j != i) for i in range(3)]
    assert two == pytest.approx(wanted, abs=0.03)


def test_normalising_takes_mean_and_deviation_out() -> None:
    names, scores = ids(50), np.random.default_rng(3).normal(100, 7, 50)
    mean, deviation = moments(scores)
    assert (mean, deviation) == (pytest.approx(scores.mean()), pytest.approx(scores.std()))
    keys = gumbel_keys(scores, names, temperature=2, seed=1, mean=mean, deviation=deviation)
    assert keys - gumbel(names, 1, "gumbel") == pytest.approx((scores - mean) / deviation / 2)
    assert np.isfinite(gumbel_keys(np.full(50, 3.0), names, temperature=2, seed=1, mean=3, deviation=0)).all()


def test_without_a_score_there_is_no_key() -> None:
    keys = gumbel_keys(np.array([np.nan, 1.0]), ids(2), temperature=1, seed=0)
    assert np.isnan(keys[0]) and np.isfinite(keys[1])
    assert moments(np.array([np.nan])) == (0.0, 0.0)
    assert np.isnan(numbers(pa.array([None, float("inf"), float("nan")], pa.float64()))).all()
    assert numbers(pa.array([True, None, False])).tolist()[::2] == [1.0, 0.0]


def test_copies_are_the_expected_number_on_average() -> None:
    names = ids(20_000)
    found = drawn_copies(np.full(20_000, 1.3), names, seed=0)
    assert set(found.tolist()) == {1, 2}
    assert found.mean() == pytest.approx(1.3, abs=0.01)
    assert drawn_copies(np.array([0.0, 2.0, np.nan]), ids(3), seed=0).tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match="negative"):
        drawn_copies(np.array([-0.1]), ids(1), seed=0)
