"""Normalised copies of whole text columns, from UTF-8 buffer to UTF-8 buffer.

Two normalisations for finding equal and similar texts:

- ``fold``: Unicode NFC, optionally lower case, optionally whitespace collapsed; ``fold_words``: only its words.
- ``simplify``: what datatrove 0.10.1 does before MinHash (``utils/text.py``, ``simplify_text`` with its defaults):
  lower case, numbers to 0, punctuation to spaces, whitespace collapsed, NFD without nonspacing marks.

Both equal the plain Python formulas on every text. Characters whose treatment depends on their neighbours (marks out
of canonical order, the final sigma) send that one document through ``unicodedata``; all others stay in the kernel.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.strings import Bytes, Offsets
from curate.kernels.unicode import (
    DECIMAL_SEPARATOR,
    DIGIT,
    MARK,
    NOT_SURELY_NFC,
    PUNCTUATION,
    SPACE,
    WORD,
    Tables,
    tables,
)

Kernel = Any

#: No character grows to more than three times its bytes (a Hangul syllable into three letters).
_GROWTH = 3


def fold(data: Bytes, offsets: Offsets, *, lower: bool, collapse: bool) -> tuple[Bytes, Offsets]:
    """Each text in NFC, and in lower case and with single spaces if asked.

    Args:
        data: valid UTF-8.
        offsets: borders of the texts, one more than there are texts.
        lower: apply ``str.lower`` after NFC.
        collapse: replace each run of whitespace by one space, none at the ends (``" ".join(text.split())``).

    Returns:
        The same form: bytes and borders.
    """
    return _folded(data, offsets, lower, (SPACE, SPACE) if collapse else (0, 1))


def fold_words(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    r"""The words of each text, each followed by one space but the last: NFC, lower case, runs of ``\w``.

    Equal to ``" ".join(re.findall(r"\w+", unicodedata.normalize("NFC", text).lower()))``.
    """
    return _folded(data, offsets, True, (WORD, 0))


def _folded(data: Bytes, offsets: Offsets, lower: bool, gap: tuple[int, int]) -> tuple[Bytes, Offsets]:
    """NFC; runs of characters whose kind, masked by ``gap[0]``, is ``gap[1]`` become one space."""
    table = tables()
    odd = _needs_python(_read_only(data), offsets, table.kind, table.combining, lower)

    def exact(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return text.lower() if lower else text

    data, offsets = _rewrite(data, offsets, odd, exact)
    out = np.empty(_GROWTH * int(offsets[-1] - offsets[0]) + 4, np.uint8)
    borders = _fold(data, offsets, table.kind, table.lower, lower, gap[0], gap[1], out)
    return _read_only(out[: borders[-1]]), borders


def simplify(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    """Each text as datatrove's ``simplify_text`` leaves it; arguments and result as for ``fold``."""
    table = tables()
    data, offsets = _rewrite(data, offsets, _has_sigma(_read_only(data), offsets), str.lower)
    out = np.empty(_GROWTH * int(offsets[-1] - offsets[0]) + 4, np.uint8)
    borders, odd = _simplify(data, offsets, *table, out)
    if odd.any():
        return _simplify_again(data, offsets, out[: borders[-1]], borders, odd, table)
    return _read_only(out[: borders[-1]]), borders


def has_word(data: Bytes, offsets: Offsets) -> npt.NDArray[np.bool_]:
    """True for each text that holds a word character (letter, digit or underscore, as ``re``'s ``\\w``)."""
    found: npt.NDArray[np.bool_] = _has_word(_read_only(data), offsets, tables().kind)
    return found


def _rewrite(
    data: Bytes, offsets: Offsets, chosen: npt.NDArray[np.bool_], change: Callable[[str], str]
) -> tuple[Bytes, Offsets]:
    """The texts, with ``change`` applied to the chosen ones."""
    if not chosen.any():
        return _read_only(data), offsets
    pieces: list[Bytes] = []
    lengths = np.diff(offsets)
    done = 0
    for i in np.flatnonzero(chosen).tolist():
        start, end = int(offsets[i]), int(offsets[i + 1])
        pieces.append(data[offsets[done] : start])
        new = change(data[start:end].tobytes().decode("utf-8")).encode("utf-8")
        pieces.append(np.frombuffer(new, np.uint8))
        lengths[i] = len(new)
        done = i + 1
    pieces.append(data[offsets[done] : offsets[-1]])
    return _read_only(np.concatenate(pieces)), np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _read_only(data: Bytes) -> Bytes:
    """``data`` as a view of Arrow's kind, so that every kernel is compiled for one type only."""
    view = data.view()
    view.flags.writeable = False
    return view


def _simplify_again(
    data: Bytes, offsets: Offsets, out: Bytes, borders: Offsets, odd: npt.NDArray[np.bool_], table: Tables
) -> tuple[Bytes, Offsets]:
    """The simplified texts, with those whose marks change places made anew from their sources."""
    sources = iter(np.flatnonzero(odd).tolist())

    def again(_: str) -> str:
        i = next(sources)
        return _simplify_text(data[offsets[i] : offsets[i + 1]].tobytes().decode("utf-8"), table.kind)

    return _rewrite(out, borders, odd, again)


def _simplify_text(text: str, kind: npt.NDArray[np.uint8]) -> str:
    """``simplify`` of one text in plain Python, for the few texts with marks that NFD reorders."""
    chars: list[str] = []
    i, text = 0, text.lower()
    is_digit = [bool(kind[ord(c)] & DIGIT) for c in text]
    while i < len(text):
        if is_digit[i]:
            i = _number_end(text, is_digit, i, kind)
            chars.append("0")
        else:
            chars.append(" " if kind[ord(text[i])] & PUNCTUATION else text[i])
            i += 1
    text = unicodedata.normalize("NFD", " ".join("".join(chars).split()))
    return "".join(c for c in text if not kind[ord(c)] & MARK).strip()


def _number_end(text: str, is_digit: list[bool], i: int, kind: npt.NDArray[np.uint8]) -> int:
    n = len(text)
    while i < n and is_digit[i]:
        i += 1
    if i + 1 < n and kind[ord(text[i])] & DECIMAL_SEPARATOR and is_digit[i + 1]:
        i += 1
        while i < n and is_digit[i]:
            i += 1
    return i


@njit(cache=True, nogil=True)
def width_at(data: Kernel, i: int) -> int:
    """Bytes of the code point that starts at ``i``."""
    first = data[i]
    if first < 0x80:
        return 1
    if first < 0xE0:
        return 2
    return 3 if first < 0xF0 else 4


@njit(cache=True, nogil=True)
def code_at(data: Kernel, i: int, width: int) -> Kernel:
    """The code point of ``width`` bytes that starts at ``i``."""
    first = np.int64(data[i])
    if width == 1:
        return first
    if width == 2:
        return (first & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F)
    if width == 3:
        return (first & 0x0F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | (np.int64(data[i + 2]) & 0x3F)
    high = (first & 0x07) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12
    return high | (np.int64(data[i + 2]) & 0x3F) << 6 | (np.int64(data[i + 3]) & 0x3F)


@njit(cache=True, nogil=True)
def put_code(out: Kernel, o: int, code: int) -> int:
    """Write ``code`` as UTF-8 at ``o``; the position after it."""
    if code < 0x80:
        out[o] = code
        return o + 1
    if code < 0x800:
        out[o] = 0xC0 | code >> 6
        out[o + 1] = 0x80 | code & 63
        return o + 2
    if code < 0x10000:
        out[o] = 0xE0 | code >> 12
        out[o + 1] = 0x80 | code >> 6 & 63
        out[o + 2] = 0x80 | code & 63
        return o + 3
    out[o] = 0xF0 | code >> 18
    out[o + 1] = 0x80 | code >> 12 & 63
    out[o + 2] = 0x80 | code >> 6 & 63
    out[o + 3] = 0x80 | code & 63
    return o + 4


@njit(cache=True, nogil=True)
def _needs_python(data: Kernel, offsets: Kernel, kind: Kernel, combining: Kernel, lower: bool) -> Kernel:
    """Texts that are not surely in NFC (quick check of UAX 15), or whose lower case needs context."""
    n = offsets.shape[0] - 1
    odd = np.zeros(n, np.bool_)
    for d in range(n):
        i = offsets[d]
        last = 0
        while i < offsets[d + 1]:
            if data[i] < 0x80:
                last = 0
                i += 1
                continue
            width = width_at(data, i)
            code = code_at(data, i, width)
            i += width
            order = combining[code]
            if kind[code] & NOT_SURELY_NFC or (order != 0 and last > order) or (lower and code in (0x3A3, 0x130)):
                odd[d] = True
                break
            last = order
    return odd


@njit(cache=True, nogil=True)
def _has_sigma(data: Kernel, offsets: Kernel) -> Kernel:
    """Texts with a capital sigma, whose lower case depends on what follows it."""
    n = offsets.shape[0] - 1
    found = np.zeros(n, np.bool_)
    for d in range(n):
        for i in range(offsets[d], offsets[d + 1] - 1):
            if data[i] == 0xCE and data[i + 1] == 0xA3:
                found[d] = True
                break
    return found


@njit(cache=True, nogil=True)
def _has_word(data: Kernel, offsets: Kernel, kind: Kernel) -> Kernel:
    n = offsets.shape[0] - 1
    found = np.zeros(n, np.bool_)
    for d in range(n):
        i = offsets[d]
        while i < offsets[d + 1]:
            width = width_at(data, i)
            if kind[code_at(data, i, width)] & WORD:
                found[d] = True
                break
            i += width
    return found


@njit(cache=True, nogil=True)
def _fold(
    data: Kernel, offsets: Kernel, kind: Kernel, small: Kernel, lower: bool, mask: int, gap: int, out: Kernel
) -> Kernel:
    n = offsets.shape[0] - 1
    borders = np.zeros(n + 1, np.int64)
    o = 0
    for d in range(n):
        i = offsets[d]
        begin = o
        waiting = False
        while i < offsets[d + 1]:
            width = width_at(data, i)
            code = code_at(data, i, width)
            if kind[code] & mask == gap:
                waiting = o > begin
                i += width
                continue
            if waiting:
                out[o] = 32
                o += 1
                waiting = False
            o = put_code(out, o, small[code] if lower else code)
            i += width
        borders[d + 1] = o
    return borders


@njit(cache=True, nogil=True)
def _simplify(
    data: Kernel, offsets: Kernel, kind: Kernel, combining: Kernel, small: Kernel, start: Kernel, length: Kernel,
    pool: Kernel, out: Kernel,
) -> Kernel:  # fmt: skip
    """Borders of the simplified texts in ``out``, and which texts hold marks that NFD would put in another order."""
    n = offsets.shape[0] - 1
    borders = np.zeros(n + 1, np.int64)
    odd = np.zeros(n, np.bool_)
    o = 0
    for d in range(n):
        i = offsets[d]
        end = offsets[d + 1]
        begin = o
        waiting = False
        last = 0
        while i < end:
            width = width_at(data, i)
            code = code_at(data, i, width)
            if kind[code] & DIGIT:
                i = _after_number(data, i, end, kind)
                code = 48
            else:
                i += width
                if kind[code] & (PUNCTUATION | SPACE):
                    waiting = o > begin
                    last = 0
                    continue
                code = small[code]
            if waiting:
                out[o] = 32
                o += 1
                waiting = False
            if start[code] < 0:
                order = combining[code]
                odd[d] |= order != 0 and last > order
                last = order if order == 0 else max(last, order)
                o = put_code(out, o, code)
                continue
            if length[code] == 0 and combining[code] == 0:
                last = 0
            for p in range(start[code], start[code] + length[code]):
                order = combining[pool[p]]
                odd[d] |= order != 0 and last > order
                last = order if order == 0 else max(last, order)
                o = put_code(out, o, pool[p])
        while o > begin and out[o - 1] == 32:
            o -= 1
        borders[d + 1] = o
    return borders, odd


@njit(cache=True, nogil=True)
def _after_number(data: Kernel, i: int, end: int, kind: Kernel) -> Kernel:
    """The position after the number that starts at ``i``: digits, and once a separator with digits."""
    i = _after_digits(data, i, end, kind)
    if i == end:
        return i
    width = width_at(data, i)
    after = i + width
    if after == end or not kind[code_at(data, i, width)] & DECIMAL_SEPARATOR:
        return i
    rest = _after_digits(data, after, end, kind)
    return rest if rest > after else i


@njit(cache=True, nogil=True)
def _after_digits(data: Kernel, i: int, end: int, kind: Kernel) -> Kernel:
    while i < end:
        width = width_at(data, i)
        if not kind[code_at(data, i, width)] & DIGIT:
            break
        i += width
    return i
