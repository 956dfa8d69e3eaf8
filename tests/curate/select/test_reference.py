"""A frozen sample: the same for every order, and percentiles that never fall."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.select.reference import Reference, read_reference, reference_bytes, smallest
from tests.curate.select.made import ids

FLOATS = st.lists(
    st.one_of(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.floats(-1e9, 1e9)), min_size=1, max_size=40
)  # fmt: skip


def test_the_sample_is_the_same_from_any_partial_samples() -> None:
    table = pa.table({"id": ids(3000), "score": np.arange(3000.0)})
    whole = smallest(table, 100, 7)
    order = np.random.default_rng(0).permutation(3000)
    parts = [smallest(table.take(pa.array(p)), 100, 7) for p in np.array_split(order, 11)]
    assert smallest(pa.concat_tables(parts), 100, 7).equals(whole)
    assert whole.num_rows == 100
    assert abs(np.mean(whole["score"].to_numpy()) - 1500) < 4 * 866 / 10
    assert not smallest(table, 100, 8).equals(whole)


def test_a_small_corpus_is_its_own_sample() -> None:
    table = pa.table({"id": ids(20)})
    assert sorted(smallest(table, 100, 0)["id"].to_pylist()) == sorted(table["id"].to_pylist())


def test_percentiles_by_hand() -> None:
    reference = Reference.fit("s", np.array([1.0, 2.0, 2.0, 4.0, np.nan]))
    found = reference.percentiles(np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0, np.nan]))
    # mid-ranks: 1 → 1/8, 2 → 1/2, 4 → 7/8; between them a straight line; outside 0 and 1
    assert found[:-1].tolist() == [0.0, 0.125, 0.3125, 0.5, 0.6875, 0.875, 1.0]
    assert np.isnan(found[-1])
    assert reference.below(np.array([2.0, 5.0])).tolist() == [0.25, 1.0]
    assert reference.up_to(np.array([2.0, 0.0])).tolist() == [0.75, 0.0]
    assert reference.quantile(0.5) == 2.0 and reference.quantile(0.25) == 1.0 and reference.quantile(1) == 4.0


@given(FLOATS, FLOATS)
@settings(deadline=None)
def test_percentiles_never_fall_and_are_a_half_on_average(sample: list[float], asked: list[float]) -> None:
    reference = Reference.fit("s", np.array(sample))
    found = reference.percentiles(np.sort(np.array(asked)))
    assert (np.diff(found) >= 0).all() and ((found >= 0) & (found <= 1)).all()
    assert reference.percentiles(np.array(sample)).mean() == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=40), st.integers(2, 8))
@settings(deadline=None)
def test_edges_cut_the_tokens_into_equal_parts(documents: list[tuple[int, int]], n: int) -> None:
    scores, tokens = (np.array(x) for x in zip(*documents, strict=True))
    edges = Reference.fit("s", scores.astype(float), tokens).edges(n)
    bucket = np.searchsorted(edges, scores, side="left")
    # brute force: the bucket says how many n-th parts of the tokens lie below the document's score
    below = np.array([tokens[scores < s].sum() for s in scores])
    assert bucket.tolist() == [int(min(n - 1, b * n // tokens.sum())) for b in below]


def test_the_artefact_comes_back_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    reference = Reference.fit("s", np.array([3.0, 1.0, 1.0]), about={"seed": 0, "size": 3})
    path = tmp_path / "s.parquet"
    path.write_bytes(reference_bytes(reference))
    assert reference_bytes(reference) == reference_bytes(read_reference(path))
    assert read_reference(path).digest == reference.digest
    table = reference.to_table()
    forged = table.set_column(1, "weight", pa.array([1, 2])).replace_schema_metadata(table.schema.metadata)
    buffer = io.BytesIO()
    pq.write_table(forged, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ConfigError, match="changed or damaged"):
        read_reference(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="no reference sample can be read"):
        read_reference(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ConfigError, match="is no reference sample"):
        read_reference(path)


def test_an_empty_sample_says_nothing() -> None:
    empty = Reference.fit("s", np.array([np.nan]))
    assert np.isnan(empty.percentiles(np.array([1.0]))).all() and np.isnan(empty.quantile(0.5))
    assert np.isnan(empty.bounds).all() and not len(empty.edges(5))
