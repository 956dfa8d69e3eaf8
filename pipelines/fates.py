"""Fates on disk: ``dropped/<step>-<shard>.parquet`` and ``failed/<step>-<shard>.parquet``."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import DROPPED, FAILED, IDENTITY, TEXT, Drop, Failure, Fates
from curate.store.folder import Folder
from curate.store.shards import Output, ShardWriter

#: name of the hidden column that carries a document's row in its shard through a label pass
ROW = "_row"


class FateWriter:
    """Writes fates as they happen, so that memory does not grow with a shard.

    Args:
        keep_text: dropped documents keep their text, where they had one.
    """

    def __init__(self, folder: Folder, step: str, partition: str, *, keep_text: bool = False) -> None:
        fields = [*DROPPED, TEXT.with_nullable(True)] if keep_text else list(DROPPED)
        self._keep_text = keep_text
        self._dropped = ShardWriter(folder, f"dropped/{step}-{partition}.parquet", pa.schema(fields))
        self._failed = ShardWriter(folder, f"failed/{step}-{partition}.parquet", FAILED)
        self.dropped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.warned: Counter[str] = Counter()
        #: documents that failed, as opposed to byte ranges
        self.failed_documents = 0

    def flush(self, fates: Fates) -> None:
        """Write and forget what has gathered in ``fates``."""
        for drop in fates.drops:
            self.drop(drop)
        for failure in fates.failures:
            self.fail(failure)
        fates.drops.clear()
        fates.failures.clear()

    def drop(self, drop: Drop, survivor: pa.Array | None = None) -> None:
        """Write documents that a rule removed."""
        rows, n = drop.rows, drop.rows.num_rows
        columns = [_identity(rows, f) for f in IDENTITY]
        columns += [
            _row(rows), pa.array([drop.stage] * n, pa.string()), drop.reason, drop.value, drop.threshold,
            survivor if survivor is not None else pa.nulls(n, pa.string()), drop.detail,
        ]  # fmt: skip
        if self._keep_text:
            columns.append(_identity(rows, TEXT))
        self._dropped.write(pa.RecordBatch.from_arrays(columns, schema=self._dropped.schema))
        for entry in pc.value_counts(drop.reason):
            self.dropped[f"{drop.stage}:{entry['values'].as_py()}"] += entry["counts"].as_py()

    def fail(self, failure: Failure) -> None:
        """Write documents or a byte range that could not be processed."""
        n = failure.rows.num_rows if failure.rows is not None else 1
        if failure.rows is not None:
            names = ("id", "url", "source", "offset", "length")
            place = [_identity(failure.rows, IDENTITY.field(name)) for name in names]
            row = _row(failure.rows)
        else:
            place = [
                pa.array([failure.id], pa.string()), pa.nulls(1, pa.string()), pa.array([failure.source], pa.string()),
                pa.array([failure.offset], pa.int64()), pa.array([failure.length], pa.int64()),
            ]  # fmt: skip
            row = pa.nulls(1, pa.int32())
        said = [pa.array([v] * n, pa.string()) for v in (failure.stage, failure.error, failure.level, failure.detail)]
        self._failed.write(pa.RecordBatch.from_arrays([*place, row, *said], schema=FAILED))
        if failure.level == "warning":
            self.warned[failure.error] += n
        else:
            self.failed[f"{failure.stage}:{failure.error}"] += n
            self.failed_documents += n if failure.rows is not None else 0

    def close(self) -> list[Output]:
        """Publish both files."""
        return [self._dropped.close(), self._failed.close()]

    def abandon(self) -> None:
        """Give both files up."""
        self._dropped.abandon()
        self._failed.abandon()

    def counts(self) -> dict[str, dict[str, int]]:
        """What was written, for the receipt."""
        return {"dropped": dict(self.dropped), "failed": dict(self.failed), "warned": dict(self.warned)}


def _identity(rows: pa.RecordBatch, field: pa.Field) -> pa.Array:
    index = rows.schema.get_field_index(field.name)
    return rows.column(index) if index >= 0 else pa.nulls(rows.num_rows, field.type)


def _row(rows: pa.RecordBatch) -> pa.Array:
    index = rows.schema.get_field_index(ROW)
    return pc.cast(rows.column(index), pa.int32()) if index >= 0 else pa.nulls(rows.num_rows, pa.int32())
