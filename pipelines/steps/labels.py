"""The second pass: stages that only look at documents, redone without reading the input again."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curate.documents import IDENTITY, Batch
from pipelines.shard_reader import ShardReader
from pipelines.stage_chain import build_stages, labels_of, stage_material
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.documents import Documents
from pipelines.steps.label_pass import all_of, label_pass, stack


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
        reader = ShardReader(self.run.folder, partition, labels=("documents",))
        return label_pass(self, partition, work, reader, self.stages, self._aligned)

    def _aligned(self, out: Batch, read: pa.RecordBatch) -> pa.RecordBatch:
        """Labels of all documents that went in, in their order, whatever became of them."""
        return stack(all_of(out), pa.schema([IDENTITY.field("id"), *self.columns()]))
