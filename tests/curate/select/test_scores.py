"""Score algebra: scales, weighted sums, Nemotron-CC's buckets, QuaDMix, residuals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.select.quadmix import Parameters, draw_parameters, expected_copies, flat, quality_ranks, unflat
from curate.select.reference import Reference
from curate.select.residual import fit_residual, logarithm, residuals
from curate.select.scores import bins, combine, levels, maximum, merge_by_domain, rank_buckets, scaled

NAN = float("nan")


def test_min_max_is_linear_inside_the_sample_and_cut_outside() -> None:
    reference = Reference.fit("s", np.array([2.0, 4.0, 10.0]))
    found = scaled(np.array([2.0, 4.0, 10.0, -5.0, 99.0, NAN]), reference, "min_max")
    assert found[:5].tolist() == [0.0, 0.25, 1.0, 0.0, 1.0] and np.isnan(found[5])
    assert scaled(np.array([3.0]), Reference.fit("s", np.array([3.0])), "min_max").tolist() == [0.5]
    huge = Reference.fit("s", np.array([-1.7e308, 1.7e308]))
    assert scaled(np.array([0.0]), huge, "min_max").tolist() == [0.5]


def test_a_weighted_sum_by_hand() -> None:
    columns = {"a": np.array([1.0, 0.0, NAN, NAN]), "b": np.array([0.0, 1.0, 1.0, NAN]), "c": np.full(4, 9.0)}
    strict = combine(columns, {"a": 3, "b": 1, "c": 0})
    assert strict[:2].tolist() == [0.75, 0.25] and np.isnan(strict[2:]).all()
    assert combine(columns, {"a": 3, "b": 1}, "renormalise")[:3].tolist() == [0.75, 0.25, 1.0]
    assert combine(columns, {"a": 1, "b": -1})[:2].tolist() == [0.5, -0.5]
    with pytest.raises(ValueError, match="not all zero"):
        combine(columns, {"a": 0})


def test_nemotron_levels_of_all_twenty_buckets() -> None:
    found = levels(np.arange(-1, 20)).to_pylist()
    assert found[0] is None
    assert found[1:] == ["low"] * 7 + ["medium_low"] * 5 + ["medium"] * 6 + ["medium_high", "high"]


def test_the_ensemble_takes_the_best_rank_of_any_rater() -> None:
    rng = np.random.default_rng(0)
    scores, tokens = rng.normal(size=(2, 2000)), rng.integers(1, 100, 2000)
    scores[1, :5] = NAN
    buckets = []
    for one in scores:
        edges = Reference.fit("s", one, tokens).edges(20)
        buckets.append(rank_buckets(one, edges))
        held = np.array([tokens[buckets[-1] == b].sum() for b in range(20)])
        known = tokens[~np.isnan(one)].sum()
        assert np.abs(held / known - 0.05).max() < 100 / known  # a twentieth of the tokens each, but for one document
    assert (buckets[1][:5] == -1).all()
    best = maximum(buckets)
    assert (best[:5] == buckets[0][:5]).all() and (best == np.maximum(*buckets)).all()


def test_bins_take_their_lower_edge() -> None:
    assert bins(np.array([0.0, 1.0, 2.5, 3.0, NAN]), [1, 3]).tolist() == [0, 1, 1, 2, -1]
    with pytest.raises(ValueError, match="ascend"):
        bins(np.array([1.0]), [2, 2])


def test_scores_are_merged_as_the_domain_says() -> None:
    columns = {"a": np.array([1.0, 1.0, 1.0, 1.0]), "b": np.zeros(4)}
    weights = {"law": {"a": 1.0, "b": 1.0}, "news": {"b": 1.0}}
    found = merge_by_domain(columns, ["law", "news", "sport", None], weights, {"a": 3.0, "b": 1.0})
    assert found.tolist() == [0.5, 0.0, 0.75, 0.75]
    assert np.isnan(merge_by_domain(columns, ["law", "news", "sport", None], weights, None)[2:]).all()


def test_the_sampling_function_by_hand() -> None:
    ranks = np.array([0, 0.1, 0.2, 0.3, 0.5])
    found = expected_copies(ranks, Parameters(10, 0.3, 1, 0.01), "from_zero")
    assert found == pytest.approx([0.9151, 0.7716, 0.4721, 0.01, 0.01], abs=5e-5)
    # equation 3 of the paper is larger by one above the cut, the cut included
    assert expected_copies(ranks, Parameters(10, 0.3, 1, 0.01)) == pytest.approx(
        [1.9151, 1.7716, 1.4721, 1.01, 0.01], abs=5e-5
    )
    squared = expected_copies(np.array([0.0]), Parameters(10, 0.3, 2, 0))
    assert squared == pytest.approx([(2 / (1 + np.exp(-3))) ** 2])
    assert np.isnan(expected_copies(np.array([NAN]), Parameters(1, 1, 1, 0))).all()


@given(
    st.floats(0, 1000), st.floats(0, 1), st.floats(0, 3), st.floats(0, 1),
    st.lists(st.floats(0, 1), min_size=2, max_size=20), st.sampled_from(["paper", "from_zero"]),
)  # fmt: skip
@settings(deadline=None)
def test_better_documents_are_never_taken_less_often(
    steep: float, share: float, curve: float, floor: float, ranks: list[float], shape: str
) -> None:
    found = expected_copies(np.sort(np.array(ranks)), Parameters(steep, share, curve, floor), shape)  # type: ignore[arg-type]
    assert (np.diff(found) <= 1e-12).all()
    assert (found >= floor).all() and (found <= 2**curve + floor + 1e-9).all()


def test_ranks_are_token_shares_of_the_domain() -> None:
    # scores 3, 2, 1 with 10, 30, 60 tokens: the best has a tenth of the tokens at least as good, the worst all
    scores = np.array([3.0, 2.0, 1.0])
    domain = Reference.fit("d", scores, np.array([10, 30, 60]))
    assert quality_ranks(scores, domain) == pytest.approx([0.1, 0.4, 1.0])


def test_drawn_parameters_lie_in_the_papers_ranges_and_come_back() -> None:
    drawn = draw_parameters(np.random.default_rng(0), ("a", "b"), ("law", "news"))
    for one in drawn.values():
        assert sum(one["weights"].values()) == pytest.approx(1)
        p = one["parameters"]
        assert p.steepness <= 1000 and p.share <= 0.1 and p.curvature <= 1 and p.floor <= 0.001
    assert len(flat(drawn)) == (2 + 4) * 2
    assert unflat(flat(drawn), ("a", "b"), ("law", "news")) == drawn


def test_what_length_and_language_do_to_a_score_is_taken_out() -> None:
    rng = np.random.default_rng(4)
    n = 4000
    words = rng.lognormal(6, 1, n)
    language = rng.choice(["de", "en", "fr"], n, p=[0.3, 0.6, 0.1]).tolist()
    truth = rng.normal(size=n)
    effect = {"de": -2.0, "en": 0.0, "fr": 1.5}
    score = 5 + truth + 0.8 * np.log1p(words) + np.array([effect[x] for x in language])
    numbers = {"words": logarithm(words)}
    fit = fit_residual(score, numbers, {"language": language})
    assert fit is not None and fit.explained > 0.5
    left = residuals(score, numbers, {"language": language}, None, {}, fit)
    assert np.corrcoef(left, truth)[0, 1] > 0.998
    assert abs(np.corrcoef(left, numbers["words"])[0, 1]) < 0.01
    for name in effect:
        mask = np.array([x == name for x in language])
        assert left[mask].mean() == pytest.approx(score.mean(), abs=0.15)


def test_groups_have_regressions_of_their_own() -> None:
    rng = np.random.default_rng(5)
    x, group = rng.normal(size=2000), np.repeat(["a", "b"], 1000)
    score = np.where(group == "a", 3 * x, -3 * x) + np.where(group == "a", 10, 0)
    overall = fit_residual(score, {"x": x}, {})
    fits = {g: fit_residual(score[group == g], {"x": x[group == g]}, {}, ridge=0) for g in ("a", "b")}
    assert overall is not None and all(fits.values())
    left = residuals(score, {"x": x}, {}, group.tolist(), fits, overall)  # type: ignore[arg-type]
    assert left == pytest.approx(np.full(2000, overall.mean), abs=1e-6)


def test_a_name_that_was_not_in_the_sample_adds_nothing_and_a_missing_number_gives_no_score() -> None:
    fit = fit_residual(np.array([1.0, 2.0, 3.0]), {"x": np.array([1.0, 1.0, 1.0])}, {"s": ["a", "b", "a"]})
    assert fit is not None
    found = residuals(np.array([5.0, 5.0]), {"x": np.array([1.0, NAN])}, {"s": ["new", "a"]}, None, {}, fit)
    assert found[0] == 5.0 and np.isnan(found[1])
    assert fit_residual(np.array([NAN]), {}, {}) is None
    assert np.isnan(logarithm(np.array([-1.0])))[0] and logarithm(np.array([0.0]))[0] == 0
