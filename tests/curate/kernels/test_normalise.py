"""Normalisation on buffers equals the plain Python formulas, on every code point and on strings made to be awkward."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.normalise import fold, fold_words, has_word, simplify
from curate.kernels.strings import string_array, string_buffers

GOLDEN = Path(__file__).resolve().parents[1] / "dedup" / "datatrove_signatures.json"
AWKWARD = (
    "abc XYZ 12.,9\n\t!ÉéßİıΣςσ\u0327\u0308\u0301ÅÅ가각ᄀ힣\u302e\u302f\ua9c0\u1b44\u0344\u037e१२٫\u2000\u00a0"
    "\U0001d15e\U0001d165\U0001d16d"
)
texts = st.lists(st.text(st.sampled_from(AWKWARD) | st.characters(exclude_categories=["Cs"]), max_size=40), max_size=8)


def nfc_lower(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def run(function, values, **options):
    return string_array(*function(*string_buffers(pa.array(values, pa.string())), **options)).to_pylist()


@settings(max_examples=100, deadline=None)
@given(texts)
def test_fold_is_nfc_lower_case_and_single_spaces(values: list[str]) -> None:
    assert run(fold, values, lower=True, collapse=True) == [" ".join(nfc_lower(v).split()) for v in values]
    plain = [unicodedata.normalize("NFC", v) for v in values]
    assert run(fold, values, lower=False, collapse=False) == plain


@settings(max_examples=100, deadline=None)
@given(texts)
def test_fold_words_is_the_words_joined_by_spaces(values: list[str]) -> None:
    assert run(fold_words, values) == [" ".join(re.findall(r"\w+", nfc_lower(v))) for v in values]


@settings(max_examples=100, deadline=None)
@given(texts)
def test_simplify_does_not_depend_on_the_neighbouring_texts(values: list[str]) -> None:
    assert run(simplify, values) == [run(simplify, [v])[0] for v in values]


@settings(max_examples=100, deadline=None)
@given(texts)
def test_has_word_finds_any_word_character(values: list[str]) -> None:
    found = has_word(*string_buffers(pa.array(values, pa.string())))
    assert found.tolist() == [bool(re.search(r"\w", v)) for v in values]


def test_every_code_point_folds_as_python_does() -> None:
    values = [f"a{chr(c)} x" for c in [*range(0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200)]]
    assert run(fold_words, values) == [" ".join(re.findall(r"\w+", nfc_lower(v))) for v in values]


def test_simplified_texts_are_datatroves() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert run(simplify, [row["text"] for row in golden]) == [row["simplified"] for row in golden]


@pytest.mark.parametrize(
    ("text", "simplified"),
    [
        ("In 1.234,5 of 6 cases", "in 0 0 of 0 cases"),
        ("1.2.3", "0 0"),
        ("a \u0308 b", "a  b"),
        ("a \u0308", "a"),
        ("ΟΔΟΣ", "οδος"),
        ("\U0001e4f0\U0001e4f1 items", "0 items"),
        # two tone marks of different class change places in NFD; neither is a nonspacing mark
        ("x\U0001d165\U0001d16d\U0001d165", "x\U0001d165\U0001d165\U0001d16d"),
    ],
)
def test_simplify_by_hand(text: str, simplified: str) -> None:
    assert run(simplify, [text]) == [simplified]


def test_slices_of_a_column_are_read_from_their_own_start() -> None:
    column = pa.array(["First Text", "ÄRGER  und Σ", "third"]).slice(1, 2)
    folded = fold(*string_buffers(column), lower=True, collapse=True)
    assert string_array(*folded).to_pylist() == ["ärger und σ", "third"]
    assert string_array(*simplify(*string_buffers(column))).to_pylist() == ["arger und σ", "third"]
