"""Answers that were paid for, kept so that none is paid for twice.

One file per writer, one line per answer:

    <key: 32 hex> <checksum: 16 hex> <prompt tokens> <completion tokens> <JSON>\\n

The checksum (xxh3-64) covers all that follows it. A line is written with one call before its answer is handed on, so
killing the process loses no answer; ``fsync`` follows after 512 lines or one second: what a power cut can cost.
On opening, a torn last line of one's own file is cut off, damaged lines anywhere are skipped and asked again. The first
of equal keys counts, in order of file names. The JSON holds no times and no attempts: a server that answers equally
leaves equal lines.

Behind a store that cannot append (any URL), lines are collected in a local temporary file and put as whole segments of
1,024 lines or 30 seconds, whichever is first; killing the process can cost that much there.

Memory: 24 bytes per answer (24 MB per million), twice that while new ones are merged (every 65,536 answers),
and 10 MB for those not yet merged. Texts stay on disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import orjson
import xxhash

from curate.errors import ConfigError, EnvironmentGone
from curate.rewrite.usage import Usage
from curate.store.folder import Folder, LocalFolder, open_folder, writing

_SUFFIX = ".journal"
_KEY = 32
_HEAD = _KEY + 1 + 16 + 1  # key, space, checksum, space
_OFFSET_BITS = 44
_MERGE_AT = 65_536
_SYNC_LINES, _SYNC_SECONDS = 512, 1.0
_PUT_LINES, _PUT_SECONDS = 1024, 30.0
_READ = 1 << 14


class Journal:
    """Open with ``writer`` to add answers (one process per writer's name), with null to read only.

    Args:
        folder: the run's folder, a path or any URL.
        writer: a name for this task's file, letters, digits, ``-``, ``_`` and ``.``.
        prefix: where in the folder.
        others: also look up what other writers' files hold.
    """

    def __init__(
        self, folder: Folder | Path | str, writer: str | None, prefix: str = "rewrite/journal", others: bool = True
    ) -> None:
        if writer is not None and (not writer or not all(c.isalnum() or c in "-_." for c in writer)):
            raise ConfigError(f"a journal's writer is called {writer!r}: use letters, digits, '-', '_' and '.'")
        self._folder = folder if isinstance(folder, Folder) else open_folder(str(folder))
        self.prefix = prefix.strip("/")
        self.writer = writer
        self.damaged = 0
        self.spent = Usage()
        self._lock = threading.RLock()
        self._files: list[int] = []
        self._sorted = np.zeros(0, _ENTRY)
        self._recent: dict[bytes, int] = {}
        self._unsynced = 0
        self._out = -1
        self._end = 0
        self._closing = threading.Event()
        self._error: OSError | None = None
        self._mirror: Path | None = None
        self._pending: list[bytes] = []
        self._segment = 0
        try:
            self._open(others)
        except BaseException:
            self._release()
            raise
        if writer is not None:
            threading.Thread(target=self._keep_syncing, name="journal-sync", daemon=True).start()

    # -- opening

    def _open(self, others: bool) -> None:
        if isinstance(self._folder, LocalFolder):
            self._open_local(self._folder, others)
        else:
            self._open_remote(others)

    def _open_local(self, folder: LocalFolder, others: bool) -> None:
        own = f"{self.prefix}/{self.writer}{_SUFFIX}"
        names = [n for n in folder.names(self.prefix) if n.endswith(_SUFFIX) and (others or n == own)]
        if self.writer is not None:
            path = folder.path / own
            with writing(str(path)):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(self._out, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise EnvironmentGone(
                        f"{path} is being written by another process; wait for it or stop it"
                    ) from error
                _sync_folder(path.parent)
            names = sorted({*names, own})
        for name in names:
            descriptor = self._out if name == own else os.open(folder.path / name, os.O_RDONLY | os.O_CLOEXEC)
            self._scan(descriptor, own=name == own)

    def _open_remote(self, others: bool) -> None:
        """A local copy of all segments, in order of their names, that is appended to like a local file."""
        self._mirror = Path(tempfile.mkdtemp(prefix="curate-journal-"))
        path = self._mirror / "mirror"
        self._out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for name in self._folder.names(self.prefix):
            stem, _, number = name.rpartition("/")[2].removesuffix(_SUFFIX).rpartition("+")
            if not name.endswith(_SUFFIX) or not (others or stem == self.writer):
                continue
            if stem == self.writer and number.isdigit():
                self._segment = max(self._segment, int(number) + 1)
            data = self._folder.read(name)
            os.write(self._out, data if data.endswith(b"\n") or not data else data + b"\n")
        self._scan(self._out, own=True)

    def _scan(self, descriptor: int, own: bool) -> None:
        """Add a file's whole lines to the index."""
        number = len(self._files)
        if number >= 1 << (64 - _OFFSET_BITS - 1):
            raise ConfigError(f"{self.prefix}: too many journal files")
        self._files.append(descriptor)
        found: list[np.ndarray[Any, Any]] = []
        entries: list[tuple[int, int, int]] = []
        offset = prompt = completion = 0
        with os.fdopen(os.dup(descriptor), "rb", buffering=1 << 20) as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                tokens = _tokens(line)
                if tokens is None:
                    self.damaged += 1
                else:
                    high, low = int(line[:16], 16), int(line[16:32], 16)
                    entries.append((high, low, number << _OFFSET_BITS | offset))
                    prompt, completion = prompt + tokens[0], completion + tokens[1]
                    if len(entries) == _MERGE_AT:
                        found.append(np.array(entries, _ENTRY))
                        entries = []
                offset += len(line)
        found.append(np.array(entries, _ENTRY))
        self._sorted = _merged([self._sorted, *found])
        self.spent += Usage(prompt, completion)
        torn = offset < os.fstat(descriptor).st_size
        self.damaged += torn
        if own:
            if torn:
                os.ftruncate(descriptor, offset)
            self._end = offset

    # -- reading

    def __len__(self) -> int:
        with self._lock:
            return len(self._sorted) + len(self._recent)

    def __contains__(self, key: bytes) -> bool:
        with self._lock:
            return self._where(key) is not None

    def get(self, key: bytes) -> dict[str, Any] | None:
        """What was appended under ``key``; null if nothing was, or if the line no longer holds its checksum."""
        with self._lock:
            where = self._where(key)
            if where is None:
                return None
            line = _line_at(self._files[where >> _OFFSET_BITS], where & ((1 << _OFFSET_BITS) - 1))
        if _tokens(line) is None or bytes.fromhex(line[:_KEY].decode()) != key:
            return None
        record: dict[str, Any] = orjson.loads(_payload(line))
        return record

    def _where(self, key: bytes) -> int | None:
        found = self._recent.get(key)
        if found is not None:
            return found
        high, low = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
        at = int(np.searchsorted(self._sorted["high"], np.uint64(high)))
        while at < len(self._sorted) and int(self._sorted["high"][at]) == high:
            if int(self._sorted["low"][at]) == low:
                return int(self._sorted["where"][at])
            at += 1
        return None

    def records(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Every key with its record, in order of keys."""
        with self._lock:
            self._merge()
            entries = self._sorted
        for entry in entries:
            key = int(entry["high"]).to_bytes(8, "big") + int(entry["low"]).to_bytes(8, "big")
            record = self.get(key)
            if record is not None:
                yield key, record

    def digest(self) -> str:
        """32 hex digits over keys and records, whatever the order in which they came and the files they are in."""
        digest = hashlib.blake2b(digest_size=16)
        for key, record in self.records():
            digest.update(key + orjson.dumps(record, option=orjson.OPT_SORT_KEYS) + b"\n")
        return digest.hexdigest()

    # -- writing

    def append(self, key: bytes, record: dict[str, Any], usage: Usage) -> None:
        """Keep ``record`` under ``key``; nothing happens if there is one already. EnvironmentGone if that cannot be."""
        if self.writer is None:
            raise ValueError("this journal was opened for reading")
        rest = f"{usage.prompt_tokens} {usage.completion_tokens} ".encode() + orjson.dumps(record) + b"\n"
        line = key.hex().encode() + b" " + _checksum(key.hex().encode() + rest) + b" " + rest
        with self._lock, writing(f"{self._folder.url}/{self.prefix}/{self.writer}{_SUFFIX}"):
            if self._error is not None:
                raise self._error
            if self._where(key) is not None:
                return
            written = os.write(self._out, line)
            if written < len(line):
                os.ftruncate(self._out, self._end)
                raise OSError(28, "No space left on device")
            self._recent[key] = (self._files.index(self._out) << _OFFSET_BITS) | self._end
            self._end += len(line)
            self.spent += usage
            self._unsynced += 1
            if self._mirror is not None:
                self._pending.append(line)
            if self._unsynced >= (_SYNC_LINES if self._mirror is None else _PUT_LINES):
                self._sync()
            if len(self._recent) >= _MERGE_AT:
                self._merge()

    def flush(self) -> None:
        """Make everything appended so far durable."""
        with self._lock, writing(f"{self._folder.url}/{self.prefix}"):
            self._sync()

    def _sync(self) -> None:
        if self._error is not None:
            raise self._error
        if self._unsynced and self._out >= 0:
            try:
                if self._mirror is None:
                    os.fsync(self._out)
                else:
                    self._folder.write(
                        f"{self.prefix}/{self.writer}+{self._segment:08d}{_SUFFIX}", b"".join(self._pending)
                    )
                    self._segment += 1
                    self._pending = []
            except OSError as error:
                self._error = error  # after a failed fsync the kernel may have dropped the pages: never try again
                raise
        self._unsynced = 0

    def _keep_syncing(self) -> None:
        wait = _SYNC_SECONDS if self._mirror is None else _PUT_SECONDS
        while not self._closing.wait(wait):
            with self._lock:
                if self._out < 0 or self._error is not None:
                    return
                try:
                    self._sync()
                except OSError:
                    return  # the next append raises it where somebody hears it

    def _merge(self) -> None:
        if self._recent:
            rows = [(int.from_bytes(k[:8], "big"), int.from_bytes(k[8:], "big"), w) for k, w in self._recent.items()]
            self._sorted = _merged([self._sorted, np.array(rows, _ENTRY)])
            self._recent = {}

    def close(self) -> None:
        """Make everything durable and let go of the files."""
        try:
            if self.writer is not None and self._error is None:
                self.flush()
        finally:
            self._release()

    def _release(self) -> None:
        self._closing.set()
        with self._lock:
            for descriptor in {*self._files, self._out} - {-1}:
                os.close(descriptor)
            self._files, self._out = [], -1
            self._sorted, self._recent = np.zeros(0, _ENTRY), {}
            if self._mirror is not None:
                shutil.rmtree(self._mirror, ignore_errors=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("where", "<u8")])


def _merged(parts: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Entries in order of keys, the first of equal ones alone."""
    entries = np.concatenate(parts)
    entries = entries[np.lexsort((entries["where"], entries["low"], entries["high"]))]
    if len(entries) > 1:
        same = (entries["high"][1:] == entries["high"][:-1]) & (entries["low"][1:] == entries["low"][:-1])
        entries = entries[np.concatenate([[True], ~same])]
    return entries


def _checksum(data: bytes) -> bytes:
    return xxhash.xxh3_64_hexdigest(data).encode()


def _tokens(line: bytes) -> tuple[int, int] | None:
    """Tokens of a line that holds its checksum, else null."""
    if len(line) <= _HEAD or line[_KEY] != 0x20 or line[_HEAD - 1] != 0x20:
        return None
    if line[_HEAD - 17 : _HEAD - 1] != _checksum(line[:_KEY] + line[_HEAD:]):
        return None
    prompt, completion, _ = line[_HEAD:].split(b" ", 2)
    return int(prompt), int(completion)


def _payload(line: bytes) -> bytes:
    return line[_HEAD:].split(b" ", 2)[2]


def _line_at(descriptor: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while True:
        part = os.pread(descriptor, _READ, offset)
        end = part.find(b"\n")
        if end >= 0 or not part:
            return b"".join([*parts, part[: end + 1]])
        parts.append(part)
        offset += len(part)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
