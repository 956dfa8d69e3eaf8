"""Lines and paragraphs that documents share: counted per shard, summed by key range, looked up again per shard.

A unit (line or paragraph) is known by a 64-bit key of its normalised form (``kernels.line_hashes``). Among n different
units n² / 2^65 pairs are expected to share a key: 0.03 among 10^9, 27,000 among 10^12.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.lines.config import LinesConfig, ParagraphsConfig
from curate.documents import column
from curate.kernels.line_hashes import Units, sum_up, units
from curate.kernels.strings import string_buffers
from curate.store.folder import Folder, LocalFolder
from curate.store.sections import Sealed, SectionReader, SectionWriter, section_writer

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
Bools = npt.NDArray[np.bool_]

#: units of a shard whose counts are held at a time (about 100 bytes each); beyond, they go through scratch files
MOST_HELD = 4_000_000
#: key ranges of a shard's file; each holds this many units at least, if there are several
MOST_SECTIONS, SECTION_UNITS = 1024, 8192

COUNTS = pa.schema(
    [
        column("key", pa.uint64(), "key of the normalised line or paragraph", nullable=False),
        column("documents", pa.uint32(), "documents that hold it", nullable=False),
        column(
            "first_high",
            pa.uint64(),
            "first half of the smallest id of these documents; 0 for a Bloom filter",
            nullable=False,
        ),
        column("first_low", pa.uint64(), "second half of that id", nullable=False),
    ]
)


@dataclass(frozen=True)
class Counts:
    """Units with the documents that hold them, each key once, ascending; see ``COUNTS``."""

    key: U64
    documents: U32
    high: U64
    low: U64

    def __len__(self) -> int:
        return len(self.key)

    def table(self) -> pa.Table:
        return pa.Table.from_arrays(
            [pa.array(a) for a in (self.key, self.documents, self.high, self.low)], COUNTS.names
        )

    def between(self, k: int, n: int) -> Counts:
        """The k-th of n equal ranges of keys."""
        low = int(np.searchsorted(self.key, np.uint64((k << 64) // n)))
        high = int(np.searchsorted(self.key, np.uint64(((k + 1) << 64) // n - 1), side="right"))
        return Counts(self.key[low:high], self.documents[low:high], self.high[low:high], self.low[low:high])

    def chosen(self, mask: Bools) -> Counts:
        """Those where ``mask`` is true."""
        return Counts(self.key[mask], self.documents[mask], self.high[mask], self.low[mask])


def units_of(texts: pa.Array, config: LinesConfig) -> Units:
    """The units of each text that the config counts."""
    blank_lines = isinstance(config, ParagraphsConfig) and config.separator == "blank_line"
    return units(
        *string_buffers(texts), blank_lines=blank_lines, zero_digits=config.digits == "zero",
        min_words=config.min_words, min_bytes=config.min_bytes,
    )  # fmt: skip


def halves(ids: pa.Array) -> tuple[U64, U64]:
    """Both halves of ids of 32 hex digits, in the order of the ids."""
    raw = np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ">u8").astype(np.uint64).reshape(-1, 2)
    return raw[:, 0], raw[:, 1]


def summed(parts: Sequence[Counts]) -> Counts:
    """All parts as one. Memory: 90 bytes per entry of the parts."""
    key, documents, high, low = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("key", "documents", "high", "low")
    )
    return Counts(*sum_up(key, documents, high, low, np.argsort(key)))


def no_counts() -> Counts:
    """Nothing counted."""
    empty = np.zeros(0, np.uint64)
    return Counts(empty, np.zeros(0, np.uint32), empty, empty)


class ShardCounter:
    """Counts the units of a shard's documents in bounded memory.

    Args:
        scratch: folder for what does not fit into ``MOST_HELD`` units.
    """

    def __init__(self, config: LinesConfig, scratch: Path, most_held: int = MOST_HELD) -> None:
        self._config, self._most = config, most_held
        self._folder = LocalFolder(scratch)
        self._spilled: list[Sealed] = []
        self._held: list[Counts] = []
        self._size = 0
        #: documents and units (repeats within a document too) so far
        self.documents, self.units = 0, 0

    def add(self, ids: pa.Array, texts: pa.Array) -> None:
        """Count the units of these documents."""
        found = units_of(texts, self._config)
        self.documents += len(ids)
        self.units += len(found.key)
        at = found.document[found.first]
        ones = np.ones(len(at), np.uint32)
        high, low = np.zeros((2, len(ids)), np.uint64) if self._config.counting == "bloom" else halves(ids)
        self._held.append(Counts(found.key[found.first], ones, high[at], low[at]))
        self._size += len(at)
        if self._size >= self._most:
            self._hold(summed(self._held))

    def _hold(self, one: Counts) -> None:
        self._held, self._size = [one], len(one)
        if self._size >= self._most // 2:
            name = f"line-counts-{len(self._spilled)}.parquet"
            with section_writer(self._folder, name, COUNTS, {"sections": MOST_SECTIONS}) as writer:
                _write(writer, one, MOST_SECTIONS)
                self._spilled.append(writer.close())
            self._held, self._size = [], 0

    def write(self, folder: Folder, name: str) -> Sealed:
        """The counts as a sealed file, in sections by key range: 28 bytes per different unit, 12 for a Bloom filter."""
        rest = summed(self._held) if self._held else no_counts()
        if not self._spilled:
            sections = section_count(len(rest))
            with section_writer(folder, name, COUNTS, {"sections": sections}) as writer:
                _write(writer, rest, sections)
                return writer.close()
        with ExitStack() as stack:
            spilled = [stack.enter_context(SectionReader(self._folder, s.output.path, s)) for s in self._spilled]
            writer = stack.enter_context(section_writer(folder, name, COUNTS, {"sections": MOST_SECTIONS}))
            for k in range(MOST_SECTIONS):
                parts = [read_counts(one, k, MOST_SECTIONS) for one in spilled]
                writer.write(k, summed([*parts, rest.between(k, MOST_SECTIONS)]).table())
            sealed = writer.close()
        for one in self._spilled:
            self._folder.remove(one.output.path)
        return sealed


def section_count(entries: int) -> int:
    """A power of two, so that sections hold ``SECTION_UNITS`` on average if there are several."""
    return min(MOST_SECTIONS, 1 << max(0, (entries // SECTION_UNITS).bit_length() - 1))


def read_counts(reader: SectionReader, k: int, n: int) -> Counts:
    """Counts of the k-th of ``n`` key ranges (a power of two) of a shard; VerificationError if the file is damaged."""
    sections = int(reader.about["sections"])
    first = k * sections // n
    table = reader.section(range(first, max((k + 1) * sections // n, first + 1)))
    found = Counts(*(table.column(name).to_numpy() for name in COUNTS.names))
    return found if n <= sections else found.between(k, n)


def merged(parts: Iterable[Counts], most_held: int = MOST_HELD) -> Counts:
    """The counts of all shards in a key range. Memory: 90 bytes per different unit, and ``most_held`` more."""
    total, waiting, size = no_counts(), list[Counts](), 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= max(most_held, len(total)):
            total, waiting, size = summed([total, *waiting]), [], 0
    return summed([total, *waiting]) if waiting else total


def histogram(documents: U32) -> dict[str, int]:
    """Different units by the documents that hold them: 1, 2, 3–4, 5–8 …"""
    if not len(documents):
        return {}
    classes = np.ceil(np.log2(documents.astype(np.float64))).astype(np.int64)
    found = np.bincount(classes)
    names = [str(1 << c) if c < 2 else f"{(1 << (c - 1)) + 1}-{1 << c}" for c in range(len(found))]
    return {name: int(n) for name, n in zip(names, found, strict=True) if n}


class Repeats(Protocol):
    """Says of units of a key range which are to be cut."""

    def marked(self, keys: U64, high: U64, low: U64, first: Bools) -> Bools:
        """Per unit: it is repeated, and not the one occurrence that is kept.

        Args:
            high, low: id of the unit's document.
            first: it is its document's first of that key.
        """


@dataclass(frozen=True)
class ExactRepeats:
    """Repeated units of a key range, with the documents that keep one."""

    counts: Counts
    keep_first: bool

    def marked(self, keys: U64, high: U64, low: U64, first: Bools) -> Bools:
        """See ``Repeats``."""
        if not len(self.counts):
            return np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self.counts.key, keys), len(self.counts) - 1)
        marked: Bools = self.counts.key[at] == keys
        if self.keep_first:
            marked &= ~(first & (self.counts.high[at] == high) & (self.counts.low[at] == low))
        return marked


@dataclass(frozen=True)
class Marks:
    """What is marked in some documents.

    Attributes:
        count: marked units per document.
        bytes: what they hold, with what separates them from the next.
        spans: per document how many spans; adjacent units are one span.
        start, end: of all spans, as bytes of the document's text.
    """

    count: npt.NDArray[np.int32]
    bytes: npt.NDArray[np.int64]
    spans: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]


def marks_of(found: Units, marked: Bools, documents: int) -> Marks:
    """The marked units of ``documents`` texts as spans."""
    d, start, end = found.document[marked], found.start[marked], found.end[marked]
    count = np.bincount(d, minlength=documents).astype(np.int32)
    size = np.bincount(d, weights=end - start, minlength=documents).astype(np.int64)
    opens = np.ones(len(d), np.bool_)
    opens[1:] = (d[1:] != d[:-1]) | (start[1:] != end[:-1])
    closes = np.append(opens[1:], True)[: len(d)]
    spans = np.bincount(d[opens], minlength=documents).astype(np.int32)
    return Marks(count, size, spans, start[opens], end[closes])


def _write(writer: SectionWriter, counts: Counts, sections: int) -> None:
    for k in range(sections):
        writer.write(k, counts.between(k, sections).table())
