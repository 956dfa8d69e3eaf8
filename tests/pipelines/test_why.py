"""What became of a document is found by its id, the start of it, its address, or the input's own id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.documents import document_id
from curate.errors import ConfigError
from pipelines.config import load_config
from pipelines.why import explain
from tests.end_to_end.here import rows, run_here
from tests.running import WORDS, curate, write_config

TEXTS = {
    "kept": " ".join(WORDS[:30]),
    "mail": " ".join(WORDS[2:31]) + " someone@example.org",
    "repeat": " ".join(WORDS[:30]),
    "short": "two words",
    "empty": "",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("why")
    lines = [json.dumps({"id": k, "text": t, "url": f"https://example.org/{k}"}) for k, t in TEXTS.items()]
    (folder / "input").mkdir()
    (folder / "input/a.jsonl").write_text("\n".join([*lines, '{"id": "cut", "text": 7}']) + "\n")
    (folder / "scratch").mkdir()
    config = write_config(
        folder / "r.json", folder / "input",
        run={"max_failed_ratio": 1.0}, dedup=[{"exact": {}}], keep="dedup_is_survivor and pii_emails < 1", recipe=None,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        assert run_here(load_config(config), folder / "scratch", patch).exit_code == 0
    return config.with_suffix("")


def id_of(run: Path, source_id: str) -> str:
    found = [r["id"] for kind in ("corpus", "dropped") for r in rows(run, kind) if r["source_id"] == source_id]
    assert len(found) == 1
    return str(found[0])


def test_a_kept_document_tells_its_place_and_its_labels(run: Path) -> None:
    told = explain(str(run), id_of(run, "short"))
    assert (told["end"], told["source"], told["source_id"]) == ("kept", "a.jsonl", "short")
    assert told["id"] == document_id("a.jsonl", told["offset"])
    assert told["labels"]["pii_emails"] == 0 and told["labels"]["dedup_is_survivor"] is True
    assert told["history"] == []


def test_a_dropped_document_tells_stage_reason_value_and_threshold(run: Path) -> None:
    told = explain(str(run), "mail")
    assert told["end"] == "dropped"
    (entry,) = told["history"]
    assert (entry["stage"], entry["reason"], entry["value"], entry["threshold"]) == ("keep", "pii_emails < 1", 1.0, 1.0)
    assert told["labels"]["pii_emails"] == 1


def test_a_duplicate_names_its_survivor(run: Path) -> None:
    both = {name: explain(str(run), name) for name in ("kept", "repeat")}
    (gone,) = (t for t in both.values() if t["end"] == "dropped")
    (survivor,) = (t for t in both.values() if t["end"] == "kept")
    (entry,) = gone["history"]
    assert (entry["stage"], entry["reason"]) == ("exact", "exact_duplicate")
    assert entry["survivor"] == survivor["id"]


def test_a_document_that_was_dropped_while_reading_is_known(run: Path) -> None:
    told = explain(str(run), "https://example.org/empty")
    assert told["end"] == "dropped" and told["history"][0]["stage"] == "read"
    assert told["labels"] == {}


def test_a_failed_record_is_known_by_its_id(run: Path) -> None:
    (row,) = [r for r in rows(run, "failed") if r["level"] == "error"]
    assert row["error"] == "schema.text"
    if row["id"] is not None:
        told = explain(str(run), row["id"])
        assert told["end"] == "failed" and told["history"][0]["error"] == "schema.text"
        assert told["history"][0]["meaning"].startswith("the field that should hold the text is missing")
    else:
        id_ = document_id("a.jsonl", row["offset"])
        told = explain(str(run), id_)
        assert told["end"] == "failed" and told["history"][0]["error"] == "schema.text"


@pytest.mark.parametrize("key", ["id", "prefix", "PREFIX", "url", "source_id"])
def test_a_document_is_found_by_every_name_it_has(key: str, run: Path) -> None:
    id_ = id_of(run, "short")
    names = {
        "id": id_, "prefix": id_[:8], "PREFIX": id_[:8].upper(), "url": "https://example.org/short",
        "source_id": "short",
    }  # fmt: skip
    assert explain(str(run), names[key])["id"] == id_


@pytest.mark.parametrize("key", ["nowhere", "ffffffffffff", "", "https://example.org/"])
def test_an_unknown_name_is_told_with_what_may_be_given(key: str, run: Path) -> None:
    with pytest.raises(ConfigError, match="give an id or the start of one"):
        explain(str(run), key)


def test_the_command_answers_in_json(run: Path) -> None:
    result = curate("why", "mail", "--run", str(run), "--json")
    told: dict[str, Any] = json.loads(result.stdout)
    assert result.returncode == 0 and told["end"] == "dropped"
    assert curate("why", "nowhere", "--run", str(run)).returncode == 2
