"""Gopher's repetition and quality values of a batch, from its words (arXiv 2112.11446), as datatrove 0.10.1 has them.

An n-gram is never built as a string. Top n-grams are compared by a 64-bit mix of their words' hashes; duplicated
n-grams, which datatrove compares without spaces between words, by the polynomial hash of their bytes (from prefix
sums, so any span costs one multiplication) together with their length in bytes.

Memory: for every word of the longest document 29 bytes of prefix sums and 40 to 80 of counting table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint64

from curate.kernels.hashing import BASE, INVERSE_BASE, K1, K3, add61, mix, mul61, power61, power_tables, sub61
from curate.kernels.words import ALPHABETIC, NON_SYMBOL, Words

TOP_SIZES = (2, 3, 4)
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)
REPETITION = (
    *(f"top_{n}_gram" for n in TOP_SIZES),
    *(f"duplicated_{n}_grams" for n in DUPLICATE_SIZES),
)
"""Keys of ``repetition``'s answer, in datatrove's order."""

_POWERS = 64
"""Word lengths in bytes up to which powers of the base are read from a table."""

Floats = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)
def _advance(power, inverse, length, powers, inverses):  # type: ignore[no-untyped-def]
    """Powers of the base and of its inverse ``length`` bytes further on."""
    if length < powers.shape[0]:
        return mul61(power, powers[length]), mul61(inverse, inverses[length])
    return mul61(power, power61(BASE, length)), mul61(inverse, power61(INVERSE_BASE, length))


@njit(cache=True, nogil=True)
def _slot(keys, stamps, stamp, key):  # type: ignore[no-untyped-def]
    """Where ``key`` is or belongs; a slot of another stamp is free."""
    mask = keys.shape[0] - 1
    slot = int64((key * K1) >> uint64(20)) & mask
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _top(grams, n, size, prefix, keys, stamps, counts, firsts, stamp):  # type: ignore[no-untyped-def]
    """Characters of the most frequent n-gram, spaces included, times its count; among equals the first to appear."""
    best = int64(0)
    first = int64(0)
    for i in range(n - size + 1):
        slot = _slot(keys, stamps, stamp, grams[i])
        if stamps[slot] != stamp:
            stamps[slot] = stamp
            keys[slot] = grams[i]
            counts[slot] = 0
            firsts[slot] = i
        counts[slot] += 1
        if counts[slot] > best:
            best = int64(counts[slot])
            first = int64(firsts[slot])
        elif counts[slot] == best and firsts[slot] < first:
            first = int64(firsts[slot])
    return (int64(prefix[first + size]) - int64(prefix[first]) + size - 1) * best


@njit(cache=True, nogil=True)
def _duplicated(n, size, prefix, sums, inverse, spans, keys, stamps, stamp):  # type: ignore[no-untyped-def]
    """Characters of n-grams seen before; after one the search goes on behind it."""
    total = int64(0)
    i = 0
    while i + size <= n:
        key = mul61(sub61(sums[i + size], sums[i]), inverse[i])
        # hashes use 61 bits; the byte length (modulo 8) fills the word
        key |= uint64(int64(spans[i + size]) - int64(spans[i]) & 7) << uint64(61)
        slot = _slot(keys, stamps, stamp, key)
        if stamps[slot] == stamp:
            total += prefix[i + size] - prefix[i]
            i += size
        else:
            stamps[slot] = stamp
            keys[slot] = key
            i += 1
    return total


@njit(cache=True, nogil=True)
def _repetition(documents, starts, ends, n_chars, hashes, powers, inverses, out):  # type: ignore[no-untyped-def]
    """Nine character counts per document."""
    longest = int64(0)
    for d in range(documents.shape[0] - 1):
        longest = max(longest, documents[d + 1] - documents[d])
    size = int64(64)
    while size < 2 * longest:
        size *= 2
    keys = np.empty(size, np.uint64)
    stamps = np.zeros(size, np.int32)
    counts = np.empty(size, np.int32)
    firsts = np.empty(size, np.int32)
    prefix = np.empty(longest + 1, np.int32)
    spans = np.empty(longest + 1, np.uint8)
    sums = np.empty(longest + 1, np.uint64)
    inverse = np.empty(longest + 1, np.uint64)
    grams = np.empty(longest + 1, np.uint64)
    stamp = np.int32(0)
    for d in range(documents.shape[0] - 1):
        first = documents[d]
        n = documents[d + 1] - first
        use = int64(64)
        while use < 2 * n:
            use *= 2
        near = keys[:use]  # a small document must not roam over the longest one's table
        power = uint64(1)
        inverse[0] = uint64(1)
        sums[0] = uint64(0)
        prefix[0] = 0
        spans[0] = 0
        for i in range(n):
            t = first + i
            prefix[i + 1] = prefix[i] + n_chars[t]
            length = ends[t] - starts[t]
            spans[i + 1] = (spans[i] + length) & 7
            sums[i + 1] = add61(sums[i], mul61(hashes[t], power))
            power, inverse[i + 1] = _advance(power, inverse[i], length, powers, inverses)
            grams[i] = hashes[t]
        for g in range(2, 5):
            if n < g:
                continue
            for i in range(n - g + 1):
                grams[i] = mix(grams[i] * K3 + hashes[first + i + g - 1])
            stamp += 1
            out[g - 2, d] = _top(grams, n, g, prefix, near, stamps, counts, firsts, stamp)
        for g in range(5, 11):
            stamp += 1
            out[g - 2, d] = _duplicated(n, g, prefix, sums, inverse, spans, near, stamps, stamp)


@njit(cache=True, nogil=True)
def _counts(documents, n_chars, flags, stop_words, out):  # type: ignore[no-untyped-def]
    """Non-symbol words, their characters, words with a letter, distinct stop words; per document."""
    seen = np.zeros(256, np.int64)
    for d in range(documents.shape[0] - 1):
        for t in range(documents[d], documents[d + 1]):
            if flags[t] & NON_SYMBOL:
                out[0, d] += 1
                out[1, d] += n_chars[t]
            if flags[t] & ALPHABETIC:
                out[2, d] += 1
            stop = stop_words[t]
            if stop and seen[stop] != d + 1:
                seen[stop] = d + 1
                out[3, d] += 1


def _divide(top: npt.NDArray[np.int64], bottom: npt.NDArray[np.int64]) -> Floats:
    """Quotients; NaN where the divisor is 0."""
    result = np.full(len(top), np.nan)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result


def repetition(words: Words) -> dict[str, Floats]:
    """The nine n-gram values of Gopher's Table A1, each as a share of the text's characters.

    ``top_2_gram`` … ``top_4_gram``: characters of the most frequent n-gram times its count. ``duplicated_5_grams`` …
    ``duplicated_10_grams``: characters of n-grams that occurred before. Both count words joined as datatrove joins
    them (with and without spaces) and divide by the length of the whole text in code points, so a value can exceed 1.
    0 where the text has fewer words than the n-gram; NaN where it has no words.
    """
    n = len(words.documents) - 1
    out = np.zeros((len(REPETITION), n), np.int64)
    powers, inverses = power_tables(_POWERS)
    _repetition(words.documents, words.starts, words.ends, words.n_chars, words.hashes, powers, inverses, out)
    length = np.where(np.diff(words.documents) > 0, words.text_chars, 0)
    return {name: _divide(out[row], length) for row, name in enumerate(REPETITION)}


def counts(words: Words) -> dict[str, npt.NDArray[np.int64] | Floats]:
    """Word counts that Gopher's quality rules use.

    ``n_words``: all words, punctuation included; ``n_non_symbol_words``: with a character outside datatrove's
    punctuation set; ``mean_word_length``: code points per non-symbol word, NaN if there is none; ``n_alpha_words``:
    with a letter; ``alpha_fraction``: their share of all words, NaN without words; ``n_stop_words``: distinct words of
    the splitter's stop word list that occur. Counts are int64, the others float64.
    """
    n = len(words.documents) - 1
    out = np.zeros((4, n), np.int64)
    _counts(words.documents, words.n_chars, words.flags, words.stop_words, out)
    n_words = np.diff(words.documents)
    return {
        "n_words": n_words,
        "n_non_symbol_words": out[0],
        "mean_word_length": _divide(out[1], out[0]),
        "n_alpha_words": out[2],
        "alpha_fraction": _divide(out[2], n_words),
        "n_stop_words": out[3],
    }
