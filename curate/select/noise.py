"""Noise that belongs to a document: a hash of its id and a seed, so that every shard order draws the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.kernels.strings import string_buffers

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

_ID_DIGITS = 32
#: value of an ASCII hex digit; 255 for other bytes
_NIBBLE = np.full(256, 255, np.uint8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    _NIBBLE[_digit] = _value


def id_words(ids: pa.Array | pa.ChunkedArray) -> tuple[Words, Words]:
    """Ids as pairs of 64-bit numbers ``(high, low)`` that sort like the ids.

    Ids of 32 lower-case hex digits, as ``document_id`` makes them, are read as they stand; if any value of the column
    is another text, ``ValueError``.
    """
    data, offsets = string_buffers(ids)
    n = len(offsets) - 1
    if n == 0:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    if (np.diff(offsets) != _ID_DIGITS).any():
        raise ValueError("ids must be 32 hex digits, as curate.documents.document_id makes them")
    nibbles = _NIBBLE[data[offsets[0] : offsets[-1]]].reshape(n, _ID_DIGITS)
    if (nibbles == 255).any():
        raise ValueError("ids must be 32 hex digits (0–9, a–f), as curate.documents.document_id makes them")
    packed = (nibbles[:, 0::2] << 4) | nibbles[:, 1::2]
    words = np.ascontiguousarray(packed).view(">u8").astype(np.uint64)
    return words[:, 0].copy(), words[:, 1].copy()


def hashes(ids: pa.Array | pa.ChunkedArray, seed: int, purpose: str) -> Words:
    """A 64-bit hash per id; another seed or another purpose gives an unrelated one.

    Args:
        purpose: what the hash is for, e.g. ``"gumbel:selected"``: two draws in one run must not share their noise.
    """
    high, low = id_words(ids)
    key = np.uint64(xxhash.xxh3_64_intdigest(f"{seed}\0{purpose}".encode()))
    return _mix(high ^ _mix(low ^ _mix(np.full(len(low), key, np.uint64))))


def uniform(ids: pa.Array | pa.ChunkedArray, seed: int, purpose: str) -> Floats:
    """A number in the open interval (0, 1) per id, on a grid of 2^53 points."""
    return ((hashes(ids, seed, purpose) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def gumbel(ids: pa.Array | pa.ChunkedArray, seed: int, purpose: str) -> Floats:
    """Standard Gumbel noise per id: −log(−log u); between −3.7 and 36.8."""
    found: Floats = -np.log(-np.log(uniform(ids, seed, purpose)))
    return found


def numbers(array: pa.Array | pa.ChunkedArray) -> Floats:
    """A numeric or boolean column as float64; null and infinity become NaN."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.int8())
    found: Floats = pc.fill_null(pc.cast(array, pa.float64()), np.nan).to_numpy(zero_copy_only=False).copy()
    found[~np.isfinite(found)] = np.nan
    return found


def labels_of(values: Floats) -> pa.Array:
    """A float64 column; NaN becomes null."""
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _mix(x: Words) -> Words:
    """Murmur3's finaliser: a bijection in which every bit of the output depends on every bit of the input."""
    x = x ^ (x >> np.uint64(33))
    x = x * np.uint64(0xFF51AFD7ED558CCD)
    x = x ^ (x >> np.uint64(33))
    x = x * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))
