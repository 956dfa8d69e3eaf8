"""Sealed files: Parquet files whose row groups belong to numbered sections, of which no byte is read unchecked.

Exchanges between tasks go through such files: the writer sorts rows into sections (key ranges, partitions, shards),
the reader takes the sections it needs. Each row group's bytes are digested when they are written; the digests stand in
the footer, the digest of the footer is the file's seal, and the seal stands in the receipt of the task that wrote the
file. A reader checks the size, the footer and each row group before anything is parsed, so that a file that was cut,
changed, exchanged or taken away is an error and never fewer rows. Other programs read the files as plain Parquet.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.errors import VerificationError
from curate.store.digests import TableDigest
from curate.store.folder import Folder, writing
from curate.store.shards import Output

_INDEX = b"curate.sections"
#: what to do about a damaged file; it is made again from what stands
REMEDY = "delete it and run the same command again"
_READ_ERRORS = (OSError, ValueError, KeyError, IndexError, pa.ArrowException, RuntimeError)


@dataclass(frozen=True)
class Sealed:
    """A sealed file.

    Attributes:
        output: what a receipt says of it.
        seal: where its footer starts and the xxh3-128 of the bytes from there on, ``start:digest``.
        about: what the writer said of it.
    """

    output: Output
    seal: str


class _Sink:
    """Bytes on their way to a file, digested since the last ``taken``."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = xxhash.xxh3_128()
        self.at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._file.write(view)
        self._digest.update(view)
        self.at += view.nbytes
        return int(view.nbytes)

    def taken(self) -> str:
        found = self._digest.hexdigest()
        self._digest.reset()
        return found

    def tell(self) -> int:
        return self.at

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class SectionWriter:
    """Writes a sealed file, one row group per call; it appears at ``close``, whole, or not at all.

    Args:
        folder: of the run or the index.
        name: of the file.
        schema: of all sections.
        about: anything JSON-able that readers need before they read sections, e.g. how many there are.
    """

    def __init__(self, folder: Folder, name: str, schema: pa.Schema, about: dict[str, Any] | None = None) -> None:
        self._folder, self._name, self._schema = folder, name, schema
        self._about = dict(about or {})
        self._path: Path = folder.temporary(name)
        self._digest = TableDigest(schema)
        self._rows = 0
        self._sections: list[int] = []
        self._ends: list[int] = []
        self._digests: list[str] = []
        with writing(f"{folder.url}/{name}"):
            self._file = self._path.open("wb")
            self._sink = _Sink(self._file)
            self._writer = pq.ParquetWriter(
                self._sink, schema, compression="zstd", use_dictionary=False, write_statistics=False,
                write_page_checksum=True,
            )  # fmt: skip

    def write(self, section: int, table: pa.Table) -> None:
        """Add rows to a section; a section may be written several times, its rows keep that order."""
        if not table.num_rows:
            return
        table = table.select(self._schema.names).cast(self._schema)
        self._digest.update(table)
        self._rows += table.num_rows
        with writing(f"{self._folder.url}/{self._name}"):
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._sections.append(section)
        self._ends.append(self._sink.at)
        self._digests.append(self._sink.taken())

    def close(self) -> Sealed:
        """Publish the file."""
        start = self._ends[-1] if self._ends else 0
        index = {"sections": self._sections, "ends": self._ends, "digests": self._digests, "about": self._about}
        with writing(f"{self._folder.url}/{self._name}"):
            self._writer.add_key_value_metadata({_INDEX.decode(): json.dumps(index, separators=(",", ":"))})
            self._writer.close()
            self._file.close()
        seal = f"{start}:{self._sink.taken()}"
        size = self._path.stat().st_size
        self._folder.publish(self._path, self._name)
        return Sealed(Output(self._name, self._rows, size, self._digest.hexdigest()), seal)

    def abandon(self) -> None:
        """Give the file up; nothing appears."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        self._file.close()
        self._folder.discard(self._path)


@contextlib.contextmanager
def section_writer(
    folder: Folder, name: str, schema: pa.Schema, about: dict[str, Any] | None = None
) -> Iterator[SectionWriter]:
    """A writer that is given up if the block fails; the caller closes it."""
    writer = SectionWriter(folder, name, schema, about)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise


def write_sections(
    folder: Folder, name: str, schema: pa.Schema, parts: Iterator[tuple[int, pa.Table]], about: dict[str, Any]
) -> Sealed:
    """Write all (section, table) parts as one sealed file."""
    with section_writer(folder, name, schema, about) as writer:
        for section, table in parts:
            writer.write(section, table)
        return writer.close()


class SectionReader:
    """Reads a sealed file; use as a context.

    Args:
        folder: where it lies.
        name: of the file.
        sealed: what its receipt says.
        remedy: what messages say is to be done about a damaged file, where it is not made again by running again.

    Raises:
        VerificationError: the file is not there, or is not what was sealed; here or by any reading method.
    """

    def __init__(self, folder: Folder, name: str, sealed: Sealed, remedy: str = "") -> None:
        self._folder, self._name, self._sealed, self._remedy = folder, name, sealed, remedy
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> SectionReader:
        with self._stack, self._checked():
            self._source = self._stack.enter_context(self._folder.opened(self._name))
            self._check_footer()
            self._file = self._stack.enter_context(pq.ParquetFile(self._source, page_checksum_verification=True))
            index = json.loads(self._file.metadata.metadata[_INDEX])
            self._stack = self._stack.pop_all()
        self._sections: npt.NDArray[np.int64] = np.array(index["sections"], np.int64)
        self._ends: list[int] = index["ends"]
        self._digests: list[str] = index["digests"]
        self.about: dict[str, Any] = index["about"]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def schema(self) -> pa.Schema:
        """Of all sections."""
        return self._file.schema_arrow

    def groups(self, sections: Sequence[int] | range | None = None) -> list[int]:
        """Row groups of these sections (all if None), in the order in which they were written."""
        if sections is None:
            return list(range(len(self._sections)))
        if isinstance(sections, range) and sections.step == 1:
            chosen = (self._sections >= sections.start) & (self._sections < sections.stop)
        else:
            chosen = np.isin(self._sections, np.asarray(sections, np.int64))
        return np.flatnonzero(chosen).tolist()

    def rows(self, groups: Sequence[int]) -> list[int]:
        """Rows of each of these row groups."""
        return [self._file.metadata.row_group(g).num_rows for g in groups]

    def group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group."""
        with self._checked():
            start = self._ends[group - 1] if group else 0
            if _digest(self._source, start, self._ends[group]) != self._digests[group]:
                raise self._damaged(f"row group {group} is not what was written")
            return self._file.read_row_group(group, columns=list(columns) if columns else None, use_threads=False)

    def check(self) -> None:
        """Read all bytes, parse none; VerificationError if they are not what was written."""
        with self._checked():
            for group, end in enumerate(self._ends):
                start = self._ends[group - 1] if group else 0
                if _digest(self._source, start, end) != self._digests[group]:
                    raise self._damaged(f"row group {group} is not what was written")

    def section(self, sections: Sequence[int] | range | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of these sections (of all, if None), in the order in which they were written."""
        tables = [self.group(g, columns) for g in self.groups(sections)]
        schema = self.schema if columns is None else pa.schema([self.schema.field(c) for c in columns])
        return pa.concat_tables(tables) if tables else schema.remove_metadata().empty_table()

    def _check_footer(self) -> None:
        size = self._source.size()
        if size != self._sealed.output.bytes:
            raise self._damaged(f"it has {size} bytes, {self._sealed.output.bytes} were written")
        start, _, digest = self._sealed.seal.partition(":")
        if _digest(self._source, int(start), size) != digest:
            raise self._damaged("its footer is not what was written")

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        """Whatever a damaged file makes a library raise, said as what it is."""
        try:
            yield
        except VerificationError:
            raise
        except FileNotFoundError as error:
            remedy = self._remedy or "run the same command again, it will be made anew"
            raise VerificationError(f"{self._folder.url}/{self._name} is gone: {remedy}") from error
        except _READ_ERRORS as error:
            raise self._damaged(f"it cannot be read ({type(error).__name__})") from error

    def _damaged(self, what: str) -> VerificationError:
        place = f"{self._folder.url}/{self._name}"
        return VerificationError(f"{place} was damaged or exchanged: {what}; {self._remedy or REMEDY}")


def read_sealed(folder: Folder, sealed: Sealed, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a sealed file."""
    with SectionReader(folder, sealed.output.path, sealed) as reader:
        return reader.section(None, columns)


def _digest(source: Any, start: int, stop: int, piece: int = 8 << 20) -> str:
    found = xxhash.xxh3_128()
    for at in range(start, stop, piece):
        source.seek(at)
        found.update(source.read(min(piece, stop - at)))
    return found.hexdigest()
