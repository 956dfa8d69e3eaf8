"""Parquet, row group by row group; damage costs a column chunk or a row group, a broken footer costs the file.

Page checksums are verified where the file has them: without verification one flipped bit gives other text and no error.
``offset`` is the row number in the file and ``length`` is 1; the account is in bytes of column chunks, and everything
that is not a chunk (magic, indexes, footer) counts as read with them.
"""

from __future__ import annotations

import difflib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.documents import TEXT, Batch
from curate.errors import InputError
from curate.sources.assemble import (
    EXTRA,
    REASONS,
    dump,
    fit,
    fitted_array,
    id_text,
    row_ids,
    settle,
    table_schema,
    valid_strings,
)
from curate.sources.base import InputFile, ReadOptions, Source

#: columns beyond which only the named ones are read
MAX_COLUMNS = 2_000
#: bytes of the footer
MAX_FOOTER = 64 << 20
#: decoded bytes that one read may expand a dictionary to
EXPANSION = 128 << 20
#: a text column that grows more than this over what the file holds, above 64 MB, is a bomb
MAX_RATIO = 1_000
#: errors that pyarrow raises on damaged files
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One column chunk: where it lies, and what its footer entry claims."""

    offset: int
    size: int
    plain_size: int
    dictionary: int | None


@dataclass(slots=True)
class _Group:
    """One row group. ``chunks``: by top-level column; ``leaves``: the leaf numbers of each."""

    number: int
    first_row: int
    rows: int
    chunks: list[list[_Chunk]]
    size: int


class ParquetSource(Source):
    """Documents from Parquet rows.

    The columns named by ``text_column``, ``id_column``, ``url_column``, ``date_column`` and ``carry`` become columns;
    all others go together into ``extra`` as JSON: times as ISO 8601, decimals as text, binary as base64.
    """

    kind: ClassVar[str] = "parquet"
    columns: ClassVar[pa.Schema] = pa.schema([TEXT, EXTRA])
    reasons: ClassVar[dict[str, str]] = REASONS

    @classmethod
    def schema(cls, options: ReadOptions) -> pa.Schema:
        """Columns of the batches."""
        return table_schema(options)

    def __init__(self, entry: InputFile, options: ReadOptions) -> None:
        super().__init__(entry, options)
        self._schema = table_schema(options)
        self._pending: list[tuple[pa.RecordBatch, dict[tuple[str, str], Any]]] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._odd_ids = 0
        self._misfits = 0

    def batches(self, file: BinaryIO) -> Iterator[Batch]:
        """Batches of at most ``batch_documents`` rows; a file without a sound footer gives one error."""
        if not file.seekable():
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
                yield from self._read(copy)
        else:
            yield from self._read(file)

    def _read(self, file: Any) -> Iterator[Batch]:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            table = _Table(file, size)
        except _DAMAGE as error:
            self.reject(0, size, "parquet.footer", _short(error))
            return
        problem = self._unfit(table)
        if problem:
            self.reject(0, size, "schema.text", problem)
            return
        if not any(group.rows for group in table.groups):
            self.remark(0, size, "input.empty", "the file has no rows")
        columns = self._wanted(table, size)
        for group in table.groups:
            yield from self._group(table, group, columns)
        yield from self._flush(force=True)
        self.account.parsed_bytes += size - sum(group.size for group in table.groups)
        self._remarks(size)

    def _unfit(self, table: _Table) -> str | None:
        """Why the file cannot give texts; None if it can."""
        name, names = self.options.text_column, table.names
        if names.count(name) != 1:
            if name in names:
                return f"{names.count(name)} columns are called {name!r}"
            near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], 3, 0.5)
            like = [n for n in names if n.lower() in near][:3]
            return f"no column {name!r} (input.text_column)" + (f"; there are {like}" if like else "")
        type_ = table.types[names.index(name)]
        inner = type_.value_type if pa.types.is_dictionary(type_) else type_
        return None if _is_text(inner) else f"column {name!r} is {inner}, not a string"

    def _wanted(self, table: _Table, size: int) -> list[int]:
        """The top-level columns to read: all, or the named ones where there are too many."""
        if len(table.names) <= MAX_COLUMNS and table.leaves_known:
            return list(range(len(table.names)))
        options = self.options
        named = {options.text_column, options.id_column, options.url_column, options.date_column, *options.carry}
        if len(table.names) > MAX_COLUMNS:
            detail = (
                f"{len(table.names)} columns, more than {MAX_COLUMNS}: `extra` is left empty; name some in input.carry"
            )
            self.remark(0, size, "limit.columns", detail)
        return [i for i, name in enumerate(table.names) if name in named]

    def _group(self, table: _Table, group: _Group, columns: list[int]) -> Iterator[Batch]:
        text = table.names.index(self.options.text_column)
        done = 0
        try:
            for rows in self._rows(table, group, columns, text):
                yield from self._take(rows, group.first_row + done, [table.names[i] for i in columns])
                done += len(rows)
            self.account.parsed_bytes += group.size
            if done != group.rows:
                detail = f"row group {group.number} holds {done} rows, its footer entry says {group.rows}"
                self.remark(group.first_row, done, "parquet.corrupt", detail)
            return
        except _Bomb as bomb:
            self._lose(group, "limit.batch-bytes", f"{bomb}; rows from {group.first_row + done} on are lost")
            return
        except _DAMAGE as error:
            damage = error
        code, detail = _code(damage), _short(damage)
        bad = [i for i in columns if not table.sound(group, i)]
        if not bad or text in bad:
            self._lose(
                group, code, f"{detail}; rows {group.first_row + done} to {group.first_row + group.rows - 1} lost"
            )
            return
        yield from self._without(table, group, [i for i in columns if i not in bad], bad, done, code)

    def _without(
        self, table: _Table, group: _Group, columns: list[int], bad: list[int], done: int, code: str
    ) -> Iterator[Batch]:
        """The rest of a row group of which some columns, but not the text, are damaged."""
        text = table.names.index(self.options.text_column)
        at = 0
        for rows in self._rows(table, group, columns, text):
            fresh = rows.slice(max(0, done - at))
            if len(fresh):
                yield from self._take(fresh, group.first_row + max(done, at), [table.names[i] for i in columns])
            at += len(rows)
        for i in bad:
            for chunk in group.chunks[i]:
                self.reject(
                    chunk.offset, chunk.size, code, f"column {table.names[i][:80]!r} of row group {group.number}"
                )
        lost = sum(chunk.size for i in bad for chunk in group.chunks[i])
        self.account.parsed_bytes += group.size - lost

    def _lose(self, group: _Group, code: str, detail: str) -> None:
        start = min((c.offset for chunks in group.chunks for c in chunks), default=0)
        self.reject(start, group.size, code, f"row group {group.number}: {detail}")

    def _rows(self, table: _Table, group: _Group, columns: list[int], text: int) -> Iterator[pa.RecordBatch]:
        """Raw rows in pieces of bounded memory; ``_Bomb`` where the text grows out of proportion."""
        chunk = group.chunks[text][0]
        if chunk.plain_size > 1 << 30 and chunk.plain_size > 2 * MAX_RATIO * max(chunk.size, 1):
            raise _Bomb(f"the text column grows from {chunk.size} to {chunk.plain_size} bytes")
        at, decoded = columns.index(text), 0
        for rows in table.pieces(group, columns, self.options):
            decoded += _text_bytes(rows.column(at))
            if decoded > 64 << 20 and decoded > MAX_RATIO * max(chunk.plain_size, 1):
                raise _Bomb(f"the text column grows more than {MAX_RATIO}-fold by its dictionary")
            yield rows

    def _take(self, rows: pa.RecordBatch, first: int, names: list[str]) -> Iterator[Batch]:
        """Convert raw rows; batches come out when enough are together."""
        options = self.options
        where = {name: i for i, name in enumerate(names)}
        text, wrong = _texts(rows.column(where[options.text_column]))
        n = len(rows)
        source = self.entry.source
        used = {options.text_column}
        offsets = range(first, first + n)
        arrays = [
            pa.array(row_ids(source, offsets), pa.string()),
            self._url(rows, where, used),
            pa.array([source], pa.string()).take(pa.array(np.zeros(n, np.int32))),
            pa.array(np.arange(first, first + n)),
            pa.array(np.ones(n, np.int64)),
            self._own_id(rows, where, used),
            text,
        ]
        if options.date_column is not None:
            arrays.append(self._date(rows, where, used))
        for name, kind in options.carry.items():
            arrays.append(self._carried(rows, where, used, name, kind))
        arrays.append(_extra(rows, [(i, name) for i, name in enumerate(names) if name not in used]))
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._pending.append((batch, wrong))
        self._pending_rows += n
        self._pending_bytes += _text_bytes(text)
        yield from self._flush(force=False)

    def _url(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str]) -> pa.Array:
        name = self.options.url_column
        if name is None or name not in where:
            return pa.nulls(len(rows), pa.string())
        used.add(name)
        array = _unpacked(rows.column(where[name]))
        if _is_text(array.type):
            return _repaired(array)
        self._odd_ids += len(array) - array.null_count
        return pa.nulls(len(rows), pa.string())

    def _own_id(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str]) -> pa.Array:
        name = self.options.id_column
        if name is None or name not in where:
            return pa.nulls(len(rows), pa.string())
        used.add(name)
        array = _unpacked(rows.column(where[name]))
        if _is_text(array.type):
            return _repaired(array)
        if pa.types.is_integer(array.type):
            return pc.cast(array, pa.string())
        self._odd_ids += len(array) - array.null_count
        return valid_strings([id_text(v) for v in _python(array)])

    def _date(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str]) -> pa.Array:
        name = self.options.date_column
        if name is None or name not in where:
            return pa.nulls(len(rows), pa.string())
        used.add(name)
        values = _python(_unpacked(rows.column(where[name])))
        return valid_strings([v if v is None or isinstance(v, str) else dump(v).decode().strip('"') for v in values])

    def _carried(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str], name: str, kind: str) -> pa.Array:
        if name not in where:
            return fitted_array([None] * len(rows), kind)
        values = _python(_unpacked(rows.column(where[name])))
        fitted = [fit(v, kind) for v in values]
        misfits = sum(v is not None and f is None for v, f in zip(values, fitted, strict=True))
        self._misfits += misfits
        # Where a value does not fit, the whole column also stays in `extra`, so that nothing is lost.
        if not misfits:
            used.add(name)
        return fitted_array(fitted, kind)

    def _flush(self, *, force: bool) -> Iterator[Batch]:
        options = self.options
        full = self._pending_rows >= options.batch_documents or self._pending_bytes >= options.batch_mb << 20
        if not self._pending_rows or not (full or force):
            return
        parts = [batch for batch, _ in self._pending]
        rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        wrong: dict[tuple[str, str], Any] = {}
        at = 0
        for batch, masks in self._pending:
            for key, mask in masks.items():
                wrong.setdefault(key, np.zeros(len(rows), bool))[at : at + len(batch)] = mask
            at += len(batch)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        self.account.records += len(rows)
        for start in range(0, len(rows), options.batch_documents):
            end = start + options.batch_documents
            batch = settle(
                rows.slice(start, options.batch_documents),
                self.fates,
                options,
                {key: mask[start:end] for key, mask in wrong.items()},
            )
            self.account.documents += len(batch)
            yield batch

    def _remarks(self, size: int) -> None:
        if self._odd_ids:
            detail = f"{self._odd_ids} rows have an id or url that is not text or a whole number"
            self.remark(0, size, "schema.id", detail)
        if self._misfits:
            self.remark(0, size, "schema.carry", f"{self._misfits} values stay in `extra`: wrong type for input.carry")


class _Bomb(Exception):
    pass


class _Table:
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

    def _groups(self, meta: Any) -> list[_Group]:
        groups, first = [], 0
        for number in range(meta.num_row_groups):
            group = meta.row_group(number)
            chunks = [[_chunk(group.column(i)) for i in leaves if i < meta.num_columns] for leaves in self._leaves]
            size = sum(c.size for column in chunks for c in column)
            groups.append(_Group(number, first, group.num_rows, chunks, size))
            first += group.num_rows
        return groups

    def pieces(self, group: _Group, columns: list[int], options: ReadOptions) -> Iterator[pa.RecordBatch]:
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

    def sound(self, group: _Group, column: int) -> bool:
        """Whether the column can be read to the end of the group."""
        try:
            for _ in self.pieces(group, [column], ReadOptions()):
                pass
        except _DAMAGE:
            return False
        return True

    def _largest_value(self, group: _Group, column: int, rows: int) -> int:
        """Bytes that one row may take by referring to a dictionary; an upper bound where that is small anyway."""
        bound = max((self._dictionary_bytes(c) for c in group.chunks[column]), default=0)
        if bound * rows <= EXPANSION or len(group.chunks[column]) > 1:
            return bound
        coded = pq.ParquetFile(
            self._file, read_dictionary=[self.names[column]], buffer_size=1 << 20, pre_buffer=False
        ).reader.iter_batches(1, row_groups=[group.number], column_indices=self._leaves[column], use_threads=False)
        first = next(iter(coded)).column(0)
        if not pa.types.is_dictionary(first.type) or not _is_text(first.type.value_type):
            return bound
        return int(pc.max(pc.binary_length(first.dictionary)).as_py() or 0)

    def _dictionary_bytes(self, chunk: _Chunk) -> int:
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


def _chunk(column: Any) -> _Chunk:
    dictionary = column.dictionary_page_offset if column.has_dictionary_page else None
    offset = min(column.data_page_offset, dictionary or column.data_page_offset)
    return _Chunk(offset, column.total_compressed_size, column.total_uncompressed_size, dictionary)


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


def _is_text(type_: pa.DataType) -> bool:
    t = pa.types
    return bool(
        t.is_string(type_)
        or t.is_large_string(type_)
        or t.is_string_view(type_)
        or t.is_binary(type_)
        or t.is_large_binary(type_)
    )


def _unpacked(array: pa.Array) -> pa.Array:
    """The array without its dictionary or extension type."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string()) if pa.types.is_string_view(array.type) else array


def _narrow(array: pa.Array) -> pa.Array:
    """Any kind of text as ``string``, unchecked."""
    array = _unpacked(array)
    if pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type):
        array = pc.cast(array, pa.binary())
    if pa.types.is_binary(array.type):
        return array.view(pa.string())
    return array if pa.types.is_string(array.type) else pc.cast(array, pa.string())


def _text_bytes(array: pa.Array) -> int:
    if pa.types.is_dictionary(array.type):
        return int(pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0)
    if pa.types.is_string_view(array.type):
        return int(array.nbytes)
    return int(pc.sum(pc.binary_length(array)).as_py() or 0) if _is_text(array.type) else 0


def _texts(array: pa.Array) -> tuple[pa.Array, dict[tuple[str, str], Any]]:
    """Valid texts without nulls, and the rows whose bytes are not UTF-8 (their text is empty)."""
    array = _narrow(array)
    wrong: dict[tuple[str, str], Any] = {}
    try:
        array.validate(full=True)
    except pa.ArrowException:
        values = array.view(pa.binary()).to_pylist()
        bad = np.fromiter((v is not None and not _decodes(v) for v in values), bool, len(values))
        wrong["text.utf8", "the text is not valid UTF-8"] = bad
        kept = [b"" if b else v for v, b in zip(values, bad, strict=True)]
        array = pa.array(kept, pa.string())
    return (pc.fill_null(array, "") if array.null_count else array), wrong


def _repaired(array: pa.Array) -> pa.Array:
    """Strings in which invalid UTF-8 is replaced by U+FFFD."""
    array = _narrow(array)
    try:
        array.validate(full=True)
    except pa.ArrowException:
        values = array.view(pa.binary()).to_pylist()
        array = pa.array([None if v is None else v.decode("utf-8", "replace") for v in values], pa.string())
    return array


def _decodes(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _python(array: pa.Array) -> list[Any]:
    """Values as Python objects; times in microseconds and UTC, None where a value cannot be converted."""
    array = _unpacked(array)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", "UTC" if array.type.tz else None), safe=False)
    if _is_text(array.type) and not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
        array = _repaired(array)
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        return [_one(scalar) for scalar in array]


def _one(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return str(scalar) if pa.types.is_temporal(scalar.type) else None


def _extra(rows: pa.RecordBatch, others: list[tuple[int, str]]) -> pa.Array:
    """The other columns as one JSON object per row; all null if there are none."""
    if not others:
        return pa.nulls(len(rows), pa.string())
    names = [name for _, name in others]
    values = [_python(rows.column(i)) for i, _ in others]
    return pa.array([dump(dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)], pa.string())


def _code(error: BaseException) -> str:
    return "parquet.checksum" if "CRC" in str(error) or "checksum" in str(error) else "parquet.corrupt"


def _short(error: BaseException) -> str:
    """The first line of a message, bounded; pyarrow's name places and types, not values."""
    if isinstance(error, InputError):
        return error.detail
    return str(error).split("\n")[0][:200] or type(error).__name__
