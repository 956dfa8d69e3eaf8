"""Uncompressed Arrow files: tables that are read in place, by row, through a memory map; vectors above all.

Batches have fixed numbers of rows, so that a row is found by division and the bytes do not depend on how the rows were
written. Arrow files carry no checksums: readers compare the digest of the content with the receipt of the task that
wrote it (``check_arrow``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import VerificationError
from curate.store.digests import TableDigest
from curate.store.folder import Folder, writing
from curate.store.shards import Output

#: rows of every batch but the last
BATCH_ROWS = 1024


class ArrowWriter:
    """Writes one Arrow file batch by batch; it appears at ``close``, whole, or not at all.

    Args:
        rows: of every batch but the last; None: batches stand as they are given.
    """

    def __init__(self, folder: Folder, name: str, schema: pa.Schema, rows: int | None = BATCH_ROWS) -> None:
        self._folder, self._name, self._schema, self._batch_rows = folder, name, schema, rows
        self._digest = TableDigest(schema)
        self._waiting: list[pa.RecordBatch] = []
        self._n_waiting = self._rows = 0
        self._path = folder.temporary(name)
        with writing(f"{folder.url}/{name}"):
            self._file = pa.OSFile(str(self._path), "wb")
            self._writer = pa.ipc.new_file(self._file, schema, options=pa.ipc.IpcWriteOptions(compression=None))

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of ``batch``, whose columns must be those of the schema."""
        self._digest.update(batch)
        self._rows += batch.num_rows
        with writing(f"{self._folder.url}/{self._name}"):
            if self._batch_rows is None:
                self._writer.write_batch(batch)
                return
            self._waiting.append(batch)
            self._n_waiting += batch.num_rows
            if self._n_waiting >= self._batch_rows:
                self._flush(self._batch_rows, whole=False)

    def _flush(self, rows: int, *, whole: bool) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
        stop = table.num_rows if whole else table.num_rows - table.num_rows % rows
        for start in range(0, stop, rows):
            for batch in table.slice(start, min(rows, stop - start)).combine_chunks().to_batches():
                self._writer.write_batch(batch)
        self._waiting = table.slice(stop).to_batches()
        self._n_waiting = table.num_rows - stop

    def close(self) -> Output:
        """Publish the file."""
        with writing(f"{self._folder.url}/{self._name}"):
            if self._batch_rows is not None and self._waiting:
                self._flush(self._batch_rows, whole=True)
            self._writer.close()
            self._file.close()
        size = self._path.stat().st_size
        self._folder.publish(self._path, self._name)
        return Output(self._name, self._rows, size, self._digest.hexdigest())

    def abandon(self) -> None:
        """Give the file up; nothing appears."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
            self._file.close()
        self._folder.discard(self._path)


def write_arrow(
    folder: Folder, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows: int | None = BATCH_ROWS
) -> Output:
    """Write all ``batches`` as the Arrow file ``name``."""
    writer = ArrowWriter(folder, name, schema, rows)
    try:
        for batch in batches:
            writer.write(batch)
        return writer.close()
    except BaseException:
        writer.abandon()
        raise


@contextlib.contextmanager
def opened_arrow(folder: Folder, name: str) -> Iterator[Any]:
    """The file as a ``pyarrow.ipc.RecordBatchFileReader``; local files are mapped, not read.

    Raises:
        VerificationError: the file is cut or is no Arrow file.
    """
    with folder.opened(name) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowException as error:
            raise VerificationError(f"{folder.url}/{name}: no whole Arrow file; delete it and run again") from error
        yield reader


def arrow_batches(folder: Folder, name: str) -> Iterator[pa.RecordBatch]:
    """All batches in order; views of the mapped file, valid until the next is asked for."""
    with opened_arrow(folder, name) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def digest_arrow(folder: Folder, name: str) -> tuple[int, str]:
    """Rows and logical digest of an Arrow file as it stands."""
    with opened_arrow(folder, name) as reader:
        digest, rows = TableDigest(reader.schema), 0
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            digest.update(batch)
            rows += batch.num_rows
    return rows, digest.hexdigest()


def check_arrow(folder: Folder, output: Output) -> None:
    """Compare a file with what its receipt says; VerificationError if it differs."""
    try:
        found = digest_arrow(folder, output.path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VerificationError(f"{folder.url}/{output.path}: cannot be read; delete it and run again") from error
    if found != (output.rows, output.digest):
        raise VerificationError(
            f"{folder.url}/{output.path}: its content differs from its receipt; delete it and run again"
        )


def matrix(column: pa.Array) -> npt.NDArray[Any]:
    """A column of fixed-size lists of numbers as (rows, size); a view where it can be."""
    size = column.type.list_size
    flat = column.values.slice(column.offset * size, len(column) * size)
    found: npt.NDArray[Any] = flat.to_numpy(zero_copy_only=False).reshape(len(column), size)
    return found


def list_column(vectors: npt.NDArray[Any]) -> pa.Array:
    """(rows, size) as a column of fixed-size lists; the inverse of ``matrix``."""
    flat = np.ascontiguousarray(vectors).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def take_rows(reader: Any, column: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """These rows of a column of vectors, in the order given; touches only their batches.

    The file must have been written with batches of ``BATCH_ROWS``.
    """
    width = reader.schema.field(column).type.list_size
    dtype = reader.schema.field(column).type.value_type.to_pandas_dtype()
    out = np.empty((len(rows), width), dtype)
    number = rows // BATCH_ROWS
    for batch in np.unique(number).tolist():
        here = number == batch
        vectors = reader.get_batch(batch).column(reader.schema.get_field_index(column))
        out[here] = matrix(vectors)[rows[here] - batch * BATCH_ROWS]
    return out
