"""Opening inputs, local and remote: regular files only, no followed links, and streams that resume where they broke."""

from __future__ import annotations

import errno
import io
import os
import random
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, unquote

import xxhash

from curate.errors import InputError
from curate.sources.base import InputFile

#: bytes of both ends of a local file that enter its identity
ENDS = 64 << 10
#: bytes of the smallest remote read
_SMALLEST = 64 << 10
_T = TypeVar("_T")


@dataclass(frozen=True)
class Retry:
    """How remote reads are tried again: exponential back-off with full jitter.

    Attributes:
        attempts: tries without any progress before an input is given up.
        base: seconds before the second try, doubled each time.
        cap: seconds, at most.
        pause: what waits.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0
    pause: Callable[[float], None] = time.sleep

    def wait(self, attempt: int) -> None:
        """Wait after the failed ``attempt`` (0 is the first). The jitter changes no output."""
        self.pause(random.uniform(0.5, 1.0) * min(self.cap, self.base * 2.0**attempt))


def is_remote(path: str) -> bool:
    """Whether ``path`` is a URL other than ``file://``."""
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> str:
    """The file system's own name behind ``path``; ``file://`` URLs are percent-decoded, bytes by surrogateescape."""
    return unquote(path[len("file://") :], errors="surrogateescape") if path.startswith("file://") else path


def portable_path(path: str) -> str:
    """``path`` if it is valid UTF-8, else a ``file://`` URL that ``local_path`` turns back; fit for a manifest."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(path))
    return path


def open_input(entry: InputFile, retry: Retry | None = None) -> BinaryIO:
    """The bytes of an input, to be read from front to back.

    Raises:
        InputError: ``input.vanished``, ``input.unreadable``, ``path.symlink``, ``path.not-regular``; for remote files
            also when the tries are used up, then at any read.
    """
    if is_remote(entry.path):
        return io.BufferedReader(_RemoteFile(entry, retry or Retry()), 1 << 20)
    return os.fdopen(_open_regular(local_path(entry.path)), "rb", buffering=1 << 20)


def identity_of(entry: InputFile, retry: Retry | None = None) -> str:
    """The content identity of an input as it is now; differs from ``entry.identity`` once the file has changed."""
    if is_remote(entry.path):
        fs, path = filesystem(entry.path)
        info = patiently(lambda: fs.info(path), retry or Retry(), entry.path)
        return remote_identity(info)
    return local_identity(local_path(entry.path))[1]


def local_identity(path: str) -> tuple[int, str]:
    """Size in bytes, and size, modification time and a digest of both ends as one text."""
    descriptor = _open_regular(path)
    try:
        found = os.fstat(descriptor)
        digest = xxhash.xxh3_64(_pread(descriptor, ENDS, 0))
        digest.update(_pread(descriptor, ENDS, max(0, found.st_size - ENDS)))
    except OSError as error:
        raise _input_error(error) from error
    finally:
        os.close(descriptor)
    return found.st_size, f"{found.st_size}-{found.st_mtime_ns}-{digest.hexdigest()}"


def remote_identity(info: dict[str, Any]) -> str:
    """Size and the first of ETag, modification time and version that the store gives."""
    for key in ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "Last-Modified"):
        if info.get(key) not in (None, ""):
            return f"{info.get('size')}-{str(info[key]).strip(chr(34))}"
    return f"{info.get('size')}"


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it. InputError if its package is missing."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(
            "input.unreadable", f"{url.split('://', maxsplit=1)[0]}:// cannot be opened: {error}"
        ) from error
    return fs, path


def patiently(call: Callable[[], _T], retry: Retry, what: str) -> _T:
    """The result of ``call``; failures other than "not there" and "not allowed" are tried again."""
    for attempt in range(retry.attempts):
        try:
            return call()
        except Exception as error:
            final = _input_error(error)
            if final.code != "input.connection" or attempt + 1 == retry.attempts:
                raise InputError(final.code, f"{what}: {final.detail}") from error
        retry.wait(attempt)
    raise InputError("input.connection", f"{what}: no attempts allowed")


def _open_regular(path: str) -> int:
    """A descriptor of a regular file; a FIFO does not block, a link is not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _input_error(error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError("path.not-regular", "not a regular file")
    os.set_blocking(descriptor, True)
    return descriptor


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    return os.pread(descriptor, length, offset)


def _input_error(error: BaseException) -> InputError:
    """The ledger's code for an exception of the operating system or of a remote store."""
    if isinstance(error, InputError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    cause = error.__cause__
    if isinstance(cause, (OSError, TimeoutError)) and not isinstance(cause, FileNotFoundError):
        error = cause  # fsspec says "not found" also where no connection could be made
    if isinstance(error, FileNotFoundError):
        return InputError("input.vanished", "the file is not there")
    if isinstance(error, PermissionError):
        return InputError("input.unreadable", "permission denied")
    if number == errno.ELOOP:
        return InputError("path.symlink", "a symbolic link")
    if number in (errno.ENXIO, errno.EISDIR, errno.ENODEV):
        return InputError("path.not-regular", "not a regular file")
    if number in (errno.EIO, errno.ENAMETOOLONG) or isinstance(error, ValueError):
        return InputError("input.unreadable", os.strerror(number) if number else type(error).__name__)
    return InputError("input.connection", f"{type(error).__name__}")


class _RemoteFile(io.RawIOBase):
    """A remote file that is opened again, at the place it had reached, whenever a read fails or ends too early."""

    def __init__(self, entry: InputFile, retry: Retry) -> None:
        super().__init__()
        self._entry = entry
        self._retry = retry
        self._fs, self._path = filesystem(entry.path)
        self._at = 0
        self._file: Any = None
        self._file = patiently(self._open, retry, entry.path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        """Servers without range requests give a stream."""
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("the server allows no range requests")
        base = (0, self._at, self._entry.size)[whence]
        self._at = max(0, base + offset)
        self._file.seek(self._at)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        for attempt in range(self._retry.attempts):
            try:
                # A broken read gives nothing of what had arrived, so ask for less each time.
                piece = self._file.read(max(min(len(view), _SMALLEST), len(view) >> (2 * attempt)))
            except Exception as error:
                final = _input_error(error)
                if final.code in ("input.vanished", "input.unreadable"):
                    raise InputError(final.code, f"{self._entry.path}: {final.detail}") from error
                piece = None
            if piece or (piece is not None and self._at >= self._entry.size):
                view[: len(piece)] = piece
                self._at += len(piece)
                return len(piece)
            self._retry.wait(attempt)
            self._again(attempt)
        detail = f"{self._entry.path}: the stream ends at byte {self._at} of {self._entry.size}"
        raise InputError("input.connection", f"{detail} after {self._retry.attempts} tries")

    def close(self) -> None:
        if not self.closed and self._file is not None:
            self._file.close()
        super().close()

    def _open(self, ahead: int = 4 << 20) -> Any:
        return self._fs.open(self._path, "rb", block_size=ahead)

    def _again(self, attempt: int) -> None:
        """A new connection at the same place; where the server cannot seek, by reading up to it."""
        try:
            self._file.close()
            self._file = self._open(max(_SMALLEST, (1 << 20) >> (2 * attempt)))
            if self._file.seekable():
                self._file.seek(self._at)
                return
            left = self._at
            while left and (piece := self._file.read(min(left, 1 << 20))):
                left -= len(piece)
        except Exception as error:
            if _input_error(error).code != "input.connection":
                raise _input_error(error) from error
