"""An opened Parquet file: where its column chunks lie, and reads of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.sources.base import ReadOptions
from curate.sources.parquet_columns import is_text

#: bytes of the footer
MAX_FOOTER = 64 << 20
#: decoded bytes that one read may expand a dictionary to
EXPANSION = 128 << 20
#: errors that pyarrow raises on damaged files
DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column chunk: where it lies, and what its footer entry claims."""

    offset: int
    size: int
    plain_size: int
    dictionary: int | None


@dataclass(slots=True)
class Group:
    """One row group. ``chunks``: by top-level column; ``leaves``: the leaf numbers of each."""

    number: int
    first_row: int
    rows: int
    chunks: list[list[Chunk]]
    size: int


class Table:
    """An opened file: its columns, its row groups, and reads of bounded memory."""

    def __init__(self, file: Any, size: int) -> None:
        file.seek(max(0, size - 8))
        tail = file.read(8)
        footer = int.from_bytes(tail[:4], "little")
        if size < 12 or tail[4:] != b"PAR1" or footer > min(size - 12, MAX_FOOTER):
            raise ValueError("the file does not end with a Parquet footer; it is cut, damaged or not Parquet")
        self._file = file
        self._parquet = pq.ParquetFile(
            file, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True, memory_map=False
        )
        schema = self._parquet.schema_arrow
        meta = self._parquet.metadata
        self.names: list[str] = list(schema.names)
        self.types: list[pa.DataType] = list(schema.types)
        counts = [_leaves(t) for t in self.types]
        self.leaves_known = sum(counts) == meta.num_columns
        if not self.leaves_known:  # a type whose layout is not known: flat columns are found by their path
            counts = [sum(_top(meta, i) == name for i in range(meta.num_columns)) for name in self.names]
        ends = np.cumsum([0, *counts])
        self._leaves = [list(range(ends[i], ends[i + 1])) for i in range(len(counts))]
        self.groups = self._groups(meta)
        if any(c.size < 0 for g in self.groups for chunks in g.chunks for c in chunks):
            raise ValueError("the footer claims column chunks of negative size")
        if sum(g.size for g in self.groups) > size:
            raise ValueError("the footer claims more bytes of column chunks than the file has")

    def _groups(self, meta: Any) -> list[Group]:
        groups, first = [], 0
        for number in range(meta.num_row_groups):
            group = meta.row_group(number)
            chunks = [[_chunk(group.column(i)) for i in leaves if i < meta.num_columns] for leaves in self._leaves]
            size = sum(c.size for column in chunks for c in column)
            groups.append(Group(number, first, group.num_rows, chunks, size))
            first += group.num_rows
        return groups

    def pieces(self, group: Group, columns: list[int], options: ReadOptions) -> Iterator[pa.RecordBatch]:
        """Rows of the group, in pieces small enough that neither long texts nor dictionaries fill the memory."""
        if not group.rows:
            return
        chunks = [c for i in columns for c in group.chunks[i]]
        mean = max((c.plain_size for c in chunks), default=0) // group.rows + 1
        largest = max((self._largest_value(group, i, options.batch_documents) for i in columns), default=0)
        rows = min(options.batch_documents, (options.batch_mb << 20) // mean, EXPANSION // max(largest, 1))
        leaves = [leaf for i in columns for leaf in self._leaves[i]]
        yield from self._parquet.reader.iter_batches(
            max(1, rows), row_groups=[group.number], column_indices=leaves, use_threads=False
        )

    def sound(self, group: Group, column: int) -> bool:
        """Whether the column can be read to the end of the group."""
        try:
            for _ in self.pieces(group, [column], ReadOptions()):
                pass
        except DAMAGE:
            return False
        return True

    def _largest_value(self, group: Group, column: int, rows: int) -> int:
        """Bytes that one row may take by referring to a dictionary; an upper bound where that is small anyway."""
        bound = max((self._dictionary_bytes(c) for c in group.chunks[column]), default=0)
        if bound * rows <= EXPANSION or len(group.chunks[column]) > 1:
            return bound
        coded = pq.ParquetFile(
            self._file, read_dictionary=[self.names[column]], buffer_size=1 << 20, pre_buffer=False
        ).reader.iter_batches(1, row_groups=[group.number], column_indices=self._leaves[column], use_threads=False)
        first = next(iter(coded)).column(0)
        if not pa.types.is_dictionary(first.type) or not is_text(first.type.value_type):
            return bound
        return int(pc.max(pc.binary_length(first.dictionary)).as_py() or 0)

    def _dictionary_bytes(self, chunk: Chunk) -> int:
        """Decoded size of the dictionary page, from its own header; 0 if there is none."""
        if chunk.dictionary is None or chunk.dictionary <= 0:
            return 0
        self._file.seek(chunk.dictionary)
        head = self._file.read(24)
        # Thrift compact: field 1 (type), then field 2 (uncompressed size), both i32 as zigzag varints.
        if len(head) < 24 or head[0] != 0x15 or head[2] != 0x15:
            return chunk.plain_size
        value, shift = 0, 0
        for byte in head[3:9]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        return value >> 1


def _chunk(column: Any) -> Chunk:
    dictionary = column.dictionary_page_offset if column.has_dictionary_page else None
    offset = min(column.data_page_offset, dictionary or column.data_page_offset)
    return Chunk(offset, column.total_compressed_size, column.total_uncompressed_size, dictionary)


def _top(meta: Any, leaf: int) -> str:
    path: str = meta.schema.column(leaf).path
    return path


def _leaves(type_: pa.DataType) -> int:
    """How many leaf columns a type takes in Parquet."""
    if isinstance(type_, pa.BaseExtensionType):
        return _leaves(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return 1
    if not pa.types.is_nested(type_):
        return 1
    return sum(_leaves(type_.field(i).type) for i in range(type_.num_fields))
