"""All documents of a batch into words: the compiled loop around the chunk table, and the second pass of exceptions."""

# ruff: noqa: PLR1714 -- comparisons compile to a few instructions, a set of constants does not

from __future__ import annotations

import numpy as np
from numba import int64, njit, uint64

from curate.kernels.hashing import slice_key
from curate.kernels.words_english import ASK, decode, describe, split_chunk
from curate.kernels.words_table import find, put

DONE, ASK_PYTHON, MORE_OUTPUT, MORE_TABLE, MORE_POOL, MORE_SCRATCH = range(6)
"""Why ``split_batch`` came back. It goes on where it stopped when it is called again with the same ``state``."""

DOCUMENT, POSITION, TOKENS, ENTRIES, POOL, CHUNK_START, CHUNK_END, LIMIT = range(8)
"""Places in ``state``, an int64 array of 8. POSITION -1: at the start of DOCUMENT. LIMIT: most entries, at least 1."""

_SYMBOL_MASK = 0xFFFF
_BREAK = 1 << 20
"""In a token's ``links`` entry: what stands before it is not exactly one space, so no exception reaches across."""


@njit(cache=True, nogil=True)
def space_length(data, i, end):  # type: ignore[no-untyped-def]
    """Bytes of the whitespace character at ``i`` (the set of ``str.isspace``), 0 if there is none."""
    c = data[i]
    if c == 32 or 9 <= c <= 13 or 28 <= c <= 31:
        return 1
    if c < 0xC2:
        return 0
    if c == 0xC2:
        return 2 if i + 1 < end and (data[i + 1] == 0x85 or data[i + 1] == 0xA0) else 0
    if (c == 0xE1 or c == 0xE2 or c == 0xE3) and i + 2 < end:
        d = data[i + 1]
        e = data[i + 2]
        if c == 0xE1 and d == 0x9A and e == 0x80:
            return 3
        if c == 0xE2 and d == 0x80 and (0x80 <= e <= 0x8A or e == 0xA8 or e == 0xA9 or e == 0xAF):
            return 3
        if c == 0xE2 and d == 0x81 and e == 0x9F:
            return 3
        if c == 0xE3 and d == 0x80 and e == 0x80:
            return 3
    return 0


@njit(cache=True, nogil=True)
def chunk_end(data, i, end):  # type: ignore[no-untyped-def]
    """First whitespace at or after ``i``, or ``end``."""
    while i < end:
        c = data[i]
        if not (32 < c < 0xC2) and space_length(data, i, end):
            break
        i += 1
    return i


@njit(cache=True, nogil=True)
def _edge(edges, node, symbol):  # type: ignore[no-untyped-def]
    """Next node of the exceptions' trie, 0 if there is none."""
    mask = edges.shape[0] - 1
    key = int64(node) << 16 | symbol
    slot = int64((uint64(key) * uint64(0x9E3779B97F4A7C15)) >> uint64(40)) & mask
    while edges[slot, 0] != 0:
        if edges[slot, 0] == key:
            return edges[slot, 1]
        slot = (slot + 1) & mask
    return int64(0)


@njit(cache=True, nogil=True)
def _matches(links, first, last, roots, edges, terminals, found):  # type: ignore[no-untyped-def]
    """Finds every exception's token sequence among the tokens; how many. Rows of ``found``, if it has any: start,
    end, exception."""
    n = 0
    for i in range(first, last):
        node = int64(roots[links[i] & _SYMBOL_MASK])
        j = i + 1
        while node:
            if terminals[node]:
                if found.shape[0]:
                    found[n, 0] = i
                    found[n, 1] = j
                    found[n, 2] = terminals[node]
                n += 1
            if j >= last or links[j] & _BREAK:
                break
            node = _edge(edges, node, links[j] & _SYMBOL_MASK)
            j += 1
    return n


@njit(cache=True, nogil=True)
def _choose(found, first, last):  # type: ignore[no-untyped-def]
    """Longest first, then leftmost; a match is taken if neither of its end tokens lies in an earlier match, taken or
    not. Returns the exception that starts at each token (row of ``found`` + 1)."""
    taken = np.zeros(last - first, np.int64)
    seen = np.zeros(last - first, np.bool_)
    longest = int64(0)
    for m in range(found.shape[0]):
        longest = max(longest, found[m, 1] - found[m, 0])
    for length in range(longest, 0, -1):
        for m in range(found.shape[0]):
            a = found[m, 0] - first
            b = found[m, 1] - first
            if b - a != length:
                continue
            if not seen[a] and not seen[b - 1]:
                taken[a] = m + 1
            for t in range(a, b):
                seen[t] = True
    return taken


@njit(cache=True, nogil=True)
def second_pass(starts, ends, rows, links, first, last, rules, trie):  # type: ignore[no-untyped-def]
    """Joins tokens that together are an exception; the new end of the document's tokens.

    A sequence that would be one only without the space in it stays as it is, but it keeps its tokens from others.
    """
    roots, edges, terminals = trie
    exception_starts, exception_tokens = rules[6], rules[7]
    count = _matches(links, first, last, roots, edges, terminals, np.empty((0, 3), np.int64))
    if count == 0:
        return last
    found = np.empty((count, 3), np.int64)
    _matches(links, first, last, roots, edges, terminals, found)
    taken = _choose(found, first, last)
    old_starts = starts[first:last].copy()
    old_ends = ends[first:last].copy()
    old_rows = rows[first:last].copy()
    k = first
    i = int64(0)
    while i < last - first:
        n = found[taken[i] - 1, 1] - found[taken[i] - 1, 0] if taken[i] else int64(0)
        joined = n > 0
        for t in range(i + 1, i + n):
            joined = joined and old_starts[t] == old_ends[t - 1]
        if not joined:
            starts[k] = old_starts[i]
            ends[k] = old_ends[i]
            rows[k] = old_rows[i]
            k += 1
            i += 1
            continue
        number = found[taken[i] - 1, 2]
        for t in range(exception_starts[number - 1], exception_starts[number]):
            starts[k] = old_starts[i] + int64(exception_tokens[t, 0] & uint64(0xFFFFFFFF))
            ends[k] = old_starts[i] + int64(exception_tokens[t, 0] >> uint64(32))
            rows[k, 0] = exception_tokens[t, 1]
            rows[k, 1] = exception_tokens[t, 2]
            k += 1
        i += n
    return k


@njit(cache=True, nogil=True)
def split_batch(data, offsets, state, table, pool, scratch, rules, trie, starts, ends, rows, links, documents):  # type: ignore[no-untyped-def]
    """Splits from where ``state`` says; one of the codes above.

    Out: byte spans in ``starts`` and ``ends``; in ``rows`` the second and third word of each token (see
    ``words_english``); in ``documents`` the first token of each document.
    """
    points, places, stack = scratch[0], scratch[1], scratch[2]
    k = state[TOKENS]
    for document in range(state[DOCUMENT], offsets.shape[0] - 1):
        end = offsets[document + 1]
        i = state[POSITION]
        if i < 0:
            i = offsets[document]
            documents[document] = k
        while True:
            resume = i
            while i < end:
                width = space_length(data, i, end)
                if width == 0:
                    break
                i += width
            if i >= end:
                break
            base = i
            i = chunk_end(data, i, end)
            length = i - base
            w0, w1 = slice_key(data, base, i)
            slot = find(table, w0, w1, length)
            code = int64(DONE)
            if table[slot, 2] == uint64(0):
                if state[ENTRIES] >= state[LIMIT] or state[ENTRIES] * 2 >= table.shape[0]:
                    code = int64(MORE_TABLE)
                elif pool.shape[0] - state[POOL] < length:
                    code = int64(MORE_POOL)
                elif scratch.shape[1] <= length + 1:
                    code = int64(MORE_SCRATCH)
                else:
                    grown = split_chunk(data, base, i, points, places, stack, rules, pool, state[POOL])
                    if grown == ASK:
                        code = int64(ASK_PYTHON)
                    else:
                        put(table, slot, w0, w1, length, grown - state[POOL], state[POOL])
                        state[POOL] = grown
                        state[ENTRIES] += 1
            count = int64(table[slot, 2] & uint64(0xFFFFFFFF)) - 1 if code == DONE else int64(0)
            if code == DONE and starts.shape[0] - k < count:
                code = int64(MORE_OUTPUT)
            if code != DONE:
                state[DOCUMENT] = document
                state[POSITION] = resume
                state[TOKENS] = k
                state[CHUNK_START] = base
                state[CHUNK_END] = i
                return code
            link = 0 if base - resume == 1 and data[resume] == 32 else _BREAK
            row = int64(table[slot, 3])
            for t in range(row, row + count):
                starts[k] = base + int64(pool[t, 0] & uint64(0xFFFFFFFF))
                ends[k] = base + int64(pool[t, 0] >> uint64(32))
                rows[k, 0] = pool[t, 1]
                rows[k, 1] = pool[t, 2]
                links[k] = int64(pool[t, 1] >> uint64(48)) | link
                link = 0
                k += 1
        if starts.shape[0] - k < k - documents[document]:
            state[DOCUMENT] = document
            state[POSITION] = end
            state[TOKENS] = k
            return int64(MORE_OUTPUT)
        k = second_pass(starts, ends, rows, links, documents[document], k, rules, trie)
        state[POSITION] = -1
    state[DOCUMENT] = offsets.shape[0] - 1
    state[TOKENS] = k
    documents[offsets.shape[0] - 1] = k
    return int64(DONE)


@njit(cache=True, nogil=True)
def add_answer(data, base, end, spans, state, table, pool, scratch, rules):  # type: ignore[no-untyped-def]
    """Enters a chunk whose tokens Python has found: ``spans`` are their code point ends, in order."""
    points, places = scratch[0], scratch[1]
    decode(data, base, end, points, places)
    k = state[POOL]
    low = int64(0)
    for high in spans:
        describe(data, base, places[low], places[high], points, low, high, rules[0], rules[1], rules[4], pool[k])
        low = high
        k += 1
    w0, w1 = slice_key(data, base, end)
    slot = find(table, w0, w1, end - base)
    put(table, slot, w0, w1, end - base, k - state[POOL], state[POOL])
    state[POOL] = k
    state[ENTRIES] += 1


@njit(cache=True, nogil=True)
def columns(rows, n_chars, flags, stop_words, hashes):  # type: ignore[no-untyped-def]
    """Unpacks the token rows into one array per attribute."""
    for t in range(rows.shape[0]):
        packed = rows[t, 0]
        n_chars[t] = packed & uint64(0xFFFFFFFF)
        flags[t] = (packed >> uint64(32)) & uint64(0xFF)
        stop_words[t] = (packed >> uint64(40)) & uint64(0xFF)
        hashes[t] = rows[t, 1]


@njit(cache=True, nogil=True)
def code_points(data, offsets, out):  # type: ignore[no-untyped-def]
    """Code points of each text: the bytes that do not continue one."""
    for d in range(offsets.shape[0] - 1):
        n = int64(0)
        for i in range(offsets[d], offsets[d + 1]):
            n += (data[i] & 0xC0) != 0x80
        out[d] = n
