"""Counts behind rule scores and readability formulas, in one compiled pass over raw texts and one over normalised ones.

The rule counts follow RedPajama-V2's quality signals (arXiv 2411.12372; togethercomputer/RedPajama-Data, app/src/core):
normalised text is lower case, without ASCII punctuation, with single spaces, in NFD; raw words are runs of letters,
digits and ``_``, or runs of other signs; a line ends with its newline, which counts among its characters.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint64

from curate.kernels.hashing import K1, K3, K5, mix
from curate.kernels.normalise import code_at, width_at
from curate.kernels.strings import Bytes, Offsets

Floats = npt.NDArray[np.float64]

#: bits of a character
_WORD, _SPACE, _UPPER, _NUMERIC, _LETTER, _LATIN, _VOWEL, _STOP = 1, 2, 4, 8, 16, 32, 64, 128
#: characters behind this one are none of all that
_MOST = 0x40000
#: what a line may end with to count as ended: . ! ? ”
_TERMINAL = (0x2E, 0x21, 0x3F, 0x201D)
_APOSTROPHES = (0x27, 0x2019)

RAW = (
    "raw_words", "alphabetic_words", "uppercase_fractions", "terminal_lines", "lines", "rule_sentences", "words",
    "letters", "syllables", "long_words", "sentences",
)  # fmt: skip
NORMALISED = (
    "normalised_words", "normalised_chars", "distinct_words", "entropy", "top_2_chars", "top_3_chars",
    "numerical_fractions",
)  # fmt: skip

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@lru_cache(maxsize=1)
def _kinds() -> npt.NDArray[np.uint8]:
    """The bits of each character; a tenth of a second, once per process."""
    chars = [chr(code) for code in range(_MOST)]
    kind = np.zeros(_MOST + 1, np.uint8)
    for bit, test in ((_WORD, str.isalnum), (_SPACE, str.isspace), (_UPPER, str.isupper), (_NUMERIC, str.isnumeric),
                      (_LETTER, str.isalpha)):  # fmt: skip
        kind[:-1] |= np.where(list(map(test, chars)), bit, 0).astype(np.uint8)
    kind[ord("_")] |= _WORD
    for char in string.ascii_letters:
        kind[ord(char)] |= _LATIN
    for char in chars[:0x250]:
        if unicodedata.normalize("NFD", char)[0].lower() in "aeiouyæøœ":
            kind[ord(char)] |= _VOWEL
    for char in ".!?":
        kind[ord(char)] |= _STOP
    return kind


def raw_counts(data: Bytes, offsets: Offsets) -> dict[str, Floats]:
    """Counts of each text as it is; see ``RAW``.

    ``uppercase_fractions``: sum over lines of the share of upper-case characters. ``terminal_lines``: lines whose last
    character that is no space is one of . ! ? ”. ``rule_sentences``: stretches between runs of . ! ? with a word
    character. ``words``, ``letters``, ``syllables``, ``long_words`` (three syllables or more): of words with a letter,
    apostrophes inside them included; ``sentences``: stretches with such a word between . ! ? and ends of lines.
    """
    out = np.zeros((len(RAW), len(offsets) - 1))
    _raw(data, offsets, _kinds(), out)
    return dict(zip(RAW, out, strict=True))


def normalised_counts(texts: Sequence[str]) -> dict[str, Floats]:
    """Counts of each text after normalisation, in code points; see ``NORMALISED``.

    ``entropy``: of the words, natural logarithm. ``top_2_chars``, ``top_3_chars``: characters of the most frequent pair
    and triple of words (among equals the first) times how often it occurs; 0 if no more than once.
    ``numerical_fractions``: sum over lines of the share of numeric characters.
    """
    data, offsets = _buffers([normalised(text) for text in texts])
    out = np.zeros((len(NORMALISED), len(texts)))
    _normalised(data, offsets, _kinds(), out)
    return dict(zip(NORMALISED, out, strict=True))


def normalised(text: str) -> str:
    """The text in lower case, without ASCII punctuation, in NFD; single spaces within lines, lines as they are."""
    plain = text.translate(_NO_PUNCTUATION).lower()
    lines = "\n".join([" ".join(line.split()) for line in plain.split("\n")])
    return lines if lines.isascii() else unicodedata.normalize("NFD", lines)


def _buffers(texts: Sequence[str]) -> tuple[Bytes, Offsets]:
    raw = [text.encode() for text in texts]
    offsets = np.zeros(len(raw) + 1, np.int64)
    np.cumsum([len(text) for text in raw], out=offsets[1:])
    return np.frombuffer(b"".join(raw), np.uint8), offsets


@njit(cache=True, nogil=True)
def _raw(data, offsets, kinds, out):  # type: ignore[no-untyped-def]
    for d in range(offsets.shape[0] - 1):
        i, end = int64(offsets[d]), int64(offsets[d + 1])
        before = int64(0)  # 1: in a raw word, 2: in a run of signs
        alphabetic = False
        in_rule, in_sentence = False, False
        chars, upper, last = int64(0), int64(0), int64(0)
        # the word that is read: letters and digits, has it a letter, vowel groups, the last three characters
        size, letter, groups = int64(0), False, int64(0)
        vowel, one, two, three = False, int64(0), int64(0), int64(0)
        while i <= end:
            if i < end:
                width = width_at(data, i)
                c = int64(code_at(data, i, width))
            else:
                width, c = 1, int64(10)
            kind = kinds[min(c, _MOST)]
            # a word for the formulas goes on over an apostrophe between letters
            inside = kind & _WORD and c != 95
            if inside:
                size += 1
                letter = letter or kind & _LETTER != 0
                is_vowel = kind & _VOWEL != 0
                if is_vowel and not vowel:
                    groups += 1
                vowel = is_vowel
                three, two, one = two, one, c | 32 if c < 128 else c
            elif size and c in _APOSTROPHES and i + width < end and _is_letter(data, i + width, kinds):
                vowel = False
            elif size:
                if letter:
                    syllables = _syllables(groups, one, two, three, kinds)
                    out[6, d] += 1
                    out[7, d] += size
                    out[8, d] += syllables
                    out[9, d] += syllables >= 3
                    in_sentence = True
                size, letter, groups, vowel, one, two, three = 0, False, 0, False, 0, 0, 0
            if kind & _STOP or c == 10:
                out[10, d] += in_sentence
                in_sentence = False
            if i == end:
                break
            # raw words and the sentences of the rules
            now = 1 if kind & _WORD else 0 if kind & _SPACE else 2
            if now != before:
                out[1, d] += before == 1 and alphabetic
                alphabetic = False
                out[0, d] += now != 0
            alphabetic = alphabetic or kind & _LATIN != 0
            before = now
            if kind & _STOP:
                out[5, d] += in_rule
                in_rule = False
            elif kind & _WORD:
                in_rule = True
            # lines
            chars += 1
            upper += kind & _UPPER != 0
            if not kind & _SPACE:
                last = c
            i += width
            if c == 10 or i == end:
                out[4, d] += 1
                out[2, d] += upper / chars
                out[3, d] += last in _TERMINAL
                chars, upper, last = 0, 0, 0
        out[1, d] += before == 1 and alphabetic
        out[5, d] += in_rule


@njit(cache=True, nogil=True)
def _is_letter(data, i, kinds):  # type: ignore[no-untyped-def]
    return kinds[min(int64(code_at(data, i, width_at(data, i))), _MOST)] & _LETTER != 0


@njit(cache=True, nogil=True)
def _syllables(groups, one, two, three, kinds):  # type: ignore[no-untyped-def]
    """Vowel groups, less a silent e at the end (not in -le after a consonant) or in -ed (not in -ted, -ded)."""
    found = groups
    silent = one == 101 and two and not kinds[min(two, _MOST)] & _VOWEL
    if silent and two == 108 and three and not kinds[min(three, _MOST)] & _VOWEL:
        silent = False
    if one == 100 and two == 101 and three and three not in (100, 116) and not kinds[min(three, _MOST)] & _VOWEL:
        silent = True
    if silent:
        found -= 1
    return max(found, int64(1))


@njit(cache=True, nogil=True)
def _slot(keys, stamps, stamp, key):  # type: ignore[no-untyped-def]
    """Where ``key`` is or belongs; a slot of another stamp is free."""
    mask = keys.shape[0] - 1
    slot = int64((key * K1) >> uint64(20)) & mask
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _count(grams, n, keys, stamps, counts, firsts, stamp):  # type: ignore[no-untyped-def]
    """How often each of the first ``n`` keys occurs, and where it does first."""
    for i in range(n):
        slot = _slot(keys, stamps, stamp, grams[i])
        if stamps[slot] != stamp:
            stamps[slot] = stamp
            keys[slot] = grams[i]
            counts[slot] = 0
            firsts[slot] = i
        counts[slot] += 1


@njit(cache=True, nogil=True)
def _top(grams, n, size, prefix, keys, stamps, counts, firsts, stamp):  # type: ignore[no-untyped-def]
    """Characters of the most frequent n-gram times its count, among equals the first to appear; 0 below two."""
    _count(grams, n, keys, stamps, counts, firsts, stamp)
    best, first = int64(1), int64(-1)
    for i in range(n):
        slot = _slot(keys, stamps, stamp, grams[i])
        if counts[slot] > best:
            best, first = int64(counts[slot]), int64(i)
    return (prefix[first + size] - prefix[first]) * best if first >= 0 else int64(0)


@njit(cache=True, nogil=True)
def _normalised(data, offsets, kinds, out):  # type: ignore[no-untyped-def]
    longest = int64(0)
    for d in range(offsets.shape[0] - 1):
        longest = max(longest, int64(offsets[d + 1] - offsets[d]) // 2 + 1)
    table = int64(64)
    while table < 2 * longest:
        table *= 2
    keys, stamps = np.empty(table, np.uint64), np.zeros(table, np.int64)
    counts, firsts = np.empty(table, np.int64), np.empty(table, np.int64)
    grams, prefix = np.empty(longest, np.uint64), np.zeros(longest + 1, np.int64)
    hashes = np.empty(longest, np.uint64)
    stamp = int64(0)
    for d in range(offsets.shape[0] - 1):
        n = _split(data, offsets[d], offsets[d + 1], kinds, hashes, prefix, out, d)
        use = int64(64)
        while use < 2 * n:
            use *= 2
        near = keys[:use]  # a short text must not roam over the longest one's table
        out[0, d] = n
        out[1, d] = prefix[n]
        stamp += 1
        _count(hashes, n, near, stamps, counts, firsts, stamp)
        for i in range(n):
            slot = _slot(near, stamps, stamp, hashes[i])
            if firsts[slot] == i:
                out[2, d] += 1
                share = counts[slot] / n
                out[3, d] -= share * np.log(share)
        for i in range(n):
            grams[i] = hashes[i]
        for size in range(2, 4):
            if n < size:
                break
            for i in range(n - size + 1):
                grams[i] = mix(grams[i] * K3 + hashes[i + size - 1])
            stamp += 1
            out[2 + size, d] = _top(grams, n - size + 1, size, prefix, near, stamps, counts, firsts, stamp)


@njit(cache=True, nogil=True)
def _split(data, start, end, kinds, hashes, prefix, out, d):  # type: ignore[no-untyped-def]
    """Hashes of the words between spaces and newlines, and the sums of their lengths; the number of words."""
    n, i, first = int64(0), int64(start), int64(start)
    word, line, numeric, hash_ = int64(0), int64(0), int64(0), K5
    while i <= end:
        c, width = int64(10), int64(1)
        if i < end:
            width = width_at(data, i)
            c = int64(code_at(data, i, width))
        if c in (10, 32):
            if i > first:
                hashes[n] = mix(hash_)
                prefix[n + 1] = prefix[n] + word
                n += 1
            first, word, hash_ = i + 1, int64(0), K5
        else:
            word += 1
            hash_ = (hash_ ^ uint64(c)) * K1
        if c == 10:
            if line:
                out[6, d] += numeric / line
            line, numeric = int64(0), int64(0)
        else:
            line += 1
            numeric += kinds[min(c, _MOST)] & _NUMERIC != 0
        i += width
    return n
