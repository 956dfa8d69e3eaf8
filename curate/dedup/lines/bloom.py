"""Which lines are repeated, in fixed memory: a counting Bloom filter, its size, and how wrong it is.

Dolma (Soldaini et al. 2024) marks repeated paragraphs with a Bloom filter that documents pass through one after the
other, so what is marked depends on their order. Here the filter is filled with all counts first, which may be added in
any order, and asked then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.lines.count import Counts, no_counts, summed
from curate.kernels.bloom import MOST, add, empty_cells, least

U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

CELLS = pa.schema([pa.field("cells", pa.binary(), nullable=False)])
#: keys of a range whose exact counts are kept beside the filter, about
SAMPLED = 100_000
_PIECE = 1 << 20


@dataclass(frozen=True)
class Size:
    """How large a filter is.

    Attributes:
        cells: counters, half a byte each.
        hashes: cells per key.
    """

    cells: int
    hashes: int

    @staticmethod
    def for_keys(keys: int, false_positive_rate: float) -> Size:
        """The size at which ``keys`` different keys leave this rate: -n·ln(p) / ln(2)² cells, cells/n·ln(2) hashes."""
        n = max(keys, 1)
        cells = max(64, math.ceil(-n * math.log(false_positive_rate) / math.log(2) ** 2))
        return Size(cells, max(1, round(cells / n * math.log(2))) if cells > 64 else 7)


class CountingFilter:
    """Counts of keys up to 15, never too low, seldom too high. Memory: half a byte per cell."""

    def __init__(self, size: Size, cells: npt.NDArray[np.uint8] | None = None) -> None:
        self.size = size
        self.cells = np.zeros((size.cells + 1) // 2, np.uint8) if cells is None else cells

    def add(self, keys: U64, counts: npt.NDArray[np.uint32]) -> None:
        """Count these keys so many times."""
        add(self.cells, self.size.cells, self.size.hashes, keys, counts)

    def counts(self, keys: U64) -> npt.NDArray[np.uint8]:
        """The count of each key: exact, too high, or 15 for 15 and more."""
        found: npt.NDArray[np.uint8] = least(self.cells, self.size.cells, self.size.hashes, keys)
        return found

    @property
    def fill(self) -> float:
        """Share of cells that are not 0; 0–1."""
        return 1.0 - int(empty_cells(self.cells, self.size.cells)) / self.size.cells

    def estimated_rate(self) -> float:
        """How often a key counts one more than it should, or is found though it was never added: fill^hashes; 0–1."""
        return float(self.fill**self.size.hashes)

    def estimated_keys(self) -> int:
        """Different keys that were added, by the fill: -cells/hashes · ln(1 - fill)."""
        empty = max(1.0 - self.fill, 1.0 / self.size.cells)
        return round(-self.size.cells / self.size.hashes * math.log(empty))

    def table(self) -> pa.Table:
        """The cells in pieces, for a file; the size is not in it."""
        data = self.cells.tobytes()
        return pa.table({"cells": [data[i : i + _PIECE] for i in range(0, len(data), _PIECE)]}, CELLS)

    @staticmethod
    def from_table(table: pa.Table, size: Size) -> CountingFilter:
        """The inverse of ``table``."""
        data = b"".join(table.column("cells").to_pylist())
        return CountingFilter(size, np.frombuffer(data, np.uint8))


@dataclass(frozen=True)
class Measured:
    """How a filter does, compared with exact counts of a sample of its keys.

    Attributes:
        sample: exact counts.
        one_in: every so-manieth key is in the sample, by its hash.
        single: keys of the sample that are not repeated.
        wrong: of these, taken for repeated.
    """

    sample: Counts
    one_in: int
    single: int
    wrong: int

    @property
    def rate(self) -> float:
        """Share of keys that are not repeated and taken for it; 0–1, 0 if there are none."""
        return self.wrong / self.single if self.single else 0.0


def fill_filter(
    parts: Iterable[Counts], size: Size, keys: int, min_occurrences: int
) -> tuple[CountingFilter, Measured]:
    """A filter of all counts, and how it does.

    Args:
        parts: counts of each shard, in any order.
        keys: keys of all parts together; decides how large the sample is.
    """
    made = CountingFilter(size)
    one_in = max(1, keys // SAMPLED)
    sampled = [no_counts()]
    for part in parts:
        made.add(part.key, part.documents)
        sampled.append(part.chosen(_mixed(part.key) % np.uint64(one_in) == 0))
    sample = summed(sampled)
    single = sample.documents < min_occurrences
    wrong = made.counts(sample.key[single]) >= min_occurrences
    return made, Measured(sample, one_in, int(single.sum()), int(wrong.sum()))


@dataclass(frozen=True)
class BloomRepeats:
    """Repeated units of a key range, as a filter knows them; none is kept."""

    filter: CountingFilter
    min_occurrences: int

    def marked(self, keys: U64, high: U64, low: U64, first: Bools) -> Bools:
        """See ``lines.Repeats``."""
        return self.filter.counts(keys) >= min(self.min_occurrences, MOST)


def _mixed(keys: U64) -> U64:
    """Hashes of keys, unlike those that choose cells."""
    with np.errstate(over="ignore"):
        z = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def about(size: Size) -> dict[str, Any]:
    """What a file of cells must say beside them."""
    return {"cells": size.cells, "hashes": size.hashes}
