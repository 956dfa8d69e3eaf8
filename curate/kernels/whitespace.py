"""Whitespace, line ends and code points in UTF-8 bytes, exactly as Python's ``str`` methods see them.

All functions take a byte array and positions; positions always lie on code point borders of valid UTF-8.
Whitespace is what ``str.strip`` and ``str.split`` remove (29 code points); a line end is what ``str.splitlines``
breaks at (``\\r\\n`` counts once).
"""

from __future__ import annotations

from typing import Any

from numba import njit

Kernel = Any


@njit(cache=True, nogil=True)
def space_at(data: Kernel, i: int, end: int) -> int:
    """Bytes of the whitespace code point that starts at ``i``; 0 if there is none."""
    b = data[i]
    if b < 0x80:
        return 1 if b == 32 or 9 <= b <= 13 or 28 <= b <= 31 else 0
    if b == 0xC2:
        return 2 if i + 1 < end and (data[i + 1] == 0x85 or data[i + 1] == 0xA0) else 0
    if 0xE1 <= b <= 0xE3 and i + 2 < end:
        return 3 if _wide_space(b, data[i + 1], data[i + 2]) else 0
    return 0


@njit(cache=True, nogil=True)
def space_before(data: Kernel, start: int, i: int) -> int:
    """Bytes of the whitespace code point that ends just before ``i``; 0 if there is none."""
    if i <= start:
        return 0
    b = data[i - 1]
    if b < 0x80:
        return 1 if b == 32 or 9 <= b <= 13 or 28 <= b <= 31 else 0
    if i - 2 >= start and data[i - 2] == 0xC2 and (b in (0x85, 0xA0)):
        return 2
    if i - 3 >= start and _wide_space(data[i - 3], data[i - 2], b):
        return 3
    return 0


@njit(cache=True, nogil=True)
def _wide_space(a: int, b: int, c: int) -> bool:
    """True for the three-byte whitespace: U+1680, U+2000–200A, U+2028, U+2029, U+202F, U+205F, U+3000."""
    if a == 0xE2:
        if b == 0x80:
            return 0x80 <= c <= 0x8A or c in (0xA8, 0xA9, 0xAF)
        return b == 0x81 and c == 0x9F
    if a == 0xE1:
        return b == 0x9A and c == 0x80
    return a == 0xE3 and b == 0x80 and c == 0x80


@njit(cache=True, nogil=True)
def skip_space(data: Kernel, start: int, end: int) -> int:
    """First position at or after ``start`` that is not whitespace; ``end`` if all is."""
    i = start
    while i < end:
        width = space_at(data, i, end)
        if width == 0:
            break
        i += width
    return i


@njit(cache=True, nogil=True)
def strip_end(data: Kernel, start: int, end: int) -> int:
    """End of ``data[start:end]`` without trailing whitespace."""
    i = end
    while i > start:
        width = space_before(data, start, i)
        if width == 0:
            break
        i -= width
    return i


@njit(cache=True, nogil=True)
def line_end_at(data: Kernel, i: int, end: int) -> int:
    """Bytes of the line end that starts at ``i``, as ``str.splitlines`` sees it; 0 if there is none."""
    b = data[i]
    if b > 30:
        if b == 0xC2:
            return 2 if i + 1 < end and data[i + 1] == 0x85 else 0
        if b == 0xE2:
            return 3 if i + 2 < end and data[i + 1] == 0x80 and (data[i + 2] in (0xA8, 0xA9)) else 0
        return 0
    if b == 13:
        return 2 if i + 1 < end and data[i + 1] == 10 else 1
    return 1 if 10 <= b <= 12 or b >= 28 else 0


@njit(cache=True, nogil=True)
def next_line_end(data: Kernel, start: int, end: int) -> int:
    """Position of the first line end at or after ``start``; ``end`` if there is none."""
    i = start
    while i < end:
        b = data[i]
        # most bytes are decided here: a call per byte costs five times as much
        if (b <= 30 or b in (0xC2, 0xE2)) and line_end_at(data, i, end) > 0:
            break
        i += 1
    return i


@njit(cache=True, nogil=True)
def next_newline(data: Kernel, start: int, end: int) -> int:
    """Position of the first ``\\n`` at or after ``start``; ``end`` if there is none."""
    i = start
    while i < end and data[i] != 10:
        i += 1
    return i


@njit(cache=True, nogil=True)
def code_points(data: Kernel, start: int, end: int) -> int:
    """Number of code points in ``data[start:end]``."""
    n = 0
    for i in range(start, end):
        n += (data[i] & 0xC0) != 0x80
    return n


@njit(cache=True, nogil=True)
def code_point_at(data: Kernel, i: int) -> int:
    """The code point that starts at ``i``."""
    b = int(data[i])
    if b < 0x80:
        return b
    second = int(data[i + 1] & 0x3F)
    if b < 0xE0:
        return (b & 0x1F) << 6 | second
    if b < 0xF0:
        return (b & 0x0F) << 12 | second << 6 | int(data[i + 2] & 0x3F)
    return (b & 0x07) << 18 | second << 12 | int(data[i + 2] & 0x3F) << 6 | int(data[i + 3] & 0x3F)


@njit(cache=True, nogil=True)
def last_code_point(data: Kernel, start: int, end: int) -> int:
    """The code point that ends at ``end``; -1 if the range is empty."""
    i = end - 1
    while i >= start and (data[i] & 0xC0) == 0x80:
        i -= 1
    return code_point_at(data, i) if i >= start else -1


@njit(cache=True, nogil=True)
def contains(table: Kernel, value: int) -> bool:
    """True if the sorted ``table`` holds ``value``."""
    low, high = 0, len(table)
    while low < high:
        middle = (low + high) >> 1
        if table[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(table) and table[low] == value
