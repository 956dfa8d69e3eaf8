"""Bradley-Terry: known values, known rankings from noisy pairs, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from classifiers.bradley_terry import agreement, bradley_terry, bradley_terry_of
from curate.errors import ConfigError


def test_two_items_stand_apart_by_the_log_odds() -> None:
    fit = bradley_terry([0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1], penalty=1e-9)
    assert fit.scores[0] - fit.scores[1] == pytest.approx(np.log(3), abs=1e-6)
    assert fit.scores.sum() == pytest.approx(0)
    # the variance of a log-odds from n judgements is 1 / (n p q); half the gap has half its error
    assert fit.errors[0] == pytest.approx(0.5 * np.sqrt(1 / (4 * 0.75 * 0.25)), abs=1e-4)


def test_a_tie_is_half_a_win_for_either_side() -> None:
    tied = bradley_terry([0, 0, 1], [1, 1, 2], [0.5, 1, 0.5])
    halves = bradley_terry([0, 0, 0, 1, 1], [1, 1, 1, 2, 2], [1, 0, 1, 1, 0], weight=[0.5, 0.5, 1, 0.5, 0.5])
    assert np.allclose(tied.scores, halves.scores)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(5, 30))
def test_a_known_ranking_is_found_in_noisy_pairs(seed: int, items: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.linspace(-2.5, 2.5, items)
    a = rng.integers(0, items, 400 * items)
    b = (a + rng.integers(1, items, len(a))) % items
    won = rng.random(len(a)) < 1 / (1 + np.exp(truth[b] - truth[a]))
    fit = bradley_terry(a, b, won, items=items)
    assert spearmanr(fit.scores, truth)[0] > 0.97
    assert np.abs(fit.scores - truth).max() < 6 * fit.errors.max()
    assert fit.components == 1


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0])), min_size=1),
    st.randoms(),
)
def test_order_and_direction_of_pairs_do_not_matter(pairs: list[tuple[int, int, float]], random: object) -> None:
    pairs = [p for p in pairs if p[0] != p[1]]
    turned = [(b, a, 1 - s) for a, b, s in pairs]
    random.shuffle(turned)  # type: ignore[attr-defined]
    one, two = (bradley_terry(*np.array(p, float).reshape(-1, 3).T, items=6) for p in (pairs, turned))
    assert np.allclose(one.scores, two.scores, atol=1e-7)
    assert (one.component == two.component).all()


def test_the_gradient_is_zero_at_the_scores() -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 40, 300)
    b = (a + rng.integers(1, 40, 300)) % 40
    share = rng.random(300)
    fit = bradley_terry(a, b, share, items=40, penalty=0.3)
    pull = 1 / (1 + np.exp(fit.scores[b] - fit.scores[a])) - share
    gradient = np.bincount(a, pull, 40) - np.bincount(b, pull, 40) + 0.3 * fit.scores
    assert np.abs(gradient).max() < 1e-6


def test_many_items_give_the_scores_that_few_would(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 60, 900)
    b = (a + rng.integers(1, 60, 900)) % 60
    won = rng.integers(0, 2, 900)
    direct = bradley_terry(a, b, won)
    monkeypatch.setattr("classifiers.bradley_terry.DIRECT", 10)
    iterative = bradley_terry(a, b, won)
    assert np.allclose(direct.scores, iterative.scores, atol=1e-6)
    assert np.isnan(iterative.errors).all()


def test_items_that_nothing_joins_are_told_apart() -> None:
    fit = bradley_terry([0, 1, 3], [1, 0, 4], [1, 1, 1], items=6)
    assert fit.component.tolist() == [0, 0, 1, 2, 2, 3]
    assert fit.components == 4
    assert fit.compared.tolist() == [2, 2, 0, 1, 1, 0]
    assert fit.scores[[2, 5]].tolist() == [0, 0]
    assert fit.scores[3] > 0 > fit.scores[4]


def test_who_never_lost_is_held_by_the_prior_alone() -> None:
    fit = bradley_terry([0, 0, 1, 2], [1, 2, 2, 1], [1, 1, 1, 1])
    assert fit.unbounded.tolist() == [True, False, False]
    assert np.isfinite(fit.scores).all()
    assert fit.errors[0] > fit.errors[1]


def test_names_and_winners_as_a_table_has_them() -> None:
    names, fit = bradley_terry_of(["x", "y", "z"], ["y", "z", "x"], ["A", "Tie", 0.25])
    assert names == ["x", "y", "z"]
    assert np.argmax(fit.scores) == 0


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (([0], [0], [1]), "row 0 has an item compared with itself"),
        (([0, 0], [1, 2], [1, 1.5]), "row 1 has a share outside 0 to 1"),
        (([0], [1], [float("nan")]), "a share outside"),
        (([-1], [1], [1]), "an item below 0"),
        (([0], [1, 2], [1]), "different lengths"),
    ],
)
def test_what_is_no_judgement_is_refused(pairs: tuple[list[float], ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bradley_terry(*pairs)


def test_no_pairs_give_no_opinion() -> None:
    fit = bradley_terry([], [], [], items=2)
    assert fit.scores.tolist() == [0, 0]
    assert fit.components == 2
    assert np.isnan(agreement(fit.scores, [], [], []))


def test_equal_scores_agree_by_half() -> None:
    assert agreement([1, 0, 0], [0, 1, 2, 0], [1, 2, 0, 2], [1, 1, 1, 0.5]) == pytest.approx((1 + 0.5 + 0) / 3)
