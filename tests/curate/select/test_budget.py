"""The budget ends at one place, wherever the documents lie and however few may be sorted at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.select.budget import Rows, find_cuts, order_keys, share_budget, taken, top_k
from tests.curate.select.made import ids

SCORES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 3.0, float("nan")]), st.floats(allow_nan=False, allow_infinity=False)
)
DOCUMENTS = st.lists(st.tuples(SCORES, st.integers(0, 50), st.integers(-1, 2)), min_size=1, max_size=60)


def brute(scores: list[float], weights: list[int], names: list[str], budget: int) -> set[str]:
    """Sort by score descending and id, take while it fits."""
    order = sorted(
        (i for i in range(len(scores)) if scores[i] == scores[i]), key=lambda i: (-(scores[i] + 0.0), names[i])
    )
    out: set[str] = set()
    for i in order:
        budget -= weights[i]
        if budget < 0:
            break
        out.add(names[i])
    return out


@given(DOCUMENTS, st.integers(0, 800), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_each_group_is_taken_from_the_top_until_its_budget_is_spent(
    documents: list[tuple[float, int, int]], budget: int, sorted_rows: int
) -> None:
    scores, weights, groups = (list(x) for x in zip(*documents, strict=True))
    names = ids(len(documents))
    rows = Rows.of(
        np.array(scores), np.array(weights, np.int64), names, np.array(groups, np.int64)
    )  # fmt: skip
    cuts = find_cuts(lambda: [rows], 3, lambda _: [budget, budget // 2, 0], sorted_rows=sorted_rows)
    found = {n for n, t in zip(names.to_pylist(), taken(rows, cuts).tolist(), strict=True) if t}
    wanted: set[str] = set()
    for group, share in enumerate((budget, budget // 2, 0)):
        at = [i for i in range(len(groups)) if groups[i] == group]
        here = brute([scores[i] for i in at], [weights[i] for i in at], [names[i].as_py() for i in at], share)
        wanted |= here
        assert cuts[group].documents == len(here)
        assert cuts[group].tokens == sum(weights[i] for i in at if names[i].as_py() in here) <= share
    assert found == wanted


def test_shards_batches_and_their_order_change_nothing() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    scores = rng.integers(0, 5, n).astype(np.float64)  # an integer rater: huge ties
    weights = rng.integers(1, 3000, n)
    names = ids(n)
    whole = top_k(scores, weights, names, int(weights.sum()) // 3)
    order = rng.permutation(n)
    parts = [
        Rows.of(scores[p], weights[p], names.take(pa.array(p))) for p in np.array_split(order, 7)
    ]  # fmt: skip
    cuts = find_cuts(lambda: reversed(parts), 1, lambda available: [int(available[0]) // 3], sorted_rows=10)
    again = np.concatenate([taken(part, cuts) for part in parts])
    assert (again == whole[order]).all()
    assert 0 < cuts[0].tokens <= weights.sum() // 3 < cuts[0].tokens + 3000
    assert cuts[0].score in {0.0, 1.0, 2.0, 3.0, 4.0}


def test_a_smaller_budget_takes_a_part_of_the_same() -> None:
    rng = np.random.default_rng(1)
    scores, weights, names = rng.normal(size=300), rng.integers(1, 9, 300), ids(300)
    small, large = (top_k(scores, weights, names, b) for b in (100, 700))
    assert small.sum() < large.sum()
    assert not (small & ~large).any()


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_keys_ascend_where_scores_descend(a: float, b: float) -> None:
    x, y = order_keys(np.array([a, b]))
    assert (x < y) == (a > b)
    assert (x == y) == (a == b)


def test_budgets_by_domain() -> None:
    there = {"law": 100, "news": 700, "sport": 200}
    assert share_budget(there, 500, "proportional") == {"law": 50, "news": 350, "sport": 100}
    assert share_budget(there, 500, "equal") == {"law": 100, "news": 200, "sport": 200}
    assert share_budget(there, 300, "given", {"news": 1, "law": 1}) == {"law": 100, "news": 200, "sport": 0}
    assert share_budget(there, 5000, "equal") == there
    with pytest.raises(ValueError, match="proportional, equal or given"):
        share_budget(there, 5, "fair")


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**12), min_size=1), st.integers(0, 10**13),
    st.sampled_from(["proportional", "equal"]),
)  # fmt: skip
@settings(deadline=None)
def test_budgets_are_spent_whole_and_no_domain_gets_more_than_it_has(
    there: dict[str, int], total: int, how: str
) -> None:
    found = share_budget(there, total, how)
    assert all(0 <= found[n] <= there[n] for n in there)
    assert sum(found.values()) == pytest.approx(min(total, sum(there.values())), abs=len(there))
