"""The second pass: stages that only look at documents, redone without reading the input again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY, Batch, Fates
from curate.store.shards import ShardWriter
from pipelines.fates import ROW, FateWriter
from pipelines.passes import Chain
from pipelines.shard_reader import ShardReader
from pipelines.stage_chain import build_stages, labels_of, stage_material
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.documents import Documents, context


class Labels(Step):
    """Runs the label-only stages over the written documents.

    Outputs: labels/labels/<shard>.parquet, row-aligned with documents/<shard>.parquet (a dropped document keeps the
    labels it had when it was dropped), dropped/, failed/.
    """

    name = "labels"
    after = ("documents",)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.stages = build_stages(run.config, first_pass=False)
        self._before = Documents(run)

    def material(self) -> dict[str, Any]:
        return {
            "stages": [stage_material(s, self.run.base) for s in self.stages],
            "keep_dropped_text": self.run.config.run.keep_dropped_text,
        }

    def columns(self) -> pa.Schema:
        known = {*self._before.schema().names, *self._before.columns().names}
        # a document dropped early has no labels of later stages
        return pa.schema([f.with_nullable(True) for f in labels_of([], self.stages) if f.name not in known])

    def execute(self, partition: str, work: Work) -> Result:
        folder = self.run.folder
        reader = ShardReader(folder, partition, labels=("documents",))
        writer = ShardWriter(
            folder, f"labels/{self.name}/{partition}.parquet", pa.schema([IDENTITY.field("id"), *self.columns()])
        )
        fates = FateWriter(folder, self.name, partition, keep_text=self.run.config.run.keep_dropped_text)
        chain = Chain(self.stages, work.marks, work.care)
        try:
            chain.open(context(self.run, work.scratch))
            shared = Fates()
            for out in chain.run(Batch(rows, shared) for rows in reader.batches()):
                writer.write(self._aligned(out))
                fates.flush(shared)
            outputs = [writer.close(), *fates.close()]
        except BaseException:
            writer.abandon()
            fates.abandon()
            raise
        finally:
            chain.close()
        counts = {"documents": outputs[0].rows, "failed_documents": fates.failed_documents, **fates.counts()}
        return Result(outputs, counts)

    def _aligned(self, out: Batch) -> pa.RecordBatch:
        """Labels of all documents that went in, in their order, whatever became of them."""
        pieces = [out.rows, *(d.rows for d in out.fates.drops)]
        pieces += [f.rows for f in out.fates.failures if f.rows is not None and f.level == "error"]
        return stack(pieces, pa.schema([IDENTITY.field("id"), *self.columns()]))


def stack(pieces: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of all pieces in the order of their ``_row``, with the columns of ``schema``; null where one lacks."""
    parts = list(pieces)
    order = np.argsort(np.concatenate([p.column(p.schema.get_field_index(ROW)).to_numpy() for p in parts]))
    arrays = []
    for field in schema:
        chunks = list(_column(parts, field))
        whole = pa.concat_arrays(chunks)
        arrays.append(pc.take(whole, pa.array(order)))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(parts: list[pa.RecordBatch], field: pa.Field) -> Iterator[pa.Array]:
    for part in parts:
        index = part.schema.get_field_index(field.name)
        found = part.column(index) if index >= 0 else pa.nulls(part.num_rows, field.type)
        yield found if found.type == field.type else pc.cast(found, field.type)
