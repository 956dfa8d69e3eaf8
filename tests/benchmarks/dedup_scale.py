"""Duplicate removal as it grows: CPU, memory and disk of every task, by the number of documents; prints JSON lines.

    python tests/benchmarks/dedup_scale.py [--documents 10000,100000,1000000] [--signatures 100000,1000000,10000000]

``--documents``: invented texts of about 60 words, a tenth of them in families of near copies, go as JSONL through
configs/dedup_jsonl.yaml on one worker: everything, from reading to the labels, with candidates verified.
``--signatures``: keys alone, 16 per document and made up, go through joining by key range and the union of components:
what does not depend on texts. Figures are CPU seconds and peak resident memory from the receipts of the tasks, and of a
process of its own for the keys; bytes are those of the files that tasks hand each other.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

SHARD_DOCUMENTS = 100_000
BANDS = 16
#: ranges of keys per million documents
RANGES_PER_MILLION = 4


def emit(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


# ---------------------------------------------------------------- texts, all the way


def write_texts(folder: Path, count: int) -> None:
    """JSONL shards; document ``d`` is a function of ``d``. Every tenth is another's text with a word changed."""
    folder.mkdir(parents=True)
    ends = "bar del fin gos hul jem kip lor mus nat por quil rem sod tuv".split()
    vocabulary = np.array([a + b for a in "ka lo mi nu re sa ti vo ze pu".split() for b in ends])
    for start in range(0, count, SHARD_DOCUMENTS):
        number = np.arange(start, min(start + SHARD_DOCUMENTS, count))
        copies = number % 10 == 9
        seed = np.where(copies, number - number % 100, number)  # copies of every hundredth document: families of eleven
        words = np.stack([np.random.default_rng(int(s)).integers(0, len(vocabulary), 60) for s in seed])
        words[copies, 30] = number[copies] % len(vocabulary)
        with (folder / f"part-{start // SHARD_DOCUMENTS:04d}.jsonl").open("w", encoding="ascii") as out:
            for d, row in zip(number.tolist(), words, strict=True):
                out.write(json.dumps({"id": str(d), "text": " ".join(vocabulary[row])}) + "\n")


def whole(count: int) -> dict[str, Any]:
    """One run over ``count`` documents."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        write_texts(work / "in", count)
        command = [sys.executable, "-m", "pipelines.cli", "run", str(REPO / "configs" / "dedup_jsonl.yaml"),
                   "--set", f"input.paths=[{work / 'in'}]", "--set", f"run.output={work / 'run'}",
                   "--set", "run.workers=1", "--set", "report=null"]  # fmt: skip
        subprocess.run(command, check=True, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        steps: dict[str, dict[str, float]] = {}
        for folder in sorted((work / "run" / "receipts").iterdir()):
            receipts = [json.loads(f.read_text()) for f in folder.glob("*.json")]
            steps[folder.name] = {
                "tasks": len(receipts),
                "cpu_s": round(sum(r["cost"]["cpu_seconds"] for r in receipts), 2),
                "rss_mb": round(max(r["cost"]["max_rss_mb"] for r in receipts)),
                "mb": round(sum(o["bytes"] for r in receipts for o in r["outputs"]) / 1e6, 1),
            }
        removed = pq.read_metadata(work / "run" / "dedup" / "pairs.parquet").num_rows
        dedup = {name: step for name, step in steps.items() if name.startswith("dedup")}
        found = {"documents": count, "removed": removed, "steps": steps,
                 "dedup_cpu_us_document": round(sum(s["cpu_s"] for s in dedup.values()) / count * 1e6, 1),
                 "dedup_rss_mb": max(s["rss_mb"] for s in dedup.values()),
                 "dedup_bytes_document": round(sum(s["mb"] for s in dedup.values()) / count * 1e6, 1)}  # fmt: skip
    emit("texts", **found)
    return found


# ---------------------------------------------------------------- keys alone


def made_up_keys(start: int, count: int, total: int) -> Any:
    """``ENTRIES`` of documents whose keys are hashes of their numbers; a tenth share all keys with another document."""
    import pyarrow as pa

    from curate.dedup.keys import BAND, ENTRIES

    documents = np.arange(start, start + count, dtype=np.uint64)
    other = documents * np.uint64(2654435761) % np.uint64(total)
    of = np.where(documents % 10 == 9, other - other % 10, documents)
    bands = np.arange(BANDS, dtype=np.uint64)
    mixed = (of[:, None] * np.uint64(BANDS) + bands[None, :] + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    key = (mixed & ~np.uint64(3) | np.uint64(BAND)).ravel()
    rows = np.repeat(np.arange(count, dtype=np.int32), BANDS)
    order = np.lexsort((rows, key))
    text = np.zeros(len(key), np.uint64)
    return pa.Table.from_arrays([pa.array(key[order]), pa.array(rows[order]), pa.array(text)], schema=ENTRIES)


def keys(count: int) -> dict[str, Any]:
    """Join and union over made-up keys, in this process; call it in one of its own for its memory."""
    from curate.dedup.keys import join_entries, read_keys, write_keys
    from curate.dedup.links import Components, link_entries
    from curate.store.folder import open_folder
    from curate.store.sections import SectionReader

    seconds: dict[str, float] = {}
    clock = time.process_time()

    def lap(name: str) -> None:
        nonlocal clock
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - clock
        clock = time.process_time()

    ranges = 1 << max(0, (count * RANGES_PER_MILLION // 1_000_000 - 1)).bit_length()
    with tempfile.TemporaryDirectory() as place:
        folder = open_folder(place)
        sealed = []
        for start in range(0, count, SHARD_DOCUMENTS):
            table = made_up_keys(start, min(SHARD_DOCUMENTS, count - start), count)
            lap("making")
            sealed.append((start, write_keys(folder, f"keys-{start}.parquet", table)))
            lap("writing")
        links = []
        for k in range(ranges):
            parts = []
            for start, file in sealed:
                with SectionReader(folder, file.output.path, file) as reader:
                    parts.append((start, read_keys(reader, k, ranges), None))
            lap("reading")
            links.append(link_entries(join_entries(iter(parts)), 16))
            lap("joining")
        components = Components(count)
        for three in links:
            components.unite(*three)
        united = components.number()
        lap("uniting")
        disk = sum(file.output.bytes for _, file in sealed)
    ours = sum(s for name, s in seconds.items() if name != "making")
    return {"documents": count, "ranges": ranges, "components": united,
            "cpu_s": {n: round(s, 2) for n, s in seconds.items()}, "cpu_us_document": round(ours / count * 1e6, 2),
            "bytes_document": round(disk / count, 1),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}  # fmt: skip


def keys_apart(count: int) -> dict[str, Any]:
    """``keys`` in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--keys-here", str(count)], check=True, cwd=REPO,
                          capture_output=True, text=True)  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    emit("keys", **found)
    return found


@pytest.mark.bench
def test_cpu_per_document_and_memory_do_not_grow() -> None:
    small, large = whole(10_000), whole(100_000)
    assert large["dedup_cpu_us_document"] < 1.15 * small["dedup_cpu_us_document"]
    assert small["removed"] == 10_000 // 10
    few, many = keys_apart(1_000_000), keys_apart(4_000_000)
    assert many["cpu_us_document"] < 1.15 * few["cpu_us_document"]
    assert many["components"] > 3 * few["components"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", default="10000,100000,1000000")
    parser.add_argument("--signatures", default="100000,1000000,10000000")
    parser.add_argument("--keys-here", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.keys_here:
        keys(100)  # loads the compiled kernels
        print(json.dumps(keys(given.keys_here)))
    else:
        for size in filter(None, given.documents.split(",")):
            whole(int(size))
        for size in filter(None, given.signatures.split(",")):
            keys_apart(int(size))
