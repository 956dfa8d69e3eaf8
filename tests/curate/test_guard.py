"""The guard: what one hostile item may cost, and that its neighbours keep their results."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import ConfigError, TaskError
from curate.guard import Guard, ItemFailure

WORKERS = '''
import ctypes, os, re, signal, time
import pyarrow as pa
from curate.guard import ItemError

class Echo:
    """Does what the text says; any other text comes back in capitals."""
    schema = pa.schema([("said", pa.string()), ("pid", pa.int64())])

    def __init__(self, note=""):
        self.note = note
        self.kept = []

    def __call__(self, text):
        if text == "loop": 
            while True: pass
        if text == "native loop":
            re.match(r"(a+)+$", "a" * 40 + "b")
        if text == "segfault": ctypes.string_at(0)
        if text == "abort": os.abort()
        if text == "exit": os._exit(3)
        if text == "sys.exit": raise SystemExit(1)
        if text == "raise": raise ValueError("secret words of the document")
        if text == "own code": raise ItemError("html.limit", "tags")
        if text == "memory": return "x" * (10 << 30), 0
        if text == "native memory":
            libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p
            while True:
                p = libc.malloc(1 << 24)
                if not p: os.abort()
                ctypes.memset(p, 1, 1 << 24)
        if text == "keep": self.kept.append(bytearray(40 << 20))
        if text == "surrogate": return "\\ud800", 0
        if text == "sleep": time.sleep(3600)
        if text == "noise": os.write(1, b"noise on standard output")
        if text == "once":
            if not os.path.exists(self.note):
                open(self.note, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        if text == "pid": return "pid", os.getpid()
        if text == "ppid": return "ppid", os.getppid()
        return text.upper(), 0

class NotThere:
    def __init__(self): raise ImportError("no such library")

class DiesAtStart:
    def __init__(self): os._exit(9)
'''


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "guard_workers.py").write_text(WORKERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "guard_workers:Echo"


def batch(*texts: str) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.string())})


def said(guard: Guard, *texts: str) -> tuple[list[str | None], list[ItemFailure]]:
    results, failures = guard.map(batch(*texts))
    assert results.num_rows == len(texts)
    return results.column(0).to_pylist(), failures


def test_results_are_aligned_and_the_child_is_kept(workers: str) -> None:
    with Guard(workers) as guard:
        assert guard.schema().names == ["said", "pid"]
        first, _ = guard.map(batch("a", "pid"))
        second, failures = guard.map(batch("pid", "b"))
        assert first.column(0).to_pylist() == ["A", "pid"]
        assert second.column(0).to_pylist() == ["pid", "B"]
        assert first.column(1)[1] == second.column(1)[0]
        assert failures == [] and guard.started == 1
        assert guard.map(batch())[0].num_rows == 0


@pytest.mark.parametrize("bad", ["loop", "native loop"])
def test_endless_loop_costs_one_item_by_cpu_time(workers: str, bad: str) -> None:
    with Guard(workers, cpu_seconds=0.3) as guard:
        values, failures = said(guard, "a", bad, "b")
    assert values == ["A", None, "B"]
    assert [(f.row, f.error) for f in failures] == [(1, "limit.cpu_seconds")]
    assert "0.3 s" in failures[0].detail


def test_cpu_limit_is_per_item_not_per_batch(workers: str, tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(
        "import time, pyarrow as pa\n"
        "class Busy:\n"
        "    schema = pa.schema([('n', pa.int64())])\n"
        "    def __call__(self, text):\n"
        "        end = time.process_time() + 0.2\n"
        "        while time.process_time() < end: pass\n"
        "        return (1,)\n"
    )
    with Guard("busy:Busy", cpu_seconds=0.5) as guard:
        results, failures = guard.map(batch(*"abcde"))
    assert results.column(0).to_pylist() == [1] * 5 and failures == []


@pytest.mark.parametrize(
    "bad, detail",
    [("segfault", "signal SIGSEGV"), ("abort", "signal SIGABRT"), ("exit", "exit status 3")],
)
def test_crash_costs_one_item(workers: str, bad: str, detail: str) -> None:
    with Guard(workers) as guard:
        values, failures = said(guard, "a", bad, "b", bad)
    assert values == ["A", None, "B", None]
    assert failures == [ItemFailure(1, "worker.crash", detail), ItemFailure(3, "worker.crash", detail)]


def test_item_that_dies_once_is_not_failed(workers: str, tmp_path: Path) -> None:
    with Guard(workers, {"note": str(tmp_path / "note")}) as guard:
        assert said(guard, "a", "once", "b") == (["A", "ONCE", "B"], [])


@pytest.mark.parametrize("bad", ["memory", "native memory"])
def test_memory_is_limited_for_python_and_native_code(workers: str, bad: str) -> None:
    with Guard(workers, memory_mb=300) as guard:
        values, failures = said(guard, "a", bad, "b", bad)
    assert values == ["A", None, "B", None]
    assert [f.row for f in failures] == [1, 3]
    # a parent whose own peak is above the limit hides that of its children: a sudden death is then a crash
    large = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10 > 300
    expected = {"limit.memory", "worker.crash"} if large and bad == "native memory" else {"limit.memory"}
    assert {f.error for f in failures} <= expected


def test_child_that_keeps_memory_is_replaced_before_it_harms_others(workers: str) -> None:
    with Guard(workers, memory_mb=100) as guard:
        for _ in range(6):
            assert said(guard, "keep", "a") == (["KEEP", "A"], [])
        assert guard.started > 1


def test_exception_names_its_type_and_no_text(workers: str) -> None:
    with Guard(workers) as guard:
        values, failures = said(guard, "raise", "a", "sys.exit", "own code")
        assert guard.started == 1
    assert values == [None, "A", None, None]
    assert failures == [
        ItemFailure(0, "worker.error", "ValueError"),
        ItemFailure(2, "worker.error", "SystemExit"),
        ItemFailure(3, "html.limit", "tags"),
    ]


def test_value_that_the_schema_cannot_hold_costs_one_item(workers: str) -> None:
    with Guard(workers) as guard:
        values, failures = said(guard, "a", "surrogate", "b")
    assert values == ["A", None, "B"]
    assert failures == [ItemFailure(1, "worker.error", "UnicodeEncodeError")]


def test_output_of_libraries_does_not_reach_the_stream(workers: str) -> None:
    with Guard(workers) as guard:
        assert said(guard, "noise", "a") == (["NOISE", "A"], [])


def test_blocked_child_is_reported_as_such(workers: str) -> None:
    with Guard(workers, blocked_seconds=0.5) as guard:
        values, failures = said(guard, "a", "sleep", "b")
    assert values == ["A", None, "B"]
    assert [(f.row, f.error) for f in failures] == [(1, "limit.blocked")]


def test_stopped_child_is_waited_for(workers: str) -> None:
    with Guard(workers, blocked_seconds=0.2) as guard:
        pid = guard.map(batch("pid"))[0].column(1)[0].as_py()
        os.kill(pid, signal.SIGSTOP)
        waker = subprocess.Popen(["sh", "-c", f"sleep 3; kill -CONT {pid}"])
        assert said(guard, "a") == (["A"], [])
        waker.wait()
        assert guard.started == 1


def test_child_killed_between_batches_is_replaced(workers: str) -> None:
    with Guard(workers) as guard:
        pid = guard.map(batch("pid"))[0].column(1)[0].as_py()
        os.kill(pid, signal.SIGKILL)
        assert said(guard, "a", "b") == (["A", "B"], [])


def test_factory_that_fails_is_an_error_before_work(workers: str) -> None:
    with pytest.raises(ConfigError, match="no such library"):
        Guard("guard_workers:NotThere").schema()
    with pytest.raises(ConfigError, match="absent"):
        Guard("absent:Thing").schema()
    with pytest.raises(TaskError, match="exit status 9"):
        Guard("guard_workers:DiesAtStart").schema()


def test_child_dies_with_its_parent(workers: str, tmp_path: Path, repo: Path) -> None:
    script = (
        "import sys, os, pyarrow as pa\n"
        f"sys.path[:0] = [{str(tmp_path)!r}, {str(repo)!r}]\n"
        "from curate.guard import Guard\n"
        f"guard = Guard({workers!r})\n"
        "pid = guard.map(pa.record_batch({'t': ['pid']}))[0].column(1)[0].as_py()\n"
        "print(pid, flush=True)\n"
        "guard.map(pa.record_batch({'t': ['sleep']}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_results_do_not_depend_on_what_else_is_in_the_batch(workers: str) -> None:
    texts = ["a", "segfault", "b", "raise", "c", "exit", "d"]
    with Guard(workers) as guard:
        whole, failed = said(guard, *texts)
        single = [said(guard, text) for text in texts]
    assert whole == [values[0] for values, _ in single]
    assert [(f.error, f.detail) for f in failed] == [(f.error, f.detail) for _, fs in single for f in fs]
