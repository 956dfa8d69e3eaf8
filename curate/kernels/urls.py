"""URLs against block lists: hashes of hosts, words, extensions and whole addresses, looked up for a batch at a time.

Lists are sorted arrays of 64-bit hashes (four million hosts take 36 MB); a wrong hit has a chance of about 10^-12 per
look-up in the largest list.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.lines import frozen
from curate.kernels.strings import Bytes, Offsets

#: what a list holds
HOSTS, URLS, EXTENSIONS, WORDS, SOFT_WORDS, SUBWORDS, ALLOWED = range(7)
N_KINDS = 7
#: verdict of a URL whose host has to be put into ASCII first
ODD = 100

_LONGEST_EXTENSION = 10
_LONGEST_SUBWORD = 64


class HashList(NamedTuple):
    """Entries of one kind: hashes in ascending order, and which list each came from."""

    keys: npt.NDArray[np.uint64]
    source: npt.NDArray[np.int16]

    @classmethod
    def merge(cls, parts: list[tuple[npt.NDArray[np.uint64], int]]) -> HashList:
        """Of several lists; an entry that several have is put down to the first."""
        keys = np.concatenate([part for part, _ in parts] or [np.empty(0, np.uint64)])
        source = np.concatenate(
            [np.full(len(part), index, np.int16) for part, index in parts] or [np.empty(0, np.int16)]
        )
        unique, first = np.unique(keys, return_index=True)
        return cls(unique, source[first])


class Matches(NamedTuple):
    """Per URL: the kind of list that matched (-1: none), which list, and how many soft words were counted."""

    kind: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    soft: npt.NDArray[np.int64]


def hash_lines(data: Bytes, kind: int, *, dotted: bool = False) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(hash of every line that is an entry, its length); blank lines and those that start with ``#`` or ``!`` are not.

    Of a line of a hosts file (``0.0.0.0 host``) the last word counts.

    Args:
        dotted: take hosts with a dot only; a bare top level would block all hosts in it.
    """
    keys = np.empty(int((data == 10).sum()) + 1, np.uint64)
    lengths = np.empty(len(keys), np.int64)
    n = _hash_lines(frozen(data), kind, dotted, keys, lengths)
    return keys[:n], lengths[:n]


def match_urls(data: Bytes, offsets: Offsets, lists: list[HashList], lengths: list[int], soft_words: int) -> Matches:
    """What each URL matches, in the order of the kinds; a host in ALLOWED matches nothing.

    Args:
        lists: one per kind, in the order of the constants of this module.
        lengths: lengths in bytes of the entries of SUBWORDS.
        soft_words: how many distinct soft words block.
    """
    flags = np.zeros(_LONGEST_SUBWORD + 1, np.bool_)
    flags[[length for length in lengths if length <= _LONGEST_SUBWORD]] = True
    longest = int(np.flatnonzero(flags).max(initial=0))
    n = len(offsets) - 1
    out = Matches(np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64))
    keys, sources = tuple(item.keys for item in lists), tuple(item.source for item in lists)
    _match(frozen(data), offsets, keys, sources, flags, longest, soft_words, out.kind, out.source, out.soft)
    return out


@njit(cache=True, nogil=True)
def _lower(byte: Any) -> Any:
    return np.uint64(byte + 32) if 65 <= byte <= 90 else np.uint64(byte)


@njit(cache=True, nogil=True)
def _add(key: Any, byte: Any) -> Any:
    return (key ^ byte) * np.uint64(1099511628211)


@njit(cache=True, nogil=True)
def _mixed(key: Any) -> Any:
    """FNV's weak low bits spread over the word (the finaliser of MurmurHash3)."""
    key = (key ^ (key >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    key = (key ^ (key >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return key ^ (key >> np.uint64(33))


@njit(cache=True, nogil=True)
def _start() -> Any:
    return np.uint64(14695981039346656037)


@njit(cache=True, nogil=True)
def _hash_word(data: Any, start: int, end: int) -> Any:
    key = _start()
    for k in range(start, end):
        key = _add(key, _lower(data[k]))
    return _mixed(key)


@njit(cache=True, nogil=True)
def _hash_host(data: Any, start: int, end: int) -> Any:
    """From the right, so that all suffixes of a host are hashed on the way."""
    key = _start()
    for k in range(end - 1, start - 1, -1):
        key = _add(key, _lower(data[k]))
    return _mixed(key)


@njit(cache=True, nogil=True)
def _look(keys: Any, key: Any) -> Any:
    """Where ``key`` stands in the sorted ``keys``; -1 if it does not."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(keys) and keys[low] == key else -1


@njit(cache=True, nogil=True)
def _parts(data: Any, start: int, end: int) -> tuple[int, int, int, int]:
    """(host start, host end, path start, end without fragment) of a URL; user name and password are passed over."""
    at = start
    while at < end and at - start < 32 and (97 <= (data[at] | 32) <= 122 or 43 <= data[at] <= 57):
        if data[at] == 47:
            break
        at += 1
    if at + 2 < end and data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47:
        start = at + 3
    elif start + 1 < end and data[start] == 47 and data[start + 1] == 47:
        start += 2
    path = start
    while path < end and data[path] not in (47, 63, 35, 92):
        path += 1
    host = start
    for k in range(start, path):
        if data[k] == 64:
            host = k + 1
    stop = path
    if host < path and data[host] == 91:
        for k in range(host, path):
            if data[k] == 93:
                stop = k + 1
    else:
        for k in range(host, path):
            if data[k] == 58:
                stop = k
                break
    while stop > host and data[stop - 1] == 46:
        stop -= 1
    last = path
    while last < end and data[last] != 35:
        last += 1
    return host, stop, path, last


@njit(cache=True, nogil=True)
def _hash_url(data: Any, start: int, end: int) -> Any:
    """Host in lower case, path and query as they are; no scheme, user, port, fragment or slash at the end."""
    host, stop, path, last = _parts(data, start, end)
    key = _start()
    for k in range(host, stop):
        key = _add(key, _lower(data[k]))
    while last > path and data[last - 1] == 47:
        last -= 1
    for k in range(path, last):
        key = _add(key, np.uint64(data[k]))
    return _mixed(key)


@njit(cache=True, nogil=True)
def _has_dot(data: Any, start: int, end: int) -> bool:
    for k in range(start, end):  # noqa: SIM110 -- generators are not compiled
        if data[k] == 46:
            return True
    return False


@njit(cache=True, nogil=True)
def _hash_lines(data: Any, kind: int, dotted: bool, keys: Any, lengths: Any) -> int:
    n, at, size = 0, 0, len(data)
    while at < size:
        end = at
        while end < size and data[end] != 10:
            end += 1
        start, stop = at, end
        at = end + 1
        while start < stop and data[start] <= 32:
            start += 1
        while stop > start and data[stop - 1] <= 32:
            stop -= 1
        if start == stop or data[start] in (35, 33):
            continue
        if kind in (0, 6):
            for k in range(start, stop):
                if data[k] <= 32:
                    start = k + 1
            while start < stop and data[start] in (46, 42):  # .example.com and *.example.com
                start += 1
            while stop > start and data[stop - 1] == 46:
                stop -= 1
            if dotted and not _has_dot(data, start, stop):
                continue
            keys[n] = _hash_host(data, start, stop)
        elif kind == 1:
            keys[n] = _hash_url(data, start, stop)
        else:
            if kind == 2 and data[start] == 46:
                start += 1
            keys[n] = _hash_word(data, start, stop)
        lengths[n] = stop - start
        n += start < stop
    return n


@njit(cache=True, nogil=True)
def _find_host(data: Any, start: int, end: int, keys: Any) -> int:
    """The entry for the host or one of the domains it is in; the longest domain wins."""
    found, key = -1, _start()
    for k in range(end - 1, start - 1, -1):
        key = _add(key, _lower(data[k]))
        if k == start or data[k - 1] == 46:
            at = _look(keys, _mixed(key))
            if at >= 0:
                found = at
    return found


@njit(cache=True, nogil=True)
def _find_extension(data: Any, start: int, end: int, keys: Any) -> Any:
    """The entry for the extension of the path's last segment."""
    stop = start
    while stop < end and data[stop] != 63:
        stop += 1
    k = stop - 1
    while k > start and data[k] not in (46, 47):
        k -= 1
    if k <= start or data[k] != 46 or not 0 < stop - k - 1 <= _LONGEST_EXTENSION:
        return -1
    return _look(keys, _hash_word(data, k + 1, stop))


@njit(cache=True, nogil=True)
def _word_byte(byte: Any) -> Any:
    return 48 <= byte <= 57 or 97 <= (byte | 32) <= 122 or byte >= 128


@njit(cache=True, nogil=True)
def _find_words(data: Any, start: int, end: int, keys: Any, most: int) -> tuple[int, int]:
    """(an entry that is a word of the URL or -1, distinct entries met, counted up to ``most``)."""
    found, count = -1, 0
    seen = np.zeros(most, np.int64)
    at = start
    while at < end and count < most:
        if not _word_byte(data[at]):
            at += 1
            continue
        stop = at
        while stop < end and _word_byte(data[stop]):
            stop += 1
        entry = _look(keys, _hash_word(data, at, stop))
        if entry >= 0:
            new = True
            for k in range(count):
                new = new and seen[k] != entry
            if new:
                seen[count] = entry
                count += 1
                found = entry
        at = stop
    return found, count


@njit(cache=True, nogil=True)
def _find_subword(data: Any, start: int, end: int, keys: Any, lengths: Any, longest: int) -> Any:
    """An entry that stands anywhere in the letters and digits of the URL, run together."""
    letters = np.empty(end - start, np.uint64)
    n = 0
    for k in range(start, end):
        if _word_byte(data[k]):
            letters[n] = _lower(data[k])
            n += 1
    for first in range(n):
        key = _start()
        for k in range(first, min(n, first + longest)):
            key = _add(key, letters[k])
            if lengths[k - first + 1]:
                entry = _look(keys, _mixed(key))
                if entry >= 0:
                    return entry
    return -1


@njit(cache=True, nogil=True)
def _match(
    data: Any, offsets: Any, keys: Any, sources: Any, lengths: Any, longest: int, soft_words: int,
    kind: Any, source: Any, soft: Any,
) -> None:  # fmt: skip
    for i in range(len(offsets) - 1):
        start, end = offsets[i], offsets[i + 1]
        while start < end and data[start] <= 32:
            start += 1
        host, stop, path, last = _parts(data, start, end)
        odd = False
        for k in range(host, stop):
            odd = odd or data[k] >= 128 or data[k] == 37
        if odd:
            kind[i] = 100
            continue
        if _find_host(data, host, stop, keys[6]) >= 0:
            continue
        found, which = _find_host(data, host, stop, keys[0]), 0
        if found < 0 and len(keys[1]):
            found, which = _look(keys[1], _hash_url(data, start, end)), 1
        if found < 0 and len(keys[2]):
            found, which = _find_extension(data, path, last, keys[2]), 2
        if found < 0 and len(keys[3]):
            (found, _), which = _find_words(data, host, end, keys[3], 1), 3
        if found < 0 and len(keys[4]):
            (entry, soft[i]), which = _find_words(data, host, end, keys[4], soft_words), 4
            found = entry if soft[i] >= soft_words else -1
        if found < 0 and longest:
            found, which = _find_subword(data, host, end, keys[5], lengths, longest), 5
        if found >= 0:
            kind[i] = which
            source[i] = sources[which][found]
