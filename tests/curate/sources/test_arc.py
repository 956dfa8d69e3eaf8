"""ARC files: both versions, with and without empty lines between records, and their damage."""

from __future__ import annotations

import pytest

from curate.sources.arc import ArcSource
from curate.sources.warc import WarcSource
from tests.curate.sources.archives import Read, arc, filedesc, http, member, page, pages


def records(count: int = 4) -> list[bytes]:
    return [filedesc(), *(arc(f"http://example.org/{n}", http(page(n))) for n in range(count))]


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n\r\n"])
@pytest.mark.parametrize("cls", [ArcSource, WarcSource])
def test_records_with_and_without_an_empty_line_between(between: bytes, cls: type[WarcSource]) -> None:
    read = Read(between.join(records()), cls, name="a.arc")
    assert read.numbers == [0, 1, 2, 3]
    assert (read.errors, read.warnings) == ({}, {})
    assert read.account.skipped == {"warcinfo": 1}
    row = read.rows[1]
    assert (row["url"], row["date"], row["source_id"]) == ("http://example.org/1", "2008-04-30T20:48:25Z", None)


def test_gzip_members() -> None:
    parts = [member(p + b"\n") for p in records()]
    read = Read(b"".join(parts), ArcSource, name="a.arc.gz")
    assert read.numbers == [0, 1, 2, 3]
    assert read.rows[0]["offset"] == len(parts[0])


def test_damaged_member_costs_one_record() -> None:
    parts = [bytearray(member(p + b"\n")) for p in records()]
    parts[2][len(parts[2]) // 2] ^= 0x40
    read = Read(b"".join(parts), ArcSource, name="a.arc.gz")
    assert read.numbers == [0, 2, 3]
    assert read.errors == {"input.corrupt": 1}


def test_second_version_has_ten_fields() -> None:
    names = b"URL IP-address Archive-date Content-type Result-code Checksum Location Offset Filename Archive-length"
    head = b"2 0 Test\n" + names + b"\n"
    first = f"filedesc://t.arc 0.0.0.0 20080430204825 text/plain 200 - - 0 t.arc {len(head)}\n".encode()
    block = http(page(0))
    line = f"http://example.org/a b 192.0.2.1 20080430204825 text/html 200 - - 99 t.arc {len(block)}\n".encode()
    read = Read(first + head + b"\n" + line + block, ArcSource, name="a.arc")
    assert read.numbers == [0]
    assert read.rows[0]["url"] == "http://example.org/a b"


def test_address_with_spaces() -> None:
    read = Read(filedesc() + arc("http://example.org/a b  c", http(page(0))), ArcSource, name="a.arc")
    assert read.rows[0]["url"] == "http://example.org/a b  c"


@pytest.mark.parametrize("delta", [-20, 30])
def test_wrong_length_is_repaired(delta: int) -> None:
    parts = records()
    block = http(page(1))
    parts[2] = arc("http://example.org/1", block, length=len(block) + delta)
    read = Read(b"\n".join(parts), ArcSource, name="a.arc")
    assert read.numbers == [0, 1, 2, 3]
    assert read.errors == {"warc.length": 1}


def test_dns_answers_are_skipped() -> None:
    read = Read(filedesc() + arc("dns:example.org", b"20080430\nx", kind="text/dns"), ArcSource, name="a.arc")
    assert read.account.skipped == {"warcinfo": 1, "dns": 1}


def test_warc_content_is_read_too() -> None:
    assert Read(b"".join(pages(3)), ArcSource, name="a.arc").numbers == [0, 1, 2]
