"""Weights without runs: laws that every rule must keep, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.recipe.realise import realise, shuffle_keys
from curate.recipe.rules import RULES, allocate

sizes = st.lists(st.integers(0, 10**9), min_size=1, max_size=30).filter(lambda s: sum(s) > 0)


@settings(max_examples=200, deadline=None)
@given(sizes, st.sampled_from(RULES), st.floats(0.01, 1.0), st.floats(0.5, 8.0), st.floats(1.0, 10.0))
def test_the_budget_is_met_and_no_cap_is_crossed(
    available: list[int], rule: str, share: float, epochs: float, temperature: float
) -> None:
    sizes_ = np.array(available, float)
    budget = share * epochs * sizes_.sum()
    found = allocate(rule, sizes_, budget, max_epochs=epochs, temperature=temperature)
    assert found.tokens.sum() == pytest.approx(budget, rel=1e-9)
    assert (found.tokens >= 0).all()
    assert (found.tokens <= sizes_ * epochs * (1 + 1e-9)).all()
    assert found.weights.sum() == pytest.approx(1.0)


def test_natural_follows_the_sizes() -> None:
    assert allocate("natural", np.array([10.0, 30.0]), 20, max_epochs=4).tokens.tolist() == [5, 15]


def test_stratified_gives_the_same_to_each_group() -> None:
    assert allocate("stratified", np.array([10.0, 30.0]), 20, max_epochs=4).tokens.tolist() == [10, 10]


def test_temperature_lies_between_natural_and_even() -> None:
    found = allocate("temperature", np.array([1.0, 16.0]), 10, max_epochs=10, temperature=2)
    assert found.tokens.tolist() == [2, 8]  # √1 : √16 = 1 : 4


def test_unimax_holds_small_groups_at_their_cap_and_spreads_the_rest_evenly() -> None:
    found = allocate("unimax", np.array([5.0, 100.0, 100.0]), 90, max_epochs=2)
    assert found.tokens.tolist() == [10, 40, 40]
    assert found.capped.tolist() == [True, False, False]


def test_a_budget_that_cannot_be_met_names_the_shortfall() -> None:
    with pytest.raises(ConfigError, match="50 too few"):
        allocate("natural", np.array([10.0, 15.0]), 100, max_epochs=2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=200), st.floats(0.0, 5.0), st.integers(0, 3))
def test_whole_documents_come_within_half_the_smallest_left_out(tokens: list[int], epochs: float, seed: int) -> None:
    counts = np.array(tokens, np.int64)
    ids = [f"{i:032x}" for i in range(len(tokens))]
    wanted = epochs * counts.sum()
    found = realise(counts, shuffle_keys(ids, seed), wanted)
    assert found.tokens == int((found.copies * counts).sum())
    assert abs(found.tokens - wanted) <= counts.max()
    assert set(found.copies - int(wanted // counts.sum())) <= {0, 1}


def test_a_large_group_meets_its_target_within_a_tenth_of_a_percent() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(50, 3000, 5000)
    ids = [f"{i:032x}" for i in range(5000)]
    wanted = 0.37 * counts.sum()
    assert realise(counts, shuffle_keys(ids, 0), wanted).tokens == pytest.approx(wanted, rel=1e-3)


def test_keys_depend_on_id_seed_and_copy_alone() -> None:
    ids = [f"{i * 7919:032x}"[::-1] for i in range(1000)]
    keys = shuffle_keys(ids, 3)
    assert (shuffle_keys(ids[::-1], 3)[::-1] == keys).all()
    assert (shuffle_keys(ids, 4) != keys).all()
    assert (shuffle_keys(ids, 3, copy=1) != keys).all()
    assert len(set(keys.tolist())) == 1000
