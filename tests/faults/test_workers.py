"""Workers that die: the shard is tried again, the document that kills is found, its neighbours survive."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.documents import document_id
from tests.running import curate, write_config, write_documents


def offset_of(path: Path, line: int) -> int:
    return sum(len(text) for text in path.read_bytes().splitlines(keepends=True)[:line])


def failed(run: Path) -> list[dict]:
    rows: list[dict] = []
    for path in sorted((run / "failed").glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_documents(tmp_path / "input", files=2, documents=40)


def victim(source: Path) -> str:
    return document_id("part-1.jsonl", offset_of(source / "part-1.jsonl", 17))


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("segv", "worker.crash"),
        pytest.param("kill", "worker.crash", marks=pytest.mark.slow),
        pytest.param("hang", "limit.cpu_seconds", marks=pytest.mark.slow),
    ],
)
def test_the_document_that_kills_its_worker_is_failed_and_its_neighbours_survive(
    action: str, error: str, source: Path, tmp_path: Path
) -> None:
    limits = {"cpu_seconds_per_document": 0.05} if action == "hang" else {}
    config = write_config(tmp_path / "r.json", source, run={"max_failed_ratio": 1.0, "workers": 2, **limits})
    id_ = victim(source)
    result = curate("run", str(config), failpoint=f"pass.document:{action}@id={id_}")
    run = config.with_suffix("")
    assert result.returncode == 0, result.stderr
    assert [(r["id"], r["error"], r["stage"]) for r in failed(run)] == [(id_, error, "worker")]
    kept = [i for path in (run / "corpus").glob("*.parquet") for i in pq.read_table(path)["id"].to_pylist()]
    assert len(kept) == 79 and id_ not in kept
    assert curate("verify", str(run)).returncode == 0


@pytest.mark.slow
def test_a_document_found_to_kill_is_not_tried_again_by_a_later_run(source: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "r.json", source, run={"max_failed_ratio": 1.0})
    id_ = victim(source)
    assert curate("run", str(config), failpoint=f"pass.document:kill@id={id_}").returncode == 0
    # another stage config redoes the pass; the poisoned document still kills, and is not given to a stage
    again = curate("run", str(config), "--set", "stages.pii.us_ssns=<SSN>", failpoint=f"pass.document:kill@id={id_}")
    assert again.returncode == 0, again.stderr
    log = (config.with_suffix("") / "log.jsonl").read_text(encoding="utf-8")
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert "died" not in events[events.index("end") :]


@pytest.mark.slow
def test_a_task_that_always_dies_is_given_up_and_the_rest_is_done(source: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "r.json", source)
    result = curate("run", str(config), failpoint="step.start:kill")
    assert result.returncode == 6
    assert "died again and again" in result.stderr
    assert curate("run", str(config)).returncode == 0


def test_failures_above_the_threshold_end_with_3_and_the_output_stands(source: Path, tmp_path: Path) -> None:
    with (source / "part-0.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": 1, "text": \n')
    config = write_config(tmp_path / "r.json", source)
    result = curate("run", str(config))
    assert result.returncode == 3
    assert "max_failed_ratio" in result.stderr
    assert curate("verify", str(config.with_suffix(""))).returncode == 0


@pytest.mark.slow
def test_a_full_disk_ends_with_7_and_the_next_run_completes(source: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "r.json", source)
    result = curate("run", str(config), failpoint="store.before_rename:enospc@3")
    assert result.returncode == 7
    assert "free the disk" in result.stderr
    assert curate("run", str(config)).returncode == 0


@pytest.mark.slow
def test_an_input_that_vanishes_costs_itself_alone(source: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "r.json", source, run={"workers": 1})
    assert curate("run", str(config)).returncode == 0
    (source / "part-0.jsonl").unlink()
    refused = curate("run", str(config))
    assert refused.returncode == 2
    assert "1 removed (part-0.jsonl)" in refused.stderr
    accepted = curate("run", str(config), "--accept-input-changes")
    assert accepted.returncode == 0, accepted.stderr


@pytest.mark.slow
def test_a_changed_threshold_redoes_its_step_and_says_which_value_changed(source: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "r.json", source, keep="pii_emails == 0")
    assert curate("run", str(config)).returncode == 0
    plan = json.loads(curate("plan", str(config), "--json", "--set", "keep=pii_emails >= 0").stdout)
    steps = {s["name"]: s for s in plan["steps"]}
    assert steps["documents"]["todo"] == 0
    assert steps["select"]["todo"] == 2
    assert "keep: pii_emails == 0 → pii_emails >= 0" in steps["select"]["detail"][0]
    assert steps["mix"]["reason"] == "a step before it is redone"
