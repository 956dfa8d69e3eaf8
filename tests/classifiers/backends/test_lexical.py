"""Rule scores and readability: by hand on small texts, and against the plain definitions on odd ones."""

from __future__ import annotations

import math
import re
import string
import unicodedata
import zlib
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.contract import Rater, SharedTexts, rater_stage
from classifiers.texts import Texts
from curate.documents import Batch
from curate.kernels.rule_scores import normalised_counts, raw_counts
from curate.stages.base import Context

PIECES = st.sampled_from(
    ["the ", "The", "cat", " dog. ", "A.B", "!?", "...", "\n", "\n\n", "\r\n", "don't ", "12 ", "½", "É", "é", "ü ", 
     "Ω", "ΑΣ ", "東京。",
     "\u2028", "\xa0", "\x0b", "_", "#", "”", "e\u0301", "🙂", "İ", "x" * 20, "\t", "Ⅷ ", "a a a "]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map("".join))


@lru_cache(maxsize=2)
def _rater(card: str) -> Rater:
    rater = rater_stage(card)
    rater.open(Context())
    return rater


def rate(card: str, texts: list[str]) -> list[dict[str, Any]]:
    rater = _rater(card)
    rows = pa.record_batch({"id": [f"{i:032x}" for i in range(len(texts))], "text": pa.array(texts, pa.string())})
    found = rater.process(Batch(rows)).rows.to_pylist()
    return [{k.removeprefix(f"{card}_"): v for k, v in row.items() if k.startswith(card)} for row in found]


def plain(text: str) -> dict[str, float]:
    """RedPajama-V2's signals as their definitions say them; the three of lines as means over lines."""

    def normal(part: str) -> str:
        clean = part.translate(str.maketrans("", "", string.punctuation)).lower().strip()
        return unicodedata.normalize("NFD", re.sub(r"\s+", " ", clean))

    words, raw = normal(text).split(), re.findall(r"\w+|[^\w\s]+", text)
    lines = [m.group() for m in re.finditer(r"[^\n]*\n|[^\n]+$", text)]
    counts, total = Counter(words), sum(map(len, words))

    def top(size: int) -> float:
        grams = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
        gram, times = grams.most_common(1)[0] if grams else ((), 0)
        return 100 * sum(map(len, gram)) * times / total if times > 1 else 0.0

    def mean(values: list[float]) -> float:
        return 100 * sum(values) / len(lines)

    normal_lines = [normal(line) for line in lines]
    return {
        "rps_doc_word_count": len(words),
        "rps_doc_num_sentences": len(re.findall(r"\b[^.!?]+[.!?]*", text)),
        "rps_doc_unigram_entropy": -sum(n / len(words) * math.log(n / len(words)) for n in counts.values()),
        "rps_doc_frac_unique_words": 100 * len(counts) / len(words),
        "rps_doc_frac_no_alph_words": 100 * (1 - sum(bool(re.search("[a-zA-Z]", w)) for w in raw) / len(raw)),
        "rps_doc_frac_chars_top_2gram": top(2),
        "rps_doc_frac_chars_top_3gram": top(3),
        "rps_lines_uppercase_letter_fraction": mean([sum(map(str.isupper, line)) / len(line) for line in lines]),
        "rps_lines_ending_with_terminal_punctution_mark": mean(
            [float(line.rstrip().endswith((".", "!", "?", "”"))) for line in lines]
        ),
        "rps_lines_numerical_chars_fraction": mean(
            [sum(map(str.isnumeric, line)) / len(line) if line else 0.0 for line in normal_lines]
        ),
        "rps_doc_mean_word_length": total / len(words),
    }


def test_rule_scores_by_hand() -> None:
    """Two lines, of 22 and 8 characters with their newlines."""
    (found,) = rate("meta_rater_rules", ["The cat sat. The CAT!\nRan 12.\n"])
    status = found.pop("status")
    assert status == "ok"
    assert found == {
        "rps_doc_word_count": 7,  # the cat sat the cat ran 12
        "rps_doc_num_sentences": 3,
        "rps_doc_unigram_entropy": pytest.approx(2 * 2 / 7 * math.log(7 / 2) + 3 / 7 * math.log(7)),
        "rps_doc_frac_unique_words": pytest.approx(100 * 5 / 7),
        "rps_doc_frac_no_alph_words": pytest.approx(100 * 4 / 10),  # . ! 12 .
        "rps_doc_frac_chars_top_2gram": pytest.approx(100 * 12 / 20),  # the cat, twice
        "rps_doc_frac_chars_top_3gram": 0,
        "rps_lines_uppercase_letter_fraction": pytest.approx(100 * (5 / 22 + 1 / 8) / 2),
        "rps_lines_ending_with_terminal_punctution_mark": 100,
        "rps_lines_numerical_chars_fraction": pytest.approx(100 * (0 + 2 / 6) / 2),
        "rps_doc_mean_word_length": pytest.approx(20 / 7),
    }


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_rule_scores_are_those_of_the_plain_definitions(texts: list[str]) -> None:
    for text, found in zip(texts, rate("meta_rater_rules", texts), strict=True):
        try:
            expected = plain(text)
        except ZeroDivisionError:
            assert found["status"] == "too_short" and found["rps_doc_word_count"] is None
            continue
        assert found.pop("status") == "ok"
        assert found == {name: pytest.approx(value, rel=1e-5, abs=1e-5) for name, value in expected.items()}


def test_readability_by_hand() -> None:
    """Two sentences of ten words; only `nobody` has three syllables."""
    text = "The river rises twice a day.\nNobody knows the reason."
    # the 1 riv-er 2 ris-es 2 twice 1 a 1 day 1 | no-bod-y 3 knows 1 the 1 rea-son 2
    words, sentences, syllables, letters = 10, 2, 15, 42
    (found,) = rate("readability", [text])
    assert found["status"] == "ok"
    assert found["flesch_ease"] == pytest.approx(
        206.835 - 1.015 * words / sentences - 84.6 * syllables / words, abs=1e-3
    )
    assert found["flesch_kincaid_grade"] == pytest.approx(
        0.39 * words / sentences + 11.8 * syllables / words - 15.59, abs=1e-3
    )
    assert found["automated_readability"] == pytest.approx(
        4.71 * letters / words + 0.5 * words / sentences - 21.43, abs=1e-3
    )
    assert found["smog"] == pytest.approx(1.0430 * math.sqrt(30 / sentences) + 3.1291, abs=1e-3)
    assert found["gunning_fog"] == pytest.approx(0.4 * (words / sentences + 100 / words), abs=1e-3)
    assert found["coleman_liau"] == pytest.approx(
        0.0588 * 100 * letters / words - 0.296 * 100 * sentences / words - 15.8, abs=1e-3
    )
    assert found["compression_ratio"] == pytest.approx(len(text) / len(zlib.compress(text.encode(), 6)), abs=1e-6)


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("cat", 1), ("table", 2), ("make", 1), ("the", 1), ("added", 2), ("jumped", 1), ("wanted", 2), ("naïve", 1),
        ("university", 5), ("rhythm", 1), ("tsk", 1), ("don't", 1), ("whole", 1), ("reason", 2), ("Bee", 1), ("sky", 1),
    ],
)  # fmt: skip
def test_syllables_are_groups_of_vowels_without_silent_ends(word: str, syllables: int) -> None:
    texts = Texts.of([word])
    counts = raw_counts(texts.data, texts.offsets)
    assert counts["words"][0] == 1 and counts["syllables"][0] == syllables


def test_what_has_no_words_has_no_score() -> None:
    for card in ("meta_rater_rules", "readability"):
        for row in rate(card, ["", " \n", "?!", "123"][: 3 if card == "meta_rater_rules" else 4]):
            assert row.pop("status") == "too_short" and set(row.values()) == {None}


def test_counts_do_not_depend_on_the_batch() -> None:
    texts = ["a b a b a b", "long " * 500 + "text.", "", "ünï Cödé\n" * 20]
    data = Texts.of(texts)
    raw, normal = raw_counts(data.data, data.offsets), normalised_counts(texts)
    for i, text in enumerate(texts):
        one = Texts.of([text])
        assert all(raw[name][i] == values[0] for name, values in raw_counts(one.data, one.offsets).items())
        assert all(np.array_equal(normal[name][i], values[0]) for name, values in normalised_counts([text]).items())


def test_cards_of_one_pass_count_once() -> None:
    shared = SharedTexts()
    given = Batch(pa.record_batch({"id": ["0" * 32], "text": ["One sentence with some words."]}))
    for card in ("meta_rater_rules", "readability"):
        given = rater_stage(card, None, shared).process(given)
    kept = [key[1] for key in shared.of(given).shared if key[0] == "lexical"]
    assert sorted(kept) == ["normalised", "raw", "texts"]
