"""True similarity of candidate pairs: the shingle sets of both texts, compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.config import MinhashConfig
from curate.dedup.minhash import shingle
from curate.dedup.survivors import Corpus
from curate.errors import VerificationError
from curate.kernels.clusters import components
from curate.kernels.minhash import distinct, intersections

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Texts read and shingled at a time; a longer document is read alone.
READ_BYTES = 32 << 20
_READ_ROWS = 2048
_WHOLE = np.uint64((1 << 64) - 1)
#: Bytes of shingle hashes per byte of text, at most, and what a document costs beside them.
_HASH_BYTES_PER_TEXT_BYTE = 2
_BYTES_PER_DOCUMENT = 64


class TextReader(Protocol):
    """Gives texts back by place."""

    def texts(self, shard: Any, rows: npt.NDArray[np.int32]) -> pa.Array:
        """The texts of these rows of ``shard``, in the order of ``rows``, which ascend."""
        ...


class EvidenceReader(TextReader, Protocol):
    """Gives texts of documents of this run, and the stored shingle sets of those of earlier ones."""

    def sets(self, shard: Any, rows: npt.NDArray[np.int32]) -> tuple[U64, I64]:
        """``(hashes, borders)`` of these rows of an earlier run's ``shard``: sets, in the order of ``rows``."""
        ...


class ParquetTexts:
    """Texts of shards that are Parquet files; reads only the row groups that are asked for.

    Args:
        paths: shard → file.
        column: the text column.
    """

    def __init__(self, paths: Mapping[Any, Path | str], column: str = "text") -> None:
        self._paths = paths
        self._column = column

    def texts(self, shard: Any, rows: npt.NDArray[np.int32]) -> pa.Array:
        """The texts of these rows, ascending.

        Raises:
            VerificationError: the file has fewer rows than its signatures say.
        """
        with pq.ParquetFile(self._paths[shard], page_checksum_verification=True) as file:
            meta = file.metadata
            ends = np.cumsum([meta.row_group(g).num_rows for g in range(meta.num_row_groups)], dtype=np.int64)
            if len(rows) and (not len(ends) or rows[-1] >= ends[-1]):
                raise VerificationError(
                    f"dedup: shard {shard} has {meta.num_rows} rows, its signatures name row {rows[-1]}"
                )
            groups = np.searchsorted(ends, rows, side="right")
            parts = []
            for group in np.unique(groups).tolist():
                start = int(ends[group]) - meta.row_group(group).num_rows
                column = file.read_row_group(group, columns=[self._column]).column(0)
                parts.append(column.take(pa.array(rows[groups == group] - start)))
        return pa.chunked_array([c for p in parts for c in p.chunks], type=parts[0].type if parts else pa.string())


class TableTexts:
    """Texts of shards that are tables in memory.

    Args:
        tables: shard → table with the text column.
        column: the text column.
    """

    def __init__(self, tables: Mapping[Any, pa.Table | pa.RecordBatch], column: str = "text") -> None:
        self._tables = tables
        self._column = column

    def texts(self, shard: Any, rows: npt.NDArray[np.int32]) -> pa.Array:
        """The texts of these rows."""
        return self._tables[shard].column(self._column).take(pa.array(rows))


@dataclass(frozen=True)
class Compared:
    """Compared pairs, sorted by code.

    Attributes:
        codes: ``left << 32 | right`` as ranks, left < right.
        shared: shingles in both sets.
        n_left: shingles in the left set.
        n_right: shingles in the right set.
    """

    codes: U64
    shared: I64
    n_left: I64
    n_right: I64

    @property
    def left(self) -> I64:
        return (self.codes >> np.uint64(32)).astype(np.int64)

    @property
    def right(self) -> I64:
        return (self.codes & np.uint64(0xFFFFFFFF)).astype(np.int64)

    @property
    def similarity(self) -> npt.NDArray[np.float64]:
        """Jaccard similarity of each pair: shared / (left + right - shared); 0 for two empty sets."""
        union = self.n_left + self.n_right - self.shared
        return np.asarray(np.divide(self.shared, union, out=np.zeros(len(union)), where=union > 0), np.float64)

    def merged(self, other: Compared) -> Compared:
        """Both together; they must not overlap."""
        order = np.argsort(np.concatenate([self.codes, other.codes]), kind="stable")
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("codes", "shared", "n_left", "n_right"))
        return Compared(*(np.concatenate(pair)[order] for pair in pairs))

    @staticmethod
    def nothing() -> Compared:
        """No pairs."""
        empty = np.zeros(0, np.int64)
        return Compared(np.zeros(0, np.uint64), empty, empty, empty)


class Verifier:
    """Compares pairs of documents by their shingle sets (sets of 64-bit hashes; two different shingles of a pair share
    one with a probability of about |A|·|B| / 2^64, 10^-11 for texts of 15,000 words).

    Texts are read once per call where the budget holds a component of the pairs; beyond it, components are cut into
    blocks and compared block by block.

    Args:
        corpus: the documents.
        reader: gives their texts.
        config: says what a shingle is.
        memory_mb: budget for shingle sets, in MB; one document may exceed it alone.
        earlier: that many of the first shards of the corpus are of earlier runs; the reader must be an
            ``EvidenceReader``.
        bits: of each hash that earlier runs stored. A pair with a document of an earlier run is compared by so many
            bits of both: with 32, |A|·|B| / 2^32 shingles are expected to agree by chance, 0.0002 for texts of 1,000
            words and 2.3 for 100,000, where it changes the similarity by 10^-5.
    """

    def __init__(
        self,
        corpus: Corpus,
        reader: TextReader | EvidenceReader,
        config: MinhashConfig,
        memory_mb: float = 512,
        *,
        earlier: int = 0,
        bits: int = 64,
    ) -> None:
        self._earlier = earlier
        self._short = np.uint64((1 << bits) - 1)
        self._mask = _WHOLE
        self._corpus = corpus
        self._reader = reader
        self._config = config
        self._block_bytes = max(1, int(memory_mb * 1_000_000) // 2)
        self._blocks: dict[int, tuple[I64, U64, I64]] = {}

    def compare(self, codes: U64) -> Compared:
        """Sizes and intersections for sorted, distinct ``left << 32 | right`` codes of ranks."""
        old = int(np.searchsorted(codes, np.uint64(self._corpus.fixed << 32)))  # the preferred one is of an earlier run
        if not old:
            return self._compare(codes, _WHOLE)
        return self._compare(codes[:old], self._short).merged(self._compare(codes[old:], _WHOLE))

    def _compare(self, codes: U64, mask: np.uint64) -> Compared:
        """As ``compare``, by the bits of ``mask``."""
        if not len(codes):
            return Compared.nothing()
        self._mask = mask
        left = (codes >> np.uint64(32)).astype(np.int64)
        right = (codes & np.uint64(0xFFFFFFFF)).astype(np.int64)
        nodes = np.unique(np.concatenate([left, right]))
        a, b = np.searchsorted(nodes, left), np.searchsorted(nodes, right)
        block = self._block_of(nodes, a, b)
        low, high = np.minimum(block[a], block[b]), np.maximum(block[a], block[b])
        order = np.lexsort((b, a, high, low))
        shared, n_left, n_right = (np.zeros(len(codes), np.int64) for _ in range(3))
        self._blocks.clear()
        for pairs in _runs(low[order], high[order]):
            chosen = order[pairs]
            first, second = int(low[chosen[0]]), int(high[chosen[0]])
            members, hashes, borders = self._load(nodes, block, first, second)
            x, y = np.searchsorted(members, a[chosen]), np.searchsorted(members, b[chosen])
            sizes = np.diff(borders)
            n_left[chosen], n_right[chosen] = sizes[x], sizes[y]
            shared[chosen] = intersections(hashes, borders, x, y)
        self._blocks.clear()
        return Compared(codes, shared, n_left, n_right)

    def _block_of(self, nodes: I64, a: I64, b: I64) -> I64:
        """Per node, the number of its block: components stay together as far as the budget allows."""
        component = components(len(nodes), a, b)
        order = np.argsort(component, kind="stable")
        cost = self._corpus.n_bytes[nodes[order]] * _HASH_BYTES_PER_TEXT_BYTE + _BYTES_PER_DOCUMENT
        block = np.empty(len(nodes), np.int64)
        block[order] = (np.cumsum(cost) - 1) // self._block_bytes
        return block

    def _load(self, nodes: I64, block: I64, first: int, second: int) -> tuple[I64, U64, I64]:
        """``(members, hashes, borders)`` of one block, or of two together; members are positions in ``nodes``."""
        for number in list(self._blocks):
            if number not in (first, second):
                del self._blocks[number]
        for number in (first, second):
            if number not in self._blocks:
                self._blocks[number] = self._read(nodes, np.flatnonzero(block == number))
        if first == second:
            return self._blocks[first]
        one, two = self._blocks[first], self._blocks[second]
        members = np.concatenate([one[0], two[0]])
        sizes = np.concatenate([np.diff(one[2]), np.diff(two[2])])
        hashes = np.concatenate([one[1], two[1]])
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        if (np.diff(members) > 0).all():
            return members, hashes, starts
        order = np.argsort(members)
        return members[order], *_gather(hashes, starts, order)

    def _read(self, nodes: I64, members: I64) -> tuple[I64, U64, I64]:
        """The shingle sets of these documents, in the order of ``members``."""
        ranks = nodes[members]
        order = np.lexsort((self._corpus.row[ranks], self._corpus.shard[ranks]))
        hashes: list[U64] = []
        sizes: list[I64] = []
        for shard, rows in self._requests(ranks[order]):
            sets, borders = self._sets(shard, rows)
            hashes.append(sets)
            sizes.append(np.diff(borders))
        together = np.concatenate([np.zeros(0, np.uint64), *hashes])
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate([np.zeros(0, np.int64), *sizes]))])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return members, *_gather(together, starts, back)

    def _sets(self, shard: int, rows: npt.NDArray[np.int32]) -> tuple[U64, I64]:
        """The shingle sets of these rows."""
        name = self._corpus.shards[shard]
        if shard < self._earlier:
            stored, borders = self._reader.sets(name, rows)  # type: ignore[union-attr]
            found = len(borders) - 1
        else:
            texts = self._reader.texts(name, rows)
            found = len(texts)
        if found != len(rows):
            raise VerificationError(f"dedup: asked {len(rows)} texts of shard {name}, got {found}")
        if shard < self._earlier:
            return stored, borders
        shingles = shingle(texts, self._config)
        hashes = shingles.hashes if self._mask == _WHOLE else shingles.hashes & self._mask
        sets, borders = distinct(hashes, shingles.borders)
        return sets, borders

    def _requests(self, ranks: I64) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
        """Which rows to read together, for documents in the order of shard and row."""
        shard, n_bytes = self._corpus.shard[ranks], self._corpus.n_bytes[ranks]
        start = 0
        while start < len(ranks):
            same = int(np.searchsorted(shard, shard[start], side="right"))
            stop = min(start + _READ_ROWS, same)
            fits = int(np.searchsorted(np.cumsum(n_bytes[start:stop]), READ_BYTES, side="right"))
            stop = start + max(1, fits)
            yield int(shard[start]), self._corpus.row[ranks[start:stop]].astype(np.int32)
            start = stop


def _runs(low: I64, high: I64) -> Iterator[slice]:
    """Slices over which both arrays stay equal."""
    changes = np.flatnonzero((np.diff(low) != 0) | (np.diff(high) != 0)) + 1
    edges = [0, *changes.tolist(), len(low)]
    for start, stop in pairwise(edges):
        yield slice(start, stop)


def _gather(hashes: U64, starts: I64, order: I64) -> tuple[U64, I64]:
    """The sets in another order."""
    sizes = np.diff(starts)[order]
    borders = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    index = np.arange(int(borders[-1])) + np.repeat(starts[:-1][order] - borders[:-1], sizes)
    return hashes[index], borders
