"""Spans that occur more than once in a corpus, exactly, at any size (Lee et al. 2022, without a suffix array).

The union of all repeated spans of at least n units is the union of all stretches of exactly n units that occur twice.
Five passes, each over shards or over ranges of hashes, connected by files:

1. ``sign_shard``: a sampled run of k units from every stretch (about one place in n/3 units), as hashes with counts.
2. ``join_seeds``: which hashes occur often enough; every repeated stretch chose one of those.
3. ``find_windows``: around those, every stretch as a pair of hashes, with counts and the smallest id of the shard.
4. ``join_windows``: which stretches repeat, and in which document each occurs first.
5. ``SpanFinder``: the spans of every document.

A single collision of seeds costs time, never truth. Stretches are compared by two polynomials modulo 2^61 - 1 with
bases and unit numbers that have nothing to do with each other: two different stretches are taken for equal with a
probability of about (n / 2^61)^2, 10^-33 for n = 50, so among 10^12 different stretches one expects 10^-9 errors.
(Fixed bases: someone who knows them can construct collisions, as with any hash that has no secret.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.substring.config import SubstringConfig
from curate.dedup.substring.exchange import GroupFile, GroupWriter, Mask, by_part, group_file, parts_of, read_answers
from curate.dedup.substring.joins import Frequent, join_seeds, join_windows, most_frequent
from curate.dedup.substring.labels import SPAN, SPANS
from curate.dedup.substring.texts import NAMES, PLACES, SEEDS, WINDOWS, Slice, range_name, slices, units_of
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.substring import active_windows, read_only, seed_table, seeds
from curate.kernels.substring_groups import equal_pairs, occurrences
from curate.kernels.substring_spans import covered, unit_spans
from curate.store.folder import Folder
from curate.store.shards import Output

__all__ = [
    "Frequent", "Slice", "SpanFinder", "find_all", "find_windows", "join_seeds", "join_windows", "most_frequent",
    "range_name", "sign_shard", "slices",
]  # fmt: skip

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

#: Seeds or stretches of a block: about 60 bytes each with all copies.
BLOCK_ROWS = 4 << 20


def sign_shard(
    folder: Folder, shard: str, batches: Iterable[pa.RecordBatch], config: SubstringConfig, partitions: int
) -> Output:
    """Write the seeds of a shard: per block and key range the distinct hashes with their counts.

    Args:
        batches: ``id``, ``text``, ``row`` of the documents that are looked at, rows ascending.

    Memory: a slice (``SLICE_BYTES``) and a block (``BLOCK_ROWS`` seeds, about 400 MB of English text).
    """
    writer = GroupWriter(folder, NAMES.seeds.format(shard), SEEDS, delta=["count"])
    last_rows: list[int] = []
    waiting: list[tuple[U64, I32]] = []
    held, row = 0, -1
    try:
        for part in slices(batches):
            units = units_of(part.data, part.offsets, config)
            hashes, documents = seeds(units.first, units.borders, config.n, config.seed_units)
            waiting.append((hashes, part.rows[documents]))
            held, row = held + len(hashes), int(part.rows[-1])
            if held >= BLOCK_ROWS:
                _write_seeds(writer, waiting, len(last_rows), config.within, partitions)
                last_rows.append(row)
                waiting, held = [], 0
        if held:
            _write_seeds(writer, waiting, len(last_rows), config.within, partitions)
            last_rows.append(row)
        return writer.close({"partitions": partitions, "blocks": len(last_rows), "last_rows": last_rows})
    except BaseException:
        writer.abandon()
        raise


def _write_seeds(
    writer: GroupWriter, waiting: list[tuple[U64, I32]], block: int, within: bool, partitions: int
) -> None:
    hashes = np.concatenate([h for h, _ in waiting])
    rows = np.concatenate([r for _, r in waiting])
    if not within:  # a document counts once
        order = np.argsort(hashes, kind="stable")
        hashes, rows = hashes[order], rows[order]
        fresh = np.ones(len(hashes), np.bool_)
        fresh[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
        hashes = hashes[fresh]
    distinct, counts = np.unique(hashes, return_counts=True)
    borders = np.searchsorted(parts_of(distinct, partitions), np.arange(partitions + 1))
    for k in range(partitions):
        part = slice(int(borders[k]), int(borders[k + 1]))
        writer.write([distinct[part], counts[part]], block, k)


def find_windows(
    folder: Folder, shard: str, batches: Iterable[pa.RecordBatch], config: SubstringConfig, partitions: int
) -> list[Output]:
    """Write every stretch of n units whose seed occurs often enough: hashes per key range, and the places apart.

    Args:
        batches: exactly what ``sign_shard`` was given.

    Memory: a slice, a block of seeds, and a block of stretches (``BLOCK_ROWS`` and those of a slice):
    450 MB for words, 800 MB for bytes, measured beside the interpreter.
    """
    windows = GroupWriter(
        folder, NAMES.windows.format(shard), WINDOWS, delta=["count"], dictionary=["id_high", "id_low"]
    )
    places = GroupWriter(folder, NAMES.places.format(shard), PLACES, delta=["row", "place", "window"])
    try:
        last_rows: list[int] = []
        waiting: list[tuple[Slice, Any]] = []
        held = row = 0
        for part, table in _with_tables(folder, shard, batches, partitions):
            if not table.any():
                continue
            units = units_of(part.data, part.offsets, config)
            found = active_windows(units.first, units.second, units.borders, config.n, config.seed_units, table)
            if not len(found[0]):
                continue
            waiting.append((part, found))
            held, row = held + len(found[0]), int(part.rows[-1])
            if held >= BLOCK_ROWS:
                _write_windows(windows, places, waiting, len(last_rows), config.within, partitions)
                last_rows.append(row)
                waiting, held = [], 0
        if held:
            _write_windows(windows, places, waiting, len(last_rows), config.within, partitions)
            last_rows.append(row)
        about = {"partitions": partitions, "blocks": len(last_rows), "last_rows": last_rows}
        return [windows.close(about), places.close(about)]
    except BaseException:
        windows.abandon()
        places.abandon()
        raise


def _with_tables(
    folder: Folder, shard: str, batches: Iterable[pa.RecordBatch], partitions: int
) -> Iterator[tuple[Slice, U64]]:
    """Each slice with the table of those of its seeds that occur often enough."""
    with group_file(folder, NAMES.seeds.format(shard), partitions) as file:
        last_rows, block = file.about["last_rows"], -1
        active = _answers(folder, NAMES.active, shard, file, partitions)
        table = seed_table(np.zeros(0, np.uint64))
        for part in slices(batches):
            needed = int(np.searchsorted(last_rows, part.rows[-1]))
            if needed != block:
                block = needed
                keys = [
                    file.read(block, k, ["seed"])["seed"].to_numpy()[masks[block].flags()]
                    for k, masks in enumerate(active)
                    if block in masks
                ]
                table = seed_table(np.concatenate([np.zeros(0, np.uint64), *keys]))
            yield part, table


def _answers(folder: Folder, name: str, shard: str, file: GroupFile, partitions: int) -> list[dict[int, Mask]]:
    """The masks of all key ranges for the blocks of a shard."""
    found = []
    for k in range(partitions):
        rows = {block: file.rows(block, k) for block in range(file.blocks)}
        found.append(read_answers(folder, name.format(range_name(k)), shard, rows))
    return found


def _write_windows(
    windows: GroupWriter,
    places: GroupWriter,
    waiting: list[tuple[Slice, Any]],
    block: int,
    within: bool,
    partitions: int,
) -> None:
    starts = np.cumsum([0, *(len(part.rows) for part, _ in waiting)])
    a, b, place = (np.concatenate([found[i] for _, found in waiting]) for i in (0, 1, 3))
    document = np.concatenate([found[2] + start for (_, found), start in zip(waiting, starts, strict=False)])
    rows = np.concatenate([part.rows for part, _ in waiting])
    high = np.concatenate([part.id_high for part, _ in waiting])
    low = np.concatenate([part.id_low for part, _ in waiting])
    group, heads = equal_pairs(a, b)
    counts, owner, is_first = occurrences(group, document.astype(np.int64), high, low, len(heads), within)
    order, borders = by_part(a[heads], partitions)
    number = np.empty(len(heads), np.int32)
    number[order] = np.arange(len(heads), dtype=np.int32)
    for k in range(partitions):
        some = order[borders[k] : borders[k + 1]]
        head, own = heads[some], owner[some]
        windows.write([a[head], b[head], counts[some], high[own], low[own]], block, k)
    places.write([rows[document], place, number[group], is_first], block)


class SpanFinder:
    """The repeated spans of a shard's documents, from the answers of all key ranges.

    Memory: a slice, the places of a block of stretches (9 bytes each), and two bits per different stretch of the shard.
    """

    def __init__(self, windows: GroupFile, places: GroupFile, masks: list[dict[int, Mask]], config: SubstringConfig):
        self._last_rows: list[int] = windows.about["last_rows"]
        self._places, self._masks, self._config = places, masks, config
        self._block = -1
        self._rows = self._place = np.zeros(0, np.int32)
        self._first = np.zeros(0, np.bool_)

    @staticmethod
    @contextmanager
    def opened(folder: Folder, shard: str, config: SubstringConfig, partitions: int) -> Iterator[SpanFinder]:
        """The finder of a shard; its files are open inside the block."""
        with (
            group_file(folder, NAMES.windows.format(shard), partitions) as windows,
            group_file(folder, NAMES.places.format(shard), partitions) as places,
        ):
            yield SpanFinder(windows, places, _answers(folder, NAMES.repeats, shard, windows, partitions), config)

    def spans(self, part: Slice) -> tuple[pa.Array, pa.Array, pa.Array]:
        """``(spans, first spans, ratio)`` of the documents of a slice; columns of ``LABELS``."""
        n = len(part.rows)
        self._load(int(np.searchsorted(self._last_rows, part.rows[-1])))
        begin = np.searchsorted(self._rows, part.rows, side="left")
        end = np.searchsorted(self._rows, part.rows, side="right")
        touched = np.flatnonzero(end > begin)
        data, offsets = _only(part, touched)
        units = units_of(data, offsets, self._config)
        index = np.concatenate(
            [np.arange(b, e) for b, e in zip(begin[touched], end[touched], strict=True)] or [begin[:0]]
        )
        document = np.repeat(np.arange(len(touched)), (end - begin)[touched])
        place, first = self._place[index].astype(np.int64), self._first[index]
        if self._config.keep == "none":
            first = np.zeros(len(first), np.bool_)
        kept = covered(units.borders, document[first], place[first], self._config.n)
        again = covered(units.borders, document[~first], place[~first], self._config.n)
        found = [
            unit_spans(data, offsets, units.borders, units.starts, units.ends, marked)
            for marked in (again & ~kept, kept, again | kept)
        ]
        repeated = np.bincount(touched[found[2][0]], found[2][2] - found[2][1], n)
        sizes = np.diff(part.offsets)
        ratio = np.divide(repeated, sizes, out=np.zeros(n), where=sizes > 0)
        cut, keep = (_span_lists(n, touched[d], b, e) for d, b, e in found[:2])
        return cut, keep, pa.array(ratio.astype(np.float32))

    def _load(self, block: int) -> None:
        """The places of the block that repeat; slices are those of ``find_windows``, so each lies in one block."""
        if block == self._block:
            return
        self._block = block
        of_block = [m[block] for m in self._masks if block in m]
        repeats = np.concatenate([np.zeros(0, np.bool_), *(mask.flags() for mask in of_block)])
        is_first = np.concatenate([np.zeros(0, np.bool_), *(mask.first() for mask in of_block)])
        table = self._places.read(block)
        window = table["window"].to_numpy()
        chosen = repeats[window]
        self._rows = table["row"].to_numpy()[chosen]
        self._place = table["place"].to_numpy()[chosen]
        self._first = table["is_first"].to_numpy()[chosen] & is_first[window[chosen]]


def find_all(
    folder: Folder, shards: Mapping[str, Sequence[pa.RecordBatch]], config: SubstringConfig, partitions: int = 1
) -> Iterator[tuple[str, Slice, tuple[pa.Array, pa.Array, pa.Array]]]:
    """All five passes one after another in this process: shard, documents, and their columns of ``LABELS``."""
    for shard, batches in shards.items():
        sign_shard(folder, shard, batches, config, partitions)
    for k in range(partitions):
        join_seeds(folder, list(shards), config, k, partitions)
    for shard, batches in shards.items():
        find_windows(folder, shard, batches, config, partitions)
    for k in range(partitions):
        join_windows(folder, list(shards), config, k, partitions)
    for shard, batches in shards.items():
        with SpanFinder.opened(folder, shard, config, partitions) as finder:
            for part in slices(batches):
                yield shard, part, finder.spans(part)


def _only(part: Slice, chosen: I64) -> tuple[Bytes, Offsets]:
    """The texts of the chosen documents, one after another."""
    if len(chosen) == len(part.rows):
        return read_only(part.data), part.offsets
    pieces = [part.data[part.offsets[d] : part.offsets[d + 1]] for d in chosen.tolist()]
    sizes = np.diff(part.offsets)[chosen]
    return read_only(np.concatenate([np.zeros(0, np.uint8), *pieces])), np.concatenate([[0], np.cumsum(sizes)])


def _span_lists(n: int, documents: npt.NDArray[Any], begins: I32, stops: I32) -> pa.Array:
    """One list of spans per document."""
    borders = np.searchsorted(documents, np.arange(n + 1)).astype(np.int32)
    values = pa.StructArray.from_arrays([pa.array(begins, pa.int32()), pa.array(stops, pa.int32())], fields=list(SPAN))
    return pa.ListArray.from_arrays(pa.array(borders), values).cast(SPANS)
