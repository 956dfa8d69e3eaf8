"""Digests by which equal texts and equal addresses are found: xxh3-128 of what is left after normalisation."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes, urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from curate.kernels.normalise import fold, has_word
from curate.kernels.strings import Bytes, Offsets, string_buffers

DIGEST = pa.binary(16)

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def text_digests(texts: pa.Array, *, lower: bool) -> pa.Array:
    """xxh3-128 of each text in NFC with whitespace collapsed (and in lower case if asked).

    Null where the text holds no word character: such documents are not duplicates of each other.
    """
    data, offsets = fold(*string_buffers(texts), lower=lower, collapse=True)
    return _digests(data, offsets, has_word(data, offsets))


def url_digests(urls: pa.Array) -> pa.Array:
    """xxh3-128 of each normalised address; null where there is none."""
    normal = [None if url is None else normalise_url(url) for url in urls.to_pylist()]
    array = pa.array(normal, pa.string())
    data, offsets = string_buffers(array)
    return _digests(data, offsets, np.array([bool(url) for url in normal], np.bool_))


def content_digests(digests: pa.Array) -> pa.Array:
    """xxh3-128 of each digest of fetched bytes, whatever its form (text or binary); null where there is none."""
    return pa.array(
        [None if v is None else xxhash.xxh3_128_digest(v) for v in digests.cast(pa.binary()).to_pylist()], DIGEST
    )


def normalise_url(url: str) -> str:
    """The address in one spelling (RFC 3986, 6.2): equal results fetch the same page.

    Scheme and host in lower case, http written as https, default ports, user names and fragments removed, dot segments
    resolved, escapes of plain characters decoded and others in upper case, an empty path written as ``/``. Query
    strings stay as they are: their order and every parameter may matter. An address that cannot be parsed is returned
    stripped.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return url
    if not parts.scheme or not host:
        return url
    scheme = "https" if parts.scheme == "http" else parts.scheme
    name = host if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f"{host}:{port}"
    query = f"?{_escapes(parts.query)}" if parts.query else ""
    return f"{scheme}://{name}{_without_dots(_escapes(parts.path))}{query}"


def _escapes(part: str) -> str:
    def plain(match: re.Match[str]) -> str:
        decoded = unquote_to_bytes(match[0])
        return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in decoded)

    return _ESCAPE.sub(plain, part)


def _without_dots(path: str) -> str:
    """The path without ``.`` and ``..`` segments (RFC 3986, 5.2.4); at least ``/``."""
    kept: list[str] = []
    segments = path.split("/")[1:] if path.startswith("/") else path.split("/")
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", "..") and kept and kept[-1]:
        kept.append("")
    return "/" + "/".join(kept)


def _digests(data: Bytes, offsets: Offsets, wanted: npt.NDArray[np.bool_]) -> pa.Array:
    view = np.ascontiguousarray(data).data
    borders = offsets.tolist()
    return pa.array(
        [
            xxhash.xxh3_128_digest(view[borders[i] : borders[i + 1]]) if wanted[i] else None
            for i in range(len(borders) - 1)
        ],
        DIGEST,
    )
