"""Small archives built in memory, and reading them."""

from __future__ import annotations

import gzip
import io
import re
from collections import Counter
from typing import Any

from curate.sources.archive import ArchiveSource
from curate.sources.base import InputFile, ReadOptions
from curate.sources.warc import WarcSource


def http(body: bytes, *headers: str, status: str = "HTTP/1.1 200 OK", kind: str = "text/html") -> bytes:
    lines = [status, *([f"Content-Type: {kind}"] if kind else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def record(
    n: int,
    block: bytes,
    *headers: str,
    kind: str = "response",
    length: int | str | None = None,
    nl: bytes = b"\r\n",
    url: str | None = None,
) -> bytes:
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{n:012d}>",
        "WARC-Date: 2024-06-07T00:00:00Z",
        f"WARC-Target-URI: {url or f'https://example.org/{n}'}",
        f"Content-Length: {len(block) if length is None else length}",
        *headers,
    ]
    return nl.join(line.encode() for line in lines) + nl * 2 + block + nl * 2


def page(n: int, words: str = "") -> bytes:
    return f"<html><body><p>page mk{n:02d} {words}</p></body></html>".encode()


def pages(count: int) -> list[bytes]:
    return [record(n, http(page(n))) for n in range(count)]


def member(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def arc(url: str, block: bytes, *, kind: str = "text/html", length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return f"{url} 192.0.2.1 20080430204825 {kind} {size}\n".encode() + block


def filedesc() -> bytes:
    block = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n\n"
    return f"filedesc://test.arc 0.0.0.0 20080430204825 text/plain {len(block)}\n".encode() + block


class Read:
    """What one file gave."""

    def __init__(
        self, data: bytes, cls: type[ArchiveSource] = WarcSource, name: str = "a.warc.gz", **options: Any
    ) -> None:
        self.source = cls(InputFile(name, name, cls.kind, len(data), ""), ReadOptions(**options))
        self.batches = list(self.source.batches(io.BytesIO(data)))
        self.account = self.source.account
        self.rows: list[dict[str, Any]] = [row for batch in self.batches for row in batch.rows.to_pylist()]
        self.drops = Counter(r for d in self.source.fates.drops for r in d.reason.to_pylist())
        self.errors = Counter(f.error for f in self.source.fates.failures if f.level == "error")
        self.warnings = Counter(f.error for f in self.source.fates.failures if f.level == "warning")
        failed = [f for f in self.source.fates.failures if f.rows is not None and f.level == "error"]
        assert self.account.accounted_bytes == len(data)
        assert self.account.documents == len(self.rows)
        assert self.account.records == (
            len(self.rows) + self.drops.total() + len(failed) + self.account.skipped.total()
        )

    @property
    def numbers(self) -> list[int]:
        """Numbers of the pages that came out, in order."""
        column = "html" if "html" in self.source.columns.names else "text"
        return [int(found[1]) for row in self.rows if (found := re.search("mk([0-9]{2}) ", row[column]))]
