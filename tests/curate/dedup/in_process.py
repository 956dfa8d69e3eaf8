"""The steps of duplicate removal run in this process on tables, without workers: what the partitioned way answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.dedup import ExactConfig
from curate.dedup.index_config import IndexConfig
from curate.store.folder import LocalFolder
from curate.store.manifest import Entry, Manifest
from curate.store.shards import write_table
from pipelines.config import load_config
from pipelines.steps import dedup_index, opt_out
from pipelines.steps.base import Run, Step, Work, fingerprints
from pipelines.steps.dedup import added_steps
from pipelines.tasks import Task, run_task

NAMES = {ExactConfig: "exact", IndexConfig: "index"}


class Documents(Step):
    """Stands for the passes before: the documents are there."""

    name = "documents"

    def material(self) -> dict[str, Any]:
        return {}

    def execute(self, partition: str, work: Work) -> Any:
        raise NotImplementedError


def make_run(folder: Path, shards: list[pa.Table], dedup: list[Any], **sections: Any) -> Run:
    """A run whose documents are written, with these dedup configs and other sections of the config."""
    store = LocalFolder(folder / "out")
    entries = []
    for number, table in enumerate(shards):
        name = f"{number:05d}"
        write_table(store, f"documents/{name}.parquet", table)
        write_table(store, f"labels/documents/{name}.parquet", table.select(["id"]))
        entries.append(Entry(name, f"{name}.jsonl", "", "jsonl", table.nbytes, ""))
    named = [{NAMES.get(type(one), "minhash"): one.model_dump(mode="json")} for one in dedup]
    config = {
        "run": {"output": str(folder / "out")},
        "input": {"kind": "jsonl", "paths": ["elsewhere"]},
        "dedup": named,
        **sections,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "c.yaml").write_text(json.dumps(config), encoding="utf-8")
    return Run(load_config(folder / "c.yaml"), store, Manifest(tuple(entries)), folder)


def steps_of(run: Run) -> list[Step]:
    """The steps of duplicate removal, and of opt-out if the config has it."""
    first = opt_out.added_steps(run)[:1]
    last = dedup_index.added_steps(run, ()) if run.config.duplicates("index") else []
    return [*first, *added_steps(run, (Documents(run),)), *last]


#: bounds so small that every one of them is reached
TINY = {"section_entries": 8, "entries_at_once": 64, "buffer_bytes": 500, "memory_mb": 0.005, "pairs_held": 2,
        "least_pairs": 2}  # fmt: skip


def do(run: Run, *names: str, **bounds: float) -> None:
    """Execute the named steps (all if none is named), in order."""
    steps = steps_of(run)
    for step in steps:
        for name, value in bounds.items():
            if hasattr(step, name):
                setattr(step, name, value)
    prints = fingerprints([Documents(run), *steps])
    for step in steps:
        if not names or step.name in names:
            for partition in step.partitions():
                fingerprint, material = prints[step.name, partition]
                run_task(step, Task(step.name, partition, fingerprint, material), Work())


def answer(run: Run) -> tuple[dict[str, pa.Table], pa.Table, dict[str, int]]:
    """Labels per shard, pairs, and the sums."""
    labels = {s: run.folder.table(f"labels/dedup/{s}.parquet") for s in run.shards}
    return labels, run.folder.table("dedup/pairs.parquet"), json.loads(run.folder.read("dedup/audit.json"))
