"""Start-up: CPU seconds of ``curate --help``, of imports, and until the first document has passed.

    python tests/benchmarks/startup.py [--profile]

Prints one JSON line per task: user and system time of a fresh process and its children, least of five runs, beside the
bare interpreter's, and wall time; with ``--profile`` also the modules that take longest to import. Compiled kernels
come from their cache: each task runs once before it is measured. As in the processes of `curate`, OpenBLAS has one
thread: its idle ones spin for 0.1 s of CPU time in every process that imports NumPy.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
MUST = {"curate --help": 0.15, "import of the core": 0.3, "first document": 1.0}
CORE = "import curate.documents, curate.sources.warc, curate.stages.extract_html, curate.store.shards"

FIRST = """
import sys
from pathlib import Path
from curate.sources.base import InputFile, ReadOptions
from curate.sources.warc import WarcSource
from curate.stages.base import Context
from curate.stages.extract_html import ExtractHtml
path = Path(sys.argv[1])
source = WarcSource(InputFile(str(path), path.name, "warc", path.stat().st_size, ""), ReadOptions())
stages = [ExtractHtml()]
for stage in stages:
    stage.open(Context())
with path.open("rb") as file:
    for batch in source.batches(file):
        for stage in stages:
            batch = stage.process(batch.at(stage.name))
        assert len(batch) == 1
for stage in stages:
    stage.close()
"""
TASKS = {
    "python": ("-c", "pass"),
    "import pyarrow and numpy": ("-c", "import pyarrow.compute, numpy"),
    "import typer": ("-c", "import typer"),
    "curate --help": ("-c", "from pipelines.cli import main; main()", "--help"),
    "import curate": ("-c", "import curate"),
    "import of the core": ("-c", CORE),
    "first document": ("-c", FIRST),
}


def cpu(command: list[str], rounds: int) -> tuple[float, float]:
    """Least user and system time of the command and its children, and least wall time, in seconds."""
    best = wall = float("inf")
    environment = {**os.environ, "COLUMNS": "100", "OPENBLAS_NUM_THREADS": "1"}
    for _ in range(rounds):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True, cwd=REPO, stdout=subprocess.DEVNULL, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = min(wall, time.monotonic() - start)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best, wall


def archive(folder: Path) -> Path:
    """A WARC of one page."""
    body = b"<html><body><main><h1>One</h1><p>" + b"A page with a sentence or two. " * 20 + b"</p></main></body></html>"
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:0>\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
        f"WARC-Target-URI: http://example.org/\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    path = folder / "a.warc"
    path.write_bytes(head.encode() + block + b"\r\n\r\n")
    return path


def slowest(task: tuple[str, ...], count: int = 12) -> list[dict[str, Any]]:
    """The modules whose import takes longest, with all that they import, in ms of wall time."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *task], check=True, cwd=REPO, capture_output=True, text=True
    )
    rows = [line.split(":", 1)[1].split("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    found = [(int(row[1]), row[2].strip()) for row in rows if row[1].strip().isdigit()]
    return [{"module": name, "ms": us / 1e3} for us, name in sorted(found, reverse=True)[:count]]


def measure(rounds: int = 5) -> dict[str, float]:
    """CPU seconds by task."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        path = str(archive(Path(name)))
        for task, arguments in TASKS.items():
            command = [sys.executable, *arguments, *([path] if task == "first document" else [])]
            cpu(command, 1)
            found[task], wall = cpu(command, rounds)
            row = {"bench": task, "cpu_s": round(found[task], 3), "wall_s": round(wall, 3), "must": MUST.get(task)}
            print(json.dumps(row), flush=True)
    return found


@pytest.mark.bench
def test_start_is_quick() -> None:
    found = measure()
    assert {task: found[task] for task in MUST if found[task] > MUST[task]} == {}


if __name__ == "__main__":
    measure()
    if "--profile" in sys.argv:
        for one in ("curate --help", "import of the core"):
            print(json.dumps({"profile": one, "slowest": slowest(TASKS[one])}))
