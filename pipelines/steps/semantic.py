"""Semantic duplicates within a run: vectors, clusters, comparison within clusters, labels.

    vectors_model       one task  what the encoder must know of the corpus
    vectors             shard     vectors
    semantic_centroids  one task  centroids of a sample
    semantic_assign     shard     cluster of each document; documents sorted by cluster, with their vectors
    semantic_compare    clusters  who is similar to whom, and who stays
    semantic            shard     labels
    semantic_summary    one task  dedup/semantic_pairs.parquet, dedup/semantic.json

Only documents that are still there when it begins take part: those that a rule dropped, duplicates and listed ones have
null in every label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.semantic import BARS, LABELS
from curate.documents import IDENTITY
from curate.store.arrow_files import arrow_batches, check_arrow
from curate.store.shards import ShardWriter, write_table
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.semantic_clusters import CLUSTERING, SemanticAssign, SemanticCentroids, semantic_config
from pipelines.steps.semantic_compare import LARGEST, SemanticCompare, fates_name, pairs_name, tally_name
from pipelines.steps.vectors import NAME as VECTORS
from pipelines.steps.vectors import added_steps as vector_steps
from pipelines.steps.vectors import config_of, output_of, status_counts, vectors_name

PAIRS_NAME = "dedup/semantic_pairs.parquet"
SUMMARY_NAME = "dedup/semantic.json"


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps of the entry `semantic`, those that make vectors among them."""
    own = [kind(run) for kind in (SemanticCentroids, SemanticAssign, SemanticCompare, Semantic, SemanticSummary)]
    return [*vector_steps(run, labelled), *own]


class Semantic(Step):
    """Says for each document of a shard whether it stays.

    Outputs: labels/semantic/<shard>.parquet, in the rows of the documents. A document without a vector stays, with null
    in the other labels. Memory: 100 bytes per document of the shard, and a row group of fates.
    """

    name = "semantic"
    after = (VECTORS, "semantic_compare")

    def material(self) -> dict[str, Any]:
        return {}

    def columns(self) -> pa.Schema:
        return LABELS

    def execute(self, partition: str, work: Work) -> Result:
        ids, status = self._asked(partition)
        fates = self._fates(partition)
        place = np.full(len(ids), -1, np.int64)
        place[fates["row"].to_numpy()] = np.arange(fates.num_rows)
        index = pa.array(place, mask=place < 0)
        cluster, distance, survivor, similarity = (
            _one(fates[n]).take(index) for n in ("cluster", "distance", "survivor", "similarity")
        )
        stays = pc.if_else(pc.equal(status, "not_asked"), pa.scalar(None, pa.bool_()), pc.is_null(survivor))
        schema = pa.schema([IDENTITY.field("id"), *LABELS])
        table = pa.Table.from_arrays([ids, cluster, distance, stays, survivor, similarity], schema=schema)
        output = write_table(self.run.folder, f"labels/{self.name}/{partition}.parquet", table)
        return Result([output], {"documents": len(ids), "removed": len(survivor) - survivor.null_count})

    def _asked(self, partition: str) -> tuple[pa.Array, pa.Array]:
        """Ids and status of the vectors of all documents of the shard."""
        check_arrow(self.run.folder, output_of(self.run.folder, VECTORS, partition))
        batches = [(b.column(0), b.column(1)) for b in arrow_batches(self.run.folder, vectors_name(partition))]
        empty = pa.array([], pa.string())
        return pa.concat_arrays([empty, *(b[0] for b in batches)]), pa.concat_arrays([empty, *(b[1] for b in batches)])

    def _fates(self, partition: str) -> pa.Table:
        """What all ranges of clusters say of the shard; reads only the row groups that can name it."""
        found = []
        for name in (fates_name(p) for p in SemanticCompare(self.run).partitions()):
            with self.run.folder.parquet(name) as file:
                schema = file.schema_arrow
                for group in range(file.num_row_groups):
                    if _may_name(file.metadata.row_group(group).column(0).statistics, partition):
                        table = file.read_row_group(group, use_threads=False)
                        found.append(table.filter(pc.equal(table["shard"], partition)))
        return pa.concat_tables(found) if found else schema.empty_table()


class SemanticSummary(Step):
    """Gathers the pairs and the numbers of all clusters.

    Outputs: dedup/semantic_pairs.parquet (``PAIRS``, kind semantic, containment null), dedup/semantic.json: documents
    with and without a vector, clusters and how they were found, the share that each epsilon would remove, a histogram
    of each document's largest cosine to a preferred one of its cluster, the largest clusters. Memory: one row group.
    """

    name = "semantic_summary"
    after = ("semantic_centroids", "semantic_compare", "semantic")
    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {"encoder": config_of(self.run).encoder}

    def execute(self, partition: str, work: Work) -> Result:
        ranges = SemanticCompare(self.run).partitions()
        pairs = self._write_pairs(ranges)
        body = self._summary(ranges)
        text = json.dumps(body, indent=1, sort_keys=True, ensure_ascii=True).encode("ascii")
        self.run.folder.write(SUMMARY_NAME, text)
        return Result([pairs, plain_output(SUMMARY_NAME, text)], {"documents": body["compared"], "removed": pairs.rows})

    def _write_pairs(self, ranges: list[str]) -> Any:
        folder = self.run.folder
        with folder.parquet(pairs_name(ranges[0])) as file:
            schema = file.schema_arrow
        writer = ShardWriter(folder, PAIRS_NAME, schema)
        try:
            for batch in self._pairs(ranges):
                writer.write(batch)
            return writer.close()
        except BaseException:
            writer.abandon()
            raise

    def _pairs(self, ranges: list[str]) -> Iterator[pa.RecordBatch]:
        for name in map(pairs_name, ranges):
            with self.run.folder.parquet(name) as file:
                yield from file.iter_batches(65_536, use_threads=False)

    def _summary(self, ranges: list[str]) -> dict[str, Any]:
        config = semantic_config(self.run)
        tallies = [json.loads(self.run.folder.read(tally_name(p))) for p in ranges]
        documents = sum(t["documents"] for t in tallies)
        removed = np.sum([t["removed"] for t in tallies], axis=0).tolist()
        sweep = [
            {"epsilon": e, "removed": n, "share": round(n / documents, 6) if documents else 0.0}
            for e, n in zip(config.epsilons, removed, strict=True)
        ]
        largest = sorted((e for t in tallies for e in t["largest"]), key=lambda e: (-e[0], e[1]))[:LARGEST]
        clustering = json.loads(self.run.folder.read(CLUSTERING))
        return {
            "encoder": config_of(self.run).encoder,
            "vectors": status_counts(self.run),
            "compared": documents,
            "comparisons": sum(t["comparisons"] for t in tallies),
            "epsilon": config.epsilon,
            "threshold": config.threshold,
            "keep": config.keep,
            "removed": removed[config.epsilons.index(config.epsilon)],
            "sweep": sweep,
            "clusters": clustering,
            "cluster_sizes": _size_bars(np.sum([t["sizes"] for t in tallies], axis=0)),
            "largest_clusters": [{"cluster": c, "documents": n, "removed": r} for n, c, r in largest],
            "similarity_histogram": _bars(np.sum([t["histogram"] for t in tallies], axis=0)),
        }


def _size_bars(counts: npt.NDArray[np.int64]) -> list[dict[str, int]]:
    """Clusters by size, in powers of two."""
    return [{"from": 1 << i, "to": (2 << i) - 1, "clusters": int(n)} for i, n in enumerate(counts.tolist()) if n]


def _bars(counts: npt.NDArray[np.int64]) -> list[dict[str, float]]:
    """Documents by cosine; the first bar holds what is below 0 too, the last what is 1."""
    return [
        {"from": round(i / BARS, 4), "to": round((i + 1) / BARS, 4), "documents": int(n)}
        for i, n in enumerate(counts.tolist())
        if n
    ]


def _may_name(statistics: Any, shard: str) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= shard <= statistics.max)


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
