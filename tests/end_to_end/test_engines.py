"""The same run on every engine gives the same files; a lost worker is an outcome on each."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from curate.documents import document_id
from curate.sources.base import InputFile, ReadOptions
from curate.sources.warc import WarcSource
from tests.end_to_end.here import rows
from tests.end_to_end.small_crawl import write_crawl
from tests.running import curate, digests

STAGES: list[dict[str, Any]] = [
    {"url_filter": {"words": ["viagra"]}},
    {"extract_html": {}},
    {"language": {"min_score": 0.1}},
    {"pii": {}},
    {"text_stats": {"language": "column"}},
    {
        "quality_rules": {
            "presets": ["gopher_quality", "fineweb"],
            "thresholds": {"gopher_quality": {"min_words": 20, "min_stop_words": 0, "min_alpha_word_ratio": 0.6}},
        }
    },
]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the package ray is not installed")


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crawl(tmp_path_factory.mktemp("crawl"))


def write_config(path: Path, crawl: Path, **run: Any) -> Path:
    config = {
        "run": {"name": "engines", "output": str(path.with_suffix("")), **run},
        "input": {"kind": "warc", "paths": [str(crawl)]},
        "stages": STAGES,
        "dedup": [{"exact": {}}, {"minhash": {"threshold": 0.8}}],
        "keep": "dedup_is_survivor and text_stats_n_words >= 5",
        "recipe": {"groups": ["language_code"]},
        "report": None,
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def alone(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run by one local worker."""
    config = write_config(tmp_path_factory.mktemp("alone") / "run.json", crawl, workers=1)
    result = curate("run", str(config))
    assert result.returncode == 0, result.stderr
    return config.with_suffix("")


def test_the_run_decides_something_at_every_stage(alone: Path) -> None:
    dropped = rows(alone, "dropped")
    assert {"read", "url_filter", "quality_rules", "exact", "minhash"} <= {row["stage"] for row in dropped}
    kept = rows(alone, "corpus")
    assert {"en", "de", "ru"} <= {row["language_code"] for row in kept}
    assert sum(row["pii_emails"] for row in kept) > 0
    assert len(kept) + len(dropped) == 72


def test_two_workers_give_the_same_files_as_one(crawl: Path, alone: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "two.json", crawl, workers=2)
    assert curate("run", str(config)).returncode == 0
    assert digests(config.with_suffix("")) == digests(alone)


@pytest.mark.slow
def test_batches_of_another_size_give_the_same_corpus(crawl: Path, alone: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "small.json", crawl, workers=2)
    result = curate("run", str(config), "--set", "input.batch_documents=5")
    assert result.returncode == 0, result.stderr
    for kind in ("corpus", "failed"):
        assert rows(config.with_suffix(""), kind) == rows(alone, kind)
    # what is dropped is written as it leaves, batch by batch
    found, wanted = ({r["id"]: r for r in rows(run, "dropped")} for run in (config.with_suffix(""), alone))
    assert found == wanted


@needs_ray
@pytest.mark.slow
def test_ray_gives_the_same_files_as_one_worker(crawl: Path, alone: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "ray.json", crawl, workers=2, launcher="ray")
    result = curate("run", str(config), timeout=240)
    assert result.returncode == 0, result.stderr
    assert digests(config.with_suffix("")) == digests(alone)
    assert curate("verify", str(config.with_suffix(""))).returncode == 0


@needs_ray
@pytest.mark.slow
def test_a_run_begun_locally_is_finished_on_ray(crawl: Path, alone: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "moved.json", crawl, workers=1)
    assert curate("run", str(config), failpoint="run.between_steps:kill").returncode == -9
    result = curate("run", str(config), "--set", "run.launcher=ray", timeout=240)
    assert result.returncode == 0, result.stderr
    assert digests(config.with_suffix("")) == digests(alone)


@needs_ray
@pytest.mark.slow
def test_the_document_that_kills_its_ray_worker_is_failed_and_its_neighbours_survive(
    crawl: Path, alone: Path, tmp_path: Path
) -> None:
    victim = next(row["id"] for row in rows(alone, "corpus") if row["source"] == "crawl-1.warc.gz")
    config = write_config(tmp_path / "killed.json", crawl, workers=2, launcher="ray", max_failed_ratio=1.0)
    result = curate("run", str(config), failpoint=f"pass.document:kill@id={victim}", timeout=240)
    run = config.with_suffix("")
    assert result.returncode == 0, result.stderr
    assert [(r["id"], r["error"], r["stage"]) for r in rows(run, "failed")] == [(victim, "worker.crash", "worker")]
    assert victim not in {r["id"] for r in rows(run, "corpus")}
    assert curate("verify", str(run)).returncode == 0


@needs_ray
@pytest.mark.slow
def test_a_task_that_fails_on_ray_never_ends_with_0(crawl: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "failing.json", crawl, workers=2, launcher="ray")
    result = curate("run", str(config), failpoint="step.start:kill", timeout=240)
    assert result.returncode == 6
    assert "died again and again" in result.stderr


def test_datatrove_keeps_the_same_documents_with_the_same_text(crawl: Path, alone: Path, tmp_path: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    from pipelines.datatrove import AsPipelineStep

    pages = write_pages(crawl, tmp_path / "pages")
    assert pages == 72 - 3
    stages = [(name, options) for stage in STAGES for name, options in stage.items()]
    LocalPipelineExecutor(
        [JsonlReader(str(tmp_path / "pages")), AsPipelineStep(stages, batch_documents=16),
         JsonlWriter(str(tmp_path / "out"))],
        tasks=3, workers=1, logging_dir=str(tmp_path / "logs"),
    ).run()  # fmt: skip
    packed = [gzip.decompress(path.read_bytes()) for path in sorted((tmp_path / "out").glob("*.gz"))]
    lines = [json.loads(line) for data in packed for line in data.splitlines()]
    theirs = {line["id"]: line["text"] for line in lines}
    # what our run dropped behind the stages, datatrove was not asked to drop
    later = {r["id"] for r in rows(alone, "dropped") if r["stage"] in {"exact", "minhash", "keep"}}
    ours = {r["id"]: r["text"] for r in rows(alone, "corpus")}
    assert set(theirs) == {*ours, *later}
    assert {id_: theirs[id_] for id_ in ours} == ours
    labels = {r["id"]: r["language_code"] for r in rows(alone, "corpus")}
    assert {line["id"]: line["metadata"]["language_code"] for line in lines if line["id"] in labels} == labels


def write_pages(crawl: Path, folder: Path) -> int:
    """The pages of the crawl as JSONL for datatrove's reader; returns how many."""
    folder.mkdir()
    count = 0
    for path in sorted(crawl.glob("*.warc.gz")):
        source = WarcSource(InputFile(str(path), path.name, "warc", path.stat().st_size, ""), ReadOptions())
        lines = []
        with path.open("rb") as file:
            for batch in source.batches(file):
                for row in batch.rows.to_pylist():
                    assert row["id"] == document_id(path.name, row["offset"])
                    # datatrove's readers skip documents without text, so a placeholder stands in
                    line = {"id": row["id"], "text": "page", "url": row["url"], "html": row["html"]}
                    lines.append(json.dumps(line))
        (folder / f"{path.stem}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        count += len(lines)
    return count
