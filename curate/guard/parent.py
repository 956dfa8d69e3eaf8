"""The parent of a guard: starts the child, watches it, takes the blame apart when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.errors import ConfigError, TaskError
from curate.guard.frames import BROKEN, DETAIL, DONE, ERROR, PROGRESS, REQUEST, ROW, SETUP, pack, receive, send, unpack

#: error code → one sentence; stages that use a guard list these among theirs
ERRORS: Mapping[str, str] = {
    "limit.cpu_seconds": "the document took more CPU time than one document may, twice",
    "limit.memory": "the document needed more memory than one document may, twice",
    "limit.blocked": "the child that worked on the document stood still without using CPU time, twice",
    "worker.crash": "native code crashed on the document, twice",
    "worker.error": "the library raised an exception on the document",
}

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from curate.guard.child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_POLL_MS = 1000
#: memory as the kernel counts it, one thread, and the same order of sets in every child
_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
_CRASHES = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL}


class ItemFailure(NamedTuple):
    """An item that gave no result: its row in the batch, an error code, and what was found (no document text)."""

    row: int
    error: str
    detail: str


class _Death(NamedTuple):
    """How a child ended: in which row of the request (-1: none), and why."""

    row: int
    error: str
    detail: str


class _Child:
    """One running child."""

    def __init__(self, setup: Mapping[str, Any], blocked_seconds: float) -> None:
        self.blocked_seconds = blocked_seconds
        self.memory = int(setup["memory_mb"]) << 20
        self.cpu_seconds = float(setup["cpu_seconds"])
        self.owner = os.getpid()
        self.blocked = False
        #: (row, CPU ticks, when) at which progress was last seen
        self._mark: tuple[int, float, float] = (-2, 0.0, 0.0)
        #: the kernel hands a child the peak of the process it was started from; below that, only what was seen counts
        self._inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        self._seen = 0
        with tempfile.TemporaryFile() as shared:
            shared.write(PROGRESS.pack(-1, 0))
            shared.flush()
            self.progress = mmap.mmap(shared.fileno(), PROGRESS.size)
            path = [str(Path(entry or ".").resolve()) for entry in sys.path]
            # -P: a file in the working folder must not pass for a library
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(path), str(shared.fileno()), str(self.owner)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(shared.fileno(),),
                env={**os.environ, **_ENVIRONMENT},
                bufsize=0,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        _widen(self.process.stdin.fileno())
        _widen(self.process.stdout.fileno())
        self.to, self.out = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.poll = select.poll()
        self.poll.register(self.out, select.POLLIN | select.POLLHUP)
        self.schema = self._greet(setup)
        self.resident = 0
        self.first_resident = 0

    def _greet(self, setup: Mapping[str, Any]) -> pa.Schema:
        try:
            send(self.to, SETUP, json.dumps(setup).encode())
            kind, payload = receive(self.out)
        except (EOFError, BrokenPipeError):
            raise TaskError(f"guarded child for {setup['target']} ended while it started ({self.end()[1]})") from None
        if kind == BROKEN:
            self.close()
            raise ConfigError(f"{setup['target']} cannot be started: {payload.decode('utf-8', 'replace')}")
        return pa.ipc.read_schema(pa.py_buffer(payload))

    def run(self, batch: pa.RecordBatch) -> tuple[list[pa.RecordBatch], _Death | None]:
        """Results in order as far as they came, and how the child died if it did."""
        pieces: list[pa.RecordBatch] = []
        self._mark = (-2, 0.0, time.monotonic())
        try:
            send(self.to, REQUEST, pack(batch))
            while True:
                kind, payload = receive(self.out, self._wait)
                if kind == DONE:
                    self.resident = int(json.loads(payload)["resident"])
                    self.first_resident = self.first_resident or self.resident
                    return pieces, None
                pieces.append(unpack(payload))
        except (EOFError, BrokenPipeError):
            row, base = PROGRESS.unpack_from(self.progress, 0)
            return pieces, _Death(row, *self.end(base))

    def _wait(self) -> None:
        """Return when there is something to read; kill a child that stands still."""
        while not self.poll.poll(_POLL_MS):
            row = PROGRESS.unpack_from(self.progress, 0)[0]
            state, cpu, resident = _process(self.process.pid)
            self._seen = max(self._seen, resident)
            last_row, last_cpu, since = self._mark
            # a stopped or runnable child waits for the machine, not for itself
            if row != last_row or cpu != last_cpu or state in "RTt":
                self._mark = (row, cpu, time.monotonic())
            elif time.monotonic() - since > self.blocked_seconds:
                self.blocked = True
                self.process.kill()

    def end(self, base: int = 0) -> tuple[str, str]:
        """Wait for the dead child; (error code, detail)."""
        status, usage = 0, None
        if self.process.returncode is None:
            _, status, usage = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
        self._close_pipes()
        code = self.process.returncode
        if self.blocked:
            return "limit.blocked", f"no CPU time used in {self.blocked_seconds:g} s"
        if code == -signal.SIGPROF:
            return "limit.cpu_seconds", f"more than {self.cpu_seconds:g} s of CPU time"
        peak = usage.ru_maxrss << 10 if usage is not None else 0
        grown = (peak if peak > self._inherited else self._seen) - base if base else 0
        if code < 0 and -code in _CRASHES and grown > 0.8 * self.memory:
            return "limit.memory", f"grew by {grown >> 20} MB, then {signal.Signals(-code).name}"
        return "worker.crash", f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def close(self) -> None:
        """End the child; it has nothing to lose."""
        if os.getpid() != self.owner:
            return  # a fork inherited the object, not the child
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        if not self.progress.closed:
            self.progress.close()


def _widen(pipe: int) -> None:
    """Let the pipe hold 1 MiB, so that batches cross it in few turns of the two processes."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux, or over the user's share: works, only slower
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _process(pid: int) -> tuple[str, float, int]:
    """(state letter, CPU ticks, resident bytes) of a process; ("R", 0, 0) where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "R", 0.0, 0
    return fields[0], float(fields[11]) + float(fields[12]), int(fields[21]) * mmap.PAGESIZE


class Guard:
    """Runs a function over the items of batches in one long-lived child process.

    Args:
        target: ``"module:factory"``. ``factory(**options)`` is called once in the child and gives a callable with a
            ``schema`` (Arrow); called with one item's column values it returns a tuple, one value per field.
        options: JSON-serialisable arguments of the factory.
        cpu_seconds: CPU time that one item may take.
        memory_mb: MB by which the child may grow during one batch.
        blocked_seconds: wall time after which a child that uses no CPU time at all is taken for blocked.

    Not for use by several threads at once; the child dies with the thread that started it. Starting a child costs about
    0.3 s of CPU; it starts with the first batch.
    """

    def __init__(
        self,
        target: str,
        options: Mapping[str, Any] | None = None,
        *,
        cpu_seconds: float = 10.0,
        memory_mb: int = 2048,
        blocked_seconds: float = 120.0,
    ) -> None:
        self._setup = {
            "target": target,
            "options": dict(options or {}),
            "cpu_seconds": cpu_seconds,
            "memory_mb": memory_mb,
        }
        self._blocked_seconds = blocked_seconds
        self._child: _Child | None = None
        #: children started so far
        self.started = 0

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the child; the next ``map`` would start another."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def schema(self) -> pa.Schema:
        """The schema of the results; starts the child, ConfigError if the factory cannot be called."""
        child: pa.Schema = self._running().schema
        return child

    def _running(self) -> _Child:
        if self._child is not None and self._child.owner != os.getpid():
            self._child = None
        if self._child is None:
            self._child = _Child(self._setup, self._blocked_seconds)
            self.started += 1
        return self._child

    def map(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[ItemFailure]]:
        """Results aligned with the rows of ``batch`` (null where an item failed), and the failures by row."""
        work = _Work(batch)
        while work.queue:
            rows = work.queue.popleft()
            if len(rows) == 1 and rows[0] in work.retried:
                self.close()  # a second trial is held in a child without a past
            child = self._running()
            part = batch if len(rows) == batch.num_rows else batch.take(pa.array(rows, pa.int64()))
            pieces, death = child.run(part)
            work.take(rows, pieces)
            if death is not None:
                self._child = None
                work.blame(rows, death)
            elif child.resident - child.first_resident > child.memory // 4:
                self.close()  # what libraries keep for themselves must not eat the next batch's share
        return work.results(self._running().schema), sorted(work.failures)


class _Work:
    """One batch on its way: what is still to do, what came back, who is under suspicion."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.count = batch.num_rows
        self.queue: deque[list[int]] = deque([list(range(self.count))] if self.count else [])
        self.pieces: list[pa.RecordBatch] = []
        self.at: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        self.done: set[int] = set()
        self.retried: set[int] = set()
        self.stalled: dict[int, int] = {}
        self.failures: list[ItemFailure] = []

    def take(self, rows: list[int], pieces: list[pa.RecordBatch]) -> None:
        """Keep the results of ``pieces``, whose rows count within ``rows``."""
        for piece in pieces:
            whole = np.asarray(rows, np.int64)[piece.column(ROW).to_numpy()]
            self.done.update(whole.tolist())
            keep = np.ones(len(whole), bool)
            if piece.column(ERROR).null_count < len(piece):
                for i, (error, detail) in enumerate(
                    zip(piece.column(ERROR).to_pylist(), piece.column(DETAIL).to_pylist(), strict=True)
                ):
                    if error is not None:
                        keep[i] = False
                        self._item_error(int(whole[i]), error, detail or "")
            self.at.append(whole[keep])
            self.pieces.append(piece if keep.all() else piece.filter(pa.array(keep)))

    def _item_error(self, row: int, error: str, detail: str) -> None:
        if error == "limit.memory" and row not in self.retried:
            # what earlier items left behind may be to blame: once more, alone, in a fresh child
            self.retried.add(row)
            self.done.discard(row)
            self.queue.appendleft([row])
        else:
            self.failures.append(ItemFailure(row, error, detail))

    def blame(self, rows: list[int], death: _Death) -> None:
        """Decide what to do after a child died: the item in work once more alone, then the rest."""
        rest = [row for row in rows if row not in self.done]
        if death.row < 0 or death.row >= len(rows) or rows[death.row] in self.done:
            self._no_culprit(rest, death)
            return
        row = rows[death.row]
        rest.remove(row)
        if rest:
            self.queue.appendleft(rest)
        if row in self.retried:
            self.failures.append(ItemFailure(row, death.error, death.detail))
            self.done.add(row)
        else:
            self.retried.add(row)
            self.queue.appendleft([row])

    def _no_culprit(self, rest: list[int], death: _Death) -> None:
        """The child died between items: try again, then halve until one item is left to blame."""
        if not rest:
            return
        tries = self.stalled[rest[0]] = self.stalled.get(rest[0], 0) + 1
        if tries <= 2:
            self.queue.appendleft(rest)
        elif len(rest) == 1:
            self.failures.append(ItemFailure(rest[0], death.error, death.detail))
            self.done.add(rest[0])
        else:
            self.queue.extendleft((rest[len(rest) // 2 :], rest[: len(rest) // 2]))

    def results(self, schema: pa.Schema) -> pa.RecordBatch:
        """All results in the order of the batch."""
        pieces = [piece.select(schema.names) for piece in self.pieces if piece.num_rows]
        whole = pa.concat_batches(pieces) if pieces else schema.empty_table().to_batches()
        if isinstance(whole, list):
            whole = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
        where = np.concatenate([*self.at, np.empty(0, np.int64)]).astype(np.int64)
        if len(where) == self.count and bool((where == np.arange(self.count)).all()):
            return whole
        index = np.full(self.count, -1, np.int64)
        index[where] = np.arange(len(where))
        return whole.take(pa.array(index, mask=index < 0))
