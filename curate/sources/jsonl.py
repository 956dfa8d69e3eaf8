"""JSON lines: plain, gzip or zstd, one object per line; a bad line costs a line.

Offsets and lengths are bytes of the decoded stream; the account of a compressed file is in compressed bytes, that of a
plain file in bytes of lines. Of repeated keys the last one counts; where it is the text, a warning says so.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar

import numpy as np
import orjson
import pyarrow as pa

from curate.documents import TEXT, Batch, document_id
from curate.sources.assemble import (
    EXTRA,
    REASONS,
    content_digest,
    dump,
    exact_strings,
    fit,
    fitted_array,
    id_text,
    row_ids,
    settle,
    table_schema,
    valid_strings,
)
from curate.sources.base import InputFile, ReadOptions, Source
from curate.sources.decompress import Gap, Window
from curate.sources.decompress_gzip import MAGIC as GZIP
from curate.sources.decompress_gzip import GzipDecoder
from curate.sources.decompress_zstd import MAGIC as ZSTD
from curate.sources.decompress_zstd import ZstdDecoder, is_skippable
from curate.sources.lines import Fragment, Lines, LongLine, split_lines

#: first bytes → what it is, of formats that are often named .jsonl by mistake
FOREIGN = {
    b"PAR1": "Parquet (input.kind: parquet)",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x04\x22\x4d\x18": "LZ4",
    b"WARC/": "WARC (input.kind: warc)",
}
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff", b"{\0", b"\0{")
_KINDS = {int: "a number", float: "a number", bool: "a boolean", list: "a list", dict: "an object"}
_ABSENT = object()
_BINARY = bytes(sorted({*range(32)} - {9, 10, 13}))
#: lines with the name of the text field twice that are parsed again in vain before the search for repeats ends
_REPEAT_CHECKS = 64
_LARGE = re.compile(rb"\de\+?(?:1[89]|[2-9]\d|\d{3})")


class _Refused(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class JsonlSource(Source):
    """Documents from lines of JSON.

    Of each object the fields named by ``text_column``, ``id_column``, ``url_column``, ``date_column`` and ``carry``
    become columns, that of ``content_column`` its digest; all others stay together, in order, in ``extra``. So a key
    that first occurs late in a file, or that changes its type, loses nothing and changes no schema.
    """

    kind: ClassVar[str] = "jsonl"
    columns: ClassVar[pa.Schema] = pa.schema([TEXT, EXTRA])
    reasons: ClassVar[dict[str, str]] = REASONS

    @classmethod
    def schema(cls, options: ReadOptions) -> pa.Schema:
        """Columns of the batches."""
        return table_schema(options)

    def __init__(self, entry: InputFile, options: ReadOptions) -> None:
        super().__init__(entry, options)
        self._schema = table_schema(options)
        self._plain, self._gzip = True, False
        self._odd_ids = 0
        self._misfits = 0
        self._repeats = self._repeat_checks = 0
        self._limit = options.line_mb << 20

    def batches(self, file: BinaryIO) -> Iterator[Batch]:
        """Batches of at most ``batch_documents`` lines; a file that is not JSONL at all gives one error."""
        window = Window(file)
        head = window.read(0, 18)
        try:
            self._look_at(head)
            rows = _Rows(self)
            for part in split_lines(self._blocks(window), self._limit):
                yield from self._part(part, rows)
            if len(rows):
                yield rows.batch()
        except _Refused as refused:
            self._refuse(refused, window)
        self._remarks()

    def _look_at(self, head: bytes) -> None:
        """Warn of odd names and empty files; refuse what has another format's first bytes."""
        for magic, name in FOREIGN.items():
            if head.startswith(magic):
                raise _Refused("input.format", f"the file is {name}, not JSON lines")
        name = self.entry.source.lower()
        self._gzip, zstd = head.startswith(GZIP), head.startswith(ZSTD) or is_skippable(head)
        if not (self._gzip or zstd) and len(head.translate(None, _BINARY)) < len(head):
            # No text either: the first bytes are damaged, and only the name can tell of what.
            self._gzip, zstd = name.endswith(".gz"), name.endswith((".zst", ".zstd"))
        self._plain = not (self._gzip or zstd)
        if not head:
            self.remark(0, 0, "input.empty", "the file has no bytes")
        if head and (name.endswith(".gz") != self._gzip or name.endswith((".zst", ".zstd")) != zstd):
            found = "gzip" if self._gzip else "zstd" if zstd else "plain text"
            self.remark(0, self.entry.size, "input.name-mismatch", f"the content is {found}, whatever the name says")

    def _blocks(self, window: Window) -> Iterator[bytes | Gap]:
        if self._gzip:
            return GzipDecoder(window, self).blocks()
        if not self._plain:
            return ZstdDecoder(window, self, self.options.zstd_window_mb << 20).blocks()
        return window.stream()

    def good(self, length: int) -> None:
        """Compressed bytes that were read well (called by the decoder)."""
        self.account.parsed_bytes += length

    def lost(self, offset: int, length: int, error: str, detail: str) -> None:
        """Compressed bytes that could not be read (called by the decoder)."""
        self.reject(offset, length, error, detail)

    def _part(self, part: Lines | LongLine | Fragment, rows: _Rows) -> Iterator[Batch]:
        if isinstance(part, Lines):
            if self.account.records == 0 and part.offset == 0:
                part = self._first(part)
            yield from rows.add(part)
        elif isinstance(part, LongLine):
            self._long(part)

    def _long(self, part: LongLine) -> None:
        detail = f"a line of {part.length} bytes; the limit is {self._limit} (input.line_mb)"
        if self._plain:
            self.reject(part.offset, part.length, "limit.line-bytes", detail)
        else:
            self.account.records += 1
            id_ = document_id(self.entry.source, part.offset)
            self.remark(part.offset, part.length, "limit.line-bytes", detail, level="error", id_=id_)

    def _first(self, part: Lines) -> Lines:
        """The first lines without their byte order mark; refuses other encodings and documents over many lines."""
        lines, offset = part.lines, part.offset
        if lines[0].startswith(_UTF16):
            raise _Refused("input.encoding", "the file is UTF-16 or UTF-32; convert it to UTF-8 (iconv -t UTF-8)")
        if lines[0].startswith(_BOM):
            lines, offset = [lines[0][len(_BOM) :], *lines[1:]], len(_BOM)
            self._count(len(_BOM))
        sample = [s for line in lines[:32] if (s := line.strip())][:8]
        opened = len(lines) > 1 and bool(sample) and (sample[0] == b"{" or sample[0].startswith(b"["))
        if opened and not any(_is_object(line) for line in sample):
            what = "one JSON document over several lines, not one object per line; rewrite it (jq -c '.[]')"
            raise _Refused("json.not-jsonl", what)
        return Lines(offset, lines, part.terminated, part.torn)

    def _count(self, length: int) -> None:
        """Bytes of lines; they are the account of a plain file only."""
        if self._plain:
            self.account.parsed_bytes += length

    def _refuse(self, refused: _Refused, window: Window) -> None:
        self.account.parsed_bytes = 0
        self.account.rejected.clear()
        self.reject(0, window.end(), refused.code, refused.detail)

    def _remarks(self) -> None:
        size = self.entry.size
        if self._odd_ids:
            detail = f"{self._odd_ids} lines have an id or url that is not text or a whole number"
            self.remark(0, size, "schema.id", detail)
        if self._repeats:
            detail = f"{self._repeats} lines or more have {self.options.text_column!r} twice; the last one counts"
            self.remark(0, size, "json.duplicate-key", detail)
        if self._misfits:
            self.remark(0, size, "schema.carry", f"{self._misfits} values stay in `extra`: wrong type for input.carry")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except ValueError:
        return False


class _Rows:
    """Rows of the batch that is being filled, and the loop over lines that fills it."""

    def __init__(self, source: JsonlSource) -> None:
        self.source = source
        self.options = source.options
        self._name = source.options.text_column
        self._key = orjson.dumps(self._name)
        self._clear()

    def _clear(self) -> None:
        self.offsets: list[int] = []
        self.lengths: list[int] = []
        self.texts: list[Any] = []
        self.ids: list[Any] = []
        self.urls: list[Any] = []
        self.dates: list[str | None] = []  # stays empty without input.date_column
        self.digests: list[str | None] = []  # stays empty without input.content_column
        self.rest: list[bytes | None] = []
        self.carry: dict[str, list[Any]] = {name: [] for name in self.options.carry}
        self.repaired: list[int] = []
        self.bytes = 0
        self.framed = 0

    def __len__(self) -> int:
        return self.framed

    def add(self, part: Lines) -> Iterator[Batch]:
        """Parse lines; a batch comes out whenever one is full."""
        options, offset, loads = self.options, part.offset, orjson.loads
        full, heavy = options.batch_documents, options.batch_mb << 20
        last = len(part.lines) - 1
        for i, line in enumerate(part.lines):
            size = len(line)
            length = size + (1 if i < last or part.terminated else 0)
            try:
                record = loads(line)
                repaired = False
            except ValueError as error:
                torn = part.torn and i == 0
                record, repaired = self._second(line, error, offset, length, torn, i == last and not part.terminated)
            if record.__class__ is dict:
                self._take(record, offset, length, repaired, line)
                self.bytes += size
            elif record is not _ABSENT:
                what = f"the line holds {_KINDS.get(type(record), 'a string' if record is not None else 'null')}"
                self._bad(offset, length, "json.not-object", what)
            offset += length
            if self.framed >= full or self.bytes >= heavy:
                yield self.batch()
        self.source._count(offset - part.offset)

    def _second(
        self, line: bytes, error: ValueError, offset: int, length: int, torn: bool, cut: bool
    ) -> tuple[Any, bool]:
        """A line that orjson refuses: blank, torn, outside RFC 8259 in a way that others accept, or bad."""
        if not line.strip():
            return _ABSENT, False
        if torn:
            return _ABSENT, False  # the end of a line whose start is in a range that is rejected already
        record, notes = tolerant(line)
        if record is not None:
            if "number" in notes:
                what = "NaN, Infinity or a number beyond double precision was read as null"
                self.source.remark(offset, length, "json.number", what)
            return record, "surrogate" in notes
        code, detail = _why(line, error, cut)
        self._bad(offset, length, code, detail)
        return _ABSENT, False

    def _bad(self, offset: int, length: int, code: str, detail: str) -> None:
        self.framed += 1
        self.source.account.records += 1
        id_ = document_id(self.source.entry.source, offset)
        self.source.remark(offset, length, code, detail, level="error", id_=id_)

    def _take(self, record: dict[str, Any], offset: int, length: int, repaired: bool, line: bytes) -> None:
        options = self.options
        digest = content_digest(record.get(options.content_column)) if options.content_column is not None else None
        text = record.pop(options.text_column, None)
        own = record.pop(options.id_column, None) if options.id_column is not None else None
        url = record.pop(options.url_column, None) if options.url_column is not None else None
        if options.date_column is not None:
            self.dates.append(self._date(record))
        if options.content_column is not None and options.content_column not in self.carry:
            record.pop(options.content_column, None)
        carry = self._lift(record) if self.carry else ()
        rest: bytes | None = None
        if record:
            rest = self._rest(record, line)
            if rest is None:
                if options.date_column is not None:
                    self.dates.pop()
                self._bad(offset, length, "json.depth", f"nested deeper than {options.json_depth} (input.json_depth)")
                return
        if line.count(self._key) > 1:
            self._repeated(line)
        self.framed += 1
        if repaired:
            self.repaired.append(len(self.texts))
        self.offsets.append(offset)
        self.lengths.append(length)
        self.texts.append(text)
        self.ids.append(own)
        self.urls.append(url)
        self.rest.append(rest)
        if options.content_column is not None:
            self.digests.append(digest)
        if carry:
            for values, value in zip(self.carry.values(), carry, strict=True):
                values.append(value)

    def _repeated(self, line: bytes) -> None:
        """Count lines that have the text field twice. Parsing again is slow, so fields deeper down end the search."""
        source = self.source
        if source._repeat_checks < _REPEAT_CHECKS:
            source._repeat_checks += 1
            found: list[int] = []
            with contextlib.suppress(ValueError, RecursionError):
                # innermost objects end first, so the last count is that of the line's own object
                json.loads(line, object_pairs_hook=lambda pairs: found.append(sum(k == self._name for k, _ in pairs)))
            if found and found[-1] > 1:
                source._repeats += 1
                source._repeat_checks = 0

    def _date(self, record: dict[str, Any]) -> str | None:
        name = self.options.date_column
        if name is None or not isinstance(record.get(name), str):
            return None
        value: str = record.pop(name)
        return value

    def _lift(self, record: dict[str, Any]) -> list[Any]:
        """The carried fields; a value that does not fit its type stays in the record, and so in ``extra``."""
        values = []
        for name, kind in self.options.carry.items():
            value = record.get(name)
            fitted = fit(value, kind)
            if fitted is None and value is not None:
                self.source._misfits += 1
            else:
                record.pop(name, None)
            values.append(fitted)
        return values

    def _rest(self, record: dict[str, Any], line: bytes) -> bytes | None:
        """The other fields as JSON; None if they are nested too deeply."""
        data = dump(record)
        limit = self.options.json_depth
        if data.count(b"[") + data.count(b"{") > limit and _depth_exceeds(record, limit):
            return None
        if _LARGE.search(data):  # perhaps an integer beyond 64 bits, which orjson turns into a float without a word
            exact, _ = tolerant(line)
            if exact is not None:
                return dump({name: exact[name] for name in record})
        return data

    def batch(self) -> Batch:
        """The rows so far as a batch; starts the next one."""
        source, n = self.source, len(self.texts)
        kinds = np.array([0 if t is None else 1 if t.__class__ is str else 2 for t in self.texts], np.uint8)
        wrong = {}
        for name in sorted({_KINDS[type(self.texts[i])] for i in np.flatnonzero(kinds == 2)}):
            mask = np.fromiter((_KINDS.get(type(t)) == name for t in self.texts), bool, n)
            wrong["schema.text", f"field {self.options.text_column!r} is {name}, not a string"] = mask
        texts = self.texts if (kinds == 1).all() else [t if t.__class__ is str else "" for t in self.texts]
        repaired = np.zeros(n, bool)
        repaired[self.repaired] = True
        arrays = [
            pa.array(row_ids(source.entry.source, self.offsets), pa.string()),
            valid_strings(self._urls()),
            pa.array([source.entry.source], pa.string()).take(pa.array(np.zeros(n, np.int32))),
            pa.array(self.offsets, pa.int64()),
            pa.array(self.lengths, pa.int64()),
            valid_strings(self._own_ids()),
            exact_strings(texts),
        ]
        if self.options.date_column is not None:
            arrays.append(valid_strings(self.dates))
        if self.options.content_column is not None:
            arrays.append(pa.array(self.digests, pa.string()))
        arrays += [fitted_array(values, self.options.carry[name]) for name, values in self.carry.items()]
        arrays.append(pa.array(self.rest, pa.string()))
        rows = pa.RecordBatch.from_arrays(arrays, schema=source._schema)
        source.account.records += n
        self._clear()
        batch = settle(rows, source.fates, self.options, wrong, repaired)
        source.account.documents += len(batch)
        return batch

    def _urls(self) -> list[str | None]:
        odd = sum(1 for u in self.urls if u is not None and u.__class__ is not str)
        self.source._odd_ids += odd
        return [u if u.__class__ is str else None for u in self.urls] if odd else self.urls

    def _own_ids(self) -> list[str | None]:
        self.source._odd_ids += sum(1 for v in self.ids if v is not None and v.__class__ not in (str, int))
        return [v if v.__class__ is str else id_text(v) for v in self.ids]


def _depth_exceeds(value: Any, limit: int) -> bool:
    """Whether containers nest deeper than ``limit``; without recursion."""
    level = [value]
    for _ in range(limit):
        level = [v for c in level for v in (c.values() if isinstance(c, dict) else c) if isinstance(v, (dict, list))]
        if not level:
            return False
    return True


def _why(line: bytes, error: ValueError, cut: bool) -> tuple[str, str]:
    """Ledger code and detail of a line that cannot be parsed; positions only, never its text."""
    if cut:
        return "json.truncated", "the last line has no end and is not whole"
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return "json.utf8", f"invalid UTF-8 at byte {wrong.start} of the line"
    message = getattr(error, "msg", str(error))
    if "depth" in message or "recursion" in message.lower():
        return "json.depth", "nested too deeply"
    return "json.syntax", f"{message} at character {getattr(error, 'pos', 0)} of the line"


def tolerant(line: bytes) -> tuple[dict[str, Any] | None, set[str]]:
    """A line parsed as Python's json does, which takes NaN and lone surrogates, and notes of what was replaced.

    NaN, infinities and numbers no double or 4,300-digit integer can hold become null (note ``number``); lone surrogates
    become U+FFFD (note ``surrogate``). None where the line is bad for other reasons or is no object.
    """
    notes: set[str] = set()

    def number(text: str) -> Any:
        whole = text.lstrip("-").isdigit()
        if whole and len(text) <= 4300:
            return int(text)
        value = float("inf") if whole else float(text)
        if abs(value) == float("inf"):
            notes.add("number")
            return None
        return value

    def constant(_: str) -> None:
        notes.add("number")

    try:
        record = json.loads(line.decode("utf-8"), parse_int=number, parse_float=number, parse_constant=constant)
    except (ValueError, RecursionError):
        return None, notes
    if not isinstance(record, dict):
        return None, notes
    if b"\\ud" in line or b"\\uD" in line:
        notes.add("surrogate")
    return record, notes
