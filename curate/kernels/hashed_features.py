"""Hashed words, word pairs and runs of characters of texts, with text statistics, in one pass; compiled.

What a small linear model needs: per document the counts of hashed n-grams and a row of statistics. Counts live in one
array over all buckets that is emptied after each document, so nothing grows with the batch and no result depends on
the other documents of the batch. A text longer than the window is read at its head and its tail only.

A word is a run of ASCII letters and digits, of apostrophes inside, and of characters outside ASCII that are neither
space nor general punctuation; ASCII letters are folded. A line break counts as a word of its own, a blank line as
another, so that word pairs see where lines begin and end. Character runs are bytes of the text with ASCII letters
folded, digits made equal and whitespace made one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint64

from curate.kernels.strings import Bytes, Offsets
from curate.kernels.text_shape import (
    GROUPS,
    N_COUNTERS,
    REPEATED_PAIRS,
    STATISTICS,
    count_bytes,
    count_lines,
    count_word,
    finish,
    word_groups,
)

__all__ = ["STATISTICS", "HashedFeatures", "accumulate", "count_words", "word_hash"]

_FNV_START = np.uint64(0xCBF29CE484222325)
_FNV = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_PAIR = np.uint64(0xD6E8FEB86659FD93)
_LINE = np.uint64(0x2545F4914F6CDD1D)
_BLANK = np.uint64(0x9FB21C651E98DF25)
_CUT = np.uint64(0x61C8864680B583EB)
_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(8)], np.uint64)
_LOGS = np.concatenate(([0.0], 1 + np.log(np.arange(1, 1024)))).astype(np.float32)
#: counts stop here; they are small so that all buckets fit into a processor's cache
_MOST = 65535
#: bytes a window's end moves at most to fall on whitespace
_SEARCH = 64

SEPARATOR, LETTER, APOSTROPHE = range(3)


def _ascii_kinds() -> npt.NDArray[np.int64]:
    kinds = np.full(128, SEPARATOR, np.int64)
    for code in range(128):
        if chr(code).isalnum():
            kinds[code] = LETTER
    kinds[39] = APOSTROPHE
    return kinds


_ASCII_KIND = _ascii_kinds()


def word_hash(word: str) -> int:
    """The hash of a word as the kernel sees it: FNV-1a, 64 bits, of the UTF-8 bytes."""
    value = int(_FNV_START)
    for byte in word.encode():
        value = ((value ^ byte) * int(_FNV)) & 0xFFFFFFFFFFFFFFFF
    return value


@njit(cache=True, nogil=True)
def _width(data, i, end):  # type: ignore[no-untyped-def]
    """Bytes of the character at ``i``, never past ``end``."""
    c = data[i]
    n = 1 if c < 0xC0 else 2 if c < 0xE0 else 3 if c < 0xF0 else 4
    return min(n, end - i)


@njit(cache=True, nogil=True)
def _kind(data, i, n):  # type: ignore[no-untyped-def]
    """Whether the character of ``n`` bytes at ``i`` is part of a word."""
    c = data[i]
    if c < 0x80:
        return _ASCII_KIND[c]
    if c == 0xC2 or c < 0xC2:
        return SEPARATOR
    if n == 3 and c == 0xE2 and data[i + 1] <= 0x8A:
        # general punctuation to mathematical signs: U+2000 to U+22BF; U+2019 is the typographic apostrophe
        return APOSTROPHE if data[i + 1] == 0x80 and data[i + 2] == 0x99 else SEPARATOR
    if n == 3 and c == 0xE3 and data[i + 1] == 0x80:
        return SEPARATOR
    return LETTER


@njit(cache=True, nogil=True)
def _fold(c):  # type: ignore[no-untyped-def]
    return c + 32 if 65 <= c <= 90 else c


@njit(cache=True, nogil=True)
def window(data, start, end, head, tail):  # type: ignore[no-untyped-def]
    """End of the head and start of the tail; both equal ``end`` if the text fits. Cuts fall on whitespace if near."""
    if end - start <= head + tail:
        return end, end
    a = start + head
    for i in range(a, max(start, a - _SEARCH), -1):
        if data[i] <= 32:
            a = i
            break
    while a < end and (data[a] & 0xC0) == 0x80:
        a += 1
    b = end - tail
    for i in range(b, min(end, b + _SEARCH)):
        if data[i] <= 32:
            b = i
            break
    while b < end and (data[b] & 0xC0) == 0x80:
        b += 1
    return a, max(a, b)


@njit(cache=True, nogil=True)
def _add(counts, touched, n, bucket):  # type: ignore[no-untyped-def]
    if counts[bucket] == 0:
        touched[n] = bucket
        n += 1
    if counts[bucket] < _MOST:
        counts[bucket] += 1
    return n


@njit(cache=True, nogil=True)
def _words(data, start, end, last, counts, touched, n, bits, groups, c):  # type: ignore[no-untyped-def]
    """Counts words and pairs of one span; ``last`` is the hash of what stands before it."""
    shift = uint64(64 - bits)
    i = start
    breaks = 0
    while i < end:
        width = _width(data, i, end)
        if _kind(data, i, width) != LETTER:
            breaks += data[i] == 10
            i += width
            continue
        if breaks:
            mark = _LINE if breaks == 1 else _BLANK
            n = _add(counts, touched, n, int64(((last * _PAIR ^ mark) * _MIX) >> shift))
            last = mark
            breaks = 0
        h = _FNV_START
        first = data[i]
        length = upper = digits = 0
        while i < end:
            width = _width(data, i, end)
            kind = _kind(data, i, width)
            if kind == SEPARATOR:
                break
            if kind == APOSTROPHE:
                if i + width >= end or _kind(data, i + width, _width(data, i + width, end)) != LETTER:
                    break
                h = (h ^ uint64(39)) * _FNV
                i += width
                continue
            for k in range(width):
                h = (h ^ uint64(_fold(data[i + k]))) * _FNV
            upper += 65 <= data[i] <= 90
            digits += 48 <= data[i] <= 57
            length += 1
            i += width
        before = n
        n = _add(counts, touched, n, int64((h * _MIX) >> shift))
        count_word(c, h, first, length, upper, digits, n > before, groups)
        before = n
        n = _add(counts, touched, n, int64(((last * _PAIR ^ h) * _MIX) >> shift))
        c[REPEATED_PAIRS] += n == before
        last = h
    return n


@njit(cache=True, nogil=True)
def _runs(data, start, end, counts, touched, n, bits, shortest, longest, base):  # type: ignore[no-untyped-def]
    """Counts runs of ``shortest`` to ``longest`` bytes of one span, starting as if whitespace stood before it."""
    shift = uint64(64 - bits)
    packed = uint64(32)
    have = 1
    space = True
    for i in range(start, end):
        b = uint64(data[i])
        if b <= 32:
            if space:
                continue
            space = True
            b = uint64(32)
        else:
            space = False
            if 65 <= b <= 90:
                b += uint64(32)
            elif 48 <= b <= 57:
                b = uint64(48)
        packed = (packed << uint64(8)) | b
        have += 1
        for length in range(shortest, min(have, longest) + 1):
            key = (packed & _MASKS[length]) | (uint64(length) << uint64(56))
            key = (key ^ (key >> uint64(29))) * _MIX
            key = (key ^ (key >> uint64(32))) * _PAIR
            n = _add(counts, touched, n, base + int64(key >> shift))
    return n


@njit(cache=True, nogil=True)
def _document(data, start, end, shape, counts, touched, groups, c, row, lines):  # type: ignore[no-untyped-def]
    """Counts one document: touched buckets of words are first, those of runs follow; returns where each ends."""
    head, tail, word_bits, run_bits, shortest, longest = shape
    a, b = window(data, start, end, head, tail)
    c[:] = 0
    n = _words(data, start, a, _BLANK, counts, touched, 0, word_bits, groups, c)
    if b < end:
        n = _words(data, b, end, _CUT, counts, touched, n, word_bits, groups, c)
    base = int64(1) << word_bits
    m = n
    if run_bits:
        m = _runs(data, start, a, counts, touched, n, run_bits, shortest, longest, base)
        if b < end:
            m = _runs(data, b, end, counts, touched, m, run_bits, shortest, longest, base)
    count_bytes(c, data, start, a)
    count_lines(c, data, start, a, lines)
    if b < end:
        count_bytes(c, data, b, end)
        count_lines(c, data, b, end, lines)
    finish(c, end - start, (a - start) + (end - b), row)
    return n, m


@njit(cache=True, nogil=True)
def _weights(counts, touched, first, last, idf, logs, values):  # type: ignore[no-untyped-def]
    """``(1 + ln count) · idf`` of the touched buckets, scaled to length 1."""
    total = np.float32(0)
    for k in range(first, last):
        bucket = touched[k]
        v = logs[min(counts[bucket], logs.shape[0] - 1)] * idf[bucket]
        values[k] = v
        total += v * v
    if total > 0:
        scale = np.float32(1) / np.sqrt(total)
        for k in range(first, last):
            values[k] *= scale


@njit(cache=True, nogil=True)
def count_batch(data, offsets, shape, groups, indptr, indices, values, statistics, state):  # type: ignore[no-untyped-def]
    """Counts of each document as sparse rows, from ``state[0]`` on; stops where ``indices`` is full."""
    size = (int64(1) << shape[2]) + ((int64(1) << shape[3]) if shape[3] else int64(0))
    counts = np.zeros(size, np.uint16)
    touched = np.empty(size, np.int32)
    c = np.zeros(N_COUNTERS, np.float64)
    lines = np.zeros(512, np.uint64)
    for d in range(state[0], offsets.shape[0] - 1):
        _n, m = _document(data, offsets[d], offsets[d + 1], shape, counts, touched, groups, c, statistics[d], lines)
        at = indptr[d]
        full = at + m > indices.shape[0]
        for k in range(m):
            if not full:
                indices[at + k] = touched[k]
                values[at + k] = counts[touched[k]]
            counts[touched[k]] = 0
        if full:
            state[0] = d
            return
        indptr[d + 1] = at + m
    state[0] = offsets.shape[0] - 1


@njit(cache=True, nogil=True)
def accumulate(data, offsets, shape, groups, logs, idf, table, latent, statistics):  # type: ignore[no-untyped-def]
    """Σ weight · table row, per block of features, and the statistics, of each document.

    Args:
        table: int8 (buckets, width).
        latent: float32 (documents, 2, width), filled: words and pairs, character runs.
    """
    counts = np.zeros(table.shape[0], np.uint16)
    touched = np.empty(table.shape[0], np.int32)
    values = np.empty(table.shape[0], np.float32)
    c = np.zeros(N_COUNTERS, np.float64)
    lines = np.zeros(512, np.uint64)
    width = table.shape[1]
    for d in range(offsets.shape[0] - 1):
        n, m = _document(data, offsets[d], offsets[d + 1], shape, counts, touched, groups, c, statistics[d], lines)
        _weights(counts, touched, 0, n, idf, logs, values)
        _weights(counts, touched, n, m, idf, logs, values)
        latent[d] = 0
        for k in range(m):
            out = latent[d, 0 if k < n else 1]
            bucket = touched[k]
            v = values[k]
            for j in range(width):
                out[j] += v * np.float32(table[bucket, j])
            counts[bucket] = 0


@njit(cache=True, nogil=True)
def _count_words(data, offsets, most, out):  # type: ignore[no-untyped-def]
    for d in range(offsets.shape[0] - 1):
        i = offsets[d]
        end = offsets[d + 1]
        inside = False
        while i < end and out[d] < most:
            width = _width(data, i, end)
            kind = _kind(data, i, width)
            if kind == LETTER and not inside:
                out[d] += 1
            inside = kind == LETTER or (inside and kind == APOSTROPHE)
            i += width


def count_words(data: Bytes, offsets: Offsets, most: int) -> npt.NDArray[np.int64]:
    """Words of each text; counting stops at ``most``."""
    out = np.zeros(len(offsets) - 1, np.int64)
    _count_words(data, offsets, most, out)
    return out


class HashedFeatures:
    """Features of texts for a model with the given window and number of buckets.

    Args:
        head, tail: bytes read at either end of a text; a text of at most ``head + tail`` bytes is read whole.
        word_bits, run_bits: 2 to this power buckets for words and pairs, and for character runs (0: none).
        shortest, longest: bytes of such a run.
    """

    def __init__(
        self, head: int, tail: int, word_bits: int, run_bits: int, shortest: int = 4, longest: int = 4
    ) -> None:
        self.shape = (head, tail, word_bits, run_bits, shortest, longest)
        self.buckets = (1 << word_bits) + ((1 << run_bits) if run_bits else 0)
        self._groups = word_groups({g: [word_hash(w) for w in words.split()] for g, words in GROUPS.items()})

    def counts(self, data: Bytes, offsets: Offsets) -> tuple[Any, Any, Any, npt.NDArray[np.float32]]:
        """Sparse counts and statistics of all texts, for training.

        Returns:
            ``(indptr, indices, counts, statistics)``: rows in SciPy's CSR form (columns of words and pairs below
            ``2 ** word_bits``, not sorted), and float32 (texts, len(STATISTICS)).
        """
        n = len(offsets) - 1
        indptr = np.zeros(n + 1, np.int64)
        indices, values = np.empty(1 << 20, np.int32), np.empty(1 << 20, np.int32)
        statistics = np.zeros((n, len(STATISTICS)), np.float32)
        state = np.zeros(1, np.int64)
        while True:
            count_batch(data, offsets, self.shape, self._groups, indptr, indices, values, statistics, state)
            if state[0] == n:
                return indptr, indices[: indptr[-1]], values[: indptr[-1]], statistics
            room = 2 * len(indices) + self.buckets
            indices, values = np.resize(indices, room), np.resize(values, room)

    def project(
        self, data: Bytes, offsets: Offsets, idf: npt.NDArray[np.float32], table: npt.NDArray[np.int8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What a model's table makes of all texts, without building the sparse rows.

        Args:
            idf: weight of each bucket.
            table: (buckets, width).

        Returns:
            ``(latent, statistics)``: float32 (texts, 2, width) and (texts, len(STATISTICS)).
        """
        n = len(offsets) - 1
        latent = np.empty((n, 2, table.shape[1]), np.float32)
        statistics = np.zeros((n, len(STATISTICS)), np.float32)
        accumulate(data, offsets, self.shape, self._groups, _LOGS, idf, table, latent, statistics)
        return latent, statistics
