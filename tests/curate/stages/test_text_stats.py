"""Statistics by hand, and by datatrove on our own texts (golden/filters.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.documents import Batch
from curate.stages import stage_class
from curate.stages.base import Context
from curate.stages.rules.statistics import GROUPS, STATISTICS
from curate.stages.text_stats import TextStats, TextStatsConfig

GOLDEN: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("golden").joinpath("filters.json").read_text("utf-8")
)


def statistics(*texts: str, codes: list[str | None] | None = None, **config: Any) -> list[dict[str, Any]]:
    columns = {"text": pa.array(texts, pa.string())}
    if codes is not None:
        columns["language_code"] = pa.array(codes, pa.string())
    stage = TextStats(TextStatsConfig(**config))
    stage.open(Context())
    rows = stage.process(Batch(pa.record_batch(columns))).rows
    added = stage.adds()
    assert rows.schema.names == [*columns, *added.names]
    assert all(rows.schema.field(field.name).type == field.type for field in added)
    return [{k.removeprefix("text_stats_"): v for k, v in row.items()} for row in rows.select(added.names).to_pylist()]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["case"])
def test_values_are_datatroves_to_the_last_bit(row: dict[str, Any]) -> None:
    found = statistics(row["text"])[0]
    assert {name: found[name] for name in row["values"]} == row["values"]


def test_values_do_not_depend_on_the_batch() -> None:
    texts = [row["text"] for row in GOLDEN]
    together = statistics(*texts)
    assert together == [statistics(text)[0] for text in texts]
    assert together == statistics(*texts[:7]) + statistics(*texts[7:])
    assert list(reversed(together)) == statistics(*reversed(texts))


def test_values_of_a_small_text_by_hand() -> None:
    found = statistics("- The cat sat. # ...\n\n- The cat sat.\n")[0]
    # words: - The cat sat . # ... / - The cat sat .
    expected = {
        "n_chars": 37, "n_lines": 3, "n_words": 12, "n_non_symbol_words": 6, "mean_word_length": 3.0,
        "hash_ratio": 1 / 12, "ellipsis_ratio": 1 / 12, "bullet_line_ratio": 2 / 3, "ellipsis_line_ratio": 1 / 3,
        "alpha_word_ratio": 0.5, "n_stop_words": 0, "n_sentences": 2, "longest_word": 4, "n_nonblank_lines": 2,
        "line_punct_ratio": 1.0, "short_line_ratio": 1.0, "char_dup_ratio": 0.0, "newline_word_ratio": 0.25,
        "has_javascript": False,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_undefined_is_null_and_counts_are_zero() -> None:
    for text in ("", "  \u3000", "\n\n"):
        found = statistics(text)[0]
        assert (found["n_words"], found["n_stop_words"], found["n_sentences"], found["n_nonblank_lines"]) == (
            0,
            0,
            0,
            0,
        )
        null = {name for name, value in found.items() if value is None}
        assert {"mean_word_length", "hash_ratio", "alpha_word_ratio", "top_2_gram", "dup_10_gram", "line_punct_ratio",
                "newline_word_ratio"} <= null  # fmt: skip
        assert (found["bullet_line_ratio"] is None) == (text == "")


def test_text_of_eight_megabytes() -> None:
    found = statistics("The quick brown fox jumps over the lazy dog. " * 180_000, "x")[0]
    assert found["n_chars"] == 8_100_000
    assert found["n_words"] == 1_800_000
    assert found["n_sentences"] == 180_000
    assert found["dup_5_gram"] == pytest.approx(36 / 45, abs=1e-4)


def test_only_the_chosen_groups_are_computed() -> None:
    assert list(statistics("One. {", groups=["c4"])[0]) == [
        "n_chars", "n_lines", "n_sentences", "has_lorem_ipsum", "has_curly_brace", "curly_brace_first",
        "has_javascript", "has_policy", "longest_word",
    ]  # fmt: skip
    whole = statistics("Some words. More words.")[0]
    for group in GROUPS:
        part = statistics("Some words. More words.", groups=[group])[0]
        assert part == {name: whole[name] for name in part}


def test_short_line_length_is_a_setting() -> None:
    assert statistics("abc\nabcd", short_line_chars=3)[0]["short_line_ratio"] == 0.5


def test_each_document_by_its_own_language() -> None:
    german = "Der Wein und die Rose, von Hand geschnitten."
    texts = [german, "The wine and the rose.", "狐は走る。犬は眠る。", "Mots inconnus, ici."]
    rows = statistics(*texts, codes=["de", "en", "ja", None], language="column")
    assert [row["n_stop_words"] for row in rows] == [3, 2, None, None]
    assert [row["n_sentences"] for row in rows] == [1, 1, 2, 1]
    # 8 words and 2 signs; 6; none without spaces between words; 3 words and 2 signs
    assert [row["n_words"] for row in rows] == [10, 6, None, 5]
    assert rows[2]["mean_word_length"] is None and rows[2]["top_2_gram"] is None
    assert rows[0]["alpha_word_ratio"] == 0.8
    assert rows[0] == statistics(german, language="de")[0] == statistics(german, language="deu_Latn")[0]


def test_stop_words_can_be_replaced() -> None:
    assert statistics("tea with milk", stop_words={"en": ["tea", "milk"]})[0]["n_stop_words"] == 2
    assert statistics("thé au lait", language="fr", stop_words={"fra": ["thé"]})[0]["n_stop_words"] == 1


def test_language_by_column_requires_the_column() -> None:
    assert TextStats(TextStatsConfig(language="column")).requires == ("text", "language_code")
    assert TextStats().requires == ("text",)


def test_unknown_group_is_refused() -> None:
    with pytest.raises(ValidationError, match="gopher_quality"):
        TextStatsConfig(groups=["gofer"])


def test_every_column_says_what_it_is() -> None:
    schema = TextStats().adds()
    assert len(schema) == len(STATISTICS) == len(set(schema.names))
    assert all(field.metadata[b"doc"] for field in schema)
    assert stage_class("text_stats") is TextStats


def test_empty_batch_has_all_columns() -> None:
    assert statistics() == []
    assert statistics(codes=[], language="column") == []


def test_words_of_other_languages_are_those_of_a_tokenizer_and_not_runs_of_letters() -> None:
    cases = {
        "fr": ("Voir l’aide de httpd.conf (version 2.4.1), ou https://exemple.org/a-b...", 12),
        "hi": ("हिन्दी में पढ़ें।", 4),
        "es": ("¿Qué es «esto»? ----", 8),
        "de": ("Im Haus", 2),
    }
    # Voir l’aide de httpd.conf ( version 2.4.1 ) , ou https://exemple.org/a-b ...
    # Vowel signs of Devanagari are parts of words. ¿ Qué es « esto » ? ---- . English "im" is two words, German is not.
    rows = statistics(*(text for text, _ in cases.values()), codes=list(cases), language="column")
    assert [row["n_words"] for row in rows] == [n for _, n in cases.values()]
    assert rows[0]["alpha_word_ratio"] == 7 / 12


def test_korean_stop_words_are_not_looked_for_since_the_published_ones_are_parts_of_words() -> None:
    found = statistics("나는 학교에 갑니다. 오늘은 날씨가 좋습니다.", language="ko")[0]
    assert (found["n_words"], found["n_stop_words"]) == (8, None)
