"""Shingle hashes, MinHash signatures, band keys and set intersections, a whole batch of documents at once.

A shingle is n words joined by one space, or n code points; its hash is xxHash64 of its UTF-8 bytes. The signature is
the minimum over all shingles of ``(a·h + b) mod (2^61 - 1)``, the multiplication wrapping at 64 bits: the scheme of
datasketch and datatrove, with datatrove's parameters for a seed, so that equal shingles give its very signatures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint64

from curate.kernels.hashing import mix, xxh64

Kernel = Any
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

PRIME = np.uint64((1 << 61) - 1)
_SIGNED_PRIME = np.int64((1 << 61) - 1)
_NO_SEED = np.uint64(0)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def permutations(seed: int, count: int) -> tuple[U64, U64]:
    """The ``a`` and ``b`` of ``count`` permutations; NumPy's legacy generator, whose stream is frozen."""
    draw = np.random.RandomState(seed)
    a = draw.randint(1, int(PRIME), dtype=np.uint64, size=count)
    b = draw.randint(0, int(PRIME), dtype=np.uint64, size=count)
    return a, b


@njit(cache=True, nogil=True)
def word_shingles(data: Kernel, starts: Kernel, ends: Kernel, documents: Kernel, n: int, whole: bool) -> Kernel:
    """Hashes of all runs of ``n`` words, in order and with repeats.

    Args:
        data: UTF-8 bytes.
        starts: where each word starts in ``data``.
        ends: where it ends.
        documents: document ``d`` has the words ``documents[d]`` to ``documents[d + 1] - 1``.
        n: words per shingle.
        whole: a document with fewer than ``n`` words, but at least one, has all its words as its one shingle;
            otherwise it has none.

    Returns:
        ``(hashes, borders)``: document ``d`` has ``hashes[borders[d]:borders[d + 1]]``.
    """
    count = documents.shape[0] - 1
    borders = np.zeros(count + 1, np.int64)
    longest = 0
    for d in range(count):
        words = documents[d + 1] - documents[d]
        borders[d + 1] = borders[d] + (words - n + 1 if words >= n else (1 if whole and words > 0 else 0))
        if words:
            longest = max(longest, _joined_bytes(starts, ends, documents[d], documents[d + 1]))
    hashes = np.empty(borders[count], np.uint64)
    joined = np.empty(longest, np.uint8)
    for d in range(count):
        shingles = borders[d + 1] - borders[d]
        if shingles == 0:
            continue
        first = documents[d]
        words = documents[d + 1] - first
        places = np.empty(words + 1, np.int64)
        _join(data, starts, ends, first, words, joined, places)
        span = n if words >= n else words
        for s in range(shingles):
            hashes[borders[d] + s] = xxh64(joined, places[s], places[s + span] - 1, _NO_SEED)
    return hashes, borders


@njit(cache=True, nogil=True)
def _joined_bytes(starts: Kernel, ends: Kernel, first: int, last: int) -> int:
    total = last - first
    for w in range(first, last):
        total += ends[w] - starts[w]
    return total


@njit(cache=True, nogil=True)
def _join(data: Kernel, starts: Kernel, ends: Kernel, first: int, words: int, joined: Kernel, places: Kernel) -> None:
    """The words, each followed by a space; ``places`` says where each starts, and where the last space ends."""
    k = 0
    for w in range(words):
        places[w] = k
        for i in range(starts[first + w], ends[first + w]):
            joined[k] = data[i]
            k += 1
        joined[k] = 32
        k += 1
    places[words] = k


@njit(cache=True, nogil=True)
def text_shingles(data: Kernel, offsets: Kernel, n: int, whole: bool, by_word: bool) -> Kernel:
    """Hashes of all runs of ``n`` code points of each text, or of ``n`` words that single spaces separate.

    Args:
        data: UTF-8 bytes.
        offsets: borders of the texts.
        n: code points or words per shingle.
        whole: as for ``word_shingles``.
        by_word: words, not code points; the texts have one space between words and none at the ends.

    Returns:
        ``(hashes, borders, units)``: as ``word_shingles``, and how many words or code points each text has.
    """
    count = offsets.shape[0] - 1
    hashes = np.empty(offsets[count] - offsets[0] + 1, np.uint64)
    borders = np.zeros(count + 1, np.int64)
    units = np.zeros(count, np.int64)
    recent = np.empty(n, np.int64)
    gap = 1 if by_word else 0
    k = 0
    for d in range(count):
        begin = offsets[d]
        end = offsets[d + 1]
        found = 0
        at = 0
        for i in range(begin, end):
            if by_word:
                if i > begin and data[i - 1] != 32:
                    continue
            elif data[i] & 0xC0 == 0x80:
                continue
            if found >= n:
                hashes[k] = xxh64(data, recent[at], i - gap, _NO_SEED)
                k += 1
            recent[at] = i
            at = at + 1 if at + 1 < n else 0
            found += 1
        if found >= n:
            hashes[k] = xxh64(data, recent[at], end, _NO_SEED)
            k += 1
        elif whole and found > 0:
            hashes[k] = xxh64(data, begin, end, _NO_SEED)
            k += 1
        units[d] = found
        borders[d + 1] = k
    return hashes[:k].copy(), borders, units


@njit(cache=True, nogil=True)
def signatures(hashes: Kernel, borders: Kernel, a: Kernel, b: Kernel) -> Kernel:
    """One row of ``len(a)`` minima per document, uint64; a document without shingles has 2^64 - 1 everywhere."""
    count = borders.shape[0] - 1
    width = a.shape[0]
    out = np.full((count, width), uint64(0xFFFFFFFFFFFFFFFF), np.uint64)
    least = np.empty(width, np.int64)
    for d in range(count):
        if borders[d + 1] == borders[d]:
            continue
        least[:] = _SIGNED_PRIME
        for s in range(borders[d], borders[d + 1]):
            h = hashes[s]
            for j in range(width):
                x = h * a[j] + b[j]
                # 2^61 ≡ 1: high bits are added to the low ones; the sum fits a signed word, whose minimum is one
                # vector instruction, and exceeds the prime by at most seven
                y = int64(x & PRIME) + int64(x >> uint64(61))
                y = y - _SIGNED_PRIME if y >= _SIGNED_PRIME else y
                least[j] = min(least[j], y)
        for j in range(width):
            out[d, j] = uint64(least[j])
    return out


@njit(cache=True, nogil=True)
def signatures_32(hashes: Kernel, borders: Kernel, a: Kernel, b: Kernel) -> Kernel:
    """As ``signatures``, but minima of the lower halves, uint32 (datatrove masks so too); 2^32 - 1 without shingles."""
    count = borders.shape[0] - 1
    width = a.shape[0]
    out = np.full((count, width), np.uint32(0xFFFFFFFF), np.uint32)
    for d in range(count):
        for s in range(borders[d], borders[d + 1]):
            h = hashes[s]
            for j in range(width):
                x = h * a[j] + b[j]
                y = int64(x & PRIME) + int64(x >> uint64(61))
                y = y - _SIGNED_PRIME if y >= _SIGNED_PRIME else y
                out[d, j] = min(out[d, j], np.uint32(y & 0xFFFFFFFF))
    return out


@njit(cache=True, nogil=True)
def band_keys(signature: Kernel, bands: int, rows: int) -> Kernel:
    """One 64-bit key per document and band: equal rows of a band give equal keys, bands never share one by design."""
    count = signature.shape[0]
    keys = np.empty((count, bands), np.uint64)
    for d in range(count):
        for band in range(bands):
            key = mix(uint64(band + 1) * _GOLDEN)
            for r in range(rows):
                key = mix((key ^ signature[d, band * rows + r]) * _GOLDEN + uint64(r))
            keys[d, band] = key
    return keys


@njit(cache=True, nogil=True)
def distinct(hashes: Kernel, borders: Kernel) -> Kernel:
    """The set of each document's hashes, in order of first occurrence; result as for ``word_shingles``.

    0 stands for an empty slot, so a hash of 0 is read as 1.
    """
    count = borders.shape[0] - 1
    out = np.empty(hashes.shape[0], np.uint64)
    new = np.zeros(count + 1, np.int64)
    table = np.zeros(_slots(_largest(borders)), np.uint64)
    k = 0
    for d in range(count):
        slots = _slots(borders[d + 1] - borders[d])
        table[:slots] = 0
        for s in range(borders[d], borders[d + 1]):
            h = hashes[s] if hashes[s] != 0 else uint64(1)
            j = int64(h & uint64(slots - 1))
            while table[j] != 0 and table[j] != h:
                j = (j + 1) & (slots - 1)
            if table[j] == 0:
                table[j] = h
                out[k] = h
                k += 1
        new[d + 1] = k
    return out[:k].copy(), new


@njit(cache=True, nogil=True)
def intersections(hashes: Kernel, borders: Kernel, left: Kernel, right: Kernel) -> Kernel:
    """How many hashes the sets of each pair share; fastest when equal values of ``left`` stand together.

    Args:
        hashes: from ``distinct``.
        borders: likewise.
        left: one document of each pair.
        right: the other.
    """
    shared = np.zeros(left.shape[0], np.int64)
    table = np.zeros(_slots(_largest(borders)), np.uint64)
    slots = 1
    loaded = -1
    for p in range(left.shape[0]):
        if left[p] != loaded:
            loaded = left[p]
            slots = _slots(borders[loaded + 1] - borders[loaded])
            table[:slots] = 0
            for s in range(borders[loaded], borders[loaded + 1]):
                j = int64(hashes[s] & uint64(slots - 1))
                while table[j] != 0:
                    j = (j + 1) & (slots - 1)
                table[j] = hashes[s]
        found = 0
        for s in range(borders[right[p]], borders[right[p] + 1]):
            h = hashes[s]
            j = int64(h & uint64(slots - 1))
            while table[j] != 0 and table[j] != h:
                j = (j + 1) & (slots - 1)
            found += table[j] == h
        shared[p] = found
    return shared


@njit(cache=True, nogil=True)
def _largest(borders: Kernel) -> int:
    most = 0
    for d in range(borders.shape[0] - 1):
        most = max(most, borders[d + 1] - borders[d])
    return most


@njit(cache=True, nogil=True)
def _slots(count: int) -> int:
    """A power of two of at least twice ``count`` slots, so that a free one is always near."""
    slots = 2
    while slots < 2 * count:
        slots *= 2
    return slots
