"""Which charset a page is in, and its text.

The order is the one that did best on 2,991 real pages with known charsets, labels right, wrong and absent: a byte
order mark; NUL patterns of UTF-16 and UTF-32; strict UTF-8, unless escape sequences show ISO-2022-JP; the page's own
declaration and then the HTTP header, if the bytes decode strictly in it, it is not UTF-8 (strict UTF-8 has just
failed) and no other charset of the same script fits plainly better; nearly valid UTF-8; the detector of
``curate.sources.charset_detect``; windows-1252.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from curate.sources.charset_labels import codec_of, encoding_of

#: bytes in which a page's own declaration is looked for
PRESCAN = 4096

_META = re.compile(
    rb"<meta\s[^>]{0,512}?charset\s*=\s*[\"']?\s*([^\s\"'/>;]{1,64})|<\?xml\s[^>]{0,128}?encoding\s*=\s*[\"']([^\"'>]{1,64})",
    re.I,
)
_PARAMETER = re.compile(rb"charset\s*=\s*[\"']?\s*([^\s\"';,>]{1,65})", re.I)
_HIGH = bytes(range(0x80, 0x100))
_TEXT_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\r")
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\0\0", "utf-32-le"), (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"),
)  # fmt: skip
#: a page with this many well-formed UTF-8 characters for each damaged one is damaged UTF-8, not another charset
_GOOD_PER_BAD = 4


@dataclass(slots=True)
class Decoded:
    """A page as UTF-8.

    Attributes:
        utf8: valid UTF-8 without NUL and without a byte order mark.
        charset: encoding used, by its WHATWG name (UTF-32: Python's).
        source: bom, nul-pattern, utf-8, iso-2022, meta, header, detector or fallback.
        replaced: share of characters that stand for bytes that could not be decoded, 0–1.
    """

    utf8: bytes
    charset: str
    source: str
    replaced: float = 0.0


def decode_page(body: bytes, content_type: bytes = b"", *, markup: bool = True) -> Decoded:
    """The page in ``body`` as UTF-8.

    Args:
        content_type: value of the Content-Type header; its charset is only a hint.
        markup: whether the page can declare its charset itself; what stands in plain text is text.
    """
    if body[:1] in b"\xef\xff\xfe\0":
        for bom, name in _BOMS:
            if body.startswith(bom):
                return _decoded(body[len(bom) :], name, "bom")
    if b"\0" in body[:1024]:
        wide = _wide(body[:1024])
        if wide:
            return _decoded(body, wide, "nul-pattern")
    if body.isascii():
        if b"\x1b$" in body and _strictly(body, "iso-2022-jp"):
            return _decoded(body, "iso-2022-jp", "iso-2022")
        return Decoded(without_nul(body), "utf-8", "utf-8")
    if not is_utf8(body):
        return _legacy(body, content_type, markup)
    return Decoded(without_nul(body), "utf-8", "utf-8")


def decode_text(raw: bytes) -> tuple[bytes, float]:
    """Text that must be UTF-8 (WET): without byte order mark and C0 controls except tab, LF and CR.

    Returns:
        The text as valid UTF-8, and the share of its characters that replace undecodable bytes.
    """
    raw = raw.removeprefix(b"\xef\xbb\xbf").translate(None, _TEXT_CONTROLS)
    if raw.isascii():
        return raw, 0.0
    if not is_utf8(raw):
        done = _decoded(raw, "utf-8", "utf-8")
        return done.utf8, done.replaced
    return raw, 0.0


def is_utf8(data: bytes) -> bool:
    """True if ``data`` is valid UTF-8; Arrow's check makes no string, which costs a quarter of decoding."""
    offsets = pa.py_buffer(bytes(4) + len(data).to_bytes(4, "little"))
    try:
        pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowException:
        return False
    return True


def without_nul(data: bytes) -> bytes:
    """``data`` without NUL: an HTML parser ignores it in text, Arrow and C strings must not meet it."""
    return data.replace(b"\0", b"") if b"\0" in data else data


def meta_label(body: bytes) -> bytes:
    """The charset label that the page declares in a meta element or XML declaration; empty if it declares none."""
    match = _META.search(body, 0, PRESCAN)
    return (match[1] or match[2] or b"") if match else b""


def header_label(content_type: bytes) -> bytes:
    """The charset label in a Content-Type value; empty if there is none."""
    match = _PARAMETER.search(content_type)
    return match[1] if match else b""


def _legacy(body: bytes, content_type: bytes, markup: bool) -> Decoded:
    from curate.sources.charset_detect import detect, overrules

    meta = encoding_of(meta_label(body)) if markup else None
    header = encoding_of(header_label(content_type))
    for encoding, source in ((meta, "meta"), (header, "header")):
        if encoding and not encoding.startswith("utf-") and _strictly(body, encoding):
            other = overrules(body, encoding)
            if other is not None and not _strictly(body, other):
                other = None
            return _decoded(body, other, "detector") if other else _decoded(body, encoding, source)
    nearly = _nearly_utf8(body)
    if nearly is not None:
        return nearly
    found = detect(body)
    if found is not None:
        return _decoded(body, found, "detector")
    for encoding, source in ((meta, "meta"), (header, "header")):
        if encoding and encoding != "utf-8":
            return _decoded(body, encoding, source)
    return _decoded(body, "windows-1252", "fallback")


def _strictly(body: bytes, encoding: str) -> bool:
    try:
        text = body.decode(codec_of(encoding))
    except (UnicodeDecodeError, UnicodeError):
        return False
    # C1 controls in a page mean another charset: no page has them, windows charsets have letters there.
    return not _C1.search(text)


_C1 = re.compile("[\x80-\x84\x86-\x9f]")


def _nearly_utf8(body: bytes) -> Decoded | None:
    """The page as UTF-8 if only a small share of its non-ASCII characters is damaged."""
    text = body.decode("utf-8", "replace")
    ascii_bytes = len(body.translate(None, _HIGH))
    characters = len(text) - ascii_bytes
    bad = text.count("\ufffd")
    if characters - bad < _GOOD_PER_BAD * bad:
        return None
    return _decoded(body, "utf-8", "utf-8")


def _decoded(body: bytes, encoding: str, source: str) -> Decoded:
    text = body.decode(codec_of(encoding), "replace")
    if text.startswith("\ufeff"):
        text = text[1:]
    if "\0" in text:
        text = text.replace("\0", "")
    bad = text.count("\ufffd")
    try:
        utf8 = text.encode("utf-8")
    except UnicodeEncodeError:  # UTF-16 and UTF-32 codecs refuse lone surrogates; this is a second net
        text = text.encode("utf-8", "replace").decode("utf-8")
        bad, utf8 = text.count("\ufffd"), text.encode("utf-8")
    return Decoded(utf8, encoding, source, bad / len(text) if text else 0.0)


def is_wide(body: bytes) -> bool:
    """True if NUL bytes stand as they do in UTF-16 or UTF-32."""
    return b"\0" in body[:1024] and _wide(body[:1024]) is not None


def _wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 by where the NUL bytes stand; None if they stand anywhere."""
    n = len(head) // 4 * 4
    if n < 16:
        return None
    nul = [head[i:n:4].count(0) / (n // 4) for i in range(4)]
    if nul[1] > 0.7 and nul[2] > 0.7 and nul[3] > 0.7 and nul[0] < 0.2:
        return "utf-32-le"
    if nul[0] > 0.7 and nul[1] > 0.7 and nul[2] > 0.7 and nul[3] < 0.2:
        return "utf-32-be"
    even, odd = (nul[0] + nul[2]) / 2, (nul[1] + nul[3]) / 2
    if odd > 0.4 and even < 0.1:
        return "utf-16le"
    if even > 0.4 and odd < 0.1:
        return "utf-16be"
    return None
