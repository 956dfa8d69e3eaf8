"""Semantic duplicates: killed in each phase, and with other numbers of workers, the same bytes."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.pipelines.test_semantic import DEDUP, write_input
from tests.running import curate, digests, write_config

pytestmark = pytest.mark.slow

PHASES = ["vectors_model", "vectors", "semantic_centroids", "semantic_assign", "semantic_compare", "semantic",
          "semantic_summary"]  # fmt: skip


def config(folder: Path, source: Path, workers: int) -> Path:
    run = {"name": "same", "workers": workers}
    return write_config(folder / "run.json", source, run=run, stages=[], recipe=None, dedup=DEDUP)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_input(tmp_path_factory.mktemp("input") / "in")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = config(tmp_path_factory.mktemp("reference"), source, 1)
    result = curate("run", str(path))
    assert result.returncode == 0, result.stderr
    return path.with_suffix("")


@pytest.mark.parametrize("workers", [2, 8])
def test_any_number_of_workers_gives_the_same_bytes(
    source: Path, undisturbed: Path, tmp_path: Path, workers: int
) -> None:
    assert curate("run", str(config(tmp_path, source, workers))).returncode == 0
    assert digests(tmp_path / "run") == digests(undisturbed)


@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_any_phase_the_result_is_the_same(
    source: Path, undisturbed: Path, tmp_path: Path, phase: str
) -> None:
    path = config(tmp_path, source, 2)
    shutil.copytree(undisturbed, tmp_path / "run")
    for step in [*PHASES[PHASES.index(phase) :], "select", "card"]:
        shutil.rmtree(tmp_path / "run/receipts" / step, ignore_errors=True)
    first = curate("run", str(path), failpoint="receipt.before:kill")
    assert first.returncode in {0, 6, -signal.SIGKILL}
    result = curate("run", str(path))
    assert result.returncode == 0, result.stderr
    assert digests(tmp_path / "run") == digests(undisturbed)
