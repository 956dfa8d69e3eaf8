"""The raters' pass in a run: who is rated, what the others get, what stays aligned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.running import curate, digests, write_config

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


def _refused(folder: Path, labels: list[Any]) -> str:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in/a.jsonl").write_text(json.dumps({"id": "a", "text": ESSAY}) + "\n", encoding="utf-8")
    done = curate("plan", str(write_config(folder / "run.yaml", folder / "in", labels=labels, keep=None, recipe=None)))
    assert done.returncode == 2
    return done.stderr


def test_what_is_wrong_with_a_rater_is_told_at_its_place(tmp_path: Path) -> None:
    told = _refused(tmp_path, ["lite", {"card": "lit"}, {"card": "lite", "modle": "x"}, "dclm_oh_eli5", 3])
    assert "run.yaml:" in told
    assert "there is no card 'lit'; did you mean 'lite'" in told
    assert "unknown key `modle`" in told and "did you mean `model`?" in told
    assert "write {card: dclm_oh_eli5, model: PATH}" in told
    assert "`labels[4]` must be a name, or a map with `card`" in told


def test_a_model_that_nobody_pins_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"not read")
    told = _refused(tmp_path, [{"card": "dclm_oh_eli5", "model": "model.bin"}])
    assert "does not pin its model" in told and "allow_unpinned: true" in told


def test_cards_of_the_project_and_of_ones_own_run_in_one_pass(tmp_path: Path) -> None:
    """Two raters by rule, one named by its path; the run says twice the same, and remembers what it was given."""
    (tmp_path / "in").mkdir()
    rows = [{"id": name, "text": text} for name, text in TEXTS.items()]
    (tmp_path / "in/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "own.yaml").write_text(
        "{name: own, title: mine, revision: '1', backend: lexical, licence: mine, source: me, min_words: 3, "
        "labels: [{name: smog, range: [0, .inf], meaning: grade}]}",
        encoding="utf-8",
    )
    labels = ["meta_rater_rules", {"card": "own.yaml"}]
    config = write_config(tmp_path / "run.yaml", tmp_path / "in", labels=labels, keep=None, recipe=None)
    done = curate("run", str(config))
    assert done.returncode == 0, done.stderr + done.stdout
    found = {r["source_id"]: r for r in table(tmp_path / "run", "corpus")}
    assert found["short"]["own_status"] == "too_short" and found["short"]["meta_rater_rules_status"] == "ok"
    assert found["short"]["meta_rater_rules_rps_doc_word_count"] == 2
    assert found["essay"]["own_smog"] > found["spin"]["own_smog"] > 0
    before = digests(tmp_path / "run")
    assert curate("run", str(config)).returncode == 0 and digests(tmp_path / "run") == before
