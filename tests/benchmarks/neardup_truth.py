"""Near-duplicates against exact truth: who finds which pairs, and what is dropped wrongly; prints JSON lines.

    CURATE_PEERS_PYTHON=/path/to/python python tests/benchmarks/neardup_truth.py [FOLDER] [--threshold 0.8]

FOLDER holds ``texts.parquet`` (id, text) and ``pairs.parquet`` (a, b, jaccard: every pair of at least 0.2), made with
the shingles of configs/dedup_jsonl.yaml; by default ``ota_neardup_dev`` (``CURATE_SHARED``). Ours is that config, run
by the command line; datatrove (its own words, 14 × 8), datasketch and rensa (these shingles) run in the environment of
the peers (README.md). A pair is found if not both of its documents are kept. A wrong drop is a removed document whose
true similarity to every kept document is below the threshold: it was a duplicate of nothing that is still there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

REPO = Path(__file__).resolve().parents[2]
BANDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0, 1.01)
PEERS = ("datatrove", "datasketch", "rensa")


def emit(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


def default_folder() -> Path:
    return Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared")) / "data" / "ota_neardup_dev"


def run_ours(texts: Path, work: Path, threshold: float) -> tuple[np.ndarray[Any, Any], Any]:
    """Kept documents by number, and the pairs that the run wrote, by the input's ids."""
    rows = pq.read_table(texts, columns=["id", "text"])
    lines = work / "texts.jsonl"
    with lines.open("w", encoding="utf-8") as out:
        for id_, text in zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True):
            out.write(json.dumps({"id": str(id_), "text": text}) + "\n")
    command = [sys.executable, "-m", "pipelines.cli", "run", str(REPO / "configs" / "dedup_jsonl.yaml"),
               "--set", f"input.paths=[{lines}]", "--set", f"run.output={work / 'run'}",
               "--set", f"dedup.minhash.threshold={threshold}"]  # fmt: skip
    subprocess.run(command, check=True, cwd=REPO, stdout=subprocess.DEVNULL)
    kept = np.zeros(rows.num_rows, np.bool_)
    for file in sorted((work / "run" / "corpus").rglob("*.parquet")):
        kept[[int(i) for i in pq.read_table(file, columns=["source_id"])["source_id"].to_pylist()]] = True
    return kept, pq.read_table(work / "run" / "dedup" / "pairs.parquet")


def ask_peer(name: str, texts: Path, work: Path, threshold: float) -> np.ndarray[Any, Any]:
    """Kept documents by number."""
    script = Path(__file__).with_name("neardup_truth_peers.py")
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "LOGURU_LEVEL": "ERROR"}
    answer = work / f"{name}.npy"
    python = os.environ["CURATE_PEERS_PYTHON"]
    subprocess.run([python, str(script), name, str(texts), str(answer), str(threshold)], check=True, env=env)
    return np.asarray(np.load(answer), np.bool_)


def judge(kept: np.ndarray[Any, Any], truth: Any, threshold: float) -> dict[str, Any]:
    """Recall per band of similarity, documents dropped without a kept duplicate, and what is left."""
    a, b, jaccard = (truth[c].to_numpy() for c in ("a", "b", "jaccard"))
    found = ~(kept[a] & kept[b])
    recall = {}
    for low, high in pairwise(BANDS):
        band = (jaccard >= low) & (jaccard < high)
        if low < threshold:  # below the threshold a pair should stay: what is found there is no merit
            continue
        recall[f"{low}-{min(high, 1.0)}"] = [int(found[band].sum()), int(band.sum())]
    best = np.zeros(len(kept))
    for left, right in ((a, b), (b, a)):
        to_kept = kept[right]
        np.maximum.at(best, left[to_kept], jaccard[to_kept])
    wrong = ~kept & (best < threshold)
    similar = jaccard >= threshold
    return {"kept": int(kept.sum()), "removed": int((~kept).sum()), "wrong_drops": int(wrong.sum()), "recall": recall,
            "missed": int((similar & ~found).sum()), "worst_drop": float(best[~kept].min(initial=1.0))}  # fmt: skip


def check_pairs(pairs: Any, truth: Any, threshold: float) -> dict[str, Any]:
    """Every written pair against the truth: the largest difference of similarity, and drops below the threshold."""
    known = {(min(a, b), max(a, b)): j for a, b, j in zip(*(truth[c].to_pylist() for c in ("a", "b", "jaccard")),
                                                            strict=True)}  # fmt: skip
    worst, below, by_text = 0.0, 0, 0
    columns = (pairs[c].to_pylist() for c in ("removed_source_id", "survivor_source_id", "similarity", "kind"))
    for removed, survivor, similarity, kind in zip(*columns, strict=True):
        key = (min(int(removed), int(survivor)), max(int(removed), int(survivor)))
        true = known.get(key, 0.0)
        if kind == "exact":
            by_text += true < 1.0  # equal texts of no word have no shingle and no pair in the truth
            continue
        worst = max(worst, abs(similarity - true))
        below += true < threshold
    return {"pairs": pairs.num_rows, "largest_difference": worst, "below_threshold": below, "exact_not_1": by_text}


def measure(folder: Path, threshold: float) -> dict[str, dict[str, Any]]:
    truth = pq.read_table(folder / "pairs.parquet")
    results = {}
    with tempfile.TemporaryDirectory() as place:
        kept, pairs = run_ours(folder / "texts.parquet", Path(place), threshold)
        results["curate"] = {**judge(kept, truth, threshold), **check_pairs(pairs, truth, threshold)}
        emit("curate", **results["curate"])
        if "CURATE_PEERS_PYTHON" in os.environ:
            for name in PEERS:
                kept = ask_peer(name, folder / "texts.parquet", Path(place), threshold)
                results[name] = judge(kept, truth, threshold)
                emit(name, **results[name])
    return results


@pytest.mark.bench
def test_near_duplicates_of_known_similarity_are_found_and_nothing_else() -> None:
    folder = default_folder()
    if not folder.exists():
        pytest.skip(f"needs {folder}")
    ours = measure(folder, 0.8)["curate"]
    assert ours["wrong_drops"] == ours["below_threshold"] == 0
    assert ours["largest_difference"] < 1e-9
    assert all(found == of for band, (found, of) in ours["recall"].items() if float(band.split("-")[0]) >= 0.95)
    found, of = ours["recall"]["0.85-0.9"]
    assert found >= 0.99 * of


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=default_folder())
    parser.add_argument("--threshold", type=float, default=0.8)
    given = parser.parse_args()
    measure(given.folder, given.threshold)
