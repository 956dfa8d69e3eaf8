"""Presets, bounds, languages and own rules: who fails, for which reason first, at which value."""

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
from curate.stages.quality_rules import QualityRules, QualityRulesConfig
from curate.stages.rules.languages import fineweb2_languages, fineweb2_thresholds, language_key, stop_words
from curate.stages.rules.presets import PRESETS, datatrove_reasons, preset_rows, preset_table
from curate.stages.rules.statistics import STATISTICS
from curate.stages.text_stats import TextStats, TextStatsConfig

GOLDEN: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("golden").joinpath("filters.json").read_text("utf-8")
)


def with_statistics(texts: list[str]) -> Batch:
    stage = TextStats(TextStatsConfig())
    stage.open(Context())
    return stage.process(Batch(pa.record_batch({"text": pa.array(texts, pa.string())})))


def table(**columns: list[Any]) -> Batch:
    """Documents of which only some statistics are known; the others are null."""
    n = len(next(iter(columns.values())))
    known = {f"text_stats_{s.name}": pa.nulls(n, s.type) for s in STATISTICS}
    for name, values in columns.items():
        key = name if name == "language_code" else f"text_stats_{name}"
        known[key] = pa.array(values, known[key].type if key in known else None)
    return Batch(pa.record_batch({"row": pa.array(range(n)), **known}))


def rules(**config: Any) -> QualityRules:
    return QualityRules(QualityRulesConfig(**config))


def labels(batch: Batch, **config: Any) -> list[Any]:
    done = rules(action="label", **config).process(batch)
    assert len(done) == len(batch) and done.fates.drops == []
    reasons: list[Any] = done.rows["quality_rules_reason"].to_pylist()
    return reasons


@pytest.mark.parametrize("preset", ["gopher_quality", "gopher_repetition", "fineweb"])
def test_verdict_and_reason_are_those_of_datatrove(preset: str) -> None:
    found = labels(with_statistics([row["text"] for row in GOLDEN]), presets=[preset])
    names = {rule.reason: rule.datatrove for rule in PRESETS[preset]}
    assert [reason and names[reason] for reason in found] == [row[preset] for row in GOLDEN]


def test_every_rule_of_the_presets_is_crossed_by_a_golden_text() -> None:
    given = {(p, row[name]) for row in GOLDEN for p, name in [*((p, p) for p in PRESETS), ("c4", "c4_fineweb")]}
    missing = [(p, r.datatrove) for p, rows in PRESETS.items() for r in rows if (p, r.datatrove) not in given]
    assert missing == [("gopher_quality", "gopher_long_doc")]  # a hundred thousand words: the next test


def test_bounds_are_inclusive_on_the_passing_side() -> None:
    batch = table(n_non_symbol_words=[49, 50, 100_000, 100_001], n_stop_words=[1, 2, 2, 2])
    assert labels(batch, presets=["gopher_quality"]) == [
        "gopher_too_few_words", None, None, "gopher_too_many_words",
    ]  # fmt: skip


def test_first_failing_rule_of_the_first_preset_names_the_reason() -> None:
    batch = table(n_stop_words=[0, 0, 9], alpha_word_ratio=[0.9, 0.1, 0.9], char_dup_ratio=[0.5, 0.5, 0.5])
    gopher_first = labels(batch, presets=["gopher_quality", "fineweb"])
    assert gopher_first == [
        "gopher_too_few_stop_words", "gopher_too_few_alphabetic_words", "fineweb_duplicate_line_chars",
    ]  # fmt: skip
    assert labels(batch, presets=["fineweb", "gopher_quality"]) == ["fineweb_duplicate_line_chars"] * 3


def test_every_preset_is_judged_on_every_document() -> None:
    done = rules(action="label").process(table(n_stop_words=[0, 9], has_curly_brace=[True, False], n_sentences=[5, 4]))
    rows = done.rows.select([name for name in done.schema.names if name.startswith("quality_rules_")]).to_pylist()
    assert [list(row.values()) for row in rows] == [
        [True, False, False, True, "gopher_too_few_stop_words"],
        [True, True, False, True, "c4_too_few_sentences"],
    ]
    assert next(iter(rows[0])) == "quality_rules_gopher_repetition"


def test_drop_records_reason_value_and_threshold() -> None:
    batch = rules().process(table(hash_ratio=[0.25, 0.05, None], top_3_gram=[0.0, 0.1875, None]).at("quality_rules"))
    assert batch.rows["row"].to_pylist() == [2]
    drop = batch.fates.drops[0]
    assert drop.stage == "quality_rules"
    assert drop.reason.to_pylist() == ["gopher_too_many_hashes", "gopher_top_3_gram"]
    assert drop.value.to_pylist() == [0.25, 0.1875]
    assert drop.threshold.to_pylist() == [0.1, 0.18]
    assert "quality_rules_gopher_quality" in drop.rows.schema.names


def test_null_never_fails() -> None:
    assert labels(table(n_words=[None, None])) == [None, None]


def test_none_turns_a_bound_off_and_zero_is_a_value() -> None:
    batch = table(hash_ratio=[0.5, 0.0], n_stop_words=[2, 2])
    assert labels(batch, thresholds={"gopher_quality": {"max_hash_ratio": None}}) == [None, None]
    strict = {"gopher_quality": {"max_hash_ratio": 0, "min_stop_words": 0}}
    assert labels(batch, thresholds=strict) == ["gopher_too_many_hashes", None]


def test_bound_with_a_fraction_replaces_a_whole_one() -> None:
    batch = table(mean_word_length=[10.2, 10.7])
    fraction = {"gopher_quality": {"max_mean_word_length": 10.5}}
    assert labels(batch, thresholds=fraction) == [None, "gopher_mean_word_too_long"]


def test_curly_brace_off_also_where_it_comes_first() -> None:
    batch = table(has_curly_brace=[True], curly_brace_first=[True], has_lorem_ipsum=[True])
    assert labels(batch) == ["c4_curly_brace"]
    assert labels(batch, thresholds={"c4": {"curly_brace": None}}) == ["c4_lorem_ipsum"]
    assert labels(batch, thresholds={"c4": {"curly_brace": None, "lorem_ipsum": None}}) == [None]


def test_bounds_by_language_override_the_general_ones() -> None:
    batch = table(
        mean_word_length=[12.0, 12.0, 12.0, 12.0, 12.0], language_code=["de", "en", None, "fr", "xx"],
    )  # fmt: skip
    found = labels(
        batch,
        thresholds={"gopher_quality": {"max_mean_word_length": 11}},
        languages={"deu": {"gopher_quality": {"max_mean_word_length": 15}},
                   "fr": {"gopher_quality": {"max_mean_word_length": None}}},
    )  # fmt: skip
    long = "gopher_mean_word_too_long"
    assert found == [None, long, long, None, long]


def test_fineweb2_bounds_hold_for_the_languages_that_have_them() -> None:
    # German: dup 5-gram 0.141 instead of 0.15, mean word up to 15, short lines not looked at
    batch = table(
        dup_5_gram=[0.145, 0.145],
        mean_word_length=[14.0, 5.0],
        short_line_ratio=[0.9, 0.6],
        language_code=["de", "en"],
    )
    assert labels(batch, fineweb2=True) == ["gopher_duplicate_5_grams", None]
    own = {"deu_Latn": {"gopher_repetition": {"max_dup_5_gram": 0.2}}}
    assert labels(batch, fineweb2=True, languages=own) == [None, None]


def test_fineweb2_table_is_complete_for_every_language() -> None:
    assert {"de", "fr", "es", "ru", "zh", "ar", "hi", "ja"} <= set(fineweb2_languages())
    for code in fineweb2_languages():
        for preset, bounds in fineweb2_thresholds(code).items():
            assert set(bounds) <= {rule.name for rule in PRESETS[preset]}
        assert len(stop_words()[code]) >= 2
    assert fineweb2_thresholds("en") == {}
    assert language_key("deu") == language_key("deu_Latn") == language_key("de") == "de"
    assert language_key("eng") == "en" and language_key("qqq") == "qqq"


def test_own_rules_run_after_the_presets_over_any_column() -> None:
    batch = table(n_chars=[10, 200, 10, 5000], n_stop_words=[9, 9, 0, 9])
    own = [{"column": "text_stats_n_chars", "min": 100, "max": 1000, "reason": "odd_length"}]
    assert labels(batch, rules=own) == ["odd_length", None, "gopher_too_few_stop_words", "odd_length"]
    stage = rules(rules=own, presets=[])
    assert stage.requires == ("text_stats_n_chars",)
    assert stage.adds().names == ["quality_rules_own", "quality_rules_reason"]
    dropped = stage.process(batch).fates.drops[0]
    assert list(zip(dropped.value.to_pylist(), dropped.threshold.to_pylist(), strict=True)) == [
        (10, 100), (10, 100), (5000, 1000),
    ]  # fmt: skip


def test_stage_may_run_twice_under_another_prefix() -> None:
    text = "One line. #"
    first = TextStats(TextStatsConfig(groups=["gopher_quality"], prefix="raw"))
    first.open(Context())
    batch = first.process(Batch(pa.record_batch({"text": pa.array([text])})))
    stage = rules(presets=["gopher_quality"], statistics="raw", prefix="raw_rules", action="label")
    assert set(stage.requires) <= set(batch.schema.names)
    assert not [name for name in stage.requires if not name.startswith("raw_")]
    rows = stage.process(batch).rows
    assert rows["raw_rules_reason"].to_pylist() == ["gopher_too_few_words"]
    assert rows["raw_rules_gopher_quality"].to_pylist() == [False]


def test_no_line_with_punctuation_can_be_spared() -> None:
    batch = table(line_punct_ratio=[0.0, 0.05])
    assert labels(batch) == ["fineweb_few_lines_end_a_sentence"] * 2
    assert labels(batch, line_punct_exclude_zero=True) == [None, "fineweb_few_lines_end_a_sentence"]


def test_requires_what_the_chosen_presets_compare() -> None:
    assert set(rules(presets=["c4"]).requires) == {
        f"text_stats_{name}" for name in ("curly_brace_first", "has_lorem_ipsum", "has_curly_brace", "n_sentences")
    }
    assert "language_code" in rules(fineweb2=True).requires
    everything = set(TextStats().adds().names)
    assert set(rules().requires) <= everything


def test_every_reason_is_declared_and_has_its_name_in_datatrove() -> None:
    declared = set(QualityRules.reasons)
    assert declared == {rule.reason for preset in PRESETS.values() for rule in preset}
    assert datatrove_reasons()["gopher_too_few_stop_words"] == "gopher_enough_stop_words"
    assert rules(rules=[{"column": "x", "min": 1, "reason": "mine"}]).reasons.keys() == declared | {"mine"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"presets": ["gofer"]}, "gopher_quality"),
        ({"presets": ["c4", "c4"]}, "twice"),
        ({"thresholds": {"c4": {"min_words": 3}}}, "has no bound 'min_words'; it has curly_brace, lorem_ipsum"),
        ({"languages": {"de": {"fineweb": {"nope": 3}}}}, r"languages\.de\.fineweb has no bound 'nope'"),
        ({"rules": [{"column": "a", "reason": "b"}]}, "neither min nor max"),
        ({"rules": [{"column": "a", "min": 1, "reason": "Not a code"}]}, "reason"),
        ({"action": "delete"}, "drop"),
    ],
)
def test_mistakes_in_the_config_are_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QualityRulesConfig(**config)


def test_verdicts_do_not_depend_on_the_batch() -> None:
    texts = [row["text"] for row in GOLDEN]
    together = labels(with_statistics(texts))
    assert together == [labels(with_statistics([text]))[0] for text in texts]


def test_empty_batch_keeps_its_schema() -> None:
    done = rules().process(table(n_words=[], language_code=[]))
    assert len(done) == 0 and "quality_rules_reason" in done.schema.names
    assert stage_class("quality_rules") is QualityRules


def test_table_for_the_documentation_has_a_row_per_rule() -> None:
    rows = preset_rows()
    assert len(rows) == sum(map(len, PRESETS.values()))
    lines = preset_table().splitlines()
    assert len(lines) == len(rows) + 2
    assert len({line.count("|") for line in lines}) == 1
    assert (
        "| `gopher_quality` | `min_stop_words` | `text_stats_n_stop_words` | ≥ 2 | `gopher_too_few_stop_words` "
        "| `gopher_enough_stop_words` | too few different stop words of its language |"
    ) in lines


def test_korean_is_not_held_to_bounds_of_parts_of_words() -> None:
    bounds = fineweb2_thresholds("ko")
    assert bounds["gopher_quality"] == {
        "min_mean_word_length": None,
        "max_mean_word_length": None,
        "min_alpha_word_ratio": None,
    }
    assert "max_newline_word_ratio" not in bounds["fineweb"]
    assert bounds["gopher_repetition"]["max_dup_line_fraction"] == 0.374
    assert fineweb2_thresholds("de")["gopher_quality"]["min_alpha_word_ratio"] == 0.774
