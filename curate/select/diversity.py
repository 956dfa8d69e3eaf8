"""Selecting for variety: clusters covered, and facility location.

``rounds`` (Only-IF, Zhang et al. 2024: generalisation comes with the number of different kinds, at the same size)
orders documents so that any number taken from the front covers as many clusters as that number can.
``facility_location`` (INGENIOUS, Renduchintala et al. 2023) takes the k documents that together lie nearest to all: the
objective Σ_i max_{j taken} sim(i, j) is monotone and submodular, so the greedy choice reaches at least 1 − 1/e of the
best.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.select.noise import Floats, id_words

Ints = npt.NDArray[np.int64]
#: rows of similarities that are computed at once
_BLOCK = 1024


def rounds(clusters: Ints, scores: Floats, ids: pa.Array) -> Ints:
    """The round in which each document comes: the best of its cluster in round 0, the next best in 1, …

    Best is by score descending, then id; documents without score (NaN) or cluster (negative) have round −1. Taken by
    round, any k documents cover min(k, clusters) clusters, the most that k documents can.
    """
    high, low = id_words(ids)
    known = ~np.isnan(scores) & (clusters >= 0)
    rows = np.flatnonzero(known)
    order = rows[np.lexsort((low[rows], high[rows], -scores[rows], clusters[rows]))]
    sorted_clusters = clusters[order]
    first = np.concatenate(([True], sorted_clusters[1:] != sorted_clusters[:-1])) if len(order) else np.empty(0, bool)
    starts = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0)) if len(order) else np.empty(0, np.int64)
    out = np.full(len(clusters), -1, np.int64)
    out[order] = np.arange(len(order)) - starts
    return out


def coverage(clusters: Ints, weights: npt.NDArray[np.int64]) -> dict[str, float]:
    """How varied documents are.

    Returns:
        ``clusters``: how many there are; ``effective_clusters``: exp of the entropy of their shares of the weight (as
        many equal clusters would be as varied); ``largest_share``: 0–1. Documents without cluster (negative) are left
        out.
    """
    known = clusters >= 0
    _, place = np.unique(clusters[known], return_inverse=True)
    size = np.bincount(place, weights=weights[known].astype(np.float64)) if known.any() else np.empty(0)
    shares = size[size > 0] / size.sum() if size.sum() > 0 else np.empty(0)
    entropy = float(-(shares * np.log(shares)).sum())
    return {
        "clusters": float(len(size)),
        "effective_clusters": float(np.exp(entropy)) if len(shares) else 0.0,
        "largest_share": float(shares.max(initial=0.0)),
    }


def covered_target(
    target: npt.NDArray[np.float32], chosen: npt.NDArray[np.float32], distance: float
) -> npt.NDArray[np.bool_]:
    """Which target vectors (unit length) have a chosen one within a cosine distance of ``distance``."""
    out = np.zeros(len(target), np.bool_)
    for start in range(0, len(chosen), _BLOCK):
        out |= (target @ chosen[start : start + _BLOCK].T >= 1.0 - distance).any(axis=1)
    return out


@dataclass(frozen=True)
class Chosen:
    """What facility location took.

    Attributes:
        rows: in the order of choice.
        gains: what each added to the objective; never rising.
        objective: Σ_i max_{j taken} sim(i, j).
        evaluations: gains computed; a greedy that is not lazy computes k · n.
    """

    rows: list[int]
    gains: list[float]
    objective: float
    evaluations: int


def facility_location(
    vectors: npt.NDArray[np.float32],
    ids: pa.Array,
    k: int | None = None,
    *,
    costs: Sequence[int] | None = None,
    budget: int | None = None,
) -> Chosen:
    """Lazy greedy facility location over cosine similarities, negative ones taken as 0; ties go to the smaller id.

    Memory: 4 · n² bytes; call it per partition (INGENIOUS does), with n at most some 20,000.

    Args:
        vectors: of unit length (or zero: such a document is like nothing, not even itself), one row per document.
        k: how many to take; null: as many as the budget allows.
        costs, budget: tokens per document and in all: a document that no longer fits is passed over.
    """
    n = len(vectors)
    similar = _similarities(vectors)
    high, low = id_words(ids)
    rank = np.empty(n, np.int64)
    rank[np.lexsort((low, high))] = np.arange(n)
    best = np.zeros(n, np.float32)
    # gains are summed in float64 over rows in order of id, so that neither batches nor order of rows matter
    by_id = np.argsort(rank)
    similar = similar[:, by_id]
    heap = [(-float(similar[j].sum(dtype=np.float64)), int(rank[j]), j, 0) for j in range(n)]
    heapq.heapify(heap)
    rows: list[int] = []
    gains: list[float] = []
    spent, evaluations = 0, n
    while heap and (k is None or len(rows) < k):
        gain, order, j, seen = heapq.heappop(heap)
        cost = int(costs[j]) if costs is not None else 0
        if budget is not None and spent + cost > budget:
            continue
        if seen < len(rows):
            fresh = float(np.maximum(similar[j] - best, 0).sum(dtype=np.float64))
            evaluations += 1
            heapq.heappush(heap, (-fresh, order, j, len(rows)))
            continue
        rows.append(j)
        gains.append(-gain)
        spent += cost
        np.maximum(best, similar[j], out=best)
    return Chosen(rows, gains, float(best.sum(dtype=np.float64)), evaluations)


def _similarities(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    n = len(vectors)
    out = np.empty((n, n), np.float32)
    for start in range(0, n, _BLOCK):
        np.maximum(vectors[start : start + _BLOCK] @ vectors.T, 0, out=out[start : start + _BLOCK])
    return out
