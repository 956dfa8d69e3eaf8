"""Members, damage between and inside them, and where the bytes went."""

from __future__ import annotations

import random
import time
import zlib

import pytest

from curate.documents import document_id
from curate.sources.framing import GzipMembers, Lz4Frames, Plain, container_of
from tests.curate.sources.archives import Read, http, member, page, pages, record


def others(lost: int, count: int = 6) -> list[int]:
    return [n for n in range(count) if n != lost]


def members(count: int = 6) -> list[bytes]:
    return [member(p) for p in pages(count)]


def test_every_member_is_a_document_with_its_offset_and_length() -> None:
    parts = members(3)
    read = Read(b"".join(parts))
    assert read.numbers == [0, 1, 2]
    assert [r["offset"] for r in read.rows] == [0, len(parts[0]), len(parts[0]) + len(parts[1])]
    assert [r["length"] for r in read.rows] == [len(p) for p in parts]
    assert read.rows[1]["id"] == document_id("a.warc.gz", len(parts[0]))
    assert read.account.rejected == []


def test_cut_member_costs_one_record() -> None:
    parts = members()
    parts[-1] = parts[-1][: len(parts[-1]) // 2]
    read = Read(b"".join(parts))
    assert read.numbers == others(5)
    assert read.errors == {"input.truncated": 1}
    assert read.account.rejected == [(sum(map(len, parts[:-1])), len(parts[-1]))]


def test_flipped_bit_costs_one_record() -> None:
    parts = members()
    damaged = bytearray(parts[2])
    damaged[len(damaged) // 2] ^= 0x10
    parts[2] = bytes(damaged)
    read = Read(b"".join(parts))
    assert read.numbers == others(2)
    assert read.errors == {"input.corrupt": 1}


def test_wrong_crc_is_never_delivered_even_from_a_member_of_several_steps() -> None:
    noise = random.Random(1).randbytes(1_500_000).hex()
    parts = [member(record(0, http(page(0, noise)))), member(record(1, http(page(1))))]
    parts[0] = parts[0][:-6] + b"\0\0" + parts[0][-4:]
    read = Read(b"".join(parts))
    assert read.numbers == [1]
    assert read.errors == {"input.corrupt": 1}


def test_garbage_between_members_costs_nothing_but_itself() -> None:
    parts = members()
    parts.insert(3, random.Random(7).randbytes(4096))
    read = Read(b"".join(parts))
    assert read.numbers == list(range(6))
    assert read.account.rejected == [(sum(map(len, parts[:3])), 4096)]
    assert read.errors == {"input.garbage": 1}


@pytest.mark.parametrize("where", [2, 6])
def test_zero_padding_is_a_warning(where: int) -> None:
    parts = members()
    parts.insert(where, b"\0" * 3_000_000)
    read = Read(b"".join(parts))
    assert read.numbers == list(range(6))
    assert (read.errors, read.warnings) == ({}, {"input.padding": 1})


def test_damaged_first_member_does_not_hide_that_the_file_is_gzip() -> None:
    parts = members()
    parts[0] = b"\xff\xff" + parts[0][2:]
    assert Read(b"".join(parts)).numbers == others(0)


def test_one_stream_for_all_is_read_with_a_warning_and_inner_ids() -> None:
    read = Read(member(b"".join(pages(6))))
    assert read.numbers == list(range(6))
    assert read.warnings == {"input.not-record-gzip": 1}
    assert {r["offset"] for r in read.rows} == {0}
    assert read.rows[4]["id"] == document_id("a.warc.gz", 0, 4)
    assert len({r["id"] for r in read.rows}) == 6


def test_length_of_a_record_in_a_shared_stream_suffices_to_read_it() -> None:
    noise = [random.Random(n).randbytes(200_000).hex() for n in range(6)]
    data = member(b"".join(record(n, http(page(n, noise[n]))) for n in range(6)))
    for row in Read(data).rows:
        start = row["offset"]
        assert row["html"].encode() in zlib.decompressobj(31).decompress(data[start : start + row["length"]])


def test_damage_in_one_stream_keeps_what_came_before_it() -> None:
    noise = [random.Random(n).randbytes(300_000).hex() for n in range(6)]
    data = bytearray(member(b"".join(record(n, http(page(n, noise[n]))) for n in range(6))))
    data[len(data) * 3 // 4] ^= 0xFF
    read = Read(bytes(data))
    assert read.numbers[:2] == [0, 1]
    assert 5 not in read.numbers
    assert read.errors["input.corrupt"] == 1


def test_records_cut_over_members_are_joined() -> None:
    parts = [m for p in pages(4) for m in (member(p[:100]), member(p[100:250]), member(p[250:]))]
    read = Read(b"".join(parts))
    assert read.numbers == [0, 1, 2, 3]
    assert read.warnings == {"input.not-record-gzip": 1}
    assert read.rows[1]["offset"] == sum(map(len, parts[:3]))


def test_restarted_download_is_read_with_its_repeats_marked() -> None:
    data = b"".join(members())
    read = Read(data[: len(data) * 6 // 10] + data)
    assert set(read.numbers) == set(range(6))
    assert read.errors == {"input.corrupt": 1}
    assert read.warnings["warc.duplicate-id"] == len(read.numbers) - 6


def test_content_decides_over_the_name() -> None:
    assert Read(b"".join(pages(3)), name="a.warc.gz").warnings == {"input.name-mismatch": 1}
    assert Read(b"".join(members(3)), name="a.warc").warnings == {"input.name-mismatch": 1}
    assert Read(b"".join(pages(3)), name="a.warc").warnings == {}


def test_files_without_records_are_errors() -> None:
    assert Read(b"").errors == {"input.empty": 1}
    assert Read(member(b"")).errors == {"input.empty": 1}
    assert Read(member(random.Random(3).randbytes(50_000))).errors == {"input.not-warc": 1}
    assert Read(b"just some text\n" * 1000, name="a.warc").errors == {"input.not-warc": 1}


def test_empty_members_are_harmless() -> None:
    read = Read(member(b"") + members(1)[0] + member(b""))
    assert (read.numbers, read.errors, read.warnings) == ([0], {}, {})


def test_lz4_frames_are_read() -> None:
    frame = pytest.importorskip("lz4.frame")
    read = Read(b"".join(frame.compress(p) for p in pages(4)), name="a.warc.lz4")
    assert read.numbers == [0, 1, 2, 3]
    assert read.errors == {}


def test_container_is_known_by_its_first_bytes() -> None:
    import io

    assert isinstance(container_of(io.BytesIO(member(b"x"))), GzipMembers)
    assert isinstance(container_of(io.BytesIO(b"WARC/1.0\r\n")), Plain)
    assert isinstance(container_of(io.BytesIO(b"\x04\x22\x4d\x18rest")), Lz4Frames)


def test_a_stream_that_gives_few_bytes_at_a_time_is_read_alike() -> None:
    import io

    from curate.sources.base import InputFile, ReadOptions
    from curate.sources.warc import WarcSource

    class Slow(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return False

        def read(self, size: int = -1) -> bytes:
            return self.data.read(min(size, 37) if size >= 0 else 37)

    data = b"".join(members(3)) + b"\0\0\0junk" + members(1)[0]
    source = WarcSource(InputFile("a.warc.gz", "a.warc.gz", "warc", len(data), ""), ReadOptions())
    rows = [r for b in source.batches(Slow(data)) for r in b.rows.to_pylist()]  # type: ignore[arg-type]
    assert rows == Read(data).rows
    assert source.account.accounted_bytes == len(data)


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_accounted_for_and_costs_few_records(seed: int) -> None:
    draw = random.Random(seed)
    data = bytearray(b"".join(members(20)))
    for _ in range(3):
        at = draw.randrange(len(data))
        match draw.randrange(3):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                del data[at : at + draw.randrange(1, 300)]
            case _:
                data[at:at] = draw.randbytes(draw.randrange(1, 300))
    read = Read(bytes(data))
    assert len(set(read.numbers)) >= 20 - 3 * 3
    plain = bytearray(b"".join(pages(20)))
    plain[draw.randrange(len(plain))] ^= 0xFF
    at = draw.randrange(len(plain))
    del plain[at : at + draw.randrange(1, 200)]
    assert len(set(Read(bytes(plain), name="a.warc").numbers)) >= 20 - 6


@pytest.mark.parametrize(
    "text", [b"a:" * 3_000_000, b"a: 1.1.1.1 " * 500_000, b"\n" * 3_000_000, b"\x1f\x8b\x08" * 20_000]
)
def test_text_that_provokes_slow_searches_is_refused_quickly(text: bytes) -> None:
    start = time.process_time()
    assert Read(text, name="a.warc").account.records == 0
    assert Read(pages(1)[0] + text, name="a.warc").numbers == [0]
    assert Read(members(1)[0] + member(text) + members(1)[0]).account.records == 2
    assert time.process_time() - start < 10
