"""Duplicate removal out of core at growing sizes: CPU, peak memory and disk of every step, as JSON lines.

    python tests/benchmarks/dedup_partitions.py [--sizes 100000,1000000] [--partitions 8] [--shards 16] [--words 24]

Documents are random words; one in ten repeats another of its shard, half of these with one word changed. All steps run
in this process, one after the other; the peak of a step holds the interpreter with its libraries (the first line).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
VOCABULARY = 40_000


def emit(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


def peak_mb() -> float:
    """Highest resident memory since ``forget_peak``."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def shard(number: int, documents: int, words: int) -> Any:
    import numpy as np
    import pyarrow as pa

    draw = np.random.default_rng(number)
    chosen = draw.integers(0, VOCABULARY, (documents, words))
    copies = np.arange(9, documents, 10)
    chosen[copies] = chosen[draw.integers(0, documents, len(copies))]
    changed = copies[::2]
    chosen[changed, draw.integers(0, words, len(changed))] = 1
    vocabulary = np.array([f"w{i}" for i in range(VOCABULARY)])
    ids = [f"{(number * documents + i) * 0x9E3779B97F4A7C15 % (1 << 64):032x}" for i in range(documents)]
    return pa.table({"id": ids, "text": [" ".join(row) for row in vocabulary[chosen]]})


def measure(documents: int, partitions: int, shards: int, words: int, folder: Path) -> dict[str, float]:
    """CPU in µs per document of each step."""
    from curate.dedup import MinhashConfig
    from curate.store.shards import write_table
    from pipelines.steps.base import Work, fingerprints
    from pipelines.tasks import Task, run_task
    from tests.curate.dedup.in_process import Documents, answer, make_run, steps_of

    each = documents // shards
    run = make_run(folder, [shard(0, 0, words)] * shards, [MinhashConfig(partitions=partitions)])
    for number in range(shards):
        table = shard(number, each, words)
        write_table(run.folder, f"documents/{number:05d}.parquet", table)
        write_table(run.folder, f"labels/documents/{number:05d}.parquet", table.select(["id"]))
    del table
    steps = steps_of(run)
    prints = fingerprints([Documents(run), *steps])
    forget_peak()
    emit("before", documents=documents, partitions=partitions, shards=shards, peak_mb=peak_mb())
    costs = {}
    for step in steps:
        forget_peak()
        start = time.process_time()
        for partition in step.partitions():
            run_task(step, Task(step.name, partition, *prints[step.name, partition]), Work())
        costs[step.name] = round((time.process_time() - start) / documents * 1e6, 2)
        disk = sum(p.stat().st_size for p in (folder / "out" / "steps" / step.name).glob("*"))
        emit(
            step.name, cpu_us_per_document=costs[step.name], peak_mb=peak_mb(), disk_bytes_per_document=disk / documents
        )
    emit("answer", after_signing_us=round(sum(costs.values()) - costs["dedup_sign"], 2), **answer(run)[2])
    return costs


def main(arguments: list[str] | None = None) -> list[dict[str, float]]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="100000,1000000")
    for name, default in (("partitions", 8), ("shards", 16), ("words", 24)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(REPO))
    found = []
    # the first one compiles the kernels and loads the libraries
    for size, partitions, shards in [
        (2000, 1, 2),
        *((int(n), given.partitions, given.shards) for n in given.sizes.split(",")),
    ]:
        folder = Path(tempfile.mkdtemp(prefix="dedup-"))
        found.append(measure(size, partitions, shards, given.words, folder))
        shutil.rmtree(folder)
    return found[1:]


@pytest.mark.bench
def test_cost_per_document_does_not_grow_with_the_corpus() -> None:
    small, large = main(["--sizes", "100000,400000"])
    for step in ("dedup_join", "dedup_components", "dedup_solve"):
        assert large[step] <= 1.15 * small[step]


if __name__ == "__main__":
    main()
