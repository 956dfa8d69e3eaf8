"""Units of texts and the hashes of their runs: what finding repeated spans needs, a batch of documents at a time.

A text is a row of units: words, characters or bytes. A unit has two numbers below 2^61 - 1; a run of units is hashed as
the polynomial Σ u_i·B^(n-1-i) modulo that prime, with a base of its own for each of the two numbers (Karp and Rabin
1987). Runs are sampled as in winnowing (Schleimer, Wilkerson, Aiken 2003): of the runs of k units within n units the
one with the smallest hash, the leftmost of equals, so equal stretches of n units choose the same run at the same place.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint64

from curate.kernels.hashing import BASE, K1, K2, K3, PRIME, add61, mix, mul61, power61, sub61
from curate.kernels.normalise import code_at, width_at
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.unicode import NOT_SURELY_NFC, tables

Kernel = Any
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

#: The base of the second polynomial; the first is ``hashing.BASE``.
SECOND_BASE = np.uint64(0x0D1B54A32D192ED0 % ((1 << 61) - 1))
_FINAL_SIGMA, _SIGMA = 0x3C2, 0x3C3
#: Bits of the word table.
_BEGINS, _CONTINUES, _ODD = 1, 2, 4


class Units(NamedTuple):
    """Units of a batch of texts, text after text.

    Attributes:
        starts: byte of ``data`` at which each unit starts.
        ends: byte after its last.
        first: a number below 2^61 - 1 that equal units share; ``second``: another, independent one.
        borders: text ``d`` has the units ``borders[d]`` to ``borders[d + 1] - 1``.
    """

    starts: I64
    ends: I64
    first: U64
    second: U64
    borders: I64


def word_units(data: Bytes, offsets: Offsets) -> Units:
    r"""Words: runs of letters, digits and underscores (``\w``) with the marks (Unicode M) that stand on them.

    Two words are equal if their NFC forms agree in lower case, character by character; a final sigma is a sigma, and
    the dot that the lower case of U+0130 brings is not looked at. Different words share both numbers with a
    probability of 2^-122.
    """
    data = read_only(data)
    starts, ends, borders, odd = _find_words(data, offsets, _word_table(), tables().combining)
    first, second = _hash_words(data, starts, ends, tables().lower)
    for d in np.flatnonzero(odd).tolist():
        text = data[offsets[d] : offsets[d + 1]].tobytes().decode("utf-8")
        if not unicodedata.is_normalized("NFC", text):
            _hash_again(data, starts, ends, first, second, int(borders[d]), int(borders[d + 1]))
    return Units(starts, ends, first, second, borders)


def code_units(data: Bytes, offsets: Offsets, *, by_byte: bool) -> Units:
    """Characters (code points), or bytes, as they stand; a unit's numbers are the character itself."""
    starts, ends, first, borders = _find_codes(read_only(data), offsets, by_byte)
    return Units(starts, ends, first, first, borders)


def count_words(data: Bytes, offsets: Offsets) -> I64:
    """How many words, as ``word_units`` finds them, each text has."""
    _, _, borders, _ = _find_words(read_only(data), offsets, _word_table(), tables().combining)
    counts: I64 = np.diff(borders)
    return counts


@njit(cache=True, nogil=True)
def seeds(units: Kernel, borders: Kernel, n: int, k: int) -> Kernel:
    """The chosen runs of all texts: hash and text of each place that some stretch of ``n`` units chooses.

    Args:
        units: one number per unit.
        borders: of the texts.
        n: units of a stretch.
        k: units of a run, at most ``n``.

    Returns:
        ``(hashes, documents)``, text by text; a place is listed once, equal runs at several places several times.
    """
    count = borders.shape[0] - 1
    weight = power61(BASE, k - 1)
    hashes = np.empty(units.shape[0], np.uint64)
    documents = np.empty(units.shape[0], np.int32)
    longest = 0
    for d in range(count):
        longest = max(longest, borders[d + 1] - borders[d])
    runs = np.empty(longest + 1, np.uint64)
    chosen = np.empty(longest + 1, np.int64)
    queue = np.empty(n - k + 2, np.int64)
    found = 0
    for d in range(count):
        stretches = _choose(units, borders[d], borders[d + 1], n, k, weight, runs, chosen, queue)
        last = int64(-1)
        for i in range(stretches):
            if chosen[i] != last:
                last = chosen[i]
                hashes[found] = runs[last]
                documents[found] = d
                found += 1
    return hashes[:found].copy(), documents[:found].copy()


@njit(cache=True, nogil=True)
def active_windows(first: Kernel, second: Kernel, borders: Kernel, n: int, k: int, table: Kernel) -> Kernel:
    """All stretches of ``n`` units whose chosen run is in ``table``.

    Args:
        first: one number per unit.
        second: another one.
        borders: of the texts.
        n: units of a stretch.
        k: units of a run.
        table: from ``seed_table``.

    Returns:
        ``(a, b, documents, places)``: two hashes of each stretch, its text, and the number of its first unit within
        that text; in the order of the texts.
    """
    count = borders.shape[0] - 1
    weight = power61(BASE, k - 1)
    total = 0
    longest = 0
    for d in range(count):
        size = borders[d + 1] - borders[d]
        total += max(0, size - n + 1)
        longest = max(longest, size)
    a = np.empty(total, np.uint64)
    b = np.empty(total, np.uint64)
    documents = np.empty(total, np.int32)
    places = np.empty(total, np.int32)
    runs = np.empty(longest + 1, np.uint64)
    chosen = np.empty(longest + 1, np.int64)
    queue = np.empty(n - k + 2, np.int64)
    heavy = power61(BASE, n - 1)
    heavy2 = power61(SECOND_BASE, n - 1)
    found = 0
    for d in range(count):
        stretches = _choose(first, borders[d], borders[d + 1], n, k, weight, runs, chosen, queue)
        last = int64(-1)
        active = False
        at = int64(-1)
        h = uint64(0)
        h2 = uint64(0)
        for i in range(stretches):
            if chosen[i] != last:
                last = chosen[i]
                active = _holds(table, runs[last])
            if not active:
                continue
            u = borders[d] + i
            if at == i - 1 and at >= 0:
                h = add61(mul61(sub61(h, mul61(first[u - 1], heavy)), BASE), first[u + n - 1])
                h2 = add61(mul61(sub61(h2, mul61(second[u - 1], heavy2)), SECOND_BASE), second[u + n - 1])
            else:
                h = uint64(0)
                h2 = uint64(0)
                for j in range(u, u + n):
                    h = add61(mul61(h, BASE), first[j])
                    h2 = add61(mul61(h2, SECOND_BASE), second[j])
            at = i
            a[found] = mix(h)
            b[found] = mix(h2)
            documents[found] = d
            places[found] = i
            found += 1
    return a[:found].copy(), b[:found].copy(), documents[:found].copy(), places[:found].copy()


@njit(cache=True, nogil=True)
def seed_table(hashes: Kernel) -> Kernel:
    """A table of distinct hashes for ``active_windows``: open addressing, 0 marks a free slot (a hash of 0 is 1)."""
    slots = 2
    while slots < 2 * hashes.shape[0]:
        slots *= 2
    table = np.zeros(slots, np.uint64)
    for h in hashes:
        h = h if h != 0 else uint64(1)
        j = int64(h & uint64(slots - 1))
        while table[j] != 0 and table[j] != h:
            j = (j + 1) & (slots - 1)
        table[j] = h
    return table


@njit(cache=True, nogil=True)
def _holds(table: Kernel, h: int) -> Kernel:
    slots = table.shape[0]
    h = h if h != 0 else uint64(1)
    j = int64(h & uint64(slots - 1))
    while table[j] != 0 and table[j] != h:
        j = (j + 1) & (slots - 1)
    return table[j] == h


@njit(cache=True, nogil=True)
def _choose(
    units: Kernel, begin: int, end: int, n: int, k: int, weight: int, runs: Kernel, chosen: Kernel, queue: Kernel
) -> Kernel:
    """For each stretch the place of its chosen run; the number of stretches. ``runs`` gets the hashes of all runs.

    A queue of places with growing hashes: its head is the smallest of the stretch (constant time per unit, whatever
    the text).
    """
    size = end - begin
    if size < n:
        return 0
    room = queue.shape[0]
    head = 0
    held = 0
    h = uint64(0)
    for j in range(begin, begin + k - 1):
        h = add61(mul61(h, BASE), units[j])
    for i in range(size - k + 1):
        if i > 0:
            h = sub61(h, mul61(units[begin + i - 1], weight))
        h = add61(mul61(h, BASE), units[begin + i + k - 1])
        runs[i] = mix(h)
        while held > 0 and runs[queue[(head + held - 1) % room]] > runs[i]:
            held -= 1
        queue[(head + held) % room] = i
        held += 1
        stretch = i - (n - k)
        if stretch >= 0:
            if queue[head] < stretch:
                head = (head + 1) % room
                held -= 1
            chosen[stretch] = queue[head]
    return size - n + 1


@njit(cache=True, nogil=True)
def _find_words(data: Kernel, offsets: Kernel, table: Kernel, combining: Kernel) -> Kernel:
    """Starts, ends and borders of all words, and the texts that are not surely in NFC."""
    count = offsets.shape[0] - 1
    room = (offsets[count] - offsets[0]) // 2 + count + 1
    starts = np.empty(room, np.int64)
    ends = np.empty(room, np.int64)
    borders = np.zeros(count + 1, np.int64)
    odd = np.zeros(count, np.bool_)
    found = 0
    for d in range(count):
        i = offsets[d]
        inside = False
        last = 0
        while i < offsets[d + 1]:
            if data[i] < 0x80:
                width = 1
                said = table[data[i]]
                last = 0
            else:
                width = width_at(data, i)
                code = code_at(data, i, width)
                said = table[code]
                order = combining[code]
                odd[d] |= said & _ODD != 0 or (order != 0 and last > order)
                last = order
            if inside:
                if not said & _CONTINUES:
                    ends[found] = i
                    found += 1
                    inside = False
            elif said & _BEGINS:
                starts[found] = i
                inside = True
            i += width
        if inside:
            ends[found] = offsets[d + 1]
            found += 1
        borders[d + 1] = found
    return starts[:found], ends[:found], borders, odd


@njit(cache=True, nogil=True)
def _hash_words(data: Kernel, starts: Kernel, ends: Kernel, lower: Kernel) -> Kernel:
    """Two numbers of each slice in lower case: three characters at a time go into two chains of bijections."""
    count = starts.shape[0]
    first = np.empty(count, np.uint64)
    second = np.empty(count, np.uint64)
    for w in range(count):
        i = starts[w]
        h = K1
        h2 = K3
        held = uint64(0)
        length = uint64(0)
        while i < ends[w]:
            code = int64(data[i])
            if code < 0x80:
                code = code | 0x20 if 65 <= code <= 90 else code
                i += 1
            else:
                width = width_at(data, i)
                code = int64(lower[code_at(data, i, width)])
                code = _SIGMA if code == _FINAL_SIGMA else code
                i += width
            held = held << uint64(21) | uint64(code)
            length += uint64(1)
            if length % uint64(3) == 0:
                h = mix(h ^ held)
                h2 = mix(h2 + held * K2)
                held = uint64(0)
        held = held << uint64(2) | length % uint64(3)
        first[w] = mix(h ^ held) % PRIME
        second[w] = mix(h2 + held * K2) % PRIME
    return first, second


@njit(cache=True, nogil=True)
def _find_codes(data: Kernel, offsets: Kernel, by_byte: bool) -> Kernel:
    count = offsets.shape[0] - 1
    room = offsets[count] - offsets[0]
    starts = np.empty(room, np.int64)
    ends = np.empty(room, np.int64)
    first = np.empty(room, np.uint64)
    borders = np.zeros(count + 1, np.int64)
    found = 0
    for d in range(count):
        i = offsets[d]
        while i < offsets[d + 1]:
            width = 1 if by_byte else width_at(data, i)
            starts[found] = i
            ends[found] = i + width
            first[found] = uint64(data[i] if by_byte else code_at(data, i, width)) + uint64(1)
            found += 1
            i += width
        borders[d + 1] = found
    return starts[:found], ends[:found], first[:found], borders


def _hash_again(data: Bytes, starts: I64, ends: I64, first: U64, second: U64, begin: int, end: int) -> None:
    """Numbers of those words of one text that NFC changes."""
    words = [data[starts[w] : ends[w]].tobytes().decode("utf-8") for w in range(begin, end)]
    changed = [w for w, word in enumerate(words) if not unicodedata.is_normalized("NFC", word)]
    if not changed:
        return
    new = [unicodedata.normalize("NFC", words[w]).encode("utf-8") for w in changed]
    borders = np.concatenate([[0], np.cumsum([len(word) for word in new])]).astype(np.int64)
    joined = read_only(np.frombuffer(b"".join(new), np.uint8))
    at = np.array(changed) + begin
    first[at], second[at] = _hash_words(joined, borders[:-1], borders[1:], tables().lower)


@lru_cache(maxsize=1)
def _word_table() -> npt.NDArray[np.uint8]:
    """Per code point: may a word begin with it, may it continue one, is it not surely in NFC."""
    from curate.kernels.unicode import WORD

    kind = tables().kind
    table = np.where(kind & WORD, _BEGINS | _CONTINUES, 0).astype(np.uint8)
    table[kind & NOT_SURELY_NFC != 0] |= _ODD
    marks = [code for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M"]
    marks += [code for code in range(0xE0100, 0xE01F0) if unicodedata.category(chr(code))[0] == "M"]
    table[marks] |= _CONTINUES
    return table


def read_only(data: Bytes) -> Bytes:
    """``data`` as a view of Arrow's kind, so that every kernel is compiled for one type only."""
    view = data.view()
    view.flags.writeable = False
    return view
