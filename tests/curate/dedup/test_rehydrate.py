"""Weights follow the table row by row, and what they add up to is exact."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.dedup.rehydrate import added, tally, weights
from curate.dedup.rehydrate_config import FINEWEB2, RehydrateConfig

SIZES = [1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**9]


def test_the_default_is_the_published_table() -> None:
    assert weights(pa.array(SIZES), RehydrateConfig().table).to_pylist() == [1, 2, 3, 3, 5, 5, 8, 8, 1, 1]


def test_documents_without_a_size_have_no_weight() -> None:
    assert weights(pa.array([None, 0, 2], pa.int64()), FINEWEB2).to_pylist() == [None, 1, 2]


TABLES = st.lists(st.tuples(st.integers(2, 50), st.integers(0, 9)), max_size=5, unique_by=lambda row: row[0]).map(
    lambda rows: [(1, 1), *sorted(rows)]
)


@given(st.lists(st.integers(1, 60), max_size=40), TABLES, st.integers(0, 40))
def test_a_tally_is_the_sum_of_the_weights(sizes: list[int], table: list[tuple[int, int]], cut: int) -> None:
    got = weights(pa.array(sizes, pa.int64()), table).to_pylist()
    assert got == [table[bisect_right([s for s, _ in table], size) - 1][1] for size in sizes]
    parts = [tally(np.array(part, np.int64), table) for part in (sizes[:cut], sizes[cut:])]
    rows = added(parts, table)
    assert rows == tally(np.array(sizes, np.int64), table)
    assert sum(row["repeated"] for row in rows) == sum(got)
    assert (sum(row["documents"] for row in rows), sum(row["clustered"] for row in rows)) == (len(sizes), sum(sizes))


@pytest.mark.parametrize(
    ("table", "said"), [([[2, 1]], "first size"), ([[1, 1], [3, 1], [3, 2]], "ascend"), ([[1, -1]], "greater")]
)
def test_a_table_with_gaps_or_the_wrong_order_is_refused(table: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RehydrateConfig(table=table)  # type: ignore[arg-type]
