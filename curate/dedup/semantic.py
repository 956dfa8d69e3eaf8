"""Semantic duplicates: documents whose vectors are nearly the same (SemDeDup, Abbas et al. 2023, arXiv 2303.09540).

As in the paper, only documents of one cluster are compared, and of similar ones the one farthest from the centroid
stays (or the nearest, if the config says so). Unlike its published procedure nothing falls through a chain: documents
stand in an order of preference, and each in turn stays, unless its cosine to one that stays is at least 1 − epsilon.
The same is counted for other values of epsilon beside it, so that a user sees what each would remove.

Cosines are told in millionths, so equal vectors have exactly 1, and a decision depends on the two vectors alone, not
on how the work was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator

from curate.dedup.config import _Config
from curate.documents import column

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

#: documents loaded at once, and rows of one matrix of cosines; two windows of 256 dimensions are 32 MB
WINDOW, BLOCK, CHUNK = 16_384, 1_024, 4_096
#: bars of the histogram of cosines, from 0 to 1
BARS = 100

LABELS = pa.schema(
    [
        column("semantic_cluster", pa.int32(), "number of the cluster of vectors that the document is in; null if it "
               "has no vector", range_="0–"),
        column("semantic_cluster_distance", pa.float32(), "1 − cosine of its vector to the cluster's centroid",
               range_="0–2"),
        column("semantic_is_survivor", pa.bool_(), "true if the document stays, as it does without a vector; null if "
               "an earlier step dropped it"),
        column("semantic_survivor", pa.string(), "id of the document that stays in its place; null for survivors"),
        column("semantic_similarity", pa.float64(), "cosine of its vector to the survivor's, six decimals; null for "
               "survivors", range_="-1–1"),
    ]
)  # fmt: skip


class SemanticConfig(_Config):
    """Documents of one cluster whose vectors have a cosine of at least 1 − ``epsilon`` are semantic duplicates.

    Attributes:
        epsilon: how far a cosine may be from 1. What it means depends on the encoder: dedup/semantic.json shows what
            each value of ``sweep`` would remove.
        keep: which of two similar documents is preferred: the one farthest from the centroid (the paper's choice: it is
            least like what is plentiful), or the nearest. Equal distances: the smaller id.
        k: clusters; null: one per ``documents_per_cluster``, 65,536 at most. Never more than documents.
        documents_per_cluster: for the automatic k. More find more (a pair apart in two clusters is not found) and cost
            more, with the square.
        sample_documents: documents of which the centroids are made; fewer if there are 256 per cluster.
        iterations: of k-means at most.
        seed: of the sample and of k-means.
        engine: who searches the nearest centroid; auto: FAISS on a GPU, FAISS, NumPy, what is there first. Engines
            differ in the last bits, so name one where machines differ.
        partitions: tasks that compare documents, by ranges of clusters; null: by the size of the input.
        sweep: values of epsilon for which the removed share is reported.
    """

    epsilon: float = Field(default=0.05, ge=0, lt=1)
    keep: Literal["farthest", "nearest"] = "farthest"
    k: int | None = Field(default=None, ge=1, le=1_000_000)
    documents_per_cluster: int = Field(default=5_000, ge=1)
    sample_documents: int = Field(default=500_000, ge=1)
    iterations: int = Field(default=20, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**63)
    engine: Literal["auto", "numpy", "faiss"] = "auto"
    partitions: int | None = Field(default=None, ge=1, le=65_536)
    sweep: tuple[float, ...] = Field(default=(0.001, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3), max_length=32)

    @field_validator("sweep")
    @classmethod
    def _within(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= epsilon < 1 for epsilon in value):
            raise ValueError("values of sweep are at least 0 and less than 1")
        return value

    @property
    def threshold(self) -> float:
        """Least cosine of a dropped document to its survivor."""
        return round(1.0 - self.epsilon, 6)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The values of ``sweep`` and ``epsilon`` itself, ascending."""
        return tuple(sorted({*self.sweep, self.epsilon}))

    def clusters(self, documents: int) -> int:
        """How many clusters so many documents get."""
        wanted = self.k if self.k is not None else min(65_536, -(-documents // self.documents_per_cluster))
        return min(wanted, documents)


@dataclass
class Compared:
    """What became of the documents of one cluster, by their place in the order of preference.

    Attributes:
        survivor: place of the document that stays in its place; −1 for those that stay.
        similarity: cosine to it, six decimals; NaN for those that stay.
        removed: per value of epsilon, how many would be removed.
        histogram: documents by the largest cosine to a preferred document that they were compared with, ``BARS`` bars
            from 0 to 1; the most preferred document is not counted.
        comparisons: cosines computed.
    """

    survivor: I64
    similarity: npt.NDArray[np.float64]
    removed: I64
    histogram: I64
    comparisons: int


def preference(distance: F32, ids: pa.Array, keep: Literal["farthest", "nearest"]) -> I64:
    """Rows in the order of preference: by distance to the centroid, then by id."""
    import pyarrow.compute as pc

    table = pa.table({"distance": distance, "id": ids})
    keys = [("distance", "descending" if keep == "farthest" else "ascending"), ("id", "ascending")]
    found: I64 = pc.sort_indices(table, sort_keys=keys).to_numpy().astype(np.int64)
    return found


def compare(
    load: Callable[[int, int], F32], documents: int, epsilons: Sequence[float], epsilon: float, *,
    window: int = WINDOW, block: int = BLOCK, chunk: int = CHUNK,
) -> Compared:  # fmt: skip
    """Decide for each document of a cluster whether it stays.

    Args:
        load: ``load(a, b)`` gives the vectors of places a to b of the order of preference, float32, of unit length.
        epsilons: for which removals are counted; ``epsilon`` among them names survivors.
        window, block, chunk: how the work is cut; they change memory and time, never the result.

    A document's survivor is the most preferred one that stays and is similar enough. Memory: two windows of vectors,
    one matrix of ``block`` × ``chunk`` cosines, and ``24 + len(epsilons)`` bytes per document.
    """
    work = _Work(documents, tuple(epsilons), epsilon, block, chunk)
    for start in range(0, documents, window):
        rows = load(start, min(start + window, documents))
        for earlier in range(0, start, window):
            places = earlier + np.flatnonzero(work.alive[earlier : earlier + window].any(axis=1))
            if len(places):
                before = load(earlier, earlier + window)[places - earlier]
                for at in range(0, len(rows), block):
                    work.against(rows[at : at + block], start + at, before, places)
        for at in range(0, len(rows), block):
            places = start + np.flatnonzero(work.alive[start : start + at].any(axis=1))
            if len(places):
                work.against(rows[at : at + block], start + at, rows[places - start], places)
            work.within(rows[at : at + block], start + at)
    return work.result()


class _Work:
    """The state of one cluster: who still stands, for each epsilon."""

    def __init__(self, documents: int, epsilons: tuple[float, ...], epsilon: float, block: int, chunk: int) -> None:
        self.alive = np.ones((documents, len(epsilons)), np.bool_)
        self._holder = np.full(documents, -1, np.int64)
        self._micro = np.zeros(documents, np.int64)
        self._best = np.full(documents, -np.inf, np.float32)
        self._limits = np.array([round((1.0 - e) * 1_000_000) for e in epsilons], np.int64)
        self._main = epsilons.index(epsilon)
        self._block, self._chunk = block, chunk
        self._comparisons = 0

    def against(self, rows: F32, start: int, before: F32, places: I64) -> None:
        """Compare a block with decided documents that stay for some epsilon, most preferred first."""
        from curate.kernels.similar_rows import kept_before

        here = slice(start, start + len(rows))
        for a in range(0, len(before), self._chunk):
            part, at = before[a : a + self._chunk], places[a : a + self._chunk]
            kept_before(
                rows @ part.T, rows, part, np.ascontiguousarray(self.alive[at].T), self.alive[here], self._limits,
                self._main, at, self._holder[here], self._micro[here], self._best[here],
            )  # fmt: skip
            self._comparisons += len(rows) * len(part)

    def within(self, rows: F32, start: int) -> None:
        """Compare the documents of a block with each other, in order."""
        from curate.kernels.similar_rows import among

        here = slice(start, start + len(rows))
        among(
            rows @ rows.T, rows, self.alive[here], self._limits, self._main, start, self._holder[here],
            self._micro[here], self._best[here],
        )  # fmt: skip
        self._comparisons += len(rows) * (len(rows) - 1) // 2

    def result(self) -> Compared:
        gone = self._holder >= 0
        similarity = np.where(gone, np.round(self._micro / 1_000_000, 6), np.nan)
        met = self._best[np.isfinite(self._best)]
        bars = np.clip((met * BARS).astype(np.int64), 0, BARS - 1)
        return Compared(
            self._holder,
            similarity,
            (~self.alive).sum(axis=0).astype(np.int64),
            np.bincount(bars, minlength=BARS).astype(np.int64),
            self._comparisons,
        )
