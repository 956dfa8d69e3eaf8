"""Shards: whole or absent, digested by content, checked when read."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import EnvironmentGone
from curate.store.digests import TableDigest
from curate.store.failpoints import arm
from curate.store.folder import LocalFolder, open_folder
from curate.store.shards import ShardWriter, digest_shard, write_shard

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int32()), ("flag", pa.bool_()), ("tags", pa.list_(pa.string()))])

rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))),
            "n": st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
            "flag": st.one_of(st.none(), st.booleans()),
            "tags": st.one_of(st.none(), st.lists(st.text("ab", max_size=3), max_size=3)),
        }
    ),
    max_size=20,
)


def digest(rows: list[dict], cuts: list[int]) -> str:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    found = TableDigest(SCHEMA)
    edges = sorted({0, len(rows), *(c % (len(rows) + 1) for c in cuts)})
    for a, b in itertools.pairwise(edges):
        for batch in table.slice(a, b - a).to_batches():
            found.update(batch)
    return found.hexdigest()


@settings(max_examples=60, deadline=None)
@given(rows_strategy, st.lists(st.integers(0, 100), max_size=4))
def test_digest_does_not_depend_on_batch_boundaries(rows: list[dict], cuts: list[int]) -> None:
    assert digest(rows, cuts) == digest(rows, [])


@settings(max_examples=60, deadline=None)
@given(rows_strategy, rows_strategy)
def test_digest_tells_different_rows_apart(a: list[dict], b: list[dict]) -> None:
    assert (digest(a, []) == digest(b, [])) == (a == b)


def test_null_and_empty_string_have_different_digests() -> None:
    assert digest([{"id": None}], []) != digest([{"id": ""}], [])


def test_a_shard_reads_back_as_written(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    rows = [{"id": "é\u2028x", "n": 1, "flag": None, "tags": ["a"]}, {"id": "b", "n": None, "flag": True, "tags": []}]
    output = write_shard(folder, "x/00000.parquet", SCHEMA, pa.Table.from_pylist(rows, schema=SCHEMA).to_batches())
    assert folder.table("x/00000.parquet").to_pylist() == rows
    assert digest_shard(folder, "x/00000.parquet") == (2, output.digest)


def test_an_empty_shard_is_a_valid_file_with_its_schema(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    output = write_shard(folder, "empty.parquet", SCHEMA, [])
    assert output.rows == 0
    assert folder.table("empty.parquet").schema.names == SCHEMA.names


def test_row_groups_stay_within_64_mb_of_text_wherever_batches_end(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string())])
    text = "x" * (5 << 20)
    layouts = []
    for size in (1, 7, 30):
        folder = LocalFolder(tmp_path / str(size))
        table = pa.table({"text": [text] * 30}, schema=schema)
        write_shard(folder, "t.parquet", schema, table.to_batches(max_chunksize=size))
        with folder.parquet("t.parquet") as file:
            layouts.append([file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)])
    assert layouts[0] == layouts[1] == layouts[2]
    assert max(layouts[0]) * (5 << 20) <= 64 << 20


def test_a_flipped_byte_is_an_error_not_other_text(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    table = pa.table({"text": [f"document number {i} " * 50 for i in range(200)]})
    write_shard(folder, "t.parquet", table.schema, table.to_batches())
    path = tmp_path / "t.parquet"
    with folder.parquet("t.parquet") as file:
        place = file.metadata.row_group(0).column(0).data_page_offset + 200
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 4
    path.write_bytes(damaged)
    with pytest.raises((OSError, ValueError)):
        digest_shard(folder, "t.parquet")


def test_an_abandoned_shard_leaves_nothing(tmp_path: Path) -> None:
    writer = ShardWriter(LocalFolder(tmp_path), "a/b.parquet", SCHEMA)
    writer.write(pa.RecordBatch.from_pylist([{"id": "a"}], schema=SCHEMA))
    writer.abandon()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_full_disk_is_told_apart_and_leaves_nothing(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    arm("store.before_rename:enospc")
    try:
        with pytest.raises(EnvironmentGone, match="free the disk"):
            folder.write("x.json", b"{}")
    finally:
        arm("")
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_are_not_listed_and_are_swept(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("d/one.json", b"{}")
    (tmp_path / "d" / ".tmp-99-two.json").write_bytes(b"half")
    assert folder.names("d") == ["d/one.json"]
    assert folder.sweep() == 1
    assert folder.names("d") == ["d/one.json"]


def test_a_folder_behind_a_url_holds_whole_objects() -> None:
    folder = open_folder("memory://curate-test-store")
    table = pa.table({"id": ["a", "b"]})
    output = write_shard(folder, "corpus/00000.parquet", table.schema, table.to_batches())
    assert folder.names("corpus") == ["corpus/00000.parquet"]
    assert digest_shard(folder, "corpus/00000.parquet") == (2, output.digest)
    assert folder.names("nothing") == []
    folder.remove("corpus/00000.parquet")
    assert not folder.exists("corpus/00000.parquet")


def test_other_readers_can_read_our_files(tmp_path: Path) -> None:
    import duckdb
    import polars as pl

    table = pa.table({"id": ["a", "b"], "n": [1, 2]})
    write_shard(LocalFolder(tmp_path), "t.parquet", table.schema, table.to_batches(), public=True)
    path = tmp_path / "t.parquet"
    assert pq.read_table(path).equals(table)
    assert pl.read_parquet(path).to_dicts() == table.to_pylist()
    assert duckdb.sql(f"select sum(n) from '{path}'").fetchall() == [(3,)]
