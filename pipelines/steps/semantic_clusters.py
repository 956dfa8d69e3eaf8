"""Clusters of vectors for semantic deduplication: centroids of a sample, then each document to its nearest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.semantic import SemanticConfig
from curate.documents import column
from curate.embed.encoders import OK, unit_rows
from curate.errors import VerificationError
from curate.store.arrow_files import (
    BATCH_ROWS,
    ArrowWriter,
    arrow_batches,
    check_arrow,
    list_column,
    matrix,
    opened_arrow,
    take_rows,
    write_arrow,
)  # fmt: skip
from curate.store.digests import TableDigest
from curate.store.folder import Folder
from curate.store.receipts import read_receipt
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.vectors import NAME as VECTORS
from pipelines.steps.vectors import output_of, status_counts, vectors_name

F32 = npt.NDArray[np.float32]
U64 = npt.NDArray[np.uint64]

CENTROIDS = "steps/semantic_centroids/centroids.arrow"
CLUSTERING = "steps/semantic_centroids/clustering.json"
#: vectors of the sample per cluster at most, as FAISS has it
_PER_CLUSTER = 256
#: input bytes per task that compares, where the config leaves their number open
_PARTITION_BYTES = 256 << 20
_MOST_PARTITIONS = 4096


def semantic_config(run: Run) -> SemanticConfig:
    """The options of the entry `semantic` of `dedup`."""
    found = run.config.duplicates("semantic")[0]
    assert isinstance(found, SemanticConfig)
    return found


def partition_count(run: Run) -> int:
    """Ranges of clusters, each compared by a task of its own."""
    given = semantic_config(run).partitions
    wanted = -(-sum(e.size for e in run.manifest.entries) // _PARTITION_BYTES)
    return given if given is not None else max(1, min(_MOST_PARTITIONS, wanted))


def first_cluster(partition: int, partitions: int, clusters: int) -> int:
    """Where a range of clusters begins."""
    return partition * clusters // partitions


def exchange_name(shard: str) -> str:
    """Where the assigned documents of a shard lie, one batch per range of clusters."""
    return f"steps/semantic_assign/{shard}.arrow"


class SemanticCentroids(Step):
    """Finds the centroids of all vectors from a sample drawn by a hash of ids.

    Outputs: steps/semantic_centroids/centroids.arrow (cluster, documents of the sample, unit vector), clustering.json.
    Memory: the sample (``sample_documents`` × dimension × 4 bytes), 20 bytes per document of two samples, 32 MB per
    core. Reads all vector files once, to compare them with their receipts.
    """

    name = "semantic_centroids"
    aligned = False
    after = (VECTORS,)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        wanted = {"k", "documents_per_cluster", "sample_documents", "iterations", "seed", "engine"}
        return {"semantic": semantic_config(self.run).model_dump(mode="json", include=wanted)}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.embed.kmeans import spherical_kmeans
        from curate.embed.nearest import cores

        config = semantic_config(self.run)
        usable = status_counts(self.run).get(OK, 0)
        clusters = config.clusters(usable)
        wanted = max(clusters, min(config.sample_documents, clusters * _PER_CLUSTER))
        sample = self._vectors(self._sample(wanted, work))
        found = spherical_kmeans(
            sample, clusters, seed=config.seed, iterations=config.iterations, engine=config.engine, threads=cores()
        )
        schema = _centroid_schema(found.centroids.shape[1])
        lists = list_column(found.centroids).cast(schema.field("vector").type)
        columns = [pa.array(np.arange(len(found.sizes), dtype=np.int32)), pa.array(found.sizes), lists]
        batch = pa.RecordBatch.from_arrays(columns, schema=schema)
        output = write_arrow(self.run.folder, CENTROIDS, schema, [batch] if clusters else [])
        said = {
            "clusters": clusters, "documents": usable, "sample": len(sample), "iterations": found.iterations,
            "mean_cosine": round(found.cosine, 6), "engine": found.engine,
            "empty_in_sample": int((found.sizes == 0).sum()),
        }  # fmt: skip
        text = json.dumps(said, indent=1, sort_keys=True).encode("ascii")
        self.run.folder.write(CLUSTERING, text)
        return Result([output, plain_output(CLUSTERING, text)], said)

    def _sample(self, wanted: int, work: Work) -> list[tuple[str, U64, npt.NDArray[np.int64]]]:
        """Keys and rows of the sample per shard: the ``wanted`` smallest keys of all usable documents."""
        from curate.embed.kmeans import SmallestKeys, sample_keys

        folder, seed, smallest = self.run.folder, semantic_config(self.run).seed, SmallestKeys(wanted)
        for number, shard in enumerate(self.run.shards):
            work.marks.set(documents=number)
            check_arrow(folder, output_of(folder, VECTORS, shard))
            start = 0
            for batch in arrow_batches(folder, vectors_name(shard)):
                usable = np.flatnonzero(pc.equal(batch.column(1), OK).to_numpy(zero_copy_only=False))
                keys = sample_keys(batch.column(0).take(pa.array(usable)), seed)
                smallest.add(keys, number, start + usable)
                start += batch.num_rows
        keys, shards, rows = smallest.chosen()
        return [(s, keys[m], rows[m]) for n, s in enumerate(self.run.shards) if (m := shards == n).any()]

    def _vectors(self, chosen: list[tuple[str, U64, npt.NDArray[np.int64]]]) -> F32:
        """The unit vectors of the sample in the order of their keys."""
        folder = self.run.folder
        if not chosen:
            return np.zeros((0, self._dimension()), np.float32)
        keys = np.concatenate([k for _, k, _ in chosen])
        place = np.empty(len(keys), np.int64)
        place[np.argsort(keys, kind="stable")] = np.arange(len(keys))
        out, done = np.empty((0, 0), np.float32), 0
        for shard, own, rows in chosen:
            with opened_arrow(folder, vectors_name(shard)) as reader:
                unit, _ = unit_rows(take_rows(reader, "vector", rows))
            if not len(out):
                out = np.empty((len(keys), unit.shape[1]), np.float32)
            out[place[done : done + len(own)]] = unit
            done += len(own)
        return out

    def _dimension(self) -> int:
        for shard in self.run.shards:
            with opened_arrow(self.run.folder, vectors_name(shard)) as reader:
                return int(reader.schema.field("vector").type.list_size)
        return 1


class SemanticAssign(Step):
    """Gives each document of a shard its cluster, and sorts what is compared by cluster.

    Outputs: steps/semantic_assign/<shard>.arrow: id, source_id, row, cluster, distance, vector, sorted by cluster, one
    batch per range of clusters. Memory: the vectors of the shard, and the centroids.
    """

    name = "semantic_assign"
    after = (VECTORS, "semantic_centroids")

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._opened: tuple[str, Any, F32] | None = None

    def material(self) -> dict[str, Any]:
        return {"engine": semantic_config(self.run).engine, "partitions": partition_count(self.run)}

    def execute(self, partition: str, work: Work) -> Result:
        folder = self.run.folder
        check_arrow(folder, output_of(folder, VECTORS, partition))
        found = self._assigned(partition, work)
        schema = found.schema
        clusters = found.column("cluster").to_numpy()
        count, parts = len(self._centroids()[1]), partition_count(self.run)
        edges = np.searchsorted(clusters, [first_cluster(p, parts, count) for p in range(parts)] + [count])
        writer = ArrowWriter(folder, exchange_name(partition), schema, rows=None)
        digests = []
        try:
            for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                batch = found.slice(a, b - a)
                digests.append(batch_digest(batch))
                writer.write(batch)
            output = writer.close()
        except BaseException:
            writer.abandon()
            raise
        return Result([output], {"documents": found.num_rows, "batches": digests})

    def _assigned(self, partition: str, work: Work) -> pa.RecordBatch:
        """The documents of the shard that have a vector, sorted by cluster, then by row."""
        from curate.embed.kmeans import distances
        from curate.embed.nearest import BLOCK, one_blas_thread

        folder = self.run.folder
        nearest, centroids = self._centroids()
        identity = folder.table(f"documents/{partition}.parquet", ["id", "source_id"]).combine_chunks()
        rows, labels, far, stored = [], [], [], []
        start = 0
        with one_blas_thread():
            for ids, status, vectors in _blocks(folder, vectors_name(partition), BLOCK):
                _check_ids(ids, identity["id"].slice(start, len(ids)), partition)
                usable = np.flatnonzero(pc.equal(status, OK).to_numpy(zero_copy_only=False))
                unit, _ = unit_rows(vectors[usable])
                label = nearest.search(unit)[0] if len(usable) else np.zeros(0, np.int32)
                rows.append((start + usable).astype(np.int32))
                labels.append(label)
                far.append(distances(unit, centroids, label))
                stored.append(vectors[usable].copy())
                start += len(ids)
                work.marks.set(documents=start)
        if start != identity.num_rows:
            raise VerificationError(
                f"{folder.url}/{vectors_name(partition)}: {start} rows, {identity.num_rows} documents"
            )
        row = np.concatenate([np.zeros(0, np.int32), *rows])
        label = np.concatenate([np.zeros(0, np.int32), *labels])
        order = np.argsort(label, kind="stable")
        taken = identity.take(pa.array(row[order]))
        matrix_ = np.concatenate(stored)[order] if stored else np.zeros((0, centroids.shape[1]), np.float32)
        lists = list_column(matrix_)
        distance = np.concatenate([np.zeros(0, np.float32), *far])[order]
        columns = [_one(taken["id"]), _one(taken["source_id"]), pa.array(row[order]), pa.array(label[order]),
                   pa.array(distance), lists]  # fmt: skip
        return pa.RecordBatch.from_arrays(columns, names=["id", "source_id", "row", "cluster", "distance", "vector"])

    def _centroids(self) -> tuple[Any, F32]:
        """The searcher and the centroids, opened once per process for one state of them."""
        from curate.embed.nearest import open_nearest

        folder = self.run.folder
        output = output_of(folder, "semantic_centroids", WHOLE)
        if self._opened is None or self._opened[0] != output.digest:
            check_arrow(folder, output)
            parts = [matrix(batch.column(2)).astype(np.float32) for batch in arrow_batches(folder, CENTROIDS)]
            with opened_arrow(folder, CENTROIDS) as reader:
                width = reader.schema.field("vector").type.list_size
            centroids = np.concatenate([np.zeros((0, width), np.float32), *parts])
            self._opened = (output.digest, open_nearest(centroids, semantic_config(self.run).engine), centroids)
        return self._opened[1], self._opened[2]


def batch_digest(batch: pa.RecordBatch) -> str:
    """Digest of the content of one batch of an exchange file."""
    digest = TableDigest(batch.schema)
    digest.update(batch)
    return digest.hexdigest()


def exchange_batch(folder: Folder, shard: str, partition: int) -> pa.RecordBatch:
    """What a shard has for a range of clusters, compared with its receipt; a copy, so that the file can be closed."""
    receipt = read_receipt(folder, "semantic_assign", shard)
    if receipt is None:
        raise VerificationError(
            f"{folder.url}: the receipt of semantic_assign/{shard} is gone; run the same command again"
        )
    name = exchange_name(shard)
    with opened_arrow(folder, name) as reader:
        try:
            batch = reader.get_batch(partition)
            sound = batch_digest(batch) == receipt.counts["batches"][partition]
        except (pa.ArrowException, IndexError, ValueError) as error:
            raise VerificationError(f"{folder.url}/{name}: cannot be read; delete it and run again") from error
        if not sound:
            raise VerificationError(
                f"{folder.url}/{name}: its content differs from its receipt; delete it and run again"
            )
        yielded = pa.ipc.read_record_batch(batch.serialize(), batch.schema)
    return yielded


def _blocks(folder: Folder, name: str, size: int) -> Iterator[tuple[pa.Array, pa.Array, npt.NDArray[Any]]]:
    """Ids, status and vectors of a file in blocks of ``size`` rows, which is a multiple of its batches."""
    waiting: list[pa.RecordBatch] = []
    for batch in arrow_batches(folder, name):
        waiting.append(batch)
        if len(waiting) * BATCH_ROWS == size:
            yield _block(waiting)
            waiting = []
    if waiting:
        yield _block(waiting)


def _block(batches: list[pa.RecordBatch]) -> tuple[pa.Array, pa.Array, npt.NDArray[Any]]:
    ids = pa.concat_arrays([b.column(0) for b in batches])
    status = pa.concat_arrays([b.column(1) for b in batches])
    return ids, status, np.concatenate([matrix(b.column(2)) for b in batches])


def _check_ids(ids: pa.Array, expected: Any, shard: str) -> None:
    if not _one(expected).equals(ids):
        raise VerificationError(
            f"vectors of shard {shard} belong to other documents: their ids differ; delete {vectors_name(shard)} and "
            "run again"
        )


def _centroid_schema(dimension: int) -> pa.Schema:
    return pa.schema(
        [
            column("cluster", pa.int32(), "number of the cluster", nullable=False),
            column("sample", pa.int64(), "documents of the sample in it", nullable=False),
            column("vector", pa.list_(pa.field("item", pa.float32(), nullable=False), dimension), "centroid",
                   nullable=False),
        ]
    )  # fmt: skip


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
