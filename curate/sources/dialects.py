"""Record headers of WARC (0.17 to 1.1) and ARC (1 and 2), read leniently."""

from __future__ import annotations

import re
from functools import lru_cache

from curate.sources.frames import Head
from curate.sources.http import head_end

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*([^\r\n]*)\r*$", re.M)
_DIGITS = re.compile(rb"[0-9]{1,19}\Z")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: names that may be longer than this are cut: an address of more is no address
_LONGEST = 16_384


def clean(value: bytes | None) -> str | None:
    """A header value as text: UTF-8, else Latin-1; no control characters; None if nothing is left."""
    if not value:
        return None
    try:
        text = value[:_LONGEST].decode("utf-8")
    except UnicodeDecodeError:
        text = value[:_LONGEST].decode("latin-1")
    if not text.isprintable():
        text = _CONTROLS.sub("", text)
    return text.strip() or None


class WarcDialect:
    """``WARC/1.x`` and named fields; names in any case, CRLF or LF, addresses in angle brackets."""

    name = "warc"
    reach = 16
    boundary = re.compile(rb"\n(WARC/[01]\.\d{1,3}[ \t\r]{0,4}\n)")

    def at(self, data: bytes, start: int) -> bool:
        """True if a WARC header starts at ``start``."""
        return data.startswith((b"WARC/1.", b"WARC/0."), start)

    def head_end(self, data: bytes, start: int) -> int:
        """Index behind the empty line that ends the header; -1 if it is not in ``data``."""
        return head_end(data, start, len(data))

    def parse(self, head: bytes) -> Head:
        """The header's fields; what is missing or malformed is None or named in ``odd``."""
        if b"\n " in head or b"\n\t" in head:
            head = re.sub(rb"\r?\n[ \t]+", b" ", head)
        pairs = _FIELD.findall(head)
        pairs.reverse()
        fields = {name.lower(): value.rstrip() for name, value in pairs}
        kind = fields.get(b"warc-type", b"").lower().decode("latin-1")[:32]
        length = fields.get(b"content-length", b"")
        url = fields.get(b"warc-target-uri", b"")
        if url.startswith(b"<") and url.endswith(b">"):
            url = url[1:-1]
        odd: list[str] = []
        if b"\r\n" not in head:
            odd.append("line feeds instead of CRLF")
        missing = [n for n in _REQUIRED if n not in fields]
        if kind in _WITH_ADDRESS and not url:
            missing.append(b"warc-target-uri")
        if missing:
            odd.append("without " + ", ".join(n.decode() for n in missing))
        return Head(
            type=kind or "unknown",
            length=int(length) if _DIGITS.match(length) else None,
            url=clean(url),
            date=clean(fields.get(b"warc-date")),
            source_id=clean(fields.get(b"warc-record-id")),
            content_type=media_type(fields.get(b"content-type", b"")),
            fields=fields,
            odd=tuple(odd),
        )


_REQUIRED = (b"warc-type", b"warc-record-id", b"warc-date")
_WITH_ADDRESS = frozenset({"response", "resource", "conversion", "revisit"})


class ArcDialect:
    """One line per record: address, IP, date, media type, in version 2 four more fields, and the length.

    The address may contain spaces: fields are counted from the end. The first record describes the file
    (``filedesc://``) and says which version the others follow.
    """

    name = "arc"
    reach = 8192
    _LINE = (
        rb"[a-zA-Z][a-zA-Z0-9+.-]{1,20}:[^\r\n]{1,4096} (?:[0-9.]{7,15}|[0-9a-fA-F:]{2,39}|-) \d{4,20} "
        rb"\S{1,128} (?:[^\r\n]{1,512} )?[-0-9a-z]{1,15}\r?\n"
    )
    # At the start of a line only: anywhere else, text full of colons would cost quadratic time.
    boundary = re.compile(rb"\n(" + _LINE + rb")")
    _at = re.compile(_LINE)

    def __init__(self) -> None:
        self._fields = 5

    def at(self, data: bytes, start: int) -> bool:
        """True if an ARC header line starts at ``start``."""
        return self._at.match(data, start) is not None

    def head_end(self, data: bytes, start: int) -> int:
        """Index behind the header line; -1 if it has no end in ``data``."""
        return data.find(b"\n", start) + 1 or -1

    def parse(self, head: bytes) -> Head:
        """The header line as a record head; ``source_id`` is always None, ARC has no record ids."""
        line = head.strip()
        first = line.startswith(b"filedesc:")
        count = 5 if first or len(line.split(b" ")) < self._fields else self._fields
        parts = line.rsplit(b" ", count - 1)
        url, date, mime = parts[0], parts[2] if len(parts) > 2 else b"", parts[3] if len(parts) > 3 else b""
        length = parts[-1]
        kind = "response"
        if first:
            kind = "warcinfo"
        elif url.startswith(b"dns:"):
            kind = "dns"
        return Head(
            type=kind,
            length=int(length) if _DIGITS.match(length) else None,
            url=clean(url),
            date=_iso(date),
            source_id=None,
            content_type=media_type(mime),
        )

    def describe(self, block: bytes) -> None:
        """Learn from the block of the ``filedesc`` record how many fields the header lines have."""
        lines = block.split(b"\n", 2)
        if len(lines) > 1 and lines[1].strip().lower().startswith(b"url "):
            self._fields = max(5, len(lines[1].split()))


@lru_cache(maxsize=1024)
def media_type(value: bytes) -> str:
    """The media type of a Content-Type value, in lower case, without parameters; empty if there is none."""
    text = value.split(b";", 1)[0].strip().lower()[:128].decode("latin-1")
    return "" if text in ("no-type", "unk", "unknown", "-") else _CONTROLS.sub("", text)


def _iso(digits: bytes) -> str | None:
    """``20080430204825`` as ``2008-04-30T20:48:25Z``; None if it has fewer than 8 digits."""
    if not digits.isdigit() or len(digits) < 8:
        return None
    d = digits[:14].decode().ljust(14, "0")
    return f"{d[:4]}-{d[4:6]}-{d[6:8]}T{d[8:10]}:{d[10:12]}:{d[12:14]}Z"
