"""Lines, paragraphs and the characters that mark them, against Python's own string methods."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.code_points import TERMINAL_PUNCTUATION
from curate.kernels.lines import LINE_COUNTS, line_counts
from curate.kernels.phrases import page_marks
from curate.kernels.repeated_lines import drop_repeated_lines
from curate.kernels.strings import string_array, string_buffers

PIECES = [
    "\n", "\n\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029", " ", "\t",
    "\xa0", "\u1680", "\u2003", "\u3000", "\u200b", "•", "-", ".", "...", "…", "#", "a", "bc", "é", "。", "𑗖", "?", "{",
    "Lorem ipsum", "javaSCRIPT", "terms of use", "use coo\u212aies", "lore", "x" * 31,
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
TERMINAL = tuple(chr(code) for code in TERMINAL_PUNCTUATION)
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def repeats(parts: list[str]) -> tuple[int, int]:
    again = [part for k, part in enumerate(parts) if part in parts[:k]]
    return len(again), sum(map(len, again))


def by_python(text: str) -> dict[str, int]:
    lines = text.splitlines()
    runs = re.split("\n+", text) if text else []
    paragraphs = re.split("\n{2,}", text.strip()) if text else []
    shown = [line for line in text.split("\n") if line.strip()]
    values = [
        len(text), text.count("#"), text.count("...") + text.count("…"), text.count("\n"),
        len(lines), sum(line.lstrip().startswith(("•", "-")) for line in lines),
        sum(line.rstrip().endswith(("...", "…")) for line in lines),
        len(runs), *repeats(runs), len(paragraphs), *repeats(paragraphs),
        len(shown), sum(line.endswith(TERMINAL) for line in shown), sum(len(line) <= 30 for line in shown),
        repeats(shown)[1],
    ]  # fmt: skip
    return dict(zip(LINE_COUNTS, values, strict=True))


def counts_of(*texts: str) -> list[dict[str, int]]:
    found = line_counts(*string_buffers(pa.array(texts, pa.string())))
    return [{name: int(values[i]) for name, values in found.items()} for i in range(len(texts))]


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_counts_are_those_of_python_strings(texts: list[str]) -> None:
    assert counts_of(*texts) == [by_python(text) for text in texts]


def test_newline_at_an_end_makes_an_empty_line_for_gopher() -> None:
    found = counts_of("\na\n\na\n")[0]
    # "", "a", "a", "": two of the four repeat, with one character
    assert (found["runs"], found["dup_runs"], found["dup_run_chars"]) == (4, 2, 1)
    assert (found["paragraphs"], found["dup_paragraphs"], found["dup_paragraph_chars"]) == (2, 1, 1)


def test_empty_text_has_no_lines_at_all() -> None:
    assert set(counts_of("")[0].values()) == {0}


def test_counts_do_not_depend_on_the_batch() -> None:
    texts = ["a\nb\na", "", "a\na\na", "b\n\nb" * 50, "a"]
    assert counts_of(*texts) == [counts_of(text)[0] for text in texts]


def test_sliced_column_gives_the_values_of_its_rows() -> None:
    column = pa.array(["x\nx", "a\na\nb", "#"]).slice(1, 2)
    found = line_counts(*string_buffers(column))
    assert found["dup_runs"].tolist() == [1, 0]
    assert found["hashes"].tolist() == [0, 1]


def test_eight_megabytes_of_one_line_and_of_many() -> None:
    many = "spam and eggs\n" * 600_000
    found = counts_of("é" * 4_000_000, many)
    assert found[0]["chars"] == 4_000_000
    assert found[0]["short_lines"] == 0
    assert found[1]["nonblank_lines"] == 600_000
    assert found[1]["dup_line_chars"] == 599_999 * 13


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_page_marks_are_those_of_lower_case_search(text: str) -> None:
    marks = {name: int(values[0]) for name, values in page_marks(*string_buffers(pa.array([text]))).items()}
    lower = text.lower()
    first = next((line for line in text.splitlines() if "{" in line or "lorem ipsum" in line.lower()), "")
    assert marks == {
        "lorem_ipsum": "lorem ipsum" in lower,
        "curly_brace": "{" in text,
        "curly_brace_first": "{" in first and "lorem ipsum" not in first.lower(),
        "javascript": "javascript" in lower,
        "policy": any(policy in lower for policy in POLICIES),
        "longest_word": max(map(len, text.split()), default=0),
    }


def without_repeats(*texts: str, min_chars: int = 1, min_words: int = 0) -> list[str]:
    result = drop_repeated_lines(*string_buffers(pa.array(texts)), min_chars=min_chars, min_words=min_words)
    kept: list[str] = string_array(result.data, result.offsets).to_pylist()
    lengths = np.array([len(text) for text in texts]) - [len(text) for text in kept]
    assert result.removed_chars.tolist() == lengths.tolist()
    return kept


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\nb\na\nc", "a\nb\nc"),
        ("a \n  a\nb", "a \nb"),
        ("a\n\nb\n\na\n\nc", "a\n\nb\n\nc"),  # one blank line where the repeated one stood
        ("a\nb\na\n", "a\nb"),
        ("a\n\n\nb\n", "a\n\n\nb\n"),  # nothing repeats: every byte stays
        ("", ""),
    ],
)
def test_first_of_equal_lines_stays(text: str, left: str) -> None:
    assert without_repeats(text) == [left]


def test_short_lines_may_be_spared() -> None:
    assert without_repeats("ab\nab\nabc\nabc", min_chars=3) == ["ab\nab\nabc"]
    assert without_repeats("a b\na b\na b c\na b c", min_words=3) == ["a b\na b\na b c"]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_taking_repeats_out_twice_changes_nothing_more(texts: list[str]) -> None:
    once = without_repeats(*texts)
    assert without_repeats(*once) == once
    for before, after in zip(texts, once, strict=True):
        lines = [line.strip() for line in before.split("\n") if line.strip()]
        assert [line.strip() for line in after.split("\n") if line.strip()] == list(dict.fromkeys(lines))
