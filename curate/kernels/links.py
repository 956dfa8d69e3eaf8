"""Buckets of equal keys to links between documents, and links to components, of documents known by number only.

Here no document is preferred: numbers come from the order of shards, and what is made of them must not depend on it.
The first ``fixed`` numbers are documents of earlier runs, which are never compared with each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint64

Kernel = Any


@njit(cache=True, nogil=True)
def bucket_links(
    grouped: Kernel, borders: Kernel, keys: Kernel, documents: Kernel, texts: Kernel, fixed: int, small: int
) -> Kernel:
    """What buckets say of their documents.

    Args:
        grouped: entries that share a key, by bucket, ascending (from ``equal_groups``).
        borders: likewise.
        keys: of all entries; the two lowest bits are 0 for bands.
        documents: of all entries; ascending among those with the same key.
        texts: of all entries; documents of a band that have the same (not 0) are copies, the first stands for them.
        fixed: documents below this number are not linked with each other.
        small: members of a band's bucket up to which all pairs are given.

    Returns:
        ``(pairs, pair_keys, stars, star_keys, members, member_keys, member_borders)``: candidate pairs of small
        buckets (rows of two, the smaller number first, with repeats), with the key of each; pairs that connect the
        documents of an exact key (the first that is not fixed with every other); members of the large buckets.
    """
    groups = borders.shape[0] - 1
    heads = np.empty(grouped.shape[0], np.int64)
    ends = np.zeros(groups + 1, np.int64)
    n_pairs = 0
    n_stars = 0
    n_members = 0
    n_large = 0
    k = 0
    for g in range(groups):
        begin = k
        if keys[grouped[borders[g]]] & uint64(3) != 0:
            for i in range(borders[g], borders[g + 1]):
                heads[k] = documents[grouped[i]]
                k += 1
            if heads[k - 1] < fixed:
                k = begin
            n_stars += max(0, k - begin - 1)
        else:
            k = _distinct(grouped, borders[g], borders[g + 1], documents, texts, heads, k)
            size = k - begin
            if size < 2 or heads[k - 1] < fixed:
                k = begin
            elif size <= small:
                old = 0
                while heads[begin + old] < fixed:
                    old += 1
                n_pairs += size * (size - 1) // 2 - old * (old - 1) // 2
            else:
                n_members += size
                n_large += 1
        ends[g + 1] = k
    pairs = np.empty((n_pairs, 2), np.int64)
    pair_keys = np.empty(n_pairs, np.uint64)
    stars = np.empty((n_stars, 2), np.int64)
    star_keys = np.empty(n_stars, np.uint64)
    members = np.empty(n_members, np.int64)
    member_keys = np.empty(n_large, np.uint64)
    member_borders = np.zeros(n_large + 1, np.int64)
    p = 0
    s = 0
    m = 0
    b = 0
    for g in range(groups):
        first = ends[g]
        last = ends[g + 1]
        if last - first < 2:
            continue
        key = keys[grouped[borders[g]]]
        if key & uint64(3) != 0:
            hub = first
            while heads[hub] < fixed:
                hub += 1
            for i in range(first, last):
                if i != hub:
                    stars[s, 0] = min(heads[i], heads[hub])
                    stars[s, 1] = max(heads[i], heads[hub])
                    star_keys[s] = key
                    s += 1
        elif last - first <= small:
            for i in range(first, last):
                for j in range(i + 1, last):
                    if heads[j] >= fixed:
                        pairs[p, 0] = heads[i]
                        pairs[p, 1] = heads[j]
                        pair_keys[p] = key
                        p += 1
        else:
            for i in range(first, last):
                members[m] = heads[i]
                m += 1
            member_keys[b] = key
            b += 1
            member_borders[b] = m
    return pairs, pair_keys, stars, star_keys, members, member_keys, member_borders


@njit(cache=True, nogil=True)
def _distinct(grouped: Kernel, first: int, last: int, documents: Kernel, texts: Kernel, out: Kernel, at: int) -> Kernel:
    """The documents of one bucket, copies once; returns where they end in ``out``."""
    few = 32
    begin = at
    if last - first <= few:
        for i in range(first, last):
            e = grouped[i]
            new = True
            for j in range(first, i):
                f = grouped[j]
                if documents[f] == documents[e] or (texts[e] != 0 and texts[f] == texts[e]):
                    new = False
                    break
            if new:
                out[at] = documents[e]
                at += 1
        return at
    order = np.argsort(texts[grouped[first:last]], kind="mergesort")
    for i in range(order.shape[0]):
        e = grouped[first + order[i]]
        if i > 0:
            f = grouped[first + order[i - 1]]
            if documents[f] == documents[e] or (texts[e] != 0 and texts[f] == texts[e]):
                continue
        out[at] = documents[e]
        at += 1
    out[begin:at].sort()
    return at


@njit(cache=True, nogil=True)
def unite(parent: Kernel, left: Kernel, right: Kernel) -> None:
    """Join the components of each pair; the smaller root stays root, so a root is its component's first member."""
    for e in range(left.shape[0]):
        a = left[e]
        b = right[e]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        elif b < a:
            parent[a] = b


@njit(cache=True, nogil=True)
def number_components(parent: Kernel) -> Kernel:
    """Replace each parent by the number of its component, -1 where a document is alone; returns how many there are."""
    count = 0
    for i in range(parent.shape[0]):
        parent[i] = parent[parent[i]]
    for i in range(parent.shape[0]):
        root = parent[i]
        if root >= 0 and root != i:
            if parent[root] >= 0:
                parent[root] = -2 - count
                count += 1
            parent[i] = parent[root]
    for i in range(parent.shape[0]):
        parent[i] = -1 if parent[i] >= 0 else -2 - parent[i]
    return count


@njit(cache=True, nogil=True)
def least_keys(component: Kernel, documents: Kernel, keys: Kernel, least: Kernel) -> None:
    """Lower ``least`` of each document's component to the keys of its links."""
    for e in range(documents.shape[0]):
        c = component[documents[e]]
        least[c] = min(least[c], keys[e])
