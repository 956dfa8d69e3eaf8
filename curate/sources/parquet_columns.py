"""Arrow columns of any type as text, or as Python values that JSON can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.strings import string_buffers


def is_text(type_: pa.DataType) -> bool:
    """Whether values of the type are strings, or bytes that may be UTF-8."""
    t = pa.types
    return bool(
        t.is_string(type_)
        or t.is_large_string(type_)
        or t.is_string_view(type_)
        or t.is_binary(type_)
        or t.is_large_binary(type_)
    )


def unpacked(array: pa.Array) -> pa.Array:
    """The array without its dictionary or extension type."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string()) if pa.types.is_string_view(array.type) else array


def _narrow(array: pa.Array) -> pa.Array:
    """Any kind of text as ``string``, unchecked."""
    array = unpacked(array)
    if pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type):
        array = pc.cast(array, pa.binary())
    if pa.types.is_binary(array.type):
        return array.view(pa.string())
    return array if pa.types.is_string(array.type) else pc.cast(array, pa.string())


def text_bytes(array: pa.Array) -> int:
    """Bytes of all values, dictionaries written out; 0 for what is no text."""
    if pa.types.is_dictionary(array.type):
        return int(pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0)
    if pa.types.is_string_view(array.type):
        return int(array.nbytes)
    if not is_text(array.type):
        return 0
    _, offsets = string_buffers(array)
    return int(offsets[-1] - offsets[0])


def texts_of(array: pa.Array) -> tuple[pa.Array, dict[tuple[str, str], Any]]:
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


def repaired_strings(array: pa.Array) -> pa.Array:
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


def python_values(array: pa.Array) -> list[Any]:
    """Values as Python objects; times in microseconds and UTC, None where a value cannot be converted."""
    array = unpacked(array)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", "UTC" if array.type.tz else None), safe=False)
    if is_text(array.type) and not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
        array = repaired_strings(array)
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        return [_one(scalar) for scalar in array]


def _one(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return str(scalar) if pa.types.is_temporal(scalar.type) else None
