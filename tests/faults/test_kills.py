"""kill -9 anywhere: run again, and the result is that of a run that nobody disturbed."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from curate.store.failpoints import FAILPOINTS
from tests.running import command, curate, digests, environment, write_config, write_documents

PLACES = ["store.before_write", "store.before_rename", "store.after_rename", "receipt.before", "receipt.after",
          "pass.batch", "step.start", "run.between_steps", "lock.taken"]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("input"))


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    config = write_config(tmp_path_factory.mktemp("reference") / "reference.json", source, run={"name": "same"})
    assert curate("run", str(config)).returncode == 0
    return digests(config.with_suffix(""))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


#: in the default suite: before a file appears; duplicate removal is killed between outputs and receipt
OFTEN = {"store.before_rename"}


@pytest.mark.parametrize("place", [p if p in OFTEN else pytest.param(p, marks=pytest.mark.slow) for p in PLACES])
def test_a_run_killed_at_a_named_place_is_finished_by_the_next(
    place: str, source: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    config = write_config(tmp_path / "killed.json", source, run={"name": "same", "workers": 2})
    first = curate("run", str(config), failpoint=f"{place}:kill@2" if place != "lock.taken" else f"{place}:kill")
    # a killed worker is replaced at once; a killed run leaves the rest to the next
    assert first.returncode in {0, -signal.SIGKILL, 6}, first.stderr
    second = curate("run", str(config))
    assert second.returncode == 0, second.stderr
    assert digests(config.with_suffix("")) == undisturbed
    assert curate("verify", str(config.with_suffix(""))).returncode == 0


def test_every_failpoint_is_reached_by_these_tests() -> None:
    assert set(FAILPOINTS) == {*PLACES, "pass.document"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_run_killed_at_random_again_and_again_ends_like_one_undisturbed(
    seed: int, source: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    config = write_config(tmp_path / "random.json", source, run={"name": "same", "workers": 2})
    draw = random.Random(seed)
    for _ in range(4):
        process = subprocess.Popen(
            command("run", str(config)), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.3, 3.0))
        kill_group(process)
    last = curate("run", str(config))
    assert last.returncode == 0, last.stderr
    assert digests(config.with_suffix("")) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_polite_stop_ends_at_once_and_can_be_resumed(
    number: signal.Signals, source: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    config = write_config(tmp_path / "stopped.json", source, run={"name": "same", "workers": 1})
    # the worker hangs in its first batch, so the run is surely at work when the signal comes
    process = subprocess.Popen(command("run", str(config)), env=environment("pass.batch:hang"), stderr=subprocess.PIPE)
    while not (config.with_suffix("") / "log.jsonl").exists():
        time.sleep(0.05)
    time.sleep(1.0)
    start = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert time.monotonic() - start < 20
    assert curate("run", str(config), "--set", "run.workers=2").returncode == 0
    assert digests(config.with_suffix("")) == undisturbed
