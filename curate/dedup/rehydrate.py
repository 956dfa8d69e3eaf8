"""Weights from cluster sizes: how often a survivor is repeated, and what that adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Table = Sequence[tuple[int, int]]


def weights(sizes: pa.Array, table: Table) -> pa.Array:
    """How often documents of these cluster sizes are repeated: int32; null stays null, sizes below 1 count as 1."""
    starts = np.array([size for size, _ in table], np.int64)
    times = pa.array([n for _, n in table], pa.int32())
    filled = pc.fill_null(pc.cast(sizes, pa.int64()), 1).to_numpy(zero_copy_only=False)
    rows = np.maximum(np.searchsorted(starts, filled, side="right") - 1, 0)
    return times.take(pa.array(rows, mask=pc.is_null(sizes).to_numpy(zero_copy_only=False)))


def tally(sizes: npt.NDArray[np.int64], table: Table) -> list[dict[str, Any]]:
    """Per row of the table: the documents of these sizes, what their clusters held, and how often they are repeated.

    Returns:
        ``from`` and ``to`` (inclusive; null for the last), ``documents``, ``clustered`` (sum of sizes), ``times``,
        ``repeated`` (documents × times).
    """
    starts = [size for size, _ in table]
    rows = np.maximum(np.searchsorted(np.array(starts), sizes, side="right") - 1, 0)
    documents = np.bincount(rows, minlength=len(table))
    clustered = np.bincount(rows, weights=sizes, minlength=len(table))
    ends: list[int | None] = [*(start - 1 for start in starts[1:]), None]
    return [
        {
            "from": start, "to": end, "documents": int(documents[i]), "clustered": int(clustered[i]), "times": times,
            "repeated": int(documents[i]) * times,
        }
        for i, ((start, times), end) in enumerate(zip(table, ends, strict=True))
    ]  # fmt: skip


def added(tallies: Sequence[Sequence[dict[str, Any]]], table: Table) -> list[dict[str, Any]]:
    """Tallies of several shards as one."""
    total = tally(np.zeros(0, np.int64), table)
    for one in tallies:
        for mine, more in zip(total, one, strict=True):
            for name in ("documents", "clustered", "repeated"):
                mine[name] += more[name]
    return total
