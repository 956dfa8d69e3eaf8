"""WARC records with fixed dates and ids: responses, conversions and what lies between them in a crawl."""

from __future__ import annotations

import base64
import hashlib
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import brotli
import zstandard

from data_samples.builder.pages import Page

_START = datetime(2026, 2, 3, 4, 0, 7, tzinfo=UTC)
_NAMESPACE = uuid.UUID("5d1c1b0e-7a42-5d38-9d0c-3c1e0c1b7a11")
_REASONS = {200: "OK", 301: "Moved Permanently", 404: "Not Found", 503: "Service Unavailable"}
#: charset by its WHATWG name → Python codec; others have the same name in both
_CODECS = {
    "windows-1250": "cp1250",
    "windows-1251": "cp1251",
    "windows-1252": "cp1252",
    "windows-1254": "cp1254",
    "windows-1256": "cp1256",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
}


@dataclass(frozen=True)
class Record:
    """One record as it goes into an archive, uncompressed."""

    type: str
    url: str | None
    id: str
    data: bytes


def date_of(number: int) -> str:
    """The fixed date of the crawl's record ``number``, ISO 8601."""
    return (_START + timedelta(seconds=37 * number)).strftime("%Y-%m-%dT%H:%M:%SZ")


def record_id(kind: str, name: str) -> str:
    """A record id that depends on nothing but the record's type and name."""
    return f"<urn:uuid:{uuid.uuid5(_NAMESPACE, f'{kind} {name}')}>"


def member(record: Record, *, damaged: bool = False) -> bytes:
    """The record as one gzip member without a time; a damaged one has one bit flipped in its middle."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = bytearray(packer.compress(record.data) + packer.flush())
    if damaged:
        packed[len(packed) // 2] ^= 0x10
    return bytes(packed)


def warcinfo(filename: str) -> Record:
    """The first record of an archive."""
    lines = ("software: data_samples/build.py", "format: WARC File Format 1.1", "robots: obey",
             "description: pages written for tests of curate; no site of this crawl exists")  # fmt: skip
    block = "".join(f"{line}\r\n" for line in lines).encode()
    head = [("WARC-Filename", filename), ("Content-Type", "application/warc-fields")]
    return _record("warcinfo", None, filename, date_of(0), head, block)


def response(page: Page, markup: str, number: int, *, identified: bool) -> Record:
    """The response record of a page.

    Args:
        identified: whether the crawler noted the media type itself.
    """
    status = int(page.get("status", "200"))
    body = markup.encode(codec(page.get("charset", "utf-8")), "xmlcharrefreplace") if markup else b""
    headers, coded = _coded(body, page.many("coding"))
    head = [f"HTTP/1.1 {status} {_REASONS[status]}", "Server: nginx", f"Date: {_http_date(number)}"]
    head += [f"Content-Type: {_content_type(page)}", *headers]
    if page.get("location"):
        head.append(f"Location: {page.get('location')}")
    if not any(line.startswith("Transfer-Encoding") for line in head):
        head.append(f"Content-Length: {len(coded)}")
    block = ("\r\n".join(head) + "\r\n\r\n").encode() + coded
    fields = [
        ("WARC-IP-Address", f"203.0.113.{1 + number % 250}"),
        ("WARC-Payload-Digest", _digest(coded)),
        ("Content-Type", "application/http; msgtype=response"),
    ]
    if identified and markup:
        fields.append(("WARC-Identified-Payload-Type", page.get("mime", "text/html")))
    return _record("response", page.url, page.url, date_of(number), fields, block)


def request(page: Page, number: int) -> Record:
    """The request that fetched a page."""
    path = "/" + page.url.split("/", 3)[3]
    block = (
        f"GET {path} HTTP/1.1\r\nHost: {page.host}\r\nUser-Agent: samplebot/1.0\r\nAccept: text/html\r\n\r\n".encode()
    )
    fields = [("Content-Type", "application/http; msgtype=request")]
    return _record("request", page.url, page.url, date_of(number), fields, block)


def revisit(page: Page, number: int) -> Record:
    """A later visit that found the page unchanged, without its body."""
    fields = [
        ("WARC-Refers-To", record_id("response", page.url)),
        ("WARC-Profile", "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"),
        ("Content-Type", "application/http; msgtype=response"),
    ]
    block = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\n\r\n"
    return _record("revisit", page.url, page.url, date_of(number + 2300), fields, block)


def conversion(page: Page, text: str, language: str, number: int) -> Record:
    """The text of a page as a WET file holds it."""
    fields = [
        ("WARC-Refers-To", record_id("response", page.url)),
        ("WARC-Identified-Content-Language", language),
        ("Content-Type", "text/plain"),
    ]
    return _record("conversion", page.url, page.url, date_of(number), fields, text.encode())


def codec(charset: str) -> str:
    """The Python codec for a charset of the samples."""
    return _CODECS.get(charset, charset)


def _record(kind: str, url: str | None, name: str, date: str, fields: list[tuple[str, str]], block: bytes) -> Record:
    identity = record_id(kind, name)
    head = [("WARC-Type", kind), ("WARC-Record-ID", identity), ("WARC-Date", date)]
    if url is not None:
        head.append(("WARC-Target-URI", url))
    head += [*fields, ("WARC-Block-Digest", _digest(block)), ("Content-Length", str(len(block)))]
    lines = "WARC/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in head) + "\r\n"
    return Record(kind, url, identity, lines.encode() + block + b"\r\n\r\n")


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _http_date(number: int) -> str:
    return (_START + timedelta(seconds=37 * number)).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _content_type(page: Page) -> str:
    mime = page.get("mime", "text/html")
    charset = page.get("header", page.get("charset", "utf-8"))
    return (
        mime
        if charset == "none" or not mime.startswith(("text/", "application/xhtml"))
        else f"{mime}; charset={charset}"
    )


def _coded(body: bytes, codings: list[str]) -> tuple[list[str], bytes]:
    """The body in its content and transfer codings, and the header lines that say so.

    ``claims-chunked`` is what some servers' records show: the header says chunked, the body is not.
    """
    lines = []
    for coding in codings:
        if coding == "gzip":
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
        elif coding == "br":
            body = brotli.compress(body)
        elif coding == "zstd":
            body = zstandard.ZstdCompressor(level=9).compress(body)
        elif coding == "chunked":
            body = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in _chunks(body)) + b"0\r\n\r\n"
        elif coding != "claims-chunked":
            raise ValueError(f"no coding {coding!r}")
        lines.append("Transfer-Encoding: chunked" if "chunked" in coding else f"Content-Encoding: {coding}")
    return lines, body


def _chunks(body: bytes, size: int = 1369) -> list[bytes]:
    return [body[i : i + size] for i in range(0, len(body), size)]
