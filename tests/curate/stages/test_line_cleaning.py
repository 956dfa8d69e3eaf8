"""C4's rules for lines, and the three stages that together are C4's filter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.documents import Batch
from curate.stages.base import Context, Stage
from curate.stages.line_cleaning import LineCleaning, LineCleaningConfig
from curate.stages.quality_rules import QualityRules, QualityRulesConfig
from curate.stages.rules.presets import datatrove_reasons
from curate.stages.text_stats import TextStats, TextStatsConfig

GOLDEN: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("golden").joinpath("filters.json").read_text("utf-8")
)


def run(stages: list[Stage], texts: list[str]) -> Batch:
    rows = pa.record_batch({"row": pa.array(range(len(texts))), "text": pa.array(texts, pa.string())})
    batch = Batch(rows)
    for stage in stages:
        stage.open(Context())
        batch = stage.process(batch.at(stage.name))
    return batch


def clean(*texts: str, **config: Any) -> list[dict[str, Any]]:
    return run([LineCleaning(LineCleaningConfig(**config))], list(texts)).rows.to_pylist()


def c4(texts: list[str], *, terminal_punctuation: bool = True) -> list[tuple[str | None, str | None]]:
    """Per text: datatrove's name of the reason, and the text that is left."""
    cleaning = LineCleaning(LineCleaningConfig(terminal_punctuation=terminal_punctuation))
    stages = [cleaning, TextStats(TextStatsConfig(groups=["c4"])), QualityRules(QualityRulesConfig(presets=["c4"]))]
    batch = run(stages, texts)
    names = {**datatrove_reasons(), "line_cleaning_empty": "too_few_sentences"}
    out: list[tuple[str | None, str | None]] = [(None, None)] * len(texts)
    for row in batch.rows.to_pylist():
        out[row["row"]] = None, row["text"]
    for drop in batch.fates.drops:
        for row, reason in zip(drop.rows["row"].to_pylist(), drop.reason.to_pylist(), strict=True):
            out[row] = names[reason], None
    return out


@pytest.mark.parametrize(("name", "terminal"), [("c4", True), ("c4_fineweb", False)])
def test_verdict_reason_and_text_are_those_of_c4(name: str, terminal: bool) -> None:
    expected = [(row[name], row[f"{name}_text"]) for row in GOLDEN]
    assert c4([row["text"] for row in GOLDEN], terminal_punctuation=terminal) == expected


def test_cleaning_does_not_depend_on_the_batch() -> None:
    texts = [row["text"] for row in GOLDEN]
    together = clean(*texts)
    singly = [row for text in texts for row in clean(text)]
    assert [{**row, "row": 0} for row in together] == singly


def test_each_kind_of_line_is_counted_once() -> None:
    page = [
        "This line stays as it is.", "  And so does this one[1], cut[edit].  ", "No full stop here", "Trailing off...",
        "Too short.", "Please enable JavaScript now.", "We use cookies on this site.", "y" * 1001 + " is long here.",
    ]  # fmt: skip
    row = clean("\r\n".join(page))[0]
    assert row["text"] == "This line stays as it is.\nAnd so does this one, cut."
    assert {k.removeprefix("line_cleaning_"): v for k, v in row.items() if k.startswith("line_cleaning_")} == {
        "removed_lines": 6, "long_word": 1, "no_terminal_punctuation": 2, "few_words": 1, "javascript": 1,
        "policy": 1, "citations": 2, "blank_ends": 0, "end_space": False,
    }  # fmt: skip


def test_every_rule_can_be_turned_off() -> None:
    text = "Menu\nJavaScript notes[1]\nOur privacy policy\n" + "z" * 1001
    off = {"terminal_punctuation": False, "min_words": None, "max_word_chars": None}
    assert clean(text, citations=False, javascript=False, policy=False, **off)[0]["text"] == text
    assert clean(text, citations=True, javascript=True, policy=False, **off)[0]["text"] == text.replace(
        "JavaScript notes[1]\n", ""
    )


def test_words_are_counted_before_citations_go() -> None:
    assert clean("Yes indeed [1].", "Yes indeed.")[0]["text"] == "Yes indeed ."


def test_line_that_condemns_its_page_is_left_for_the_rule() -> None:
    text = "A sound line stands here.\nThis policy uses cookies {now}.\nUse javascript for lorem ipsum."
    assert clean(text)[0]["text"] == text


def test_document_without_lines_left_is_dropped_with_a_reason() -> None:
    batch = run([LineCleaning()], ["Home | About", "This line is kept here.", ""])
    assert batch.rows["text"].to_pylist() == ["This line is kept here."]
    drop = batch.fates.drops[0]
    assert drop.reason.to_pylist() == ["line_cleaning_empty"] * 2
    assert drop.rows["line_cleaning_no_terminal_punctuation"].to_pylist() == [1, 0]
    assert set(drop.reason.to_pylist()) <= set(LineCleaning.reasons)


def test_blank_ends_count_as_sentences_of_c4() -> None:
    # C4 keeps the two lines of citations as blanks, counts a sentence in each, and strips them off the text
    page = "[1] [2] [3]\nOne is here. Two is here. Three is here.\n[4] [5] [6]"
    row = clean(page, terminal_punctuation=False)[0]
    assert (row["text"], row["line_cleaning_blank_ends"]) == ("One is here. Two is here. Three is here.", 2)
    assert c4([page], terminal_punctuation=False) == [(None, row["text"])]


def test_space_cut_off_the_end_counts_as_c4_counts_it() -> None:
    page = "One is here. Two is here. Three is here. Four is here. [1] [2]"
    row = clean(page, page[:-4], terminal_punctuation=False)
    assert [r["line_cleaning_end_space"] for r in row] == [True, False]
    # two spaces after the last full stop are a word to spaCy, and so a fifth sentence; one space is none
    assert c4([page], terminal_punctuation=False) == [(None, page[:-8])]
    assert c4([page[:-4]], terminal_punctuation=False) == [("too_few_sentences", None)]


def test_cleaning_twice_changes_nothing_more() -> None:
    texts = [row["c4_text"] for row in GOLDEN if row["c4_text"]]
    assert [row["text"] for row in clean(*texts)] == texts
