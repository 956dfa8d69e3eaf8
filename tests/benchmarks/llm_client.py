"""Requests per second of the language models' client against the scripted server, and its memory over many documents.

    python tests/benchmarks/llm_client.py [--documents 100000] [--bytes 3000] [--concurrency 64] [--capacity N]

Client and server are one process each; CPU seconds of both are given, with journal as in a run. Prints one JSON line
per tenth of the documents (resident memory then) and one for the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from curate.rewrite.client import Stats  # noqa: E402
from curate.rewrite.complete import complete_all  # noqa: E402
from curate.rewrite.config import ClientConfig  # noqa: E402
from curate.rewrite.journal import Journal  # noqa: E402
from curate.rewrite.requests import Message, Request, Sampling  # noqa: E402


def resident_mb(pid: int | str = "self") -> float:
    """Resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of another process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def documents(n: int, size: int) -> Iterator[Request]:
    """Requests of about ``size`` bytes, all different."""
    sampling = Sampling(max_tokens=64)
    filler = "lorem ipsum dolor sit amet " * (size // 27)
    for i in range(n):
        yield Request(f"{i:032x}", "bench", (Message("user", f"{filler} {i}"),), sampling=sampling)


def measure(n: int, size: int, concurrency: int, capacity: int | None = None) -> dict[str, Any]:
    """Run ``n`` documents through client, journal and server."""
    command = [sys.executable, str(ROOT / "tests" / "llm_stub.py")]
    if capacity is not None:
        command += ["--capacity", str(capacity), "--service-seconds", "0.005"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    url = json.loads(server.stdout.readline())["url"]
    memory: list[float] = []
    stats = Stats()
    try:
        with tempfile.TemporaryDirectory() as folder, Journal(folder, "bench") as journal:
            config = ClientConfig(
                url=url, model="stub", max_concurrency=concurrency, backoff_s=0.02, max_attempts=30,
                retries_per_second=1000.0,
            )  # fmt: skip
            wall, cpu = time.monotonic(), time.process_time()
            ok = 0
            outcomes = complete_all(documents(n, size), config, journal=journal, stats=stats)
            for done, outcome in enumerate(outcomes, 1):
                ok += outcome.ok
                if done % (n // 10) == 0:
                    memory.append(resident_mb())
                    print(json.dumps({"documents": done, "resident_mb": round(memory[-1], 1)}), flush=True)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
            theirs = cpu_seconds(server.pid)
            journal_mb = sum(p.stat().st_size for p in Path(folder).rglob("*.journal")) / 1e6
    finally:
        server.kill()
        server.wait()
    return {
        "documents": n, "answered": ok, "attempts": stats.attempts, "last_limit": stats.last_limit,
        "wall_s": round(wall, 2), "requests_per_s": round(n / wall), "client_cpu_s": round(cpu, 2),
        "server_cpu_s": round(theirs, 2), "requests_per_cpu_s_both": round(n / (cpu + theirs)),
        "requests_per_client_cpu_s": round(n / cpu), "resident_mb": memory, "journal_mb": round(journal_mb, 1),
        "load": os.getloadavg()[0],
    }  # fmt: skip


@pytest.mark.bench
@pytest.mark.timeout(1200)
def test_memory_is_flat_and_a_core_carries_500_requests_per_second() -> None:
    found = measure(100_000, 3000, 64)
    print(json.dumps(found))
    assert found["answered"] == found["attempts"] == 100_000
    # After the first tenth only the index of the journal grows: 24 bytes per answer, and its table of recent ones
    assert found["resident_mb"][-1] - found["resident_mb"][0] < 40
    assert found["requests_per_cpu_s_both"] >= 500


def main() -> int:
    """Measure what the arguments say."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--documents", type=int, default=100_000)
    options.add_argument("--bytes", type=int, default=3000)
    options.add_argument("--concurrency", type=int, default=64)
    options.add_argument("--capacity", type=int, help="the server refuses more at once with 429")
    given = options.parse_args()
    print(json.dumps(measure(given.documents, given.bytes, given.concurrency, given.capacity)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
