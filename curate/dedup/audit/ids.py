"""Ids as two 64-bit numbers each: sixteen bytes that sort as their hex digits do, for joins of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import VerificationError
from curate.kernels.strings import string_buffers

U64 = npt.NDArray[np.uint64]

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_VALUES = np.full(256, 255, np.uint8)
_VALUES[_DIGITS] = np.arange(16)
_LENGTH = 32


def words_of(ids: pa.Array | pa.ChunkedArray, where: str) -> tuple[U64, U64]:
    """The upper and the lower 64 bits of each id.

    Args:
        where: named in the error.

    Raises:
        VerificationError: null, or something that is not 32 lower-case hex digits.
    """
    array = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if array.null_count:
        raise VerificationError(f"{where}: {array.null_count} documents have no id")
    data, offsets = string_buffers(array)
    offsets = np.asarray(offsets, np.int64)
    if (np.diff(offsets) != _LENGTH).any():
        raise VerificationError(f"{where}: an id is not {_LENGTH} hex digits")
    digits = _VALUES[np.asarray(data)[offsets[0] : offsets[-1]]].reshape(-1, _LENGTH)
    if (digits == 255).any():
        raise VerificationError(f"{where}: an id is not {_LENGTH} hex digits")
    packed = np.ascontiguousarray((digits[:, 0::2] << 4) | digits[:, 1::2])
    both = packed.view(">u8").astype(np.uint64)
    return both[:, 0].copy(), both[:, 1].copy()


def ids_of(high: U64, low: U64) -> pa.Array:
    """The inverse of ``words_of``."""
    packed = np.stack([high, low], axis=1).astype(">u8").view(np.uint8).reshape(-1, _LENGTH // 2)
    digits = np.empty((len(packed), _LENGTH), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = _DIGITS[packed >> 4], _DIGITS[packed & 15]
    offsets = np.arange(len(packed) + 1, dtype=np.int32) * _LENGTH
    return pa.Array.from_buffers(
        pa.string(), len(packed), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(digits))]
    )


def one_id(high: Any, low: Any) -> str:
    """One id as 32 hex digits."""
    return f"{int(high):016x}{int(low):016x}"


def mixed(high: U64, low: U64, salt: int = 0) -> U64:
    """A well mixed number per id (the finaliser of SplitMix64): a fair draw that ids chosen for being small are not."""
    x = high ^ (low * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(salt * 0xD1B54A32D192ED03 % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)
