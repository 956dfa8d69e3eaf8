"""Repeated spans: CPU seconds per MB and temporary disk per byte of text, beside a plain suffix array; JSON lines.

    python tests/benchmarks/substring.py [TEXTS.parquet …] [--shards 4] [--partitions 4]

Without files, ``weborganizer_dev``, ``annotated_web_dev`` (few repeats) and ``ota_neardup_dev`` (nearly all repeats)
are read (``CURATE_SHARED``). One process; compiled code is loaded beforehand. The suffix array needs the package
``pydivsufsort`` and is left out where it is missing. It holds the whole corpus in memory; its spans must be the same to
the byte.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from curate.dedup.substring import find as passes  # noqa: E402
from curate.dedup.substring.config import SubstringConfig  # noqa: E402
from curate.documents import document_id  # noqa: E402
from curate.store.folder import LocalFolder  # noqa: E402

Shards = dict[str, list[pa.RecordBatch]]


def emit(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


def default_files() -> list[Path]:
    data = Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared")) / "data"
    return [data / "weborganizer_dev/docs.parquet", data / "annotated_web_dev/docs.parquet",
            data / "ota_neardup_dev/texts.parquet"]  # fmt: skip


def read_shards(file: Path, count: int, rows: int = 512) -> tuple[Shards, int]:
    """The texts of a file dealt out to shards, and their bytes."""
    texts = [t for t in pq.read_table(file, columns=["text"])["text"].to_pylist() if t]
    shards: Shards = {}
    for s in range(count):
        own = texts[s::count]
        ids = [document_id(f"{file.stem}-{s}", i) for i in range(len(own))]
        table = pa.table({"id": ids, "text": own, "row": pa.array(range(len(own)), pa.int32())})
        shards[f"{s:05d}"] = table.to_batches(max_chunksize=rows)
    return shards, sum(len(t.encode()) for t in texts)


@contextmanager
def measured(costs: dict[str, float], name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    costs[name] = time.process_time() - start


def ours(
    shards: Shards, config: SubstringConfig, partitions: int
) -> tuple[dict[str, float], int, dict[str, list[Any]]]:
    """CPU seconds per pass, bytes of temporary files, and the spans of every shard's documents."""
    costs: dict[str, float] = {}
    found: dict[str, list[Any]] = {name: [] for name in shards}
    with tempfile.TemporaryDirectory() as scratch:
        folder = LocalFolder(Path(scratch))
        with measured(costs, "seeds"):
            for name, batches in shards.items():
                passes.sign_shard(folder, name, batches, config, partitions)
        with measured(costs, "join_seeds"):
            for k in range(partitions):
                passes.join_seeds(folder, list(shards), config, k, partitions)
        with measured(costs, "windows"):
            for name, batches in shards.items():
                passes.find_windows(folder, name, batches, config, partitions)
        with measured(costs, "join_windows"):
            for k in range(partitions):
                passes.join_windows(folder, list(shards), config, k, partitions)
        with measured(costs, "spans"):
            for name, batches in shards.items():
                with passes.SpanFinder.opened(folder, name, config, partitions) as finder:
                    for part in passes.slices(batches):
                        found[name].append(finder.spans(part)[0])
        disk = sum(path.stat().st_size for path in Path(scratch).rglob("*.parquet"))
    return costs, disk, found


def by_suffix_array(shards: Shards, n: int) -> tuple[float, np.ndarray[Any, np.dtype[np.bool_]]]:
    """CPU seconds, and per byte of the corpus whether a stretch of ``n`` bytes that occurs twice covers it."""
    from pydivsufsort import divsufsort, kasai

    pieces = [t.as_py().encode() + b"\xff" for batches in shards.values() for b in batches for t in b.column("text")]
    data = np.frombuffer(bytearray(b"".join(pieces)), np.uint8)
    start = time.process_time()
    order = divsufsort(data)
    common = kasai(data, order)  # with the suffix that follows in order
    twice = common >= n
    repeats = np.zeros(len(data), np.bool_)
    repeats[order[:-1][twice[:-1]]] = True
    repeats[order[1:][twice[:-1]]] = True
    borders = np.concatenate([[0], np.cumsum(data == 0xFF)])
    inside = np.zeros(len(data), np.bool_)
    inside[: max(0, len(data) - n + 1)] = borders[n:] == borders[:-n]
    edges = np.zeros(len(data) + n, np.int64)
    places = np.flatnonzero(repeats & inside)
    np.add.at(edges, places, 1)
    np.add.at(edges, places + n, -1)
    covered = np.cumsum(edges)[: len(data)] > 0
    return time.process_time() - start, covered[data != 0xFF]


def covered_by(shards: Shards, found: dict[str, list[Any]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Per byte of the corpus whether a span covers it."""
    out = []
    for name, batches in shards.items():
        spans = [document for part in found[name] for document in part.to_pylist()]
        texts = [t.as_py().encode() for b in batches for t in b.column("text")]
        for text, own in zip(texts, spans, strict=True):
            marks = np.zeros(len(text), np.bool_)
            for span in own:
                marks[span["start"] : span["end"]] = True
            out.append(marks)
    return np.concatenate(out)


def whole_characters(shards: Shards, covered: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, Any]:
    """The marks without the parts of characters at the ends of spans, which ours leaves out."""
    texts = (t.as_py().encode() for batches in shards.values() for b in batches for t in b.column("text"))
    data = np.frombuffer(b"".join(texts), np.uint8)
    character = np.cumsum(data & 0xC0 != 0x80) - 1
    missing = np.zeros(character[-1] + 1, np.bool_)
    missing[character[~covered]] = True
    return covered & ~missing[character]


def run(files: list[Path], shards: int, partitions: int, say: Callable[..., None] = emit) -> None:
    """One line per file and unit, and one for the comparison."""
    warm = SubstringConfig(unit="words", n=4), SubstringConfig(unit="bytes", n=4)
    for config in warm:
        rows = {"id": ["0" * 32] * 2, "text": ["a b c d e"] * 2, "row": pa.array([0, 1], pa.int32())}
        ours({"a": [pa.record_batch(rows)]}, config, 1)
    for file in files:
        texts, size = read_shards(file, shards)
        for unit, n in (("words", 50), ("bytes", 200)):
            config = SubstringConfig(unit=unit, n=n, within=True, keep="none")
            costs, disk, found = ours(texts, config, partitions)
            mb = size / 1e6
            marks = covered_by(texts, found)
            say(
                "substring", file=file.parent.name, unit=unit, n=n, mb=round(mb, 1),
                shards=shards, partitions=partitions,
                cpu_s_per_mb=round(sum(costs.values()) / mb, 4), disk_bytes_per_byte=round(disk / size, 3),
                repeated_ratio=round(float(marks.mean()), 4),
                peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                **{f"{name}_s_per_mb": round(cost / mb, 4) for name, cost in costs.items()},
            )  # fmt: skip
        if find_spec("pydivsufsort") is None:
            say("suffix_array", skipped="pydivsufsort is not installed")
            continue
        seconds, covered = by_suffix_array(texts, n)
        same = bool((whole_characters(texts, covered) == marks).all())
        say("suffix_array", file=file.parent.name, unit=unit, n=n, cpu_s_per_mb=round(seconds / mb, 4), same_spans=same,
            ours_times_faster=round(seconds / sum(costs.values()), 2))  # fmt: skip


@pytest.mark.bench
def test_spans_cost_little_and_equal_a_suffix_array() -> None:
    said: list[dict[str, Any]] = []
    files = [f for f in default_files() if f.is_file()]
    if not files:
        pytest.skip("development data not found (set CURATE_SHARED)")
    run(files[-1:], 3, 2, lambda name, **values: said.append({"name": name, **values}))
    for line in said:
        print(json.dumps(line))
    assert all(line.get("same_spans", True) for line in said)
    assert all(line["disk_bytes_per_byte"] < 8 for line in said if line["name"] == "substring")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--partitions", type=int, default=4)
    given = parser.parse_args()
    run(given.files or default_files(), given.shards, given.partitions)


if __name__ == "__main__":
    main()
