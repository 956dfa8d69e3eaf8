"""HTTP headers and bodies as archives hold them: true labels, false labels, damage and bombs."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.sources.http import BodyError, Response, dechunk, declared_end, decode_body, parse_response


def packed(data: bytes) -> bytes:
    """gzip without the time, so that the names of tests do not change with the clock."""
    return gzip.compress(data, mtime=0)


PAGE = b"<html><body><p>some words of a page, and some more of them</p></body></html>"
CAP = 1 << 16


def decode(raw: bytes, coding: str = "", transfer: str = "", **options: int | bool) -> bytes:
    headers = {b"content-encoding": coding.encode(), b"transfer-encoding": transfer.encode()}
    limits = {"max_bytes": 8 << 20, "max_ratio": 200} | options
    return decode_body(raw, headers, **limits).data  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "status"),
    [("HTTP/1.1 200 OK", 200), ("HTTP/2 404", 404), ("ICY 200 OK", 200), ("HTTP/1.0 302 ", 302), ("200", 200),
     ("HTTP/1.1 OK", None), ("HTTP/1.1 2000 X", None)],
)  # fmt: skip
def test_status_lines(line: str, status: int | None) -> None:
    response = parse_response(f"{line}\r\nA: b\r\n\r\nbody".encode(), CAP)
    assert (response.status, response.headers) == (status, {b"a": b"b"})


def test_headers_are_lower_case_first_wins_and_folds_are_joined() -> None:
    block = b"HTTP/1.1 200 OK\nContent-Type: text/html;\n charset=x\ncontent-type: image/png\nno colon\n\nbody"
    response = parse_response(block, CAP)
    assert response.headers == {b"content-type": b"text/html; charset=x"}
    assert block[response.start :] == b"body"


def test_informational_responses_are_passed_over() -> None:
    block = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"
    response = parse_response(block, CAP)
    assert (response.status, block[response.start :]) == (200, b"body")


def test_block_without_a_header_is_all_body() -> None:
    assert parse_response(PAGE, CAP) == Response(None, {}, 0, well_formed=False)


def test_header_without_end_is_limited() -> None:
    with pytest.raises(BodyError, match=r"limit\.header-bytes"):
        parse_response(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, CAP)


def test_end_by_content_length() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    assert declared_end(head + b"x") == len(head) + 10
    assert declared_end(head.replace(b"10", b"-1")) is None
    assert declared_end(b"<html>") is None


def chunked(*parts: bytes, extension: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in parts) + end


def test_chunks_with_extensions_and_trailers() -> None:
    assert dechunk(chunked(b"abc", b"d" * 100, extension=b';a="b"')) == b"abc" + b"d" * 100
    assert dechunk(chunked(b"abc", end=b"0\r\nX-Trailer: 1\r\n\r\n")) == b"abc"
    assert dechunk(chunked(b"abc", end=b"")) == b"abc"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6))
def test_any_chunking_gives_back_the_body(parts: list[bytes]) -> None:
    assert dechunk(chunked(*parts)) == b"".join(parts)


def test_false_chunked_label_keeps_the_body() -> None:
    assert decode(PAGE, transfer="chunked") == PAGE
    assert decode(b"cafe\r\nis not a size of what follows", transfer="chunked", cut=True) != b""


@pytest.mark.parametrize("bad", [b"500\r\n" + PAGE, b"10000000000000000\r\nabc", chunked(b"abc", end=b"zz\r\n")])
def test_broken_chunks_are_errors(bad: bytes) -> None:
    try:
        assert decode(bad, transfer="chunked") == bad  # what cannot be chunk framing at all stays as it is
    except BodyError as error:
        assert error.code == "http.chunked"


def deflate_raw(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    return coder.compress(data) + coder.flush()


@pytest.mark.parametrize(
    ("coding", "raw"),
    [
        ("gzip", packed(PAGE)),
        ("x-gzip", packed(PAGE[:30]) + packed(PAGE[30:])),
        ("deflate", zlib.compress(PAGE)),
        ("deflate", deflate_raw(PAGE)),
        ("br", brotli.compress(PAGE)),
        ("zstd", zstandard.ZstdCompressor().compress(PAGE)),
        ("gzip, gzip", packed(packed(PAGE))),
        ("gzip", packed(packed(PAGE))),
        ("br, gzip", packed(brotli.compress(PAGE))),
        ("", packed(PAGE)),
        ("identity", PAGE),
        ("gzip", PAGE),
        ("br", PAGE),
        ("deflate", PAGE),
        ("zstd", PAGE),
        ("x-unknown", PAGE),
    ],
)
def test_codings_true_false_and_missing(coding: str, raw: bytes) -> None:
    assert decode(raw, coding) == PAGE


@pytest.mark.parametrize(
    ("coding", "raw"),
    [
        ("gzip", packed(PAGE)[:-20]),
        ("br", brotli.compress(PAGE * 9)[:-9]),
        ("zstd", zstandard.ZstdCompressor().compress(PAGE)[:-9]),
        ("gzip", packed(PAGE)[:30] + b"\0\xff" * 20),
        ("gzip", b"\0\1\2\3" * 50),
        ("gzip, gzip, gzip", packed(packed(packed(PAGE)))),
    ],
)
def test_damaged_codings_are_errors_never_noise(coding: str, raw: bytes) -> None:
    with pytest.raises(BodyError, match=r"http\.coding"):
        decode(raw, coding)


def test_stored_beginning_of_a_coded_body_is_taken_if_the_archive_says_so() -> None:
    assert PAGE.startswith(decode(packed(PAGE)[:-20], "gzip", cut=True)[:20])


@pytest.mark.parametrize(
    ("coding", "raw"),
    [
        ("gzip", packed(b" " * (4 << 20))),
        ("deflate", zlib.compress(b" " * (4 << 20))),
        ("br", brotli.compress(b" " * (4 << 20))),
        ("zstd", zstandard.ZstdCompressor().compress(b" " * (4 << 20))),
        ("gzip, gzip", packed(packed(b" " * (4 << 20)))),
    ],
)
def test_expansion_beyond_the_ratio_is_refused_above_one_mib_only(coding: str, raw: bytes) -> None:
    with pytest.raises(BodyError, match=r"limit\.decoded-bytes"):
        decode(raw, coding)
    assert len(decode(raw, coding, max_ratio=1_000_000)) == 4 << 20
    assert len(decode(packed(b" " * 900_000), "gzip")) == 900_000


def test_decoded_bytes_are_limited() -> None:
    with pytest.raises(BodyError, match=r"limit\.decoded-bytes"):
        decode(packed(b" " * 5000), "gzip", max_bytes=4999)
