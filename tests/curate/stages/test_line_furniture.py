"""Lines that belong to the site and not to the text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.stages.line_furniture import without_furniture


def cleaned(text: str) -> tuple[str, int]:
    texts, counts = without_furniture(pa.array([text]))
    return texts[0].as_py(), counts[0].as_py()


@pytest.mark.parametrize(
    "line",
    [
        "Leave a Reply",
        "Leave a comment »",
        "Comments are closed.",
        "Your email address will not be published. Required fields are marked *",
        "You must be logged in to leave a comment.",
        "You must log in to answer this question.",
        "Skip to main content",
        "Share this post",
        "Scroll to Top ↑",
        "Share on Facebook | Share on Twitter",
        'You may use these HTML tags and attributes: <a href="" title=""> <b> <cite>',
    ],
)
def test_a_line_of_the_site_goes_wherever_it_stands(line: str) -> None:
    assert cleaned(f"{line}\nOne.\n{line}\n{line}\nTwo.\n{line}") == ("One.\nTwo.", 4)
    assert cleaned(line) == ("", 1)


@pytest.mark.parametrize(
    "line",
    [
        "Leave a reply on her desk before noon.",
        "She had to skip to main content of the letter.",
        "Why comments are closed on old stories",
        "Share this post with those who doubt it.",
        "Back to top form",
    ],
)
def test_sentences_with_the_same_words_stay(line: str) -> None:
    assert cleaned(f"One.\n{line}\nTwo.") == (f"One.\n{line}\nTwo.", 0)


def test_blank_lines_and_other_texts_are_untouched() -> None:
    texts, counts = without_furniture(pa.array(["One.\n\nTwo.\n", "", "A\nLeave a reply\n\nB"]))
    assert texts.to_pylist() == ["One.\n\nTwo.\n", "", "A\n\nB"]
    assert counts.to_pylist() == [0, 0, 1]


def test_the_stage_counts_such_lines_only_when_asked() -> None:
    from curate.documents import Batch
    from curate.stages.base import Context
    from curate.stages.line_cleaning import LineCleaning, LineCleaningConfig

    rows = pa.record_batch({"text": ["A sentence of five words.\nLeave a Reply."]})
    for furniture, wanted in ((True, "A sentence of five words."), (False, rows["text"][0].as_py())):
        stage = LineCleaning(LineCleaningConfig.model_validate({"furniture": furniture}))
        stage.open(Context())
        (row,) = stage.process(Batch(rows)).rows.to_pylist()
        assert row["text"] == wanted
        assert row.get("line_cleaning_furniture") == (1 if furniture else None)
