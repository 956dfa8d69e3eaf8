"""Duplicate removal killed in each of its phases, with other numbers of workers, with shards in another order."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.running import curate, digests, write_config

PHASES = ["dedup_sign", "dedup_join", "dedup_components", "dedup_gather", "dedup_solve", "dedup_pairs", "dedup"]
FILES = 4


def write_families(folder: Path) -> Path:
    """Four files of invented documents: near-duplicates in chains, copies, and what is like nothing else."""
    folder.mkdir(parents=True)
    for number in range(FILES):
        lines = []
        for i in range(30):
            at = number * 30 + i
            first = 10 * (at % 17) if i % 3 else 5000 * at
            words = [f"w{n}" for n in range(first, first + 110)]
            text = "a text that many pages carry in the very same words" if i % 10 == 9 else " ".join(words)
            lines.append(json.dumps({"id": f"n{number}-{i}", "text": text, "url": f"https://example.org/{at}"}))
        (folder / f"part-{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def config(path: Path, source: Path, **changes: Any) -> Path:
    dedup = [{"exact": {"partitions": 2}}, {"minhash": {"threshold": 0.8}}]
    run = {"name": "same", "task_attempts": 1} | changes.pop("run", {})
    return write_config(path, source, stages=[], dedup=dedup, recipe=None, run=run, **changes)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_families(tmp_path_factory.mktemp("input") / "input")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = config(tmp_path_factory.mktemp("reference") / "reference.json", source, run={"workers": 1})
    result = curate("run", str(path))
    assert result.returncode == 0, result.stderr
    return path.with_suffix("")


def removed(run: Path) -> dict[str, tuple[str, str]]:
    """Own id of each dropped document → that of its survivor, and why."""
    rows = pq.read_table(run / "dedup" / "pairs.parquet").to_pylist()
    return {r["removed_source_id"]: (r["survivor_source_id"], r["kind"]) for r in rows}


def test_the_pairs_are_those_of_the_families(undisturbed: Path) -> None:
    found = removed(undisturbed)
    assert {kind for _, kind in found.values()} == {"exact", "minhash"}
    assert len(found) > 60
    kept = [i for p in (undisturbed / "corpus").glob("*.parquet") for i in pq.read_table(p)["source_id"].to_pylist()]
    assert len(kept) + len(found) == 120
    assert {survivor for survivor, _ in found.values()} <= set(kept)


def restart_at(run: Path, phase: str) -> None:
    """Take away the receipts of a phase and of all behind it."""
    for step in [*PHASES[PHASES.index(phase) :], "select", "card"]:
        shutil.rmtree(run / "receipts" / step, ignore_errors=True)


#: in the default suite: what decides, its files written and its receipt not
OFTEN = ("dedup_solve", "receipt.before")
WHERE = [(phase, place) for phase in PHASES for place in ("store.before_rename", "receipt.before")]


@pytest.mark.parametrize(
    ("phase", "place"), [w if w == OFTEN else pytest.param(*w, marks=pytest.mark.slow) for w in WHERE]
)
def test_a_run_killed_in_a_phase_of_duplicate_removal_is_finished_by_the_next(
    phase: str, place: str, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    path = config(tmp_path / "killed.json", source, run={"workers": 2})
    run = path.with_suffix("")
    shutil.copytree(undisturbed, run)
    restart_at(run, phase)
    first = curate("run", str(path), failpoint=f"{place}:kill")
    # every worker dies at its first file or receipt of this phase, until the task is given up
    assert first.returncode in {0, -signal.SIGKILL, 6}, first.stderr
    second = curate("run", str(path))
    assert second.returncode == 0, second.stderr
    assert digests(run) == digests(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 8])
def test_the_number_of_workers_decides_nothing(workers: int, source: Path, undisturbed: Path, tmp_path: Path) -> None:
    path = config(tmp_path / "many.json", source, run={"workers": workers})
    result = curate("run", str(path))
    assert result.returncode == 0, result.stderr
    assert digests(path.with_suffix("")) == digests(undisturbed)


@pytest.mark.slow
def test_shards_in_another_order_keep_documents_of_the_same_texts(
    source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    turned = tmp_path / "input"
    turned.mkdir()
    for number in range(FILES):
        shutil.copy(source / f"part-{number}.jsonl", turned / f"part-{FILES - number}.jsonl")
    # ids follow from file names; with a preference by the documents' own ids the same ones survive
    prefer = {"prefer": [{"column": "source_id"}]}
    kept = []
    for name, folder in (("one", source), ("other", turned)):
        path = write_config(
            tmp_path / f"{name}.json", folder, stages=[], recipe=None,
            dedup=[{"exact": {"partitions": 2, **prefer}}, {"minhash": {}}],
        )  # fmt: skip
        result = curate("run", str(path))
        assert result.returncode == 0, result.stderr
        kept.append(removed(path.with_suffix("")))
    assert kept[0] == kept[1]
    assert kept[0].keys() != set()


@pytest.mark.slow
def test_a_damaged_file_between_tasks_stops_the_run_and_says_what_to_do(
    source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    path = config(tmp_path / "hurt.json", source)
    run = path.with_suffix("")
    shutil.copytree(undisturbed, run)
    restart_at(run, "dedup_join")
    victim = run / "steps" / "dedup_sign" / "keys-00002.parquet"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    result = curate("run", str(path))
    assert result.returncode in {5, 6}, result.stderr
    assert "keys-00002.parquet was damaged" in result.stderr
    assert "delete it and run the same command again" in result.stderr
    victim.unlink()
    again = curate("run", str(path))
    assert again.returncode == 0, again.stderr
    assert digests(run) == digests(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["store.before_rename:kill@5", "store.after_rename:kill@7", "receipt.before:kill"])
def test_a_run_killed_while_it_publishes_its_dump_leaves_no_half_dump(place: str, source: Path, tmp_path: Path) -> None:
    index = [{"exact": {}}, {"minhash": {}}, {"index": {"path": str(tmp_path / "index"), "name": "dump"}}]
    path = write_config(
        tmp_path / "one.json", source, stages=[], recipe=None, dedup=index, run={"workers": 1, "task_attempts": 1}
    )
    run, dump = path.with_suffix(""), tmp_path / "index" / "dump"
    assert curate("run", str(path)).returncode == 0
    manifest = json.loads((dump / "dump.json").read_text())
    shutil.rmtree(run / "receipts" / "dedup_index")
    shutil.rmtree(dump)
    first = curate("run", str(path), failpoint=place)
    assert first.returncode in {0, 6}, first.stderr
    if not (dump / "dump.json").exists():
        other = write_config(
            tmp_path / "other.json", source, stages=[], recipe=None,
            dedup=[{"exact": {}}, {"minhash": {}}, {"index": {"path": str(tmp_path / "index"), "name": "other"}}],
        )  # fmt: skip
        refused = curate("run", str(other))
        assert refused.returncode == 5, refused.stderr
        assert "dump has no dump.json" in refused.stderr
    second = curate("run", str(path))
    assert second.returncode == 0, second.stderr
    assert json.loads((dump / "dump.json").read_text()) == manifest
    names = {f["output"]["path"] for p in manifest["parts"] for f in p["files"].values()}
    assert {str(p.relative_to(tmp_path / "index")) for p in dump.rglob("*.parquet")} == names
