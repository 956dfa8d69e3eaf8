"""Uncompressed Arrow files: found by row, the same bytes however they were written, damage told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import VerificationError
from curate.store.arrow_files import (
    BATCH_ROWS,
    arrow_batches,
    check_arrow,
    list_column,
    matrix,
    opened_arrow,
    take_rows,
    write_arrow,
)
from curate.store.folder import LocalFolder

ROWS = 2 * BATCH_ROWS + 77


def table(dtype: str = "float16") -> pa.Table:
    vectors = np.arange(ROWS * 3).reshape(ROWS, 3) % 1000
    return pa.table({"id": [f"{i:032x}" for i in range(ROWS)], "vector": list_column(vectors.astype(dtype))})


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_are_found_in_any_order(folder: LocalFolder, dtype: str) -> None:
    write_arrow(folder, "v.arrow", table(dtype).schema, table(dtype).to_batches())
    wanted = np.array([ROWS - 1, 0, BATCH_ROWS, BATCH_ROWS - 1, 5])
    with opened_arrow(folder, "v.arrow") as reader:
        found = take_rows(reader, "vector", wanted)
    assert found.dtype == dtype
    assert found[:, 0].tolist() == [(3 * r) % 1000 for r in wanted]


def test_the_bytes_do_not_depend_on_how_rows_were_given(folder: LocalFolder) -> None:
    given = table()
    one = write_arrow(folder, "a.arrow", given.schema, given.to_batches())
    other = write_arrow(folder, "b.arrow", given.schema, given.to_batches(max_chunksize=211))
    assert (one.rows, one.digest, one.bytes) == (other.rows, other.digest, other.bytes)
    assert folder.read("a.arrow") == folder.read("b.arrow")
    assert [b.num_rows for b in arrow_batches(folder, "a.arrow")] == [BATCH_ROWS, BATCH_ROWS, 77]


def test_without_rows_the_file_is_valid(folder: LocalFolder) -> None:
    output = write_arrow(folder, "none.arrow", table().schema, [])
    check_arrow(folder, output)
    assert output.rows == 0
    assert list(arrow_batches(folder, "none.arrow")) == []


def test_a_slice_of_a_column_of_vectors_is_its_own_rows() -> None:
    column = table()["vector"].combine_chunks().slice(10, 5)
    assert matrix(column)[:, 0].tolist() == [(3 * r) % 1000 for r in range(10, 15)]


def test_a_flipped_bit_is_told(folder: LocalFolder) -> None:
    output = write_arrow(folder, "v.arrow", table().schema, table().to_batches())
    check_arrow(folder, output)
    path = Path(folder.url) / "v.arrow"
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(30, 42).astype(np.float16).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="differs from its receipt"):
        check_arrow(folder, output)


def test_a_cut_file_is_told(folder: LocalFolder) -> None:
    output = write_arrow(folder, "v.arrow", table().schema, table().to_batches())
    path = Path(folder.url) / "v.arrow"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(VerificationError):
        check_arrow(folder, output)
