"""Arrow strings as NumPy arrays, without a copy and without Python strings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


def string_buffers(array: pa.Array | pa.ChunkedArray) -> tuple[Bytes, Offsets]:
    """The UTF-8 bytes of a string or binary column and where each value starts.

    Args:
        array: string, large_string, binary or large_binary; nulls read as empty.

    Returns:
        ``(data, offsets)``: value ``i`` is ``data[offsets[i]:offsets[i + 1]]``; ``offsets`` has one entry more than
        there are values. ``data`` is a view of the Arrow buffer and must not be written.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    if array.null_count:
        array = array.fill_null("" if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) else b"")
    _, offset_buffer, data_buffer = array.buffers()
    kind: Any = np.int64 if wide else np.int32
    if len(array) == 0:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    raw = np.frombuffer(offset_buffer, kind)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    return data, raw.astype(np.int64)


def string_array(data: Bytes, offsets: Offsets) -> pa.Array:
    """A string column over ``data``; the inverse of ``string_buffers``. The bytes must be valid UTF-8."""
    if len(offsets) and offsets[-1] > np.iinfo(np.int32).max:
        return pa.Array.from_buffers(
            pa.large_string(), len(offsets) - 1, [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data)]
        )
    narrow = np.ascontiguousarray(offsets.astype(np.int32))
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(narrow), pa.py_buffer(data)])
