"""Word n-grams of UTF-8 text as 64-bit hashes, and which of them stand in an index.

A word is a maximal run of letters, digits and marks; punctuation and space separate, an apostrophe inside a word does
not. Han, kana, Hangul-free scripts written without spaces (Thai, Lao, Khmer, Myanmar) count character by character.
Text must be lower-cased before. The tables are fixed here, so that results do not change with a Unicode version.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: the rolling sum loses nothing
#: Slots per key in the table of the index; a power of two of slots, at most half full.
_EMPTY = -1


@njit(cache=True, nogil=True)
def _mix(h: Any) -> Any:
    """Spread a hash over all bits (the finaliser of SplitMix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, nogil=True)
def _kind(c: int) -> int:
    """0 separates words, 1 belongs to a word, 2 is a word of its own, 3 is left out (an apostrophe or soft hyphen)."""
    if c < 0x80:
        if 48 <= c <= 57 or 97 <= c <= 122 or 65 <= c <= 90:
            return 1
        return 3 if c == 39 else 0
    if c < 0xC0:
        return 3 if c == 0xAD else 1 if c in (0xAA, 0xB5, 0xBA) else 0
    if c in (0xD7, 0xF7):
        return 0
    if c < 0x0E00:
        return 0 if c in (0x37E, 0x387, 0x589, 0x5BE, 0x60C, 0x61B, 0x61F, 0x66A, 0x6D4, 0x964, 0x965) else 1
    if c <= 0x0EFF or 0x1000 <= c <= 0x109F or 0x1780 <= c <= 0x17FF:
        return 2
    if 0x2000 <= c <= 0x206F:
        return 3 if c in (0x2019, 0x200B, 0x200C, 0x200D, 0x2060) else 0
    if 0x2070 <= c <= 0x2BFF:
        return 1 if c >= 0x2C00 or 0x2070 <= c <= 0x209F or 0x2100 <= c <= 0x218F else 0
    if 0x3000 <= c <= 0x303F or 0xFF00 <= c <= 0xFF0F or 0xFF1A <= c <= 0xFF20 or 0xFE10 <= c <= 0xFE6F:
        return 0
    if 0x3040 <= c <= 0x30FF or 0x3400 <= c <= 0x9FFF or 0xF900 <= c <= 0xFAFF or 0x20000 <= c <= 0x3FFFF:
        return 2
    if 0x1F000 <= c <= 0x1FAFF or c in (0xFEFF, 0xFFFD):
        return 0
    return 1


@njit(cache=True, nogil=True)
def word_hashes(data: Bytes, start: int, end: int, out: Hashes) -> int:
    """Hashes of the words of ``data[start:end]``, written to ``out`` (at least ``end - start`` long); how many."""
    n, h, inside, i = 0, _BASIS, False, start
    while i < end:
        b = data[i]
        size, c = 1, np.int64(b)
        if b >= 0xF0:
            size, c = 4, np.int64(b & 0x07)
        elif b >= 0xE0:
            size, c = 3, np.int64(b & 0x0F)
        elif b >= 0xC0:
            size, c = 2, np.int64(b & 0x1F)
        for k in range(1, min(size, end - i)):
            c = (c << 6) | (data[i + k] & 0x3F)
        kind = _kind(c)
        if inside and kind in (0, 2):
            out[n] = _mix(h)
            n, h, inside = n + 1, _BASIS, False
        if kind in (1, 2):
            for k in range(i, min(i + size, end)):
                h = (h ^ np.uint64(data[k])) * _PRIME
            inside = True
            if kind == 2:
                out[n] = _mix(h)
                n, h, inside = n + 1, _BASIS, False
        i += size
    if inside:
        out[n] = _mix(h)
        n += 1
    return n


@njit(cache=True, nogil=True)
def gram_hashes(words: Hashes, n_words: int, n: int, out: Hashes) -> int:
    """Hashes of all n-grams of ``words``, written to ``out``; how many (0 if there are fewer words than ``n``)."""
    if n_words < n:
        return 0
    top = np.uint64(1)
    for _ in range(n - 1):
        top *= _BASE
    h = np.uint64(0)
    for i in range(n_words):
        if i >= n:
            h -= words[i - n] * top
        h = h * _BASE + words[i]
        if i >= n - 1:
            # The length is mixed in, so that grams of different lengths never meet.
            out[i - n + 1] = _mix(h + np.uint64(n))
    return n_words - n + 1


@njit(cache=True, nogil=True)
def build_table(keys: Hashes, slots: npt.NDArray[np.int32]) -> None:
    """Open-addressing table: slot → position in ``keys``. ``len(slots)`` is a power of two above ``len(keys)``."""
    mask = np.uint64(len(slots) - 1)
    for k in range(len(keys)):
        at = keys[k] & mask
        while slots[at] != -1:
            at = (at + np.uint64(1)) & mask
        slots[at] = k


@njit(cache=True, nogil=True)
def _find(keys: Hashes, slots: npt.NDArray[np.int32], h: Any) -> int:
    mask = np.uint64(len(slots) - 1)
    at = h & mask
    while slots[at] != -1:
        if keys[slots[at]] == h:
            return int(slots[at])
        at = (at + np.uint64(1)) & mask
    return -1


@njit(cache=True, nogil=True)
def match(
    data: Bytes, offsets: Ints, lengths: Ints, keys: Hashes, slots: npt.NDArray[np.int32], starts: Ints,
    items: npt.NDArray[np.int32], totals: npt.NDArray[np.int32], overlap: npt.NDArray[np.float32],
    matches: npt.NDArray[np.int32], best: npt.NDArray[np.int32],
) -> None:  # fmt: skip
    """Compare every document of a column with the index.

    Args:
        lengths: the n of the n-grams in the index, one or several.
        keys, slots: n-gram hashes and their table.
        starts, items: items that hold key ``k`` are ``items[starts[k]:starts[k + 1]]``.
        totals: distinct n-grams per item.
        overlap: out, largest share of one item's n-grams found in the document.
        matches: out, distinct n-grams of the index found.
        best: out, the item of ``overlap`` (the first of equals), -1 if nothing was found.
    """
    longest = 0
    for doc in range(len(offsets) - 1):
        longest = max(longest, offsets[doc + 1] - offsets[doc])
    words, grams = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.uint64)
    seen = np.full(len(keys), -1, np.int32)  # the document that a key was last found in
    counts = np.zeros(len(totals), np.int32)
    touched = np.empty(len(totals), np.int32)
    for doc in range(len(offsets) - 1):
        n_words = word_hashes(data, offsets[doc], offsets[doc + 1], words)
        n_touched, found = 0, 0
        for length in lengths:
            for g in range(gram_hashes(words, n_words, length, grams)):
                key = _find(keys, slots, grams[g])
                if key < 0 or seen[key] == doc:
                    continue
                seen[key] = doc
                found += 1
                for j in range(starts[key], starts[key + 1]):
                    item = items[j]
                    if counts[item] == 0:
                        touched[n_touched] = item
                        n_touched += 1
                    counts[item] += 1
        share, which = np.float32(0), -1
        for t in range(n_touched):
            item = touched[t]
            s = np.float32(counts[item]) / np.float32(totals[item])
            if s > share or (s == share and item < which):
                share, which = s, item
            counts[item] = 0
        overlap[doc], matches[doc], best[doc] = share, found, which
