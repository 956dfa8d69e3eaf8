"""Supervised worker processes on this machine."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.attempts import STUCK
from pipelines.launchers.base import Launcher, Site
from pipelines.marks import Mark, MarkFile
from pipelines.tasks import Outcome, Task

_TICK_S = 0.2
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CLOCK = os.sysconf("SC_CLK_TCK")
#: a batch may cost this many times what one document may, before its worker is taken to be in an endless loop
BATCH_CPU_FACTOR = 60
#: CPU seconds that a document done alone may cost beyond its limit: kernels and tables may be loaded on its account
GRACE_CPU_S = 5.0
#: a worker that burns no CPU for this long is stuck in the kernel or the network: it is replaced, no document is blamed
STUCK_S = 1800.0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    marks: MarkFile
    path: Path
    task: Task | None = None
    pending: bytes = b""
    watched: tuple[int, int, int] = (-1, -1, -1)
    cpu_at_start: float = 0.0
    last_cpu: float = 0.0
    last_progress: float = field(default_factory=time.monotonic)
    killed_for: str = ""


class LocalLauncher(Launcher):
    """Keeps ``workers`` processes alive; a dead one is replaced, its task comes back as ``died`` with its last mark.

    Args:
        memory_mb: resident memory above which a worker is killed.
        cpu_seconds: CPU time per document; in a batch done whole, ``BATCH_CPU_FACTOR`` times as much.
    """

    def __init__(self, site: Site, workers: int, *, memory_mb: int, cpu_seconds: float) -> None:
        self._site = site
        self._limit = workers
        self._memory = memory_mb << 20
        self._cpu_seconds = cpu_seconds
        self._scratch = Path(tempfile.mkdtemp(prefix="curate-marks-"))
        self._workers: list[_Worker] = []
        self._started = 0
        self._selector = selectors.DefaultSelector()
        self._last_check = 0.0

    @property
    def free(self) -> int:
        return self._limit - sum(1 for w in self._workers if w.task is not None)

    def submit(self, task: Task) -> None:
        worker = next((w for w in self._workers if w.task is None and w.process.poll() is None), None)
        if worker is None:
            worker = self._start()
        worker.task, worker.watched, worker.killed_for = task, (-1, -1, -1), ""
        worker.last_progress = time.monotonic()
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(json.dumps(task.to_json()).encode() + b"\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died between poll and write: wait() reports it

    def wait(self, timeout_s: float) -> list[Outcome]:
        outcomes: list[Outcome] = []
        deadline = time.monotonic() + timeout_s
        while not outcomes:
            left = deadline - time.monotonic()
            for key, _ in self._selector.select(max(0.0, min(_TICK_S, left))):
                outcomes += self._listen(key.data)
            self._watch()
            if left <= 0:
                break
        return outcomes

    def marks(self) -> Mapping[tuple[str, str], Mark]:
        return {w.task.key: w.marks.read() for w in self._workers if w.task is not None}

    def stop(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            worker.marks.close()
        self._workers.clear()
        self._selector.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> _Worker:
        path = self._scratch / f"worker-{self._started}"
        self._started += 1
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        marks = MarkFile(path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipelines.launchers.worker", self._site.folder, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip
        worker = _Worker(process, marks, path)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._workers.append(worker)
        return worker

    def _listen(self, worker: _Worker) -> list[Outcome]:
        """Answers of a worker, or its end."""
        assert worker.process.stdout is not None
        piece: bytes | None = worker.process.stdout.read()
        if piece is None:
            return []
        if piece == b"":
            return self._bury(worker)
        worker.pending += piece
        *lines, worker.pending = worker.pending.split(b"\n")
        outcomes = []
        for line in lines:
            answer = json.loads(line)
            if worker.task is not None:
                mark = worker.marks.read()
                outcomes.append(
                    Outcome(worker.task, answer["status"], answer.get("detail", ""), answer.get("error", ""), mark)
                )
                worker.task = None
        return outcomes

    def _bury(self, worker: _Worker) -> list[Outcome]:
        self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        code = worker.process.wait()
        mark = worker.marks.read()
        worker.marks.close()
        self._workers.remove(worker)
        worker.path.unlink(missing_ok=True)
        if worker.task is None:
            return []
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        error = worker.killed_for or ("worker.crash" if code < 0 else "worker.exit")
        return [Outcome(worker.task, "died", f"worker {worker.process.pid} ended with {how} ({error})", error, mark)]

    def _watch(self) -> None:
        """Kill workers that are over memory or CPU time."""
        now = time.monotonic()
        if now - self._last_check < _TICK_S:
            return
        self._last_check = now
        for worker in self._workers:
            if worker.task is None or worker.killed_for:
                continue
            usage = _usage(worker.process.pid)
            if usage is None:
                continue
            cpu, memory = usage
            reason = "worker.memory" if memory > self._memory else self._overtime(worker, cpu, now)
            if reason:
                worker.killed_for = reason
                worker.process.kill()

    def _overtime(self, worker: _Worker, cpu: float, now: float) -> str:
        mark = worker.marks.read()
        place = (mark.task, mark.batch, mark.document)
        if place != worker.watched:
            worker.watched, worker.cpu_at_start, worker.last_progress = place, cpu, now
        if cpu > worker.last_cpu:
            worker.last_cpu, worker.last_progress = cpu, now
        elif now - worker.last_progress > STUCK_S:
            return STUCK
        if mark.batch < 0:
            return ""
        limit = self._cpu_seconds * BATCH_CPU_FACTOR if mark.document < 0 else self._cpu_seconds + GRACE_CPU_S
        return "limit.cpu_seconds" if cpu - worker.cpu_at_start > limit else ""


def _usage(pid: int) -> tuple[float, int] | None:
    """CPU seconds (its finished children included) and resident bytes of a process; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        cpu = sum(int(v) for v in fields[11:15]) / _CLOCK
        return cpu, int(fields[21]) * _PAGE
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return None
