"""A plan says what would be done and why, value by value, and touches nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import load_config
from pipelines.plan import Plan, differences, make_plan
from tests.end_to_end.here import run_here
from tests.running import digests, write_config, write_documents


@pytest.fixture
def config(tmp_path: Path) -> Path:
    source = write_documents(tmp_path / "input", files=2, documents=6)
    return write_config(
        tmp_path / "r.json", source, stages=[{"pii": {}}, {"text_stats": {}}], keep="pii_emails < 9", recipe=None
    )


@pytest.fixture
def done(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scratch").mkdir()
    assert run_here(load_config(config), tmp_path / "scratch", monkeypatch).exit_code == 0
    return config.with_suffix("")


def plan(config: Path, *overrides: str) -> Plan:
    return make_plan(load_config(config, list(overrides)))


def reasons(found: Plan) -> dict[str, str]:
    return {s.name: s.reason for s in found.steps}


def test_the_plan_of_a_new_run_does_everything_and_writes_nothing(config: Path) -> None:
    found = plan(config)
    assert set(reasons(found).values()) == {"never done"}
    assert (found.files, found.bytes) == (2, sum(p.stat().st_size for p in config.parent.glob("input/*")))
    assert not config.with_suffix("").exists()


def test_the_plan_of_a_finished_run_does_nothing(config: Path, done: Path) -> None:
    before = digests(done)
    found = plan(config)
    assert set(reasons(found).values()) == {"done"}
    assert sum(s.todo for s in found.steps) == 0
    assert digests(done) == before


@pytest.mark.parametrize(
    ("override", "redone", "detail"),
    [
        ("keep=pii_emails < 5", "select", "keep: pii_emails < 9 → pii_emails < 5"),
        ("stages.text_stats.short_line_chars=20", "labels", "short_line_chars: 30 → 20"),
        ("stages.pii.emails=<MAIL>", "documents", "emails: <EMAIL> → <MAIL>"),
        ("input.line_mb=3", "documents", "line_mb: 64 → 3"),
    ],
)
def test_a_changed_value_redoes_its_step_and_what_follows_and_is_told(
    override: str, redone: str, detail: str, config: Path, done: Path
) -> None:
    found = plan(config, override)
    steps = {s.name: s for s in found.steps}
    order = ["documents", "labels", "select"]
    for name in order[: order.index(redone)]:
        assert steps[name].todo == 0
    assert steps[redone].todo == 2 and "config" in steps[redone].reason
    assert any(detail in line for line in steps[redone].detail), steps[redone].detail
    for name in order[order.index(redone) + 1 :]:
        assert steps[name].reason == "a step before it is redone"


def test_values_that_decide_no_output_redo_nothing(config: Path, done: Path) -> None:
    found = plan(config, "run.workers=7", "run.max_failed_ratio=0.5", "run.task_attempts=5", "run.worker_memory_mb=999")
    assert sum(s.todo for s in found.steps if s.name in {"documents", "labels", "select"}) == 0


def test_a_changed_input_redoes_its_shard_alone(config: Path, done: Path) -> None:
    with (config.parent / "input/part-1.jsonl").open("a") as file:
        file.write('{"id": "new", "text": "one more"}\n')
    found = plan(config)
    steps = {s.name: s for s in found.steps}
    assert found.changes.changed == ("part-1.jsonl",)
    assert (steps["documents"].todo, steps["documents"].reason) == (1, "the input file changed")
    assert (steps["select"].todo, steps["select"].reason) == (1, "a step before it is redone")


def test_files_that_come_and_go_are_told(config: Path, done: Path) -> None:
    (config.parent / "input/part-0.jsonl").rename(config.parent / "input/part-7.jsonl")
    found = plan(config)
    assert (found.changes.added, found.changes.removed) == (("part-7.jsonl",), ("part-0.jsonl",))
    assert any("will be removed: documents: 1 tasks" in note for note in found.notes)


def test_an_output_that_is_gone_or_of_another_size_is_made_again(config: Path, done: Path) -> None:
    (done / "corpus/00000.parquet").unlink()
    with (done / "corpus/00001.parquet").open("ab") as file:
        file.write(b"!")
    (step,) = (s for s in plan(config).steps if s.name == "select")
    assert step.todo == 2
    assert "an output file is gone" in step.reason and "another size" in step.reason
    assert "corpus/00000.parquet" in step.detail


def test_another_version_of_the_code_redoes_its_step(config: Path, done: Path) -> None:
    path = done / "receipts/labels/00000.json"
    receipt = json.loads(path.read_bytes())
    receipt["material"]["version"] = 0
    receipt["fingerprint"] = "of another version"
    path.write_text(json.dumps(receipt))
    (step,) = (s for s in plan(config).steps if s.name == "labels")
    assert (step.todo, step.reason) == (1, "the code of the step changed")
    assert step.detail[0].startswith("0 → ") or step.detail[0].endswith("0 → 1")


def test_a_step_taken_out_of_the_config_is_told(config: Path, done: Path) -> None:
    raw = json.loads(config.read_text())
    raw["stages"] = [{"pii": {}}]
    config.write_text(json.dumps(raw))
    assert any("will be removed: labels: 2 tasks" in note for note in plan(config).notes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": 1}, {"a": 2}, ["p.a: 1 → 2"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["p.a.b.1: 2 → 3"]),
        ({"s": [{"name": "x", "v": 1}]}, {"s": [{"name": "x", "v": 2}]}, ["p.s.x.v: 1 → 2"]),
        ({"s": [{"name": "x"}]}, {"s": [{"name": "x"}, {"name": "y"}]}, ["p.s: ['x'] → ['x', 'y']"]),
        ({}, {"new": None}, ["p.new: (not there) → None"]),
        ("a" * 80, "b", ["p: " + "a" * 57 + "… → b"]),
    ],
)
def test_differences_name_every_leaf(old: Any, new: Any, said: list[str]) -> None:
    assert differences(old, new, "p") == said
