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
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import TEXT, Batch
from curate.errors import InputError
from curate.sources.assemble import (
    EXTRA,
    REASONS,
    content_digest,
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
from curate.sources.parquet_columns import is_text, python_values, repaired_strings, text_bytes, texts_of, unpacked
from curate.sources.parquet_table import DAMAGE, Group, Table

#: columns beyond which only the named ones are read
MAX_COLUMNS = 2_000
#: a text column that grows more than this over what the file holds, above 64 MB, is a bomb
MAX_RATIO = 1_000


class ParquetSource(Source):
    """Documents from Parquet rows.

    The columns named by ``text_column``, ``id_column``, ``url_column``, ``date_column`` and ``carry`` become columns,
    that of ``content_column`` its digest; all others go together into ``extra`` as JSON: times as ISO 8601, decimals as
    text, binary as base64.
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
            table = Table(file, size)
        except DAMAGE as error:
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

    def _unfit(self, table: Table) -> str | None:
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
        return None if is_text(inner) else f"column {name!r} is {inner}, not a string"

    def _wanted(self, table: Table, size: int) -> list[int]:
        """The top-level columns to read: all, or the named ones where there are too many."""
        if len(table.names) <= MAX_COLUMNS and table.leaves_known:
            return list(range(len(table.names)))
        options = self.options
        named = {
            options.text_column, options.id_column, options.url_column, options.date_column, options.content_column,
            *options.carry,
        }  # fmt: skip
        if len(table.names) > MAX_COLUMNS:
            detail = (
                f"{len(table.names)} columns, more than {MAX_COLUMNS}: `extra` is left empty; name some in input.carry"
            )
            self.remark(0, size, "limit.columns", detail)
        return [i for i, name in enumerate(table.names) if name in named]

    def _group(self, table: Table, group: Group, columns: list[int]) -> Iterator[Batch]:
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
        except DAMAGE as error:
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
        self, table: Table, group: Group, columns: list[int], bad: list[int], done: int, code: str
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

    def _lose(self, group: Group, code: str, detail: str) -> None:
        start = min((c.offset for chunks in group.chunks for c in chunks), default=0)
        self.reject(start, group.size, code, f"row group {group.number}: {detail}")

    def _rows(self, table: Table, group: Group, columns: list[int], text: int) -> Iterator[pa.RecordBatch]:
        """Raw rows in pieces of bounded memory; ``_Bomb`` where the text grows out of proportion."""
        chunk = group.chunks[text][0]
        if chunk.plain_size > 1 << 30 and chunk.plain_size > 2 * MAX_RATIO * max(chunk.size, 1):
            raise _Bomb(f"the text column grows from {chunk.size} to {chunk.plain_size} bytes")
        at, decoded = columns.index(text), 0
        for rows in table.pieces(group, columns, self.options):
            decoded += text_bytes(rows.column(at))
            if decoded > 64 << 20 and decoded > MAX_RATIO * max(chunk.plain_size, 1):
                raise _Bomb(f"the text column grows more than {MAX_RATIO}-fold by its dictionary")
            yield rows

    def _take(self, rows: pa.RecordBatch, first: int, names: list[str]) -> Iterator[Batch]:
        """Convert raw rows; batches come out when enough are together."""
        options = self.options
        where = {name: i for i, name in enumerate(names)}
        text, wrong = texts_of(rows.column(where[options.text_column]))
        n = len(rows)
        source = self.entry.source
        used = {options.text_column}
        misfits: dict[str, Any] = {}
        offsets = range(first, first + n)
        arrays = [
            pa.array(row_ids(source, offsets), pa.string()),
            self._url(rows, where, used),
            pa.repeat(pa.scalar(source, pa.string()), n),
            pa.array(np.arange(first, first + n)),
            pa.array(np.ones(n, np.int64)),
            self._own_id(rows, where, used),
            text,
        ]
        if options.date_column is not None:
            arrays.append(self._date(rows, where, used))
        if options.content_column is not None:
            arrays.append(self._digests(rows, where, used))
        for name, kind in options.carry.items():
            arrays.append(self._carried(rows, where, misfits, name, kind))
        others = [(i, name, misfits.get(name)) for i, name in enumerate(names) if name not in used]
        arrays.append(_extra(rows, [other for other in others if other[2] is None or any(other[2])]))
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._pending.append((batch, wrong))
        self._pending_rows += n
        self._pending_bytes += text_bytes(text)
        yield from self._flush(force=False)

    def _url(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str]) -> pa.Array:
        name = self.options.url_column
        if name is None or name not in where:
            return pa.nulls(len(rows), pa.string())
        used.add(name)
        array = unpacked(rows.column(where[name]))
        if is_text(array.type):
            return repaired_strings(array)
        self._odd_ids += len(array) - array.null_count
        return pa.nulls(len(rows), pa.string())

    def _own_id(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str]) -> pa.Array:
        name = self.options.id_column
        if name is None or name not in where:
            return pa.nulls(len(rows), pa.string())
        used.add(name)
        array = unpacked(rows.column(where[name]))
        if is_text(array.type):
            return repaired_strings(array)
        if pa.types.is_integer(array.type):
            return pc.cast(array, pa.string())
        self._odd_ids += len(array) - array.null_count
        return valid_strings([id_text(v) for v in python_values(array)])

    def _date(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str]) -> pa.Array:
        name = self.options.date_column
        if name is None or name not in where:
            return pa.nulls(len(rows), pa.string())
        used.add(name)
        values = python_values(unpacked(rows.column(where[name])))
        return valid_strings([v if v is None or isinstance(v, str) else dump(v).decode().strip('"') for v in values])

    def _digests(self, rows: pa.RecordBatch, where: dict[str, int], used: set[str]) -> pa.Array:
        name = self.options.content_column
        if name is None or name not in where:
            return pa.nulls(len(rows), pa.string())
        used.add(name)
        array = unpacked(rows.column(where[name]))
        values = array.cast(pa.large_binary()).to_pylist() if is_text(array.type) else python_values(array)
        return pa.array([content_digest(value) for value in values], pa.string())

    def _carried(
        self, rows: pa.RecordBatch, where: dict[str, int], misfits: dict[str, Any], name: str, kind: str
    ) -> pa.Array:
        """The column ``name`` as ``kind``; ``misfits`` notes the rows whose value stays in ``extra`` instead."""
        if name not in where:
            return fitted_array([None] * len(rows), kind)
        values = python_values(unpacked(rows.column(where[name])))
        fitted = [fit(v, kind) for v in values]
        misfits[name] = [v is not None and f is None for v, f in zip(values, fitted, strict=True)]
        self._misfits += sum(misfits[name])
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


def _extra(rows: pa.RecordBatch, others: list[tuple[int, str, list[bool] | None]]) -> pa.Array:
    """The other columns as one JSON object per row, null where that would be empty.

    Args:
        others: number and name of each column, and the rows that it enters; None for all.
    """
    if not others:
        return pa.nulls(len(rows), pa.string())
    names = [name for _, name, _ in others]
    values = [python_values(rows.column(i)) for i, _, _ in others]
    if all(mask is None for _, _, mask in others):
        return pa.array([dump(dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)], pa.string())
    objects: list[dict[str, Any]] = [{} for _ in range(len(rows))]
    for name, column, (_, _, mask) in zip(names, values, others, strict=True):
        for row, value in enumerate(column):
            if mask is None or mask[row]:
                objects[row][name] = value
    return pa.array([dump(one) if one else None for one in objects], pa.string())


def _code(error: BaseException) -> str:
    return "parquet.checksum" if "CRC" in str(error) or "checksum" in str(error) else "parquet.corrupt"


def _short(error: BaseException) -> str:
    """The first line of a message, bounded; pyarrow's name places and types, not values."""
    if isinstance(error, InputError):
        return error.detail
    return str(error).split("\n")[0][:200] or type(error).__name__
