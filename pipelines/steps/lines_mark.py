"""Which lines and paragraphs of a shard's documents are repeated, as labels in the rows of the shard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.lines.config import LinesConfig
from curate.documents import IDENTITY, column
from curate.store.shards import Output, write_shard
from pipelines.fates import ROW
from pipelines.steps.base import Result, Run, Work, plain_output
from pipelines.steps.lines_step import UnitStep, open_ranges, range_names, top_of

if TYPE_CHECKING:
    from curate.dedup.lines.count import Repeats
    from curate.kernels.line_hashes import Units
    from curate.store.sections import SectionReader

#: units that are looked up together, and the longest quote of an example in characters
_LOOKED_UP, _QUOTED = 1_000_000, 300
#: merged ranges that together take less on disk are read once per shard
_HELD_BYTES = 32 << 20
_SPAN = pa.struct([pa.field("start", pa.int32(), nullable=False), pa.field("end", pa.int32(), nullable=False)])


class MarkUnits(UnitStep):
    """Marks the repeated lines (paragraphs) of a shard's documents.

    Outputs: labels/<kind>/<shard>.parquet (null for documents that are no survivors), steps/<kind>/<shard>.json (quotes
    of the most frequent ones that this shard keeps first). Memory: a million units, one range of repeated keys, and
    20 bytes per document.
    """

    def __init__(self, run: Run, kind: str, before: tuple[str, ...]) -> None:
        super().__init__(run, kind, before)
        self.after = (f"{kind}_merge", f"{kind}_count", *before)
        self.cuts = (f"{kind}_spans",) if self.options.remove else ()
        self.min_remaining_words = self.options.min_remaining_words

    def material(self) -> dict[str, Any]:
        least = ("min_occurrences",) if self.options.counting == "bloom" else ()
        return {**self.counting(), **self.said("keep", "examples", *least)}

    def columns(self) -> pa.Schema:
        kind = self.kind
        where = f"where repeated {kind} lie in the text, adjacent ones as one; null: not looked at"
        return pa.schema(
            [
                column(f"{kind}_spans", pa.list_(pa.field("item", _SPAN, nullable=False)), where, unit="bytes"),
                column(f"{kind}_repeated_ratio", pa.float32(), f"share of the text in repeated {kind}; null: not "
                       "looked at, or no text", unit="bytes/byte", range_="0–1"),
                column(f"{kind}_repeated_count", pa.int32(), f"repeated {kind} of the text; null: not looked at"),
            ]
        )  # fmt: skip

    def execute(self, partition: str, work: Work) -> Result:
        with ExitStack() as stack:
            looked_up = _LookUp(self, stack)
            found = _Found(self._rows(partition))
            for texts, units, rows, ids in _blocks(self.live(partition, work), self.options):
                found.add(rows, texts, units, looked_up.marked(units, ids))
                looked_up.quote(units, ids, texts)
        outputs = [self._write(partition, found), self._quotes(partition, looked_up.quotes)]
        counts = {
            "documents": found.documents, "units": int(found.count[found.looked_at].sum()),
            "bytes": int(found.size.sum()), "marked_bytes": int(found.marked.sum()),
            "marked_documents": int((found.count > 0).sum()),
        }  # fmt: skip
        return Result(outputs, counts)

    def _rows(self, partition: str) -> int:
        with self.run.folder.parquet(f"documents/{partition}.parquet") as file:
            return int(file.metadata.num_rows)

    def _write(self, partition: str, found: _Found) -> Output:
        ids = self.run.folder.table(f"documents/{partition}.parquet", ["id"])["id"].combine_chunks()
        schema = pa.schema([IDENTITY.field("id"), *self.columns()])
        table = pa.Table.from_arrays([ids, *found.arrays()], schema=schema)
        return write_shard(self.run.folder, f"labels/{self.name}/{partition}.parquet", schema, table.to_batches())

    def _quotes(self, partition: str, quotes: dict[str, str]) -> Output:
        name = f"steps/{self.name}/{partition}.json"
        text = json.dumps(quotes, sort_keys=True).encode("ascii")
        self.run.folder.write(name, text)
        return plain_output(name, text)


class _LookUp:
    """Marks units by the merged ranges, one of which is in memory at a time (all, if they are small)."""

    def __init__(self, step: MarkUnits, stack: ExitStack) -> None:
        self._options = step.options
        self._readers = open_ranges(step, stack)
        self._held: dict[int, Repeats] = {}
        size = sum(step.sealed(f"{step.kind}_merge", name).output.bytes for name in range_names(step))
        self._hold_all = size <= _HELD_BYTES
        exact = step.options.counting == "exact"
        top = top_of(self._readers, step.options.examples) if exact else []
        self._top = {int(key, 16): (key, first) for _, key, first in top}
        self.quotes: dict[str, str] = {}

    def marked(self, units: Units, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Per unit whether it is to be cut."""
        from curate.dedup.lines.count import halves

        high, low = halves(ids)
        n = len(self._readers)
        shift = np.uint64(64 - (n.bit_length() - 1))
        out = np.zeros(len(units.key), np.bool_)
        for k in range(n):
            at = np.flatnonzero(units.key >> shift == k) if n > 1 else np.arange(len(units.key))
            if len(at):
                d = units.document[at]
                out[at] = self._repeats(k).marked(units.key[at], high[d], low[d], units.first[at])
        return out

    def _repeats(self, k: int) -> Repeats:
        if k not in self._held:
            self._held = {**(self._held if self._hold_all else {}), k: self._read(self._readers[k])}
        return self._held[k]

    def _read(self, reader: SectionReader) -> Repeats:
        from curate.dedup.lines.bloom import BloomRepeats, CountingFilter, Size
        from curate.dedup.lines.count import COUNTS, Counts, ExactRepeats

        if self._options.counting == "bloom":
            size = Size(int(reader.about["cells"]), int(reader.about["hashes"]))
            return BloomRepeats(CountingFilter.from_table(reader.section(), size), self._options.min_occurrences)
        table = reader.section()
        counts = Counts(*(table.column(name).to_numpy() for name in COUNTS.names))
        return ExactRepeats(counts, self._options.keep == "first")

    def quote(self, units: Units, ids: pa.Array, texts: pa.Array) -> None:
        """Remember how the most frequent units read in the documents that hold them first."""
        if not self._top:
            return
        at = np.flatnonzero(units.first & np.isin(units.key, np.array(list(self._top), np.uint64)))
        for i in at.tolist():
            key, first = self._top[int(units.key[i])]
            d = int(units.document[i])
            if ids[d].as_py() == first:
                unit = texts[d].as_py().encode("utf-8")[units.start[i] : units.end[i]].decode("utf-8").strip()
                self.quotes[key] = unit if len(unit) <= _QUOTED else f"{unit[: _QUOTED - 1]}…"


class _Found:
    """What was marked in the rows of a shard."""

    def __init__(self, rows: int) -> None:
        self.documents = 0
        self.looked_at = np.zeros(rows, np.bool_)
        self.size, self.marked = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.count, self._spans = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
        self._starts: list[npt.NDArray[np.int32]] = []
        self._ends: list[npt.NDArray[np.int32]] = []

    def add(self, rows: npt.NDArray[np.int32], texts: pa.Array, units: Units, marked: npt.NDArray[np.bool_]) -> None:
        """Take the marked units of some rows, which come in order."""
        from curate.dedup.lines.count import marks_of

        marks = marks_of(units, marked, len(rows))
        self.documents += len(rows)
        self.looked_at[rows] = True
        self.size[rows] = pc.binary_length(texts).to_numpy(zero_copy_only=False)
        self.marked[rows], self.count[rows], self._spans[rows] = marks.bytes, marks.count, marks.spans
        self._starts.append(marks.start)
        self._ends.append(marks.end)

    def arrays(self) -> list[pa.Array]:
        """Spans, ratio and count of every row."""
        unseen = ~self.looked_at
        nothing = [np.zeros(0, np.int32)]
        borders = np.concatenate([[0], np.cumsum(self._spans)]).astype(np.int32)
        ends = [np.concatenate([*nothing, *parts]) for parts in (self._starts, self._ends)]
        spans = pa.StructArray.from_arrays([pa.array(e) for e in ends], fields=list(_SPAN))
        kind = pa.list_(pa.field("item", _SPAN, nullable=False))
        lists = pa.ListArray.from_arrays(pa.array(borders), spans, type=kind, mask=pa.array(unseen))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (self.marked / self.size).astype(np.float32)
        return [lists, pa.array(ratio, mask=unseen | (self.size == 0)), pa.array(self.count, mask=unseen)]


def _blocks(
    batches: Iterator[pa.RecordBatch], options: LinesConfig
) -> Iterator[tuple[pa.Array, Units, npt.NDArray[np.int32], pa.Array]]:
    """Texts, their units, their rows and their ids, about a million units at a time."""
    from curate.dedup.lines.count import units_of

    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += (pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0) // 16 + len(batch)
        if size >= _LOOKED_UP:
            yield _block(held, options, units_of)
            held, size = [], 0
    if held:
        yield _block(held, options, units_of)


def _block(held: list[pa.RecordBatch], options: LinesConfig, units_of: Any) -> Any:
    table = pa.Table.from_batches(held).combine_chunks()
    texts, rows, ids = (_one(table.column(name)) for name in ("text", ROW, "id"))
    return texts, units_of(texts, options), rows.to_numpy(), ids


def _one(chunked: pa.ChunkedArray) -> pa.Array:
    return (
        chunked.chunk(0)
        if chunked.num_chunks == 1
        else pa.concat_arrays(chunked.chunks or [pa.array([], chunked.type)])
    )
