"""Which responses of type text/plain are documents: text that someone wrote, not what servers mislabel so."""

from __future__ import annotations

import re

PLAIN = "text/plain"

#: bytes that no text holds, by the WHATWG's MIME Sniffing Standard ("binary data byte"); escape is not among them
_BINARY = bytes(c for c in range(32) if c not in b"\t\n\f\r\x1b")
#: that standard looks at this much of a resource
_HEAD = 1445
_LOOK = 8192
#: share of such bytes in the rest of the body from which it is no text: a stray control character costs nothing
_MOST_BINARY = 0.01
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
#: files for machines, which every crawler fetches
_FOR_MACHINES = re.compile(
    r"https?://[^/?#]*/(?:robots|ads|app-ads|sellers)\.txt(?:[?#]|$)|https?://[^/?#]*/\.well-known/"
    r"|https?://[^?#]*/sitemap[^/?#]*\.txt(?:[?#]|$)",
    re.I,
)
#: the form of robots.txt (RFC 9309), whatever its address: comments, then a group that begins with its crawler
_ROBOTS = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>(?:[ \t]*(?:\#[^\r\n]*)?[\r\n]+)*)[ \t]*(?:user-agent[ \t]*:|sitemap[ \t]*:[ \t]*http)",
    re.I,
)
#: what crawlers write about their own work: their log, their arguments, texts of pages that are in the archive already
_BY_CRAWLERS = re.compile(r"(?:metadata|urn|screenshot|filedesc|warcinfo):", re.I)


def is_text(body: bytes) -> bool:
    """True if ``body`` may be text: no bytes that no charset has in text, unless NUL bytes stand as in UTF-16."""
    from curate.sources.charset import is_wide

    if body.startswith(_WIDE_BOMS) or is_wide(body):
        return True
    if len(body[:_HEAD].translate(None, _BINARY)) < len(body[:_HEAD]):
        return False
    return len(body) - len(body.translate(None, _BINARY)) <= _MOST_BINARY * len(body)


def not_for_readers(url: str | None, body: bytes) -> str | None:
    """What a plain text is if its address or its form shows that it is none for readers; None if it may be one."""
    if _ROBOTS.match(body[:_LOOK]):
        return f"{PLAIN}: a file for machines"
    if url is None:
        return None
    if _FOR_MACHINES.match(url):
        return f"{PLAIN}: a file for machines"
    return f"{PLAIN}: written by the crawler" if _BY_CRAWLERS.match(url) else None
