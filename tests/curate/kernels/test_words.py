from __future__ import annotations

import json
import re
import time
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.hashing import polynomial
from curate.kernels.words import (
    ALPHABETIC,
    ENDS_SENTENCE,
    NON_SYMBOL,
    PUNCTUATION,
    SimpleWords,
    Words,
    WordSplitter,
)
from curate.kernels.words_data import join
from curate.kernels.words_rules import (
    _STORED_UNICODE,
    BIT_NAMES,
    IS_ALPHA,
    PUNCT,
    WORD,
    _with_current_unicode,
    code_point_classes,
    english_rules,
)

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_words.json").read_text("utf-8"))


@cache
def english() -> WordSplitter:
    return WordSplitter()


@cache
def simple() -> SimpleWords:
    return SimpleWords(["the"])


pieces = st.sampled_from(
    [
        *".,:;!?()[]'\"’-–—~/=+*<>_#",
        "...",
        "a",
        "B",
        "he",
        "I",
        "can't",
        "U.S.",
        "5",
        "km",
        ":)",
        ":(",
        "日",
        "é",
        "😀",
        "http://a.com",
        "e.g.",
        "°C.",
        " ",
        " ",
        " ",
        "  ",
        "\n",
        "\xa0",
        "\u200b",
        "́",
        "\x00",
    ]
)
texts = st.one_of(st.lists(pieces, max_size=30).map("".join), st.text(max_size=60))


def words_of(text: str, splitter: Any = None) -> list[str]:
    return (splitter or english()).split(*join([text])).texts(0)


def lists(words: Words) -> list[list[str]]:
    return [words.texts(document) for document in range(len(words.documents) - 1)]


@pytest.mark.parametrize("golden", GOLDEN["texts"], ids=range(len(GOLDEN["texts"])))
def test_words_of_a_text_equal_datatroves(golden: dict[str, Any]) -> None:
    assert words_of(golden["text"]) == golden["words"]


def test_words_of_all_texts_at_once_equal_datatroves() -> None:
    words = english().split(*join([golden["text"] for golden in GOLDEN["texts"]]))
    assert lists(words) == [golden["words"] for golden in GOLDEN["texts"]]


def test_words_of_tricky_chunks_equal_datatroves() -> None:
    words = lists(WordSplitter().split(*join(list(GOLDEN["chunks"]))))
    different = {chunk: mine for (chunk, ref), mine in zip(GOLDEN["chunks"].items(), words, strict=True) if mine != ref}
    assert different == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Canada): (512)", ["Canada", "):", "(", "512", ")"]),
        ("x : ( y", ["x", ":", "(", "y"]),
        ("I can't (he's)", ["I", "ca", "n't", "(", "he", "'s", ")"]),
        ("see http://a.com/b-c.", ["see", "http://a.com/b-c", "."]),
        ("well-known 5km", ["well", "-", "known", "5", "km"]),
        ("IS_ALPHA", ["IS_ALPHA"]),
    ],
)
def test_words_by_hand(text: str, expected: list[str]) -> None:
    assert words_of(text) == expected


@given(texts)
@settings(deadline=None)
def test_words_cover_all_characters_but_whitespace_in_order(text: str) -> None:
    words = words_of(text)
    assert "".join(words) == "".join(ch for ch in text if not ch.isspace())
    assert all(words)


@given(st.lists(texts, max_size=6))
@settings(max_examples=60, deadline=None)
def test_words_do_not_depend_on_the_batch(batch: list[str]) -> None:
    assert lists(english().split(*join(batch))) == [words_of(text) for text in batch]
    assert lists(simple().split(*join(batch))) == [words_of(text, simple()) for text in batch]


@given(st.lists(texts, max_size=4))
@settings(max_examples=60, deadline=None)
def test_table_changes_nothing(batch: list[str]) -> None:
    reference = english().split(*join(batch))
    for limit in (0, 1, 3):
        words = WordSplitter(table_limit=limit).split(*join(batch))
        for name in ("starts", "ends", "documents", "n_chars", "flags", "hashes", "stop_words", "text_chars"):
            assert getattr(words, name).tolist() == getattr(reference, name).tolist(), name


@given(texts)
@settings(deadline=None)
def test_compiled_chunks_equal_the_rules_own_patterns(text: str) -> None:
    for chunk in text.split():
        # one chunk alone: the second pass can only join what the exceptions name
        mine, patterns = words_of(chunk), english_rules().chunk(chunk)
        sequences = [tokens for tokens in english_rules().second_pass.values() if len(tokens) > 1]
        touched = any(patterns[i : i + len(tokens)] == tokens for tokens in sequences for i in range(len(patterns)))
        assert touched or mine == patterns


@given(texts)
@settings(deadline=None)
def test_arrays_describe_their_words(text: str) -> None:
    for splitter in (english(), simple()):
        words = splitter.split(*join([text]))
        for place, word in enumerate(words.texts(0)):
            raw = np.frombuffer(word.encode(), np.uint8)
            assert words.n_chars[place] == len(word)
            assert bool(words.flags[place] & ALPHABETIC) == any(map(str.isalpha, word))
            assert words.hashes[place] == polynomial(raw, 0, len(raw))
        assert words.text_chars.tolist() == [len(text)]


def test_flags_and_stop_words_by_hand() -> None:
    words = english().split(*join(["the The $5 ... ! — 。 € of"]))
    flags = dict(zip(words.texts(0), words.flags.tolist(), strict=True))
    assert flags["the"] == NON_SYMBOL | ALPHABETIC
    assert flags["5"] == NON_SYMBOL
    assert flags["..."] == PUNCTUATION
    assert flags["!"] == flags["。"] == ENDS_SENTENCE | PUNCTUATION
    assert flags["—"] == PUNCTUATION
    assert flags["€"] == NON_SYMBOL
    stops = dict(zip(words.texts(0), words.stop_words.tolist(), strict=True))
    assert (stops["the"], stops["The"], stops["of"]) == (1, 0, 4)


def test_own_stop_words_are_numbered_in_their_order() -> None:
    words = WordSplitter(stop_words=["zwei", "n't"]).split(*join(["can't zwei the"]))
    assert words.stop_words.tolist() == [0, 2, 1, 0]


@given(texts)
@settings(deadline=None)
def test_simple_words_are_runs_of_word_characters(text: str) -> None:
    assert words_of(text, simple()) == re.findall(r"\w+", text)


def test_every_code_point_is_a_word_character_or_not_as_in_python() -> None:
    points = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    text = " ".join(points)
    words = simple().split(*join([text]))
    expected = [ch for ch in points if ch.isalnum() or ch == "_"]
    assert words.texts(0) == expected
    letters = [ch.isalpha() for ch in expected]
    assert ((words.flags & ALPHABETIC) != 0).tolist() == letters


def test_table_is_bounded() -> None:
    splitter = WordSplitter(table_limit=100)
    text = " ".join(f"word{number}" for number in range(5000))
    assert words_of(text, splitter) == words_of(text)
    assert splitter.table_entries <= 100


def test_no_documents_and_documents_without_words() -> None:
    for splitter in (english(), simple()):
        assert lists(splitter.split(np.empty(0, np.uint8), np.zeros(1, np.int64))) == []
        assert lists(splitter.split(*join(["", "   ", "\n"]))) == [[], [], []]


def test_documents_may_start_anywhere_in_the_buffer() -> None:
    data = np.frombuffer(b"skip this one two rest", np.uint8)
    words = english().split(data, np.array([10, 13, 17]))
    assert lists(words) == [["one"], ["two"]]


@pytest.mark.parametrize("offsets", [[], [0, 5, 3], [0, 99], [-1, 2]])
def test_offsets_outside_the_buffer_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets"):
        english().split(np.zeros(10, np.uint8), np.array(offsets, np.int64))


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="SimpleWords"):
        WordSplitter("de")
    with pytest.raises(ValueError, match="table_limit"):
        WordSplitter(table_limit=-1)
    with pytest.raises(ValueError, match="255"):
        SimpleWords([str(n) for n in range(256)])


@pytest.mark.parametrize(
    "hostile",
    [
        "=" * 300000,
        "." * 300000,
        "a" * 300000,
        "a-" * 150000,
        "a.b" * 100000,
        "a:" * 100000 + "@" * 100000,
        "a.bc@" * 60000,
        ":(" * 100000,
        "'s" * 100000,
        "5km" * 100000,
        "́" * 150000,
    ],
    ids=lambda text: text[:5],
)
def test_a_hostile_chunk_costs_linear_time(hostile: str) -> None:
    start = time.process_time()
    words = WordSplitter().split(*join([hostile]))
    assert time.process_time() - start < 5
    assert words.n_chars.sum() == len(hostile)


def test_class_bits_are_in_the_order_that_the_code_expects(repo: Path) -> None:
    raw = json.loads((repo / "curate/kernels/assets/english_words.json").read_text("utf-8"))
    assert raw["bits"] == BIT_NAMES
    assert raw["unicode"] == _STORED_UNICODE


def test_classes_made_for_another_unicode_version_follow_the_running_python() -> None:
    pages, index = _with_current_unicode(*code_point_classes())
    bits = pages[index].reshape(-1)
    for code in [*range(0x3000), *range(0x1F000, 0x1FB00), *range(0x10D00, 0x11000)]:
        ch, found = chr(code), int(bits[code])
        assert bool(found & WORD) == (ch.isalnum() or ch == "_")
        assert bool(found & IS_ALPHA) == ch.isalpha()
        assert bool(found & PUNCT) == unicodedata.category(ch).startswith("P")
    rest = ~np.uint16(WORD | IS_ALPHA | PUNCT)
    stored_pages, stored_index = code_point_classes()
    assert ((bits & rest) == (stored_pages[stored_index].reshape(-1) & rest)).all()


@pytest.mark.parametrize(
    "text",
    [
        "a.com",
        "http://a.bc",
        "x@y.zz",
        "user:pw@host.org:80/x",
        "a:b:c@d.ef",
        "10.0.0.1",
        "8.8.8.8",
        "@a.bc",
        "a@@b.cd",
        "http://",
        "a.b",
        "1.2.3",
        "a.bc/d",
        "a.bc:1",
        "a.bc:12",
        "ftp://u@1.2.3.4/x",
        "é.de",
        "-a.de",
        "a_.de",
    ],
)
def test_url_question_is_answered_as_the_original_pattern_does(text: str) -> None:
    assert english_rules().is_url(text) == bool(re.match(english_rules().url_pattern, text))


@given(st.text(alphabet="ab.:/@-1?", max_size=25))
@settings(deadline=None)
def test_url_question_is_answered_as_the_original_pattern_does_on_any_text(text: str) -> None:
    assert english_rules().is_url(text) == bool(re.match(english_rules().url_pattern, text))
