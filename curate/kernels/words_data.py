"""The English rules as arrays for the compiled splitter."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.words_batch import add_answer
from curate.kernels.words_rules import EnglishRules, code_point_classes, english_rules, neutral_rules
from curate.kernels.words_table import fill

STOP_WORDS_MOST = 255

Array = npt.NDArray[Any]


def join(texts: list[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Texts as one byte buffer and offsets."""
    raw = [text.encode("utf-8") for text in texts]
    offsets = np.zeros(len(raw) + 1, np.int64)
    np.cumsum([len(part) for part in raw], out=offsets[1:])
    data = np.frombuffer(b"".join(raw), np.uint8)
    return data, offsets


def lexicon(payloads: dict[str, int]) -> Array:
    """A filled table: text → payload (see ``words_table``); at most half full."""
    table = np.zeros((max(16, 1 << (2 * len(payloads)).bit_length()), 4), np.uint64)
    data, offsets = join(list(payloads))
    fill(data, offsets, np.array(list(payloads.values()), np.uint64), table)
    return table


def _trie(rules: EnglishRules, symbols: dict[str, int]) -> tuple[Array, Array, Array]:
    """``(roots, edges, terminals)`` of the exceptions' token sequences."""
    numbers = {text: number for number, text in enumerate(rules.exceptions, 1)}
    next_node: dict[tuple[int, int], int] = {}
    last: dict[int, int] = {}
    for text, tokens in rules.second_pass.items():
        node = 0
        for token in tokens:
            node = next_node.setdefault((node, symbols[token]), len(next_node) + 1)
        last[node] = numbers[text]
    terminals = np.zeros(len(next_node) + 1, np.int64)
    for node, number in last.items():
        terminals[node] = number
    roots = np.zeros(len(symbols) + 1, np.int64)
    size = 1 << (3 * len(next_node)).bit_length()
    edges = np.zeros((size, 2), np.int64)
    for (node, symbol), target in next_node.items():
        if node == 0:
            roots[symbol] = target
            continue
        key = node << 16 | symbol
        slot = (key * 0x9E3779B97F4A7C15 % (1 << 64) >> 40) & (size - 1)
        while edges[slot, 0]:
            slot = (slot + 1) & (size - 1)
        edges[slot] = key, target
    return roots, edges, terminals


def _payloads(rules: EnglishRules, symbols: dict[str, int], stop_words: tuple[str, ...]) -> dict[str, int]:
    """text → exception number | (stop word | symbol << 8) << 32."""
    stops = {word: number for number, word in reversed(list(enumerate(stop_words, 1)))}
    numbers = {text: number for number, text in enumerate(rules.exceptions, 1)}
    texts = dict.fromkeys([*numbers, *symbols, *stops])
    return {
        text: numbers.get(text, 0) | (stops.get(text, 0) | symbols.get(text, 0) << 8) << 32 for text in texts if text
    }


@lru_cache(maxsize=8)
def english_tables(
    stop_words: tuple[str, ...], neutral: bool = False
) -> tuple[tuple[Any, ...], tuple[Array, Array, Array]]:
    """``(rules, trie)`` as ``words_batch.split_batch`` takes them; ``neutral``: those without English exceptions."""
    rules = neutral_rules() if neutral else english_rules()
    symbols: dict[str, int] = {}
    for tokens in rules.second_pass.values():
        for token in tokens:
            symbols.setdefault(token, len(symbols) + 1)
    for text, tokens in rules.second_pass.items():
        if len(rules.exceptions[text]) > 2 * len(tokens):
            raise ValueError(f"the exception {text!r} more than doubles its tokens: words_batch has no room for that")
    pages, index = code_point_classes()
    table = lexicon(_payloads(rules, symbols, stop_words))
    units = [[ord(ch) for ch in unit] for unit in rules.units]
    unit_starts = np.zeros(len(units) + 1, np.int64)
    np.cumsum([len(unit) for unit in units], out=unit_starts[1:])
    starts = np.zeros(len(rules.exceptions) + 1, np.int64)
    np.cumsum([len(tokens) for tokens in rules.exceptions.values()], out=starts[1:])
    flat = np.array([point for unit in units for point in unit], np.int64)
    rows = np.empty((starts[-1], 3), np.uint64)
    compiled = (pages, index, flat, unit_starts, table, rules.longest_exception, starts, rows)
    _exception_rows(rules, compiled)
    return compiled, _trie(rules, symbols)


def _exception_rows(rules: EnglishRules, compiled: tuple[Any, ...]) -> None:
    """Fills the token rows of all exceptions, spans relative to the exception's own start."""
    data, offsets = join(list(rules.exceptions))
    scratch, state = np.empty((3, 256), np.int64), np.zeros(8, np.int64)
    table = np.zeros((1 << (2 * len(offsets)).bit_length(), 4), np.uint64)
    for number, tokens in enumerate(rules.exceptions.values()):
        ends = np.cumsum([len(token) for token in tokens])
        first, last = int(offsets[number]), int(offsets[number + 1])
        add_answer(data, first, last, ends, state, table, compiled[7], scratch, compiled)
