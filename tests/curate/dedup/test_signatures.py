"""Signature tables: datatrove's very values in compatible mode, and the same rows however the batches are cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.dedup import ExactConfig, MinhashConfig, Preference, Shingle, sign_shard
from curate.dedup.signatures import band_matrix
from curate.errors import ConfigError

GOLDEN = json.loads(Path(__file__).with_name("datatrove_signatures.json").read_text())


def batch(texts: list[str | None], **columns: list[object]) -> pa.RecordBatch:
    ids = [f"{i:032x}" for i in range(len(texts))]
    return pa.RecordBatch.from_pydict({"id": ids, "text": pa.array(texts, pa.string()), **columns})


def test_compatible_signatures_are_datatroves_bit_for_bit() -> None:
    table = sign_shard([batch([row["text"] for row in GOLDEN])], MinhashConfig(compatible=True), signatures=True)
    for row, signature in zip(GOLDEN, table["signature"].to_pylist(), strict=True):
        expected = [int(value, 16) for value in row["signature"].split()]
        assert (np.frombuffer(signature or b"", np.uint64).tolist()) == expected


def test_compatible_mode_signs_no_document_shorter_than_a_shingle() -> None:
    texts = ["four words are few", "exactly five words stand here"]
    assert sign_shard([batch(texts)], MinhashConfig(compatible=True))["bands"].is_valid().to_pylist() == [False, True]
    assert sign_shard([batch(texts)], MinhashConfig())["bands"].is_valid().to_pylist() == [True, True]


@pytest.mark.parametrize("unit", ["words", "characters"])
@pytest.mark.parametrize("normalisation", ["words", "datatrove"])
def test_documents_without_words_have_no_bands(unit: str, normalisation: str) -> None:
    config = MinhashConfig(shingle=Shingle(unit=unit, n=3), normalisation=normalisation)
    table = sign_shard([batch(["", "--- ***", "word", None, "a fine sentence of words"])], config)
    assert table["bands"].is_valid().to_pylist() == [False, False, True, False, True]
    assert [n > 0 for n in table["n_words"].to_pylist()] == [False, False, True, False, True]


def test_batch_borders_change_nothing() -> None:
    texts = [row["text"] for row in GOLDEN] * 3
    whole = batch(texts, url=[f"http://a.org/{i}" for i in range(len(texts))])
    config = [ExactConfig(url=True), MinhashConfig()]
    pieces = [whole.slice(i, 5) for i in range(0, len(texts), 5)]
    one, many = sign_shard([whole], config), sign_shard([whole.slice(0, 0), *pieces], config)
    assert one.combine_chunks().equals(many.combine_chunks())
    assert many["row"].to_pylist() == list(range(len(texts)))


def test_rows_and_wanted_columns_travel_along() -> None:
    rows = batch(["a b", "c d"], row=pa.array([3, 9], pa.int32()), source_id=["x", None], score=[0.5, None])
    table = sign_shard([rows], MinhashConfig(prefer=(Preference(column="score", descending=True),)))
    assert table.select(["row", "source_id", "score", "n_bytes", "n_words"]).to_pylist() == [
        {"row": 3, "source_id": "x", "score": 0.5, "n_bytes": 3, "n_words": 2},
        {"row": 9, "source_id": None, "score": None, "n_bytes": 3, "n_words": 2},
    ]
    assert len(table["bands"][0].as_py()) == 16 * 8


def test_an_empty_shard_has_the_columns() -> None:
    config = [ExactConfig(url=True), MinhashConfig()]
    assert sign_shard([], config).schema.names == sign_shard([batch(["a"], url=["u"])], config).schema.names
    keys, valid = band_matrix(sign_shard([], config), MinhashConfig())
    assert keys.shape == (0, 16)
    assert len(valid) == 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ConfigError, match="'url'"):
        sign_shard([batch(["a"])], ExactConfig(url=True))
    with pytest.raises(ConfigError, match="'score'"):
        sign_shard([batch(["a"])], ExactConfig(prefer=(Preference(column="score"),)))


def test_32_bit_signatures_are_minima_of_lower_halves() -> None:
    # one shingle: the minimum is its one value, so the shorter signature is the lower half of the longer
    rows = batch(["one shingle of five words", "its words are other words entirely", ""])
    whole = sign_shard([rows], MinhashConfig(), signatures=True)["signature"].to_pylist()
    half = sign_shard([rows], MinhashConfig(hash_bits=32), signatures=True)["signature"].to_pylist()
    assert half[2] is None
    one, other = np.frombuffer(whole[0], np.uint64), np.frombuffer(half[0], np.uint32)
    assert len(other) == len(one) == 96
    assert (one & np.uint64(0xFFFFFFFF)).tolist() == other.tolist()
    two = np.frombuffer(whole[1], np.uint64) & np.uint64(0xFFFFFFFF)
    assert (np.frombuffer(half[1], np.uint32) <= two).all()


def test_compatible_signatures_have_64_bits() -> None:
    with pytest.raises(ValueError, match="hash_bits: 64"):
        MinhashConfig(compatible=True, hash_bits=32)
