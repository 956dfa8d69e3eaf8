"""Who is similar enough to a row that is kept: decisions over blocks of cosines; compiled.

Blocks of cosines come from a matrix product in single precision, whose last bits depend on its shape. A cosine near a
threshold is therefore computed again, in a fixed order and double precision, before it decides anything.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["MARGIN", "MICRO", "among", "cosine_micro", "dots", "kept_before"]

#: cosines are told and compared in millionths, so that equal vectors have exactly 1
MICRO = 1_000_000
#: how far a cosine of single precision may be off; generous for unit vectors of up to 4,096 dimensions
MARGIN = 5e-5


@njit(cache=True, nogil=True)
def cosine_micro(a, b):  # type: ignore[no-untyped-def]
    """Cosine of two rows of any length, in millionths, −1,000,000 to 1,000,000."""
    dot = 0.0
    aa = 0.0
    bb = 0.0
    for k in range(a.shape[0]):
        x, y = np.float64(a[k]), np.float64(b[k])
        dot += x * y
        aa += x * x
        bb += y * y
    found = np.int64(np.floor(dot / np.sqrt(aa * bb) * MICRO + 0.5))
    return min(max(found, -MICRO), MICRO)


@njit(cache=True, nogil=True)
def _decide(s, x, y, alive, kept, j, limits, main):  # type: ignore[no-untyped-def]
    """Marks in ``alive`` for which limits the row falls to ``y``; its cosine if it does for ``main``, else −1."""
    exact = -2 * MICRO
    fell = False
    for e in range(limits.shape[0]):
        if not alive[e] or not kept[e, j]:
            continue
        limit = limits[e] / MICRO
        if s < limit - MARGIN:
            continue
        if s < limit + MARGIN:
            if exact < -MICRO:
                exact = cosine_micro(x, y)
            if exact < limits[e]:
                continue
        alive[e] = False
        fell = fell or e == main
    if not fell:
        return np.int64(-2 * MICRO)
    return exact if exact >= -MICRO else cosine_micro(x, y)


@njit(cache=True, nogil=True)
def kept_before(s, x, y, kept, alive, limits, main, first, holder, micro, best):  # type: ignore[no-untyped-def]
    """Compares rows with earlier ones, all of which are decided.

    Args:
        s: cosines, (rows, earlier).
        x, y: the vectors of both.
        kept: per limit and earlier row, whether it stays.
        alive: per row and limit, whether it still stands; changed.
        limits: in millionths.
        main: which limit names survivors.
        first: numbers of the earlier rows.
        holder, micro: per row its survivor and their cosine; set for rows that fall.
        best: per row the largest cosine met; changed.
    """
    low = np.float32(limits.min() / MICRO - MARGIN)
    for i in range(s.shape[0]):
        for j in range(s.shape[1]):
            v = s[i, j]
            best[i] = max(best[i], v)
            if v < low:
                continue
            found = _decide(v, x[i], y[j], alive[i], kept, j, limits, main)
            if found >= -MICRO:
                holder[i] = first[j]
                micro[i] = found


@njit(cache=True, nogil=True)
def among(s, x, alive, limits, main, start, holder, micro, best):  # type: ignore[no-untyped-def]
    """Compares the rows of one block with each other, in order; arguments as in ``kept_before``."""
    low = np.float32(limits.min() / MICRO - MARGIN)
    kept = np.zeros((limits.shape[0], s.shape[0]), np.bool_)
    for i in range(s.shape[0]):
        for j in range(i):
            standing = False
            for e in range(limits.shape[0]):
                standing = standing or kept[e, j]
            if not standing:
                continue
            v = s[i, j]
            best[i] = max(best[i], v)
            if v < low:
                continue
            found = _decide(v, x[i], x[j], alive[i], kept, j, limits, main)
            if found >= -MICRO:
                holder[i] = start + j
                micro[i] = found
        for e in range(limits.shape[0]):
            kept[e, i] = alive[i, e]


@njit(cache=True, nogil=True)
def dots(x, y, which, out):  # type: ignore[no-untyped-def]
    """``x[i] · y[which[i]]`` in a fixed order and double precision."""
    for i in range(x.shape[0]):
        total = 0.0
        row = y[which[i]]
        for k in range(x.shape[1]):
            total += np.float64(x[i, k]) * np.float64(row[k])
        out[i] = total


@njit(cache=True, nogil=True)
def add_rows(sums, counts, labels, x):  # type: ignore[no-untyped-def]
    """Adds each row of ``x`` to the sum of its cluster, in order."""
    for i in range(x.shape[0]):
        k = labels[i]
        counts[k] += 1
        for j in range(x.shape[1]):
            sums[k, j] += x[i, j]
