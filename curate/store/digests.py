"""Digests of the logical content of tables: equal rows give equal digests, however they were batched or compressed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash


def digest_json(value: Any) -> str:
    """xxh3-128 of the canonical JSON form of ``value``, 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return xxhash.xxh3_128_hexdigest(text.encode("ascii"))


class TableDigest:
    """Digest of rows fed batch by batch; batch boundaries do not matter, row order does."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns = [_ColumnDigest(field.type) for field in schema]
        self._rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of ``batch``, which must have the columns of the schema in its order."""
        for digest, column in zip(self._columns, batch.columns, strict=True):
            chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
            for chunk in chunks:
                digest.update(chunk)
        self._rows += batch.num_rows

    def hexdigest(self) -> str:
        """32 hex digits."""
        # Parquet renames the child of a list from `item` to `element`
        names = [(f.name, str(f.type).replace("<element: ", "<item: ")) for f in self._schema]
        return digest_json([names, self._rows, [c.hexdigest() for c in self._columns]])


class _ColumnDigest:
    """Validity, lengths and values are hashed apart, so that each is one stream of bytes."""

    def __init__(self, type_: pa.DataType) -> None:
        self._valid = xxhash.xxh3_128()
        self._lengths = xxhash.xxh3_128()
        self._values = xxhash.xxh3_128()
        self._child: list[_ColumnDigest] = []
        if pa.types.is_struct(type_):
            self._child = [_ColumnDigest(type_.field(i).type) for i in range(type_.num_fields)]
        elif pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
            self._child = [_ColumnDigest(type_.value_type)]

    def update(self, array: pa.Array) -> None:
        if not len(array):
            return
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        self._valid.update(pc.is_valid(array).to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())
        type_ = array.type
        if pa.types.is_struct(type_):
            for digest, child in zip(self._child, array.flatten(), strict=True):
                digest.update(child)
        elif self._child:
            self._lengths.update(_lengths(array))
            self._child[0].update(array.flatten())
        elif pa.types.is_null(type_):
            return
        elif _is_bytes(type_):
            filled = pc.fill_null(array, "" if "string" in str(type_) else b"") if array.null_count else array
            self._lengths.update(_lengths(filled))
            self._values.update(_data(filled))
        else:
            self._values.update(_fixed(array))

    def hexdigest(self) -> list[Any]:
        own = [self._valid.hexdigest(), self._lengths.hexdigest(), self._values.hexdigest()]
        return [*own, *(c.hexdigest() for c in self._child)]


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_)
        or pa.types.is_binary(type_) or pa.types.is_large_binary(type_)
    )  # fmt: skip


def _lengths(array: pa.Array) -> bytes:
    lengths = pc.binary_length(array) if _is_bytes(array.type) else pc.list_value_length(array)
    return bytes(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False).astype("<i8").tobytes())


def _data(array: pa.Array) -> memoryview | bytes:
    """The bytes of all values one after the other."""
    _, offsets, data = array.buffers()
    if data is None:
        return b""
    kind: Any = np.int64 if "large" in str(array.type) else np.int32
    raw = np.frombuffer(offsets, kind)
    start, stop = int(raw[array.offset]), int(raw[array.offset + len(array)])
    return memoryview(data)[start:stop]


def _fixed(array: pa.Array) -> bytes:
    """Values of fixed width, nulls as zero."""
    if pa.types.is_boolean(array.type):
        return bytes(pc.fill_null(array, False).to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())
    if pa.types.is_fixed_size_binary(array.type):
        return b"".join(v if v is not None else b"" for v in array.to_pylist())
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        filled = pc.fill_null(array, pa.scalar(0, array.type)) if array.null_count else array
        return bytes(filled.to_numpy(zero_copy_only=False).tobytes())
    return _fixed(pc.cast(array, pa.int64()))  # dates, times and timestamps
