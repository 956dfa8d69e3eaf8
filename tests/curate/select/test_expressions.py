"""The sentence that says what is kept."""

from __future__ import annotations

import polars as pl
import pytest

from curate.errors import ConfigError
from curate.select.expressions import parse_selection

FRAME = pl.DataFrame(
    {
        "score": [1.0, 3.0, None, 5.0],
        "lang": ["en", "de", "en", None],
        "keep_it": [True, False, None, True],
        "url": ["https://a.org/x", None, "http://b.org", "https://c.org"],
    }
)


def kept(text: str) -> list[bool]:
    selection = parse_selection(text)
    mask = pl.Series([True] * FRAME.height)
    for conjunct in selection.conjuncts:
        mask &= FRAME.select(conjunct.expression().cast(pl.Boolean).fill_null(False).alias("m"))["m"]
    return mask.to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("score >= 3", [False, True, False, True]),
        ("score >= 3 and keep_it", [False, False, False, True]),
        ("score >= 3 or lang == 'en'", [True, True, True, True]),
        ("not keep_it", [False, True, False, False]),
        ("is_null(score)", [False, False, True, False]),
        ("lang in ['en', 'fr']", [True, False, True, False]),
        ("lang not in ['en']", [False, True, False, False]),
        ("1 < score < 5", [False, True, False, False]),
        ("score * 2 - 1 > 4", [False, True, False, True]),
        ("starts_with(url, 'https://') and contains(url, 'org')", [True, False, False, True]),
        ("length(lower(lang)) == 2 and -score < 0", [True, True, False, False]),
        ("true", [True, True, True, True]),
    ],
)
def test_documents_are_kept_where_the_sentence_is_true(text: str, expected: list[bool]) -> None:
    assert kept(text) == expected


def test_each_condition_is_a_reason_of_its_own_with_value_and_threshold() -> None:
    conjuncts = parse_selection("score >= 3 and (lang == 'en' or keep_it)").conjuncts
    assert [c.text for c in conjuncts] == ["score >= 3", "lang == 'en' or keep_it"]
    assert (conjuncts[0].column, conjuncts[0].threshold) == ("score", 3.0)
    assert (conjuncts[1].column, conjuncts[1].threshold) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "score.__class__",
        "open('x')",
        "[x for x in lang]",
        "lambda: 1",
        "score if keep_it else 1",
        "score[0]",
        "f'{score}'",
        "score := 3",
        "lang in 'en'",
        "score >=",
        "",
        "-" * 60 + "score",
        "contains(url)",
        "score is None",
    ],
)
def test_anything_but_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="keep:"):
        parse_selection(text)


def test_an_unknown_column_is_named_with_its_nearest() -> None:
    with pytest.raises(ConfigError, match="'scor'.*'score'"):
        parse_selection("scor > 1").check(["score", "lang"])


def test_an_unknown_function_is_named_with_its_nearest() -> None:
    with pytest.raises(ConfigError, match="is_nul.*is_null"):
        parse_selection("is_nul(score)")
