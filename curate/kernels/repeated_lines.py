"""Repeated lines of each document taken out, the first one kept, for a whole batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.lines import frozen, most_newlines, seen_before, table_size
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.whitespace import code_points, next_newline, skip_space, space_at, strip_end

Array = Any


class Deduplicated(NamedTuple):
    """The texts without repeated lines, and per document the lines and the characters (with their ``\\n``) removed."""

    data: Bytes
    offsets: Offsets
    removed_lines: npt.NDArray[np.int64]
    removed_chars: npt.NDArray[np.int64]


def drop_repeated_lines(data: Bytes, offsets: Offsets, *, min_chars: int, min_words: int) -> Deduplicated:
    """Each text with every ``\\n`` line kept once.

    Lines are compared without the whitespace around them. Lines of fewer than ``min_chars`` code points or of fewer
    than ``min_words`` whitespace-separated words are never removed, nor are blank ones, except where a removal would
    leave two blank lines (or a blank end) in place of one. A text that repeats nothing comes back byte for byte.
    """
    n = len(offsets) - 1
    out_offsets = np.zeros(n + 1, np.int64)
    removed = np.zeros((2, n), np.int64)
    out = np.empty(int(offsets[-1] - offsets[0]) if n else 0, np.uint8)
    if n:
        _drop_repeated(frozen(data), offsets, max(min_chars, 1), min_words, out, out_offsets, removed)
    return Deduplicated(out[: out_offsets[-1]], out_offsets, removed[0], removed[1])


@njit(cache=True, nogil=True)
def _drop_repeated(
    data: Array, offsets: Array, min_chars: int, min_words: int, out: Array, out_offsets: Array, removed: Array
) -> None:
    size = table_size(most_newlines(data, offsets) + 1)
    stamps = np.full(size, -1, np.int64)
    starts = np.empty(size, np.int64)
    ends = np.empty(size, np.int64)
    write = 0
    for d in range(len(offsets) - 1):
        start, end = offsets[d], offsets[d + 1]
        begin, i = write, start
        gap = False  # a line was removed since the last line with words
        blank = True  # the line written last is blank, or nothing is written yet
        while i < end:
            stop = next_newline(data, i, end)
            after = min(stop + 1, end)
            first = skip_space(data, i, stop)
            if first == stop:
                keep = not (gap and blank)
                blank = True
            else:
                last = strip_end(data, first, stop)
                long = code_points(data, first, last) >= min_chars and _at_least(data, first, last, min_words)
                keep = not (long and seen_before(data, first, last, d, stamps, starts, ends))
                removed[0, d] += not keep
                gap = not keep
                blank = blank if gap else False
            if keep:
                for k in range(i, after):
                    out[write] = data[k]
                    write += 1
            else:
                removed[1, d] += code_points(data, i, after)
            i = after
        if gap:  # the text ended with removed lines: no blank end in their place
            last = strip_end(out, begin, write)
            removed[1, d] += code_points(out, last, write)
            write = last
        out_offsets[d + 1] = write


@njit(cache=True, nogil=True)
def _at_least(data: Array, start: int, end: int, words: int) -> bool:
    """True if ``data[start:end]`` has at least ``words`` pieces between whitespace."""
    n, inside, i = 0, False, start
    while i < end and n < words:
        width = space_at(data, i, end)
        if width == 0 and not inside:
            n += 1
        inside = width == 0
        i += max(width, 1)
    return n >= words
