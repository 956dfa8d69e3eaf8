"""Digests of the logical content of tables: equal rows give equal digests, however they were batched or compressed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
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
        if pa.types.is_dictionary(type_):
            type_ = type_.value_type
        self._valid = xxhash.xxh3_128()
        self._lengths = xxhash.xxh3_128()
        self._values = xxhash.xxh3_128()
        self._child: list[_ColumnDigest] = []
        self._bytes = _is_bytes(type_)
        self._struct = pa.types.is_struct(type_)
        if self._struct:
            self._child = [_ColumnDigest(type_.field(i).type) for i in range(type_.num_fields)]
        elif pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
            self._child = [_ColumnDigest(type_.value_type)]

    def update(self, array: pa.Array) -> None:
        if not len(array):
            return
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        self._valid.update(_validity(array).data)
        if self._struct:
            for digest, child in zip(self._child, array.flatten(), strict=True):
                digest.update(child)
        elif self._child:
            lengths = _list_lengths(array)
            self._lengths.update(lengths.data)
            self._child[0].update(array.flatten())
        elif pa.types.is_null(array.type):
            return
        elif self._bytes:
            offsets, data = _bytes_of(array)
            self._lengths.update(np.diff(offsets).astype("<i8", copy=False).data)
            self._values.update(data[int(offsets[0]) : int(offsets[-1])])
        else:
            self._values.update(_fixed(array))

    def hexdigest(self) -> list[Any]:
        own = [self._valid.hexdigest(), self._lengths.hexdigest(), self._values.hexdigest()]
        return [*own, *(c.hexdigest() for c in self._child)]


def _validity(array: pa.Array) -> npt.NDArray[np.uint8]:
    """1 where there is a value, 0 where there is none."""
    if not array.null_count:
        return np.ones(len(array), np.uint8)
    valid: npt.NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    return valid.astype(np.uint8)


def _list_lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """Values per list, 0 for null."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    found: npt.NDArray[np.int64] = lengths.astype("<i8")
    return found


def _is_binary(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(_is_binary(type_) or pa.types.is_string(type_) or pa.types.is_large_string(type_))


def byte_lengths(array: pa.Array) -> npt.NDArray[np.int64] | None:
    """Bytes of each value of a string or binary array, 0 for null; None for arrays of another type."""
    return np.diff(_bytes_of(array)[0]) if _is_bytes(array.type) else None


def _bytes_of(array: pa.Array) -> tuple[npt.NDArray[np.int64], memoryview]:
    """(where each value starts and the last one ends, the bytes they stand in); nulls are empty."""
    if array.null_count:
        array = array.fill_null(b"" if _is_binary(array.type) else "")
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, offsets, data = array.buffers()
    every = np.frombuffer(offsets, np.int64 if large else np.int32)
    starts = every[array.offset : array.offset + len(array) + 1].astype(np.int64, copy=False)
    return starts, memoryview(data if data is not None else b"")


def _fixed(array: pa.Array) -> Any:
    """Values of fixed width as one buffer, nulls as zero."""
    if pa.types.is_boolean(array.type):
        return array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8)
    if pa.types.is_fixed_size_binary(array.type):
        return b"".join(v if v is not None else b"" for v in array.to_pylist())
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        filled = array.fill_null(pa.scalar(0, array.type)) if array.null_count else array
        return np.ascontiguousarray(filled.to_numpy(zero_copy_only=False))
    return _fixed(array.cast(pa.int64()))  # dates, times and timestamps
