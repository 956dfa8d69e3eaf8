"""The key file of a shard: all keys by which its documents can meet others, sorted, cut into equal ranges.

Whoever joins 1 or 1,024 ranges of keys reads the same files: a file has as many sections as its entries fill, a power
of two, so a range of keys is a run of sections or lies within one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.config import Plan
from curate.dedup.signatures import band_matrix
from curate.documents import column
from curate.store.folder import Folder
from curate.store.sections import Sealed, SectionReader, write_sections

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: What a key is of, in its two lowest bits.
BAND, TEXT, URL, CONTENT = 0, 1, 2, 3
_KIND_BITS = np.uint64(3)
_EXACT = {"text_digest": TEXT, "url_digest": URL, "content_digest": CONTENT}

#: Entries that a section holds at least, if there are several; and how many sections there are at most.
SECTION_ENTRIES = 4096
MOST_SECTIONS = 1024

ENTRIES = pa.schema(
    [
        column("key", pa.uint64(), "band key or digest; the two lowest bits say of what: 0 band, 1 text, 2 address, "
               "3 fetched content", nullable=False),
        column("row", pa.int32(), "row of the document in its shard", nullable=False),
        column("text", pa.uint64(), "the first half of its text digest, by which copies are told; 0: like no other",
               nullable=False),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Entries:
    """Entries of one range of keys, of one shard after the other; each shard's are sorted by key, then row.

    Attributes:
        keys: as in ``ENTRIES``.
        documents: number of the document of each key.
        texts: as in ``ENTRIES``.
    """

    keys: U64
    documents: I64
    texts: U64

    def __len__(self) -> int:
        return len(self.keys)


def key_entries(signatures: pa.Table, plan: Plan) -> pa.Table:
    """``ENTRIES`` of a signature table: one per band and document, one per digest of an exact comparison.

    Two documents with different digests or bands may share a key with a probability of 2^-62: they are then compared
    like any other candidates. Memory: 60 bytes per entry.
    """
    rows = signatures.column("row").to_numpy().astype(np.int32)
    text = _folded(signatures, "text_digest")
    keys: list[U64] = [np.zeros(0, np.uint64)]
    whose: list[I64] = [np.zeros(0, np.int64)]
    for name, kind in _EXACT.items():
        if name in signatures.column_names:
            there = np.flatnonzero(signatures.column(name).is_valid().to_numpy())
            keys.append(_folded(signatures, name)[there] & ~_KIND_BITS | np.uint64(kind))
            whose.append(there)
    if plan.minhash is not None:
        matrix, valid = band_matrix(signatures, plan.minhash)
        there = np.flatnonzero(valid)
        keys.append((matrix[there] & ~_KIND_BITS).ravel())
        whose.append(np.repeat(there, matrix.shape[1]))
    key, at = np.concatenate(keys), np.concatenate(whose)
    order = np.lexsort((rows[at], key))
    at = at[order]
    return pa.Table.from_arrays([pa.array(key[order]), pa.array(rows[at]), pa.array(text[at])], schema=ENTRIES)


def write_keys(folder: Folder, name: str, entries: pa.Table, least: int = SECTION_ENTRIES) -> Sealed:
    """The key file of these entries, ``least`` or more of them in a section."""
    sections = section_count(entries.num_rows, least)
    keys = entries.column("key").to_numpy()
    starts = np.searchsorted(keys, _section_starts(sections))
    ends = [*starts[1:].tolist(), len(keys)]
    parts = ((s, entries.slice(a, b - a)) for s, (a, b) in enumerate(zip(starts.tolist(), ends, strict=True)))
    return write_sections(folder, name, ENTRIES, parts, {"sections": sections})


def section_count(entries: int, least: int = SECTION_ENTRIES) -> int:
    """A power of two, so that each section holds ``least`` entries or more on average, if there are several."""
    return min(MOST_SECTIONS, 1 << max(0, (entries // least).bit_length() - 1))


def _section_starts(sections: int) -> U64:
    return np.arange(sections, dtype=np.uint64) * np.uint64((1 << 64) // sections & (1 << 64) - 1)


def read_keys(reader: SectionReader, k: int, n: int) -> pa.Table:
    """``ENTRIES`` of the k-th of ``n`` equal ranges of keys (``n`` a power of two), sorted; whole sections are read."""
    sections = int(reader.about["sections"])
    if n <= sections:
        each = sections // n
        return reader.section(range(k * each, (k + 1) * each))
    found = reader.section([k * sections // n])
    low, high = (k << 64) // n, ((k + 1) << 64) // n - 1
    keys = found.column("key").to_numpy()
    start = int(np.searchsorted(keys, np.uint64(low)))
    return found.slice(start, int(np.searchsorted(keys, np.uint64(high), side="right")) - start)


def join_entries(parts: Iterator[tuple[int, pa.Table, npt.NDArray[np.bool_] | None]]) -> Entries:
    """All shards' entries of one range together.

    Args:
        parts: per shard, the number of its first document, its ``ENTRIES``, and which rows of the shard take part
            (all if None).
    """
    keys: list[U64] = [np.zeros(0, np.uint64)]
    documents: list[I64] = [np.zeros(0, np.int64)]
    texts: list[U64] = [np.zeros(0, np.uint64)]
    for first, table, chosen in parts:
        rows = table.column("row").to_numpy()
        columns = table.column("key").to_numpy(), rows.astype(np.int64) + first, table.column("text").to_numpy()
        if chosen is not None:
            mask = chosen[rows]
            columns = columns[0][mask], columns[1][mask], columns[2][mask]
        keys.append(columns[0])
        documents.append(columns[1])
        texts.append(columns[2])
    return Entries(np.concatenate(keys), np.concatenate(documents), np.concatenate(texts))


def _folded(table: pa.Table, name: str) -> U64:
    """The first eight bytes of each digest; 0 for null and where there is no such column."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.uint64)
    digests = table.column(name).combine_chunks()
    if isinstance(digests, pa.ChunkedArray):
        digests = (
            pa.concat_arrays(digests.chunks) if digests.num_chunks else pa.array([], table.schema.field(name).type)
        )
    if not len(digests):
        return np.zeros(0, np.uint64)
    raw = np.frombuffer(digests.buffers()[1], np.uint64)[2 * digests.offset : 2 * (digests.offset + len(digests))]
    valid = digests.is_valid().to_numpy(zero_copy_only=False)
    return np.where(valid, raw[::2], np.uint64(0))
