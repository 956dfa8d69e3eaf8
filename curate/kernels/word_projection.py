"""Weighted hashed words and word pairs of texts, projected to a few dimensions without building sparse rows; compiled.

A word is a run of letters, digits and inner apostrophes, ASCII letters folded. Scripts that write no spaces between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) and Hangul count by character instead, pairs being neighbouring
characters. A pair is two words in a row, line breaks ignored. Nothing depends on the other texts of a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint64

from curate.kernels.hashed_features import APOSTROPHE, LETTER, SEPARATOR, _fold, _kind, _width, window
from curate.kernels.strings import Bytes, Offsets

__all__ = ["count_documents", "project"]

_FNV_START = np.uint64(0xCBF29CE484222325)
_FNV = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_PAIR = np.uint64(0xD6E8FEB86659FD93)
_LOGS = np.concatenate(([0.0], 1 + np.log(np.arange(1, 1024)))).astype(np.float32)
_MOST = 65535


@njit(cache=True, nogil=True)
def _stands_alone(data, i, n):  # type: ignore[no-untyped-def]
    """Whether the character of ``n`` bytes at ``i`` is of a script without spaces between words, or Hangul."""
    c = data[i]
    if n == 3:
        if c >= 0xE3:
            return c <= 0xED
        second = data[i + 1]
        return (c == 0xE0 and 0xB8 <= second <= 0xBB) or (c == 0xE1 and second in (0x80, 0x81, 0x9E, 0x9F))
    return n == 4 and c == 0xF0 and data[i + 1] >= 0xA0


@njit(cache=True, nogil=True)
def _word(data, i, end, width):  # type: ignore[no-untyped-def]
    """Hash of the word that begins at ``i``, and where it ends."""
    h = _FNV_START
    if _stands_alone(data, i, width):
        for k in range(width):
            h = (h ^ uint64(data[i + k])) * _FNV
        return h, i + width
    while i < end:
        width = _width(data, i, end)
        kind = _kind(data, i, width)
        if kind == SEPARATOR or _stands_alone(data, i, width):
            break
        if kind == APOSTROPHE:
            if i + width >= end or _kind(data, i + width, _width(data, i + width, end)) != LETTER:
                break
            h = (h ^ uint64(39)) * _FNV
        else:
            for k in range(width):
                h = (h ^ uint64(_fold(data[i + k]))) * _FNV
        i += width
    return h, i


@njit(cache=True, nogil=True)
def _span(data, start, end, bits, counts, touched, n):  # type: ignore[no-untyped-def]
    """Counts the words (buckets below ``2 ** bits``) and pairs (above) of one span."""
    shift = uint64(64 - bits)
    pairs = int64(1) << bits
    last = uint64(0)
    i = start
    while i < end:
        width = _width(data, i, end)
        if _kind(data, i, width) != LETTER:
            i += width
            continue
        h, i = _word(data, i, end, width)
        for which in range(2):
            if which == 1 and last == 0:
                continue
            key = h * _MIX if which == 0 else (last * _PAIR ^ h) * _MIX
            bucket = int64(key >> shift) + which * pairs
            if counts[bucket] == 0:
                touched[n] = bucket
                n += 1
            if counts[bucket] < _MOST:
                counts[bucket] += 1
        last = h
    return n


@njit(cache=True, nogil=True)
def _document(data, start, end, head, tail, bits, counts, touched):  # type: ignore[no-untyped-def]
    a, b = window(data, start, end, head, tail)
    n = _span(data, start, a, bits, counts, touched, 0)
    return _span(data, b, end, bits, counts, touched, n) if b < end else n


@njit(cache=True, nogil=True)
def _count(data, offsets, head, tail, bits, frequencies):  # type: ignore[no-untyped-def]
    counts = np.zeros(frequencies.shape[0], np.uint16)
    touched = np.empty(frequencies.shape[0], np.int32)
    for d in range(offsets.shape[0] - 1):
        n = _document(data, offsets[d], offsets[d + 1], head, tail, bits, counts, touched)
        for k in range(n):
            frequencies[touched[k]] += 1
            counts[touched[k]] = 0


@njit(cache=True, nogil=True)
def _project(data, offsets, head, tail, bits, weights, logs, table, out, words):  # type: ignore[no-untyped-def]
    counts = np.zeros(table.shape[0], np.uint16)
    touched = np.empty(table.shape[0], np.int32)
    width = table.shape[1]
    for d in range(offsets.shape[0] - 1):
        n = _document(data, offsets[d], offsets[d + 1], head, tail, bits, counts, touched)
        row = out[d]
        row[:] = 0
        words[d] = n
        for k in range(n):
            bucket = touched[k]
            v = logs[min(counts[bucket], logs.shape[0] - 1)] * weights[bucket]
            counts[bucket] = 0
            for j in range(width):
                row[j] += v * np.float32(table[bucket, j])


def count_documents(
    data: Bytes, offsets: Offsets, head: int, tail: int, bits: int, frequencies: npt.NDArray[np.int64]
) -> None:
    """Add to ``frequencies`` in how many of the texts each bucket occurs.

    Args:
        head, tail: bytes read at either end of a text; a text of at most ``head + tail`` bytes is read whole.
        frequencies: ``2 ** (bits + 1)`` buckets: words, then pairs.
    """
    _count(data, offsets, head, tail, bits, frequencies)


def project(
    data: Bytes, offsets: Offsets, head: int, tail: int, bits: int, weights: npt.NDArray[np.float32],
    table: npt.NDArray[np.int8],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:  # fmt: skip
    """Σ (1 + ln count) · weight · table row over the words and pairs of each text.

    Args:
        weights: of each bucket.
        table: (buckets, width).

    Returns:
        ``(vectors, distinct)``: (texts, width), not scaled, and how many distinct features each text has.
    """
    n = len(offsets) - 1
    out = np.empty((n, table.shape[1]), np.float32)
    distinct = np.zeros(n, np.int64)
    _project(data, offsets, head, tail, bits, weights, _LOGS, table, out, distinct)
    return out, distinct
