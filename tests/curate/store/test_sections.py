"""Sealed files: what was written comes back by sections; what was changed, cut or exchanged does not come back."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import VerificationError
from curate.store.folder import LocalFolder
from curate.store.sections import Sealed, SectionReader, read_sealed, section_writer
from curate.store.shards import digest_shard

TABLE = pa.table({"number": list(range(50)), "name": [f"name {i}" for i in range(50)]})


def write(folder: LocalFolder, name: str = "a.parquet", table: pa.Table = TABLE) -> Sealed:
    with section_writer(folder, name, table.schema, {"said": 4}) as writer:
        writer.write(1, table.slice(0, 10))
        writer.write(3, table.slice(10, 5))
        writer.write(4, table.slice(0, 0))
        writer.write(1, table.slice(15))
        return writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


def test_sections_come_back_in_the_order_in_which_they_were_written(folder: LocalFolder) -> None:
    sealed = write(folder)
    with SectionReader(folder, "a.parquet", sealed) as reader:
        assert reader.about == {"said": 4}
        assert reader.section([1])["number"].to_pylist() == [*range(10), *range(15, 50)]
        assert reader.section([3], ["name"]).to_pydict() == {"name": [f"name {i}" for i in range(10, 15)]}
        assert reader.section(range(2, 4)).num_rows == 5
        assert reader.section([4]).num_rows == 0
        assert reader.section([4]).schema == TABLE.schema


def test_a_sealed_file_is_plain_parquet_and_its_receipt_holds_its_digest(folder: LocalFolder) -> None:
    sealed = write(folder)
    assert pq.read_table(folder.path / "a.parquet").num_rows == 50
    assert digest_shard(folder, "a.parquet") == (sealed.output.rows, sealed.output.digest)


def test_a_file_without_rows_is_sealed_too(folder: LocalFolder) -> None:
    sealed = write(folder, table=TABLE.slice(0, 0))
    assert read_sealed(folder, sealed).num_rows == 0


def test_no_changed_byte_goes_unnoticed(folder: LocalFolder) -> None:
    sealed = write(folder)
    path = folder.path / "a.parquet"
    whole = path.read_bytes()
    draw = random.Random(3)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(VerificationError, match=r"a\.parquet was damaged or exchanged.*run the same command again"):
            read_sealed(folder, sealed)
    path.write_bytes(whole)
    assert read_sealed(folder, sealed).num_rows == 50


def test_a_file_cut_anywhere_is_noticed_before_it_is_read(folder: LocalFolder) -> None:
    sealed = write(folder)
    path = folder.path / "a.parquet"
    whole = path.read_bytes()
    for size in (0, 1, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(VerificationError, match=rf"it has {size} bytes, {len(whole)} were written"):
            read_sealed(folder, sealed)
    path.write_bytes(whole + b"\0")
    with pytest.raises(VerificationError):
        read_sealed(folder, sealed)


def test_another_file_in_its_place_is_noticed(folder: LocalFolder) -> None:
    sealed = write(folder)
    write(folder, table=TABLE.set_column(0, "number", pa.array(range(1, 51))))
    with pytest.raises(VerificationError, match="exchanged"):
        read_sealed(folder, sealed)


def test_a_file_that_is_gone_is_no_empty_file(folder: LocalFolder) -> None:
    sealed = write(folder)
    (folder.path / "a.parquet").unlink()
    with pytest.raises(VerificationError, match="is gone"):
        read_sealed(folder, sealed)


def test_a_writer_that_fails_leaves_nothing(folder: LocalFolder) -> None:
    with pytest.raises(RuntimeError), section_writer(folder, "b.parquet", TABLE.schema) as writer:
        writer.write(0, TABLE)
        raise RuntimeError
    assert list(folder.path.iterdir()) == []
