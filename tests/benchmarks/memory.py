"""Peak memory of a run against the number of pages: it must stay flat and under 1.5 GB.

    python tests/benchmarks/memory.py [--config configs/extract_only.yaml] [--pages 4000,32000,100000] [--set K=V …]

Packs short pages of the development data again and again into one archive, each record with an id of its own, and runs
the config over it with one worker; the largest archive fills several row groups of 64 MB. Prints one JSON line per
size: the largest resident size of any process of the run (the worker, the guarded child that parses, the command
itself), CPU per page, and at the end the growth per 1,000 pages.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import pytest  # noqa: E402

from tests.benchmarks.throughput import SHARED, archive, pack  # noqa: E402

LIMIT_MB = 1536
#: growth from the second to the largest archive that is called flat, in MB; both fill a row group
FLAT_MB = 100
#: longest page, in characters, so that many pages are few bytes
MOST_CHARS = 20_000
_MEASURED = (
    "import json, resource, subprocess, sys; "
    "code = subprocess.call(json.loads(sys.argv[1]), stdout=subprocess.DEVNULL); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(json.dumps([code, used.ru_maxrss, used.ru_utime + used.ru_stime]))"
)


def some_pages(count: int = 1000) -> list[dict[str, Any]]:
    """The first pages of the crawl in the development data."""
    path = SHARED / "data" / "debcrawl" / "crawl-00.warc.gz"
    pages: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for batch in archive(path)[1](file):
            pages += [{"html": html} for html in batch.column("html").to_pylist() if len(html) < MOST_CHARS]
    return pages[:count]


def run(folder: Path, pages: list[dict[str, Any]], count: int, config: Path, changes: list[str]) -> dict[str, Any]:
    """Peak memory and CPU of one run over ``count`` pages."""
    path = folder / f"in{count}" / "pages.warc.gz"
    pack(list(islice(cycle(pages), count)), path)
    values = ["run.workers=1", f"run.output={folder / f'out{count}'}", f"input.paths=[{path}]", *changes]
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "run", str(config)]
    command += [part for value in values for part in ("--set", value)]
    # a process of its own, so that one run's peak is not taken for the next one's
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, json.dumps(command)], check=True, cwd=REPO, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    code, peak, cpu = json.loads(done.stdout.splitlines()[-1])
    return {"pages": count, "exit": code, "peak_mb": peak / 1024, "cpu_ms_page": cpu / count * 1e3}


def main(config: Path, sizes: list[int], changes: list[str]) -> list[dict[str, Any]]:
    """One row per size."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        pages = some_pages()
        for size in sizes:
            rows.append(run(Path(name), pages, size, config, changes))
            print(json.dumps({"bench": "memory", "config": config.name, **rows[-1]}), flush=True)
    if len(rows) > 1:
        first = rows[-2]  # the smaller ones have no full row group yet
        grown, more = rows[-1]["peak_mb"] - first["peak_mb"], rows[-1]["pages"] - first["pages"]
        print(json.dumps({"bench": "growth", "mb_per_1000_pages": round(grown / more * 1e3, 2)}))
    return rows


@pytest.mark.bench
def test_memory_is_bounded_and_flat(shared: Path) -> None:
    rows = main(REPO / "configs" / "extract_only.yaml", [4000, 32000, 100000], [])
    assert all(row["exit"] == 0 for row in rows)
    assert max(row["peak_mb"] for row in rows) < LIMIT_MB
    assert rows[-1]["peak_mb"] - rows[-2]["peak_mb"] < FLAT_MB


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=REPO / "configs" / "extract_only.yaml")
    parser.add_argument("--pages", default="4000,32000,100000")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    arguments = parser.parse_args()
    main(arguments.config.absolute(), [int(n) for n in arguments.pages.split(",")], arguments.changes)
