"""Vectors, clusters and semantic duplicates in figures; prints JSON lines.

    python tests/benchmarks/semantic.py [encoder] [kmeans] [compare] [memory]

``encoder``: documents of 3 kB per CPU second. ``kmeans``: training and assignment of 100,000 vectors of 256 dimensions
to 500 clusters, with every engine there is, beside scikit-learn's MiniBatchKMeans. ``compare``: one cluster of 5,000
and one of 20,000 documents, a fifth of them near-duplicates. ``memory``: peak of the assignment and comparison of
20,000 and 100,000 documents, in shards of 2,000. CPU time, one thread.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

F32 = npt.NDArray[np.float32]


def emit(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


def planted(documents: int, clusters: int, dimension: int = 256, spread: float = 0.06) -> F32:
    random_ = np.random.default_rng(0)
    centres = random_.normal(size=(clusters, dimension)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[random_.integers(0, clusters, documents)]
    rows += spread * random_.normal(size=rows.shape).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def encoder() -> None:
    import pyarrow as pa

    from curate.embed.config import VectorsConfig
    from curate.embed.encoders import encoded
    from curate.embed.hashed import HashedEncoder, WordWeights

    draw = random.Random(0)
    vocabulary = [f"w{int(draw.paretovariate(0.8)) % 60_000:x}" for _ in range(200_000)]
    texts = pa.array([" ".join(draw.choice(vocabulary) for _ in range(900))[:3000] for _ in range(3000)])
    counted = WordWeights()
    counted.add(texts.slice(0, 4))
    hashed = HashedEncoder(VectorsConfig(), counted.weights())
    encoded(hashed, texts.slice(0, 4))
    start = time.process_time()
    counted.add(texts)
    middle = time.process_time()
    encoded(hashed, texts)
    seconds = time.process_time() - middle
    size = sum(len(t) for t in texts.to_pylist()) / 1e6
    emit("encoder hashed", documents_per_cpu_s=round(3000 / seconds), mb_per_cpu_s=round(size / seconds, 1),
         counting_documents_per_cpu_s=round(3000 / (middle - start)))  # fmt: skip


def kmeans() -> None:
    from curate.embed.kmeans import spherical_kmeans
    from curate.embed.nearest import faiss_module, one_blas_thread, open_nearest, search_all

    rows, k = planted(100_000, 500), 500
    spherical_kmeans(rows[:50], 3, engine="numpy", iterations=1)
    for engine in ("numpy", "faiss") if faiss_module() is not None else ("numpy",):
        start = time.process_time()
        found = spherical_kmeans(rows, k, engine=engine, tolerance=0.0)  # type: ignore[arg-type]
        middle = time.process_time()
        with one_blas_thread():
            search_all(open_nearest(found.centroids, engine), rows)  # type: ignore[arg-type]
        seconds = time.process_time() - middle
        emit(f"kmeans {found.engine}", cpu_s=round(middle - start, 2), iterations=found.iterations,
             mean_cosine=round(found.cosine, 4), squared_distance=round(2 - 2 * found.cosine, 4),
             assigned_vectors_per_cpu_s=round(len(rows) / seconds))  # fmt: skip
    from sklearn.cluster import MiniBatchKMeans

    start = time.process_time()
    peer = MiniBatchKMeans(k, batch_size=1024, n_init=1, random_state=0).fit(rows)
    emit("kmeans scikit-learn MiniBatchKMeans", cpu_s=round(time.process_time() - start, 2),
         squared_distance=round(float(peer.inertia_ / len(rows)), 4))  # fmt: skip


def compare() -> None:
    from curate.dedup.semantic import SemanticConfig
    from curate.dedup.semantic import compare as compare_cluster
    from curate.embed.nearest import one_blas_thread

    epsilons = SemanticConfig().epsilons
    compare_cluster(lambda a, b: planted(8, 2)[a:b].copy(), 8, epsilons, 0.05, window=4)
    for documents in (5_000, 20_000):
        rows = planted(documents, documents * 4 // 5, spread=0.01)
        with one_blas_thread():
            start = time.process_time()
            found = compare_cluster(lambda a, b, rows=rows: rows[a:b].copy(), documents, epsilons, 0.05)  # type: ignore[misc]
            seconds = time.process_time() - start
        emit(f"compare {documents}", cpu_s=round(seconds, 2), documents_per_cpu_s=round(documents / seconds),
             million_cosines_per_cpu_s=round(found.comparisons / seconds / 1e6, 1),
             removed=int((found.survivor >= 0).sum()))  # fmt: skip


def memory() -> None:
    for documents in (20_000, 100_000):
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, str(Path(__file__)), "peak", str(documents), scratch]
            subprocess.run(command, check=True, cwd=REPO)


def peak(documents: int, scratch: Path) -> None:
    """Semantic steps over synthetic vectors given in a column, in this process; its peak."""
    import pyarrow as pa

    from curate.documents import document_id
    from pipelines.steps.base import Work, fingerprints
    from pipelines.steps.semantic import added_steps
    from pipelines.tasks import Task, run_task
    from tests.pipelines.test_semantic import Documents, make_run

    made = planted(documents, documents * 4 // 5, dimension=64, spread=0.01)
    names = [document_id("m", i) for i in range(documents)]
    given = pa.table({"source_id": names, "emb": list(made)})
    import pyarrow.parquet as pq

    for number, at in enumerate(range(0, documents, 2000)):
        pq.write_table(given.slice(at, 2000), scratch / f"v{number:03d}.parquet")
    shards = [[{"id": n, "source_id": n, "text": "x"} for n in names[a : a + 2000]] for a in range(0, documents, 2000)]
    vectors = {"encoder": "column", "column": "emb", "files": ["v*.parquet"], "dimension": 64}
    run = make_run(scratch, shards, vectors, k=None, documents_per_cluster=2000, partitions=max(1, documents // 20_000))
    del made, given, shards, names
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    steps = added_steps(run, (Documents(run),))
    prints = fingerprints([Documents(run), *steps])
    cost: dict[str, float] = {}
    for step in steps:
        for partition in step.partitions():
            fingerprint, material = prints[step.name, partition]
            receipt = run_task(step, Task(step.name, partition, fingerprint, material), Work())
            cost[step.name] = round(cost.get(step.name, 0.0) + receipt.cost["cpu_seconds"], 2)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    emit(f"memory {documents}", peak_before_mb=round(before), peak_mb=round(after), cpu_s=cost)


PARTS = {"encoder": encoder, "kmeans": kmeans, "compare": compare, "memory": memory}


@pytest.mark.bench
@pytest.mark.parametrize("part", PARTS)
def test_semantic(part: str) -> None:
    PARTS[part]()


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        peak(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        for part in sys.argv[1:] or PARTS:
            PARTS[part]()
