"""C4's line rules on a whole batch: which lines stay, and the text that they make.

The order of the rules, and what each one looks at, are those of datatrove 0.10.1's C4 filter: the length of words and
their number are taken before citations are removed, everything else after. A line that condemns its page ("lorem
ipsum", or a curly bracket outside a line about javascript) is left in the text, so that the rule for the page, which
runs later, finds it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.code_points import DIGIT_ZEROS
from curate.kernels.lines import frozen
from curate.kernels.phrases import PHRASE_BYTES, PHRASE_KINDS, PHRASE_STARTS, phrase_kinds_in
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.whitespace import (
    code_point_at,
    line_end_at,
    next_line_end,
    next_newline,
    skip_space,
    space_at,
    strip_end,
)

Array = Any

#: What ``clean_lines`` counts per document, in this order.
CLEANING_COUNTS = (
    "lines",  # before
    "kept_lines",
    "long_word",  # lines removed, by the first rule that removed them
    "no_terminal_punctuation",
    "few_words",
    "javascript",
    "policy",
    "citations",  # citations removed from any line that came that far
    "blank_ends",  # lines kept, found blank, and lost when the ends of the text were stripped
    "end_space",  # 1 if more than a single space was stripped off the end of the last line with text
)


_EDIT = np.frombuffer(b"edit]", np.uint8)
_CITATION_NEEDED = np.frombuffer(b"citation needed]", np.uint8)


class LineRules(NamedTuple):
    """Which lines ``clean_lines`` removes; -1 turns a number off."""

    terminal_punctuation: bool
    min_words: int
    max_word_chars: int
    citations: bool
    javascript: bool
    policy: bool


class Cleaned(NamedTuple):
    """The cleaned texts (value ``i`` is ``data[offsets[i]:offsets[i + 1]]``) and the counts by ``CLEANING_COUNTS``."""

    data: Bytes
    offsets: Offsets
    counts: dict[str, npt.NDArray[np.int64]]


def clean_lines(data: Bytes, offsets: Offsets, rules: LineRules) -> Cleaned:
    """The texts of a batch without the lines that ``rules`` remove; lines are joined by ``\\n``, ends stripped."""
    n = len(offsets) - 1
    counts = np.zeros((len(CLEANING_COUNTS), n), np.int64)
    out_offsets = np.zeros(n + 1, np.int64)
    # a "\n" never needs more room than the line end that it replaces
    out = np.empty(int(offsets[-1] - offsets[0]) + 1 if n else 0, np.uint8)
    if n:
        _clean(
            frozen(data), offsets, rules.terminal_punctuation, rules.min_words, rules.max_word_chars, rules.citations,
            rules.javascript, rules.policy, DIGIT_ZEROS, _EDIT, _CITATION_NEEDED,
            PHRASE_BYTES, PHRASE_STARTS, PHRASE_KINDS, out, out_offsets, counts,
        )  # fmt: skip
    return Cleaned(out[: out_offsets[-1]], out_offsets, dict(zip(CLEANING_COUNTS, counts, strict=True)))


@njit(cache=True, nogil=True)
def _clean(
    data: Array, offsets: Array, terminal: bool, min_words: int, max_word: int, citations: bool, javascript: bool,
    policy: bool, zeros: Array, edit: Array, needed: Array, phrases: Array, phrase_starts: Array, kinds: Array,
    out: Array, out_offsets: Array, counts: Array,
) -> None:  # fmt: skip
    write = 0
    for d in range(len(offsets) - 1):
        begin, end, i = write, offsets[d + 1], offsets[d]
        while i < end:
            stop = next_line_end(data, i, end)
            first = skip_space(data, i, stop)
            last = strip_end(data, first, stop)
            i = stop + (line_end_at(data, stop, end) if stop < end else 0)
            counts[0, d] += 1
            n_words, longest = _words(data, first, last)
            if max_word >= 0 and longest > max_word:
                counts[2, d] += 1
                continue
            if counts[1, d] > 0:
                out[write] = 10
            to = write + (counts[1, d] > 0)
            line_end, n_citations = _copy(data, first, last, citations, zeros, edit, needed, out, to)
            counts[7, d] += n_citations
            removed = _line_rule(
                out, to, line_end, n_words, terminal, min_words, javascript, policy, phrases, phrase_starts, kinds
            )
            if removed:
                counts[removed, d] += 1
            else:
                counts[1, d] += 1
                write = line_end
        write = _strip_ends(out, begin, write, counts[:, d])
        out_offsets[d + 1] = write


@njit(cache=True, nogil=True)
def _line_rule(
    out: Array, start: int, end: int, n_words: int, terminal: bool, min_words: int, javascript: bool, policy: bool,
    phrases: Array, phrase_starts: Array, kinds: Array,
) -> int:  # fmt: skip
    """Row of the count of the rule that removes this line; 0 if it stays."""
    if terminal and not _ends_sentence(out, start, end):
        return 3
    if n_words < min_words:
        return 4
    found = phrase_kinds_in(out, start, end, phrases, phrase_starts, kinds)
    if found & 1:
        return 0  # lorem ipsum condemns the page
    if javascript and found & 2:
        return 5
    if policy and found & 4:
        for i in range(start, end):
            if out[i] == 123:
                return 0  # so does a curly bracket
        return 6
    return 0


@njit(cache=True, nogil=True)
def _ends_sentence(data: Array, start: int, end: int) -> bool:
    """True if the last character is one of ``. ? ! " '`` and the last three are not an ellipsis."""
    if end <= start or data[end - 1] not in (46, 63, 33, 34, 39):
        return False
    return not (end - start >= 3 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46)


@njit(cache=True, nogil=True)
def _words(data: Array, start: int, end: int) -> tuple[int, int]:
    """Pieces between whitespace, and the code points of the longest."""
    n, longest, word, i = 0, 0, 0, start
    while i < end:
        b = data[i]
        width = 0 if 32 < b < 0x80 else space_at(data, i, end)
        if width:
            word = 0
            i += width
            continue
        if (b & 0xC0) != 0x80:
            n += word == 0
            word += 1
            longest = max(longest, word)
        i += 1
    return n, longest


@njit(cache=True, nogil=True)
def _copy(
    data: Array, start: int, end: int, citations: bool, zeros: Array, edit: Array, needed: Array, out: Array, to: int
) -> tuple[int, int]:
    """Copies a line without its citations to ``out[to:]``; returns its end there and the number of citations."""
    n, i = 0, start
    while i < end:
        if citations and data[i] == 91:
            after = _citation_end(data, i + 1, end, zeros, edit, needed)
            if after > 0:
                n += 1
                i = after
                continue
        out[to] = data[i]
        to += 1
        i += 1
    return to, n


@njit(cache=True, nogil=True)
def _citation_end(data: Array, start: int, end: int, zeros: Array, edit: Array, needed: Array) -> int:
    """Where the citation ends whose ``[`` stands before ``start``: digits, "edit" or "citation needed"; 0 if none."""
    i = start
    while i < end:
        width = _digit(data, i, zeros)
        if width == 0:
            break
        i += width
    if i < end and data[i] == 93:
        return i + 1
    if _starts_with(data, start, end, edit):
        return start + len(edit)
    if _starts_with(data, start, end, needed):
        return start + len(needed)
    return 0


@njit(cache=True, nogil=True)
def _digit(data: Array, i: int, zeros: Array) -> int:
    """Bytes of the decimal digit at ``i``, of any script; 0 if there is none."""
    b = data[i]
    if b < 0x80:
        return 1 if 48 <= b <= 57 else 0
    code = code_point_at(data, i)
    at = np.searchsorted(zeros, code, side="right") - 1
    if code > zeros[at] + 9:
        return 0
    return 2 if b < 0xE0 else 3 if b < 0xF0 else 4


@njit(cache=True, nogil=True)
def _starts_with(data: Array, i: int, end: int, word: Array) -> bool:
    if i + len(word) > end:
        return False
    k = 0
    while k < len(word) and data[i + k] == word[k]:
        k += 1
    found: bool = k == len(word)
    return found


@njit(cache=True, nogil=True)
def _strip_ends(out: Array, start: int, end: int, counts: Array) -> int:
    """Strips whitespace off both ends of ``out[start:end]`` in place; returns the new end, counts lost blank lines."""
    first = skip_space(out, start, end)
    last = strip_end(out, first, end)
    if counts[1] > 0 and first == last:
        counts[8] = counts[1]
        return start
    for i in range(start, first):
        counts[8] += out[i] == 10
    for i in range(last, end):
        counts[8] += out[i] == 10
    stripped = next_newline(out, last, end) - last
    counts[9] = stripped > 1 or (stripped == 1 and out[last] != 32)
    if first > start:
        for i in range(first, last):
            out[start + i - first] = out[i]
    new_end: int = start + last - first
    return new_end
