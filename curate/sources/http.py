"""HTTP responses as archives store them: status, headers, and the body with transfer and content codings undone.

Labels are not believed: a body that says chunked or gzip and is not stays as it is, a gzip body without a label is
inflated. Every inflation is bounded in bytes and, beyond one MiB, in its ratio, before memory is taken.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: the ratio limit holds only above this size: small pages of blanks compress arbitrarily well
RATIO_FROM = 1 << 20
#: content codings undone at most, labelled or not
LAYERS = 2
_PIECE = 1 << 20

_STATUS = re.compile(rb"(?:(?:HTTP|ICY|http)(?:/\d{1,2}(?:\.\d{1,2})?)?[ \t]+)?([1-9]\d\d)(?![0-9A-Za-z])")
_STARTS = re.compile(rb"(?:HTTP/|http/|ICY )|[1-9]\d\d[ \t]*\r?\n")
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*([^\r\n]*)\r*$", re.M)
_HEAD_END = re.compile(rb"\r{0,2}\n\r{0,2}\n")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_DIGITS = re.compile(rb"\d{1,15}\Z")


class BodyError(Exception):
    """A body that cannot be decoded; ``code`` and ``detail`` go to the ledger."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class Response:
    """A stored response.

    Attributes:
        status: status code; None if the status line names none.
        headers: by lower-case name, the first of each; ``content-encoding`` of all, joined.
        start: where the body starts in the block.
        well_formed: False if the block has no status line or its header no end.
    """

    status: int | None
    headers: dict[bytes, bytes] = field(default_factory=dict)
    start: int = 0
    well_formed: bool = True


@dataclass(slots=True)
class Body:
    """A body without its codings.

    Attributes:
        data: the decoded bytes.
        dechunked: the bytes after transfer decoding only, what many writers take payload digests of.
        notes: oddities that cost nothing: ``http.chunked``, ``http.coding`` (label without coding, or the reverse).
    """

    data: bytes
    dechunked: bytes
    notes: tuple[str, ...] = ()


def parse_response(block: bytes, header_cap: int) -> Response:
    """Status and headers of the response in ``block``; informational (1xx) responses before it are passed over.

    Raises:
        BodyError: ``limit.header-bytes`` if the header does not end within ``header_cap`` bytes.
    """
    start = 0
    while True:
        if not _STARTS.match(block, start):
            return Response(None, {}, start, well_formed=False)
        end = head_end(block, start, start + header_cap)
        if end < 0:
            if len(block) - start > header_cap:
                raise BodyError("limit.header-bytes", f"an HTTP header of more than {header_cap} bytes")
            return Response(_status(block, start), _fields(block[start:]), len(block), well_formed=False)
        status = _status(block, start)
        if status is None or not 100 <= status < 200 or status == 101:
            return Response(status, _fields(block[start:end]), end)
        if end >= len(block):
            return Response(status, _fields(block[start:end]), end)
        start = end


def head_end(block: bytes, start: int, stop: int) -> int:
    """Index behind the empty line that ends the header at ``start``; -1 if there is none before ``stop``."""
    end = block.find(b"\r\n\r\n", start, stop)
    if end >= 0 and block.find(b"\n\n", start, end) < 0 and block.find(b"\n\r\n", start, end) < 0:
        return end + 4
    match = _HEAD_END.search(block, start, stop)
    return match.end() if match else -1


def declared_end(prefix: bytes) -> int | None:
    """Where the response that begins ``prefix`` ends by its own Content-Length; None if it does not say."""
    if not _STARTS.match(prefix):
        return None
    end = head_end(prefix, 0, len(prefix))
    if end < 0:
        return None
    headers = _fields(prefix[:end])
    value = headers.get(b"content-length", b"")
    if b"transfer-encoding" in headers or not _DIGITS.match(value):
        return None
    return end + int(value)


def _status(block: bytes, start: int) -> int | None:
    match = _STATUS.match(block, start)
    return int(match[1]) if match else None


def _fields(head: bytes) -> dict[bytes, bytes]:
    if b"\n " in head or b"\n\t" in head:
        head = re.sub(rb"\r?\n[ \t]+", b" ", head)
    headers: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(head):
        name, value = name.lower(), value.rstrip()
        if name not in headers:
            headers[name] = value
        elif name == b"content-encoding":
            headers[name] += b"," + value
    return headers


def decode_body(
    raw: bytes, headers: dict[bytes, bytes], *, max_bytes: int, max_ratio: int, window_mb: int = 128, cut: bool = False
) -> Body:
    """The body without transfer and content codings.

    Args:
        raw: the body as stored.
        headers: of the response, by lower-case name.
        max_bytes: limit on decoded bytes, at every layer.
        max_ratio: limit on decoded / stored bytes; holds above one MiB.
        window_mb: largest window a zstd body may ask for, in MB.
        cut: the archive says that it stores only the beginning; a coding that ends early is then no error.

    Raises:
        BodyError: ``http.chunked``, ``http.coding`` or ``limit.decoded-bytes``.
    """
    notes: list[str] = []
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        plain = dechunk(raw, cut=cut)
        if plain is None:
            notes.append("http.chunked")
        else:
            raw = plain
    dechunked = raw
    cap = min(max_bytes, max(RATIO_FROM, max_ratio * len(raw)))
    labels = headers.get(b"content-encoding", b"")
    if not labels and not raw.startswith((GZIP_MAGIC, ZSTD_MAGIC)):
        return Body(raw, dechunked, tuple(notes))
    data, odd = _decode(raw, labels, cap, window_mb, cut)
    if odd:
        notes.append("http.coding")
    return Body(data, dechunked, tuple(notes))


def _decode(data: bytes, labels: bytes, cap: int, window_mb: int, cut: bool) -> tuple[bytes, bool]:
    """``data`` without the labelled and the recognisable codings, and whether labels and bytes disagreed."""
    names = [n.strip().lower().decode("latin-1") for n in reversed(labels.split(b","))]
    names = [n for n in names if n not in ("", "identity", "none", "utf-8", "utf8", "chunked", "binary", "8bit")]
    layers, odd = 0, False
    for name in names:
        coding = _CODINGS.get(name)
        if coding is None:
            if not looks_like_text(data):
                raise BodyError("http.coding", "a content coding that is not known, on bytes that are no text")
            odd = True
            continue
        if not data:
            break
        if layers == LAYERS:
            raise BodyError("http.coding", f"more than {LAYERS} layers of content coding")
        plain = coding(data, cap, window_mb, cut)
        if plain is None:
            odd = True
            continue
        data, layers = plain, layers + 1
    while layers < LAYERS and data.startswith((GZIP_MAGIC + b"\x08", ZSTD_MAGIC)):
        data = (_gunzip if data.startswith(GZIP_MAGIC) else _unzstd)(data, cap, window_mb, cut) or b""
        layers, odd = layers + 1, True
    return data, odd


def dechunk(data: bytes, *, cut: bool = False) -> bytes | None:
    """``data`` without chunk framing (extensions and trailers are passed over); None if it is not chunked at all.

    A missing last chunk is no error if all chunks are whole.

    Raises:
        BodyError: ``http.chunked`` if the framing breaks off inside, or a size is beyond the data.
    """
    pieces: list[bytes] = []
    at, size = 0, len(data)
    while at < size:
        match = _CHUNK_SIZE.match(data, at)
        if match is None:
            if not pieces:
                return None
            raise BodyError("http.chunked", f"no chunk size where chunk {len(pieces) + 1} should start")
        length, at = int(match[1], 16), match.end()
        if length == 0:
            return b"".join(pieces)
        if at + length > size:
            if cut:
                pieces.append(data[at:])
                break
            raise BodyError("http.chunked", f"chunk {len(pieces) + 1} is longer than what is left of the body")
        pieces.append(data[at : at + length])
        at += length
        if data.startswith(b"\r\n", at):
            at += 2
        elif data.startswith(b"\n", at):
            at += 1
        elif at < size and len(pieces) == 1:
            return None  # a body whose first line happens to look like a size
        elif at < size:
            raise BodyError("http.chunked", f"no line end behind chunk {len(pieces)}")
    return b"".join(pieces)


def looks_like_text(data: bytes) -> bool:
    """True if the first KiB holds no NUL and hardly any control characters."""
    head = data[:1024]
    if head.startswith((GZIP_MAGIC, ZSTD_MAGIC, b"\x89PNG", b"%PDF", b"PK\x03\x04", b"\xff\xd8\xff", b"GIF8")):
        return False
    control = len(head) - len(head.translate(None, _CONTROL))
    return b"\0" not in head and control * 50 <= len(head)


_CONTROL = bytes(c for c in range(32) if c not in b"\t\n\r\f\x1b")


def _bounded(pieces: Iterator[bytes], cap: int) -> bytes:
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size > cap:
            raise BodyError("limit.decoded-bytes", f"a body that decodes to more than {cap} bytes")
    return kept[0] if len(kept) == 1 else b"".join(kept)


def _inflate(data: bytes, wbits: int, cut: bool) -> Iterator[bytes]:
    """Pieces of the zlib, raw or gzip stream in ``data``; for gzip, further members follow on."""
    while data:
        inflater = zlib.decompressobj(wbits)
        while data and not inflater.eof:
            yield inflater.decompress(data, _PIECE)
            data = inflater.unconsumed_tail
        if not inflater.eof:
            yield inflater.flush()  # at most what a few bits still stand for
        if not inflater.eof and not cut:
            raise BodyError("http.coding", "a compressed body that ends early")
        data = inflater.unused_data if wbits == 31 and inflater.unused_data.startswith(GZIP_MAGIC) else b""


def _gunzip(data: bytes, cap: int, window_mb: int, cut: bool) -> bytes | None:
    if not data.startswith(GZIP_MAGIC):
        _expect_text(data, "gzip")
        return None
    try:
        return _bounded(_inflate(data, 31, cut), cap)
    except zlib.error:
        raise BodyError("http.coding", "a gzip body that does not inflate") from None


def _undeflate(data: bytes, cap: int, window_mb: int, cut: bool) -> bytes | None:
    if data.startswith(GZIP_MAGIC):
        return _gunzip(data, cap, window_mb, cut)
    for wbits in (15, -15):
        try:
            return _bounded(_inflate(data, wbits, cut), cap)
        except (zlib.error, BodyError) as error:
            if isinstance(error, BodyError) and error.code.startswith("limit."):
                raise
    _expect_text(data, "deflate")
    return None


def _unbrotli(data: bytes, cap: int, window_mb: int, cut: bool) -> bytes | None:
    import brotli

    decoder = brotli.Decompressor()

    def pieces() -> Iterator[bytes]:
        yield decoder.process(data, output_buffer_limit=_PIECE)
        while not decoder.is_finished():
            piece = decoder.process(b"", output_buffer_limit=_PIECE)
            if not piece and decoder.can_accept_more_data():
                return
            yield piece

    try:
        plain = _bounded(pieces(), cap)
    except brotli.error:
        _expect_text(data, "brotli")
        return None
    if not decoder.is_finished() and not cut:
        _expect_text(data, "brotli")
        return None
    return plain


def _unzstd(data: bytes, cap: int, window_mb: int, cut: bool) -> bytes | None:
    import zstandard

    if not data.startswith(ZSTD_MAGIC):
        _expect_text(data, "zstd")
        return None
    decoder = zstandard.ZstdDecompressor(max_window_size=window_mb << 20)
    try:
        with decoder.stream_reader(data) as reader:
            plain = _bounded(iter(lambda: reader.read(_PIECE), b""), cap)
        # The stream reader ends quietly in a cut frame; the size is known to be harmless now, so this may run whole.
        whole: Any = decoder.decompressobj()
        whole.decompress(data)
    except zstandard.ZstdError:
        raise BodyError("http.coding", "a zstd body that does not decode") from None
    if not whole.eof and not cut:
        raise BodyError("http.coding", "a compressed body that ends early")
    return plain


def _expect_text(data: bytes, name: str) -> None:
    """Raise unless ``data`` was plainly never coded, whatever the label says."""
    if not looks_like_text(data):
        raise BodyError("http.coding", f"labelled {name}, neither that nor text")


_CODINGS: dict[str, Callable[[bytes, int, int, bool], bytes | None]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
