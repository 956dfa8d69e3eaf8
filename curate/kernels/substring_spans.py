"""Spans of texts: from repeated stretches of units to byte ranges, their union, and the text without them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, njit

Kernel = Any


@njit(cache=True, nogil=True)
def covered(counts: Kernel, documents: Kernel, places: Kernel, n: int) -> Kernel:
    """True for every unit that one of the stretches of ``n`` units covers.

    Args:
        counts: borders of the texts in units, one more than there are texts.
        documents: the text of each stretch.
        places: its first unit within that text; ascending within a text.
        n: units of a stretch.
    """
    out = np.zeros(counts[counts.shape[0] - 1], np.bool_)
    done = int64(0)
    for i in range(documents.shape[0]):
        start = counts[documents[i]] + places[i]
        for u in range(max(start, done), start + n):
            out[u] = True
        done = max(done, start + n)
    return out


@njit(cache=True, nogil=True)
def unit_spans(data: Kernel, offsets: Kernel, borders: Kernel, starts: Kernel, ends: Kernel, marked: Kernel) -> Kernel:
    """The byte ranges of the runs of marked units, shrunk to whole characters.

    Args:
        data: UTF-8 bytes.
        offsets: borders of the texts in bytes.
        borders: borders of the texts in units.
        starts: first byte of each unit.
        ends: byte after its last.
        marked: per unit.

    Returns:
        ``(documents, begins, stops)``: int32 ranges relative to their text, ascending, none empty.
    """
    count = borders.shape[0] - 1
    room = 0
    for u in range(marked.shape[0]):
        room += marked[u] and (u == 0 or not marked[u - 1])
    room += count
    documents = np.empty(room, np.int32)
    begins = np.empty(room, np.int32)
    stops = np.empty(room, np.int32)
    found = 0
    for d in range(count):
        u = borders[d]
        while u < borders[d + 1]:
            if not marked[u]:
                u += 1
                continue
            begin = starts[u]
            while u < borders[d + 1] and marked[u]:
                u += 1
            stop = ends[u - 1]
            while begin < stop and data[begin] & 0xC0 == 0x80:
                begin += 1
            while stop > begin and stop < offsets[d + 1] and data[stop] & 0xC0 == 0x80:
                stop -= 1
            if begin < stop:
                documents[found] = d
                begins[found] = begin - offsets[d]
                stops[found] = stop - offsets[d]
                found += 1
    return documents[:found].copy(), begins[:found].copy(), stops[:found].copy()


@njit(cache=True, nogil=True)
def _is_space(byte: int) -> Kernel:
    return byte == 32 or 9 <= byte <= 13


@njit(cache=True, nogil=True)
def without_spans(data: Kernel, offsets: Kernel, documents: Kernel, begins: Kernel, stops: Kernel) -> Kernel:
    """The texts without the spans, seams tidied as ``curate.dedup.cutting`` says.

    Args:
        data: UTF-8 bytes.
        offsets: borders of the texts.
        documents: the text of each span, ascending.
        begins: first byte of each span in ``data``, ascending; spans may overlap, none is empty.
        stops: byte after its last.

    Returns:
        ``(out, borders)``: the new texts.
    """
    count = offsets.shape[0] - 1
    out = np.empty(offsets[count] - offsets[0], np.uint8)
    borders = np.zeros(count + 1, np.int64)
    s = 0
    o = 0
    for d in range(count):
        i = offsets[d]
        end = offsets[d + 1]
        while s < documents.shape[0] and documents[s] == d:
            o = _copy(data, i, begins[s], out, o)
            stop = stops[s]
            after = stop
            joined = True
            while joined:  # spans that overlap, touch, or have white space alone between them, are one
                s += 1
                while after < end and _is_space(data[after]):
                    after += 1
                joined = s < documents.shape[0] and documents[s] == d and begins[s] <= after
                if joined and stops[s] > stop:
                    stop = stops[s]
                    after = max(after, stop)
            o = _seam(data, stop, after, after == end, out, borders[d], o)
            i = after
        borders[d + 1] = o = _copy(data, i, end, out, o)
    return out[:o].copy(), borders


@njit(cache=True, nogil=True)
def _seam(data: Kernel, stop: int, after: int, at_end: bool, out: Kernel, begin: int, o: int) -> Kernel:
    """Settle the white space on both sides of a seam: ``out[…:o]`` before it, ``data[stop:after]`` behind it."""
    left = o
    while left > begin and _is_space(out[left - 1]):
        left -= 1
    if at_end:
        return left
    if left == begin:
        return begin
    if left == o:
        return _copy(data, stop, after, out, o)
    lines_before = 0
    for j in range(left, o):
        lines_before += out[j] == 10
    lines_after = 0
    for j in range(stop, after):
        lines_after += data[j] == 10
    if lines_after > lines_before:
        return _copy(data, stop, after, out, left)
    return o


@njit(cache=True, nogil=True)
def _copy(data: Kernel, start: int, stop: int, out: Kernel, o: int) -> Kernel:
    for j in range(start, stop):
        out[o] = data[j]
        o += 1
    return o
