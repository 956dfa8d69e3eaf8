"""The frozen list of inputs, so that a file that appears, vanishes or changes later is noticed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from curate.documents import column
from curate.store.folder import Folder
from curate.store.shards import write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "manifest.parquet"

MANIFEST = pa.schema(
    [
        column("partition", pa.string(), "name of the shard that the file becomes", nullable=False),
        column("source", pa.string(), "path relative to the input root; enters ids", nullable=False),
        column("path", pa.string(), "where it was opened", nullable=False),
        column("kind", pa.string(), "warc, arc, wet, jsonl or parquet", nullable=False),
        column("size", pa.int64(), "size when it was listed", unit="bytes", nullable=False),
        column("identity", pa.string(), "content identity; changes when the file does", nullable=False),
    ]
)


@dataclass(frozen=True)
class Entry:
    """One input file and the partition it became."""

    partition: str
    source: str
    path: str
    kind: str
    size: int
    identity: str


@dataclass(frozen=True)
class Changes:
    """How a fresh listing differs from the frozen one."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class Manifest:
    """The inputs of a run, in partition order."""

    entries: tuple[Entry, ...] = field(default=())

    @staticmethod
    def read(folder: Folder) -> Manifest | None:
        """The frozen manifest, or None before the first run."""
        if not folder.exists(NAME):
            return None
        return Manifest(tuple(Entry(**row) for row in folder.table(NAME).to_pylist()))

    def write(self, folder: Folder) -> None:
        """Freeze it."""
        rows = [e.__dict__ for e in self.entries]
        write_table(folder, NAME, pa.Table.from_pylist(rows, schema=MANIFEST))

    def compare(self, fresh: Sequence[Entry]) -> Changes:
        """What a fresh listing (partition names ignored) adds, lacks, or has with other content."""
        old = {e.source: e for e in self.entries}
        new = {e.source: e for e in fresh}
        return Changes(
            added=tuple(sorted(new.keys() - old.keys())),
            removed=tuple(sorted(old.keys() - new.keys())),
            changed=tuple(sorted(s for s in new.keys() & old.keys() if new[s].identity != old[s].identity)),
        )

    def updated(self, fresh: Sequence[Entry]) -> Manifest:
        """The manifest after accepting a fresh listing: known files keep their partition, new ones get the next."""
        old = {e.source: e for e in self.entries}
        following = max((int(e.partition) for e in self.entries), default=-1) + 1
        kept: list[Entry] = []
        for entry in fresh:
            known = old.get(entry.source)
            number = int(known.partition) if known is not None else following
            following += known is None
            kept.append(Entry(f"{number:05d}", entry.source, entry.path, entry.kind, entry.size, entry.identity))
        return Manifest(tuple(sorted(kept, key=lambda e: e.partition)))
