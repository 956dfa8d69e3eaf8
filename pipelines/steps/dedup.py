"""Duplicates within a run: signatures per shard, then one task that joins, verifies and decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.config import as_plan
from curate.documents import IDENTITY
from curate.store.folder import Folder
from curate.store.shards import Output, write_shard, write_table
from pipelines.config import WHOLE_DOCUMENTS
from pipelines.fates import ROW
from pipelines.shard_reader import ShardReader
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

PAIRS_NAME = "dedup/pairs.parquet"
AUDIT_NAME = "dedup/audit.json"


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps that find whole duplicates."""
    before = tuple(step.name for step in labelled)
    return [DedupSign(run, before), DedupResolve(run, before)]


class DedupSign(Step):
    """Computes the duplicate signatures of a shard's live documents."""

    name = "dedup_sign"

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self.after = before
        self.plan = as_plan(run.config.duplicates(*WHOLE_DOCUMENTS))  # type: ignore[arg-type]

    def material(self) -> dict[str, Any]:
        wanted = [d for d in self.run.config.dedup if d.name in WHOLE_DOCUMENTS]
        return {"dedup": [{d.name: d.options.model_dump(mode="json")} for d in wanted]}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup import sign_shard

        table = sign_shard(self._batches(partition, work), self.plan)
        name = f"steps/{self.name}/{partition}.parquet"
        return Result([write_table(self.run.folder, name, table)], {"documents": table.num_rows})

    def _batches(self, partition: str, work: Work) -> Iterator[pa.RecordBatch]:
        dropped_by = tuple(s for s in self.after if s == "labels")
        reader = ShardReader(self.run.folder, partition, labels=self.after, dropped_by=dropped_by)
        wanted = [p.column for p in self.plan.prefer]
        done = 0
        for batch in reader.batches(labels=wanted):
            done += batch.num_rows
            work.marks.set(documents=done)
            yield batch.rename_columns(["row" if n == ROW else n for n in batch.schema.names])


class DedupResolve(Step):
    """Joins all signatures, verifies candidates on their texts, and says for each document who stays.

    Outputs: labels/dedup/<shard>.parquet (null for documents that were dropped before), dedup/pairs.parquet,
    dedup/audit.json.
    """

    name = "dedup"
    aligned = False

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self.after = ("dedup_sign", *before)
        self._sign = DedupSign(run, before)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return self._sign.material()

    def columns(self) -> pa.Schema:
        from curate.dedup.resolution import LABELS

        return pa.schema([f.with_nullable(True) for f in LABELS if f.name != "id"])

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup import resolve

        folder, shards = self.run.folder, self.run.shards
        signed = [(s, folder.table(f"steps/dedup_sign/{s}.parquet")) for s in shards]
        found = resolve(signed, _ShardTexts(folder), self._sign.plan)
        outputs: list[Output] = []
        for shard, signatures in signed:
            outputs.append(self._write_labels(shard, signatures, found.labels[shard]))
        outputs.append(write_table(folder, PAIRS_NAME, found.pairs))
        audit = json.dumps(found.report.as_dict(), indent=1, sort_keys=True).encode("ascii")
        folder.write(AUDIT_NAME, audit)
        outputs.append(plain_output(AUDIT_NAME, audit))
        return Result(outputs, {"documents": sum(t.num_rows for _, t in signed), "removed": found.pairs.num_rows})

    def _write_labels(self, shard: str, signatures: pa.Table, labels: pa.Table) -> Output:
        """Labels in the rows of the document shard; documents dropped before have none."""
        ids = self.run.folder.table(f"documents/{shard}.parquet", ["id"])["id"].combine_chunks()
        place = np.full(len(ids), -1, np.int64)
        place[signatures["row"].to_numpy()] = np.arange(signatures.num_rows)
        index = pa.array(place, mask=place < 0)
        schema = pa.schema([IDENTITY.field("id"), *self.columns()])
        columns = [labels[f.name].combine_chunks().take(index) for f in self.columns()]
        table = pa.Table.from_arrays([_one(ids), *map(_one, columns)], schema=schema)
        return write_shard(self.run.folder, f"labels/{self.name}/{shard}.parquet", schema, table.to_batches())


class _ShardTexts:
    """Texts of document shards, wherever the run's folder is."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def texts(self, shard: Any, rows: npt.NDArray[np.int32]) -> pa.Array:
        """The texts of these rows, which ascend; reads only the row groups that hold them."""
        parts: list[pa.Array] = []
        with self._folder.parquet(f"documents/{shard}.parquet") as file:
            ends = np.cumsum([file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)])
            groups = np.searchsorted(ends, rows, side="right")
            for group in np.unique(groups).tolist():
                start = int(ends[group]) - file.metadata.row_group(group).num_rows
                column = file.read_row_group(group, columns=["text"], use_threads=False)["text"]
                parts.append(_one(column.take(pa.array(rows[groups == group] - start))))
        return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
