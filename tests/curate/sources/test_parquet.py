"""Parquet: a damaged chunk costs a column or a row group, a broken footer costs the file."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from curate.documents import document_id
from curate.sources.base import ReadOptions
from tests.curate.sources.reading import read

CASES = [f"F{i}" for i in [*range(87, 102), 103]]


@pytest.mark.parametrize("case", CASES)
def test_hostile_file_meets_its_expectation(bad_files: tuple[Path, dict[str, Any]], case: str) -> None:
    root, cases = bad_files
    expect = cases[case]["expect"]
    result = read(root / cases[case]["file"], "parquet")
    for marker in expect["must"]:
        times = sum(marker in text for text in result.texts)
        assert times == 1 or (times and expect.get("may_any"))
    for marker in expect["never"]:
        assert not any(marker in text for text in result.texts)
    assert expect["readable_min"] <= len(result.rows) <= expect["readable_max"]
    assert len(result.failures) + result.dropped >= expect["errors_min"]
    if "clean" not in expect["exit"]:
        assert expect["error_class"] in result.errors
    if expect["exit"] == ["clean"]:
        assert not result.errors


def test_folder_of_differing_schemas_loses_only_what_is_wrong(bad_files: tuple[Path, dict[str, Any]]) -> None:
    root, cases = bad_files
    found = {p.name: read(p, "parquet") for p in sorted((root / cases["F102"]["file"]).iterdir())}
    assert [len(found[n].rows) for n in sorted(found)] == [5, 0, 5, 0]
    assert [found[n].errors for n in sorted(found)] == [[], ["schema.text"], [], ["parquet.footer"]]
    assert [json.loads(row["extra"]) for row in found["c.parquet"].rows] == [{"extra": 1.5}] * 5


def table(count: int, /, **more: Any) -> pa.Table:
    texts = {"id": [f"i{i}" for i in range(count)], "text": [f"text {i} é" for i in range(count)]}
    return pa.table({**texts, "url": ["https://e.org"] * count, **more})


def save(path: Path, data: pa.Table, **options: Any) -> Path:
    pq.write_table(data, path, **options)
    return path


def test_ids_are_made_of_source_and_row(tmp_path: Path) -> None:
    rows = read(save(tmp_path / "a.parquet", table(5), row_group_size=2), "parquet", source="x/a.parquet").rows
    assert [row["id"] for row in rows] == [document_id("x/a.parquet", i) for i in range(5)]
    assert [(row["offset"], row["length"], row["source_id"]) for row in rows] == [(i, 1, f"i{i}") for i in range(5)]
    assert [row["extra"] for row in rows] == [None] * 5


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"compression": "gzip"}, {"row_group_size": 70}])
def test_rows_do_not_depend_on_layout_or_batches(tmp_path: Path, options: dict[str, Any]) -> None:
    plain = read(save(tmp_path / "p.parquet", table(500, n=range(500))), "parquet", source="s").rows
    path = save(tmp_path / "q.parquet", table(500, n=range(500)), **options)
    for documents in (1, 33, 512):
        assert read(path, "parquet", ReadOptions(batch_documents=documents), source="s").rows == plain


@pytest.mark.parametrize(
    "type_",
    [pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())],
)
def test_any_kind_of_string_is_text(tmp_path: Path, type_: pa.DataType) -> None:
    values = pa.array(["a", None, "é", ""], pa.string())
    text = values.dictionary_encode() if pa.types.is_dictionary(type_) else values.cast(type_)
    result = read(save(tmp_path / "a.parquet", pa.table({"text": text})), "parquet")
    assert result.texts == ["a", "é"]
    assert result.dropped == 2


def test_other_columns_are_carried_as_json(tmp_path: Path) -> None:
    data = table(
        1,
        n=pa.array([2**63 - 1]),
        f=pa.array([1.5], pa.float32()),
        b=pa.array([True]),
        none=pa.array([None], pa.string()),
        raw=pa.array([b"\xff\x00"]),
        day=pa.array([datetime.date(2024, 1, 2)]),
        ns=pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "Asia/Tokyo")),
        price=pa.array([decimal.Decimal("1.20")]),
        nest=pa.array([{"a": [1, None], "b": {"c": "x"}}]),
        map=pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
    )
    (row,) = read(save(tmp_path / "a.parquet", data), "parquet").rows
    assert json.loads(row["extra"]) == {
        "n": 2**63 - 1,
        "f": 1.5,
        "b": True,
        "none": None,
        "raw": "/wA=",
        "day": "2024-01-02",
        "ns": "2023-11-14T22:13:20.123456+00:00",
        "price": "1.20",
        "nest": {"a": [1, None], "b": {"c": "x"}},
        "map": [["k", 1]],
    }


def test_column_names_with_dots_are_not_mistaken_for_paths(tmp_path: Path) -> None:
    data = pa.table({"text": ["x"], "text.a": ["y"], "meta": [{"text": "z"}], "meta.text": ["w"]})
    (row,) = read(save(tmp_path / "a.parquet", data), "parquet").rows
    assert row["text"] == "x"
    assert json.loads(row["extra"]) == {"text.a": "y", "meta": {"text": "z"}, "meta.text": "w"}


def test_carried_named_and_dated_columns(tmp_path: Path) -> None:
    data = pa.table(
        {
            "body": ["a", "b"],
            "key": pa.array([1, None], pa.int32()),
            "when": [datetime.datetime(2024, 1, 2, 3, 4), None],
            "score": [1, 2],
        }
    )
    options = ReadOptions(text_column="body", id_column="key", date_column="when", carry={"score": "float64"})
    rows = read(save(tmp_path / "a.parquet", data), "parquet", options).rows
    assert [(r["text"], r["source_id"], r["date"], r["score"], r["extra"]) for r in rows] == [
        ("a", "1", "2024-01-02T03:04:00", 1.0, None),
        ("b", None, None, 2.0, None),
    ]


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.string(), pa.dictionary(pa.int8(), pa.string())])
def test_what_was_fetched_is_known_by_its_digest_alone(tmp_path: Path, type_: pa.DataType) -> None:
    raw = b"caf\xe9" if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) else b"caf\xc3\xa9"
    page = pa.array([raw, None], pa.binary())
    page = page.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(type_) else page.cast(type_)
    data = pa.table({"text": ["a", "b"], "page": page})
    rows = read(save(tmp_path / "a.parquet", data), "parquet", ReadOptions(content_column="page")).rows
    assert [row["content_digest"] for row in rows] == [xxhash.xxh3_128_hexdigest(raw), None]
    assert [row["extra"] for row in rows] == [None, None]


@pytest.mark.parametrize("rows_per_group", [1, 2, 6])
def test_a_value_that_does_not_fit_stays_in_extra_of_its_row_only(tmp_path: Path, rows_per_group: int) -> None:
    data = pa.table({"text": list("abcdef"), "score": [1.0, 2.5, None, 4.0, 5.0, 6.0], "n": [1, 2, 3, 4, 5, 6]})
    path = save(tmp_path / "a.parquet", data, row_group_size=rows_per_group)
    options = ReadOptions(carry={"score": "int64", "n": "int64"}, batch_documents=4)
    result = read(path, "parquet", options)
    assert [(r["score"], r["n"], r["extra"]) for r in result.rows] == [
        (1, 1, None), (None, 2, '{"score":2.5}'), (None, 3, None), (4, 4, None), (5, 5, None), (6, 6, None),
    ]  # fmt: skip
    assert [f.detail[:8] for f in result.failures] == ["1 values"]


def flip_in(path: Path, column: int, group: int) -> None:
    """Flip a bit in the middle of one column chunk."""
    chunk = pq.ParquetFile(path).metadata.row_group(group).column(column)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size * 3 // 4] ^= 1
    path.write_bytes(bytes(data))


PLAIN = {"use_dictionary": False, "compression": "none", "write_page_checksum": True}


def test_damage_in_the_text_costs_its_row_group(tmp_path: Path) -> None:
    path = save(tmp_path / "a.parquet", table(30, n=range(30)), row_group_size=10, **PLAIN)
    flip_in(path, 1, 1)
    result = read(path, "parquet")
    assert [row["source_id"] for row in result.rows] == [f"i{i}" for i in [*range(10), *range(20, 30)]]
    assert [row["offset"] for row in result.rows] == [*range(10), *range(20, 30)]
    assert result.errors == ["parquet.checksum"]


def test_damage_in_another_column_costs_that_column_only(tmp_path: Path) -> None:
    path = save(tmp_path / "a.parquet", table(30, n=range(30)), row_group_size=10, **PLAIN)
    flip_in(path, 2, 1)
    result = read(path, "parquet")
    assert [row["source_id"] for row in result.rows] == [f"i{i}" for i in range(30)]
    assert [row["url"] is None for row in result.rows] == [10 <= i < 20 for i in range(30)]
    assert json.loads(result.rows[15]["extra"]) == {"n": 15}
    assert result.errors == ["parquet.checksum"]


def test_pages_before_the_damage_are_delivered(tmp_path: Path) -> None:
    path = save(tmp_path / "a.parquet", table(4000), data_page_size=1000, write_batch_size=50, **PLAIN)
    flip_in(path, 1, 0)
    result = read(path, "parquet", ReadOptions(batch_documents=64))
    assert 2000 < len(result.rows) < 4000
    assert result.texts == [f"text {i} é" for i in range(len(result.rows))]
    assert result.errors == ["parquet.checksum"]


def test_every_cut_is_an_error_and_no_crash(tmp_path: Path) -> None:
    data = save(tmp_path / "a.parquet", table(20)).read_bytes()
    for end in range(0, len(data), 97):
        path = tmp_path / "cut.parquet"
        path.write_bytes(data[:end])
        assert read(path, "parquet").errors == ["parquet.footer"]


def test_flipped_footer_never_crashes_and_stays_accounted(tmp_path: Path) -> None:
    data = save(tmp_path / "a.parquet", table(20)).read_bytes()
    footer = int.from_bytes(data[-8:-4], "little")
    for at in range(len(data) - 8 - footer, len(data), 23):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        path = tmp_path / "flip.parquet"
        path.write_bytes(bytes(damaged))
        assert len(read(path, "parquet").rows) <= 20


def test_long_dictionary_values_are_read_in_bounded_pieces(tmp_path: Path) -> None:
    values = [c * (1 << 20) for c in "abcd"]
    path = save(tmp_path / "a.parquet", pa.table({"text": values * 12}), dictionary_pagesize_limit=1 << 26)
    result = read(path, "parquet", ReadOptions(batch_mb=8))
    assert [text[0] for text in result.texts] == list("abcd" * 12)


def test_nul_in_text_is_removed_with_a_warning(tmp_path: Path) -> None:
    result = read(save(tmp_path / "a.parquet", pa.table({"text": ["a\0b", "c", "\0"]})), "parquet")
    assert result.texts == ["ab", "c"]
    assert result.warnings == ["text.surrogate"]
