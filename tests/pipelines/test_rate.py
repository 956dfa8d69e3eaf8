"""The raters' pass in a run: who is rated, what the others get, what stays aligned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.running import curate, write_config

ESSAY = (
    "The library on the hill keeps its oldest maps in flat drawers, because paper that hangs for a century begins to "
    "tear along its folds. Each spring the archivist turns them over, notes which pigments have faded, and writes a "
    "short account of the damage, so that her successor can compare. "
)
GERMAN = (
    "Die Bibliothek auf dem Hügel bewahrt ihre ältesten Karten in flachen Schubladen auf, weil Papier, das hundert "
    "Jahre lang hängt, an den Falten zu reißen beginnt. Jeden Frühling wendet die Archivarin sie und schreibt auf, "
    "welche Farben verblasst sind und welche Risse in diesem Jahr neu hinzugekommen sind. "
)
TEXTS = {
    "essay": ESSAY + "Nobody asks her to do this, and nobody would notice for a decade if she stopped.",
    "german": GERMAN,
    "copy": ESSAY + "Nobody asks her to do this, and nobody would notice for a decade if she stopped.",
    "spin": "Best cheap shoes online. Buy best cheap shoes today. Cheap shoes best price, best shoes cheap, click now!",
    "short": "Two words.",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rate")
    (folder / "in").mkdir()
    with (folder / "in/a.jsonl").open("w", encoding="utf-8") as file:
        for name, text in TEXTS.items():
            file.write(json.dumps({"id": name, "text": text, "url": f"https://example.org/{name}"}) + "\n")
    config = write_config(
        folder / "run.yaml",
        folder / "in",
        stages=[{"language": {}}],
        dedup=[{"exact": {}}],
        labels=["lite"],
        domains={"from": "lite_domain"},
        keep="dedup_is_survivor",
        recipe=None,
    )
    done = curate("run", str(config))
    assert done.returncode == 0, done.stderr + done.stdout
    return folder / "run"


def table(run: Path, name: str) -> list[dict[str, Any]]:
    (path,) = sorted((run / name).rglob("*.parquet"))
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def rated(run: Path) -> dict[str, dict[str, Any]]:
    documents = table(run, "documents")
    labels = table(run, "labels/rate")
    assert [d["id"] for d in documents] == [r["id"] for r in labels]
    return {d["source_id"]: r for d, r in zip(documents, labels, strict=True)}


def test_survivors_are_rated_and_the_others_say_why_not(run_folder: Path) -> None:
    found = {name: row["lite_status"] for name, row in rated(run_folder).items()}
    duplicates = sorted([found.pop("essay"), found.pop("copy")])
    assert duplicates == ["not_asked", "ok"]
    assert found == {"german": "language", "spin": "ok", "short": found["short"]}
    assert found["short"] in {"too_short", "language"}


def test_without_a_number_every_label_is_null(run_folder: Path) -> None:
    for row in rated(run_folder).values():
        values = [v for k, v in row.items() if k.startswith("lite_") and k != "lite_status"]
        assert all((v is not None) == (row["lite_status"] == "ok") for v in values)


def test_the_pass_leaves_its_books_even_if_nothing_left(run_folder: Path) -> None:
    for kind in ("dropped", "failed"):
        (path,) = (run_folder / kind).glob("rate-*.parquet")
        assert pq.read_table(path).num_rows == 0


def test_the_corpus_has_scores_and_the_domain(run_folder: Path) -> None:
    corpus = {row["source_id"]: row for row in table(run_folder, "corpus")}
    assert len(corpus) == 4
    essay = corpus.get("essay") or corpus["copy"]
    assert essay["domain"] == essay["lite_domain"] is not None
    assert essay["lite_overall_score"] > corpus["spin"]["lite_overall_score"]
    assert corpus["german"]["domain"] is None


def test_the_run_can_be_verified_and_is_not_done_again(run_folder: Path) -> None:
    assert curate("verify", str(run_folder)).returncode == 0
    receipt = run_folder / "receipts/rate/00000.json"
    before = receipt.stat().st_mtime_ns
    assert curate("run", str(run_folder.parent / "run.yaml")).returncode == 0
    assert receipt.stat().st_mtime_ns == before


def test_an_unknown_card_is_an_error_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text('{"id": "1", "text": "some text"}\n', encoding="utf-8")
    config = write_config(tmp_path / "run.yaml", tmp_path / "in", labels=["lit"], recipe=None, stages=[])
    done = curate("run", str(config))
    assert done.returncode == 2
    assert "did you mean" in done.stderr + done.stdout
    assert not (tmp_path / "run/documents").exists()
