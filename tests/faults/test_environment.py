"""Faults of the environment: inputs and outputs that change under the run, full disks, limits, odd locales, two runs.

Each ends in a way that is told, with an exit code that says what to do, and the same command completes it afterwards.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.errors import EnvironmentGone
from curate.sources.jsonl import JsonlSource
from curate.store import failpoints
from pipelines.config import load_config
from pipelines.tasks import Task
from pipelines.verify import verify
from tests.end_to_end.here import rows, run_here
from tests.running import command, curate, digests, environment, write_config, write_documents

SMALL: dict[str, Any] = {"stages": [], "recipe": None}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_documents(tmp_path / "input", files=3, documents=12)


@pytest.fixture
def config(source: Path, tmp_path: Path) -> Path:
    return write_config(tmp_path / "r.json", source, run={"workers": 1}, **SMALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a config in this process; ``before`` is called with each task."""
    (tmp_path / "scratch").mkdir()

    def run(config: Path, *overrides: str, **more: Any) -> Any:
        return run_here(load_config(config, list(overrides)), tmp_path / "scratch", monkeypatch, **more)

    return run


@pytest.fixture
def armed() -> Iterator[Callable[[str], None]]:
    """Arms failpoints in this process, and disarms them."""
    yield failpoints.arm
    failpoints.arm("")


def at_task(step: str, partition: str, action: Callable[[], None]) -> Callable[[Task], None]:
    def before(task: Task) -> None:
        if task.key == (step, partition):
            action()

    return before


def during_reading(monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[], None]) -> None:
    """Let ``action`` happen once the first documents of an input have been read."""
    plain = JsonlSource.batches

    def batches(self: JsonlSource, file: Any) -> Any:
        for batch in plain(self, file):
            yield batch
            if self.entry.source == name:
                action()

    monkeypatch.setattr(JsonlSource, "batches", batches)


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text('{"id": "x", "text": "another file"}\n')
    other.replace(path)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"id": "more", "text": "a line that came later"}\n')


# ------------------------------------------------------------------ inputs (F111, F112, F113)


@pytest.mark.parametrize("moment", ["before", "during"])
@pytest.mark.parametrize(
    ("fault", "error"), [(Path.unlink, "input.vanished"), (append, "input.changed"), (replace, "input.changed")]
)
def test_an_input_that_changes_under_the_run_costs_itself_alone(
    moment: str, fault: Any, error: str, source: Path, config: Path, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = source / "part-1.jsonl"
    happened = []

    def once() -> None:
        if not happened:
            happened.append(1)
            fault(victim)

    if moment == "before":
        result = here(config, before=at_task("documents", "00001", once))
    else:
        during_reading(monkeypatch, victim.name, once)
        result = here(config)
    run = config.with_suffix("")
    assert happened
    assert result.exit_code == 3
    assert [(r["source"], r["error"]) for r in rows(run, "failed")] == [(victim.name, error)]
    assert {r["source"] for r in rows(run, "corpus")} == {"part-0.jsonl", "part-2.jsonl"}
    assert len(rows(run, "corpus")) == 24
    assert verify(str(run))["problems"] == []


def test_a_changed_input_is_read_anew_by_the_next_run_once_that_is_accepted(
    source: Path, config: Path, here: Any
) -> None:
    here(config, before=at_task("documents", "00001", lambda: append(source / "part-1.jsonl")))
    refused = curate("run", str(config))
    assert refused.returncode == 2 and "1 changed (part-1.jsonl)" in refused.stderr
    result = here(config, accept_input_changes=True)
    assert result.exit_code == 0
    assert len(rows(config.with_suffix(""), "corpus")) == 37


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_input_costs_itself_alone(source: Path, config: Path, here: Any) -> None:
    (source / "part-1.jsonl").chmod(0)
    assert here(config).exit_code == 3
    assert [r["error"] for r in rows(config.with_suffix(""), "failed")] == ["input.unreadable"]


def test_a_pipe_and_a_folder_among_the_inputs_are_told_and_not_opened(source: Path, config: Path, here: Any) -> None:
    os.mkfifo(source / "pipe.jsonl")
    (source / "folder.jsonl").mkdir()
    result = here(config, "run.max_failed_ratio=1.0")
    assert result.exit_code == 0
    codes = {r["source"]: r["error"] for r in rows(config.with_suffix(""), "failed")}
    assert codes["pipe.jsonl"] == "path.not-regular"
    assert len(rows(config.with_suffix(""), "corpus")) == 36


def test_files_of_an_input_that_is_gone_leave_the_corpus_and_the_books(source: Path, config: Path, here: Any) -> None:
    here(config)
    (source / "part-2.jsonl").unlink()
    plan = json.loads(curate("plan", str(config), "--json").stdout)
    assert any("documents: 1 tasks" in note for note in plan["notes"])
    result = here(config, accept_input_changes=True)
    run = config.with_suffix("")
    assert (result.exit_code, result.totals.kept) == (0, 24)
    assert {r["source"] for r in rows(run, "corpus")} == {"part-0.jsonl", "part-1.jsonl"}
    assert not list(run.rglob("*00002*"))
    assert verify(str(run))["problems"] == []


# ------------------------------------------------------------------ disk full, quota (F114, F116, F189)


@pytest.mark.parametrize(
    ("place", "action", "writes"),
    [
        ("store.before_write", "enospc", range(1, 200, 7)),
        ("store.before_rename", "enospc", range(2, 200, 7)),
        ("store.after_rename", "eio", range(3, 200, 7)),
        *(
            pytest.param(place, action, range(1, 200), marks=pytest.mark.slow)
            for place in ("store.before_write", "store.before_rename", "store.after_rename")
            for action in ("enospc", "eio")
        ),
    ],
)
def test_a_disk_that_gives_out_at_any_write_stops_the_run_and_the_next_completes_it(
    place: str, action: str, writes: range, source: Path, tmp_path: Path, here: Any, armed: Callable[[str], None]
) -> None:
    reference = write_config(tmp_path / "whole.json", source, run={"name": "same", "workers": 1}, **SMALL)
    assert here(reference).exit_code == 0
    wanted = digests(reference.with_suffix(""))
    stopped = 0
    for nth in writes:
        config = write_config(tmp_path / f"r{nth}.json", source, run={"name": "same", "workers": 1}, **SMALL)
        armed(f"{place}:{action}@{nth}")
        try:
            code = here(config).exit_code
        except EnvironmentGone as error:  # before the first task
            assert "run the same command again" in str(error)
            code = error.exit_code
        armed("")
        if code == 0:
            break
        stopped += 1
        assert code == 7
        assert here(config).exit_code == 0
        assert digests(config.with_suffix("")) == wanted
        shutil.rmtree(config.with_suffix(""))
    assert code == 0, "every write was reached"
    assert stopped >= 15 // writes.step


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_ends_with_7_and_room_lets_the_run_end(small_disk: Path, tmp_path: Path) -> None:
    source = write_documents(tmp_path / "input", files=3, documents=400)
    config = write_config(tmp_path / "r.json", source, run={"output": str(small_disk / "run"), "workers": 1}, **SMALL)
    full = curate("run", str(config))
    assert full.returncode == 7, full.stderr
    assert "No space left on device" in full.stderr and "free the disk" in full.stderr
    assert "Traceback" not in full.stderr
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = curate("run", str(config))
    assert again.returncode == 0, again.stderr
    assert verify(str(small_disk / "run"))["problems"] == []


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_ends_with_7_and_nothing_half_written(source: Path, tmp_path: Path) -> None:
    source = write_documents(tmp_path / "long", files=2, documents=400)
    config = write_config(tmp_path / "r.json", source, run={"workers": 1}, **SMALL)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    result = curate("run", str(config), preexec_fn=limit)
    run = config.with_suffix("")
    assert result.returncode == 7, result.stderr
    assert "File too large" in result.stderr
    assert not list((run / "documents").glob("0*.parquet"))
    assert curate("run", str(config)).returncode == 0
    assert verify(str(run))["problems"] == []


# ------------------------------------------------------------------ output (F115, F117, F188, F193)


def test_a_file_where_the_output_folder_should_be_is_refused_before_work(source: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "r.json", source, **SMALL)
    config.with_suffix("").write_text("mine")
    result = curate("run", str(config))
    assert result.returncode == 7
    assert str(config.with_suffix("")) in result.stderr and "run.output" in result.stderr
    assert config.with_suffix("").read_text() == "mine"


def test_a_read_only_output_is_refused_before_work(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    bound = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True, check=False)
    if bound.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {bound.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        config = write_config(tmp_path / "r.json", source, run={"output": str(folder / "run")}, **SMALL)
        result = curate("run", str(config))
        assert result.returncode == 7
        assert "Read-only file system" in result.stderr and "run.output" in result.stderr
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_output_without_permission_is_refused_before_work(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    config = write_config(tmp_path / "r.json", source, run={"output": str(folder / "run")}, **SMALL)
    result = curate("run", str(config))
    assert result.returncode == 7 and "Permission denied" in result.stderr


@pytest.mark.parametrize("swap", [False, True])
def test_an_output_that_is_removed_under_the_run_is_told_and_the_next_run_makes_it_anew(
    swap: bool, config: Path, here: Any
) -> None:
    run = config.with_suffix("")

    def remove() -> None:
        shutil.rmtree(run)
        if swap:
            run.mkdir()

    result = here(config, before=at_task("select", "00001", remove))
    assert result.exit_code == 7
    assert "was removed, or another put in its place" in result.problems[0]
    assert here(config).exit_code == 0
    assert verify(str(run))["problems"] == []


def test_a_second_run_on_one_output_is_refused_and_names_the_first_whose_workers_die_with_it(
    source: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "r.json", source, run={"workers": 2}, **SMALL)
    run = config.with_suffix("")
    first = subprocess.Popen(command("run", str(config)), env=environment("pass.batch:hang"), stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(workers_of(run)) == 2)
        second = curate("run", str(config))
        assert second.returncode == 7
        assert f"another run holds {run}: pid {first.pid}" in second.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    wait_for(lambda: not workers_of(run), seconds=5)
    third = curate("run", str(config))
    assert third.returncode == 0, third.stderr
    assert "ended without a word" in (run / "log.jsonl").read_text()


def workers_of(run: Path) -> list[int]:
    """Processes that work on the run's folder, the run itself not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parts = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"pipelines.launchers.worker" in parts and os.fsencode(run) in parts:
                found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o000, 0o666), (0o022, 0o644)])
def test_files_get_the_mode_that_the_umask_allows_and_the_lock_is_private(
    mask: int, mode: int, config: Path, here: Any
) -> None:
    before = os.umask(mask)
    try:
        assert here(config).exit_code == 0
    finally:
        os.umask(before)
    run = config.with_suffix("")
    modes = {str(p.relative_to(run)): stat.S_IMODE(p.stat().st_mode) for p in run.rglob("*") if p.is_file()}
    assert modes.pop(".lock") == 0o600
    assert set(modes.values()) == {mode}


# ------------------------------------------------------------------ process (F119, F180, F187)


@pytest.mark.slow
def test_paths_and_texts_outside_ascii_work_under_the_c_locale(tmp_path: Path) -> None:
    folder = tmp_path / "Архив 🐝"
    source = write_documents(folder / "вход", files=2, documents=5)
    (source / "part-1.jsonl").rename(source / "часть-é.jsonl")
    config = write_config(folder / "настройка.json", source, run={"name": "r"}, **SMALL)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    odd = {**clean, **environment(), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name in ("LANG", "LANGUAGE", "LC_CTYPE"):
        odd.pop(name, None)
    result = subprocess.run(command("run", str(config)), capture_output=True, timeout=120, env=odd, check=False)
    assert result.returncode == 0, result.stderr.decode("utf-8", "replace")
    run = config.with_suffix("")
    assert {r["source"] for r in rows(run, "corpus")} == {"part-0.jsonl", "часть-é.jsonl"}
    checked = subprocess.run(command("verify", str(run)), capture_output=True, timeout=120, env=odd, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_few_descriptors_are_enough_for_many_files(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "input", files=80, documents=2)
    config = write_config(tmp_path / "r.json", source, run={"workers": 1}, dedup=[{"exact": {}}])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    result = curate("run", str(config), preexec_fn=limit)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("80 files")


@pytest.mark.parametrize(
    "stream", [pytest.param("stdout", marks=pytest.mark.slow), pytest.param("stderr", marks=pytest.mark.slow), "both"]
)
def test_a_reader_that_goes_away_does_not_end_the_run(stream: str, config: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for name in ("stdout", "stderr") if stream == "both" else (stream,):
        streams[name] = writer
    try:
        process = subprocess.Popen(command("run", str(config)), env=environment(), **streams)
        process.communicate(timeout=120)
    finally:
        os.close(writer)
    assert process.returncode == 0
    assert verify(str(config.with_suffix("")))["problems"] == []


def test_a_failed_run_does_not_end_with_0_because_nobody_reads_what_it_says(source: Path, config: Path) -> None:
    append(source / "part-0.jsonl")
    with (source / "part-0.jsonl").open("a") as file:
        file.write("{not json\n")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = subprocess.Popen(command("run", str(config)), env=environment(), stdout=writer, stderr=writer)
        assert process.wait(timeout=120) == 3
    finally:
        os.close(writer)


def test_closed_standard_streams_do_not_end_the_run(config: Path) -> None:
    line = f"exec {sys.executable} -m pipelines.cli run '{config}' >&- 2>&-"
    process = subprocess.run(["sh", "-c", line], env=environment(), timeout=120, check=False)
    assert process.returncode == 0
    assert verify(str(config.with_suffix("")))["problems"] == []


@pytest.mark.slow
def test_terminated_while_writing_nothing_is_left_half(source: Path, config: Path) -> None:
    process = subprocess.Popen(command("run", str(config)), env=environment("store.before_rename:hang@6"))
    wait_for((config.with_suffix("") / "log.jsonl").exists)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert not list(config.with_suffix("").rglob(".tmp-*"))
    assert curate("run", str(config)).returncode == 0
