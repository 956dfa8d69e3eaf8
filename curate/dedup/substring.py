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

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.substring_config import SubstringConfig
from curate.dedup.substring_exchange import (
    Flags,
    GroupFile,
    GroupWriter,
    Mask,
    by_part,
    group_file,
    parts_of,
    read_answers,
    write_answers,
)
from curate.documents import column
from curate.errors import VerificationError
from curate.kernels.strings import Bytes, Offsets, string_buffers
from curate.kernels.substring import Units, active_windows, code_units, read_only, seed_table, seeds, word_units
from curate.kernels.substring_groups import equal_pairs, occurrences, smallest, sums
from curate.kernels.substring_spans import covered, unit_spans
from curate.store.folder import Folder
from curate.store.shards import Output

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

#: Texts worked on at a time; a longer document stands alone. Costs up to 40 bytes per byte (units are bytes).
SLICE_BYTES = 4 << 20
#: Seeds or stretches of a block, and rows that a join holds at a time: about 60 bytes each with all copies.
BLOCK_ROWS = 4 << 20
TOP = 20

SPAN = pa.struct([pa.field("start", pa.int32(), nullable=False), pa.field("end", pa.int32(), nullable=False)])
SPANS = pa.list_(SPAN)
SPANS_COLUMN, FIRST_COLUMN, RATIO_COLUMN = "substring_spans", "substring_first_spans", "substring_repeated_ratio"
_NULL = "null: dropped before, or a duplicate"

LABELS = pa.schema(
    [
        column(SPANS_COLUMN, SPANS, f"byte ranges of the text that occur elsewhere too and are not kept here, in the text before anything is cut; {_NULL}", unit="bytes"),
        column(FIRST_COLUMN, SPANS, f"byte ranges whose first occurrence this is, never cut; empty with keep: none; {_NULL}", unit="bytes"),
        column(RATIO_COLUMN, pa.float32(), f"share of the text's bytes in either kind of range; {_NULL}", range_="0–1"),
    ]
)  # fmt: skip

_SEEDS = pa.schema([pa.field("seed", pa.uint64(), False), pa.field("count", pa.int64(), False)])
_WINDOWS = pa.schema(
    [
        pa.field("a", pa.uint64(), False),
        pa.field("b", pa.uint64(), False),
        pa.field("count", pa.int64(), False),
        pa.field("id_high", pa.uint64(), False),
        pa.field("id_low", pa.uint64(), False),
    ]
)
_PLACES = pa.schema(
    [
        pa.field("row", pa.int32(), False),
        pa.field("place", pa.int32(), False),
        pa.field("window", pa.int32(), False),
        pa.field("is_first", pa.bool_(), False),
    ]
)


@dataclass(frozen=True)
class Names:
    """Where the passes keep their files in the run's folder; ``{}`` is a shard or the number of a key range."""

    seeds: str = "steps/substring_seeds/{}.parquet"
    active: str = "steps/substring_active/{}.parquet"
    windows: str = "steps/substring_windows/{}.parquet"
    places: str = "steps/substring_windows/{}.places.parquet"
    repeats: str = "steps/substring_repeats/{}.parquet"


NAMES = Names()


def range_name(partition: int) -> str:
    """Name of a key range."""
    return f"range-{partition:04d}"


def units_of(data: Bytes, offsets: Offsets, config: SubstringConfig) -> Units:
    """The units of each text as the config counts them."""
    if config.unit == "words":
        return word_units(data, offsets)
    return code_units(data, offsets, by_byte=config.unit == "bytes")


@dataclass(frozen=True)
class Slice:
    """Some documents of a shard: their rows, their ids as two halves of 128 bits, their texts."""

    rows: I32
    id_high: U64
    id_low: U64
    data: Bytes
    offsets: Offsets


def slices(batches: Iterable[pa.RecordBatch], row: str = "row") -> Iterator[Slice]:
    """The documents of batches with ``id``, ``text`` and ``row``, at most ``SLICE_BYTES`` of text at a time."""
    for batch in batches:
        texts = batch.column(batch.schema.get_field_index("text"))
        rows = batch.column(batch.schema.get_field_index(row)).to_numpy()
        high, low = _id_halves(batch.column(batch.schema.get_field_index("id")))
        data, offsets = string_buffers(texts)
        start = 0
        while start < len(batch):
            stop = int(np.searchsorted(offsets, offsets[start] + SLICE_BYTES, side="right")) - 1
            stop = min(max(stop, start + 1), len(batch))
            part = slice(start, stop)
            yield Slice(rows[part].astype(np.int32), high[part], low[part], data, offsets[start : stop + 1])
            start = stop


def _id_halves(ids: pa.Array) -> tuple[U64, U64]:
    """Ids of 32 hex digits as two numbers, so that their order is that of the ids."""
    data, offsets = string_buffers(ids)
    if (np.diff(offsets) != 32).any():
        raise VerificationError("substring: an id is not 32 hex digits; ids come from curate.documents.document_id")
    raw = bytes.fromhex(data[offsets[0] : offsets[-1]].tobytes().decode("ascii"))
    halves = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 0].copy(), halves[:, 1].copy()


def _id_text(high: int, low: int) -> str:
    return f"{high:016x}{low:016x}"


# ---------------------------------------------------------------- 1: seeds of a shard


def sign_shard(
    folder: Folder, shard: str, batches: Iterable[pa.RecordBatch], config: SubstringConfig, partitions: int
) -> Output:
    """Write the seeds of a shard: per block and key range the distinct hashes with their counts.

    Args:
        batches: ``id``, ``text``, ``row`` of the documents that are looked at, rows ascending.

    Memory: a slice (``SLICE_BYTES``) and a block (``BLOCK_ROWS`` seeds, about 400 MB of English text).
    """
    writer = GroupWriter(folder, NAMES.seeds.format(shard), _SEEDS, delta=["count"])
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


def _write_seeds(writer: GroupWriter, waiting: list[tuple[U64, I32]], block: int, within: bool, partitions: int) -> None:
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


# ---------------------------------------------------------------- 2: seeds that occur often enough


def join_seeds(folder: Folder, shards: Sequence[str], config: SubstringConfig, partition: int, partitions: int) -> Output:
    """Write which seeds of a key range occur in enough documents (``within``: places).

    Memory: ``BLOCK_ROWS`` seeds at a time (larger ranges are read several times), and a bit per seed of the range.

    Raises:
        FileNotFoundError: a shard was not signed.
    """
    name = NAMES.seeds
    answers: list[tuple[str, int, Flags, Flags]] = []
    for rows, low, high in _pieces(folder, name, shards, partition, partitions, "seed"):
        found = _gather(folder, name, shards, partition, partitions, ["seed", "count"], "seed", low, high)
        keys, counts = found["seed"], found["count"]
        group, heads = equal_pairs(keys, keys)
        active = sums(group, counts, len(heads))[group] >= config.min_occurrences
        _spread(answers, rows, found["source"], found["at"], active, np.zeros(len(active), np.bool_))
    return write_answers(folder, NAMES.active.format(range_name(partition)), answers, partition)


Rows = list[tuple[str, int, int]]


def _pieces(
    folder: Folder, name: str, shards: Sequence[str], partition: int, partitions: int, key: str
) -> Iterator[tuple[Rows, int, int]]:
    """The key range in pieces of about ``BLOCK_ROWS`` rows: (shard, block, rows) of all, first and last key."""
    rows: Rows = []
    for shard in shards:
        with group_file(folder, name.format(shard), partitions) as file:
            rows += [(shard, block, n) for block in range(file.blocks) if (n := file.rows(block, partition))]
    pieces = max(1, -(-sum(n for _, _, n in rows) // BLOCK_ROWS))
    for piece in range(pieces):
        at, of = partition * pieces + piece, partitions * pieces
        yield rows, -(-(at << 64) // of), -(-((at + 1) << 64) // of) - 1


def _gather(
    folder: Folder, name: str, shards: Sequence[str], partition: int, partitions: int, columns: list[str], key: str,
    low: int, high: int,
) -> dict[str, Any]:  # fmt: skip
    """The columns of all rows with keys between ``low`` and ``high``; ``source`` numbers (shard, block), ``at`` its row."""
    parts: dict[str, list[Any]] = {c: [] for c in [*columns, "source", "at"]}
    source = 0
    for shard in shards:
        with group_file(folder, name.format(shard), partitions) as file:
            for block in range(file.blocks):
                if not file.rows(block, partition):
                    continue
                table = file.read(block, partition, columns)
                keys = table[key].to_numpy()
                at = np.flatnonzero((keys >= np.uint64(low)) & (keys <= np.uint64(high)))
                for c in columns:
                    parts[c].append(table[c].to_numpy()[at])
                parts["source"].append(np.full(len(at), source, np.int32))
                parts["at"].append(at.astype(np.int32))
                source += 1
    empty = {"source": np.int32, "at": np.int32, "count": np.int64}
    return {c: np.concatenate([np.zeros(0, empty.get(c, np.uint64)), *p]) for c, p in parts.items()}


def _spread(
    answers: list[tuple[str, int, Flags, Flags]], rows: Rows, source: I32, at: I32, flags: Flags, first: Flags
) -> None:
    """Put the flags of a piece at their places in the masks of all (shard, block)."""
    if not answers:
        answers.extend((shard, block, np.zeros(n, np.bool_), np.zeros(n, np.bool_)) for shard, block, n in rows)
    borders = np.searchsorted(source, np.arange(len(rows) + 1))
    for s, (_, _, mask, mask_first) in enumerate(answers):
        part = slice(int(borders[s]), int(borders[s + 1]))
        mask[at[part]] = flags[part]
        mask_first[at[part]] = first[part]


# ---------------------------------------------------------------- 3: stretches around those seeds


def find_windows(
    folder: Folder, shard: str, batches: Iterable[pa.RecordBatch], config: SubstringConfig, partitions: int
) -> list[Output]:
    """Write every stretch of n units whose seed occurs often enough: hashes per key range, and the places apart.

    Args:
        batches: exactly what ``sign_shard`` was given.

    Memory: a slice, a block of seeds, and a block of stretches (``BLOCK_ROWS``, about 250 MB).
    """
    windows = GroupWriter(
        folder, NAMES.windows.format(shard), _WINDOWS, delta=["count"], dictionary=["id_high", "id_low"]
    )
    places = GroupWriter(folder, NAMES.places.format(shard), _PLACES, delta=["row", "place", "window"])
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
    windows: GroupWriter, places: GroupWriter, waiting: list[tuple[Slice, Any]], block: int, within: bool, partitions: int
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


# ---------------------------------------------------------------- 4: stretches that repeat


@dataclass(frozen=True)
class Frequent:
    """A stretch that occurs often: its hashes, in how many documents (``within``: places), and where it is first."""

    count: int
    hash: str
    document: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"count": self.count, "hash": self.hash, "first_document": self.document}


def join_windows(
    folder: Folder, shards: Sequence[str], config: SubstringConfig, partition: int, partitions: int
) -> tuple[Output, list[Frequent], int]:
    """Write which stretches of a key range repeat, and which shard has the document with the smallest id.

    Returns:
        the file, the ``TOP`` most frequent stretches (ties by hash), and how many different stretches repeat.

    Memory: as ``join_seeds``.
    """
    name, columns = NAMES.windows, _WINDOWS.names
    answers: list[tuple[str, int, Flags, Flags]] = []
    top: list[Frequent] = []
    different = 0
    for rows, low, high in _pieces(folder, name, shards, partition, partitions, "a"):
        found = _gather(folder, name, shards, partition, partitions, columns, "a", low, high)
        group, heads = equal_pairs(found["a"], found["b"])
        totals = sums(group, found["count"], len(heads))
        best = smallest(group, found["id_high"], found["id_low"], len(heads))
        is_first = np.zeros(len(group), np.bool_)
        is_first[best] = True
        repeats = totals >= config.min_occurrences
        different += int(repeats.sum())
        top = _top(top, found, heads, totals, best, repeats)
        _spread(answers, rows, found["source"], found["at"], repeats[group], is_first)
    output = write_answers(folder, NAMES.repeats.format(range_name(partition)), answers, partition)
    return output, top, different


def _top(top: list[Frequent], found: dict[str, Any], heads: I64, totals: I64, best: I64, repeats: Flags) -> list[Frequent]:
    chosen = np.flatnonzero(repeats)
    if len(chosen) > TOP:
        least = np.partition(totals[chosen], len(chosen) - TOP)[len(chosen) - TOP]
        chosen = chosen[totals[chosen] >= least]
        keys = found["b"][heads[chosen]], found["a"][heads[chosen]], -totals[chosen]
        chosen = chosen[np.lexsort(keys)][:TOP]
    for g in chosen.tolist():
        name = _id_text(int(found["a"][heads[g]]), int(found["b"][heads[g]]))
        owner = _id_text(int(found["id_high"][best[g]]), int(found["id_low"][best[g]]))
        top.append(Frequent(int(totals[g]), name, owner))
    return most_frequent(top)


def most_frequent(found: Iterable[Frequent]) -> list[Frequent]:
    """The ``TOP`` of them, most frequent first, ties by hash."""
    return sorted(found, key=lambda f: (-f.count, f.hash))[:TOP]


# ---------------------------------------------------------------- 5: spans of a shard


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
        index = np.concatenate([np.arange(b, e) for b, e in zip(begin[touched], end[touched], strict=True)] or [begin[:0]])
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
