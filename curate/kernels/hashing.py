"""Hashes of byte slices, compiled: xxHash64, exact keys of short slices, polynomials modulo 2^61 - 1.

xxHash64 follows the published specification (Y. Collet, BSD-2) and equals ``xxhash.xxh64_intdigest``. The polynomial
hash of bytes b0, b1, … is Σ (b_i + 1)·BASE^i modulo the Mersenne prime 2^61 - 1, so that the hash of a concatenation
follows from the hashes and lengths of its parts: ``join(h(x), len(x), h(y)) = h(x) + BASE^len(x) · h(y)``.
"""

from __future__ import annotations

import numpy as np
from numba import int64, njit, uint64

K1 = np.uint64(11400714785074694791)
K2 = np.uint64(14029467366897019727)
K3 = np.uint64(1609587929392839161)
K4 = np.uint64(9650029242287828579)
K5 = np.uint64(2870177450012600261)
PRIME = np.uint64((1 << 61) - 1)
BASE = np.uint64(0x1A3779B97F4A7C15 % ((1 << 61) - 1))
INVERSE_BASE = np.uint64(pow(int(BASE), -1, (1 << 61) - 1))
"""BASE · INVERSE_BASE = 1 modulo PRIME."""


@njit(cache=True, nogil=True)
def _rotate(x, r):  # type: ignore[no-untyped-def]
    return (x << uint64(r)) | (x >> uint64(64 - r))


@njit(cache=True, nogil=True)
def read64(data, i):  # type: ignore[no-untyped-def]
    """Eight bytes from ``i`` on, little-endian."""
    low = uint64(data[i]) | uint64(data[i + 1]) << uint64(8) | uint64(data[i + 2]) << uint64(16)
    low |= uint64(data[i + 3]) << uint64(24) | uint64(data[i + 4]) << uint64(32) | uint64(data[i + 5]) << uint64(40)
    return low | uint64(data[i + 6]) << uint64(48) | uint64(data[i + 7]) << uint64(56)


@njit(cache=True, nogil=True)
def _read32(data, i):  # type: ignore[no-untyped-def]
    low = uint64(data[i]) | uint64(data[i + 1]) << uint64(8)
    return low | uint64(data[i + 2]) << uint64(16) | uint64(data[i + 3]) << uint64(24)


@njit(cache=True, nogil=True)
def _round(acc, x):  # type: ignore[no-untyped-def]
    return _rotate(acc + x * K2, 31) * K1


@njit(cache=True, nogil=True)
def xxh64(data, start, end, seed):  # type: ignore[no-untyped-def]
    """xxHash64 of ``data[start:end]`` with a uint64 ``seed``; uint64."""
    i = int64(start)
    if end - start >= 32:
        v1 = seed + K1 + K2
        v2 = seed + K2
        v3 = seed
        v4 = seed - K1
        while i + 32 <= end:
            v1 = _round(v1, read64(data, i))
            v2 = _round(v2, read64(data, i + 8))
            v3 = _round(v3, read64(data, i + 16))
            v4 = _round(v4, read64(data, i + 24))
            i += 32
        h = _rotate(v1, 1) + _rotate(v2, 7) + _rotate(v3, 12) + _rotate(v4, 18)
        h = (h ^ _round(uint64(0), v1)) * K1 + K4
        h = (h ^ _round(uint64(0), v2)) * K1 + K4
        h = (h ^ _round(uint64(0), v3)) * K1 + K4
        h = (h ^ _round(uint64(0), v4)) * K1 + K4
    else:
        h = seed + K5
    h += uint64(end - start)
    while i + 8 <= end:
        h = _rotate(h ^ _round(uint64(0), read64(data, i)), 27) * K1 + K4
        i += 8
    if i + 4 <= end:
        h = _rotate(h ^ (_read32(data, i) * K1), 23) * K2 + K3
        i += 4
    while i < end:
        h = _rotate(h ^ (uint64(data[i]) * K5), 11) * K1
        i += 1
    h ^= h >> uint64(33)
    h *= K2
    h ^= h >> uint64(29)
    h *= K3
    return h ^ (h >> uint64(32))


@njit(cache=True, nogil=True)
def mix(x):  # type: ignore[no-untyped-def]
    """A bijection of 64 bits in which every output bit depends on every input bit (Murmur3's finaliser)."""
    x ^= x >> uint64(33)
    x *= uint64(0xFF51AFD7ED558CCD)
    x ^= x >> uint64(33)
    x *= uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> uint64(33))


@njit(cache=True, nogil=True)
def _tail(data, start, end):  # type: ignore[no-untyped-def]
    """Up to eight bytes as a number; one load where the buffer allows it."""
    if start + 8 <= data.shape[0]:
        word = read64(data, start)
        return word if end - start >= 8 else word & ((uint64(1) << uint64(8 * (end - start))) - uint64(1))
    word = uint64(0)
    for i in range(end - start if end - start < 8 else 8):
        word |= uint64(data[start + i]) << uint64(8 * i)
    return word


@njit(cache=True, nogil=True)
def slice_key(data, start, end):  # type: ignore[no-untyped-def]
    """Two words that, with the length, identify ``data[start:end]``.

    Up to 16 bytes they are the bytes themselves: equal keys of equal lengths are equal slices. Beyond, two xxHash64
    values with different seeds: 128 bits.
    """
    if end - start <= 8:
        return _tail(data, start, end), uint64(0)
    if end - start <= 16:
        return _tail(data, start, end), _tail(data, start + 8, end)
    return xxh64(data, start, end, uint64(0)), xxh64(data, start, end, K3)


@njit(cache=True, nogil=True)
def mul61(a, b):  # type: ignore[no-untyped-def]
    """``a · b`` modulo 2^61 - 1, for a and b below it."""
    a_high = a >> uint64(31)
    a_low = a & uint64(0x7FFFFFFF)
    b_high = b >> uint64(31)
    b_low = b & uint64(0x7FFFFFFF)
    middle = a_low * b_high + a_high * b_low
    r = (a_high * b_high << uint64(1)) + (middle >> uint64(30))
    r += ((middle & uint64(0x3FFFFFFF)) << uint64(31)) + a_low * b_low
    r = (r & PRIME) + (r >> uint64(61))
    return r - PRIME if r >= PRIME else r


@njit(cache=True, nogil=True)
def add61(a, b):  # type: ignore[no-untyped-def]
    """``a + b`` modulo 2^61 - 1."""
    r = a + b
    return r - PRIME if r >= PRIME else r


@njit(cache=True, nogil=True)
def sub61(a, b):  # type: ignore[no-untyped-def]
    """``a - b`` modulo 2^61 - 1."""
    return a - b if a >= b else a + PRIME - b


@njit(cache=True, nogil=True)
def polynomial(data, start, end):  # type: ignore[no-untyped-def]
    """Polynomial hash of ``data[start:end]``: Σ (byte + 1)·BASE^i modulo 2^61 - 1; the empty slice gives 0."""
    h = uint64(0)
    for i in range(end - 1, start - 1, -1):
        h = add61(mul61(h, BASE), uint64(data[i]) + uint64(1))
    return h


@njit(cache=True, nogil=True)
def power61(base, exponent):  # type: ignore[no-untyped-def]
    """``base ** exponent`` modulo 2^61 - 1."""
    result = uint64(1)
    while exponent > 0:
        if exponent & 1:
            result = mul61(result, base)
        base = mul61(base, base)
        exponent >>= 1
    return result


def power_tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """``BASE ** i`` and ``BASE ** -i`` modulo 2^61 - 1 for i below ``size``, as uint64 arrays."""
    prime = int(PRIME)
    tables = np.ones((2, size), np.uint64)
    for row, base in enumerate((int(BASE), int(INVERSE_BASE))):
        value = 1
        for i in range(size):
            tables[row, i] = value
            value = value * base % prime
    return tables[0], tables[1]
