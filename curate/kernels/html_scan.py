"""What a parser would have to face, found in one pass over the bytes of a page, and taken away where it is too much.

Parsers are quadratic in attributes per tag and in depth, so the limits are checked before any parser sees the page.
Depth, attributes and attribute values over their limits are blanked with spaces (text is never touched); bytes and
tags over theirs fail the page. The scan is lexical: it follows the tokeniser of the HTML standard for tags, attributes,
comments and raw text, and estimates depth by counting tags; the standard's repair of wrong nesting is left out, so the
estimate is an upper bound on ordinary pages. What still gets past it meets the CPU limit of the guard.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.lines import frozen
from curate.kernels.strings import Bytes, Offsets

#: flags per page
DEPTH, ATTRIBUTES, VALUES, NULS = 1, 2, 4, 8

#: columns of the counts: tags, other markup (comments, doctype), flags
TAGS, MARKUP, FLAGS = 0, 1, 2

_VOID = "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr"
#: closed by the parser itself, so that they do not nest on their own
_SHALLOW = "p li dt dd tr td th thead tbody tfoot caption colgroup option optgroup rp rt rb rtc html head body"
_RAW = "script style textarea title xmp iframe noembed noframes plaintext"
_FOREIGN = "svg math"


class Limits(NamedTuple):
    """Where blanking begins: open elements, attributes per tag, bytes of one attribute value."""

    depth: int
    attributes: int
    value_bytes: int


#: classes of elements
_IS_VOID, _IS_SHALLOW, _IS_RAW, _IS_FOREIGN = 1, 2, 4, 8
_SLOTS = 512

#: classes of bytes: space, the end of a name, the end of an attribute name, the end of an unquoted value
_SPACE, _NAME_END, _ATTRIBUTE_END, _VALUE_END = 1, 2, 4, 8


def _byte_classes() -> npt.NDArray[np.uint8]:
    classes = np.zeros(256, np.uint8)
    for byte in b" \n\t\r\f":
        classes[byte] = _SPACE | _NAME_END | _ATTRIBUTE_END | _VALUE_END
    classes[ord("/")] = _NAME_END | _ATTRIBUTE_END
    classes[ord(">")] = _NAME_END | _ATTRIBUTE_END | _VALUE_END
    classes[ord("=")] = _ATTRIBUTE_END
    return classes


def _element_table() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """Open-addressed table from the key of a name, as the kernel computes it, to its class."""
    keys, classes = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint8)
    for words, kind in ((_VOID, _IS_VOID), (_SHALLOW, _IS_SHALLOW), (_RAW, _IS_RAW), (_FOREIGN, _IS_FOREIGN)):
        for word in words.split():
            key = 0
            for byte in word.encode():
                key = (key * 37 + byte) & 0xFFFFFFFFFFFFFFFF
            slot = key % _SLOTS
            while keys[slot] not in (0, key):
                slot = (slot + 1) % _SLOTS
            keys[slot], classes[slot] = key, kind
    return keys, classes


_BYTES = _byte_classes()
_KEYS, _CLASSES = _element_table()


def scan_pages(data: Bytes, offsets: Offsets, limits: Limits) -> npt.NDArray[np.int64]:
    """Counts per page, shape (pages, 3): tags, other markup, flags of what exceeds ``limits`` (see ``DEPTH`` …)."""
    counts: npt.NDArray[np.int64] = _scan_all(frozen(data), offsets, *limits)
    if len(offsets) > 1 and bool((data[offsets[0] : offsets[-1]] == 0).any()):
        for i in range(len(offsets) - 1):
            if bool((data[offsets[i] : offsets[i + 1]] == 0).any()):
                counts[i, FLAGS] |= NULS
    return counts


def tame_page(page: Bytes, limits: Limits) -> Bytes:
    """A copy of one page with one space in place of each run of what exceeds ``limits``, and of NUL bytes.

    One space and not as many as before: parsers take a second for a megabyte of space in a deep element.
    """
    out: Bytes = page.copy()
    counts = np.zeros(3, np.int64)
    _scan(frozen(page), 0, len(page), out, counts, *limits)
    keep = out != 0
    keep[1:] |= out[:-1] != 0
    keep[:1] = True
    short: Bytes = out[keep]
    short[short == 0] = 32
    return short


@njit(cache=True, nogil=True)
def _scan_all(data: Any, offsets: Any, depth: int, attributes: int, value: int) -> Any:
    counts = np.zeros((len(offsets) - 1, 3), np.int64)
    nothing = np.empty(0, np.uint8)
    for i in range(len(offsets) - 1):
        _scan(data, offsets[i], offsets[i + 1], nothing, counts[i], depth, attributes, value)
    return counts


@njit(cache=True, nogil=True)
def _class(key: Any) -> Any:
    """The class of an element, 0 for ordinary ones."""
    slot = key % np.uint64(_SLOTS)
    while _KEYS[slot] != 0:
        if _KEYS[slot] == key:
            return np.int64(_CLASSES[slot])
        slot = (slot + np.uint64(1)) % np.uint64(_SLOTS)
    return 0


@njit(cache=True, nogil=True)
def _letter(byte: int) -> bool:
    return 97 <= (byte | 32) <= 122


@njit(cache=True, nogil=True)
def _find(data: Any, at: int, end: int, byte: int) -> int:
    while at < end and data[at] != byte:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _blank(out: Any, start: int, end: int) -> None:
    if len(out):
        for k in range(start, end):
            out[k] = 0


@njit(cache=True, nogil=True)
def _name(data: Any, at: int, end: int) -> tuple[int, np.uint64]:
    """(end of the element name at ``at``, its key): lower case, base 37, modulo 2^64."""
    key = np.uint64(0)
    while at < end:
        byte = data[at]
        if _BYTES[byte] & 2:
            break
        if 65 <= byte <= 90:
            byte += 32
        key = key * np.uint64(37) + np.uint64(byte)
        at += 1
    return at, key


@njit(cache=True, nogil=True)
def _comment_end(data: Any, at: int, end: int) -> int:
    """Where the comment whose ``<!--`` stands at ``at`` ends."""
    at = _find(data, at + 2, end, 62)
    while at < end:
        if (data[at - 1] == 45 and data[at - 2] == 45) or (
            data[at - 1] == 33 and data[at - 2] == 45 and data[at - 3] == 45
        ):
            return at + 1
        at = _find(data, at + 1, end, 62)
    return end


@njit(cache=True, nogil=True)
def _raw_end(data: Any, at: int, end: int, key: Any) -> int:
    """Where the end tag of a raw text element stands; the end of the page if there is none."""
    at = _find(data, at, end, 60)
    while at < end:
        if at + 2 < end and data[at + 1] == 47 and _letter(data[at + 2]):
            # bounded: names without an end would make this search quadratic
            _, found = _name(data, at + 2, min(end, at + 18))
            if found == key:
                return at
        at = _find(data, at + 1, end, 60)
    return end


@njit(cache=True, nogil=True)
def _attributes(data: Any, at: int, end: int, out: Any, most: int, longest: int) -> tuple[int, int, bool]:
    """(after the tag's ``>``, flags, whether the tag ends in ``/>``) from the end of its name."""
    count, flags, closed, cut = 0, 0, False, -1
    while at < end:
        byte = data[at]
        if byte == 62:
            break
        if _BYTES[byte] & 2:
            closed = byte == 47
            at += 1
            continue
        closed = False
        count += 1
        if count == most + 1:
            flags |= 2
            cut = at
        at += 1
        while at < end and not _BYTES[data[at]] & 4:
            at += 1
        after = at
        while after < end and _BYTES[data[after]] & 1:
            after += 1
        if after < end and data[after] == 61:
            at, long = _value(data, after + 1, end, out, longest)
            flags |= long
    if cut >= 0:
        _blank(out, cut, at)
    return min(at + 1, end), flags, closed


@njit(cache=True, nogil=True)
def _value(data: Any, at: int, end: int, out: Any, longest: int) -> tuple[int, int]:
    """(after the attribute value that starts at or after ``at``, flag if it is too long)."""
    while at < end and _BYTES[data[at]] & 1:
        at += 1
    if at >= end:
        return at, 0
    quote = data[at]
    if quote in (34, 39):
        start = at + 1
        stop = _find(data, start, end, quote)
        after = min(stop + 1, end)
    else:
        start = at
        while at < end and not _BYTES[data[at]] & 8:
            at += 1
        stop = after = at
    if stop - start <= longest:
        return after, 0
    _blank(out, start, stop)
    return after, 4


@njit(cache=True, nogil=True)
def _scan(
    data: Any, at: int, end: int, out: Any, counts: Any, most_depth: int, most: int, longest: int
) -> None:  # fmt: skip
    """Walk one page; blank in ``out`` (unless it is empty) what is over a limit. ``counts``: tags, markup, flags."""
    depth, blanked, inside = 0, 0, 0
    at = _find(data, at, end, 60)
    while at + 1 < end:
        start, byte = at, data[at + 1]
        if byte in (33, 63):
            counts[1] += 1
            if byte == 33 and at + 3 < end and data[at + 2] == 45 and data[at + 3] == 45:
                at = _comment_end(data, at + 2, end)
            else:
                at = min(_find(data, at, end, 62) + 1, end)
        elif _letter(byte):
            counts[0] += 1
            at, key = _name(data, at + 1, end)
            at, flags, closed = _attributes(data, at, end, out, most, longest)
            counts[2] |= flags
            kind = _class(key)
            if kind == 4 and inside == 0:
                at = _raw_end(data, at, end, key)
            elif kind in (0, 8) and not (closed and inside > 0):
                if depth >= most_depth:
                    counts[2] |= 1
                    blanked += 1
                    _blank(out, start, at)
                else:
                    depth += 1
                    inside += kind == 8
        elif byte == 47 and at + 2 < end and _letter(data[at + 2]):
            counts[0] += 1
            at, key = _name(data, at + 2, end)
            at, flags, closed = _attributes(data, at, end, out, most, longest)
            counts[2] |= flags
            kind = _class(key)
            if kind in (0, 8):
                if blanked > 0:
                    blanked -= 1
                    _blank(out, start, at)
                else:
                    depth = max(depth - 1, 0)
                    if inside > 0 and kind == 8:
                        inside -= 1
        else:
            at += 1
        at = _find(data, at, end, 60)
