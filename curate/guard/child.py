"""The child of a guard: reads batches, runs the function item by item under kernel limits, writes results."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import resource
import signal
import time
from importlib import import_module
from typing import Any

import pyarrow as pa

from curate.guard.frames import (
    BROKEN,
    DETAIL,
    DONE,
    ERROR,
    PROGRESS,
    READY,
    RESULTS,
    ROW,
    ItemError,
    pack,
    receive,
    send,
    unpack,
)

_PR_SET_PDEATHSIG = 1
_PAGE = resource.getpagesize()
#: results are sent once they have cost this much CPU time, so that a death redoes little
_FLUSH_SECONDS = 0.25
#: resident growth that is worth giving back to the kernel after a batch
_TRIM_BYTES = 64 << 20


def main(progress_fd: int, parent: int) -> None:
    """Serve requests from standard input until it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    _die_with(parent, libc)
    out = _private_output()
    _, setup = receive(0)
    options = json.loads(setup)
    try:
        module, _, name = options["target"].partition(":")
        work = getattr(import_module(module), name)(**options["options"])
        schema = work.schema
    except BaseException as error:  # noqa: BLE001 -- told to the parent, which raises it
        send(out, BROKEN, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
        return
    send(out, READY, schema.serialize())
    progress = mmap.mmap(progress_fd, PROGRESS.size)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            _, payload = receive(0)
            before = _resident()
            _limit_memory(options["memory_mb"], progress)
            _Run(work, schema, options["cpu_seconds"], progress, out).over(unpack(payload))
            del payload
            if _resident() - before > _TRIM_BYTES and hasattr(libc, "malloc_trim"):
                libc.malloc_trim(0)
            send(out, DONE, json.dumps({"resident": _resident()}).encode())


class _Run:
    """One batch in work."""

    def __init__(self, work: Any, schema: pa.Schema, cpu_seconds: float, progress: mmap.mmap, out: int) -> None:
        self.work = work
        self.schema = schema.append(pa.field(ROW, pa.int64())).append(pa.field(ERROR, pa.string()))
        self.schema = self.schema.append(pa.field(DETAIL, pa.string()))
        self.width = len(schema)
        self.cpu_seconds = cpu_seconds
        self.progress = progress
        self.out = out
        self.rows: list[tuple[Any, ...]] = []

    def over(self, batch: pa.RecordBatch) -> None:
        """Every item of the batch in order; results leave in chunks."""
        columns = batch.columns
        spent = time.process_time()
        for row in range(batch.num_rows):
            PROGRESS.pack_into(self.progress, 0, row, PROGRESS.unpack_from(self.progress, 0)[1])
            signal.setitimer(signal.ITIMER_PROF, self.cpu_seconds)
            self.rows.append((*self._item(columns, row),))
            if time.process_time() - spent > _FLUSH_SECONDS:
                self._flush()
                spent = time.process_time()
        self._flush()
        signal.setitimer(signal.ITIMER_PROF, 0)
        PROGRESS.pack_into(self.progress, 0, -1, 0)

    def _item(self, columns: list[pa.Array], row: int) -> tuple[Any, ...]:
        """The values of one item, its row, and its error or null. Only the type of an exception is kept."""
        nothing = (None,) * self.width
        try:
            return *self.work(*(column[row].as_py() for column in columns)), row, None, None
        except ItemError as error:
            return *nothing, row, error.code, error.detail
        except MemoryError:
            return *nothing, row, "limit.memory", "MemoryError"
        except BaseException as error:  # noqa: BLE001 -- native libraries raise beside Exception too
            return *nothing, row, "worker.error", type(error).__name__

    def _flush(self) -> None:
        if self.rows:
            send(self.out, RESULTS, pack(self._batch()))
            self.rows = []

    def _batch(self) -> pa.RecordBatch:
        try:
            return _record_batch(self.rows, self.schema)
        except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
            # one item gave what the schema cannot hold (a lone surrogate, a wrong type): find it
            return _record_batch([self._checked(values) for values in self.rows], self.schema)

    def _checked(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        try:
            _record_batch([values], self.schema)
        except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError) as error:
            return *(None,) * self.width, values[self.width], "worker.error", type(error).__name__
        return values


def _record_batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    if any(len(values) != len(schema) for values in rows):
        raise ValueError("a guarded function gave another number of values than its schema has")
    arrays = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _private_output() -> int:
    """A descriptor for frames; standard output and error go nowhere, so that no library can write into the stream
    or quote a document on the console."""
    out = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    return out


def _die_with(parent: int, libc: ctypes.CDLL) -> None:
    """Die when the parent dies, leave Ctrl-C to it, and be the first that the kernel kills for memory."""
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("1000")
    except OSError:
        pass  # not Linux, or not allowed: nothing depends on it


def _limit_memory(memory_mb: int, progress: mmap.mmap) -> None:
    """Let the address space grow by ``memory_mb`` from here; the limit is soft so that each batch starts anew."""
    PROGRESS.pack_into(progress, 0, -1, _resident())
    if not (size := _statm()[0]):
        return  # without the present size a limit on growth cannot be set
    size += memory_mb << 20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def _statm() -> tuple[int, int]:
    """(address space, resident) of this process in bytes; zeros where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            size, resident = file.read().split()[:2]
    except OSError:
        return 0, 0
    return int(size) * _PAGE, int(resident) * _PAGE


def _resident() -> int:
    return _statm()[1]
