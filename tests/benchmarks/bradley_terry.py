"""Bradley-Terry on 27,240 crowd judgements of arguments: agreement with the pairs, ours beside the released scores.

    python tests/benchmarks/bradley_terry.py [--shared ../shared]

Prints one JSON line per dimension: `fitted` and `released` are shares of the judgements with a winner whose winner has
the higher score, `held_out` the same by scores fitted without the judgement (10 parts), `spearman` between the scores.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from classifiers.bradley_terry import WINNERS, agreement, bradley_terry

#: what the released scores reach, per dimension
RELEASED = {"rhetorical": 0.725, "logical": 0.725, "dialectical": 0.708}


def measure(shared: Path, penalty: float = 0.1) -> list[dict[str, Any]]:
    """One row of figures per dimension."""
    folder = shared / "data/ratings_dev"
    items = pq.read_table(folder / "argquality_items.parquet")
    pairs = pq.read_table(folder / "argquality_pairs.parquet")
    place = {name: i for i, name in enumerate(items["id"].to_pylist())}
    rows = []
    for dimension in RELEASED:
        chosen = [p for p in pairs.to_pylist() if p["dimension"] == dimension and p["a"] in place and p["b"] in place]
        a = np.array([place[p["a"]] for p in chosen])
        b = np.array([place[p["b"]] for p in chosen])
        share = np.array([WINNERS[p["winner"]] for p in chosen])
        fit = bradley_terry(a, b, share, items=len(items), penalty=penalty)
        part = np.random.default_rng(0).integers(0, 10, len(a))
        held = []
        for k in range(10):
            rest = bradley_terry(a[part != k], b[part != k], share[part != k], items=len(items), penalty=penalty)
            held.append(agreement(rest.scores, a[part == k], b[part == k], share[part == k]))
        released = items[dimension].to_numpy()
        rows.append({
            "dimension": dimension, "pairs": len(a), "ties": int((share == 0.5).sum()),
            "fitted": round(agreement(fit.scores, a, b, share), 4),
            "released": round(agreement(released, a, b, share), 4), "held_out": round(float(np.mean(held)), 4),
            "spearman": round(float(spearmanr(fit.scores, released)[0]), 4), "components": fit.components,
            "unbounded": int(fit.unbounded.sum()), "median_error": round(float(np.median(fit.errors)), 3),
            "rounds": fit.rounds,
        })  # fmt: skip
    return rows


@pytest.mark.bench
def test_fitted_scores_agree_with_the_pairs_as_the_released_ones_do(shared: Path) -> None:
    for row in measure(shared):
        print(json.dumps(row))
        assert row["fitted"] >= RELEASED[row["dimension"]] - 0.0005


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("CURATE_SHARED", "../shared")))
    for line in measure(parser.parse_args().shared):
        print(json.dumps(line))
