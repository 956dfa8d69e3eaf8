"""Lines and paragraphs of whole batches: where each lies, and a key by which equal ones are found.

The key is xxHash64 of the unit after normalisation: Unicode NFC, lower case, digits as ``0`` (if asked), every run of
punctuation, space, control and format characters as one space, none at the ends. Letters, marks, numbers and symbols
stay, so no script loses its vowels. CCNet (Wenzek et al. 2020) normalises alike and removes punctuation where we put a
space.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.hashing import xxh64
from curate.kernels.normalise import code_at, fold, width_at
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.unicode import DIGIT, N_CODE_POINTS, tables
from curate.kernels.whitespace import next_newline, skip_space

Kernel = Any

#: bits of the table of ``_gaps``
_GAP = 1
_ZERO = 2
_SEED = np.uint64(0x11E5)


class Units(NamedTuple):
    """Lines or paragraphs of a batch, in the order of the texts.

    Attributes:
        document: number of the text.
        start, end: bytes in that text; the end is behind what separates the unit from the next.
        key: equal for units that are equal after normalisation.
        first: False for units whose key an earlier unit of the same text has.
    """

    document: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    key: npt.NDArray[np.uint64]
    first: npt.NDArray[np.bool_]


def units(
    data: Bytes, offsets: Offsets, *, blank_lines: bool, zero_digits: bool, min_words: int, min_bytes: int
) -> Units:
    """The units of each text that count.

    Args:
        data: valid UTF-8, all texts one after another; each shorter than 2 GiB.
        blank_lines: units are blocks between blank lines; else lines.
        zero_digits: digits are equal to each other.
        min_words: units with fewer words (runs without gaps, after normalisation) are left out.
        min_bytes: as are units with fewer bytes after normalisation; units with nothing left always are.
    """
    folded, borders = fold(data, offsets, lower=True, collapse=False)
    room = int(np.count_nonzero(data[offsets[0] : offsets[-1]] == 10)) + len(offsets) - 1
    document, start, end = (np.empty(room, np.int32) for _ in range(3))
    key, first = np.empty(room, np.uint64), np.empty(room, np.bool_)
    read_only = data.view()
    read_only.flags.writeable = False
    found = _units(
        read_only, offsets, folded, borders, _gaps(zero_digits), blank_lines, min_words, max(min_bytes, 1),
        document, start, end, key, first,
    )  # fmt: skip
    return Units(document[:found], start[:found], end[:found], key[:found], first[:found])


@lru_cache(maxsize=2)
def _gaps(zero_digits: bool) -> npt.NDArray[np.uint8]:
    """Per code point: is it a gap between words, is it written as ``0``."""
    kind = np.zeros(N_CODE_POINTS, np.uint8)
    for code in (*range(0x40000), *range(0xE0000, 0xE1000)):
        char = chr(code)
        category = unicodedata.category(char)
        if category[0] in "PZ" or category in ("Cc", "Cf") or char.isspace():
            kind[code] = _GAP
    if zero_digits:
        kind[(tables().kind & DIGIT) != 0] = _ZERO
    return kind


@njit(cache=True, nogil=True)
def _units(
    data: Kernel, offsets: Kernel, folded: Kernel, borders: Kernel, gaps: Kernel, blank_lines: bool, min_words: int,
    min_bytes: int, document: Kernel, start: Kernel, end: Kernel, key: Kernel, first: Kernel,
) -> int:  # fmt: skip
    longest = 0
    for d in range(len(borders) - 1):
        longest = max(longest, borders[d + 1] - borders[d])
    scratch = np.empty(longest + 8, np.uint8)
    table = np.empty(64, np.int64)
    n = 0
    for d in range(len(offsets) - 1):
        begin, stop = offsets[d], offsets[d + 1]
        i, j = begin, borders[d]
        mine = n
        while i < stop:
            if blank_lines:
                i, j = _after_blank(data, i, stop, folded, j, borders[d + 1])
                if i == stop:
                    break
            after, behind = _line_end(data, i, stop), _line_end(folded, j, borders[d + 1])
            if blank_lines:
                after, behind = _block_end(data, after, stop, folded, behind, borders[d + 1])
            length, words = _normalised(folded, j, behind, gaps, scratch)
            if blank_lines:
                after, behind = _after_blank(data, after, stop, folded, behind, borders[d + 1])
            if length >= min_bytes and words >= min_words:
                document[n] = d
                start[n], end[n] = i - begin, after - begin
                key[n] = xxh64(scratch, 0, length, _SEED)
                n += 1
            i, j = after, behind
        table = _mark_first(key, mine, n, table, first)
    return n


@njit(cache=True, nogil=True)
def _line_end(data: Kernel, i: int, end: int) -> Kernel:
    """The position behind the line that starts at ``i``, its newline included."""
    return min(next_newline(data, i, end) + 1, end)


@njit(cache=True, nogil=True)
def _after_blank(data: Kernel, i: int, end: int, folded: Kernel, j: int, stop: int) -> Kernel:
    """The positions in both texts behind the blank lines at ``i`` and ``j``."""
    while i < end:
        after = _line_end(data, i, end)
        if skip_space(data, i, after) < after:
            break
        i, j = after, _line_end(folded, j, stop)
    return i, j


@njit(cache=True, nogil=True)
def _block_end(data: Kernel, i: int, end: int, folded: Kernel, j: int, stop: int) -> Kernel:
    """The positions in both texts before the next blank line."""
    while i < end:
        after = _line_end(data, i, end)
        if skip_space(data, i, after) == after:
            break
        i, j = after, _line_end(folded, j, stop)
    return i, j


@njit(cache=True, nogil=True)
def _normalised(folded: Kernel, i: int, end: int, gaps: Kernel, out: Kernel) -> Kernel:
    """Bytes and words of ``folded[i:end]`` after normalisation, which ``out`` then holds."""
    o, words = 0, 0
    inside = False
    while i < end:
        width, kind = 1, gaps[folded[i]]
        if folded[i] >= 0x80:
            width = width_at(folded, i)
            kind = gaps[code_at(folded, i, width)]
        if kind & _GAP:
            inside = False
        else:
            if not inside:
                if o > 0:
                    out[o] = 32
                    o += 1
                words += 1
                inside = True
            if kind & _ZERO:
                out[o] = 48
                o += 1
            elif width == 1:
                out[o] = folded[i]
                o += 1
            else:
                for k in range(width):
                    out[o + k] = folded[i + k]
                o += width
        i += width
    return o, words


@njit(cache=True, nogil=True)
def _mark_first(key: Kernel, start: int, end: int, table: Kernel, first: Kernel) -> Kernel:
    """Marks the units from ``start`` whose key no unit before them has; returns the table, which may have grown."""
    size = len(table)
    while size < 2 * (end - start):
        size *= 2
    if size > len(table):
        table = np.empty(size, np.int64)
    mask = np.int64(1)
    while mask < 2 * (end - start):
        mask *= 2
    table[:mask] = -1
    mask -= 1
    for n in range(start, end):
        at = np.int64(key[n] & np.uint64(mask))
        while table[at] >= 0 and key[table[at]] != key[n]:
            at = (at + 1) & mask
        first[n] = table[at] < 0
        if table[at] < 0:
            table[at] = n
    return table


@njit(cache=True, nogil=True)
def sum_up(keys: Kernel, counts: Kernel, high: Kernel, low: Kernel, order: Kernel) -> Kernel:
    """Equal keys as one: their keys, the sum of their counts, the smallest (high, low), in the order of ``order``.

    Args:
        order: positions that sort ``keys``.
    """
    n = len(order)
    out_keys, out_counts = np.empty(n, np.uint64), np.empty(n, np.uint32)
    out_high, out_low = np.empty(n, np.uint64), np.empty(n, np.uint64)
    o = -1
    for at in order:
        if o < 0 or keys[at] != out_keys[o]:
            o += 1
            out_keys[o], out_counts[o], out_high[o], out_low[o] = keys[at], counts[at], high[at], low[at]
            continue
        out_counts[o] += counts[at]
        if high[at] < out_high[o] or (high[at] == out_high[o] and low[at] < out_low[o]):
            out_high[o], out_low[o] = high[at], low[at]
    return out_keys[: o + 1], out_counts[: o + 1], out_high[: o + 1], out_low[: o + 1]
