"""Unicode as flat tables that compiled kernels index by code point.

Built from the interpreter's ``unicodedata`` on first use (a quarter of a second) and kept for the process. Every table
has one entry per code point up to U+10FFFF; only the pages of characters that occur are ever touched.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

N_CODE_POINTS = 0x110000

#: Bits of ``Tables.kind``.
DIGIT = 1
DECIMAL_SEPARATOR = 2
PUNCTUATION = 4
SPACE = 8
NOT_SURELY_NFC = 16
MARK = 32
WORD = 64

#: Characters after which digits may go on as one number, as datatrove's ``NUMBERS_PATTERN`` lists them.
DECIMAL_SEPARATORS = ".,،٫⎖⎗⎘"

#: First digits of the sets of ten that Unicode 15 to 17 added. datatrove finds digits with the ``regex`` module, which
#: knows them whatever the interpreter does; so must we for equal signatures.
_LATER_DIGITS = (
    0x10D40, 0x116D0, 0x116DA, 0x11BF0, 0x11DE0, 0x11F50, 0x16130, 0x16D70, 0x1CCF0, 0x1E4F0, 0x1E5F1,
)  # fmt: skip

#: What datatrove 0.10.1 (utils/text.py, PUNCTUATION) turns into a space: these signs and the control characters.
_PUNCTUATION_SIGNS = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
_CONTROLS = (range(0, 9), range(11, 13), range(13, 32), range(127, 160))

_HANGUL = range(0xAC00, 0xD7A4)
_SURROGATES = range(0xD800, 0xE000)
#: The planes without characters (4 to 13) and for private use (15, 16) need no visit.
_VISITED = (range(0, 0x40000), range(0xE0000, 0xE1000))


class Tables(NamedTuple):
    """One row per code point.

    Attributes:
        kind: uint8, the bits above.
        combining: uint8, canonical combining class.
        lower: int32, the lower-case code point. U+0130 maps to ``i`` alone; its dot and the final sigma need context.
        start: int32, where in ``pool`` the canonical decomposition without nonspacing marks starts; -1: the character
            stays as it is.
        length: uint8, code points of that decomposition; 0 for a nonspacing mark.
        pool: int32, the decompositions one after another.
    """

    kind: npt.NDArray[np.uint8]
    combining: npt.NDArray[np.uint8]
    lower: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    length: npt.NDArray[np.uint8]
    pool: npt.NDArray[np.int32]


@lru_cache(maxsize=1)
def tables() -> Tables:
    """All tables; built once per process."""
    codes = np.concatenate([np.arange(part.start, part.stop, dtype=np.int32) for part in _VISITED])
    codes = codes[(codes < _SURROGATES.start) | (codes >= _SURROGATES.stop)]
    chars = [chr(code) for code in codes.tolist()]
    kind = np.zeros(N_CODE_POINTS, np.uint8)
    combining = np.zeros(N_CODE_POINTS, np.uint8)
    lower = np.arange(N_CODE_POINTS, dtype=np.int32)
    categories = np.array(list(map(unicodedata.category, chars)))
    kind[codes] |= np.where(categories == "Nd", DIGIT, 0).astype(np.uint8)
    kind[codes] |= np.where(categories == "Mn", MARK, 0).astype(np.uint8)
    kind[codes] |= np.where(list(map(str.isspace, chars)), SPACE, 0).astype(np.uint8)
    kind[codes] |= np.where(list(map(str.isalnum, chars)), WORD, 0).astype(np.uint8)
    kind[ord("_")] |= WORD
    combining[codes] = list(map(unicodedata.combining, chars))
    lower[codes] = [ord(small[0]) for small in map(str.lower, chars)]
    for first in _LATER_DIGITS:
        kind[first : first + 10] |= DIGIT
    _mark_punctuation(kind)
    decomposing = [char for char in chars if unicodedata.decomposition(char) or ord(char) in _HANGUL]
    _mark_nfc(kind, decomposing)
    marks = [chars[i] for i in np.flatnonzero(categories == "Mn").tolist()]
    start, length, pool = _decompositions(decomposing, marks)
    return Tables(kind, combining, lower, start, length, pool)


def _mark_punctuation(kind: npt.NDArray[np.uint8]) -> None:
    for char in DECIMAL_SEPARATORS:
        kind[ord(char)] |= DECIMAL_SEPARATOR
    for char in _PUNCTUATION_SIGNS:
        kind[ord(char)] |= PUNCTUATION
    for codes in _CONTROLS:
        kind[codes.start : codes.stop] |= PUNCTUATION


def _mark_nfc(kind: npt.NDArray[np.uint8], decomposing: list[str]) -> None:
    """Mark what NFC changes, or may join with the character before it (quick check values No and Maybe, UAX 15)."""
    for char in decomposing:
        parts = unicodedata.decomposition(char)
        if not parts or parts.startswith("<"):
            continue
        if unicodedata.normalize("NFC", char) != char:
            kind[ord(char)] |= NOT_SURELY_NFC
        elif " " in parts:
            kind[int(parts.split()[1], 16)] |= NOT_SURELY_NFC
    kind[0x1161:0x1176] |= NOT_SURELY_NFC  # Hangul vowels and
    kind[0x11A8:0x11C3] |= NOT_SURELY_NFC  # final consonants, which join with a leading one


def _decompositions(
    decomposing: list[str], marks: list[str]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    start = np.full(N_CODE_POINTS, -1, np.int32)
    length = np.ones(N_CODE_POINTS, np.uint8)
    pool: list[int] = []
    gone = set(marks)
    for char in decomposing:
        kept = [part for part in unicodedata.normalize("NFD", char) if part not in gone]
        if kept != [char]:
            start[ord(char)] = len(pool)
            length[ord(char)] = len(kept)
            pool.extend(map(ord, kept))
    for mark in marks:
        start[ord(mark)] = len(pool)
        length[ord(mark)] = 0
    return start, length, np.array(pool, np.int32)
