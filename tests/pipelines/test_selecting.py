"""Scores and selections in a run: what becomes a column, what is taken, and that no order changes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import ConfigError
from curate.select.reference import Reference, read_reference, reference_bytes
from pipelines.columns import corpus_fields
from pipelines.config import load_config
from pipelines.config_errors import ConfigProblems
from tests.running import curate, digests, write_config

MATHS = "sum proof prime number integer theorem divides equals term induction".split()
PROSE = "river mill boat grain farmer hill letter bridge clock salt weather trade".split()
SCORES: list[dict[str, Any]] = [
    {"percentile": {"name": "rank", "of": "given"}},
    {"combine": {"name": "both", "of": {"rank": 3, "other": 1}, "missing": "renormalise"}},
    {"buckets": {"name": "bucket", "of": ["given", "other"], "token_column": "words"}},
    {"residual": {"name": "plain", "of": "given", "numbers": {"words": "log"}, "names": ["kind"]}},
    {"bins": {"name": "third", "of": "given", "quantiles": [1 / 3, 2 / 3]}},
    {"domain_merge": {"name": "merged", "domain": "kind", "weights": {"maths": {"given": 1}}, "default": {"other": 1}}},
    {"dsir": {"name": "likeness", "target": ["target.jsonl"], "min_tokens": 10, "smoothing": 0.1}},
    {"zipfit": {"name": "zip", "target": ["target.jsonl"], "max_texts": 3}},
]
SELECT: list[dict[str, Any]] = [
    {"top": {"name": "best", "by": "rank", "budget_tokens": 3000, "token_column": "words", "per": "kind",
             "budgets": "equal"}},
    {"gumbel": {"name": "drawn", "by": "likeness", "budget_documents": 40, "normalise": False,
                "token_column": "words", "where": "words >= 30"}},
    {"quadmix": {"name": "mixed", "by": "merged", "per": "kind", "token_column": "words",
                 "default": {"steepness": 5, "share": 0.5, "floor": 0.1}}},
    {"clusters": {"name": "wide", "by": "given", "cluster": "cluster", "budget_documents": 12,
                  "token_column": "words"}},
    {"threshold": {"name": "good", "by": "given", "at": 2.5, "token_column": "words"}},
]  # fmt: skip


def documents(n: int = 240) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    out = []
    for i in range(n):
        kind = "maths" if i % 4 == 0 else "prose"
        words = int(rng.integers(20, 90))
        text = " ".join(rng.choice(MATHS if kind == "maths" else PROSE, words))
        given = None if i % 50 == 49 else round(float(rng.normal(2, 1)), 1)
        out.append({"id": f"d{i}", "text": text, "words": words, "kind": kind, "given": given,
                    "other": float(rng.random()), "cluster": int(i % 9)})  # fmt: skip
    out.append({**out[0], "id": "copy"})
    return out


def write_run(folder: Path, name: str, files: int, workers: int, **changes: Any) -> Path:
    rows = documents()
    source = folder / f"in-{name}"
    source.mkdir(exist_ok=True)
    for k in range(files):
        lines = [json.dumps(r) for r in rows[k * len(rows) // files : (k + 1) * len(rows) // files]]
        (source / f"part-{k}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rng = np.random.default_rng(1)
    target = [json.dumps({"text": " ".join(rng.choice(MATHS, 60))}) for _ in range(5)]
    (folder / "target.jsonl").write_text("\n".join(target) + "\n", encoding="utf-8")
    options: dict[str, Any] = {
        "stages": [], "dedup": [{"exact": {}}], "scores": SCORES, "select": SELECT, "recipe": None,
        "keep": "dedup_is_survivor and best", "run": {"workers": workers},
        "input": {"carry": {"words": "int64", "kind": "string", "given": "float64", "other": "float64",
                            "cluster": "int64"}},
    }  # fmt: skip
    return write_config(folder / f"{name}.yaml", source, **(options | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selecting")
    done = curate("run", str(write_run(folder, "one", files=3, workers=2)))
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def labels(run: Path, *steps: str) -> dict[str, dict[str, Any]]:
    """Source id → document and labels."""
    out: dict[str, dict[str, Any]] = {}
    for path in sorted((run / "documents").glob("*.parquet")):
        tables = [pq.read_table(path), *(pq.read_table(run / "labels" / s / path.name) for s in steps)]
        rows: list[dict[str, Any]] = [{} for _ in range(tables[0].num_rows)]
        for table in tables:
            for row, more in zip(rows, table.to_pylist(), strict=True):
                row |= more
        out |= {r["source_id"]: r for r in rows}
    return out


def test_scores_are_columns_and_rare_values_are_null(folder: Path) -> None:
    found = labels(folder / "one", "dedup", "scores", "targets")
    alive = {k: r for k, r in found.items() if r["dedup_is_survivor"]}
    assert len(found) == 241 and len(alive) == 240
    (gone,) = (r for r in found.values() if not r["dedup_is_survivor"])
    assert all(gone[n] is None for n in ("rank", "both", "bucket", "plain", "third", "merged", "likeness", "zip"))
    given = [r["given"] for r in alive.values() if r["given"] is not None]
    for r in alive.values():
        assert (r["rank"] is None) == (r["given"] is None) == (r["third"] is None) == (r["plain"] is None)
        assert r["both"] is not None and 0 <= r["bucket"] <= 19
        if r["given"] is not None:
            below, same = sum(g < r["given"] for g in given), given.count(r["given"])
            assert r["rank"] == pytest.approx((below + same / 2) / len(given))
    high = [r["words"] for r in alive.values() if r["bucket_level"] == "high"]
    assert 0.04 < sum(high) / sum(r["words"] for r in alive.values()) < 0.12  # of two raters, a twentieth each
    maths = [r["likeness"] for r in alive.values() if r["kind"] == "maths" and r["likeness"] is not None]
    prose = [r["likeness"] for r in alive.values() if r["kind"] == "prose"]
    assert min(maths) > max(prose)
    assert np.mean([r["zip"] for r in alive.values() if r["kind"] == "maths"]) > np.mean(
        [r["zip"] for r in alive.values() if r["kind"] == "prose"]
    )


def test_budgets_hold_and_equal_brute_force(folder: Path) -> None:
    rows = [r for r in labels(folder / "one", "dedup", "scores", "targets", "selecting").values()
            if r["dedup_is_survivor"]]  # fmt: skip
    for kind in ("maths", "prose"):
        here = sorted((r for r in rows if r["kind"] == kind and r["rank"] is not None),
                      key=lambda r: (-r["rank"], r["id"]))  # fmt: skip
        left, wanted = 1500, set()
        for r in here:
            left -= r["words"]
            if left < 0:
                break
            wanted.add(r["source_id"])
        assert {r["source_id"] for r in rows if r["kind"] == kind and r["best"]} == wanted
    drawn = [r for r in rows if r["drawn"]]
    assert len(drawn) == 40 and all(r["words"] >= 30 and r["kind"] == "maths" for r in drawn)
    wide = [r for r in rows if r["wide"]]
    assert len(wide) == 12 and len({r["cluster"] for r in wide}) == 9
    assert all(r["good"] == (r["given"] is not None and r["given"] >= 2.5) for r in rows)
    assert all((r["mixed_copies"] > 0) == r["mixed"] for r in rows)
    assert {r["mixed_copies"] for r in rows} >= {0, 1, 2}


def test_the_report_says_what_was_taken_and_how_near_it_is(folder: Path) -> None:
    run = folder / "one"
    best = json.loads((run / "selection/best.json").read_text("utf-8"))
    assert {c["domain"]: c["available"] for c in best["cuts"]}.keys() == {"maths", "prose"}
    assert all(1400 < c["taken"] <= 1500 for c in best["cuts"])
    assert best["taken"]["by_domain"]["maths"]["taken_tokens"] == best["cuts"][0]["taken"]
    assert best["taken"]["all"]["documents"] == 240
    drawn = json.loads((run / "selection/drawn.json").read_text("utf-8"))
    near = drawn["targets"]["likeness"]
    assert near["kl_after"] < 0.3 * near["kl_before"]
    assert near["kl_reduction"] == pytest.approx(near["kl_before"] - near["kl_after"])
    wide = json.loads((run / "selection/wide.json").read_text("utf-8"))
    assert wide["after"]["clusters"] == wide["before"]["clusters"] == 9


def test_keep_names_a_selection_and_the_run_verifies(folder: Path) -> None:
    corpus = pa.concat_tables(pq.read_table(p) for p in sorted((folder / "one/corpus").glob("*.parquet")))
    taken = {k for k, r in labels(folder / "one", "selecting").items() if r["best"]}
    assert set(corpus["source_id"].to_pylist()) == taken
    assert curate("verify", str(folder / "one")).returncode == 0


@pytest.mark.slow
def test_other_workers_take_the_same(folder: Path) -> None:
    one = curate("run", str(write_run(folder, "again", files=3, workers=1)))
    assert one.returncode == 0, one.stderr
    first, second = digests(folder / "one"), digests(folder / "again")
    names = [n for n in first if n.startswith(("labels/", "selection/", "scores/", "corpus/0"))]
    assert len(names) > 20
    assert {n: first[n] for n in names} == {n: second[n] for n in names}


def test_a_frozen_reference_decides_the_percentiles_of_another_run(folder: Path, tmp_path: Path) -> None:
    reference = read_reference(folder / "one/scores/rank/given.parquet")
    assert reference.documents == 236 and reference.about["of"] == 240
    path = tmp_path / "frozen.parquet"
    path.write_bytes(reference_bytes(Reference.fit("given", np.array([1.0, 2.0, 3.0, 4.0]))))
    frozen = [{"percentile": {"name": "rank", "of": "given", "reference": str(path)}}]
    done = curate("run", str(write_run(tmp_path, "run", 1, 1, scores=frozen, select=[], dedup=[], keep="rank > 0.5")))
    assert done.returncode == 0, done.stderr + done.stdout
    for row in labels(tmp_path / "run", "scores").values():
        if row["given"] is not None:
            wanted = np.interp(row["given"], [1, 2, 3, 4], [1 / 8, 3 / 8, 5 / 8, 7 / 8], left=0, right=1)
            assert row["rank"] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": [{"percentile": {"name": "p", "of": "givn"}}]}, "did you mean `given`"),
        ({"scores": [{"combine": {"name": "given", "of": {"other": 1}}}]}, "there is a column `given` already"),
        ({"scores": [{"dsir": {"name": "kind", "target": ["t"]}}]}, "there is a column `kind` already"),
        ({"scores": [{"bins": {"name": "b", "of": "given"}}]}, "give `edges` or `quantiles`"),
        ({"scores": [{"percentil": {"name": "b", "of": "given"}}]}, "did you mean `percentile`"),
        ({"select": [{"top": {"name": "t", "by": "given"}}]}, "give one of `budget_tokens`"),
        ({"select": [{"top": {"name": "t", "by": "given", "budget_tokens": 5}}]}, "looks at `tokens_count`"),
    ],
)
def test_mistakes_are_told_before_any_work(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    config = write_run(tmp_path, "bad", 1, 1, **({"scores": [], "select": [], "keep": None} | changes))
    with pytest.raises((ConfigProblems, ConfigError)) as error:
        corpus_fields(load_config(config))
    assert said in " ".join(str(error.value).split())
