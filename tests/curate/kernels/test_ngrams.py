from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.ngrams import DUPLICATE_SIZES, REPETITION, TOP_SIZES, counts, repetition
from curate.kernels.words import SimpleWords, WordSplitter
from curate.kernels.words_data import join

GOLDEN: list[dict[str, Any]] = json.loads(Path(__file__).with_name("golden_words.json").read_text("utf-8"))["texts"]
COUNTS = ("n_words", "n_non_symbol_words", "mean_word_length", "n_alpha_words", "n_stop_words")


@cache
def english() -> WordSplitter:
    return WordSplitter()


def values_of(*texts: str, splitter: Any = None) -> dict[str, list[float]]:
    words = (splitter or english()).split(*join(list(texts)))
    return {name: found.tolist() for name, found in {**repetition(words), **counts(words)}.items()}


def by_definition(words: list[str], size: int) -> list[float]:
    """Gopher's nine values, written down plainly: most frequent n-gram, then n-grams seen before."""
    result = []
    for n in TOP_SIZES:
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        gram, times = grams.most_common(1)[0] if grams else ((), 0)
        result.append(len(" ".join(gram)) * times / size)
    for n in DUPLICATE_SIZES:
        seen: set[str] = set()
        repeated = place = 0
        while place + n <= len(words):
            gram_text = "".join(words[place : place + n])
            known = gram_text in seen
            seen.add(gram_text)
            repeated += len(gram_text) if known else 0
            place += n if known else 1
        result.append(repeated / size)
    return result


@pytest.mark.parametrize("golden", [g for g in GOLDEN if g["words"]], ids=lambda g: g["text"][:20])
def test_values_equal_datatroves(golden: dict[str, Any]) -> None:
    found = values_of(golden["text"])
    mine = [found[name][0] for name in (*REPETITION, *COUNTS)]
    mine = [-1.0 if np.isnan(value) else value for value in mine]
    assert mine == golden["values"]


def test_values_of_a_batch_equal_those_of_its_documents() -> None:
    texts = [golden["text"] for golden in GOLDEN]
    together, alone = values_of(*texts), [values_of(text) for text in texts]
    for name, column in together.items():
        assert np.array_equal(column, [one[name][0] for one in alone], equal_nan=True), name


def test_a_text_without_words_has_no_values() -> None:
    found = values_of("", " \n ", "word")
    for name in (*REPETITION, "mean_word_length", "alpha_fraction"):
        assert np.isnan(found[name][:2]).all(), name
        assert not np.isnan(found[name][2]), name
    assert found["n_words"] == [0, 0, 1]


def test_no_documents_give_empty_columns() -> None:
    assert all(column == [] for column in values_of().values())


def test_most_frequent_pair_by_hand() -> None:
    # "a b" twice (3 characters), "b a" and the rest once: 6 of 7 characters
    assert values_of("a b a b")["top_2_gram"] == [6 / 7]


def test_among_equally_frequent_pairs_the_first_counts() -> None:
    # "aa bb" and "c d" both occur twice; the first to appear is the longer one
    assert values_of("aa bb x c d y aa bb z c d")["top_2_gram"] == [10 / 25]
    assert values_of("c d y aa bb x c d z aa bb")["top_2_gram"] == [6 / 25]


def test_repeated_five_grams_by_hand() -> None:
    # the second "a b c d e" is seen before: 5 characters without spaces, of 19
    assert values_of("a b c d e a b c d e")["duplicated_5_grams"] == [5 / 19]


def test_duplicates_are_compared_without_spaces_as_datatrove_does() -> None:
    # "ab c d e f" and "a bc d e f" are the same five words once the spaces are gone
    assert values_of("ab c d e f a bc d e f")["duplicated_5_grams"] == [6 / 21]


def test_counts_by_hand() -> None:
    found = values_of("The cat, the dog: 12 of the 3!")
    assert (found["n_words"], found["n_non_symbol_words"], found["n_alpha_words"]) == ([11], [8], [6])
    assert found["mean_word_length"] == [(3 + 3 + 3 + 3 + 2 + 2 + 3 + 1) / 8]
    assert found["alpha_fraction"] == [6 / 11]
    assert found["n_stop_words"] == [2]  # "the", "of"; "The" is another word


@given(st.lists(st.sampled_from(["a", "b", "ab", "ba", "c", "é", "日本", "x" * 70, "."]), max_size=80))
@settings(max_examples=150, deadline=None)
def test_values_equal_the_definition(words: list[str]) -> None:
    text = " ".join(words)
    split = english().split(*join([text])).texts(0)
    found = values_of(text)
    if split:
        assert [found[name][0] for name in REPETITION] == by_definition(split, len(text))


@given(st.lists(st.text(alphabet="ab cé", max_size=60), max_size=5))
@settings(max_examples=60, deadline=None)
def test_simple_words_are_counted_by_the_same_definition(texts: list[str]) -> None:
    found = values_of(*texts, splitter=SimpleWords())
    for place, text in enumerate(texts):
        words = text.split()
        if words:
            assert [found[name][place] for name in REPETITION] == by_definition(words, len(text))


def test_a_long_document_beside_short_ones() -> None:
    long = " ".join(f"w{number % 5000}" for number in range(100_000))
    found = values_of("a b a b", long, "a b a b")
    words = long.split()
    assert [found[name][1] for name in REPETITION] == by_definition(words, len(long))
    assert found["top_2_gram"][0] == found["top_2_gram"][2] == 6 / 7
