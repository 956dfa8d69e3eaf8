"""What WARC, ARC and WET sources share: frames in, batches out, every record accounted for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import xxhash

from curate.documents import IDENTITY, Batch, document_id
from curate.errors import InputError
from curate.sources.base import Source
from curate.sources.dialects import ArcDialect, WarcDialect
from curate.sources.frames import Frame
from curate.sources.framing import Container, container_of
from curate.sources.http import BodyError
from curate.sources.payload import CONTENT, Dropped
from curate.sources.records import Framer

#: remarks of which each file gets one entry with a count, because one crawl can make every record odd in the same way
_COUNTED = {
    "http.chunked": "responses say chunked and are not",
    "http.coding": "responses have a content coding other than they say",
    "http.header": "responses have no complete HTTP header",
    "warc.line-ends": "records have line feeds instead of CRLF in the header",
}
#: a string column holds less than 2 GiB
_LARGEST_BATCH_MB = 1024
_REASONS = {
    "http_status": "the response's status is not 2xx; value: the status",
    "mime": "the record is neither HTML nor plain text for readers; detail: what it is",
    "empty": "the record has no body, or only white space",
}


class ArchiveSource(Source):
    """A file of records; subclasses say what becomes of a content record."""

    #: columns beside IDENTITY
    columns: ClassVar[pa.Schema]
    reasons: ClassVar[dict[str, str]] = _REASONS

    def batches(self, file: BinaryIO) -> Iterator[Batch]:
        """Batches of documents in file order.

        Raises:
            InputError: ``input.lz4`` if the file is LZ4 and the ``lz4`` package is not installed.
        """
        try:
            container = container_of(file)
        except ModuleNotFoundError:
            raise InputError("input.lz4", f"{self.entry.source} is LZ4-compressed: pip install lz4") from None
        self._start()
        framer = Framer(
            self,
            container,
            (WarcDialect(), ArcDialect()),
            self.options.record_mb << 20,
            self.options.header_kb << 10,
        )
        limit, weight = min(self.options.batch_mb, _LARGEST_BATCH_MB) << 20, 0
        for frame in framer.frames():
            weight += self._take(frame, framer)
            if self._count >= self.options.batch_documents or weight >= limit:
                yield self._flush()
                weight = 0
        if self._count:
            yield self._flush()
        self._flush_drops()
        self._close(container, framer)

    # ---------------------------------------------------------------- one record
    @abstractmethod
    def _document(self, frame: Frame) -> dict[str, Any] | Dropped:
        """Values of ``columns`` for a content record, or why it is no document; BodyError if it is damaged."""

    @abstractmethod
    def _wanted(self, frame: Frame) -> bool:
        """True if the record may become a document by its kind."""

    def _take(self, frame: Frame, framer: Framer) -> int:
        """Decide one record's fate; returns the bytes it adds to the batch."""
        head = frame.head
        for code, detail in frame.notes:
            self.remark(frame.offset, frame.length, code, detail, level="error")
        for detail in head.odd:
            if detail.startswith("line feeds"):
                self._count_odd("warc.line-ends", frame)
            else:
                self.remark(frame.offset, frame.length, "warc.header", f"record {detail}")
        if head.source_id is not None:
            self._check_id(head.source_id, frame)
        if b"warc-segment-number" in head.fields:
            self._segment(frame)
        if head.type == "warcinfo" and isinstance(framer.dialect, ArcDialect):
            framer.dialect.describe(frame.block)
        if not self._wanted(frame):
            self.account.skipped[head.type] += 1
            if frame.fault is not None and not frame.fault[0].startswith("limit."):
                self.remark(frame.offset, frame.length, *frame.fault, level="error")
            return 0
        identity = self._identity(frame)
        try:
            outcome = self._document(frame)
        except BodyError as error:
            rows = pa.RecordBatch.from_pylist([identity], schema=IDENTITY)
            Batch(rows, self.fates, "read").fail([True], error.code, detail=error.detail)
            return 0
        if isinstance(outcome, Dropped):
            self._drops.append((identity, outcome))
            if len(self._drops) >= self.options.batch_documents:
                self._flush_drops()
            return 0
        for name, value in identity.items():
            self._rows[name].append(value)
        weight = 0
        for name, value in outcome.items():
            self._rows[name].append(value)
            if isinstance(value, bytes):
                weight += len(value)
        self._count += 1
        return weight

    def _identity(self, frame: Frame) -> dict[str, Any]:
        source = self.entry.source
        return {
            "id": document_id(source, frame.offset, frame.inner),
            "url": frame.head.url,
            "source": source,
            "offset": frame.offset,
            "length": frame.length,
            "source_id": frame.head.source_id,
        }

    def _check_id(self, source_id: str, frame: Frame) -> None:
        key = xxhash.xxh3_64_intdigest(source_id.encode("utf-8", "replace"))
        if key in self._ids:
            self.remark(
                frame.offset, frame.length, "warc.duplicate-id", "an earlier record of this file has the same record id"
            )
        self._ids.add(key)

    def _segment(self, frame: Frame) -> None:
        """A record cut into several: the first segment is read as it is, the others are not joined to it."""
        if frame.head.type == "continuation":
            what, level = "a later segment of a record: its content is not joined to the first and is left out", "error"
        else:
            what, level = "the first segment of a record that goes on elsewhere: only this much is read", "warning"
        self.remark(frame.offset, frame.length, "warc.segmented", what, level=level)

    def _count_odd(self, code: str, frame: Frame) -> None:
        first, length, count = self._odd.get(code, (frame.offset, frame.length, 0))
        self._odd[code] = (first, length, count + 1)

    # ---------------------------------------------------------------- batches
    def _start(self) -> None:
        self._fields = pa.schema([*IDENTITY, *self.columns])
        self._rows: dict[str, list[Any]] = {name: [] for name in self._fields.names}
        self._drops: list[tuple[dict[str, Any], Dropped]] = []
        self._count = 0
        self._ids: set[int] = set()
        self._odd: dict[str, tuple[int, int, int]] = {}

    def _flush(self) -> Batch:
        self._flush_drops()
        arrays = []
        for name, type_ in zip(self._fields.names, self._fields.types, strict=True):
            values = self._rows[name]
            if values and isinstance(values[0], bytes):
                # Checked UTF-8 already: no second pass over it, and no Python strings.
                arrays.append(_strings(values))
            else:
                arrays.append(pa.array(values, type_))
        rows = pa.RecordBatch.from_arrays(arrays, schema=self._fields)
        self.account.documents += rows.num_rows
        self._rows = {name: [] for name in self._fields.names}
        self._count = 0
        return Batch(rows, self.fates, "read")

    def _flush_drops(self) -> None:
        if not self._drops:
            return
        rows = pa.RecordBatch.from_pylist([identity for identity, _ in self._drops], schema=IDENTITY)
        why = [dropped for _, dropped in self._drops]
        Batch(rows, self.fates, "read").drop(
            [True] * len(why),
            pa.array([d.reason for d in why]),
            value=pa.array([d.value for d in why], pa.float64()),
            detail=pa.array([d.detail for d in why], pa.string()),
        )
        self._drops = []

    # ---------------------------------------------------------------- the file as a whole
    def _close(self, container: Container, framer: Framer) -> None:
        for code, (offset, length, count) in self._odd.items():
            ledger_code = "warc.header" if code == "warc.line-ends" else code
            self.remark(offset, length, ledger_code, f"{count} {_COUNTED[code]}; this is the first")
        size = container.feed.end
        if self.entry.size >= 0 and size != self.entry.size:
            self.remark(0, size, "input.changed", f"{size} bytes read, {self.entry.size} were listed", level="error")
        if self.account.records == 0 and not self.account.rejected_bytes:
            detail = "a file of 0 bytes" if size == 0 else "a file without records"
            self.remark(0, size, "input.empty", detail, level="error")
        named_gz = self.entry.source.endswith((".gz", ".gzip"))
        if (
            self.account.records
            and named_gz != (type(container).__name__ == "GzipMembers")
            and (named_gz or not self.entry.source.endswith((".lz4", ".zst")))
        ):
            self.remark(0, 0, "input.name-mismatch", "the file's compression is not what its name says")


def _strings(values: list[bytes]) -> pa.Array:
    """A string column of values that are valid UTF-8, with one copy."""
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.string(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    )


def is_content(frame: Frame) -> bool:
    """True for record types that may hold a page: response, resource, conversion, without DNS answers."""
    head = frame.head
    if head.type not in CONTENT:
        return False
    if head.content_type == "text/dns" or (head.url is not None and head.url.startswith("dns:")):
        head.type = "dns"
        return False
    return True
