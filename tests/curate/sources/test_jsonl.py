"""JSON lines: one bad line costs one line, one bad member or frame costs that."""

from __future__ import annotations

import gzip
import json
import random
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xxhash
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.documents import document_id
from curate.errors import ConfigError
from curate.sources.base import ReadOptions
from curate.sources.decompress import Gap
from curate.sources.lines import Fragment, Lines, LongLine, split_lines
from tests.curate.sources.reading import read


def lines_of(n: int, start: int = 0, **more: Any) -> bytes:
    return b"".join(
        json.dumps({"id": f"i{i}", "text": f"text {i} é", "url": f"https://e.org/{i}", **more}).encode() + b"\n"
        for i in range(start, start + n)
    )


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


CASES = [f"F{i}" for i in range(62, 87)] + ["F109"]
#: cases that only bite with a limit below the small files' sizes
OPTIONS = {"F73": ReadOptions(line_mb=4), "F84": ReadOptions(line_mb=4), "F86": ReadOptions(line_mb=4)}


@pytest.mark.parametrize("case", CASES)
def test_hostile_file_meets_its_expectation(bad_files: tuple[Path, dict[str, Any]], case: str) -> None:
    root, cases = bad_files
    expect = cases[case]["expect"]
    result = read(root / cases[case]["file"], "jsonl", OPTIONS.get(case))
    for marker in expect["must"]:
        # F82: one clear error in place of a 1 GiB window is allowed.
        times = sum(marker in text for text in result.texts)
        assert case == "F82" or times == 1 or (times and expect.get("may_any"))
    for marker in expect["never"]:
        assert not any(marker in text for text in result.texts)
        assert marker not in "".join(str(f.detail) for f in result.failures)
    assert expect["readable_min"] <= len(result.rows) <= expect["readable_max"]
    assert len(result.failures) + result.dropped >= expect["errors_min"]
    if "clean" not in expect["exit"]:
        assert result.errors
        exact = {"F70": "json.utf8", "F71": "schema.text", "F74": "json.not-object"}.get(case, expect["error_class"])
        assert exact in result.errors
    if expect["exit"] == ["clean"]:
        assert not result.errors


def test_ids_are_made_of_source_and_offset(tmp_path: Path) -> None:
    first, second = lines_of(1), lines_of(1, 1)
    result = read(write(tmp_path / "a.jsonl", first + second), "jsonl", source="x/a.jsonl")
    assert [row["id"] for row in result.rows] == [document_id("x/a.jsonl", 0), document_id("x/a.jsonl", len(first))]
    assert [row["offset"] for row in result.rows] == [0, len(first)]
    assert [row["length"] for row in result.rows] == [len(first), len(second)]
    assert [row["source_id"] for row in result.rows] == ["i0", "i1"]


@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_compression_changes_no_row(tmp_path: Path, pack: Any) -> None:
    data = lines_of(3000, more={"a": [1, 2]})
    plain = read(write(tmp_path / "p.jsonl", data), "jsonl", source="s").rows
    assert read(write(tmp_path / "q.jsonl", pack(data)), "jsonl", source="s").rows == plain


def test_rows_do_not_depend_on_batch_size(tmp_path: Path) -> None:
    data = b"".join(
        json.dumps(
            {"text": f"t{i}", **({"late": i} if i % 7 == 0 else {}), "mixed": [i, i / 2, str(i)][i % 3]}
        ).encode()
        + (b"\nnot json\n" if i % 11 == 0 else b"\n")
        for i in range(300)
    )
    path = write(tmp_path / "a.jsonl", data)
    rows = read(path, "jsonl").rows
    for documents in (1, 7, 1000):
        assert read(path, "jsonl", ReadOptions(batch_documents=documents)).rows == rows


def test_key_that_first_occurs_late_is_not_lost(tmp_path: Path) -> None:
    data = lines_of(600) + b'{"text": "late", "score": 2, "tags": ["a"]}\n{"text": "later", "score": "high"}\n'
    rows = read(write(tmp_path / "a.jsonl", data), "jsonl").rows
    assert rows[0]["extra"] is None
    assert json.loads(rows[600]["extra"]) == {"score": 2, "tags": ["a"]}
    assert json.loads(rows[601]["extra"]) == {"score": "high"}


def test_carried_fields_become_typed_columns(tmp_path: Path) -> None:
    data = b'{"text": "a", "dump": "CC", "score": 1}\n{"text": "b", "score": "no", "k": true}\n{"text": "c"}\n'
    options = ReadOptions(carry={"dump": "string", "score": "float64"})
    result = read(write(tmp_path / "a.jsonl", data), "jsonl", options)
    assert [(r["dump"], r["score"], r["extra"]) for r in result.rows] == [
        ("CC", 1.0, None),
        (None, None, '{"score":"no","k":true}'),
        (None, None, None),
    ]
    assert result.warnings == ["schema.carry"]


def test_carry_may_not_take_our_own_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source"):
        read(write(tmp_path / "a.jsonl", b""), "jsonl", ReadOptions(carry={"source": "string"}))


def test_named_columns_and_date(tmp_path: Path) -> None:
    data = b'{"content": "x", "docid": 7, "link": "https://e.org", "when": "2024-01-02", "text": "other", "id": "z"}\n'
    options = ReadOptions(text_column="content", id_column="docid", url_column="link", date_column="when")
    (row,) = read(write(tmp_path / "a.jsonl", data), "jsonl", options).rows
    assert (row["text"], row["source_id"], row["url"], row["date"]) == ("x", "7", "https://e.org", "2024-01-02")
    assert json.loads(row["extra"]) == {"text": "other", "id": "z"}


def test_integers_beyond_64_bits_are_carried_exactly(tmp_path: Path) -> None:
    data = b'{"text": "a", "n": 18446744073709551617, "f": 1e300}\n'
    (row,) = read(write(tmp_path / "a.jsonl", data), "jsonl").rows
    assert json.loads(row["extra"]) == {"n": 18446744073709551617, "f": 1e300}


def test_surrogates_and_nul_are_replaced_with_a_warning(tmp_path: Path) -> None:
    data = b'{"text": "a\\ud800b", "x": "\\udfff"}\n{"text": "c\\u0000d"}\n'
    data += b'{"text": "\\ud83d\\ude00"}\n{"text": "\\u0000"}\n'
    result = read(write(tmp_path / "a.jsonl", data), "jsonl")
    assert result.texts == ["a\ufffdb", "cd", "\U0001f600"]
    assert result.dropped == 1
    warned = [f for f in result.failures if f.error == "text.surrogate"]
    assert [f.level for f in warned] == ["warning"]
    assert warned[0].rows is not None
    assert warned[0].rows.num_rows == 3


def test_nan_becomes_null_and_is_told(tmp_path: Path) -> None:
    result = read(write(tmp_path / "a.jsonl", b'{"text": "a", "s": NaN, "t": -Infinity}\n'), "jsonl")
    assert json.loads(result.rows[0]["extra"]) == {"s": None, "t": None}
    assert result.warnings == ["json.number"]


def test_text_over_the_limit_costs_its_line(tmp_path: Path) -> None:
    big = json.dumps({"text": "y" * (1 << 20) + "z"}).encode() + b"\n"
    result = read(write(tmp_path / "a.jsonl", lines_of(2) + big + lines_of(2, 2)), "jsonl", ReadOptions(text_mb=1))
    assert len(result.rows) == 4
    assert result.errors == ["limit.text-bytes"]


def test_depth_limit_counts_nesting_not_brackets(tmp_path: Path) -> None:
    wide = json.dumps({"text": "wide", "x": [[1]] * 200}).encode() + b"\n"
    deep = b'{"text": "deep", "x": ' + b"[" * 80 + b"]" * 80 + b"}\n"
    result = read(write(tmp_path / "a.jsonl", wide + deep), "jsonl")
    assert result.texts == ["wide"]
    assert result.errors == ["json.depth"]


def test_other_formats_are_refused_by_name(tmp_path: Path) -> None:
    result = read(write(tmp_path / "a.jsonl", b"PAR1" + bytes(100)), "jsonl")
    assert result.errors == ["input.format"]
    assert "parquet" in str(result.failures[0].detail)


def test_file_of_bad_lines_is_bounded_in_memory_by_batches(tmp_path: Path) -> None:
    result = read(write(tmp_path / "a.jsonl", b"nope\n" * 2000), "jsonl")
    assert result.errors == ["json.syntax"] * 2000


# -- damaged gzip ------------------------------------------------------------------------------------------------------


def members(n: int, level: int = 6) -> list[bytes]:
    return [gzip.compress(lines_of(10, 10 * i), level, mtime=0) for i in range(n)]


@pytest.mark.parametrize("damage", ["magic", "middle", "crc"])
def test_damaged_gzip_member_costs_that_member(tmp_path: Path, damage: str) -> None:
    parts = members(6)
    at = {"magic": 0, "middle": 30, "crc": len(parts[2]) - 6}[damage]
    broken = bytearray(parts[2])
    broken[at] ^= 0xFF
    start = len(parts[0]) + len(parts[1])
    result = read(write(tmp_path / "a.jsonl.gz", b"".join([*parts[:2], bytes(broken), *parts[3:]])), "jsonl")
    assert [row["source_id"] for row in result.rows] == [f"i{i}" for i in range(60) if not 20 <= i < 30]
    assert result.errors == ["input.corrupt"]
    assert result.source.account.rejected == [(start, len(broken))]


def test_text_before_a_flip_in_a_large_member_is_delivered(tmp_path: Path) -> None:
    random_ = random.Random(5)
    data = b"".join(
        json.dumps({"id": str(i), "text": f"{i} {random_.randbytes(40).hex()}"}).encode() + b"\n" for i in range(20_000)
    )
    packed = bytearray(gzip.compress(data, 6, mtime=0))
    middle = len(packed) // 2
    packed[middle : middle + 40] = bytes(40)
    result = read(write(tmp_path / "a.jsonl.gz", bytes(packed)), "jsonl")
    good = set(data.split(b"\n"))
    for row in result.rows:
        assert json.dumps({"id": row["source_id"], "text": row["text"]}).encode() in good
    assert "input.corrupt" in result.errors


def test_cut_gzip_delivers_all_whole_lines(tmp_path: Path) -> None:
    parts = members(3)
    result = read(write(tmp_path / "a.jsonl.gz", b"".join(parts)[:-4]), "jsonl")
    assert len(result.rows) == 30  # only the trailer of the last member is missing
    assert result.errors == ["input.truncated"]


def test_zero_padding_between_gzip_members_is_accepted(tmp_path: Path) -> None:
    parts = members(2)
    result = read(write(tmp_path / "a.jsonl.gz", parts[0] + bytes(7) + parts[1] + bytes(512)), "jsonl")
    assert len(result.rows) == 20
    assert not result.failures


def test_line_that_spans_two_gzip_members_is_whole(tmp_path: Path) -> None:
    data = lines_of(4)
    cut = len(data) // 2 + 3
    result = read(write(tmp_path / "a.jsonl.gz", gzip.compress(data[:cut]) + gzip.compress(data[cut:])), "jsonl")
    assert len(result.rows) == 4


def test_gzip_bomb_without_newline_costs_a_line(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * (20 << 20), 9)
    data = gzip.compress(lines_of(2)) + bomb + gzip.compress(b"\n" + lines_of(2, 2))
    result = read(write(tmp_path / "a.jsonl.gz", data), "jsonl", ReadOptions(line_mb=4))
    assert len(result.rows) == 4
    assert result.errors == ["limit.line-bytes"]


# -- damaged zstd ------------------------------------------------------------------------------------------------------


def frames(n: int) -> list[bytes]:
    packer = zstandard.ZstdCompressor(level=3, write_checksum=True)
    return [packer.compress(lines_of(10, 10 * i)) for i in range(n)]


@pytest.mark.parametrize("damage", ["magic", "block", "content", "checksum"])
def test_damaged_zstd_frame_costs_that_frame(tmp_path: Path, damage: str) -> None:
    parts = frames(6)
    at = {"magic": 1, "block": 8, "content": 60, "checksum": len(parts[2]) - 2}[damage]
    broken = bytearray(parts[2])
    broken[at] ^= 0xFF
    start = len(parts[0]) + len(parts[1])
    result = read(write(tmp_path / "a.jsonl.zst", b"".join([*parts[:2], bytes(broken), *parts[3:]])), "jsonl")
    assert [row["source_id"] for row in result.rows] == [f"i{i}" for i in range(60) if not 20 <= i < 30]
    assert result.errors == ["input.corrupt"]
    assert result.source.account.rejected == [(start, len(broken))]


@pytest.mark.parametrize("keep", [5, 9, 17, 100, -1])
def test_cut_zstd_is_noticed_wherever_it_is_cut(tmp_path: Path, keep: int) -> None:
    parts = frames(2)
    result = read(write(tmp_path / "a.jsonl.zst", parts[0] + parts[1][:keep]), "jsonl")
    assert len(result.rows) >= 10
    assert len(result.errors) == 1
    assert result.errors[0] in ("input.truncated", "input.corrupt")


def test_skippable_frame_that_claims_too_much_is_truncation(tmp_path: Path) -> None:
    skip = struct.pack("<II", 0x184D2A50, 1 << 31) + b"hello"
    result = read(write(tmp_path / "a.jsonl.zst", frames(1)[0] + skip), "jsonl")
    assert len(result.rows) == 10
    assert result.errors == ["input.truncated"]


def test_zstd_dictionary_frame_is_an_error_not_a_crash(tmp_path: Path) -> None:
    words = zstandard.train_dictionary(2048, [lines_of(3, i) for i in range(500)])
    packed = zstandard.ZstdCompressor(dict_data=words).compress(lines_of(10))
    result = read(write(tmp_path / "a.jsonl.zst", packed + frames(1)[0]), "jsonl")
    assert len(result.rows) == 10
    assert result.errors == ["input.corrupt"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 10_000),
    value=st.integers(1, 255),
    pack=st.sampled_from(["gz", "zst", "plain"]),
    cut=st.booleans(),
)
def test_no_single_damage_gives_wrong_text_or_breaks_the_account(
    tmp_path: Path, at: int, value: int, pack: str, cut: bool
) -> None:
    data = {"gz": b"".join(members(4)), "zst": b"".join(frames(4)), "plain": lines_of(40)}[pack]
    at %= len(data)
    damaged = bytearray(data)
    damaged[at] ^= value
    name = "a.jsonl" if pack == "plain" else f"a.jsonl.{pack}"
    result = read(write(tmp_path / name, bytes(data[:at] if cut else damaged)), "jsonl")
    if pack != "plain":
        assert set(result.texts) <= {f"text {i} é" for i in range(40)}
        assert len(result.rows) >= (0 if cut else 30)


def test_member_whose_end_is_hidden_costs_that_member(tmp_path: Path) -> None:
    # A flipped bit in the end-of-block code of the first member: the inflater runs on through the others.
    parts = members(4)
    damaged = bytearray(b"".join(parts))
    damaged[139] ^= 8
    result = read(write(tmp_path / "a.jsonl.gz", bytes(damaged)), "jsonl")
    assert result.texts == [f"text {i} é" for i in range(10, 40)]
    assert result.errors == ["input.corrupt"]
    assert result.source.account.rejected == [(0, len(parts[0]))]


def test_text_field_twice_in_a_line_is_a_warning(tmp_path: Path) -> None:
    lines = [
        b'{"text": "first", "text": "second"}',
        b'{"text": "one", "note": {"text": "below"}}',
        b'{"text": "says \\"text\\" itself"}',
    ]
    result = read(write(tmp_path / "a.jsonl", b"\n".join(lines) + b"\n"), "jsonl")
    assert result.texts == ["second", "one", 'says "text" itself']
    (failure,) = result.source.fates.failures
    assert (failure.error, failure.level, failure.detail[:7]) == ("json.duplicate-key", "warning", "1 lines")


# -- framing -----------------------------------------------------------------------------------------------------------


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 100), max_size=6),
    limit=st.integers(3, 14),
)
def test_framing_does_not_depend_on_blocks(lines: list[bytes], cuts: list[int], limit: int) -> None:
    data = b"\n".join(lines)
    edges = sorted({min(c, len(data)) for c in cuts} | {0, len(data)})
    blocks = [data[a:b] for a, b in pairwise(edges)]
    offset, short, long = 0, [], []
    for i, line in enumerate(lines):
        ended = i < len(lines) - 1
        if len(line) > limit:
            long.append((offset, len(line) + ended))
        elif line or ended:
            short.append((offset, line))
        offset += len(line) + 1
    got_short, got_long = [], []
    for part in split_lines(blocks, limit):
        if isinstance(part, LongLine):
            got_long.append((part.offset, part.length))
        elif isinstance(part, Lines):
            at = part.offset
            for line in part.lines:
                got_short.append((at, line))
                at += len(line) + 1
    assert (got_short, got_long) == (short, long)


def test_gap_leaves_a_fragment_and_marks_the_next_line_as_torn() -> None:
    parts = list(split_lines([b"one\ntw", Gap(5), b"il\nthree\n"], 100))
    assert parts == [Lines(0, [b"one"]), Fragment(4, 2), Lines(11, [b"il", b"three"], torn=True)]


def test_schema_is_documented() -> None:
    from curate.sources.jsonl import JsonlSource

    schema = JsonlSource.schema(ReadOptions())
    assert schema.names == ["id", "url", "source", "offset", "length", "source_id", "text", "extra"]
    assert schema.field("extra").type == pa.string()
    assert all(field.metadata[b"doc"] for field in schema)


def test_what_was_fetched_is_known_by_its_digest_alone(tmp_path: Path) -> None:
    pages = ["<p>one</p>", "<p>one</p>", "<p>zwei ä</p>", None, {"a": 1}]
    data = "".join(json.dumps({"text": "t", "page": page, "x": 1}) + "\n" for page in pages) + '{"text": "t"}\n'
    rows = read(write(tmp_path / "a.jsonl", data.encode()), "jsonl", ReadOptions(content_column="page")).rows
    one, other, same = (xxhash.xxh3_128_hexdigest(p.encode()) for p in ("<p>one</p>", "<p>zwei ä</p>", '{"a":1}'))
    assert [row["content_digest"] for row in rows] == [one, one, other, None, same, None]
    assert [row["extra"] for row in rows] == ['{"x":1}'] * 5 + [None]


def test_the_text_itself_may_be_what_was_fetched(tmp_path: Path) -> None:
    data = b'{"html": "<p>a</p>", "deep": [[[[1]]]]}\n{"html": "<p>a</p>"}\n'
    options = ReadOptions(text_column="html", content_column="html", json_depth=3)
    (row,) = read(write(tmp_path / "a.jsonl", data), "jsonl", options).rows
    assert (row["text"], row["content_digest"]) == ("<p>a</p>", xxhash.xxh3_128_hexdigest(b"<p>a</p>"))
