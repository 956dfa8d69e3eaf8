"""Verification finds what does not add up, and says which file or document it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.documents import FAILED, document_id
from curate.errors import ConfigError
from pipelines.config import load_config
from pipelines.verify import verify
from tests.end_to_end.here import rows, run_here
from tests.running import write_config, write_documents


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    source = write_documents(folder / "input", files=2, documents=20)
    with (source / "part-1.jsonl").open("a") as file:
        file.write('{"id": 1, "text": \n')
    config = write_config(
        folder / "r.json", source, run={"workers": 1, "max_failed_ratio": 1.0}, keep="pii_emails == 0", recipe=None
    )
    (folder / "scratch").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        assert run_here(load_config(config), folder / "scratch", patch).exit_code == 0
    return config.with_suffix("")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def problems(run: Path, **options: Any) -> str:
    result = verify(str(run), **options)
    assert result["ok"] is (not result["problems"])
    return "\n".join(result["problems"])


def test_an_undamaged_run_adds_up(run: Path) -> None:
    result = verify(str(run))
    assert result["ok"] and result["problems"] == []
    assert result["in"] == 41
    assert result["kept"] + sum(result["dropped"].values()) + sum(result["failed"].values()) == 41
    assert result["failed"] == {"read:json.truncated": 1} or result["failed"] == {"read:json.syntax": 1}
    assert list(result["dropped"]) == ["keep:pii_emails == 0"]
    assert result["bytes"]["accounted"] == result["bytes"]["size"]


@pytest.mark.parametrize("name", ["corpus/00000.parquet", "documents/00001.parquet", "labels/documents/00000.parquet"])
def test_a_flipped_byte_is_found(name: str, run: Path) -> None:
    path = run / name
    data = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        chunk = group.column(group.num_columns - 1 if "labels" in name else file.schema_arrow.get_field_index("text"))
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start + chunk.total_compressed_size - 5] ^= 0x10
    path.write_bytes(data)
    assert problems(run).startswith(f"{name}: cannot be read (OSError): damaged since it was written")


@pytest.mark.parametrize("name", ["corpus/00000.parquet", "dropped/select-00000.parquet"])
def test_a_destroyed_file_is_told_and_the_rest_is_still_checked(name: str, run: Path) -> None:
    (run / "documents/00001.parquet").unlink()
    path = run / name
    path.write_bytes(b"x" * path.stat().st_size)
    found = problems(run)
    assert f"{name}: cannot be read" in found and "documents/00001.parquet" in found


def test_another_length_is_found_without_reading_the_data(run: Path) -> None:
    with (run / "corpus/00000.parquet").open("ab") as file:
        file.write(b"!")
    assert "corpus/00000.parquet" in problems(run, data=False)


def test_rows_taken_out_of_a_valid_file_are_found(run: Path) -> None:
    path = run / "corpus/00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    assert "corpus/00000.parquet" in problems(run)


def test_a_deleted_shard_is_found(run: Path) -> None:
    (run / "corpus/00001.parquet").unlink()
    assert "corpus/00001.parquet: named by the receipt of select/00001, not there" in problems(run)


def test_a_deleted_receipt_is_found(run: Path) -> None:
    (run / "receipts/select/00001.json").unlink()
    assert "step select: 1 of 2 tasks have no receipt: ['00001']" in problems(run)
    assert "corpus/00001.parquet: no receipt names it" in problems(run)


def test_a_shard_that_no_receipt_names_is_found(run: Path) -> None:
    shutil.copy(run / "corpus/00000.parquet", run / "corpus/00009.parquet")
    assert problems(run) == "corpus/00009.parquet: no receipt names it; it is none of this run's files"


@pytest.mark.parametrize(
    ("step", "key", "said"),
    [
        ("documents", "documents_read", "went in"),
        ("documents", "accounted_bytes", "bytes are accounted for"),
        ("select", "kept", "are kept, dropped or failed"),
    ],
)
def test_a_receipt_with_a_wrong_count_is_found(step: str, key: str, said: str, run: Path) -> None:
    path = run / f"receipts/{step}/00000.json"
    receipt = json.loads(path.read_bytes())
    receipt["counts"][key] += 1
    path.write_text(json.dumps(receipt))
    found = problems(run)
    assert said in found and "part-0.jsonl" in found


def test_a_document_with_two_ends_is_found(run: Path) -> None:
    kept = rows(run, "corpus")[0]
    row = dict.fromkeys(FAILED.names) | {
        "id": kept["id"], "source": kept["source"], "offset": kept["offset"], "length": kept["length"],
        "stage": "pii", "error": "stage.error", "level": "error",
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row], schema=FAILED), run / "failed/documents-00000.parquet")
    assert "failed/documents-00000.parquet: 1 documents have more than one end" in problems(run)


def test_a_document_kept_twice_is_found(run: Path) -> None:
    path = run / "corpus/00000.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    assert "corpus/00000.parquet: 1 documents have more than one end" in problems(run)


def rewrite(path: Path, change: Any) -> None:
    """The table at ``path`` with its rows as ``change`` leaves them."""
    table = pq.read_table(path)
    found = table.to_pylist()
    change(found)
    pq.write_table(pa.Table.from_pylist(found, schema=table.schema), path)


@pytest.mark.parametrize(("count", "said"), [(21, "-1"), (19, "+1")])
def test_records_without_an_end_and_ends_without_a_record_are_found(count: int, said: str, run: Path) -> None:
    rewrite(run / "sources.parquet", lambda found: found[0].update(records=count))
    found = problems(run)
    assert f"part-0.jsonl: sources.parquet says {count} records, 0 of them no documents by their kind; " in found
    assert f" dropped and 0 failed, {said}" in found


def test_a_dropped_document_taken_out_is_found(run: Path) -> None:
    rewrite(run / "dropped/select-00000.parquet", lambda found: found.pop())
    assert "part-0.jsonl: sources.parquet says 20 records" in problems(run)


def test_an_end_of_a_document_from_another_file_is_found(run: Path) -> None:
    rewrite(run / "dropped/select-00000.parquet", lambda found: found[0].update(source="part-7.jsonl"))
    assert "dropped/select-00000.parquet: 1 rows are not from part-0.jsonl" in problems(run)


def test_input_files_that_are_not_listed_and_listed_ones_that_are_none_are_found(run: Path) -> None:
    rewrite(run / "sources.parquet", lambda found: found[0].update(partition="00007"))
    found = problems(run)
    assert "sources.parquet: 1 of 2 input files are not named: ['part-0.jsonl']" in found
    assert "sources.parquet: 1 rows are of no input file of this run: ['00007']" in found


def test_an_input_file_listed_twice_is_found(run: Path) -> None:
    rewrite(run / "sources.parquet", lambda found: found.append(dict(found[0])))
    assert "sources.parquet: shard 00000 has more than one row" in problems(run)


def test_more_lost_ranges_than_counted_are_found(run: Path) -> None:
    rewrite(
        run / "failed/documents-00001.parquet",
        lambda found: found[0].update(id=document_id(found[0]["source"], found[0]["offset"], -1)),
    )
    found = problems(run)
    assert "part-1.jsonl: 1 ranges are lost, sources.parquet says 0" in found and ", -1" in found


def test_a_damaged_receipt_counts_as_none(run: Path) -> None:
    (run / "receipts/documents/00000.json").write_text("{")
    assert "step documents: 1 of 2 tasks have no receipt: ['00000']" in problems(run)


def test_a_folder_that_is_no_run_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        verify(str(tmp_path))


def test_ids_are_those_of_the_input(run: Path) -> None:
    assert document_id("part-0.jsonl", 0) in {r["id"] for r in [*rows(run, "corpus"), *rows(run, "dropped")]}
