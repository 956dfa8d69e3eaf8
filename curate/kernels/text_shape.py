"""Cheap statistics of a text's shape for small models: counted byte by byte and word by word, compiled.

They are inputs of a model, not labels: their definitions may change with the model's version. ``text_stats`` holds the
statistics that rules compare.
"""

# ruff: noqa: PLR1714 -- comparisons compile to a few instructions, a set of constants does not

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint64

#: words counted together, by group
GROUPS: Mapping[str, str] = {
    "stop": (
        "the of and to in a is that it for on with as was be by are from at this an or which but not have has had "
        "were been their its can will would there than other into more some these those also when what about"
    ),
    "first_person": "i me my mine i'm i've i'd i'll we us our ours we're we've we'll",
    "second_person": "you your yours you're you'll you've yourself",
    "third_person": "he she they him her them his hers theirs himself herself themselves",
    "connective": (
        "because however therefore although thus hence since while whereas moreover furthermore nevertheless though "
        "unless consequently indeed instead despite if then so whether rather"
    ),
    "page": (
        "click here login log sign home menu contact privacy policy cookies cookie copyright reserved rights share "
        "subscribe search cart checkout shipping price buy shop reply comments comment tweet facebook twitter email "
        "newsletter download next previous posted tags categories category read view views"
    ),
    "promise": (
        "best free amazing perfect great top guaranteed unique exclusive professional quality affordable leading deal "
        "discount offer offers save easy easily ultimate expert experts trusted"
    ),
    "measure": (
        "percent study studies research data analysis method results theory evidence model system process function "
        "average number rate according university journal theorem equation figure table section"
    ),
}

N_GROUPS = len(GROUPS)
(
    WORDS, LETTERS, LONG, VERY_LONG, SHORT, CAPITAL, SHOUTED, NUMERIC, DISTINCT, SENTENCES, SQUARES,
    UPPER, DIGITS, SPACES, OUTSIDE, PERIODS, COMMAS, COLONS, SEMICOLONS, EXCLAMATIONS, QUESTIONS, QUOTES, PARENTHESES,
    DASHES, SLASHES, BARS, ATS, MONEY, CODE, STARS, FULL, LINES, SHORT_LINES, ENDED_LINES, LIST_LINES, CAPITAL_LINES,
    REPEATED_LINES, LINE_BYTES, LONGEST_LINE, BLANKS, ELLIPSES, REPEATED_PAIRS,
) = range(42)  # fmt: skip
FIRST_GROUP = 42
NOTHING = FIRST_GROUP + N_GROUPS
N_COUNTERS = NOTHING + 1

STATISTICS: tuple[str, ...] = (
    "log_bytes", "log_words", "window_share", "mean_word", "long_words", "very_long_words", "short_words",
    "capital_words", "shouted_words", "numeric_words", "distinct_words", "repeated_pairs", "upper", "digits",
    "spaces", "outside_ascii", "periods", "commas", "colons", "semicolons", "exclamations", "questions", "quotes",
    "parentheses", "dashes", "slashes", "bars", "ats", "money", "code", "stars", "log_lines", "mean_line",
    "longest_line", "short_lines", "ended_lines", "list_lines", "capital_lines", "repeated_lines", "blank_lines",
    "ellipses", "sentences", "mean_sentence", "sentence_spread", *GROUPS,
)  # fmt: skip
"""What each column of a row of statistics is; rates are per word, per byte or per line."""


def word_groups(hashes: Mapping[str, Sequence[int]]) -> npt.NDArray[np.uint64]:
    """A table for ``count_word``: open addressing over word hashes, (512, 2): hash, 1 + number of its group."""
    table = np.zeros((512, 2), np.uint64)
    for number, members in enumerate(hashes.values()):
        for value in members:
            slot = value & 511
            while table[slot, 1] and int(table[slot, 0]) != value:
                slot = (slot + 1) & 511
            table[slot] = value, number + 1
    return table


@njit(cache=True, nogil=True)
def count_word(c, hash_, first, length, upper, digits, new, groups):  # type: ignore[no-untyped-def]
    """Counts one word into ``c``."""
    c[WORDS] += 1
    c[LETTERS] += length
    c[LONG] += length >= 7
    c[VERY_LONG] += length >= 12
    c[SHORT] += length <= 3
    c[CAPITAL] += 65 <= first <= 90
    c[SHOUTED] += length >= 2 and upper == length
    c[NUMERIC] += digits > 0
    c[DISTINCT] += new
    slot = int64(hash_ & uint64(511))
    while groups[slot, 1] != 0:
        if groups[slot, 0] == hash_:
            c[FIRST_GROUP + int64(groups[slot, 1]) - 1] += 1
            break
        slot = (slot + 1) & 511


def _byte_counters() -> npt.NDArray[np.uint8]:
    """Counter of each byte; lower case letters and control characters have none: they go to ``NOTHING``."""
    table = np.full(256, CODE, np.uint8)
    table[97:123] = NOTHING
    table[65:91] = UPPER
    table[48:58] = DIGITS
    table[128:] = OUTSIDE
    signs = {
        " \n\t\r": SPACES, ".": PERIODS, ",": COMMAS, ":": COLONS, ";": SEMICOLONS, "!": EXCLAMATIONS, "?": QUESTIONS,
        "\"'`": QUOTES, "()": PARENTHESES, "-": DASHES, "/": SLASHES, "|": BARS, "@": ATS, "$%&": MONEY, "*#_": STARS,
    }  # fmt: skip
    for characters, counter in signs.items():
        for character in characters:
            table[ord(character)] = counter
    return table


_COUNTER_OF = _byte_counters()


@njit(cache=True, nogil=True)
def count_bytes(c, data, start, end):  # type: ignore[no-untyped-def]
    """Counts the bytes of one span into ``c``."""
    tally = np.zeros(256, np.int64)
    for i in range(start, end):
        b = data[i]
        tally[b] += 1
        if b == 0xE2 and i + 2 < end and data[i + 1] == 0x80:
            sign = data[i + 2]
            if 0x98 <= sign <= 0x9F:
                c[QUOTES] += 1
            elif sign == 0x93 or sign == 0x94:
                c[DASHES] += 1
            elif sign == 0xA2:
                c[BARS] += 1
            elif sign == 0xA6:
                c[ELLIPSES] += 1
        elif b == 46 and i + 1 < end and data[i + 1] == 46:
            c[ELLIPSES] += 1
    for b in range(256):
        c[_COUNTER_OF[b]] += tally[b]


@njit(cache=True, nogil=True)
def _sentences(c, data, start, end):  # type: ignore[no-untyped-def]
    """Counts sentence ends of a line and the spread of the sentences' lengths in words."""
    words = 0.0
    inside = False
    for i in range(start, end):
        b = data[i]
        if b <= 32:
            inside = False
            continue
        if not inside:
            words += 1
            inside = True
        if (b == 46 or b == 33 or b == 63) and (i + 1 >= end or data[i + 1] <= 32 or data[i + 1] == 34):
            c[SENTENCES] += 1
            c[FULL] += words
            c[SQUARES] += words * words
            words = 0.0


@njit(cache=True, nogil=True)
def count_lines(c, data, start, end, lines):  # type: ignore[no-untyped-def]
    """Counts lines and sentences of one span; ``lines`` is scratch, 512 places."""
    lines[:] = 0
    kept = 0
    i = start
    while i < end:
        j = i
        while j < end and data[j] != 10:
            j += 1
        a = i
        b = j
        i = j + 1
        while a < b and data[a] <= 32:
            a += 1
        while b > a and data[b - 1] <= 32:
            b -= 1
        if a == b:
            c[BLANKS] += 1
            continue
        length = b - a
        c[LINES] += 1
        c[LINE_BYTES] += length
        c[LONGEST_LINE] = max(c[LONGEST_LINE], length)
        c[SHORT_LINES] += length < 40
        z = data[b - 1]
        c[ENDED_LINES] += z == 46 or z == 33 or z == 63 or z == 34 or z == 58
        f = data[a]
        c[LIST_LINES] += f == 42 or f == 45 or f == 0xE2 or 48 <= f <= 57
        c[CAPITAL_LINES] += 65 <= f <= 90
        h = uint64(14695981039346656037)
        for k in range(a, b):
            h = (h ^ uint64(data[k])) * uint64(1099511628211)
        h = (h ^ (h >> uint64(32))) | uint64(1)
        if kept < 384:
            slot = int64((h >> uint64(20)) & uint64(511))
            while lines[slot] != 0 and lines[slot] != h:
                slot = (slot + 1) & 511
            if lines[slot] == h:
                c[REPEATED_LINES] += 1
            else:
                lines[slot] = h
                kept += 1
        _sentences(c, data, a, b)


@njit(cache=True, nogil=True)
def finish(c, n_bytes, n_window, row):  # type: ignore[no-untyped-def]
    """Turns counters into a row of ``STATISTICS``; all zero divisors count as one."""
    words = max(c[WORDS], 1.0)
    size = max(float(n_window), 1.0)
    lines = max(c[LINES], 1.0)
    sentences = max(c[SENTENCES], 1.0)
    mean = c[FULL] / sentences
    spread = np.sqrt(max(c[SQUARES] / sentences - mean * mean, 0.0))
    row[0] = np.log1p(float(n_bytes))
    row[1] = np.log1p(c[WORDS])
    row[2] = n_window / max(float(n_bytes), 1.0)
    row[3] = c[LETTERS] / words
    for k in range(6):
        row[4 + k] = c[LONG + k] / words
    row[10] = c[DISTINCT] / np.sqrt(words)
    row[11] = c[REPEATED_PAIRS] / words
    row[12] = c[UPPER] / size
    row[13] = c[DIGITS] / size
    row[14] = c[SPACES] / size
    row[15] = c[OUTSIDE] / size
    for k in range(15):
        row[16 + k] = np.sqrt(c[PERIODS + k] / words)
    row[31] = np.log1p(c[LINES])
    row[32] = np.log1p(c[LINE_BYTES] / lines)
    row[33] = np.log1p(c[LONGEST_LINE])
    row[34] = c[SHORT_LINES] / lines
    row[35] = c[ENDED_LINES] / lines
    row[36] = c[LIST_LINES] / lines
    row[37] = c[CAPITAL_LINES] / lines
    row[38] = c[REPEATED_LINES] / lines
    row[39] = c[BLANKS] / lines
    row[40] = np.sqrt(c[ELLIPSES] / words)
    row[41] = c[SENTENCES] / words
    row[42] = np.log1p(mean)
    row[43] = spread / max(mean, 1.0)
    for k in range(NOTHING - FIRST_GROUP):
        row[44 + k] = np.sqrt(c[FIRST_GROUP + k] / words)
