"""Sentences per document, counted line by line.

``sentences`` counts as datatrove's C4 filter does with spaCy's rule-based sentencizer: a sentence ends at a
sentence-final sign that is a word of its own, and the next one starts at the first word after it that is not
punctuation. Since spaCy makes a word of whitespace other than a single space, such whitespace starts one too.
``simple_sentences`` needs no words and serves the languages that have no exact splitter here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.code_points import TERMINAL_PUNCTUATION
from curate.kernels.lines import frozen
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.whitespace import (
    code_point_at,
    contains,
    line_end_at,
    next_line_end,
    skip_space,
    space_at,
    strip_end,
)
from curate.kernels.words import ENDS_SENTENCE, PUNCTUATION, Words

Array = Any
Counts = npt.NDArray[np.int64]


def sentences(words: Words, offsets: Offsets, *, cut_ends: npt.NDArray[np.bool_] | None = None) -> Counts:
    """Sentences per document; every line with a word has at least one.

    Args:
        words: the English words of the texts.
        offsets: where the texts lie in ``words.data``.
        cut_ends: given if the lines come from C4's own cleaning, which counts after citations were cut out of stripped
            lines: then blank lines count one each and whitespace at the end of a line is not ignored. True for a
            document whose last line has lost such whitespace since.
    """
    out = np.zeros(len(offsets) - 1, np.int64)
    if len(out):
        as_is = cut_ends is not None
        cut = np.zeros(len(out), np.bool_) if cut_ends is None else np.ascontiguousarray(cut_ends)
        _sentences(words.data, offsets, words.documents, words.starts, words.ends, words.flags, as_is, cut, out)
    return out


def simple_sentences(data: Bytes, offsets: Offsets) -> Counts:
    """Sentences per document without a word splitter; every line with text has at least one.

    A sentence ends at terminal punctuation of any script; the next starts at the first sign that is neither whitespace
    nor ASCII punctuation, after whitespace if the end was ASCII (so that "3.5" stays whole).
    """
    out = np.zeros(len(offsets) - 1, np.int64)
    if len(out):
        _simple_sentences(frozen(data), offsets, TERMINAL_PUNCTUATION, out)
    return out


def spaces(data: Bytes, offsets: Offsets) -> Counts:
    """Whitespace characters per document, in code points."""
    out = np.zeros(len(offsets) - 1, np.int64)
    if len(out):
        _spaces(frozen(data), offsets, out)
    return out


@njit(cache=True, nogil=True)
def _sentences(
    data: Array, offsets: Array, documents: Array, starts: Array, ends: Array, flags: Array, as_is: bool, cut: Array,
    out: Array,
) -> None:  # fmt: skip
    for d in range(len(offsets) - 1):
        i, end, t, last = offsets[d], offsets[d + 1], documents[d], documents[d + 1]
        while i < end:
            stop = next_line_end(data, i, end)
            before, ended, n = i, False, 0
            while t < last and starts[t] < stop:
                if _space_word(data, before, starts[t]) and ended:
                    n += 1
                    ended = False
                closes = flags[t] & ENDS_SENTENCE != 0
                if n == 0:
                    n = 1
                    ended = closes
                elif ended and not closes and flags[t] & PUNCTUATION == 0:
                    n += 1
                    ended = False
                elif closes:
                    ended = True
                before = ends[t]
                t += 1
            if as_is:
                n += n == 0 or (ended and (_space_word(data, before, stop) or (cut[d] and stop == end)))
            out[d] += n
            i = stop + (line_end_at(data, stop, end) if stop < end else 0)


@njit(cache=True, nogil=True)
def _space_word(data: Array, start: int, end: int) -> bool:
    """True if spaCy makes a word of the whitespace ``data[start:end]``."""
    return end > start and not (end == start + 1 and data[start] == 32)


@njit(cache=True, nogil=True)
def _simple_sentences(data: Array, offsets: Array, terminal: Array, out: Array) -> None:
    for d in range(len(offsets) - 1):
        i, end = offsets[d], offsets[d + 1]
        while i < end:
            stop = next_line_end(data, i, end)
            first = skip_space(data, i, stop)
            out[d] += _in_line(data, first, strip_end(data, first, stop), terminal)
            i = stop + (line_end_at(data, stop, end) if stop < end else 0)


@njit(cache=True, nogil=True)
def _in_line(data: Array, start: int, end: int, terminal: Array) -> int:
    """Sentences in one stripped line."""
    n, i = 0, start
    under_way = False  # inside a sentence
    pending = False  # an ASCII sign was seen: the sentence ends if whitespace follows before the next letter
    while i < end:
        b = data[i]
        width = 0 if 32 < b < 0x80 else space_at(data, i, end)
        if width > 0:
            under_way = under_way and not pending
            pending = False
            i += width
            continue
        if b < 0x80:
            letter = 48 <= b <= 57 or 65 <= b <= 90 or 97 <= b <= 122
            pending = not letter and (pending or (under_way and b in (33, 46, 63)))
            i += 1
        else:
            letter = not contains(terminal, code_point_at(data, i))
            under_way = under_way and letter
            pending = False
            i += 2 if b < 0xE0 else 3 if b < 0xF0 else 4
        if letter and not under_way:
            n += 1
            under_way = True
    return n if n > 0 else 1 if end > start else 0


@njit(cache=True, nogil=True)
def _spaces(data: Array, offsets: Array, out: Array) -> None:
    for d in range(len(offsets) - 1):
        i, end = offsets[d], offsets[d + 1]
        while i < end:
            width = 0 if 32 < data[i] < 0x80 else space_at(data, i, end)
            out[d] += width > 0
            i += max(width, 1)
