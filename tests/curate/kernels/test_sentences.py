"""Sentences by rule, as spaCy's sentencizer cuts them and as the simple counter does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.kernels.sentences import sentences, simple_sentences, spaces
from curate.kernels.strings import string_buffers
from curate.kernels.words import WordSplitter


def count(*texts: str, cut_ends: list[bool] | None = None) -> list[int]:
    data, offsets = string_buffers(pa.array(texts))
    cut = None if cut_ends is None else np.array(cut_ends)
    found = sentences(WordSplitter().split(data, offsets), offsets, cut_ends=cut)
    return [int(n) for n in found]


def simple(*texts: str) -> list[int]:
    return [int(n) for n in simple_sentences(*string_buffers(pa.array(texts)))]


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        (" \n\t\n", 0),
        ("No full stop", 1),
        ("One. Two! Three?", 3),
        ("Heading\nOne. Two.", 3),  # every line has at least one
        ('He said "Go!" and went.', 2),  # "and" is the first word after the sign that is no punctuation
        ("It costs 3.50 in the U.S. today.", 1),  # the signs are parts of words
        ("Well... no. Yes.", 2),  # an ellipsis is no sentence-final sign
        ("One.\u2028Two.\x85Three.\r\nFour.\rFive.", 5),
        ("完成。是。", 1),  # one word to spaCy: there is no whitespace to split at, and the signs are not affixes
    ],
)
def test_sentences_of_a_text(text: str, n: int) -> None:
    assert count(text) == [n]


def test_wide_space_starts_a_sentence() -> None:
    assert count("One.  ) Two.") == [2]
    assert count("One. ) .") == [1]
    assert count("One.  ) .") == [2]


def test_lines_of_cleaned_text_count_as_they_are() -> None:
    assert count("One.   \n   \nTwo.") == [2]
    text = "One.   \n   \nTwo."
    assert count(text, text, "No end", cut_ends=[False, True, True]) == [4, 5, 1]


def test_count_does_not_depend_on_the_batch() -> None:
    texts = ["One. Two.", "", "A\nB\nC", "What? Now!"]
    assert count(*texts) == [count(text)[0] for text in texts]
    assert simple(*texts) == [simple(text)[0] for text in texts]


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("  \n", 0),
        ("—", 1),
        ("Eins. Zwei! Drei?", 3),
        ("Es kostet 3.50 und steht auf a.example.org.", 1),
        ('Er sagte: "Geh!" Dann ging er.', 2),
        ("これは文です。次の文です！", 2),
        ("Überschrift\nEin Satz.", 2),
        ("...", 1),
    ],
)
def test_simple_sentences_of_a_text(text: str, n: int) -> None:
    assert simple(text) == [n]


def test_spaces_are_those_of_str_isspace() -> None:
    text = "a b\tc\n\x1c\x85\xa0\u1680\u2000\u2028\u202f\u205f\u3000\u200bz"
    assert spaces(*string_buffers(pa.array([text, ""]))).tolist() == [sum(map(str.isspace, text)), 0]
