"""WET files: plain text that a crawl extracted itself, in conversion records."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pyarrow as pa

from curate.documents import DATE, TEXT, column
from curate.sources.archive import ArchiveSource
from curate.sources.charset import decode_text
from curate.sources.dialects import clean
from curate.sources.frames import Frame
from curate.sources.http import BodyError
from curate.sources.payload import Dropped, check_digests
from curate.sources.warc import READ_REPLACEMENT_RATIO

_COLUMNS = pa.schema(
    [
        TEXT,
        DATE,
        READ_REPLACEMENT_RATIO,
        column("read_languages", pa.string(), "languages the crawl identified, as it writes them; null if absent"),
    ]
)
#: white space in UTF-8, with zero-width characters and byte order marks
_BLANK = re.compile(rb"(?:[\t\n\r ]|\xc2\xa0|\xe3\x80\x80|\xef\xbb\xbf|\xe2\x80[\x80-\x8f\xa8\xa9\xaf])*+")


class WetSource(ArchiveSource):
    """WET: conversion records become documents, all others are skipped.

    The text is UTF-8; what is not is replaced by U+FFFD and counted. A byte order mark and C0 controls other than
    tab, LF and CR are removed.
    """

    kind: ClassVar[str] = "wet"
    columns: ClassVar[pa.Schema] = _COLUMNS
    reasons: ClassVar[dict[str, str]] = {"empty": "the record has no text, or only white space"}

    def _wanted(self, frame: Frame) -> bool:
        return frame.head.type == "conversion"

    def _document(self, frame: Frame) -> dict[str, Any] | Dropped:
        if frame.fault is not None:
            raise BodyError(*frame.fault)
        check_digests(frame, frame.block, self.options)
        text, replaced = decode_text(frame.block)
        if len(text) > self.options.text_mb << 20:
            raise BodyError(
                "limit.document-bytes", f"{len(text)} bytes of text; the limit is {self.options.text_mb} MB"
            )
        if _BLANK.fullmatch(text):
            return Dropped("empty", detail="no text")
        return {
            "text": text,
            "date": frame.head.date,
            "read_replacement_ratio": replaced,
            "read_languages": clean(frame.head.fields.get(b"warc-identified-content-language")),
        }
