"""A run's folder: the only object through which files are written.

Local folders: temporary name in the same folder, fsync, atomic rename, fsync of the folder. Any other fsspec URL: the
file is made in a local temporary place and put as one whole object. Either way a reader sees a whole file or none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.errors import EnvironmentGone
from curate.store.failpoints import failpoint

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_GONE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR, errno.EIO,
         errno.ESTALE}  # fmt: skip
_TEMPORARY = ".tmp-"
#: what is read of a column chunk at a time
_READ_BYTES = 1 << 18


class Folder(ABC):
    """Files by names relative to the folder, with ``/`` between parts."""

    url: str

    @abstractmethod
    def temporary(self, name: str) -> Path:
        """A local path to write what will become ``name``; not visible to readers of the folder."""

    @abstractmethod
    def publish(self, temporary: Path, name: str) -> None:
        """Make the written ``temporary`` file appear as ``name``, whole and durable."""

    def discard(self, temporary: Path) -> None:
        """Give up a temporary file."""
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)

    def write_with(self, name: str, make: Callable[[Path], None]) -> None:
        """Publish ``name`` with what ``make`` writes to the path it is given; all or nothing."""
        temporary = self.temporary(name)
        try:
            with writing(f"{self.url}/{name}"):
                make(temporary)
            self.publish(temporary, name)
        except BaseException:
            self.discard(temporary)
            raise

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether ``name`` is there."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of ``name``; FileNotFoundError if it is not there."""

    @abstractmethod
    def names(self, prefix: str) -> list[str]:
        """Names of the files directly under the folder ``prefix``, sorted; empty if there is none."""

    @abstractmethod
    def folders(self, prefix: str) -> list[str]:
        """Names of the folders directly under the folder ``prefix``, sorted, without it; empty if there is none."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of ``name``."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete ``name``; nothing happens if it is not there."""

    @abstractmethod
    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        """``name`` as something that pyarrow can read with random access."""

    def write(self, name: str, data: bytes) -> None:
        """Publish ``name`` with ``data``."""
        self.write_with(name, lambda path: _write_bytes(path, data))

    @contextlib.contextmanager
    def parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        """An open Parquet file whose page checksums are verified on reading."""
        with self.opened(name) as source, _verified(source) as file:
            yield file

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A whole Parquet file as a table."""
        with self.parquet(name) as file:
            return file.read(columns=columns, use_threads=False)


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn errors that mean "this machine cannot write" into ``EnvironmentGone`` with a way out."""
    try:
        yield
    except OSError as error:
        if error.errno in _GONE or isinstance(error, FileNotFoundError):
            raise EnvironmentGone(
                f"cannot write {what}: {error.strerror or type(error).__name__}. "
                "What is finished stands; free the disk or mend the folder and run the same command again."
            ) from error
        raise


def _verified(source: Any, **options: Any) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    return pq.ParquetFile(source, page_checksum_verification=True, **options)


def _write_bytes(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)


class LocalFolder(Folder):
    """A folder of this machine's file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def temporary(self, name: str) -> Path:
        final = self.path / name
        with writing(str(final)):
            final.parent.mkdir(parents=True, exist_ok=True)
            failpoint("store.before_write")
        return final.with_name(f"{_TEMPORARY}{os.getpid()}-{final.name}")

    def publish(self, temporary: Path, name: str) -> None:
        final = self.path / name
        with writing(str(final)):
            _sync(temporary)
            failpoint("store.before_rename")
            temporary.replace(final)
            failpoint("store.after_rename")
            _sync(final.parent)

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def names(self, prefix: str) -> list[str]:
        folder = self.path / prefix
        if not folder.is_dir():
            return []
        return sorted(
            f"{prefix}/{p.name}" for p in folder.iterdir() if p.is_file() and not p.name.startswith(_TEMPORARY)
        )

    def folders(self, prefix: str) -> list[str]:
        folder = self.path / prefix
        return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        with pa.memory_map(str(self.path / name)) as file:
            yield file

    @contextlib.contextmanager
    def parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        # Not mapped: pages of a map count as resident until the file is closed, so that a worker would grow with its
        # shard, and a file that is cut meanwhile would be a signal instead of an error. Reading is as fast.
        with pa.OSFile(str(self.path / name)) as source, _verified(source, buffer_size=_READ_BYTES) as file:
            yield file

    def sweep(self) -> int:
        """Delete temporary files that a killed process left; returns how many. Call only while holding the lock."""
        leftovers = [p for p in self.path.rglob(f"{_TEMPORARY}*") if p.is_file()]
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)


class RemoteFolder(Folder):
    """A folder behind any fsspec URL (s3://, gs://, memory:// …): whole-object puts, no rename."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.fs, self.root = fsspec.core.url_to_fs(url)
        self.url = url.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def temporary(self, name: str) -> Path:
        failpoint("store.before_write")
        descriptor, path = tempfile.mkstemp(prefix="curate-put-")
        os.close(descriptor)
        return Path(path)

    def publish(self, temporary: Path, name: str) -> None:
        size = temporary.stat().st_size
        failpoint("store.before_rename")
        self.fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
        self.fs.put_file(str(temporary), self._path(name))
        failpoint("store.after_rename")
        self.discard(temporary)
        if self.size(name) != size:
            raise EnvironmentGone(f"{self.url}/{name}: the store holds another length than was put; run again")

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self._path(name)))

    def size(self, name: str) -> int:
        self.fs.invalidate_cache()
        return int(self.fs.size(self._path(name)))

    def names(self, prefix: str) -> list[str]:
        try:
            found = self.fs.ls(self._path(prefix), detail=True, refresh=True)
        except (FileNotFoundError, TypeError):
            found = self.fs.ls(self._path(prefix), detail=True) if self.fs.exists(self._path(prefix)) else []
        return sorted(f"{prefix}/{e['name'].rstrip('/').rpartition('/')[2]}" for e in found if e["type"] == "file")

    def folders(self, prefix: str) -> list[str]:
        self.fs.invalidate_cache()
        found = self.fs.ls(self._path(prefix), detail=True) if self.fs.exists(self._path(prefix)) else []
        return sorted(e["name"].rstrip("/").rpartition("/")[2] for e in found if e["type"] == "directory")

    def read(self, name: str) -> bytes:
        return bytes(self.fs.cat_file(self._path(name)))

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._path(name))

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        with self.fs.open(self._path(name), "rb") as file:
            yield pa.PythonFile(file, mode="r")


def open_folder(url: str) -> Folder:
    """The folder at ``url``: a local path, ``file://`` or any URL that fsspec knows."""
    if "://" in url and not url.startswith("file://"):
        return RemoteFolder(url)
    return LocalFolder(Path(url.removeprefix("file://")).absolute())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
