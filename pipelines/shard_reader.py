"""Documents of a shard with their labels from several steps, joined by row, without those already dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY
from curate.store.folder import Folder
from pipelines.fates import ROW

BATCH_ROWS = 512


@dataclass(frozen=True)
class ShardReader:
    """Reads one shard.

    Attributes:
        labels: steps whose label tables are joined, in order.
        dropped_by: steps whose drops and failures are left out.
    """

    folder: Folder
    partition: str
    labels: tuple[str, ...] = ()
    dropped_by: tuple[str, ...] = ()

    def alive(self, rows: int) -> npt.NDArray[np.bool_]:
        """True for the rows that no earlier step dropped or failed."""
        mask = np.ones(rows, np.bool_)
        for step in self.dropped_by:
            dropped = self.folder.table(f"dropped/{step}-{self.partition}.parquet", ["row"]).column("row")
            mask[dropped.drop_null().to_numpy()] = False
            failed = self.folder.table(f"failed/{step}-{self.partition}.parquet", ["row", "level"])
            rows_failed = failed.filter(pc.equal(failed["level"], "error")).column("row")
            mask[rows_failed.drop_null().to_numpy()] = False
        return mask

    def label_table(self, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The label columns of all joined steps, one row per document of the shard; None if there are none.

        Args:
            columns: names wanted; None for all.
        """
        joined: pa.Table | None = None
        for step in self.labels:
            name = f"labels/{step}/{self.partition}.parquet"
            with self.folder.parquet(name) as file:
                wanted = [n for n in file.schema_arrow.names if n != "id" and (columns is None or n in columns)]
                if not wanted:
                    continue
                table = file.read(columns=wanted, use_threads=False)
            if joined is None:
                joined = table
            else:
                for field, array in zip(table.schema, table.columns, strict=True):
                    joined = joined.append_column(field, array)
        return joined

    def batches(
        self, columns: Sequence[str] | None = None, labels: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Live documents in row order, with the hidden column ``_row``.

        Args:
            columns: columns of the document shard; None for all.
            labels: label columns; None for all.
        """
        table = self.label_table(labels)
        start = 0
        with self.folder.parquet(f"documents/{self.partition}.parquet") as file:
            alive = self.alive(file.metadata.num_rows)
            for group in range(file.num_row_groups):
                found = file.iter_batches(
                    BATCH_ROWS, row_groups=[group], columns=list(columns) if columns is not None else None,
                    use_threads=False,
                )  # fmt: skip
                for batch in found:
                    stop = start + batch.num_rows
                    yield _join(batch, table, alive, start, stop)
                    start = stop

    def identity(self) -> pa.Table:
        """Identity columns of all documents of the shard, dropped ones included."""
        return self.folder.table(f"documents/{self.partition}.parquet", IDENTITY.names)


def _join(
    batch: pa.RecordBatch, labels: pa.Table | None, alive: npt.NDArray[np.bool_], start: int, stop: int
) -> pa.RecordBatch:
    fields, arrays = list(batch.schema), list(batch.columns)
    if labels is not None:
        part = labels.slice(start, stop - start).combine_chunks()
        fields += list(part.schema)
        arrays += [c.chunk(0) if c.num_chunks else pa.nulls(0, c.type) for c in part.columns]
    fields.append(pa.field(ROW, pa.int32(), nullable=False))
    arrays.append(pa.array(np.arange(start, stop, dtype=np.int32)))
    joined = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    mask = alive[start:stop]
    return joined if mask.all() else joined.filter(pa.array(mask))
