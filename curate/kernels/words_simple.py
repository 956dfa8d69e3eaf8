"""Runs of word characters (``\\w``), compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, njit

from curate.kernels.words_data import lexicon
from curate.kernels.words_english import bits_of, decode, describe
from curate.kernels.words_rules import WORD, code_point_classes


def simple_tables(stop_words: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Class pages, their index, and the stop words' table."""
    pages, index = code_point_classes()
    numbers = {word: number << 32 for number, word in reversed(list(enumerate(stop_words, 1))) if word}
    return pages, index, lexicon(numbers)


@njit(cache=True, nogil=True)
def _width(data, i):  # type: ignore[no-untyped-def]
    c = data[i]
    return 1 if c < 0x80 else 2 if c < 0xE0 else 3 if c < 0xF0 else 4


@njit(cache=True, nogil=True)
def _point(data, i):  # type: ignore[no-untyped-def]
    c = int64(data[i])
    if c < 0x80:
        return c
    if c < 0xE0:
        return (c & 31) << 6 | (int64(data[i + 1]) & 63)
    if c < 0xF0:
        return (c & 15) << 12 | (int64(data[i + 1]) & 63) << 6 | (int64(data[i + 2]) & 63)
    c = (c & 7) << 18 | (int64(data[i + 1]) & 63) << 12 | (int64(data[i + 2]) & 63) << 6
    return c | int64(data[i + 3]) & 63


@njit(cache=True, nogil=True)
def count_words(data, offsets, pages, index, documents):  # type: ignore[no-untyped-def]
    """First word of each document, and the number of words in the last place."""
    n = 0
    for d in range(offsets.shape[0] - 1):
        documents[d] = n
        inside = False
        i = offsets[d]
        while i < offsets[d + 1]:
            word = (bits_of(pages, index, _point(data, i)) & WORD) != 0
            n += word and not inside
            inside = word
            i += _width(data, i)
    documents[offsets.shape[0] - 1] = n


@njit(cache=True, nogil=True)
def split_simple(data, offsets, tables, documents, starts, ends, rows):  # type: ignore[no-untyped-def]
    """Fills spans and token rows (see ``words_english``) of all words."""
    pages, index, table = tables
    points = np.empty(64, np.int64)
    places = np.empty(64, np.int64)
    row = np.empty(3, np.uint64)
    k = 0
    for d in range(offsets.shape[0] - 1):
        end = offsets[d + 1]
        i = offsets[d]
        while i < end:
            start = i
            while i < end and bits_of(pages, index, _point(data, i)) & WORD:
                i += _width(data, i)
            if i == start:
                i += _width(data, i)
                continue
            if points.shape[0] <= i - start + 1:
                points = np.empty(2 * (i - start) + 2, np.int64)
                places = np.empty(2 * (i - start) + 2, np.int64)
            n = decode(data, start, i, points, places)
            describe(data, start, 0, i - start, points, 0, n, pages, index, table, row)
            starts[k] = start
            ends[k] = i
            rows[k, 0] = row[1]
            rows[k, 1] = row[2]
            k += 1
