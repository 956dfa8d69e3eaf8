"""Spherical k-means: centroids of unit vectors by cosine (Dhillon and Modha 2001), seeded, from a sample.

The sample is drawn by a hash of ids, so it is the same whatever the shards and their order. Given equal vectors, seed
and engine the centroids are equal bit for bit, for any number of threads: blocks are fixed and sums are made in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.embed.nearest import Engine, one_blas_thread, open_nearest, search_all
from curate.kernels.similar_rows import add_rows, dots
from curate.kernels.strings import string_buffers

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Clustering:
    """Centroids and how they were found.

    Attributes:
        centroids: (clusters, dimension) float32, of unit length.
        sizes: vectors of the sample per cluster.
        cosine: mean cosine of the sample to its centroids.
        iterations: done.
        engine: what searched.
    """

    centroids: F32
    sizes: npt.NDArray[np.int64]
    cosine: float
    iterations: int
    engine: str


def sample_keys(ids: pa.Array, seed: int) -> U64:
    """A random-looking number per id (32 hex digits), the same in every shard: the smallest ones are the sample."""
    data, offsets = string_buffers(ids)
    if not len(ids):
        return np.zeros(0, np.uint64)
    if len(np.unique(np.diff(offsets))) != 1 or offsets[1] - offsets[0] < 16:
        raise ValueError("ids are 32 hex digits")
    digits = data[offsets[0] : offsets[-1]].reshape(len(ids), -1)[:, -16:].astype(np.uint64)
    nibbles = np.where(digits > 57, digits - 87, digits - 48) & np.uint64(15)
    key = np.zeros(len(ids), np.uint64)
    for place in range(16):
        key = (key << np.uint64(4)) | nibbles[:, place]
    return _mixed(key ^ _mixed(np.array([seed], np.uint64)))


class SmallestKeys:
    """The documents with the smallest keys of a stream, whatever its order: the sample.

    Memory: 20 bytes for each of twice ``wanted`` documents.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted, self._limit, self._held = wanted, np.uint64(2**64 - 1), 0
        self._parts: list[tuple[U64, I32, npt.NDArray[np.int64]]] = []

    def add(self, keys: U64, shard: int, rows: npt.NDArray[np.int64]) -> None:
        """Consider the documents with these keys."""
        small = keys <= self._limit
        if small.any():
            self._parts.append((keys[small], np.full(int(small.sum()), shard, np.int32), rows[small]))
            self._held += int(small.sum())
        if self._held > 2 * self._wanted + 65_536:
            self._parts = [self.chosen()]
            self._held = len(self._parts[0][0])
            self._limit = self._parts[0][0].max(initial=np.uint64(0))

    def chosen(self) -> tuple[U64, I32, npt.NDArray[np.int64]]:
        """Keys, shards and rows of the ``wanted`` smallest so far, in the order they came."""
        keys = np.concatenate([np.zeros(0, np.uint64), *(p[0] for p in self._parts)])
        shards = np.concatenate([np.zeros(0, np.int32), *(p[1] for p in self._parts)])
        rows = np.concatenate([np.zeros(0, np.int64), *(p[2] for p in self._parts)])
        if len(keys) > self._wanted:
            order = np.sort(np.argsort(keys, kind="stable")[: self._wanted])
            keys, shards, rows = keys[order], shards[order], rows[order]
        return keys, shards, rows


def _mixed(x: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def spherical_kmeans(
    sample: F32, clusters: int, *, seed: int = 0, iterations: int = 20, tolerance: float = 1e-4,
    engine: Engine = "auto", threads: int = 1,
) -> Clustering:  # fmt: skip
    """Centroids of ``sample``.

    Starts from vectors of the sample drawn at random. A cluster that loses all its vectors takes the vector that fits
    its own centroid worst, as long as there is one that does not fit perfectly; else it stays empty.

    Args:
        sample: (n, dimension) of unit length, in an order that depends on ids alone.
        clusters: wanted; there are never more than vectors.
        tolerance: stop when the mean cosine grows by less.
        threads: change the time, never the result.

    Memory: the sample, its labels, and 32 MB per thread.
    """
    k = min(clusters, len(sample))
    if k == 0:
        return Clustering(np.zeros((0, sample.shape[1]), np.float32), np.zeros(0, np.int64), 0.0, 0, "none")
    drawn = np.random.Generator(np.random.PCG64([seed, len(sample), k])).choice(len(sample), k, replace=False)
    centroids = np.ascontiguousarray(sample[np.sort(drawn)])
    sizes, before, mean, done, used = np.zeros(k, np.int64), -2.0, 0.0, 0, ""
    with one_blas_thread():
        while done < iterations:
            done += 1
            nearest = open_nearest(centroids, engine)
            used = nearest.engine
            labels, cosines = search_all(nearest, sample, threads)
            mean = float(cosines.mean(dtype=np.float64))
            sizes = _repaired(labels, cosines, k)
            centroids = _means(sample, labels, centroids)
            if mean - before < tolerance:
                break
            before = mean
    return Clustering(centroids, sizes, mean, done, used)


def _repaired(labels: I32, cosines: F32, k: int) -> npt.NDArray[np.int64]:
    """Gives empty clusters the worst fitting vectors (``labels`` is changed); sizes after that."""
    sizes = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return sizes
    worst = iter(np.argsort(cosines, kind="stable").tolist())
    for cluster in empty.tolist():
        for row in worst:
            if cosines[row] > 1 - 1e-6:
                return sizes
            if sizes[labels[row]] > 1:
                sizes[labels[row]] -= 1
                labels[row] = cluster
                sizes[cluster] = 1
                break
    return sizes


def _means(sample: F32, labels: I32, before: F32) -> F32:
    """Unit centroids; one whose vectors cancel out, or that has none, stays where it was."""
    sums, counts = np.zeros(before.shape, np.float64), np.zeros(len(before), np.int64)
    add_rows(sums, counts, labels, sample)
    length = np.sqrt(np.einsum("kd,kd->k", sums, sums))
    moved = length > 1e-9
    out = before.copy()
    out[moved] = (sums[moved] / length[moved, None]).astype(np.float32)
    return out


def distances(vectors: F32, centroids: F32, labels: I32) -> F32:
    """1 − cosine of each unit vector to its centroid, 0–2; the same bits whatever searched and in which blocks."""
    out = np.empty(len(vectors), np.float64)
    dots(vectors, centroids, labels.astype(np.int64), out)
    clipped: F32 = np.clip(1.0 - out, 0.0, 2.0).astype(np.float32)
    return clipped
