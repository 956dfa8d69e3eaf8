"""Equal pairs of 64-bit keys among many, and what is asked of each group: sums, the smallest id, bits of a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, njit, uint64

Kernel = Any


@njit(cache=True, nogil=True)
def equal_pairs(a: Kernel, b: Kernel) -> Kernel:
    """Numbers the distinct pairs ``(a[i], b[i])`` in order of first occurrence.

    Args:
        a: uint64, hashes (their low bits place them in the table).
        b: uint64.

    Returns:
        ``(group, heads)``: the number of each row's pair (int32), and where each pair occurs first.
    """
    count = a.shape[0]
    slots = 2
    while slots < 2 * count:
        slots *= 2
    table = np.full(slots, -1, np.int32)
    group = np.empty(count, np.int32)
    heads = np.empty(count, np.int64)
    found = 0
    for i in range(count):
        j = int64(a[i] & uint64(slots - 1))
        while table[j] >= 0 and (a[heads[table[j]]] != a[i] or b[heads[table[j]]] != b[i]):
            j = (j + 1) & (slots - 1)
        if table[j] < 0:
            table[j] = found
            heads[found] = i
            found += 1
        group[i] = table[j]
    return group, heads[:found].copy()


@njit(cache=True, nogil=True)
def sums(group: Kernel, values: Kernel, groups: int) -> Kernel:
    """The sum of ``values`` in each group, int64."""
    out = np.zeros(groups, np.int64)
    for i in range(group.shape[0]):
        out[group[i]] += values[i]
    return out


@njit(cache=True, nogil=True)
def smallest(group: Kernel, high: Kernel, low: Kernel, groups: int) -> Kernel:
    """For each group the row with the smallest 128-bit id ``high << 64 | low``, the first of equals."""
    best = np.full(groups, -1, np.int64)
    for i in range(group.shape[0]):
        j = best[group[i]]
        if j < 0 or high[i] < high[j] or (high[i] == high[j] and low[i] < low[j]):
            best[group[i]] = i
    return best


@njit(cache=True, nogil=True)
def occurrences(group: Kernel, documents: Kernel, high: Kernel, low: Kernel, groups: int, within: bool) -> Kernel:
    """What a stretch of documents says of each of its groups.

    Args:
        group: of each row; the rows of a document stand together, in the order of their places.
        documents: the document of each row.
        high: upper half of each document's id, by document.
        low: lower half.
        groups: how many there are.
        within: count every row, not documents.

    Returns:
        ``(counts, owner, is_first)``: rows or documents of each group, the document with the smallest id that holds
        it, and per row whether it is in that document (with ``within``: and its first there).
    """
    counts = np.zeros(groups, np.int64)
    owner = np.full(groups, -1, np.int64)
    last = np.full(groups, -1, np.int64)
    for i in range(group.shape[0]):
        g = group[i]
        d = documents[i]
        if within or last[g] != d:
            counts[g] += 1
        last[g] = d
        j = owner[g]
        if j < 0 or high[d] < high[j] or (high[d] == high[j] and low[d] < low[j]):
            owner[g] = d
    is_first = np.zeros(group.shape[0], np.bool_)
    taken = np.zeros(groups, np.bool_)
    for i in range(group.shape[0]):
        g = group[i]
        if owner[g] == documents[i] and not (within and taken[g]):
            is_first[i] = True
            taken[g] = True
    return counts, owner, is_first
