"""Parquet shards: written in bounded row groups with page checksums, digested as they are written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.store.digests import TableDigest, byte_lengths
from curate.store.folder import Folder, writing

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


class _Grouper:
    """Cuts a stream of batches into row groups at rows that depend on the content alone, not on batch boundaries."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> Iterable[pa.Table]:
        sizes = np.full(batch.num_rows, 64, np.int64)
        for column in batch.columns:
            lengths = byte_lengths(column)
            if lengths is not None:
                sizes += lengths
        start = 0
        while start < batch.num_rows:
            room = np.cumsum(sizes[start:]) + self._bytes
            fits = int(np.searchsorted(room, ROW_GROUP_BYTES, side="right"))
            fits = min(fits, ROW_GROUP_ROWS - self._rows)
            if fits == 0 and self._rows == 0:
                fits = 1  # one document larger than a row group stands alone
            if fits:
                self._waiting.append(batch.slice(start, fits))
                self._bytes = int(room[fits - 1])
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


class ShardWriter:
    """Writes one shard batch by batch; the file appears at ``close``, whole, or not at all.

    Args:
        schema: of the file; without any batch the file is valid and has no rows.
        public: content-defined chunking, so that small changes of a published corpus re-upload little.
    """

    def __init__(self, folder: Folder, name: str, schema: pa.Schema, *, public: bool = False) -> None:
        self.schema = schema
        self._folder, self._name = folder, name
        self._digest = TableDigest(schema)
        self._grouper = _Grouper(schema)
        self._rows = 0
        self._path = folder.temporary(name)
        import pyarrow.parquet as pq

        with writing(f"{folder.url}/{name}"):
            self._writer = pq.ParquetWriter(self._path, schema, **_options(schema, public))

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of ``batch``; columns are taken by name, KeyError if one is missing."""
        fitted = _fit(batch, self.schema)
        self._digest.update(fitted)
        self._rows += fitted.num_rows
        with writing(f"{self._folder.url}/{self._name}"):
            for group in self._grouper.add(fitted):
                self._writer.write_table(group, row_group_size=max(1, group.num_rows))

    def close(self) -> Output:
        """Publish the file.

        Returns:
            rows, bytes on disk and the digest of the logical content.
        """
        with writing(f"{self._folder.url}/{self._name}"):
            if self._grouper:
                group = self._grouper.take()
                self._writer.write_table(group, row_group_size=max(1, group.num_rows))
            self._writer.close()
        size = self._path.stat().st_size
        self._folder.publish(self._path, self._name)
        return Output(self._name, self._rows, size, self._digest.hexdigest())

    def abandon(self) -> None:
        """Give the file up; nothing appears."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        self._folder.discard(self._path)


def write_shard(
    folder: Folder, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, public: bool = False
) -> Output:
    """Write all ``batches`` as the shard ``name``."""
    writer = ShardWriter(folder, name, schema, public=public)
    try:
        for batch in batches:
            writer.write(batch)
        return writer.close()
    except BaseException:
        writer.abandon()
        raise


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
        [a if a.type == f.type else a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
    )


def _has(batch: pa.RecordBatch, name: str) -> bool:
    if batch.schema.get_field_index(name) < 0:
        raise KeyError(f"the batch has no column {name!r} that the shard declares")
    return True
