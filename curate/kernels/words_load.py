"""Compiled helpers that fill the splitter's constant tables."""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from curate.kernels.hashing import slice_key
from curate.kernels.words_english import decode, describe
from curate.kernels.words_table import find, put


@njit(cache=True, nogil=True)
def fill_lexicon(data, offsets, payloads, table):  # type: ignore[no-untyped-def]
    """Enters every text with its payload; texts are distinct and not empty."""
    for t in range(payloads.shape[0]):
        length = offsets[t + 1] - offsets[t]
        w0, w1 = slice_key(data, offsets[t], offsets[t + 1])
        put(table, find(table, w0, w1, length), w0, w1, length, 0, uint64(payloads[t]))


@njit(cache=True, nogil=True)
def describe_all(data, offsets, groups, pages, index, table, out):  # type: ignore[no-untyped-def]
    """Token rows of all exceptions; spans relative to the exception's own start. ``groups``: first token of each."""
    points = np.empty(256, np.int64)
    places = np.empty(256, np.int64)
    for g in range(groups.shape[0] - 1):
        base = offsets[groups[g]]
        for t in range(groups[g], groups[g + 1]):
            n = decode(data, offsets[t], offsets[t + 1], points, places)
            a = offsets[t] - base
            b = offsets[t + 1] - base
            describe(data, base, a, b, points, 0, n, pages, index, table, out[t])
