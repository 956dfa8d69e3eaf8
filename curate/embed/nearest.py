"""The nearest centroid of each vector: with NumPy, FAISS on a CPU, or FAISS on a GPU. Only this file knows which."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

Engine = Literal["auto", "numpy", "faiss"]
#: vectors per search; fixed, because the last bits of a matrix product depend on its shape
BLOCK = 4096
#: centroids compared at once, which bounds the matrix of cosines to 32 MB
_CENTROIDS = 2048


class Nearest(Protocol):
    """Finds, for blocks of unit vectors, the centroid of the largest inner product; of equal ones the first.

    Attributes:
        engine: what searches, with its version.
    """

    engine: str

    def search(self, block: F32) -> tuple[I32, F32]:
        """Per row the number of its centroid and the inner product; safe to call from several threads."""
        ...


def open_nearest(centroids: F32, engine: Engine = "auto") -> Nearest:
    """A searcher over ``centroids``; ``auto``: FAISS on a GPU, FAISS on the CPU, NumPy, what is there first.

    Raises:
        ConfigError: ``faiss`` is asked for and not installed.
    """
    if engine != "numpy":
        faiss = faiss_module()
        if faiss is not None:
            return _Faiss(faiss, centroids)
        if engine == "faiss":
            raise ConfigError("FAISS is not installed: `pip install 'curate[models]'`, or set engine to auto or numpy")
    return _Numpy(centroids)


def faiss_module() -> Any:
    """The module ``faiss``, or None; its GPU builds refuse in several ways where CUDA is missing."""
    try:
        import faiss  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, RuntimeError, OSError, importlib.metadata.PackageNotFoundError):
        return None
    return faiss


def gpu_count(faiss: Any) -> int:
    """GPUs that this build of FAISS can use."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


class _Numpy:
    engine = f"numpy {np.__version__}"

    def __init__(self, centroids: F32) -> None:
        self._parts = [
            np.ascontiguousarray(centroids[a : a + _CENTROIDS].T) for a in range(0, len(centroids), _CENTROIDS)
        ]

    def search(self, block: F32) -> tuple[I32, F32]:
        label = np.zeros(len(block), np.int32)
        best = np.full(len(block), -np.inf, np.float32)
        rows = np.arange(len(block))
        for number, part in enumerate(self._parts):
            cosines = block @ part
            found = cosines.argmax(axis=1)
            value = cosines[rows, found]
            better = value > best
            label[better] = found[better] + number * _CENTROIDS
            best[better] = value[better]
        return label, best


class _Faiss:
    def __init__(self, faiss: Any, centroids: F32) -> None:
        self._faiss = faiss
        index = faiss.IndexFlatIP(centroids.shape[1])
        self._gpu = gpu_count(faiss) > 0
        if self._gpu:
            self._resources = faiss.StandardGpuResources()
            index = faiss.index_cpu_to_gpu(self._resources, 0, index)
        index.add(np.ascontiguousarray(centroids))
        self._index = index
        self.engine = f"faiss {faiss.__version__} on {'a GPU' if self._gpu else 'the CPU'}"

    def search(self, block: F32) -> tuple[I32, F32]:
        if not self._gpu:
            self._faiss.omp_set_num_threads(1)  # threads work on blocks of their own, so that sums keep their order
        value, label = self._index.search(np.ascontiguousarray(block), 1)
        return label[:, 0].astype(np.int32), value[:, 0].astype(np.float32)


def search_all(nearest: Nearest, vectors: F32, threads: int = 1) -> tuple[I32, F32]:
    """``search`` over any number of vectors in fixed blocks; the number of threads changes nothing but the time."""
    starts = range(0, len(vectors), BLOCK)
    if threads > 1 and "GPU" not in nearest.engine:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda a: nearest.search(vectors[a : a + BLOCK]), starts))
    else:
        found = [nearest.search(vectors[a : a + BLOCK]) for a in starts]
    if not found:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrix products in the calling thread only: their rounding, and the memory of thread pools, stay put."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    with threadpool_limits(1, "blas"):
        yield
