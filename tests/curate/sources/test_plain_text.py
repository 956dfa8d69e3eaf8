"""Responses of type text/plain in archives: which are documents, and their text."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.curate.sources.archives import Read, http, page, record

POEM = "Der Ofen knackt,\r\ndie Katze gähnt,\r\nund draußen fällt der Schnee.\r\n"


def read_one(body: bytes, *headers: str, kind: str = "text/plain", url: str | None = None, **options: Any) -> Read:
    return Read(record(0, http(body, *headers, kind=kind), url=url), name="a.warc", **options)


def test_plain_text_is_a_document_as_it_is() -> None:
    (row,) = read_one(POEM.encode()).rows
    assert (row["html"], row["read_mime"], row["read_charset"]) == (POEM, "text/plain", "utf-8")


@pytest.mark.parametrize(
    ("charset", "kind"),
    [
        ("windows-1252", "text/plain"),
        ("windows-1252", "text/plain; charset=ISO-8859-1"),
        ("utf-16", "text/plain"),
        ("utf-16-le", "text/plain"),
    ],
)
def test_plain_text_goes_through_the_charset_cascade(charset: str, kind: str) -> None:
    (row,) = read_one(POEM.encode(charset), kind=kind).rows
    assert row["html"] == POEM


def test_a_declaration_quoted_in_plain_text_says_nothing_of_its_charset() -> None:
    text = 'Écrivez <meta charset="koi8-r"> dans la tête de la page, après le titre.'
    (row,) = read_one(text.encode("windows-1252")).rows
    assert row["html"] == text


def test_html_served_as_plain_text_is_still_html() -> None:
    (row,) = read_one(page(0)).rows
    assert row["read_mime"] == "text/html"


def test_the_crawler_may_be_the_one_who_says_plain_text() -> None:
    assert read_one(POEM.encode(), kind="application/octet-stream").drops == {"mime": 1}
    identified = record(
        0, http(POEM.encode(), kind="application/octet-stream"), "WARC-Identified-Payload-Type: text/plain"
    )
    assert Read(identified, name="a.warc").rows[0]["read_mime"] == "text/plain"


@pytest.mark.parametrize(
    "body",
    [
        b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0 not a text that anyone wrote",
        b"%PDF-1.4 ...",
        b"#!/bin/sh\ntail -n +3 $0 | tar x\n" + b" " * 2000 + bytes(range(32)) * 100,
    ],
)
def test_binary_data_served_as_plain_text_is_no_document(body: bytes) -> None:
    assert read_one(body).drops == {"mime": 1}


def test_a_stray_control_character_in_a_long_text_costs_nothing() -> None:
    text = ("A line of an old file.\n" * 200).encode() + b"\x07\n"
    assert len(read_one(text).rows) == 1


@pytest.mark.parametrize("body", [b"", b" \r\n\t \n"])
def test_blank_plain_text_is_empty(body: bytes) -> None:
    assert read_one(body).drops == {"empty": 1}


def test_plain_text_beyond_the_limit_costs_its_record() -> None:
    log = b"line of a log\n" * 200_000
    read = read_one(log, record_mb=1)
    assert (read.rows, read.errors) == ([], {"limit.record-bytes": 1})
    read = read_one(gzip.compress(log), "Content-Encoding: gzip", decoded_mb=1)
    assert (read.rows, list(read.errors)) == ([], ["limit.decoded-bytes"])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/robots.txt",
        "https://example.org/ads.txt?x=1",
        "https://example.org/.well-known/security.txt",
        "http://example.org/maps/sitemap-2.txt",
        "metadata://gnu.org/software/wget/warc/wget.log",
        "urn:text:https://example.org/",
    ],
)
def test_files_for_machines_and_notes_of_crawlers_are_no_documents(url: str) -> None:
    assert read_one(POEM.encode(), url=url).drops == {"mime": 1}


def test_robots_txt_is_known_by_its_form_too() -> None:
    body = b"# keep out\n\nUser-agent: *\nDisallow: /\n"
    assert read_one(body, url="https://example.org/moved/17").drops == {"mime": 1}


def test_plain_text_passes_extraction_untouched_but_for_line_ends() -> None:
    from curate.stages.base import Context
    from curate.stages.extract_html import ExtractHtml

    quoted = "How to write <b>bold</b>:\r\nput it between <b> and </b>.\r\n"
    read = Read(record(0, http(quoted.encode(), kind="text/plain")), name="a.warc")
    stage = ExtractHtml()
    stage.open(Context())
    (row,) = stage.process(read.batches[0]).rows.to_pylist()
    stage.close()
    assert row["text"] == "How to write <b>bold</b>:\nput it between <b> and </b>."
    assert row["extract_html_engine"] == "plain"
