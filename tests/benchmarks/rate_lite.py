"""Documents per CPU-second of the rater ``lite`` on texts of about 3 kB; prints JSON lines.

    python tests/benchmarks/rate_lite.py [--documents 4096]

``first_batch`` is the time of opening the rater and rating its first batch in a process whose kernels are compiled
already (Numba keeps them on disk); ``steady`` is everything after that, all labels, one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

BATCH = 512


def texts(n: int, size: int) -> list[str]:
    """Prose-like texts of ``size`` bytes over a vocabulary with Zipf's law; no two are equal."""
    rng = np.random.default_rng(1)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    lengths = rng.integers(2, 11, 20_000)
    vocabulary = ["".join(rng.choice(letters, k)) for k in lengths]
    found = []
    for _ in range(n):
        words = [vocabulary[min(k, 20_000) - 1] for k in rng.zipf(1.25, size // 5).tolist()]
        lines = []
        for start in range(0, len(words), 14):
            lines.append(" ".join(words[start : start + 14]).capitalize() + "." + ("\n" if rng.random() < 0.3 else ""))
        found.append(" ".join(lines)[:size])
    return found


def measure(documents: int = 4096, size: int = 3000) -> dict[str, float]:
    """Seconds until the first batch is rated, and documents per CPU-second after it."""
    from classifiers.contract import rater_stage
    from curate.documents import Batch
    from curate.stages.base import Context

    made = pa.array(texts(documents, size))
    batches = [Batch(pa.RecordBatch.from_arrays([made.slice(i, BATCH)], ["text"])) for i in range(0, documents, BATCH)]
    start = time.process_time()
    rater = rater_stage("lite")
    rater.open(Context())
    rater.process(batches[0])
    first = time.process_time() - start
    start = time.process_time()
    for batch in batches:
        rater.process(batch)
    spent = time.process_time() - start
    return {"first_batch_cpu_s": round(first, 3), "steady_documents_per_cpu_s": round(documents / spent)}


@pytest.mark.bench
def test_lite_rates_two_thousand_documents_per_cpu_second() -> None:
    measure(BATCH)
    found = measure()
    print(json.dumps(found))
    assert found["steady_documents_per_cpu_s"] >= 2000


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4096)
    parser.add_argument("--bytes", type=int, default=3000)
    options = parser.parse_args()
    print(json.dumps({"card": "lite", "bytes": options.bytes, **measure(options.documents, options.bytes)}))


if __name__ == "__main__":
    main()
