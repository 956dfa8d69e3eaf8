"""The filter never counts too low, errs as seldom as it was made for, and does not care for the order of shards."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.lines.bloom import BloomRepeats, CountingFilter, Size, fill_filter
from curate.dedup.lines.count import Counts


def counts(keys: np.ndarray, documents: np.ndarray | int = 1) -> Counts:
    zeros = np.zeros(len(keys), np.uint64)
    return Counts(keys, np.broadcast_to(np.uint32(documents), len(keys)).copy(), zeros, zeros)


def keys(n: int, seed: int = 1) -> np.ndarray:
    return np.unique(np.random.default_rng(seed).integers(0, 1 << 63, n, np.uint64))


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.integers(0, 2**64 - 1), st.integers(1, 40), max_size=30), st.integers(64, 200), st.integers(1, 9)
)
def test_no_count_is_too_low(known: dict[int, int], cells: int, hashes: int) -> None:
    made = CountingFilter(Size(cells, hashes))
    given_keys = np.array(list(known), np.uint64)
    made.add(given_keys, np.array(list(known.values()), np.uint32))
    assert all(a >= min(b, 15) for a, b in zip(made.counts(given_keys).tolist(), known.values(), strict=True))


def test_the_size_is_the_textbooks() -> None:
    size = Size.for_keys(1_000_000, 0.01)
    assert (size.cells, size.hashes) == (9_585_059, 7)


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_strangers_pass_as_seldom_as_the_filter_was_made_for(rate: float) -> None:
    n = 50_000
    known = keys(n)
    made = CountingFilter(Size.for_keys(len(known), rate))
    made.add(known, np.ones(len(known), np.uint32))
    size = made.size
    assert made.fill == pytest.approx(1 - np.exp(-size.hashes * len(known) / size.cells), abs=0.01)
    assert made.estimated_rate() == pytest.approx(rate, rel=0.2)
    assert made.estimated_keys() == pytest.approx(len(known), rel=0.02)
    strangers = np.setdiff1d(keys(400_000, 7), known)
    assert float((made.counts(strangers) > 0).mean()) == pytest.approx(rate, rel=0.25)


def test_the_order_of_shards_decides_nothing() -> None:
    shards = [counts(keys(2000, seed), 3 * seed) for seed in (1, 2, 3)] + [counts(keys(2000, 1), 2)]
    size = Size.for_keys(500, 0.01)  # far too small, so that cells are shared
    made = [fill_filter(order, size, 8000, 8) for order in permutations(shards)]
    assert all((one.cells == made[0][0].cells).all() for one, _ in made)
    assert len({(m.single, m.wrong) for _, m in made}) == 1 and made[0][1].wrong > 0


def test_what_is_measured_is_what_is_wrong() -> None:
    single, shared = keys(20_000, 3), keys(1000, 4)
    shards = [counts(single), counts(shared), counts(shared), counts(shared, 2)]
    made, measured = fill_filter(shards, Size.for_keys(9000, 0.02), 20_000, 4)
    repeats = BloomRepeats(made, 4)
    nothing, flags = np.zeros(len(single), np.uint64), np.ones(len(single), np.bool_)
    wrong = int(repeats.marked(single, nothing, nothing, flags).sum())
    assert (measured.one_in, measured.single, measured.wrong) == (1, len(single), wrong)
    assert measured.rate == wrong / len(single) <= made.estimated_rate()
    assert repeats.marked(shared, nothing[: len(shared)], nothing, flags).all()


def test_cells_survive_a_file() -> None:
    made = CountingFilter(Size.for_keys(3_000_000, 0.01))
    made.add(keys(1000), np.full(len(keys(1000)), 5, np.uint32))
    again = CountingFilter.from_table(made.table(), made.size)
    assert made.table().num_rows > 1
    assert (again.counts(keys(1000)) >= 5).all() and (again.cells == made.cells).all()


def test_an_empty_filter_knows_nothing() -> None:
    made, measured = fill_filter([], Size.for_keys(0, 0.01), 0, 2)
    assert (made.fill, made.estimated_rate(), made.estimated_keys(), measured.rate) == (0.0, 0.0, 0, 0.0)
    assert not made.counts(keys(100)).any()
