"""WET files: text as the crawl extracted it."""

from __future__ import annotations

import pytest

from curate.documents import IDENTITY
from curate.sources.wet import WetSource
from tests.curate.sources.archives import Read, member, record


def wet(*texts: bytes, headers: tuple[str, ...] = ()) -> Read:
    parts = [record(99, b"format: WET\r\n", kind="warcinfo")]
    parts += [record(n, text, *headers, kind="conversion") for n, text in enumerate(texts)]
    return Read(b"".join(map(member, parts)), WetSource, name="a.warc.wet.gz")


def test_conversions_are_documents_and_the_rest_is_skipped() -> None:
    read = wet(b"mk00 first\n", b"mk01 second", headers=("WARC-Identified-Content-Language: deu,eng",))
    assert read.numbers == [0, 1]
    assert read.account.skipped == {"warcinfo": 1}
    row = read.rows[0]
    assert list(row) == [*IDENTITY.names, "text", "date", "read_replacement_ratio", "read_languages"]
    assert (row["text"], row["read_languages"], row["read_replacement_ratio"]) == ("mk00 first\n", "deu,eng", 0.0)
    assert wet(b"mk00 x").rows[0]["read_languages"] is None


def test_undecodable_bytes_are_replaced_and_counted() -> None:
    row = wet(b"mk00 caf\xe9 ok").rows[0]
    assert row["text"] == "mk00 caf\ufffd ok"
    assert row["read_replacement_ratio"] == pytest.approx(1 / 12)


def test_surrogates_in_the_bytes_never_reach_the_text() -> None:
    text = wet(b"mk00 \xed\xa0\xbd\xed\xb8\x80 end").rows[0]["text"]
    assert text.startswith("mk00 ") and text.endswith(" end")
    assert not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def test_control_characters_are_removed_but_not_line_ends() -> None:
    assert wet("\ufeffmk00 a\0b\x01c\x1b\td\r\né".encode()).rows[0]["text"] == "mk00 abc\td\r\né"


def test_blank_texts_are_dropped_as_empty() -> None:
    read = wet(b"", b" \n\t", "\ufeff".encode(), "\u00a0\u3000".encode(), b"mk04 x")
    assert read.numbers == [4]
    assert read.drops == {"empty": 4}


def test_text_beyond_the_limit_fails_alone() -> None:
    read = Read(
        b"".join(
            member(record(n, b"mk%02d " % n + b"x" * (2_000_000 * (n == 1)), kind="conversion")) for n in range(3)
        ),
        WetSource,
        name="a.warc.wet.gz",
        text_mb=1,
    )
    assert read.numbers == [0, 2]
    assert read.errors == {"limit.document-bytes": 1}
