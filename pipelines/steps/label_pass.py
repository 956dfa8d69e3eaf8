"""What the passes over written documents share: labels in the rows of the shard, and the fates of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY, Batch, Fates
from curate.stages.base import Stage
from curate.store.shards import ShardWriter
from pipelines.fates import ROW, FateWriter
from pipelines.passes import Chain
from pipelines.shard_reader import ShardReader
from pipelines.steps.base import Result, Step, Work
from pipelines.steps.documents import context


def label_pass(
    step: Step,
    partition: str,
    work: Work,
    reader: ShardReader,
    stages: list[Stage],
    aligned: Callable[[Batch, pa.RecordBatch], pa.RecordBatch],
    split: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
) -> Result:
    """Runs stages over a shard and writes their labels, row by row, with the fates of what left.

    Args:
        aligned: what is written for a batch: given what came out of the stages and the rows that were read.
        split: which of the rows read are given to the stages; None for all.
    """
    folder, keep_text = step.run.folder, step.run.config.run.keep_dropped_text
    schema = pa.schema([IDENTITY.field("id"), *step.columns()])
    writer = ShardWriter(folder, f"labels/{step.name}/{partition}.parquet", schema)
    fates = FateWriter(folder, step.name, partition, keep_text=keep_text)
    chain = Chain(stages, work.marks, work.care)
    read: list[pa.RecordBatch] = []
    shared = Fates()

    def batches() -> Iterator[Batch]:
        for rows in reader.batches():
            read.append(rows)
            yield Batch(split(rows) if split is not None else rows, shared)

    try:
        chain.open(replace(context(step.run, work.scratch), journal=folder.url, task=partition))
        for out in chain.run(batches()):
            writer.write(aligned(out, read.pop()))
            fates.flush(shared)
        outputs = [writer.close(), *fates.close()]
    except BaseException:
        writer.abandon()
        fates.abandon()
        raise
    finally:
        chain.close()
    counts: dict[str, Any] = {
        "documents": outputs[0].rows, "failed_documents": fates.failed_documents, **fates.counts(),
    }  # fmt: skip
    return Result(outputs, counts)


def all_of(out: Batch) -> list[pa.RecordBatch]:
    """All rows that went into the stages, whatever became of them: those that came out, and those that left."""
    pieces = [out.rows, *(d.rows for d in out.fates.drops)]
    return pieces + [f.rows for f in out.fates.failures if f.rows is not None and f.level == "error"]


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
