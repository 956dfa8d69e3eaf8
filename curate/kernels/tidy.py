"""Extracted text made fit for everything behind it: no control characters, no endless accents, no outer space."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.lines import frozen
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.unicode import N_CODE_POINTS

#: longest run of combining marks and invisible joiners that is kept; normalisation is quadratic in such runs
MOST_MARKS = 32

_WITH_MARKS = (range(0x300, 0xD800), range(0xE000, 0x20000), range(0xE0000, 0xE1000))
_INVISIBLE = (range(0x200B, 0x2010), range(0x2060, 0x2065))


@lru_cache(maxsize=1)
def _marks() -> npt.NDArray[np.bool_]:
    """Which code points count into a run of marks: nonspacing marks and invisible joiners.

    Asked of ``unicodedata`` for the planes that hold marks; all tables of ``curate.kernels.unicode`` cost 0.2 s more.
    """
    marks = np.zeros(N_CODE_POINTS, np.bool_)
    for plane in _WITH_MARKS:
        marks[plane.start : plane.stop] = [unicodedata.category(chr(code)) == "Mn" for code in plane]
    for points in _INVISIBLE:
        marks[points.start : points.stop] = True
    return marks


def tidy(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    """The texts without what no reader sees and many tools break on.

    Gone: C0 and C1 controls but tab and newline, DEL, U+FEFF, noncharacters, marks beyond 32 in a row, space at both
    ends. CR and CRLF become LF; form feed, vertical tab and NEL become a newline.
    """
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    starts = np.zeros(len(offsets), np.int64)
    size = _tidy(frozen(data), offsets, _marks(), out, starts)
    return out[:size], starts


@njit(cache=True, nogil=True)
def _decode(data: Any, at: int, end: int) -> Any:
    """(code point, bytes) at ``at``; the bytes are valid UTF-8."""
    byte = np.int64(data[at])
    if byte < 0x80:
        return byte, 1
    if byte < 0xE0 and at + 1 < end:
        return (byte & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    if byte < 0xF0 and at + 2 < end:
        return (byte & 0x0F) << 12 | (data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F), 3
    if at + 3 < end:
        code = (byte & 0x07) << 18 | (data[at + 1] & 0x3F) << 12 | (data[at + 2] & 0x3F) << 6 | (data[at + 3] & 0x3F)
        return code, 4
    return 0xFFFD, 1


@njit(cache=True, nogil=True)
def _blank(code: int) -> bool:
    """Space at the end of a text: ASCII space, no-break space, and the wide and thin ones."""
    return code <= 32 or code in (0xA0, 0x2028, 0x2029, 0x3000) or 0x2000 <= code <= 0x200A


@njit(cache=True, nogil=True)
def _dropped(code: int) -> bool:
    return (
        (code < 32 and code != 9 and not 10 <= code <= 13)
        or 0x7F <= code <= 0x9F
        or code == 0xFEFF
        or 0xFDD0 <= code <= 0xFDEF
        or (code & 0xFFFE) == 0xFFFE
    )


@njit(cache=True, nogil=True)
def _tidy(data: Any, offsets: Any, marks: Any, out: Any, starts: Any) -> int:
    put = 0
    for i in range(len(offsets) - 1):
        at, end, first, keep, run = offsets[i], offsets[i + 1], put, put, 0
        while at < end:
            if 32 < data[at] < 127:  # most of most texts
                out[put] = data[at]
                at += 1
                put += 1
                keep, run = put, 0
                continue
            code, width = _decode(data, at, end)
            step = at + width
            if code == 13 and step < end and data[step] == 10:
                at = step
                continue
            if code == 0x85 or 11 <= code <= 13:
                code, width = 10, 0  # written as one byte below
            if marks[code]:
                run += 1
            elif not _dropped(code):
                run = 0
            if _dropped(code) or run > 32 or (put == first and _blank(code)):
                at = step
                continue
            if width == 0:
                out[put] = 10
                put += 1
            else:
                for k in range(width):
                    out[put + k] = data[at + k]
                put += width
            if not _blank(code):
                keep = put
            at = step
        put = keep
        starts[i + 1] = put
    return put
