"""A counting Bloom filter of four-bit counters: the compiled part (Bloom 1970; Fan et al. 2000).

A key has ``hashes`` cells, found by double hashing (Kirsch, Mitzenmacher 2006). Adding raises each of them, up to 15,
which means "15 or more"; the count of a key is the least of its cells, so it is never too low. Adding is commutative
and associative, so the filter does not depend on the order in which keys come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint64

from curate.kernels.hashing import mix

Kernel = Any

#: counters do not go beyond this
MOST = 15
_STEP = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def add(cells: Kernel, size: int, hashes: int, keys: Kernel, counts: Kernel) -> None:
    """Raise the cells of each key by its count.

    Args:
        cells: uint8, two counters each.
        size: how many counters there are.
    """
    for i in range(len(keys)):
        at, step = _start(keys[i], size)
        more = min(counts[i], MOST)
        for _ in range(hashes):
            shift = (at & 1) << 2
            byte = cells[at >> 1]
            value = min(((byte >> shift) & 15) + more, MOST)
            cells[at >> 1] = (byte & (0xF0 >> shift)) | (value << shift)
            at += step
            at -= size if at >= size else 0


@njit(cache=True, nogil=True)
def least(cells: Kernel, size: int, hashes: int, keys: Kernel) -> Kernel:
    """The count of each key as the filter knows it, at most 15: uint8."""
    out = np.empty(len(keys), np.uint8)
    for i in range(len(keys)):
        at, step = _start(keys[i], size)
        found = MOST
        for _ in range(hashes):
            found = min(found, (cells[at >> 1] >> ((at & 1) << 2)) & 15)
            if found == 0:
                break
            at += step
            at -= size if at >= size else 0
        out[i] = found
    return out


@njit(cache=True, nogil=True)
def empty_cells(cells: Kernel, size: int) -> int:
    """How many counters are 0."""
    found = 0
    for at in range(size):
        found += (cells[at >> 1] >> ((at & 1) << 2)) & 15 == 0
    return found


@njit(cache=True, nogil=True)
def _start(key: Kernel, size: int) -> Kernel:
    """First cell of a key, and how far its next ones are: at least 1, less than the size (0 if there is one cell)."""
    h = mix(key ^ _STEP)
    first = np.int64(h % uint64(size))
    step = np.int64(mix(h + _STEP) % uint64(max(size - 1, 1))) + 1 if size > 1 else np.int64(0)
    return first, step
