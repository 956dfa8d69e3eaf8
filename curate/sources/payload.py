"""From a framed record to a page: record kinds, digests, status, media type. No text is decoded here.

A page is HTML by its label or its first bytes, or plain text by its label.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import partial

from curate.sources.base import ReadOptions
from curate.sources.dialects import media_type
from curate.sources.frames import Frame
from curate.sources.http import Body, BodyError, Response, decode_body, parse_response
from curate.sources.plain_text import PLAIN, is_text, not_for_readers

#: record types whose block may be a page
CONTENT = frozenset({"response", "resource", "conversion"})
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"})
_XML_TYPES = frozenset({"text/xml", "application/xml", "text/xsl", "application/xslt+xml"})
#: types that say little, since servers give them to everything: the bytes decide
_VAGUE = frozenset({"", "application/octet-stream", "text/plain", "content/unknown", "application/x-unknown", "*/*",
                    "application/unknown", "unknown/unknown", "text/text"})  # fmt: skip

# Atomic groups: a page of ten thousand comments must not cost exponential time.
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*(?>(?:<!--.{0,2000}?-->\s*)*)"
    rb"<\0?(?:!\0?d\0?o\0?c\0?t\0?y\0?p\0?e\0?\s\0?h\0?t\0?m\0?l|h\0?t\0?m\0?l"
    rb"|head|body|title|script|meta|table|div|font|h1|a\s|p>|br)",
    re.I | re.S,
)
_HTML_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?>(?:<\?.{0,500}?\?>\s*|<!--.{0,4000}?-->\s*|<!doctype\s(?!html).{0,500}?>\s*)*)"
    rb"(?:<!doctype\s+html|<(?:\w+:)?html[\s>])",
    re.I | re.S,
)
_MAGICS = (
    (b"%PDF", "application/pdf"), (b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"PK\x03\x04", "application/zip"), (b"\x1f\x8b\x08", "application/gzip"), (b"RIFF", "image/webp"),
    (b"\0\0\x01\0", "image/x-icon"), (b"wOF", "font/woff"), (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"ID3", "audio/mpeg"), (b"OggS", "application/ogg"), (b"\x7fELF", "application/x-executable"),
    (b"BZh", "application/x-bzip2"), (b"\xfd7zXZ", "application/x-xz"), (b"Rar!", "application/x-rar"),
)  # fmt: skip
_ANY_MAGIC = tuple(magic for magic, _ in _MAGICS)


@dataclass(slots=True)
class Page:
    """A page, still in bytes.

    Attributes:
        body: without transfer and content codings.
        mime: media type it was taken by.
        header: value of the Content-Type header that may name a charset; empty if there is none.
        notes: codes of oddities that cost nothing.
    """

    body: bytes
    mime: str
    header: bytes
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Dropped:
    """A record that was read well and is no page: the rule, what it compared, and short evidence."""

    reason: str
    value: float | None = None
    detail: str | None = None


def page_of(frame: Frame, options: ReadOptions) -> Page | Dropped:
    """The page in a content record, or why there is none.

    Raises:
        BodyError: the record is damaged: codings, digests, limits.
    """
    fields = frame.head.fields
    header_cap = options.header_kb << 10
    if frame.head.type == "response":
        response = parse_response(frame.block, header_cap)
        raw = frame.block[response.start :]
    else:
        response, raw = Response(None, {b"content-type": fields.get(b"content-type", b"")}), frame.block
    status = response.status
    if frame.fault is not None:
        # Only the beginning is there: enough to see that it was no page anyway.
        return _not_a_page(response, fields) or _raise(frame.fault)
    if not frame.block:
        return Dropped("empty", detail="no block")
    if status is not None and not 200 <= status < 300:
        check_digests(frame, raw, options)
        return Dropped("http_status", float(status))
    cut = b"warc-truncated" in fields or b"warc-segment-number" in fields
    undecoded = Body(raw, raw)
    declared = declared_type(response, fields)
    if not acceptable(declared):
        check_digests(frame, raw, options)
        return Dropped("mime", detail=declared)
    body = undecoded
    if frame.head.type == "response":
        body = decode_body(
            raw,
            response.headers,
            max_bytes=options.decoded_mb << 20,
            max_ratio=options.decoded_ratio,
            window_mb=options.zstd_window_mb,
            cut=cut,
        )
    check_digests(frame, raw, options, body)
    if not body.data.strip(b"\0 \t\r\n"):
        return Dropped("empty", detail="no body")
    mime = page_type(declared, body.data)
    if mime is None:
        return Dropped("mime", detail=sniffed(body.data) or declared or "unknown")
    other = not_for_readers(frame.head.url, body.data) if mime == PLAIN else None
    if other is not None:
        return Dropped("mime", detail=other)
    notes = body.notes if response.well_formed or frame.head.type != "response" else (*body.notes, "http.header")
    return Page(body.data, mime, response.headers.get(b"content-type", b""), notes)


def _raise(fault: tuple[str, str]) -> Dropped:
    raise BodyError(*fault)


def _not_a_page(response: Response, fields: dict[bytes, bytes]) -> Dropped | None:
    if response.status is not None and not 200 <= response.status < 300:
        return Dropped("http_status", float(response.status))
    declared = declared_type(response, fields)
    return None if acceptable(declared) else Dropped("mime", detail=declared)


def declared_type(response: Response, fields: dict[bytes, bytes]) -> str:
    """Media type by the crawler's identification, else by the HTTP header; empty if neither says one."""
    identified = media_type(fields.get(b"warc-identified-payload-type", b""))
    if identified not in _VAGUE:
        return identified
    said = media_type(response.headers.get(b"content-type", b""))
    return PLAIN if identified == PLAIN and said in _VAGUE else said


def acceptable(declared: str) -> bool:
    """True if a body labelled ``declared`` may be a page: HTML, plain text, XML, or a label that says nothing."""
    return declared in HTML_TYPES or declared in _VAGUE or declared in _XML_TYPES or declared.endswith("+xml")


def page_type(declared: str, body: bytes) -> str | None:
    """The media type to record if ``body`` is HTML or plain text, else None; bytes overrule labels."""
    if sniffed(body) is not None:
        return None
    if declared in HTML_TYPES:
        return declared
    if declared in _VAGUE:
        if _HTML_START.match(body[:4096]) or _HTML_ROOT.match(body[:8192]):
            return "text/html"
        return PLAIN if declared == PLAIN and is_text(body) else None
    return declared if _HTML_ROOT.match(body[:8192]) else None


def sniffed(body: bytes) -> str | None:
    """The binary format that the first bytes show; None if they show none."""
    if not body.startswith(_ANY_MAGIC):
        return None
    return next(name for magic, name in _MAGICS if body.startswith(magic))


# ---------------------------------------------------------------- digests
def check_digests(frame: Frame, raw: bytes, options: ReadOptions, body: Body | None = None) -> None:
    """Compare the record with the digests it carries.

    A right block digest settles it. If there is none that can be checked, or it differs, the payload digest decides,
    over the body as stored, dechunked or decoded: writers differ in what they took it of. Algorithms and spellings
    that are not known prove nothing. Archives that cut a record may keep the digest of the whole.

    Raises:
        BodyError: ``warc.digest`` if every digest that can be checked differs.
    """
    fields = frame.head.fields
    if not options.verify_digests or not fields or b"warc-truncated" in fields:
        return
    block = fields.get(b"warc-block-digest")
    verdict = matches(block, (frame.block,)) if block else None
    if verdict:
        return
    payload = fields.get(b"warc-payload-digest")
    if payload:
        variants = [raw]
        if body is not None:
            variants += [b for b in (body.dechunked, body.data) if b is not raw]
        of_payload = matches(payload, tuple(variants))
        if of_payload:
            return
        if of_payload is False and body is None and raw is not frame.block:
            of_payload = None  # the body was not decoded: another reading of the digest may still be right
        verdict = False if of_payload is False else verdict
    if verdict is False:
        raise BodyError("warc.digest", "the record does not have the digests that it carries")


def matches(labelled: bytes, variants: tuple[bytes, ...]) -> bool | None:
    """True if one of ``variants`` has the digest ``algorithm:value``; None if it cannot be checked."""
    algorithm, _, value = labelled.strip().partition(b":")
    name = algorithm.strip().lower().replace(b"-", b"").decode("latin-1")
    digest = _ALGORITHMS.get(name)
    if digest is None:
        return None
    wanted = _digest_bytes(value.strip(), digest(b"").digest_size)
    if wanted is None:
        return None
    return any(digest(data).digest() == wanted for data in variants)


_ALGORITHMS = {
    name: partial(getattr(hashlib, name), usedforsecurity=False) for name in ("sha1", "sha256", "sha512", "md5")
}
#: base32 digits → the digits of int(…, 32), which reads them in compiled code
_BASE32_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567abcdefghijklmnopqrstuvwxyz"
_BASE32 = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv")


def _digest_bytes(value: bytes, size: int) -> bytes | None:
    """The digest in hex, base32 or base64, whichever gives ``size`` bytes; None if none does."""
    bare = value.rstrip(b"=")
    try:
        if len(value) == 2 * size:
            return binascii.unhexlify(value)
        if len(bare) == (size * 8 + 4) // 5 and not bare.strip(_BASE32_DIGITS):
            number = int(bare.upper().translate(_BASE32), 32)
            return (number >> (-8 * size) % 5).to_bytes(size, "big")
        if len(bare) == (size * 4 + 2) // 3:
            return base64.b64decode(bare + b"=" * (-len(bare) % 4))
    except (binascii.Error, ValueError, OverflowError):
        return None
    return None
