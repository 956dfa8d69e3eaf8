"""Comparing the documents of a range of clusters: who is a semantic duplicate of whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.resolution import PAIRS
from curate.dedup.semantic import BARS, Compared, compare, preference
from curate.documents import column
from curate.embed.encoders import unit_rows
from curate.embed.nearest import one_blas_thread
from curate.store.arrow_files import matrix
from curate.store.shards import write_table
from pipelines.steps.base import Result, Step, Work, plain_output
from pipelines.steps.semantic_clusters import exchange_batch, partition_count, semantic_config

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

#: vectors of a range of clusters that are held at once, in bytes; beyond that they are read again window by window
_HELD = 512 << 20
#: largest clusters that are told of
LARGEST = 20

FATES = pa.schema(
    [
        column("shard", pa.string(), "name of the document's shard", nullable=False),
        column("row", pa.int32(), "row in its shard", nullable=False),
        column("cluster", pa.int32(), "number of its cluster", nullable=False),
        column("distance", pa.float32(), "1 − cosine to the centroid", nullable=False),
        column("survivor", pa.string(), "id of the document that stays in its place; null if it stays"),
        column("similarity", pa.float64(), "cosine to it; null if it stays"),
    ]
)


def partition_name(number: int) -> str:
    """Name of a range of clusters; unlike any shard's."""
    return f"p{number:05d}"


def fates_name(partition: str) -> str:
    """Where the answer for a range of clusters lies, by shard and row."""
    return f"steps/semantic_compare/{partition}.parquet"


def pairs_name(partition: str) -> str:
    """Where its dropped documents lie with their survivors."""
    return f"steps/semantic_compare/pairs-{partition}.parquet"


def tally_name(partition: str) -> str:
    """Where its numbers lie."""
    return f"steps/semantic_compare/{partition}.json"


class SemanticCompare(Step):
    """Compares the documents of each cluster with each other (``curate.dedup.semantic``).

    Outputs: steps/semantic_compare/<range>.parquet (``FATES``), pairs-<range>.parquet (``PAIRS``), <range>.json. They
    do not depend on how many ranges there are, except for where a cluster is told of. Memory: 200 bytes per document of
    the range, and its vectors as stored up to 512 MB; beyond that, whatever the size of a cluster, 96 MB at 256
    dimensions and the part of one shard. Time grows with the square of a cluster.
    """

    name = "semantic_compare"
    aligned = False
    after = ("semantic_centroids", "semantic_assign")

    def partitions(self) -> list[str]:
        return [partition_name(n) for n in range(partition_count(self.run))]

    def material(self) -> dict[str, Any]:
        return {"semantic": semantic_config(self.run).model_dump(mode="json", include={"epsilon", "keep", "sweep"})}

    def execute(self, partition: str, work: Work) -> Result:
        number = int(partition[1:])
        documents, source = _Documents.read(self, number, work)
        config, n = semantic_config(self.run), len(documents)
        survivor, similarity = np.full(n, -1, np.int64), np.full(n, np.nan)
        tally = _Tally(len(config.epsilons))
        with one_blas_thread():
            for members in documents.by_cluster():
                distance = documents.table["distance"].to_numpy()[members]
                order = members[preference(distance, documents.ids.take(pa.array(members)), config.keep)]
                found = compare(_loader(source, order), len(order), config.epsilons, config.epsilon)
                gone = found.survivor >= 0
                survivor[order[gone]] = order[found.survivor[gone]]
                similarity[order] = found.similarity
                tally.add(int(documents.cluster[members[0]]), found)
                work.marks.set(documents=tally.documents)
        text = json.dumps(tally.as_dict(), sort_keys=True).encode("ascii")
        self.run.folder.write(tally_name(partition), text)
        outputs = [
            write_table(self.run.folder, fates_name(partition), documents.fates(survivor, similarity)),
            write_table(self.run.folder, pairs_name(partition), documents.pairs(survivor, similarity)),
            plain_output(tally_name(partition), text),
        ]
        return Result(outputs, {"documents": n, "removed": int((survivor >= 0).sum())})


class _Documents:
    """All documents of a range of clusters, from every shard, without their vectors."""

    def __init__(self, table: pa.Table, shards: list[str]) -> None:
        self.table = table.combine_chunks()
        self.shards = shards
        self.ids = _one(self.table["id"])
        self.cluster = self.table["cluster"].to_numpy()

    @staticmethod
    def read(step: Step, number: int, work: Work) -> tuple[_Documents, _Vectors]:
        """The documents of range ``number``, and where to get their vectors."""
        folder, shards = step.run.folder, step.run.shards
        pieces, held, size = [], [], 0
        for place, shard in enumerate(shards):
            work.marks.set(documents=place)
            batch = exchange_batch(folder, shard, number)
            vectors = matrix(batch.column(5))
            size += vectors.nbytes
            if size <= _HELD:
                held.append(vectors.copy())
            plain = batch.select(["id", "source_id", "row", "cluster", "distance"])
            plain = plain.append_column("shard", pa.array(np.full(len(batch), place, np.int32)))
            pieces.append(plain.append_column("place", pa.array(np.arange(len(batch), dtype=np.int64))))
        if not pieces:
            empty = pa.table({n: pa.array([], t) for n, t in _PLAIN.items()})
            return _Documents(empty, shards), _Vectors(np.zeros((0, 1), np.float32), None, shards, empty)
        table = pa.Table.from_batches(pieces)
        # a document's place must not depend on the order of shards
        table = table.take(pc.sort_indices(table, sort_keys=[("cluster", "ascending"), ("id", "ascending")]))
        fetch: Callable[[str], F32] | None = None
        whole: npt.NDArray[Any] = np.zeros((0, 1), np.float32)
        if size <= _HELD:
            starts = np.concatenate([[0], np.cumsum([len(h) for h in held])])
            at = starts[table["shard"].to_numpy()] + table["place"].to_numpy()
            whole = np.concatenate(held)[at]
        else:
            held.clear()
            fetch = lambda shard: matrix(exchange_batch(folder, shard, number).column(5))  # noqa: E731
        return _Documents(table, shards), _Vectors(whole, fetch, shards, table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def by_cluster(self) -> Iterator[I64]:
        """The rows of each cluster."""
        if not len(self):
            return
        starts = np.flatnonzero(np.concatenate([[True], self.cluster[1:] != self.cluster[:-1]]))
        yield from np.split(np.arange(len(self)), starts[1:])

    def fates(self, survivor: I64, similarity: npt.NDArray[np.float64]) -> pa.Table:
        """``FATES``, by shard and row."""
        names = pa.array(self.shards, pa.string()).take(_one(self.table["shard"]))
        table = pa.Table.from_arrays(
            [
                names, self.table["row"], self.table["cluster"], self.table["distance"],
                self.ids.take(pa.array(survivor, mask=survivor < 0)), pa.array(similarity, from_pandas=True),
            ],
            schema=FATES,
        )  # fmt: skip
        return table.take(pc.sort_indices(table, sort_keys=[("shard", "ascending"), ("row", "ascending")]))

    def pairs(self, survivor: I64, similarity: npt.NDArray[np.float64]) -> pa.Table:
        """``PAIRS`` by cluster, survivor and dropped document."""
        gone = np.flatnonzero(survivor >= 0)
        removed, kept = pa.array(gone), pa.array(survivor[gone])
        sources, n = _one(self.table["source_id"]), len(gone)
        found = {
            "removed": self.ids.take(removed), "survivor": self.ids.take(kept),
            "similarity": pa.array(similarity[gone]), "containment": pa.nulls(n, pa.float64()),
            "kind": pa.array(["semantic"] * n, pa.string()),
            "removed_source_id": sources.take(removed), "survivor_source_id": sources.take(kept),
        }  # fmt: skip
        table = pa.table({f.name: found[f.name] for f in PAIRS if f.name in found})
        keys = pa.table({"c": self.cluster[gone], "s": found["survivor"], "r": found["removed"]})
        return table.take(pc.sort_indices(keys, sort_keys=[(k, "ascending") for k in ("c", "s", "r")]))


class _Vectors:
    """Vectors of the documents of a range, held or fetched shard by shard."""

    def __init__(
        self,
        whole: npt.NDArray[Any],
        fetch: Callable[[str], npt.NDArray[Any]] | None,
        shards: list[str],
        table: pa.Table,
    ) -> None:
        self._whole, self._fetch, self._shards = whole, fetch, shards
        self._shard, self._place = table["shard"].to_numpy(), table["place"].to_numpy()

    def rows(self, wanted: I64) -> F32:
        """Unit vectors of these documents."""
        if self._fetch is None:
            return unit_rows(self._whole[wanted])[0]
        out: npt.NDArray[Any] | None = None
        for shard in np.unique(self._shard[wanted]).tolist():
            here = self._shard[wanted] == shard
            vectors = self._fetch(self._shards[shard])
            if out is None:
                out = np.empty((len(wanted), vectors.shape[1]), vectors.dtype)
            out[here] = vectors[self._place[wanted[here]]]
        assert out is not None
        return unit_rows(out)[0]


class _Tally:
    """Numbers of all clusters of a range."""

    def __init__(self, epsilons: int) -> None:
        self.documents = self.comparisons = 0
        self.removed = np.zeros(epsilons, np.int64)
        self.histogram = np.zeros(BARS, np.int64)
        self.sizes = np.zeros(64, np.int64)
        self.largest: list[list[int]] = []

    def add(self, cluster: int, found: Compared) -> None:
        size, gone = len(found.survivor), int((found.survivor >= 0).sum())
        self.documents += size
        self.comparisons += found.comparisons
        self.removed += found.removed
        self.histogram += found.histogram
        self.sizes[size.bit_length() - 1] += 1
        self.largest = sorted([*self.largest, [size, cluster, gone]], key=lambda e: (-e[0], e[1]))[:LARGEST]

    def as_dict(self) -> dict[str, Any]:
        return {
            "documents": self.documents, "comparisons": self.comparisons, "removed": self.removed.tolist(),
            "histogram": self.histogram.tolist(), "sizes": self.sizes.tolist(), "largest": self.largest,
        }  # fmt: skip


_PLAIN = {
    "id": pa.string(), "source_id": pa.string(), "row": pa.int32(), "cluster": pa.int32(), "distance": pa.float32(),
    "shard": pa.int32(), "place": pa.int64(),
}  # fmt: skip


def _loader(source: _Vectors, order: I64) -> Callable[[int, int], F32]:
    return lambda a, b: source.rows(order[a:b])


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
