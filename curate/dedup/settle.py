"""One partition of components: its documents, its links, and what ``resolution`` decides of them.

Components do not touch each other, so the decisions on each are those that ``resolve`` makes with all documents at
hand; what is here only gives ``decide`` its documents, its candidates, and texts that were gathered beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.config import Plan
from curate.dedup.join import Candidates, candidates_of
from curate.dedup.links import Link
from curate.dedup.resolution import Resolved, decide
from curate.dedup.signatures import SIGNED_WITH, signing_parameters
from curate.dedup.survivors import Corpus, load_corpus
from curate.dedup.verify import EvidenceReader, TextReader, Verifier
from curate.errors import VerificationError
from curate.kernels.clusters import first_pairs
from curate.store.sections import SectionReader

I64 = npt.NDArray[np.int64]

#: Shingle sets held while pairs are compared, in MB.
MEMORY_MB = 512


def settle(
    tables: Sequence[tuple[Any, int, pa.Table]],
    links: tuple[Link, Link],
    plan: Plan,
    reader: TextReader | EvidenceReader,
    *,
    earlier: int = 0,
    bits: int = 64,
    memory_mb: float = MEMORY_MB,
) -> Resolved:
    """What becomes of the documents of one partition of components.

    Args:
        tables: per shard, its name, the number of its first document, and the rows of its signature table that belong
            here, with the column ``compared``: whether the document's text was gathered.
        links: all pairs and buckets among them.
        reader: gives gathered texts.
        earlier: that many of the first tables are of earlier runs; they have a column ``dump``.
        bits: of each hash in the shingle sets of earlier runs.
        memory_mb: budget for shingle sets; beside it 150 bytes per document and 100 per candidate pair.

    Raises:
        VerificationError: links name documents that are not there.
    """
    signed = {SIGNED_WITH: signing_parameters(plan).encode()}
    corpus = load_corpus([(name, table.replace_schema_metadata(signed)) for name, _, table in tables], plan, earlier)
    if plan.minhash is None:
        return decide(corpus, plan)
    numbers = [first + table.column("row").to_numpy().astype(np.int64) for _, first, table in tables]
    compared = [table.column("compared").to_numpy().astype(np.bool_) for _, _, table in tables]
    number, has_text = np.concatenate([np.zeros(0, np.int64), *numbers]), np.concatenate([[], *compared]).astype(bool)
    rank = np.concatenate([np.zeros(0, np.int64), *corpus.ranks])
    found = _candidates(corpus, number, rank, links, plan.minhash.small_bucket)
    seen = _with_texts(corpus, rank[has_text])
    verifier = Verifier(seen, reader, plan.minhash, memory_mb, earlier=earlier, bits=bits)
    return decide(corpus, plan, found, verifier)


def _candidates(corpus: Corpus, number: I64, rank: I64, links: tuple[Link, Link], small: int) -> Candidates:
    """The links as ranks of documents that are the first of their text."""

    def firsts(documents: I64) -> I64:
        at = np.minimum(np.searchsorted(number, documents), max(len(number) - 1, 0))
        if len(documents) and (not len(number) or (number[at] != documents).any()):
            raise VerificationError("dedup: links name documents that were not gathered; run dedup_components again")
        found: I64 = corpus.first[corpus.text_group[rank[at]]]
        return found

    pairs, buckets = links
    one, other = firsts(pairs.left), firsts(pairs.right)
    left, right = np.minimum(one, other), np.maximum(one, other)
    codes = (left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64))[left != right]
    members = np.split(firsts(buckets.right), np.flatnonzero(np.diff(buckets.left)) + 1)
    large = [group for group in map(np.unique, members) if len(group) > 1]
    found = candidates_of([codes], large)
    more = first_pairs(found.large, found.borders, small, corpus.fixed)
    return replace(found, codes=np.unique(np.concatenate([found.codes, more])))


def _with_texts(corpus: Corpus, ranks: I64) -> Corpus:
    """The corpus as the verifier is to see it: the first document of a text is read where a copy was gathered."""
    ranks = np.sort(ranks)[::-1]
    at = corpus.first[corpus.text_group[ranks]]  # of several writes to one place the last stays
    changed = {name: getattr(corpus, name).copy() for name in ("shard", "row", "n_bytes")}
    for name, values in changed.items():
        values[at] = getattr(corpus, name)[ranks]
    return replace(corpus, **changed)


class SectionTexts:
    """Texts and shingle sets that were gathered into one section of sealed files, one file per shard.

    Memory: the row groups that a request touches, one at a time, and the last one.

    Args:
        opened: gives the file of a shard.
        section: of the partition.
        bits: of each hash in shingle sets.
    """

    def __init__(self, opened: Callable[[Any], SectionReader], section: int, bits: int = 64) -> None:
        self._hash = np.dtype(f"<u{bits // 8}")
        self._opened = opened
        self._section = section
        self._ranges: dict[Any, tuple[list[int], I64, I64]] = {}
        self._last: tuple[Any, int, pa.Table] | None = None

    def texts(self, shard: Any, rows: npt.NDArray[np.int32]) -> pa.Array:
        """The texts of these rows of ``shard``, which ascend.

        Raises:
            VerificationError: one of them was not gathered.
        """
        texts = self._values(shard, rows, "text", pa.string())
        if len(texts) != len(rows) or texts.null_count:
            raise VerificationError(f"dedup: texts of shard {shard} were not gathered; run dedup_gather again")
        return texts

    def sets(self, shard: Any, rows: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.uint64], I64]:
        """``(hashes, borders)`` of these rows of an earlier run's ``shard``.

        Raises:
            VerificationError: one of them was not gathered.
        """
        stored = self._values(shard, rows, "shingles", pa.binary())
        if len(stored) != len(rows) or stored.null_count:
            raise VerificationError(f"dedup: shingles of {shard} were not gathered; run dedup_recall again")
        raw = b"".join(stored.to_pylist())
        lengths = pc.binary_length(stored).to_numpy() // self._hash.itemsize
        borders = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return np.frombuffer(raw, self._hash).astype(np.uint64), borders

    def _values(self, shard: Any, rows: npt.NDArray[np.int32], name: str, kind: pa.DataType) -> pa.Array:
        with self._opened(shard) as reader:
            groups, first, last = self._range(shard, reader)
            parts: list[pa.Array] = []
            low, high = (rows[0], rows[-1]) if len(rows) else (0, -1)
            for i in np.flatnonzero((last >= low) & (first <= high)).tolist():
                table = self._table(shard, groups[i], name, reader)
                there = table.column("row").to_numpy()
                wanted = rows[(rows >= first[i]) & (rows <= last[i])]
                at = np.minimum(np.searchsorted(there, wanted), len(there) - 1)
                parts.append(table.column(name).take(pa.array(at[there[at] == wanted])).combine_chunks())
        return pa.concat_arrays([c for p in parts for c in _chunks(p)]) if parts else pa.array([], kind)

    def _range(self, shard: Any, reader: SectionReader) -> tuple[list[int], I64, I64]:
        """Row groups of the shard's section with their first and last row."""
        if shard not in self._ranges:
            groups = reader.groups([self._section])
            ends = [pc.min_max(reader.group(g, ["row"]).column("row")).as_py() for g in groups]
            first, last = ([e[k] for e in ends] for k in ("min", "max"))
            self._ranges[shard] = groups, np.array(first, np.int64), np.array(last, np.int64)
        return self._ranges[shard]

    def _table(self, shard: Any, group: int, name: str, reader: SectionReader) -> pa.Table:
        if self._last is None or self._last[:2] != (shard, group):
            self._last = shard, group, reader.group(group, ["row", name])
        return self._last[2]


def _chunks(array: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return array.chunks if isinstance(array, pa.ChunkedArray) else [array]
