"""What the tests of sources share: read a file whole and check that every record and byte is accounted for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.documents import Failure
from curate.sources import source_class
from curate.sources.base import InputFile, ReadOptions, Source


@dataclass
class Reading:
    source: Source
    rows: list[dict[str, Any]]

    @property
    def texts(self) -> list[str]:
        return [row["text"] for row in self.rows]

    @property
    def failures(self) -> list[Failure]:
        return self.source.fates.failures

    @property
    def errors(self) -> list[str]:
        return [f.error for f in self.failures if f.level == "error"]

    @property
    def warnings(self) -> list[str]:
        return [f.error for f in self.failures if f.level == "warning"]

    @property
    def dropped(self) -> int:
        return sum(d.rows.num_rows for d in self.source.fates.drops)

    @property
    def failed(self) -> int:
        counts = (1 if f.rows is None else f.rows.num_rows for f in self.failures if f.level == "error")
        return sum(counts) - len(self.source.account.rejected)


def read(path: Path, kind: str, options: ReadOptions | None = None, *, source: str | None = None) -> Reading:
    """Read ``path`` whole; asserts that bytes and records add up."""
    entry = InputFile(str(path), source or path.name, kind, path.stat().st_size, "")
    reader = source_class(kind)(entry, options or ReadOptions())
    rows: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for batch in reader.batches(file):
            assert batch.schema.equals(reader.schema(reader.options))
            batch.rows.validate(full=True)
            rows += batch.rows.to_pylist()
    result = Reading(reader, rows)
    account = reader.account
    assert account.accounted_bytes == entry.size
    assert account.documents == len(rows)
    assert account.records == len(rows) + result.dropped + result.failed + sum(account.skipped.values())
    assert len({row["id"] for row in rows}) == len(rows)
    return result
