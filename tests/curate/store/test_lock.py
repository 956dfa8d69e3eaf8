"""One run at a time on one folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.errors import EnvironmentGone
from curate.store.lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from curate.store.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path, repo: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=repo
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path: Path, repo: Path) -> None:
    holder = hold(tmp_path, repo)
    try:
        with pytest.raises(EnvironmentGone, match=f"pid {holder.pid}"), RunLock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()


def test_a_killed_run_does_not_lock_the_folder_and_is_named(tmp_path: Path, repo: Path) -> None:
    holder = hold(tmp_path, repo)
    holder.kill()
    holder.wait()
    with RunLock(tmp_path) as lock:
        assert lock.took_over is not None and str(holder.pid) in lock.took_over


def test_a_released_lock_is_free_without_remark(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        pass
    with RunLock(tmp_path) as lock:
        assert lock.took_over is None


def test_a_live_run_on_another_host_is_respected_for_two_minutes(tmp_path: Path) -> None:
    body = {"pid": 1, "host": "node-17", "state": "running", "heartbeat": time.time()}
    (tmp_path / ".lock").write_text(json.dumps(body))
    with pytest.raises(EnvironmentGone, match="node-17"), RunLock(tmp_path):
        pass
    body["heartbeat"] = time.time() - 121
    (tmp_path / ".lock").write_text(json.dumps(body))
    with RunLock(tmp_path) as lock:
        assert lock.took_over is not None


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentGone, match=r"run\.output"), RunLock(tmp_path / "file"):
        pass
