from __future__ import annotations

import numpy as np

from curate.inspect.gather import Tally, bin_edges, value_counts


def test_declared_ranges_are_kept() -> None:
    assert bin_edges(0.2, 0.9, 4, whole=False, log=False, declared="0–1").tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert bin_edges(1.5, 4.0, 4, whole=False, log=False, declared="1–5").tolist() == [1, 2, 3, 4, 5]


def test_values_outside_a_declared_range_widen_it() -> None:
    assert bin_edges(0.0, 2.0, 2, whole=False, log=False, declared="0–1").tolist() == [0, 1, 2]


def test_few_whole_numbers_have_a_bar_each() -> None:
    assert bin_edges(0, 3, 40, whole=True, log=False).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]


def test_logarithmic_edges_hold_zero_and_the_largest() -> None:
    edges = bin_edges(0, 1000, 3, whole=True, log=True)
    assert edges.tolist() == [0, 1, 10, 100, 1000]
    assert np.histogram([0, 1, 9, 10, 1000], edges)[0].tolist() == [1, 2, 1, 1]


def test_one_value_has_one_bar() -> None:
    assert bin_edges(0.7, 0.7, 10, whole=False, log=False).tolist() == [0.7 - 0.5, 0.7 + 0.5]


def test_values_that_are_nearly_all_different_are_no_names() -> None:
    import pyarrow as pa

    titles, kinds = Tally(), Tally()
    titles.add(pa.table({"t": [f"title {i}" for i in range(60)]}), None)
    kinds.add(pa.table({"k": [f"kind {i % 3}" for i in range(60)]}), None)
    assert value_counts(pa.field("t", pa.string()), titles, told=False) is None
    counts = value_counts(pa.field("k", pa.string()), kinds, told=False)
    assert counts is not None and [(r.value, r.documents) for r in counts.rows] == [
        ("kind 0", 20), ("kind 1", 20), ("kind 2", 20),
    ]  # fmt: skip
