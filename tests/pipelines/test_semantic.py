"""Semantic duplicates in a run: who goes and why, what never changes the answer, what is told of damage."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.documents import document_id
from curate.errors import VerificationError
from curate.store.arrow_files import arrow_batches, list_column, matrix
from curate.store.folder import LocalFolder
from curate.store.manifest import Entry, Manifest
from curate.store.shards import write_table
from pipelines.config import load_config
from pipelines.steps.base import Run, Step, Work, fingerprints
from pipelines.steps.semantic import added_steps
from pipelines.steps.vectors import vectors_name
from pipelines.tasks import Task, run_task
from tests.curate.embed.test_hashed import invented
from tests.running import curate, write_config


class Documents(Step):
    """Stands for the passes before: the documents are there."""

    name = "documents"

    def material(self) -> dict[str, Any]:
        return {}

    def execute(self, partition: str, work: Work) -> Any:
        raise NotImplementedError


class Dedup(Documents):
    """Stands for the removal of whole duplicates."""

    name = "dedup"


def reordered(words: list[str], seed: int) -> str:
    sentences = [words[i : i + 12] for i in range(0, len(words), 12)]
    random.Random(seed).shuffle(sentences)
    return " ".join(w for s in sentences for w in s)


def documents() -> list[dict[str, Any]]:
    """Sixty texts; every fourth twice, reordered; one without a word."""
    rows = []
    for seed in range(60):
        rows.append({"source_id": f"t{seed}", "text": " ".join(invented(seed))})
        if seed % 4 == 0:
            rows.append({"source_id": f"t{seed}-again", "text": reordered(invented(seed), seed)})
    rows.append({"source_id": "dots", "text": "… — …"})
    return [{"id": document_id("in", i), **row} for i, row in enumerate(rows)]


EMPTY = pa.schema([("id", pa.string()), ("source_id", pa.string()), ("text", pa.string())])
DEDUP = [{"semantic": {"k": 3, "engine": "numpy", "partitions": 2}}]


def write_input(folder: Path, files: int = 3) -> Path:
    """The documents as JSONL."""
    folder.mkdir(parents=True)
    for number in range(files):
        lines = [json.dumps({"id": r["source_id"], "text": r["text"]}) for r in documents()[number::files]]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_run(folder: Path, shards: list[list[dict[str, Any]]], vectors: Any = None, **options: Any) -> Run:
    """A run whose documents are written."""
    store = LocalFolder(folder / "out")
    entries = []
    for number, rows in enumerate(shards):
        name = f"{number:05d}"
        table = pa.Table.from_pylist(rows, schema=None if rows else EMPTY)
        write_table(store, f"documents/{name}.parquet", table)
        write_table(store, f"labels/documents/{name}.parquet", table.select(["id"]))
        entries.append(Entry(name, f"{name}.jsonl", "", "jsonl", table.nbytes, ""))
    config = {
        "run": {"output": str(folder / "out")},
        "input": {"kind": "jsonl", "paths": ["elsewhere"]},
        "dedup": [{"semantic": {"k": 3, "engine": "numpy", **options}}],
        "vectors": vectors,
    }
    (folder / "c.yaml").write_text(json.dumps(config), encoding="utf-8")
    return Run(load_config(folder / "c.yaml"), store, Manifest(tuple(entries)), folder)


def do(run: Run, *names: str, before: tuple[type[Step], ...] = (Documents,)) -> None:
    """Execute the named steps (all if none is named), in order."""
    given = [kind(run) for kind in before]
    steps = added_steps(run, tuple(given))
    prints = fingerprints([*given, *steps])
    for step in steps:
        if not names or step.name in names:
            for partition in step.partitions():
                fingerprint, material = prints[step.name, partition]
                run_task(step, Task(step.name, partition, fingerprint, material), Work())


def labels(run: Run) -> dict[str, dict[str, Any]]:
    """Labels by the input's own id."""
    out = {}
    for shard in run.shards:
        rows = run.folder.table(f"documents/{shard}.parquet", ["id", "source_id"]).to_pylist()
        found = run.folder.table(f"labels/semantic/{shard}.parquet").to_pylist()
        assert [r["id"] for r in rows] == [f["id"] for f in found]
        out |= {r["source_id"]: f for r, f in zip(rows, found, strict=True)}
    return out


def summary(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.folder.read("dedup/semantic.json"))
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    rows = documents()
    run = make_run(tmp_path_factory.mktemp("one"), [rows[:30], rows[30:45], rows[45:]], partitions=2)
    do(run)
    return run


def test_one_of_each_family_stays_and_says_who_it_stands_for(done: Run) -> None:
    found = labels(done)
    names = {f["id"]: name for name, f in found.items()}
    gone = {name: f for name, f in found.items() if not f["semantic_is_survivor"]}
    assert {name.removesuffix("-again") for name in gone} == {f"t{s}" for s in range(0, 60, 4)}
    for name, label in gone.items():
        survivor = names[label["semantic_survivor"]]
        assert survivor.removesuffix("-again") == name.removesuffix("-again")
        assert found[survivor]["semantic_is_survivor"]
        assert label["semantic_similarity"] >= 0.95
        assert label["semantic_cluster"] == found[survivor]["semantic_cluster"]
        assert label["semantic_cluster_distance"] <= found[survivor]["semantic_cluster_distance"]  # farthest stays


def test_the_nearest_stays_if_the_config_says_so(done: Run, tmp_path: Path) -> None:
    rows = documents()
    run = make_run(tmp_path, [rows], keep="nearest")
    do(run)
    far, near = labels(done), labels(run)
    pairs = [(f"t{s}", f"t{s}-again") for s in range(0, 60, 4)]
    assert all(far[a]["semantic_is_survivor"] != far[b]["semantic_is_survivor"] for a, b in pairs)
    assert sum(far[a]["semantic_is_survivor"] == near[b]["semantic_is_survivor"] for a, b in pairs) == len(pairs)


def test_a_text_without_a_vector_stays_and_is_counted(done: Run) -> None:
    label = labels(done)["dots"]
    assert label["semantic_is_survivor"] is True
    assert label["semantic_cluster"] is None and label["semantic_similarity"] is None
    assert summary(done)["vectors"] == {"empty": 1, "ok": 75}
    assert summary(done)["compared"] == 75


@pytest.mark.parametrize("case", ["shards in another order", "one shard", "many partitions", "loaded by window"])
def test_nothing_but_documents_and_config_decides(
    done: Run, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = documents()
    shards = {"one shard": [rows], "shards in another order": [rows[45:], rows[:30], rows[30:45]]}
    if case == "loaded by window":
        monkeypatch.setattr("pipelines.steps.semantic_compare._HELD", 100)
        monkeypatch.setattr("curate.dedup.semantic.WINDOW", 5)
    run = make_run(
        tmp_path,
        shards.get(case, [rows[:30], rows[30:45], rows[45:]]),
        partitions=7 if case == "many partitions" else 2,
    )
    do(run)
    if case != "one shard":  # whose words are counted depends on how many shards there are, as documented
        assert labels(run) == labels(done)
    survivors = {name for name, f in labels(run).items() if f["semantic_is_survivor"]}
    assert survivors == {name for name, f in labels(done).items() if f["semantic_is_survivor"]}
    assert {k: v for k, v in summary(run).items() if k in {"removed", "compared", "sweep"}} == {
        k: v for k, v in summary(done).items() if k in {"removed", "compared", "sweep"}
    }
    one, other = (r.folder.table("dedup/semantic_pairs.parquet").to_pylist() for r in (run, done))
    assert one == other


def test_the_sweep_counts_what_each_epsilon_would_remove(done: Run, tmp_path: Path) -> None:
    sweep = {entry["epsilon"]: entry["removed"] for entry in summary(done)["sweep"]}
    assert sweep[0.05] == summary(done)["removed"] == 15
    assert sorted(sweep.values()) == [sweep[e] for e in sorted(sweep)]
    run = make_run(tmp_path, [documents()[:30], documents()[30:45], documents()[45:]], epsilon=0.001)
    do(run)
    assert summary(run)["removed"] == sweep[0.001] < 15


def test_pairs_name_both_documents(done: Run) -> None:
    table = done.folder.table("dedup/semantic_pairs.parquet")
    assert table.schema.names == ["removed", "survivor", "similarity", "containment", "kind", "removed_source_id",
                                  "survivor_source_id"]  # fmt: skip
    assert set(table["kind"].to_pylist()) == {"semantic"}
    for row in table.to_pylist():
        assert row["removed_source_id"].split("-")[0] == row["survivor_source_id"].split("-")[0]


def test_duplicates_found_before_take_no_part(tmp_path: Path) -> None:
    rows = documents()[:12]
    run = make_run(tmp_path, [rows])
    survives = [r["source_id"] != "t4" for r in rows]  # of t4 and t4-again
    table = pa.table({"id": [r["id"] for r in rows], "dedup_is_survivor": survives})
    write_table(run.folder, "labels/dedup/00000.parquet", table)
    do(run, before=(Documents, Dedup))
    found = labels(run)
    assert all(v is None for k, v in found["t4"].items() if k != "id")
    assert found["t4-again"]["semantic_is_survivor"] is True
    assert status(run)["t4"] == "not_asked"
    assert summary(run)["vectors"] == {"not_asked": 1, "ok": 11}


def test_more_clusters_than_documents(tmp_path: Path) -> None:
    rows = documents()[:5]
    run = make_run(tmp_path, [rows], k=1000, partitions=4)
    do(run)
    assert summary(run)["clusters"]["clusters"] == 5
    assert all(f["semantic_is_survivor"] for f in labels(run).values())


@pytest.mark.parametrize("shards", [0, 1])
def test_without_documents_the_files_are_there_and_empty(tmp_path: Path, shards: int) -> None:
    run = make_run(tmp_path, [[]] * shards)
    do(run)
    assert summary(run)["compared"] == summary(run)["removed"] == 0
    assert run.folder.table("dedup/semantic_pairs.parquet").num_rows == 0


def test_without_any_vector_all_stay(tmp_path: Path) -> None:
    rows = [{"id": document_id("e", i), "source_id": str(i), "text": "—"} for i in range(3)]
    run = make_run(tmp_path, [rows])
    do(run)
    assert summary(run)["compared"] == 0
    assert [f["semantic_is_survivor"] for f in labels(run).values()] == [True] * 3


# ---------------------------------------------------------------- vectors of the user's own


def vector_rows(key: str = "emb") -> list[dict[str, Any]]:
    given: dict[str, Any] = {
        "a": [1.0, 0.0, 0.0], "b": [0.999, 0.01, 0.0], "c": [0.0, 2.0, 0.0], "nan": [None, 1.0, 0.0], "zero": [0.0] * 3,
        "short": [1.0], "none": None, "word": "x",
    }  # fmt: skip
    return [
        {"id": document_id("v", i), "source_id": name, "text": name, "extra": json.dumps({key: value})}
        for i, (name, value) in enumerate(given.items())
    ]


def status(run: Run) -> dict[str, str]:
    found = {}
    for shard in run.shards:
        names = run.folder.table(f"documents/{shard}.parquet", ["source_id"])[0].to_pylist()
        told = [s for b in arrow_batches(run.folder, vectors_name(shard)) for s in b.column(1).to_pylist()]
        found |= dict(zip(names, told, strict=True))
    return found


EXPECTED = {"a": "ok", "b": "ok", "c": "ok", "nan": "not_finite", "zero": "empty", "short": "wrong_length",
            "none": "missing", "word": "missing"}  # fmt: skip


def test_vectors_of_the_input_are_taken_as_they_are(tmp_path: Path) -> None:
    run = make_run(tmp_path, [vector_rows()], {"encoder": "column", "column": "emb"}, k=1)
    do(run)
    assert status(run) == EXPECTED
    found = labels(run)
    assert [name for name, f in found.items() if not f["semantic_is_survivor"]] == ["b"]  # it is nearer to the centroid
    (batch,) = arrow_batches(run.folder, vectors_name("00000"))
    assert matrix(batch.column(2)).tolist()[2] == [0, 1, 0]


def test_vectors_of_files_are_found_by_id(tmp_path: Path) -> None:
    rows = vector_rows()
    table = pa.table({
        "source_id": [r["source_id"] for r in reversed(rows[:6])],
        "emb": [json.loads(r["extra"])["emb"] for r in reversed(rows[:6])],
    })  # fmt: skip
    pq.write_table(table.slice(0, 4), tmp_path / "v1.parquet")
    pq.write_table(table.slice(4), tmp_path / "v2.parquet")
    plain = [{**r, "extra": None} for r in rows]
    given = {"encoder": "column", "column": "emb", "files": ["v*.parquet"], "dimension": 3}
    run = make_run(tmp_path, [plain[4:], plain[:4]], given, k=1)
    do(run)
    assert status(run) == EXPECTED


# ---------------------------------------------------------------- damage


def test_vectors_of_other_documents_are_refused(tmp_path: Path) -> None:
    rows = documents()
    run = make_run(tmp_path, [rows[:20], rows[20:40]])
    do(run, "vectors_model", "vectors", "semantic_centroids")
    table = run.folder.table("documents/00001.parquet")
    write_table(run.folder, "documents/00001.parquet", table.take(pa.array(range(19, -1, -1))))
    with pytest.raises(VerificationError, match="ids differ"):
        do(run, "semantic_assign")


@pytest.mark.parametrize(("step", "after"), [("vectors/vectors", "semantic_centroids"),
                                             ("steps/semantic_assign", "semantic_compare")])  # fmt: skip
def test_a_flipped_bit_is_never_read_as_data(tmp_path: Path, step: str, after: str) -> None:
    run = make_run(tmp_path, [documents()[:20], documents()[20:40]])
    do(run, "vectors_model", "vectors", "semantic_centroids", "semantic_assign")
    path = tmp_path / "out" / step / "00001.arrow"
    vectors = [matrix(b.column(b.num_columns - 1)).copy() for b in arrow_batches(run.folder, f"{step}/00001.arrow")]
    data = bytearray(path.read_bytes())
    data[data.index(np.ascontiguousarray(vectors[0][3]).tobytes()) + 5] ^= 4
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="differs from its receipt"):
        do(run, after)


def test_lists_survive_as_vectors() -> None:
    given = np.arange(12, dtype=np.float16).reshape(4, 3)
    assert np.array_equal(matrix(list_column(given)), given)


# ---------------------------------------------------------------- as a user runs it


def test_a_run_explains_itself(tmp_path: Path) -> None:
    write_input(tmp_path / "in")
    path = write_config(tmp_path / "run.yaml", tmp_path / "in", stages=[], recipe=None, dedup=DEDUP)
    done = curate("run", str(path))
    assert done.returncode == 0, done.stderr + done.stdout
    checked = curate("verify", str(tmp_path / "run"), "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["dropped"] == {"semantic:semantic_duplicate": 15}
    pair = pq.read_table(tmp_path / "run/dedup/semantic_pairs.parquet").to_pylist()[0]
    told = json.loads(curate("why", pair["removed"], "--run", str(tmp_path / "run"), "--json").stdout)
    assert told["end"] == "dropped"
    expected = {"stage": "semantic", "reason": "semantic_duplicate", "value": pair["similarity"], "threshold": 0.95,
                "survivor": pair["survivor"]}  # fmt: skip
    assert {k: told["history"][0].get(k) for k in expected} == expected
    assert told["labels"]["semantic_similarity"] == pair["similarity"]
