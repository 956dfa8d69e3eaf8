"""Builds the samples from ``pages/``: ``python -m data_samples.build [--into FOLDER]``.

No network, no clock, no randomness: the same sources give the same bytes wherever the same versions of zlib, brotli,
zstd and Arrow are used (``built_with.json`` names those of the committed files).
"""

from __future__ import annotations

import argparse
import html
import io
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from data_samples.builder import archive
from data_samples.builder.archive import Record
from data_samples.builder.pages import Page, main_text, read_pages
from data_samples.builder.render import render

HERE = Path(__file__).resolve().parent
PARTS = ("crawl/part-00.warc.gz", "crawl/part-01.warc.gz")
#: ISO 639-1 → the code that crawlers write into WET records
_ISO3 = {"en": "eng", "de": "deu", "fr": "fra", "es": "spa", "it": "ita", "pt": "por", "pl": "pol", "tr": "tur",
         "nl": "nld", "ru": "rus", "ja": "jpn", "zh": "zho", "ko": "kor", "ar": "ara"}  # fmt: skip
_STRINGS = pa.list_(pa.string())
GOLD = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("record_type", pa.string(), nullable=False),
        pa.field("expected", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("format", pa.string()),
        pa.field("quality", pa.int8()),
        pa.field("duplicate_family", pa.string()),
        pa.field("duplicate_kind", pa.string()),
        pa.field("charset", pa.string()),
        pa.field("main_text", pa.string()),
        pa.field("pii_emails", _STRINGS, nullable=False),
        pa.field("pii_phones", _STRINGS, nullable=False),
        pa.field("pii_cards", _STRINGS, nullable=False),
        pa.field("pii_ibans", _STRINGS, nullable=False),
        pa.field("licence", pa.string()),
    ]
)


@dataclass(frozen=True)
class Made:
    """A page with its number in the crawl and its HTML."""

    page: Page
    number: int
    markup: str

    @property
    def expected(self) -> str:
        """What a reader should make of it: document, http_status, mime, empty or damaged."""
        return self.page.get("expected", "document")

    @property
    def part(self) -> int:
        """Which of the two archives it goes into: they take turns, and what is damaged goes into the second."""
        return 1 if self.expected == "damaged" else self.number % 2

    @property
    def is_text(self) -> bool:
        """Whether it belongs into the samples that hold text."""
        return self.expected == "document" and bool(main_text(self.page))


def build(into: Path) -> None:
    """Write all sample files below ``into``."""
    made = _made(read_pages(HERE / "pages"))
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(PARTS):
        rows += _write_part(into, name, [m for m in made if m.part == i])
    texts = [m for m in made if m.is_text]
    _write(into / "wet/sample.warc.wet.gz", _wet(texts))
    _write(into / "jsonl/sample.jsonl.zst", _jsonl(texts))
    _write_parquet(into / "parquet/sample.parquet", _table(texts))
    _write_parquet(into / "gold.parquet", pa.Table.from_pylist(rows, GOLD))
    _write(into / "built_with.json", (json.dumps(versions(), indent=1) + "\n").encode())


def versions() -> dict[str, str]:
    """Versions of what decides about bytes."""
    return {
        "brotli": brotli.__version__,
        "pyarrow": pa.__version__,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "zstandard": zstandard.__version__,
    }


def _made(pages: list[Page]) -> list[Made]:
    made = []
    for number, page in enumerate(pages):
        markup = render(page, _related(page, pages), archive.date_of(number)) if page.get("expected") != "empty" else ""
        made.append(Made(page, number, markup))
    return made


def _related(page: Page, pages: list[Page], most: int = 4) -> list[str]:
    """Titles of other pages in its language: those of its own site first, then those of its domain, then others."""
    others = [
        other
        for other in pages
        if other.get("lang") == page.get("lang")
        and other.get("title") != page.get("title")
        and other.get("expected", "document") == "document"
        and not other.get("kind")
        and int(other.get("quality")) >= 3
    ]
    others.sort(key=lambda other: (other.host != page.host, other.get("domain") != page.get("domain")))
    return [other.get("title") for other in others[:most]]


def _write_part(into: Path, name: str, made: list[Made]) -> list[dict[str, Any]]:
    """One archive, one gzip member per record; its rows of the gold table."""
    packed, rows = bytearray(), []

    def put(record: Record, item: Made | None, expected: str) -> None:
        data = archive.member(record, damaged=expected == "damaged")
        rows.append(_gold(record, item, expected) | {"file": name, "offset": len(packed), "length": len(data)})
        packed.extend(data)

    put(archive.warcinfo(Path(name).name), None, "skipped")
    for item in made:
        page = item.page
        if page.get("request"):
            put(archive.request(page, item.number), None, "skipped")
        put(archive.response(page, item.markup, item.number, identified=name == PARTS[0]), item, item.expected)
    for item in made:
        if item.page.get("revisit"):
            put(archive.revisit(item.page, item.number), None, "skipped")
    _write(into / name, bytes(packed))
    return rows


def _gold(record: Record, item: Made | None, expected: str) -> dict[str, Any]:
    row: dict[str, Any] = {"url": record.url, "record_id": record.id, "record_type": record.type, "expected": expected}
    page = item.page if item is not None else Page("")
    has_text = item is not None and expected in ("document", "damaged")
    row |= {f"pii_{kind}": page.many(kind) if has_text else [] for kind in ("emails", "phones", "cards", "ibans")}
    if item is None or not has_text:
        return row
    return row | {
        "language": page.get("lang") if page.get("lang_gold") != "none" else None,
        "domain": page.get("domain") or None,
        "format": page.get("format") or None,
        "quality": int(page.get("quality")),
        "duplicate_family": page.get("family") or None,
        "duplicate_kind": page.get("kind") or None,
        "charset": page.get("charset", "utf-8"),
        "main_text": main_text(page),
        "licence": page.get("licence") or None,
    }


# ---------------------------------------------------------------- samples that hold text
def _wet(texts: list[Made]) -> bytes:
    records = [archive.warcinfo("sample.warc.wet.gz")]
    for m in texts:
        records.append(archive.conversion(m.page, _all_text(m.markup), _ISO3[m.page.get("lang")], m.number))
    return b"".join(map(archive.member, records))


def _all_text(markup: str) -> str:
    """All visible text of a page with its menus, a line per block, as crawls write it into WET files."""
    markup = re.sub(r"(?is)<(script|style|head)\b.*?</\1>|<!--.*?-->|<[!?][^>]*>", "", markup)
    markup = re.sub(r"(?i)</?(p|div|li|ul|ol|h\d|td|th|tr|br|section|article|pre|blockquote|nav|header|footer)\b[^>]*>",
                    "\n", markup)  # fmt: skip
    text = html.unescape(re.sub(r"<[^>]*>", " ", markup))
    return "\n".join(" ".join(line.split()) for line in text.split("\n") if line.strip()) + "\n"


def _fields(m: Made) -> dict[str, Any]:
    name = archive.record_id("response", m.page.url)
    return {"id": name[len("<urn:uuid:") : -1], "url": m.page.url, "text": main_text(m.page)}


def _jsonl(texts: list[Made]) -> bytes:
    lines = []
    for m in texts:
        extra = {"source_name": m.page.host, "date": archive.date_of(m.number), "tags": [m.page.get("lang"), "sample"]}
        lines.append(json.dumps(_fields(m) | extra, ensure_ascii=False) + "\n")
    return zstandard.ZstdCompressor(level=12).compress("".join(lines).encode())


def _table(texts: list[Made]) -> pa.Table:
    rows = [_fields(m) | {"crawl_date": archive.date_of(m.number), "n_chars": len(main_text(m.page))} for m in texts]
    names = ("id", "url", "text", "crawl_date", "n_chars")
    return pa.table({name: [row[name] for row in rows] for name in names})


def _write_parquet(path: Path, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=9, row_group_size=64)
    _write(path, buffer.getvalue())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Builds the sample files from data_samples/pages/.")
    parser.add_argument("--into", type=Path, default=HERE, help="folder to write to (default: data_samples itself)")
    build(parser.parse_args().into)


if __name__ == "__main__":
    main()
