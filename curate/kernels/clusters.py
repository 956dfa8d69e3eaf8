"""Equal keys to buckets, buckets to pairs, pairs to components and survivors: the integer work of duplicate removal.

Documents are numbered by rank: 0 is the one that the config prefers most. All results depend on ranks only, never on
the order in which documents arrived.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, njit, uint64

Kernel = Any

#: Why a document was dropped, in the ``kind`` that ``survivors`` returns.
KEPT, SAME_TEXT, SAME_URL, SIMILAR, SAME_CONTENT = 0, 1, 2, 3, 4


@njit(cache=True, nogil=True)
def equal_groups(keys: Kernel, members: Kernel) -> Kernel:
    """Members that share a key with another, grouped.

    Args:
        keys: well mixed 64-bit keys.
        members: rank of the document of each key.

    Returns:
        ``(grouped, borders)``: group ``g`` is ``grouped[borders[g]:borders[g + 1]]``, ascending, at least two. A member
        that has a key twice counts once.
    """
    keys, members = _not_alone(keys, members)
    count = keys.shape[0]
    bins = 1
    while bins < count // 8 and bins < 65536:
        bins *= 2
    mask = uint64(bins - 1)
    ends = np.zeros(bins + 1, np.int64)
    for i in range(count):
        ends[int64(keys[i] & mask) + 1] += 1
    for b in range(bins):
        ends[b + 1] += ends[b]
    place = ends[:-1].copy()
    binned_keys = np.empty(count, np.uint64)
    binned = np.empty(count, members.dtype)
    for i in range(count):
        b = int64(keys[i] & mask)
        binned_keys[place[b]] = keys[i]
        binned[place[b]] = members[i]
        place[b] += 1
    for b in range(bins):
        _sort_stably(binned_keys[ends[b] : ends[b + 1]], binned[ends[b] : ends[b + 1]])
    return _runs(binned_keys, binned)


@njit(cache=True, nogil=True)
def _not_alone(keys: Kernel, members: Kernel) -> Kernel:
    """The keys that may occur more than once; most keys do not, and a bit per eighth of a key tells them apart."""
    count = keys.shape[0]
    words = 1
    while words * 64 < 8 * count:
        words *= 2
    mask = uint64(words - 1)
    seen = np.zeros(words, np.uint64)
    again = np.zeros(words, np.uint64)
    for i in range(count):
        word = int64((keys[i] >> uint64(16)) & mask)
        bit = uint64(1) << ((keys[i] >> uint64(10)) & uint64(63))
        again[word] |= seen[word] & bit
        seen[word] |= bit
    kept_keys = np.empty(count, np.uint64)
    kept = np.empty(count, members.dtype)
    k = 0
    for i in range(count):
        bit = uint64(1) << ((keys[i] >> uint64(10)) & uint64(63))
        kept_keys[k] = keys[i]
        kept[k] = members[i]
        k += (again[int64((keys[i] >> uint64(16)) & mask)] & bit) != 0
    return kept_keys[:k], kept[:k]


@njit(cache=True, nogil=True)
def keys_between(matrix: Kernel, chosen: Kernel, ranks: Kernel, low: int, high: int) -> Kernel:
    """The keys of a range, and whose they are.

    Args:
        matrix: documents × bands, uint64.
        chosen: per document, whether its keys count.
        ranks: per document.
        low: least key, uint64.
        high: greatest key, uint64.

    Returns:
        ``(keys, members)``.
    """
    found = 0
    for d in range(matrix.shape[0]):
        if chosen[d]:
            for b in range(matrix.shape[1]):
                found += low <= matrix[d, b] <= high
    keys = np.empty(found, np.uint64)
    members = np.empty(found, np.int32)
    k = 0
    for d in range(matrix.shape[0]):
        if chosen[d]:
            for b in range(matrix.shape[1]):
                if low <= matrix[d, b] <= high:
                    keys[k] = matrix[d, b]
                    members[k] = ranks[d]
                    k += 1
    return keys, members


@njit(cache=True, nogil=True)
def _sort_stably(keys: Kernel, members: Kernel) -> None:
    if keys.shape[0] > 64:
        order = np.argsort(keys, kind="mergesort")
        keys[:] = keys[order]
        members[:] = members[order]
        return
    for i in range(1, keys.shape[0]):
        key = keys[i]
        member = members[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            members[j] = members[j - 1]
            j -= 1
        keys[j] = key
        members[j] = member


@njit(cache=True, nogil=True)
def _runs(keys: Kernel, members: Kernel) -> Kernel:
    """Runs of equal keys with at least two different members; sorts the members of each run."""
    grouped = np.empty(keys.shape[0], np.int64)
    borders = np.zeros(keys.shape[0] // 2 + 1, np.int64)
    groups = 0
    k = 0
    i = 0
    while i < keys.shape[0]:
        j = i
        begin = k
        while j < keys.shape[0] and keys[j] == keys[i]:
            j += 1
        if j - i > 1:
            members[i:j].sort()
            for m in range(i, j):
                if k == begin or grouped[k - 1] != members[m]:
                    grouped[k] = members[m]
                    k += 1
            if k - begin < 2:
                k = begin
            else:
                groups += 1
                borders[groups] = k
        i = j
    return grouped[:k].copy(), borders[: groups + 1].copy()


@njit(cache=True, nogil=True)
def first_pairs(grouped: Kernel, borders: Kernel, small: int, fixed: int) -> Kernel:
    """All pairs of groups of at most ``small`` members; of larger ones the first member with every other.

    Pairs of two members below ``fixed`` are left out.

    Returns:
        uint64 codes ``left << 32 | right`` with left < right, with repeats.
    """
    total = 0
    for g in range(borders.shape[0] - 1):
        size = borders[g + 1] - borders[g]
        total += size * (size - 1) // 2 if size <= small else size - 1
    codes = np.empty(total, np.uint64)
    k = 0
    for g in range(borders.shape[0] - 1):
        size = borders[g + 1] - borders[g]
        for i in range(borders[g], borders[g + 1] if size <= small else borders[g] + 1):
            for j in range(i + 1, borders[g + 1]):
                if grouped[j] >= fixed:
                    codes[k] = uint64(grouped[i]) << uint64(32) | uint64(grouped[j])
                    k += 1
    return codes[:k].copy()


@njit(cache=True, nogil=True)
def open_pairs(
    grouped: Kernel, borders: Kernel, alive: Kernel, known: Kernel, fixed: int, leaders: int, bound: int, room: int
) -> Kernel:
    """Pairs of large groups whose members both still stand and that have not been compared.

    Args:
        grouped: members of the large groups.
        borders: likewise.
        alive: per rank, whether the document still stands.
        known: sorted codes of compared pairs.
        fixed: pairs of two ranks below this are never given.
        leaders: members per group whose open pairs are given in this round.
        bound: members per group, from the first, whose pairs are ever given.
        room: stop after about so many pairs.

    Returns:
        ``(codes, beyond)``: codes with repeats, and how many pairs lie beyond ``bound``, over all groups.
    """
    codes = np.empty(1024, np.uint64)
    k = 0
    beyond = 0
    standing = np.empty(grouped.shape[0], np.int64)
    for g in range(borders.shape[0] - 1):
        n = 0
        for i in range(borders[g], borders[g + 1]):
            if alive[grouped[i]]:
                standing[n] = grouped[i]
                n += 1
        if n > bound:
            beyond += (n - bound) * (n - bound - 1) // 2
            old = 0
            while bound + old < n and standing[bound + old] < fixed:
                old += 1
            beyond -= old * (old - 1) // 2
        used = 0
        for i in range(min(n, bound)):
            before = k
            for j in range(i + 1, n):
                code = uint64(standing[i]) << uint64(32) | uint64(standing[j])
                if standing[j] >= fixed and not _contains(known, code):
                    if k == codes.shape[0]:
                        codes = np.concatenate((codes, np.empty_like(codes)))
                    codes[k] = code
                    k += 1
            used += k > before
            if used == leaders or k >= room:
                break
        if k >= room:
            break
    return codes[:k].copy(), beyond


@njit(cache=True, nogil=True)
def _contains(ordered: Kernel, value: int) -> Kernel:
    low = 0
    high = ordered.shape[0]
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < ordered.shape[0] and ordered[low] == value


@njit(cache=True, nogil=True)
def components(count: int, left: Kernel, right: Kernel) -> Kernel:
    """The smallest member of the component of each of ``count`` nodes (union-find, smaller root wins)."""
    parent = np.arange(count)
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
    for i in range(count):
        parent[i] = parent[parent[i]]
    return parent


@njit(cache=True, nogil=True)
def neighbours(count: int, left: Kernel, right: Kernel) -> Kernel:
    """``(borders, edges)``: the numbers of the edges at each node, ascending."""
    borders = np.zeros(count + 1, np.int64)
    for e in range(left.shape[0]):
        borders[left[e] + 1] += 1
        borders[right[e] + 1] += 1
    for i in range(count):
        borders[i + 1] += borders[i]
    place = borders[:-1].copy()
    edges = np.empty(2 * left.shape[0], np.int64)
    for e in range(left.shape[0]):
        edges[place[left[e]]] = e
        place[left[e]] += 1
        edges[place[right[e]]] = e
        place[right[e]] += 1
    return borders, edges


@njit(cache=True, nogil=True)
def survivors(
    text_group: Kernel, url_group: Kernel, content_group: Kernel, first: Kernel, fixed: int, left: Kernel,
    right: Kernel, similarity: Kernel, borders: Kernel, edges: Kernel,
) -> Kernel:  # fmt: skip
    """Who stays: each document in turn, unless one that stays already has its text, address, content, or is similar.

    Args:
        text_group: per rank, number of its group of equal texts.
        url_group: per rank, number of its group of equal addresses; -1 if it has none.
        content_group: likewise for fetched contents.
        first: per text group, its first rank, which stands for it in the edges.
        fixed: ranks below this stay, whatever they are like.
        left: one end of each edge between similar first documents.
        right: the other end.
        similarity: of each edge.
        borders: from ``neighbours``.
        edges: likewise.

    Returns:
        ``(survivor, kind, edge, holder)``: per rank, the rank that stays in its place (itself if it stays), why, and
        by which edge (-1: none); per text group, the rank that holds it, -1 if none. Among several similar survivors
        the most similar is named, then the first.
    """
    count = text_group.shape[0]
    survivor = np.arange(count)
    kind = np.zeros(count, np.int8)
    edge = np.full(count, -1, np.int64)
    holder = np.full(first.shape[0], -1, np.int64)
    url_holder = np.full(count, -1, np.int64)
    content_holder = np.full(count, -1, np.int64)
    for d in range(count):
        g = text_group[d]
        u = url_group[d]
        c = content_group[d]
        if d < fixed:
            if holder[g] < 0:
                holder[g] = d
            if u >= 0 and url_holder[u] < 0:
                url_holder[u] = d
            if c >= 0 and content_holder[c] < 0:
                content_holder[c] = d
            continue
        if holder[g] >= 0:
            survivor[d] = holder[g]
            kind[d] = SAME_TEXT
            continue
        if u >= 0 and url_holder[u] >= 0:
            survivor[d] = url_holder[u]
            kind[d] = SAME_URL
            continue
        if c >= 0 and content_holder[c] >= 0:
            survivor[d] = content_holder[c]
            kind[d] = SAME_CONTENT
            continue
        best = -1
        node = first[g]
        for p in range(borders[node], borders[node + 1]):
            e = edges[p]
            s = holder[text_group[right[e] if left[e] == node else left[e]]]
            if s >= 0 and (
                best < 0 or similarity[e] > similarity[best] or (similarity[e] == similarity[best] and s < survivor[d])
            ):
                best = e
                survivor[d] = s
        if best >= 0:
            kind[d] = SIMILAR
            edge[d] = best
            continue
        holder[g] = d
        if u >= 0:
            url_holder[u] = d
        if c >= 0:
            content_holder[c] = d
    return survivor, kind, edge, holder
