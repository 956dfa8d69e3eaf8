"""Duplicates within a run, out of core: keys are joined by range, components settled by partition, labels by shard.

    dedup_sign        shard       signatures; keys, sorted, cut into ranges
    dedup_earlier     one task    with an index: the dumps of earlier runs
    dedup_join        key range   links: candidates, copies, large buckets
    dedup_components  one task    components of linked documents; links by partition of components
    dedup_gather      shard       linked documents with their texts, by partition of components
    dedup_recall      1/P of them with an index: linked survivors of earlier runs with their shingle sets, likewise
    dedup_solve       partition   verified similarities, survivors, pairs
    dedup_pairs       one task    dedup/pairs.parquet, dedup/audit.json
    dedup             shard       labels

Every file between them is sealed (``curate.store.sections``): a reader checks its bytes before it uses them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY
from curate.errors import VerificationError
from curate.store.sections import REMEDY
from curate.store.shards import write_shard
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.dedup_components import DedupComponents
from pipelines.steps.dedup_files import partition_names, receipt_of, sealed_file
from pipelines.steps.dedup_gather import DedupGather
from pipelines.steps.dedup_join import DedupJoin
from pipelines.steps.dedup_pairs import AUDIT_NAME, PAIRS_NAME, DedupPairs
from pipelines.steps.dedup_recall import DedupRecall
from pipelines.steps.dedup_sign import OPT_OUT, DedupSign, plan_of, signature_name
from pipelines.steps.dedup_solve import SHARDS_PER_SECTION, DedupSolve, fates_name
from pipelines.steps.dedup_sources import DedupEarlier, index_of

__all__ = ["AUDIT_NAME", "PAIRS_NAME", "DedupLabels", "added_steps"]


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps that find whole duplicates."""
    asked = (OPT_OUT,) if run.config.opt_out is not None else ()
    before = (*(step.name for step in labelled), *asked)
    steps: list[Step] = [DedupSign(run, before), DedupJoin(run, before), DedupComponents(run), DedupGather(run)]
    if index_of(run) is not None:
        steps.insert(1, DedupEarlier(run))
        steps.append(DedupRecall(run))
    return [*steps, DedupSolve(run), DedupPairs(run), DedupLabels(run)]


class DedupLabels(Step):
    """Says for each document of a shard who stays.

    Outputs: labels/dedup/<shard>.parquet, in the rows of the documents; null for those that were dropped before. A
    document without links stays. Memory: 400 bytes per document of the shard, 150 per linked document of 64 shards.
    """

    name = "dedup"
    version = 2
    aligned = False

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        # pairs and audit are read by what comes after the labels, so they stand before them
        self.after = ("dedup_sign", "dedup_solve", "dedup_pairs")

    def material(self) -> dict[str, Any]:
        return {}

    def columns(self) -> pa.Schema:
        from curate.dedup.resolution import EARLIER, LABELS

        fields = [*LABELS, EARLIER] if index_of(self.run) is not None else list(LABELS)
        return pa.schema([f.with_nullable(True) for f in fields if f.name != "id"])

    def execute(self, partition: str, work: Work) -> Result:
        folder = self.run.folder
        with sealed_file(folder, "dedup_sign", partition, signature_name(partition)) as signed:
            signatures = signed.section(columns=["id", "row"])
        rows = int(receipt_of(folder, "dedup_sign", partition).counts["rows"])
        fates = self._fates(partition)
        labels = _labels(signatures, fates, self.columns())
        place = np.full(rows, -1, np.int64)
        place[signatures.column("row").to_numpy()] = np.arange(signatures.num_rows)
        index = pa.array(place, mask=place < 0)
        ids = self._ids(partition, rows)
        arrays = [ids, *(_one(labels.column(f.name)).take(index) for f in self.columns())]
        schema = pa.schema([IDENTITY.field("id"), *self.columns()])
        table = pa.Table.from_arrays(arrays, schema=schema)
        written = write_shard(folder, f"labels/{self.name}/{partition}.parquet", schema, table.to_batches())
        work.marks.set(documents=rows)
        removed = int(pc.sum(pc.invert(labels.column("dedup_is_survivor"))).as_py() or 0)
        return Result([written], {"documents": signatures.num_rows, "removed": removed})

    def _ids(self, shard: str, rows: int) -> pa.Array:
        """Ids of all documents of the shard, dropped ones included."""
        name = f"{self.run.folder.url}/documents/{shard}.parquet"
        try:
            ids = self.run.folder.table(f"documents/{shard}.parquet", ["id"]).column("id")
        except (OSError, pa.ArrowException) as error:
            raise VerificationError(f"{name} cannot be read ({type(error).__name__}): damaged; {REMEDY}") from error
        if len(ids) != rows:
            raise VerificationError(f"{name} has {len(ids)} rows, {rows} were signed: run the same command again")
        return _one(ids)

    def _fates(self, shard: str) -> pa.Table:
        """What was decided of the linked documents of the shard."""
        number = self.run.shards.index(shard)
        parts = []
        for name in partition_names(self.run, self.plan):
            with sealed_file(self.run.folder, "dedup_solve", name, fates_name(name)) as reader:
                for group in reader.groups([number // SHARDS_PER_SECTION]):
                    table = reader.group(group)
                    parts.append(table.filter(pc.equal(table.column("shard"), number)))
                schema = reader.schema
        return pa.concat_tables(parts) if parts else schema.remove_metadata().empty_table()


def _labels(signatures: pa.Table, fates: pa.Table, schema: pa.Schema) -> pa.Table:
    """The label columns of all signed documents: those of ``fates`` where it has the row."""
    rows = signatures.column("row").to_numpy()
    order = np.argsort(fates.column("row").to_numpy(), kind="stable")
    fates = fates.take(pa.array(order))
    decided = fates.column("row").to_numpy()
    at = np.searchsorted(decided, rows)
    linked = np.zeros(len(rows), np.bool_)
    inside = at < len(decided)
    linked[inside] = decided[at[inside]] == rows[inside]
    index = pa.array(at, mask=~linked)
    n = len(rows)
    alone = {
        "dedup_cluster": _one(signatures.column("id")),
        "dedup_size": pa.array(np.ones(n, np.int64)),
        "dedup_is_survivor": pa.array(np.ones(n, np.bool_)),
    }
    arrays = []
    for field in schema:
        column = _one(fates.column(field.name)).take(index)
        if field.name in alone:
            column = pc.if_else(pa.array(linked), column, alone[field.name])
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=schema)


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(array, pa.Array):
        return array
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
