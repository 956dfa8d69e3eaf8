"""Records of WARC files: lengths, headers, kinds, digests, limits, batches; hostile files of the development data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import xxhash

from curate.documents import IDENTITY
from curate.sources.warc import WarcSource
from curate.sources.wet import WetSource
from tests.curate.sources.archives import Read, http, member, page, pages, record


def plain(parts: list[bytes], **options: Any) -> Read:
    return Read(b"".join(parts), name="a.warc", **options)


def test_columns_are_identity_then_page_then_how_it_was_read() -> None:
    row = plain(pages(1)).rows[0]
    assert list(row) == [
        *IDENTITY.names, "html", "date", "content_digest", "read_charset", "read_charset_source",
        "read_replacement_ratio", "read_mime",
    ]  # fmt: skip
    assert row["url"] == "https://example.org/0"
    assert row["source_id"] == "<urn:uuid:00000000-0000-0000-0000-000000000000>"
    assert (row["date"], row["read_mime"]) == ("2024-06-07T00:00:00Z", "text/html")


def test_the_same_page_has_one_digest_however_it_was_sent() -> None:
    same = page(7)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(same), same)
    parts = [
        record(0, http(same)), record(1, http(chunked, "Transfer-Encoding: chunked", "X-Other: header")),
        record(2, http(gzip.compress(same, mtime=0), "Content-Encoding: gzip")), record(3, http(same + b" ")),
    ]  # fmt: skip
    digests = [row["content_digest"] for row in plain(parts).rows]
    assert digests[:3] == [xxhash.xxh3_128_hexdigest(same)] * 3 and digests[3] != digests[0]


def test_batches_are_schema_stable_and_bounded() -> None:
    read = plain(pages(10), batch_documents=4)
    assert [len(b) for b in read.batches] == [4, 4, 2]
    assert {b.schema for b in read.batches} == {read.batches[0].schema}
    big = plain([record(n, http(page(n, "x" * 700_000))) for n in range(4)], batch_mb=1)
    assert [len(b) for b in big.batches] == [2, 2]


@pytest.mark.parametrize("delta", [-60, -1, 1, 3, 200, 10**18])
@pytest.mark.parametrize("gz", [True, False])
def test_wrong_length_is_repaired_and_recorded(delta: int, gz: bool) -> None:
    parts = pages(6)
    block = http(page(2))
    parts[2] = record(2, block, length=len(block) + delta)
    read = Read(b"".join(member(p) if gz else p for p in parts), name="a.warc.gz" if gz else "a.warc")
    assert read.numbers == list(range(6))
    # A length that only takes in the line ends behind the block cannot be told from a right one.
    assert read.rows[2]["html"].rstrip("\r\n") == page(2).decode()
    assert read.errors == ({} if 0 < delta < 4 else {"warc.length": 1})


@pytest.mark.parametrize("value", ["-5", "", "12abc", "0x40", "１２", str(2**63), str(10**30)])
def test_length_that_is_no_number_is_repaired(value: str) -> None:
    parts = pages(3)
    parts[1] = record(1, http(page(1)), length=value)
    assert plain(parts).numbers == [0, 1, 2]
    assert Read(b"".join(member(p) for p in parts)).errors == {"warc.length": 1}


def test_block_shorter_than_its_http_header_says_is_quarantined() -> None:
    block = http(page(1), f"Content-Length: {len(page(1)) + 50}")
    read = Read(
        b"".join(map(member, [pages(1)[0], record(1, block, length=len(block) + 50), record(2, http(page(2)))]))
    )
    assert read.numbers == [0, 2]
    assert read.errors == {"warc.length": 1}


def test_plain_file_cut_in_a_record_loses_that_record_and_says_so() -> None:
    read = plain([*pages(3), pages(4)[3][:-30]])
    assert read.numbers == [0, 1, 2]
    assert read.errors == {"input.truncated": 1}


def test_warc_quoted_in_a_page_is_not_a_record() -> None:
    quoted = record(99, http(page(99))).decode()
    assert plain([pages(1)[0], record(1, http(page(1, f"\r\n\r\n{quoted}"))), pages(3)[2]]).numbers == [0, 1, 2]


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n" * 6])
def test_any_number_of_line_ends_may_stand_between_records(between: bytes) -> None:
    read = plain([p.removesuffix(b"\r\n\r\n") + between for p in pages(4)])
    assert read.numbers == [0, 1, 2, 3]
    assert read.errors == {}


def test_bytes_between_plain_records_cost_no_record() -> None:
    parts = pages(3)
    read = plain([parts[0], b"\0" * 500, parts[1].removesuffix(b"\r\n\r\n"), b"X\r\n\r\n", parts[2]])
    assert read.numbers[0] == 0 and read.numbers[-1] == 2


def test_line_feeds_and_odd_header_spellings_are_read() -> None:
    read = plain([record(n, http(page(n)), nl=b"\n").replace(b"WARC-Type", b"warc-TYPE") for n in range(3)])
    assert read.numbers == [0, 1, 2]
    assert read.warnings == {"warc.header": 1}


def test_address_in_brackets_or_with_a_space() -> None:
    read = plain([record(0, http(page(0)), url="<http://a.example/x>"), record(1, http(page(1)), url="http://a/b c")])
    assert [r["url"] for r in read.rows] == ["http://a.example/x", "http://a/b c"]


def test_missing_fields_are_warnings_and_nulls() -> None:
    bare = record(0, http(page(0)))
    for name in (b"WARC-Record-ID", b"WARC-Date", b"WARC-Target-URI"):
        bare = b"\r\n".join(line for line in bare.split(b"\r\n") if not line.startswith(name))
    read = plain([bare])
    assert (read.rows[0]["url"], read.rows[0]["date"], read.rows[0]["source_id"]) == (None, None, None)
    assert read.warnings == {"warc.header": 1}


def test_monster_header_costs_its_record() -> None:
    parts = pages(3)
    parts[1] = record(1, http(page(1)), "X-Long: " + "a" * 300_000)
    assert plain(parts).numbers == [0, 2]
    read = Read(b"".join(map(member, parts)))
    assert read.numbers == [0, 2]
    assert read.errors == {"limit.header-bytes": 1}


def test_record_beyond_the_limit_is_passed_over() -> None:
    parts = pages(3)
    parts[1] = record(1, http(page(1, "x" * 3_000_000)))
    for read in (plain(parts, record_mb=1), Read(b"".join(map(member, parts)), record_mb=1)):
        assert read.numbers == [0, 2]
        assert read.errors == {"limit.record-bytes": 1}
    parts[1] = record(1, http(b"x" * 3_000_000, kind="video/mp4"))
    read = plain(parts, record_mb=1)
    assert (read.errors, read.drops) == ({}, {"mime": 1})


def test_what_is_no_page_is_dropped_with_its_reason() -> None:
    html = page(0)
    read = plain(
        [
            record(0, http(html, status="HTTP/1.1 404 Not Found")),
            record(1, http(b"\x89PNG\r\n\x1a\n....", kind="image/png")),
            record(2, http(b"\x89PNG\r\n\x1a\n....", kind="text/html")),
            record(3, http(b"a { color: red }", kind="text/css")),
            record(4, http(b"")),
            record(5, b""),
        ]
    )
    assert read.drops == {"http_status": 1, "mime": 3, "empty": 2}
    values = [v for d in read.source.fates.drops for v in d.value.to_pylist()]
    assert values[0] == 404.0
    details = [v for d in read.source.fates.drops for v in d.detail.to_pylist()]
    assert details[1:4] == ["image/png", "image/png", "text/css"]


def test_kinds_that_are_no_pages_are_counted_by_kind() -> None:
    kinds = ["warcinfo", "request", "metadata", "revisit", "metadata"]
    read = plain([record(n, b"a: b\r\n", kind=k) for n, k in enumerate(kinds)])
    assert read.account.skipped == {"warcinfo": 1, "request": 1, "metadata": 2, "revisit": 1}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/xml", '<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html><p>mk00 </p></html>'),
        ("application/xhtml+xml", "<html><p>mk00 </p></html>"),
        ("application/xml", "<!-- c --><html xmlns='x'><p>mk00 </p></html>"),
        ("", "<!doctype html><p>mk00 </p>"),
        ("application/octet-stream", "  <html><p>mk00 </p></html>"),
    ],
)
def test_xhtml_and_unlabelled_html_are_pages(kind: str, body: str) -> None:
    assert plain([record(0, http(body.encode(), kind=kind))]).numbers == [0]


def test_other_xml_is_no_page() -> None:
    assert plain([record(0, http(b"<?xml version='1.0'?><rss/>", kind="text/xml"))]).drops == {"mime": 1}


def test_identified_type_comes_before_the_http_header() -> None:
    block = http(page(0), kind="application/json")
    read = plain([record(0, block, "WARC-Identified-Payload-Type: text/html")])
    assert read.rows[0]["read_mime"] == "text/html"


def test_resource_records_are_pages() -> None:
    assert plain([record(0, page(0), "Content-Type: text/html", kind="resource")]).numbers == [0]


def spellings(data: bytes) -> list[str]:
    sha1, sha256 = hashlib.sha1(data).digest(), hashlib.sha256(data).digest()
    return [
        "sha1:" + base64.b32encode(sha1).decode(),
        "sha1:" + sha1.hex(),
        "SHA-1:" + base64.b64encode(sha1).decode(),
        "sha256:" + sha256.hex(),
        "sha-256:" + base64.b32encode(sha256).decode(),
        "md5:" + hashlib.md5(data).hexdigest(),
        "blake3:0000",
        "sha1:not a digest",
        "nothing",
    ]


def test_right_digests_in_any_spelling_pass_and_wrong_ones_quarantine() -> None:
    for spelling in spellings(page(0)):
        assert plain([record(0, http(page(0)), f"WARC-Payload-Digest: {spelling}")]).numbers == [0], spelling
    for spelling in spellings(page(1))[:6]:
        read = plain([record(0, http(page(0)), f"WARC-Payload-Digest: {spelling}")])
        assert (read.numbers, read.errors) == ([], {"warc.digest": 1}), spelling
        relaxed = plain([record(0, http(page(0)), f"WARC-Payload-Digest: {spelling}")], verify_digests=False)
        assert relaxed.numbers == [0]


def test_digest_may_be_of_the_chunked_or_the_plain_body() -> None:
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(page(0)), page(0))
    block = http(chunked, "Transfer-Encoding: chunked")
    for data in (chunked, page(0)):
        read = plain([record(0, block, f"WARC-Payload-Digest: {spellings(data)[0]}")])
        assert (read.numbers, read.errors) == ([0], {})


def test_repeated_record_id_is_a_warning_and_both_are_kept() -> None:
    read = plain([record(7, http(page(0))), record(7, http(page(1)))])
    assert read.numbers == [0, 1]
    assert read.warnings == {"warc.duplicate-id": 1}
    assert len({r["id"] for r in read.rows}) == 2


# ---------------------------------------------------------------- development data
@pytest.fixture(scope="module")
def hostile(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    script = shared / "tools" / "make_bad_inputs.py"
    if not script.is_file():
        pytest.skip("make_bad_inputs.py not found in the development data (set CURATE_SHARED)")
    out = tmp_path_factory.mktemp("hostile")
    subprocess.run([sys.executable, str(script), str(out), "--small", "--kinds", "warc,wet"], check=True)
    cases = json.loads((out / "expectations.json").read_text(encoding="utf-8"))
    cases = cases if isinstance(cases, list) else cases["cases"]
    return out, {case["id"]: case for case in cases}


CASES = [f"F{n:02d}" for n in [*range(1, 32), *range(34, 43), *range(45, 49), *range(50, 62)]]


@pytest.mark.parametrize("case", CASES)
def test_hostile_file_is_read_as_expected(case: str, hostile: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    folder, cases = hostile
    expect, path = cases[case]["expect"], folder / cases[case]["file"]
    start = time.perf_counter()
    cls = WetSource if cases[case]["kind"] == "wet" else WarcSource
    read = Read(path.read_bytes(), cls, name=path.name)
    assert time.perf_counter() - start < expect["max_seconds"]
    texts = [row["text" if cls is WetSource else "html"] for row in read.rows]
    for marker in expect["must"]:
        assert sum(marker in text for text in texts) == 1, marker
    if case != "F28":
        for marker in expect["may"]:
            assert sum(marker in text for text in texts) <= 1, marker
    for marker in expect["never"]:
        assert not any(marker in text for text in texts if not marker.startswith("root:")), marker
    assert expect["readable_min"] <= len(texts) <= expect["readable_max"]
    for literal in expect.get("must_text", []):
        assert any(literal in text for text in texts)
    assert not any("\0" in text for text in texts)
    codes = [f.error for f in read.source.fates.failures]
    if expect["errors_min"]:
        assert sum(code.startswith(expect["error_class"]) for code in codes) >= expect["errors_min"]
    if "partial" not in expect["exit"]:
        assert not read.errors
    if "clean" not in expect["exit"]:
        assert read.errors


@pytest.mark.parametrize("case", ["F25", "F41", "F42"])
def test_bombs_do_not_take_memory(case: str, hostile: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    folder, cases = hostile
    path = folder / cases[case]["file"]
    tracemalloc.start()
    try:
        Read(path.read_bytes(), name=path.name)
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


def test_every_real_archive_is_read_and_accounted_for(shared: Path) -> None:
    import io
    import tarfile

    import zstandard

    folder = shared / "data" / "real_warc"
    index = {(e := json.loads(line))["file"]: e for line in (folder / "index.jsonl").read_text().splitlines()}
    data = zstandard.ZstdDecompressor().stream_reader((folder / "files.tar.zst").read_bytes()).read()
    seen = 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for item in tar:
            if not item.isfile():
                continue
            seen += 1
            entry = index[item.name]
            read = Read(tar.extractfile(item).read(), name=Path(item.name).name)  # type: ignore[union-attr]
            if item.name.endswith("clipped.warc.gz"):  # its only record is cut: other readers hand it over as whole
                assert read.errors == {"input.truncated": 1}
                continue
            best = max((entry.get(r) or {}).get("n") or 0 for r in ("warcio", "fastwarc2_no_http_parse"))
            assert read.account.records >= best, item.name
            assert read.account.records >= entry["warc_header_lines"], item.name
            assert read.account.records or read.errors, item.name
    assert seen == len(index)


def test_segments_are_named_in_the_ledger() -> None:
    whole = http(page(1, "w" * 200))
    parts = [
        record(0, http(page(0))),
        record(1, whole[:-100], "WARC-Segment-Number: 1"),
        record(2, whole[-100:], "WARC-Segment-Number: 2", "WARC-Segment-Total-Length: 300", kind="continuation"),
        record(3, http(page(3))),
    ]
    read = plain(parts)
    assert read.numbers == [0, 1, 3]
    assert read.account.skipped == {"continuation": 1}
    found = [(f.error, f.level, f.offset) for f in read.source.fates.failures]
    assert found == [
        ("warc.segmented", "warning", len(parts[0])), ("warc.segmented", "error", len(parts[0]) + len(parts[1])),
    ]  # fmt: skip
