"""One run at a time on one output folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import IO

from curate.errors import EnvironmentGone
from curate.store.failpoints import failpoint

HEARTBEAT_S = 10.0
STALE_AFTER_S = 120.0


class RunLock:
    """Holds ``<folder>/.lock`` while a run is going on.

    On one machine ``flock`` decides, so a killed run leaves nothing to clean. Across machines that share a file system
    without locks, the heartbeat in the file decides: younger than two minutes means that the run is alive.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._file: IO[str] | None = None
        self._stop = threading.Event()
        self.took_over: str | None = None

    def __enter__(self) -> RunLock:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+", encoding="utf-8", opener=_private)
        except OSError as error:
            raise EnvironmentGone(
                f"cannot use the output folder {self.path.parent}: {error.strerror}. "
                "Give a folder that can be written (run.output)."
            ) from error
        holder = self._holder()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise EnvironmentGone(_refusal(self.path.parent, holder)) from error
        if holder and holder.get("host") != socket.gethostname() and _age(holder) < STALE_AFTER_S:
            self._file.close()
            raise EnvironmentGone(_refusal(self.path.parent, holder))
        if holder and holder.get("state") == "running":
            self.took_over = f"a run of pid {holder.get('pid')} on {holder.get('host')} ended without a word"
        self._beat("running")
        threading.Thread(target=self._keep_beating, daemon=True).start()
        failpoint("lock.taken")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._beat("released")
            self._file.close()
            self._file = None

    def lost(self) -> bool:
        """Whether the folder was removed, or another put in its place, since the lock was taken."""
        if self._file is None:
            return True
        try:
            there = self.path.stat()
        except OSError:
            return True
        mine = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def _holder(self) -> dict[str, object]:
        assert self._file is not None
        self._file.seek(0)
        try:
            found = json.loads(self._file.read() or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _beat(self, state: str) -> None:
        assert self._file is not None
        body = {"pid": os.getpid(), "host": socket.gethostname(), "state": state, "heartbeat": time.time()}
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(body))
        self._file.flush()

    def _keep_beating(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError, ValueError, AssertionError):
                self._beat("running")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _age(holder: dict[str, object]) -> float:
    beat = holder.get("heartbeat")
    return max(0.0, time.time() - beat) if isinstance(beat, (int, float)) else float("inf")


def _refusal(folder: Path, holder: dict[str, object]) -> str:
    return (
        f"another run holds {folder}: pid {holder.get('pid', '?')} on {holder.get('host', '?')}, last sign of life "
        f"{_age(holder):.0f} s ago. Wait for it, stop it, or give another run.output."
    )
