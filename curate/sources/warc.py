"""WARC files: pages and plain texts of response, resource and conversion records, decoded."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
import xxhash

from curate.documents import CONTENT_DIGEST, DATE, HTML, column
from curate.sources.archive import ArchiveSource, is_content
from curate.sources.charset import decode_page
from curate.sources.frames import Frame
from curate.sources.payload import Dropped, page_of
from curate.sources.plain_text import PLAIN

READ_REPLACEMENT_RATIO = column(
    "read_replacement_ratio", pa.float32(), "characters that stand for undecodable bytes / characters", range_="0–1"
)
_COLUMNS = pa.schema(
    [
        HTML,
        DATE,
        CONTENT_DIGEST,
        column("read_charset", pa.string(), "encoding the page was decoded from, by its WHATWG name"),
        column(
            "read_charset_source",
            pa.string(),
            "what decided: bom, nul-pattern, utf-8, iso-2022, meta, header, detector or fallback",
        ),
        READ_REPLACEMENT_RATIO,
        column("read_mime", pa.string(), "media type the record was taken by: crawler's, else HTTP's, else sniffed"),
    ]
)


class WarcSource(ArchiveSource):
    """WARC: gzip per record, uncompressed, one gzip stream, records cut over members, LZ4; by content, not by name.

    A file that turns out to hold ARC records is read as ARC.
    """

    kind: ClassVar[str] = "warc"
    columns: ClassVar[pa.Schema] = _COLUMNS

    def _wanted(self, frame: Frame) -> bool:
        return is_content(frame)

    def _document(self, frame: Frame) -> dict[str, Any] | Dropped:
        page = page_of(frame, self.options)
        if isinstance(page, Dropped):
            return page
        for code in page.notes:
            self._count_odd(code, frame)
        decoded = decode_page(page.body, page.header, markup=page.mime != PLAIN)
        return {
            "html": decoded.utf8,
            "date": frame.head.date,
            "content_digest": xxhash.xxh3_128_hexdigest(page.body),
            "read_charset": decoded.charset,
            "read_charset_source": decoded.source,
            "read_replacement_ratio": decoded.replaced,
            "read_mime": page.mime,
        }
