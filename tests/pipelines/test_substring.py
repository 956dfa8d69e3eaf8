"""Repeated spans in a run: recorded, cut when asked, counted, told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from curate.documents import Batch
from curate.stages.base import Context
from curate.stages.tokens import Tokens
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


def make(folder: Path, changes: dict[str, Any] | None = None, **options: Any) -> Path:
    """A run in this process over the five documents in two files; where it is."""
    (folder / "input").mkdir(parents=True)
    lines = [json.dumps({"id": k, "text": t}) for k, t in TEXTS.items()]
    (folder / "input/a.jsonl").write_text("\n".join([*lines[:2], lines[3]]) + "\n")
    (folder / "input/b.jsonl").write_text("\n".join([lines[4], lines[2]]) + "\n")
    (folder / "scratch").mkdir()
    config = write_config(
        folder / "r.json", folder / "input", stages=[{"tokens": {}}],
        dedup=[{"exact": {}}, {"substring": {"n": 12, "partitions": 2, **options}}],
        **{"recipe": {"groups": ["dedup_kind"], "quality_bands": None}, "report": {}, **(changes or {})},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        result = run_here(load_config(config), folder / "scratch", patch)
        assert result.exit_code == 0, result.problems
    return config.with_suffix("")


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("cut"), remove=True, min_remaining_words=3)


def everything(run: Path) -> dict[str, dict[str, Any]]:
    """The five documents by their own ids, from the corpus or the dropped."""
    return {row["source_id"]: row for kind in ("corpus", "dropped") for row in rows(run, kind)}


def keeper(run: Path) -> str:
    """Which of the three documents with the notice keeps it: the one with the smallest id."""
    found = everything(run)
    return min("abc", key=lambda key: str(found[key]["id"]))


def receipts(run: Path, step: str) -> list[dict[str, Any]]:
    folder = LocalFolder(run)
    return [receipt.counts for p in ("00000", "00001") if (receipt := read_receipt(folder, step, p)) is not None]


def test_texts_lose_the_notice_but_where_it_stands_first(cut: Path) -> None:
    found, first = everything(cut), keeper(cut)
    assert first != "c"  # the input's place decides the ids; else nothing would be left with too little
    other = "b" if first == "a" else "a"
    left = {"a": f"{' '.join(WORDS[0:14])}\n\n.\n\n{' '.join(WORDS[14:20])}", "b": f"{' '.join(WORDS[7:21])}\n\n."}
    assert (found[first]["text"], found[first]["cut_bytes"]) == (TEXTS[first], 0)
    assert (found[other]["text"], found[other]["cut_bytes"]) == (left[other], len(TEXTS[other]) - len(left[other]))
    assert found[first]["substring_spans"] == [] and len(found[first]["substring_first_spans"]) == 1
    assert found[other]["substring_repeated_ratio"] == pytest.approx((len(NOTICE) - 1) / len(TEXTS[other]))


def test_a_text_left_with_too_little_is_dropped_and_counted(cut: Path) -> None:
    dropped = everything(cut)["c"]
    assert (dropped["stage"], dropped["reason"], dropped["value"], dropped["threshold"]) == (
        "substring", "nothing_left", 2.0, 3.0,
    )  # fmt: skip
    told = verify(str(cut))
    assert told["problems"] == []
    assert told["dropped"]["substring:nothing_left"] == 1
    assert sum(c["cut_documents"] for c in receipts(cut, "select")) == 1


def test_duplicates_are_not_looked_at_and_have_no_labels(cut: Path) -> None:
    labels = [row for path in sorted((cut / "labels/substring").glob("*")) for row in pq.read_table(path).to_pylist()]
    silent = [row["id"] for row in labels if row["substring_repeated_ratio"] is None]
    assert silent == [r["id"] for r in rows(cut, "dropped") if r["stage"] == "exact"]
    assert len(silent) == 1


def test_tokens_are_those_of_the_cut_texts_and_the_recipe_holds(cut: Path) -> None:
    corpus = rows(cut, "corpus")
    stage = Tokens()
    stage.open(Context())
    batch = Batch(pa.RecordBatch.from_arrays([pa.array([r["text"] for r in corpus])], names=["text"]))
    assert [r["tokens_count"] for r in corpus] == stage.process(batch).column("tokens_count").to_pylist()
    recipe = YAML(typ="safe").load((cut / "recipe/recipe.yaml").read_text())
    assert sum(g["tokens"] for g in recipe["groups"]) == sum(r["tokens_count"] for r in corpus)
    mixed = pq.read_table(cut / "mixed").to_pylist()
    assert {m["text"] for m in mixed} == {r["text"] for r in corpus}
    assert sum(m["mix_tokens"] for m in mixed) == recipe["tokens"]


def test_the_tally_names_hashes_and_counts_and_no_text(cut: Path) -> None:
    text = (cut / "dedup/substring.json").read_text()
    tally = json.loads(text)
    assert (tally["documents_with_spans"], tally["spans"], tally["repeated_windows"]) == (2, 2, 2)
    assert tally["span_bytes"] == 2 * (len(NOTICE) - 1)
    assert [f["count"] for f in tally["most_frequent"]] == [3]
    assert tally["most_frequent"][0]["first_document"] == everything(cut)[keeper(cut)]["id"]
    assert "reserved" not in text.lower()


def test_why_tells_what_was_cut(cut: Path) -> None:
    other = "b" if keeper(cut) == "a" else "a"
    row = everything(cut)[other]
    assert explain(str(cut), other)["cut"] == {
        "bytes": row["cut_bytes"], "substring": {"spans": 1, "bytes": len(NOTICE) - 1},
    }  # fmt: skip
    assert explain(str(cut), "c")["cut"] == {"substring": {"spans": 1, "bytes": len(NOTICE) - 1}}
    assert "cut" not in explain(str(cut), keeper(cut))


def test_without_remove_the_spans_are_labels_and_the_texts_stay(cut: Path, tmp_path: Path) -> None:
    run = make(tmp_path, remove=False)
    found = everything(run)
    assert {key: found[key]["text"] for key in "abc"} == {key: TEXTS[key] for key in "abc"}
    assert "cut_bytes" not in found["a"]
    spans = "substring_spans"
    assert [found[k][spans] for k in "abc"] == [everything_labels(cut)[found[k]["id"]] for k in "abc"]
    assert "cut" not in explain(str(run), "a")


def test_who_opts_out_keeps_no_span_from_the_others(cut: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(keeper(cut) + "\n")
    changes = {"recipe": None, "report": None, "opt_out": {"ids": [str(tmp_path / "ids.txt")]}}
    found = {
        row["source_id"]: row for row in rows(make(tmp_path, changes, remove=True, min_remaining_words=0), "corpus")
    }
    left = [key for key in "abc" if key != keeper(cut)]
    assert sorted(NOTICE[:-1].lower() in found[key]["text"].lower() for key in left) == [False, True]


def everything_labels(run: Path) -> dict[str, Any]:
    """The spans of every document, from the label tables."""
    return {
        row["id"]: row["substring_spans"]
        for path in (run / "labels/substring").glob("*")
        for row in pq.read_table(path).to_pylist()
    }
