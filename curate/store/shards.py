"""Parquet shards: written in bounded row groups with page checksums, digested as they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.store.digests import TableDigest
from curate.store.folder import Folder

ROW_GROUP_BYTES = 64 << 20
ROW_GROUP_ROWS = 65_536
#: dictionary pages pay off for labels and hosts, never for text and ids
_PLAIN = {"id", "text", "html", "url", "source_id", "survivor", "extra"}


@dataclass(frozen=True)
class Output:
    """A file that a task made: what its receipt says of it."""

    path: str
    rows: int
    bytes: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Grouper:
    """Cuts a stream of batches into row groups at rows that depend on the content alone, not on batch boundaries."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._wide = [i for i, f in enumerate(schema) if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> Iterable[pa.Table]:
        sizes = np.full(batch.num_rows, 64, np.int64)
        for i in self._wide:
            lengths = pc.fill_null(pc.binary_length(batch.column(i)), 0)
            sizes += lengths.to_numpy(zero_copy_only=False).astype(np.int64)
        start = 0
        while start < batch.num_rows:
            room = np.cumsum(sizes[start:]) + self._bytes
            fits = int(np.searchsorted(room, ROW_GROUP_BYTES, side="right"))
            fits = min(fits, ROW_GROUP_ROWS - self._rows)
            if fits == 0 and self._rows == 0:
                fits = 1  # one document larger than a row group stands alone
            if fits:
                self._waiting.append(batch.slice(start, fits))
                self._bytes += int(sizes[start : start + fits].sum())
                self._rows += fits
                start += fits
            if start < batch.num_rows or self._rows >= ROW_GROUP_ROWS:
                yield self.take()

    def take(self) -> pa.Table:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting, self._bytes, self._rows = [], 0, 0
        return table

    def __bool__(self) -> bool:
        return bool(self._waiting)


def write_shard(
    folder: Folder, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, public: bool = False
) -> Output:
    """Write ``batches`` as ``name``; the file appears whole or not at all.

    Args:
        schema: of the file; an empty stream gives a valid file with no rows.
        public: content-defined chunking, so that small changes of a published corpus re-upload little.

    Returns:
        rows, bytes on disk and the digest of the logical content.
    """
    digest = TableDigest(schema)
    rows = 0

    def make(path: Path) -> None:
        nonlocal rows
        grouper = _Grouper(schema)
        with pq.ParquetWriter(path, schema, **_options(schema, public)) as writer:
            for batch in batches:
                fitted = _fit(batch, schema)
                digest.update(fitted)
                rows += fitted.num_rows
                for group in grouper.add(fitted):
                    writer.write_table(group, row_group_size=max(1, group.num_rows))
            if grouper:
                group = grouper.take()
                writer.write_table(group, row_group_size=max(1, group.num_rows))

    folder.write_with(name, make)
    return Output(name, rows, folder.size(name), digest.hexdigest())


def write_table(folder: Folder, name: str, table: pa.Table, *, public: bool = False) -> Output:
    """Write one table as a shard."""
    return write_shard(folder, name, table.schema, table.to_batches(), public=public)


def digest_shard(folder: Folder, name: str) -> tuple[int, str]:
    """Rows and logical digest of a shard as it stands on disk, checksums verified while reading."""
    with folder.parquet(name) as file:
        schema = file.schema_arrow
        digest, rows = TableDigest(schema), 0
        for batch in file.iter_batches(batch_size=1024, use_threads=False):
            digest.update(batch)
            rows += batch.num_rows
    return rows, digest.hexdigest()


def _options(schema: pa.Schema, public: bool) -> dict[str, Any]:
    names = [f.name for f in schema if f.name not in _PLAIN and not pa.types.is_floating(f.type)]
    return {
        "compression": "zstd",
        "use_dictionary": names or False,
        "write_page_checksum": True,
        "write_page_index": True,
        "use_content_defined_chunking": public,
    }


def _fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the columns of ``schema`` in its order; KeyError if one is missing."""
    arrays = [batch.column(batch.schema.get_field_index(f.name)) for f in schema if _has(batch, f.name)]
    return pa.RecordBatch.from_arrays(
        [a if a.type == f.type else pc.cast(a, f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
    )


def _has(batch: pa.RecordBatch, name: str) -> bool:
    if batch.schema.get_field_index(name) < 0:
        raise KeyError(f"the batch has no column {name!r} that the shard declares")
    return True
