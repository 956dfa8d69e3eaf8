"""Repeated lines: what counting, summing and marking cost, and what a Bloom filter saves and errs.

    python -m tests.benchmarks.lines [DOCUMENTS]

Prints one JSON object per measurement. Texts are those of the development data (``weborganizer_dev``) if it is there,
else invented; CPU seconds of this process, kernels compiled before.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.dedup.lines.bloom import CountingFilter, Size, fill_filter
from curate.dedup.lines.config import LinesConfig
from curate.dedup.lines.count import Counts, ExactRepeats, ShardCounter, halves, summed, units_of
from curate.documents import document_id
from curate.store.folder import LocalFolder
from tests.running import REPO, WORDS

_BATCH = 512


def texts(documents: int) -> pa.Array:
    """So many texts, the development data again and again if need be."""
    folder = Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared")) / "data/weborganizer_dev/docs.parquet"
    if folder.is_file():
        found = pa.concat_arrays(pq.read_table(folder, columns=["text"])["text"].chunks)
    else:
        lines = [" ".join(WORDS[(i * 7 + j) % len(WORDS)] for j in range(i % 17)) for i in range(500)]
        found = pa.array(["\n".join(lines[(d * 3 + i * i) % 500] for i in range(25)) for d in range(2000)])
    return found.take(pa.array(np.arange(documents) % len(found)))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came out."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def emit(name: str, **values: Any) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"measure": name, **values, "peak_mb": round(peak)}), flush=True)


def measure(documents: int) -> dict[str, float]:
    """All measurements; MB of text per CPU second by name."""
    config = LinesConfig(min_occurrences=2)
    given = texts(documents)
    ids = pa.array([document_id("bench", i) for i in range(documents)])
    megabytes = sum(len(t) for t in given.cast(pa.binary()).to_pylist()) / 1e6
    units_of(given.slice(0, 5), config)
    seconds, found = timed(lambda: units_of(given, config))
    speeds = {"keys": megabytes / seconds}
    emit("keys", mb_per_s=round(speeds["keys"]), units=len(found.key), documents=documents)

    def count(folder: Path) -> Any:
        counter = ShardCounter(config, folder)
        for start in range(0, documents, _BATCH):
            counter.add(ids.slice(start, _BATCH), given.slice(start, _BATCH))
        return counter.write(LocalFolder(folder), "counts.parquet")

    with tempfile.TemporaryDirectory() as place:
        seconds, sealed = timed(lambda: count(Path(place)))
    speeds["count"] = megabytes / seconds
    rows = sealed.output.rows
    emit("count", mb_per_s=round(speeds["count"]), distinct=rows, bytes_each=round(sealed.output.bytes / rows, 1))

    high, low = halves(ids)
    d = found.document
    counts = summed([Counts(found.key, np.ones(len(d), np.uint32), high[d], low[d])])
    repeats = ExactRepeats(counts.chosen(counts.documents >= 2), True)
    seconds, marked = timed(lambda: repeats.marked(found.key, high[d], low[d], found.first))
    emit("look up", million_units_per_s=round(len(d) / 1e6 / seconds, 1), marked=int(marked.sum()))
    _filter(1_000_000)
    return speeds


def _filter(keys: int) -> None:
    random = np.random.default_rng(1)
    known = np.unique(random.integers(0, 1 << 63, keys, np.uint64))
    zeros = np.zeros(len(known), np.uint64)
    size = Size.for_keys(len(known), 0.001)
    CountingFilter(size).add(known[:1], np.ones(1, np.uint32))
    part = Counts(known, np.ones(len(known), np.uint32), zeros, zeros)
    seconds, (made, measured) = timed(lambda: fill_filter([part], size, len(known), 2))
    asking, _ = timed(lambda: made.counts(known))
    emit(
        "bloom", million_added_per_s=round(len(known) / 1e6 / seconds, 1), fill=round(made.fill, 3),
        million_asked_per_s=round(len(known) / 1e6 / asking, 1), bytes_each=round(len(made.cells) / len(known), 1),
        estimated_rate=round(made.estimated_rate(), 5), measured_rate=round(measured.rate, 5),
    )  # fmt: skip


@pytest.mark.bench
def test_lines_are_counted_faster_than_pages_are_extracted() -> None:
    assert measure(4000)["count"] > 10


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 7745)
