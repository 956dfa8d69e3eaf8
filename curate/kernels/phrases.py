"""The wording that C4 looks for (javascript, policies, lorem ipsum, curly brackets), found in UTF-8 bytes.

Searches ignore case as ``needle in text.lower()`` does. The needles are ASCII, and one code point outside ASCII has a
lower-case form inside it: KELVIN SIGN, which becomes "k".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.lines import frozen
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.whitespace import line_end_at, space_at

Array = Any

LOREM_IPSUM, JAVASCRIPT, POLICY = 0, 1, 2
#: (kind, lower-case phrase), as the C4 rules of datatrove 0.10.1 list them.
_PHRASES = (
    (LOREM_IPSUM, "lorem ipsum"),
    (JAVASCRIPT, "javascript"),
    (POLICY, "terms of use"),
    (POLICY, "privacy policy"),
    (POLICY, "cookie policy"),
    (POLICY, "uses cookies"),
    (POLICY, "use of cookies"),
    (POLICY, "use cookies"),
)
PHRASE_KINDS: npt.NDArray[np.int64] = np.array([kind for kind, _ in _PHRASES], np.int64)
PHRASE_BYTES: npt.NDArray[np.uint8] = np.frombuffer("".join(p for _, p in _PHRASES).encode(), np.uint8)
PHRASE_STARTS: npt.NDArray[np.int64] = np.cumsum([0] + [len(p) for _, p in _PHRASES])


def _second_letters() -> npt.NDArray[np.uint8]:
    """By the first byte of a phrase, of either case: its second letter; 0 where no phrase starts so."""
    table = np.zeros(256, np.uint8)
    for _, phrase in _PHRASES:
        for first in (phrase[0], phrase[0].upper()):
            if table[ord(first)] not in (0, ord(phrase[1])):
                raise AssertionError(f"two phrases start with {first!r} and differ in the second letter")
            table[ord(first)] = ord(phrase[1])
    return table


_SECOND = _second_letters()

#: What ``page_marks`` returns, in this order.
PAGE_MARKS = ("lorem_ipsum", "curly_brace", "curly_brace_first", "javascript", "policy", "longest_word")


def page_marks(data: Bytes, offsets: Offsets) -> dict[str, npt.NDArray[np.int64]]:
    """What the C4 rules look for, per document, by the names of ``PAGE_MARKS``.

    All are 0 or 1, except ``longest_word``: code points of the longest piece between whitespace (0 if there is none).
    ``curly_brace_first``: a line holds ``{`` and neither it nor a line before it holds "lorem ipsum".
    """
    out = np.zeros((len(PAGE_MARKS), len(offsets) - 1), np.int64)
    if len(offsets) > 1:
        _page_marks(frozen(data), offsets, PHRASE_BYTES, PHRASE_STARTS, PHRASE_KINDS, out)
    return dict(zip(PAGE_MARKS, out, strict=True))


@njit(cache=True, nogil=True)
def phrase_at(data: Array, i: int, end: int, phrases: Array, phrase_starts: Array, kinds: Array) -> int:
    """Kind of the phrase that starts at ``i``, ignoring case; -1 if none does."""
    second = _SECOND[data[i]]
    if second == 0 or i + 1 >= end or data[i + 1] | 0x20 != second:
        return -1
    for p in range(len(kinds)):
        if _matches(data, i, end, phrases, phrase_starts[p], phrase_starts[p + 1]):
            return int(kinds[p])
    return -1


@njit(cache=True, nogil=True)
def _matches(data: Array, i: int, end: int, phrases: Array, start: int, stop: int) -> bool:
    for k in range(start, stop):
        if i >= end:
            return False
        wanted, b = phrases[k], data[i]
        if b == wanted or (65 <= b <= 90 and b + 32 == wanted):
            i += 1
        elif wanted == 107 and b == 0xE2 and i + 2 < end and data[i + 1] == 0x84 and data[i + 2] == 0xAA:  # U+212A
            i += 3
        else:
            return False
    return True


@njit(cache=True, nogil=True)
def phrase_kinds_in(data: Array, start: int, end: int, phrases: Array, phrase_starts: Array, kinds: Array) -> int:
    """The kinds of phrases in ``data[start:end]``, as a bit mask (bit ``kind``)."""
    found = 0
    for i in range(start, end):
        if _SECOND[data[i]] != 0:
            kind = phrase_at(data, i, end, phrases, phrase_starts, kinds)
            if kind >= 0:
                found |= 1 << kind
    return found


@njit(cache=True, nogil=True)
def _page_marks(data: Array, offsets: Array, phrases: Array, phrase_starts: Array, kinds: Array, out: Array) -> None:
    for d in range(len(offsets) - 1):
        end = offsets[d + 1]
        lorem, curly, curly_line, word, longest, found = False, False, False, 0, 0, 0
        i = offsets[d]
        while i < end:
            b = data[i]
            plain = 32 < b < 0x80
            stop = 0 if plain else line_end_at(data, i, end)
            if stop:
                # decided at the end of a line: "lorem ipsum" after "{" in the same line comes first, as in C4
                out[2, d] |= curly_line and not lorem
                curly_line, word = False, 0
                i += stop
                continue
            width = 0 if plain else space_at(data, i, end)
            if width:
                word = 0
                i += width
                continue
            word += (b & 0xC0) != 0x80
            longest = max(longest, word)
            if b == 123:
                curly = curly_line = True
            if _SECOND[b] != 0:
                kind = phrase_at(data, i, end, phrases, phrase_starts, kinds)
                if kind >= 0:
                    found |= 1 << kind
                    lorem = lorem or kind == 0
            i += 1
        out[2, d] |= curly_line and not lorem
        out[0, d] = found & 1
        out[1, d] = curly
        out[3, d] = (found >> 1) & 1
        out[4, d] = (found >> 2) & 1
        out[5, d] = longest
