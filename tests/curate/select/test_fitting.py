"""Entries learn from the sample and then treat every document alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curate.select.choosing import decide, settle
from curate.select.config import (
    BinsConfig,
    BucketsConfig,
    ClustersConfig,
    CombineConfig,
    DomainMergeConfig,
    GumbelConfig,
    PercentileConfig,
    QuadmixConfig,
    ResidualConfig,
    TopConfig,
)
from curate.select.fitting import apply, fit, made
from curate.select.weight_search import draw_weights
from tests.curate.select.made import ids

N = 600


def columns() -> dict[str, pa.Array]:
    rng = np.random.default_rng(0)
    score = rng.normal(size=N)
    score[::50] = np.nan
    return {
        "id": ids(N),
        "a": pa.array(score, pa.float64(), mask=np.isnan(score)),
        "b": pa.array(rng.integers(0, 6, N), pa.int32()),
        "words": pa.array(rng.integers(5, 500, N), pa.int64()),
        "kind": pa.array([None if i % 97 == 0 else f"k{i % 3}" for i in range(N)], pa.string()),
    }


ENTRIES = [
    PercentileConfig(name="p", of="a"),
    CombineConfig(name="c", of={"a": 1, "b": -2}, scale="min_max", missing="renormalise"),
    BucketsConfig(name="u", of=("a", "b"), token_column="words"),
    ResidualConfig(name="r", of="a", numbers={"words": "log"}, names=("kind",), within="kind"),
    BinsConfig(name="i", of="a", quantiles=(0.2, 0.9)),
    DomainMergeConfig(name="d", domain="kind", weights={"k0": {"a": 1}}, default={"b": 1}),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: type(e).__name__)
def test_columns_are_as_declared_and_batches_do_not_matter(entry: Any) -> None:
    whole = columns()
    learned = fit(entry, whole, Path(), 0, {})
    found = apply(entry, learned, whole)
    assert {n: a.type for n, a in found.items()} == {f.name: f.type for f in made(entry)}
    parts = [apply(entry, learned, {n: a.slice(k, 70) for n, a in whole.items()}) for k in range(0, N, 70)]
    for name, array in found.items():
        assert pa.concat_arrays([p[name] for p in parts]).equals(array)
        assert array.null_count < N


def test_weights_are_learned_from_a_table_of_runs(tmp_path: Path) -> None:
    weights = draw_weights(80, 2, 0)
    frame = pl.DataFrame({"a": weights[:, 0], "b": weights[:, 1], "loss": 3 - weights[:, 0]})
    frame.write_csv(tmp_path / "runs.csv")
    learn = {"path": "runs.csv", "model": "ridge", "candidates": 2000, "best": 20}
    entry = CombineConfig.model_validate({"name": "c", "of": {"a": 1, "b": 1}, "learn": learn})
    learned = fit(entry, columns(), tmp_path, 0, {})
    assert learned.said["weights"]["a"] > 0.95
    assert learned.said["learned"]["spearman"]["loss"] > 0.95


SELECTIONS = [
    TopConfig(name="t", by="a", budget_share=0.4, per="kind", budgets="proportional", token_column="words"),
    TopConfig(name="g", by="b", budget_documents=100, per="kind", budgets={"k0": 3, "k1": 1}),
    GumbelConfig(name="s", by="a", budget_tokens=9000, temperature=2, token_column="words"),
    ClustersConfig(name="w", by="a", cluster="b", budget_documents=25),
    QuadmixConfig.model_validate(
        {"name": "q", "by": "a", "per": "kind", "token_column": "words",
         "parameters": {"k0": {"steepness": 9, "share": 0.3}}, "default": {"steepness": 1, "share": 1, "floor": 0.2}}
    ),
]  # fmt: skip


@pytest.mark.parametrize("entry", SELECTIONS, ids=lambda e: e.name)
def test_a_selection_does_not_depend_on_shards_or_their_order(entry: Any) -> None:
    whole, live = columns(), np.arange(N) % 11 != 0

    def shards(order: list[int]) -> list[tuple[dict[str, pa.Array], Any]]:
        return [({n: a.slice(k, 150) for n, a in whole.items()}, live[k : k + 150]) for k in order]

    one = settle(entry, lambda: [(whole, live)])
    two = settle(entry, lambda: shards([450, 0, 300, 150]))
    assert one == two
    found = decide(entry, one, whole, live)
    assert (np.concatenate([decide(entry, one, *s) for s in shards([0, 150, 300, 450])]) == found).all()
    assert found.sum() > 0 and not found[~live].any()
    assert not found[np.array(whole["a"].is_null())].any() or entry.by == "b"


def test_shares_of_a_budget_are_kept_within_one_document() -> None:
    whole, live = columns(), np.ones(N, np.bool_)
    words = whole["words"].to_numpy()
    found = decide(SELECTIONS[0], settle(SELECTIONS[0], lambda: [(whole, live)]), whole, live) > 0
    kinds = np.array(whole["kind"].to_pylist(), dtype=object)
    scored = ~np.array(whole["a"].is_null())
    for kind in ("k0", "k1", "k2", None):
        mask = (kinds == kind) & scored if kind else np.array([k is None for k in kinds]) & scored
        assert 0.4 * words[mask].sum() - 500 < words[mask & found].sum() <= 0.4 * words[mask].sum() + 1
    given = decide(SELECTIONS[1], settle(SELECTIONS[1], lambda: [(whole, live)]), whole, live) > 0
    assert [(given & (kinds == k)).sum() for k in ("k0", "k1", "k2")] == [75, 25, 0]
