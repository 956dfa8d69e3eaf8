"""Broken encoding is repaired, sound text is left alone, and hostile text costs little."""

from __future__ import annotations

import sys
import time
import unicodedata

import ftfy
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.documents import Batch
from curate.errors import ConfigError
from curate.stages.base import Context
from curate.stages.text_repair import TextRepair, TextRepairConfig, cut_marks, parts


def stage_of(**config: object) -> TextRepair:
    stage = TextRepair(TextRepairConfig.model_validate(config))
    stage.open(Context())
    return stage


def repaired(stage: TextRepair, *texts: str) -> list[tuple[str, bool]]:
    rows = stage.process(Batch(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))).rows
    assert rows.schema.remove(0).equals(stage.adds(), check_metadata=True)
    return [(r["text"], r["text_repair_changed"]) for r in rows.to_pylist()]


def test_mojibake_is_repaired_and_marked() -> None:
    got = repaired(stage_of(), "donâ€™t", "schÃ¶n", "plain", "schön “quoted” ﬁn Ａ", "")
    assert got == [("don’t", True), ("schön", True), ("plain", False), ("schön “quoted” ﬁn Ａ", False), ("", False)]


def test_settings_reach_ftfy() -> None:
    assert repaired(stage_of(uncurl_quotes=True), "“a”") == [('"a"', True)]
    assert repaired(stage_of(fix_latin_ligatures=True), "ﬁn") == [("fin", True)]
    assert repaired(stage_of(normalization=None), "e\u0301") == [("e\u0301", False)]
    assert repaired(stage_of(), "e\u0301") == [("é", True)]
    assert repaired(stage_of(unescape_html=False), "&amp;eacute;") == [("&amp;eacute;", False)]


def test_control_characters_go() -> None:
    assert repaired(stage_of(), "a\x00b\x07c\r\nd \x1b[31mred\x1b[0m") == [("abc\nd red", True)]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.one_of(st.characters(codec="ascii"), st.characters(codec="utf-8")), max_size=80))
def test_the_short_cut_for_plain_text_changes_nothing(text: str) -> None:
    stage = stage_of()
    expected = ftfy.fix_text(text, ftfy.TextFixerConfig(**TextRepairConfig().model_dump())).replace("\0", "")
    if cut_marks(text) == text:
        assert repaired(stage, text)[0][0] == expected


def test_a_stack_of_combining_marks_is_cut_and_takes_linear_time() -> None:
    stage = stage_of()
    hostile = "a" + "\u0316\u0301" * 250_000 + " end" + "\u200d" * 200_000
    started = time.process_time()
    ((text, changed),) = repaired(stage, hostile)
    assert time.process_time() - started < 2
    assert changed and " end" in text
    assert sum(unicodedata.combining(c) > 0 for c in text) <= 32


def test_stacks_that_occur_in_writing_stay() -> None:
    zalgo = "a" + "\u0316" * 32
    assert cut_marks(zalgo) == zalgo and cut_marks(zalgo + "\u0316") == zalgo


def test_parts_make_up_the_text_and_end_at_line_ends() -> None:
    assert parts("ab\ncd ef\ngh", 6) == ["ab\ncd ", "ef\ngh"]
    assert parts("aaa\nbbb\n", 5) == ["aaa\n", "bbb\n"]
    assert parts("x" * 7, 3) == ["xxx", "xxx", "x"]


def test_without_ftfy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(ConfigError, match=r"pip install 'curate\[repair\]'"):
        stage_of()


@pytest.mark.parametrize(
    "food", ["a@", "1-", "<", "&amp;", "&", "â€™", "é", "\u0301", "Ã", "\x1b[", "://", "  ", "ï¿½"]
)
def test_a_megabyte_of_slow_regex_food_takes_less_than_two_seconds(food: str) -> None:
    stage = stage_of()
    text = food * (1_000_000 // len(food.encode()))
    started = time.process_time()
    repaired(stage, text)
    assert time.process_time() - started < 2
