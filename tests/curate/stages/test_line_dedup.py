"""Repeated lines within a page."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curate.documents import Batch
from curate.stages import stage_class
from curate.stages.line_dedup import LineDedup, LineDedupConfig


def deduplicated(*texts: str, **config: Any) -> list[dict[str, Any]]:
    batch = LineDedup(LineDedupConfig(**config)).process(Batch(pa.record_batch({"text": pa.array(texts, pa.string())})))
    assert batch.fates.drops == []
    return batch.rows.to_pylist()


def test_menu_repeated_below_the_article_goes_and_is_counted() -> None:
    found = deduplicated("Home\nNews\nThe article.\nHome\nNews é\nNews")
    assert found == [
        {
            "text": "Home\nNews\nThe article.\nNews é",
            "line_dedup_removed_lines": 2,
            "line_dedup_removed_chars": len("\nHome\nNews"),
        }
    ]


def test_same_line_on_two_pages_stays_on_both() -> None:
    assert [row["text"] for row in deduplicated("Home\na", "Home\nb")] == ["Home\na", "Home\nb"]


def test_text_without_repeats_keeps_every_byte() -> None:
    texts = ["", "\n\n", " a \n\n\n b\r\nc\u2028c", "one"]
    found = deduplicated(*texts)
    assert [row["text"] for row in found] == texts
    assert all(row["line_dedup_removed_lines"] == row["line_dedup_removed_chars"] == 0 for row in found)


def test_only_long_lines_if_the_config_says_so() -> None:
    text = "Yes.\nYes.\nThe terms apply to all of us.\nThe terms apply to all of us."
    assert deduplicated(text, min_words=5)[0]["text"] == "Yes.\nYes.\nThe terms apply to all of us."
    assert deduplicated(text, min_chars=20)[0]["text"] == "Yes.\nYes.\nThe terms apply to all of us."


def test_result_does_not_depend_on_the_batch() -> None:
    texts = ["a\na", "a\nb\na", "b\n\nb", "x"]
    assert deduplicated(*texts) == [deduplicated(text)[0] for text in texts]


def test_stage_is_listed_and_declares_its_columns() -> None:
    assert stage_class("line_dedup") is LineDedup
    assert LineDedup().adds().names == ["line_dedup_removed_lines", "line_dedup_removed_chars"]
