"""Counts over the lines and paragraphs of a whole batch, from its UTF-8 bytes.

Three kinds of line, because the rules that use them differ (and differ so in datatrove 0.10.1, whose values these
counts reproduce):

- ``splitlines`` lines: broken at every Unicode line end; used for bullets and ellipses (Gopher quality).
- newline runs: broken at one or more ``\\n``, ends kept, so that a leading or trailing newline yields an empty element;
  used for duplicate lines (Gopher repetition). Paragraphs: the stripped text broken at two or more ``\\n``.
- non-blank ``\\n`` lines: used by the FineWeb rules.

Duplicates are found by a 64-bit hash and confirmed byte for byte, so no count depends on hash luck.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.code_points import TERMINAL_PUNCTUATION
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.whitespace import (
    code_points,
    contains,
    last_code_point,
    line_end_at,
    next_line_end,
    next_newline,
    skip_space,
    strip_end,
)

Array = Any

#: What ``line_counts`` returns, in this order; all are counts per document, characters are code points.
LINE_COUNTS = (
    "chars",
    "hashes",  # "#"
    "ellipses",  # "..." without overlap, and "…"
    "newlines",  # "\n"
    "lines",  # splitlines
    "bullet_lines",  # of these, first visible character is "•" or "-"
    "ellipsis_lines",  # of these, visible text ends with "..." or "…"
    "runs",  # elements between runs of newlines
    "dup_runs",
    "dup_run_chars",
    "paragraphs",
    "dup_paragraphs",
    "dup_paragraph_chars",
    "nonblank_lines",  # "\n" lines that are not only whitespace
    "punct_lines",  # of these, last character is terminal punctuation
    "short_lines",  # of these, at most ``short_line_chars`` characters
    "dup_line_chars",  # characters in repeated ones
)


def line_counts(data: Bytes, offsets: Offsets, *, short_line_chars: int = 30) -> dict[str, npt.NDArray[np.int64]]:
    """Counts per document, by the names of ``LINE_COUNTS``.

    Args:
        short_line_chars: longest line that still counts as short, in code points, without its ``\\n``.
    """
    out = np.zeros((len(LINE_COUNTS), len(offsets) - 1), np.int64)
    if len(offsets) > 1:
        _line_counts(frozen(data), offsets, short_line_chars, TERMINAL_PUNCTUATION, out)
    return dict(zip(LINE_COUNTS, out, strict=True))


def frozen(data: Bytes) -> Bytes:
    """A read-only view, so that kernels are compiled for one kind of array whatever the bytes came from."""
    if data.flags.writeable:
        data = data.view()
        data.flags.writeable = False
    return data


@njit(cache=True, nogil=True)
def table_size(n: int) -> int:
    """Slots of an open-addressing table for ``n`` keys: a power of two, at most half full."""
    size = 64
    while size < 2 * n:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def hash_bytes(data: Array, start: int, end: int) -> np.uint64:
    """A 64-bit hash of ``data[start:end]``; equal bytes have equal hashes, nothing else is promised."""
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        h = (h ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    h ^= h >> np.uint64(29)
    return h * np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def same_bytes(data: Array, a: int, b: int, length: int) -> bool:
    """True if the two ranges of ``length`` bytes are equal."""
    k = 0
    while k < length and data[a + k] == data[b + k]:
        k += 1
    return k == length


@njit(cache=True, nogil=True)
def seen_before(data: Array, start: int, end: int, stamp: int, stamps: Array, starts: Array, ends: Array) -> bool:
    """True if ``data[start:end]`` was entered under ``stamp`` before; enters it otherwise.

    The three tables have the same power-of-two size; slots with another stamp are free.
    """
    mask = np.uint64(len(stamps) - 1)
    slot = hash_bytes(data, start, end) >> np.uint64(20)
    length = end - start
    while True:
        at = np.int64(slot & mask)
        if stamps[at] != stamp:
            stamps[at] = stamp
            starts[at] = start
            ends[at] = end
            return False
        if ends[at] - starts[at] == length and same_bytes(data, starts[at], start, length):
            return True
        slot += np.uint64(1)


@njit(cache=True, nogil=True)
def most_newlines(data: Array, offsets: Array) -> int:
    """The largest number of ``\\n`` in one document."""
    most = 0
    for d in range(len(offsets) - 1):
        n = 0
        for i in range(offsets[d], offsets[d + 1]):
            n += data[i] == 10
        most = max(most, n)
    return most


@njit(cache=True, nogil=True)
def _line_counts(data: Array, offsets: Array, short_chars: int, terminal: Array, out: Array) -> None:
    size = table_size(most_newlines(data, offsets) + 2)
    stamps = np.full(size, -1, np.int64)
    starts = np.empty(size, np.int64)
    ends = np.empty(size, np.int64)
    for d in range(len(offsets) - 1):
        start, end = offsets[d], offsets[d + 1]
        out[0, d], out[1, d], out[2, d], out[3, d] = _characters(data, start, end)
        out[4, d], out[5, d], out[6, d] = _marked_lines(data, start, end)
        _newline_runs(data, start, end, short_chars, terminal, 2 * d, stamps, starts, ends, out[:, d])
        _paragraphs(data, start, end, 2 * d + 1, stamps, starts, ends, out[:, d])


@njit(cache=True, nogil=True)
def _characters(data: Array, start: int, end: int) -> tuple[int, int, int, int]:
    """Code points, hash signs, ellipses and newlines."""
    chars, hashes, ellipses, newlines, dots = 0, 0, 0, 0, 0
    for i in range(start, end):
        b = data[i]
        chars += (b & 0xC0) != 0x80
        hashes += b == 35
        newlines += b == 10
        if b == 46:
            dots += 1
            if dots == 3:
                ellipses += 1
                dots = 0
        else:
            dots = 0
            ellipses += b == 0xA6 and i - 2 >= start and data[i - 1] == 0x80 and data[i - 2] == 0xE2
    return chars, hashes, ellipses, newlines


@njit(cache=True, nogil=True)
def _marked_lines(data: Array, start: int, end: int) -> tuple[int, int, int]:
    """``splitlines`` lines; those that begin with a bullet; those that end with an ellipsis."""
    lines, bullets, ellipses, i = 0, 0, 0, start
    while i < end:
        stop = next_line_end(data, i, end)
        lines += 1
        first = skip_space(data, i, stop)
        if first < stop:
            last = strip_end(data, first, stop)
            bullets += data[first] == 45 or _is_e2_80(data, first, last, 0xA2)
            ellipses += _is_e2_80(data, last - 3, last, 0xA6) if last - 3 >= first else False
            ellipses += last - 3 >= first and data[last - 1] == 46 and data[last - 2] == 46 and data[last - 3] == 46
        i = stop + (line_end_at(data, stop, end) if stop < end else 0)
    return lines, bullets, ellipses


@njit(cache=True, nogil=True)
def _is_e2_80(data: Array, i: int, end: int, third: int) -> bool:
    return i + 3 <= end and data[i] == 0xE2 and data[i + 1] == 0x80 and data[i + 2] == third


@njit(cache=True, nogil=True)
def _newline_runs(
    data: Array, start: int, end: int, short_chars: int, terminal: Array, stamp: int,
    stamps: Array, starts: Array, ends: Array, out: Array,
) -> None:  # fmt: skip
    """Duplicate lines for Gopher, and the line values of FineWeb: one walk, since both break at ``\\n``."""
    if start == end:
        return
    empty = (data[start] == 10) + (data[end - 1] == 10)  # a run of newlines at an end leaves an empty element there
    out[7] = empty
    out[8] = empty == 2
    i = start
    while i < end:
        stop = next_newline(data, i, end)
        if stop > i:
            chars = code_points(data, i, stop)
            again = seen_before(data, i, stop, stamp, stamps, starts, ends)
            out[7] += 1
            out[8] += again
            out[9] += chars if again else 0
            if skip_space(data, i, stop) < stop:
                out[13] += 1
                out[14] += contains(terminal, last_code_point(data, i, stop))
                out[15] += chars <= short_chars
                out[16] += chars if again else 0
        i = stop + 1


@njit(cache=True, nogil=True)
def _paragraphs(
    data: Array, start: int, end: int, stamp: int, stamps: Array, starts: Array, ends: Array, out: Array
) -> None:
    """Duplicate paragraphs of the stripped text; a blank text has one, empty, paragraph."""
    i = skip_space(data, start, end)
    last = strip_end(data, i, end)
    if i >= last:
        out[10] = 1 if start < end else 0
        return
    while i < last:
        stop = next_newline(data, i, last)
        while stop + 1 < last and data[stop + 1] != 10:
            stop = next_newline(data, stop + 1, last)
        again = seen_before(data, i, stop, stamp, stamps, starts, ends)
        out[10] += 1
        out[11] += again
        out[12] += code_points(data, i, stop) if again else 0
        i = stop
        while i < last and data[i] == 10:
            i += 1
