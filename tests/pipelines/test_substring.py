"""Repeated spans in a run: recorded, cut when asked, counted, told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.store.folder import LocalFolder
from curate.store.receipts import read_receipt
from pipelines.config import load_config
from pipelines.verify import verify
from pipelines.why import explain
from tests.end_to_end.here import rows, run_here
from tests.running import WORDS, write_config

#: twelve words that three documents share, between words that are theirs alone
NOTICE = "All rights reserved. No part of this page may be copied without consent."
TEXTS = {
    "a": f"{' '.join(WORDS[0:14])}\n\n{NOTICE}\n\n{' '.join(WORDS[14:20])}",
    "b": f"{' '.join(WORDS[7:21])}\n\n{NOTICE.upper()}",
    "c": f"Mill — {NOTICE} Boat",
    "d": " ".join(reversed(WORDS[0:16])),
    "e": " ".join(reversed(WORDS[0:16])),
}


def make(folder: Path, **options: Any) -> Path:
    """A run in this process over the five documents in two files; where it is."""
    (folder / "input").mkdir(parents=True)
    lines = [json.dumps({"id": k, "text": t}) for k, t in TEXTS.items()]
    (folder / "input/a.jsonl").write_text("\n".join([*lines[:2], lines[3]]) + "\n")
    (folder / "input/b.jsonl").write_text("\n".join([lines[2], lines[4]]) + "\n")
    (folder / "scratch").mkdir()
    config = write_config(
        folder / "r.json", folder / "input", stages=[{"tokens": {}}],
        dedup=[{"exact": {}}, {"substring": {"n": 12, "partitions": 2, **options}}],
        recipe={"groups": ["dedup_kind"], "quality_bands": None}, report={},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        result = run_here(load_config(config), folder / "scratch", patch)
        assert result.exit_code == 0, result.problems
    return config.with_suffix("")


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("cut"), remove=True, min_remaining_words=3)


def corpus(run: Path) -> dict[str, dict[str, Any]]:
    return {row["source_id"]: row for row in rows(run, "corpus")}


def first_of(run: Path) -> str:
    """Which of the three documents with the notice keeps it: the one with the smallest id."""
    ids = {r["source_id"]: r["id"] for r in (*rows(run, "corpus"), *rows(run, "dropped"))}
    return min("abc", key=lambda key: ids[key])


def test_cut_texts_lose_the_notice_and_the_first_keeps_it(cut: Path) -> None:
    found = corpus(cut)
    first = first_of(cut)
    without = {"a": f"{' '.join(WORDS[0:14])}\n\n.\n\n{' '.join(WORDS[14:20])}", "b": f"{' '.join(WORDS[7:21])}\n\n."}
    for key in "ab":
        assert found[key]["text"] == (TEXTS[key] if key == first else without[key])
    assert ("c" in found) == (first == "c")
    assert found["d" if "d" in found else "e"]["text"] == TEXTS["d"]
