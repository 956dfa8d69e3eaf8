"""Fits the arrays of ``backends.hashed_linear``: kernel ridge, a mixing layer, calibration, quantisation.

Everything is closed form and deterministic but the mixing of names (a convex problem). Ridge is solved in its dual
form, because there are thousands of documents and hundreds of thousands of buckets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

#: ridge penalty, weight of the statistics' kernel beside that of the words, and number of random Fourier features
PENALTY = 0.3
STATISTICS_WEIGHT = 0.5
WAVES = 512
#: penalty on how far the mixing layer moves a score from its own ridge, and inverse penalty of the names' mixing
MIXING_PENALTY = 1000.0
NAMES_C = 0.01
KNOTS = 65
#: buckets in more documents than this are multiplied densely, which is ten times as fast there
FREQUENT = 100


@dataclass(frozen=True)
class Task:
    """Targets that share their documents.

    Attributes:
        rows: documents that have them, as rows of the features.
        targets: (rows, outputs): scores, or 0/1 per name.
        fold: fold of each row; constant within a group.
    """

    rows: npt.NDArray[np.int64]
    targets: Doubles
    fold: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """All documents' features.

    Attributes:
        blocks: sparse rows of length 1, words and runs.
        waves: dense random Fourier features of the statistics, scaled.
    """

    blocks: tuple[Any, ...]
    waves: Floats

    def kernel(self) -> Floats:
        """Inner products of all documents."""
        total: Floats = self.waves @ self.waves.T
        for block in self.blocks:
            often = np.flatnonzero(np.bincount(block.indices, minlength=block.shape[1]) > FREQUENT)
            rare = np.setdiff1d(np.arange(block.shape[1]), often)
            by_column = block.tocsc()
            dense, sparse = by_column[:, often].toarray(), by_column[:, rare].tocsr()
            total += dense @ dense.T
            total += (sparse @ sparse.T).toarray()
        return total


@dataclass(frozen=True)
class Ridge:
    """One dual solution: ``prediction = kernel[:, rows] @ alpha + bias``."""

    rows: npt.NDArray[np.int64]
    alpha: Floats
    bias: Floats

    def predict(self, kernel: Floats) -> Doubles:
        """Scores of all documents."""
        return (kernel[:, self.rows] @ self.alpha + self.bias).astype(np.float64)


def fit_ridge(kernel: Floats, task: Task, without: Iterable[int] = ()) -> Ridge:
    """Ridge of a task on its documents outside the folds ``without``; outputs are scaled to deviation 1."""
    from scipy.linalg import cho_factor, cho_solve

    keep = ~np.isin(task.fold, list(without))
    rows, y = task.rows[keep], task.targets[keep]
    mean = y.mean(axis=0)
    gram = kernel[np.ix_(rows, rows)]
    gram[np.diag_indices_from(gram)] += np.float32(PENALTY)
    alpha = cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), (y - mean).astype(np.float32))
    return Ridge(rows, alpha.astype(np.float32), mean.astype(np.float32))


def idf_of(counts: Any) -> Floats:
    """Inverse document frequency of each bucket, smoothed."""
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    found: Floats = (np.log((1 + counts.shape[0]) / (1 + documents)) + 1).astype(np.float32)
    # half precision, as the file has it
    return found.astype(np.float16).astype(np.float32)


def weighted(counts: Any, idf: Floats) -> Any:
    """``(1 + ln count) · idf`` per row, scaled to length 1: what the kernel computes when it rates."""
    from scipy import sparse

    values = counts.copy().astype(np.float32)
    values.data = (1 + np.log(values.data)) * idf[values.indices]
    length = np.sqrt(np.asarray(values.multiply(values).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(length, 1e-12)) @ values, dtype=np.float32)


def random_waves(statistics: int, rng: np.random.Generator, waves: int = WAVES) -> tuple[Floats, Floats]:
    """Frequencies and phases whose cosines stand for an RBF kernel of width √statistics (orthogonal features)."""
    blocks = []
    for _ in range(-(-waves // statistics)):
        q, _ = np.linalg.qr(rng.standard_normal((statistics, statistics)))
        blocks.append(q * np.sqrt(rng.chisquare(statistics, statistics)))
    wave = np.hstack(blocks)[:, :waves] / np.sqrt(statistics)
    return wave.astype(np.float32), rng.uniform(0, 2 * np.pi, waves).astype(np.float32)


def wave_scale() -> float:
    """What the cosines are multiplied with, so that their inner product is the weighted kernel."""
    return float(np.sqrt(2 * STATISTICS_WEIGHT / WAVES))


@dataclass(frozen=True)
class Mixer:
    """One linear layer over all ridge scores."""

    weights: Doubles
    bias: Doubles

    def apply(self, scores: Doubles) -> Doubles:
        return scores @ self.weights + self.bias


def mix_scores(scores: Doubles, targets: Doubles, own: slice) -> Mixer:
    """Moves each score of ``own`` by a small linear function of all scores towards its target."""
    mean, deviation = scores.mean(axis=0), scores.std(axis=0)
    z = (scores - mean) / deviation
    rest = targets - scores[:, own]
    gram = z.T @ z + MIXING_PENALTY * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z.T @ (rest - rest.mean(axis=0))) / deviation[:, None]
    bias = rest.mean(axis=0) - mean @ weights
    weights[np.arange(own.start, own.stop), np.arange(own.stop - own.start)] += 1
    return Mixer(weights, bias)


def mix_names(scores: Doubles, names: npt.NDArray[np.int64], n: int) -> Mixer:
    """Multinomial logistic regression of a name on all ridge scores; names that never occur get no chance."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = scores.mean(axis=0), scores.std(axis=0)
    fitted = LogisticRegression(C=NAMES_C, max_iter=500).fit((scores - mean) / deviation, names)
    weights, bias = np.zeros((scores.shape[1], n)), np.full(n, -30.0)
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn then gives one row: that of the second against the first
        coefficients, intercept = np.vstack([0 * coefficients, coefficients]), np.r_[0, intercept]
    weights[:, fitted.classes_] = coefficients.T / deviation[:, None]
    bias[fitted.classes_] = intercept - (mean / deviation) @ coefficients.T
    return Mixer(weights, bias)


def calibration(predicted: Doubles, ratings: Doubles, low: float, high: float) -> tuple[Floats, Floats]:
    """Knots that carry the distribution of predictions onto that of the ratings.

    A regression shrinks towards the mean: its best predictions of a 1-to-5 scale lie between 2.5 and 4.5. Matching
    quantiles undoes that and keeps the order. Ratings are whole steps, so each is first spread over half a step either
    way; at the ends of the scale over half a step inwards, so that the ends are no heap of equal scores.
    """
    half = np.linspace(-0.5, 0.5, 21)
    spread = ratings[:, None] + half
    spread = np.where(spread < low, low + (spread - low + 0.5), spread)
    spread = np.where(spread > high, high - (high + 0.5 - spread), spread).clip(low, high).ravel()
    at = np.linspace(0.005, 0.995, KNOTS)
    knots, targets = np.quantile(predicted, at), np.quantile(spread, at)
    knots = np.maximum.accumulate(knots + np.arange(KNOTS) * 1e-6)
    # strictly ascending targets inside the scale keep the order of documents where ratings pile up on one step
    targets = low + 1e-3 + (targets - low) * (1 - 4e-3 / (high - low)) + np.arange(KNOTS) * 1e-5
    return knots.astype(np.float32), targets.astype(np.float32)


def low_rank(weights: Doubles, predictions: Doubles, width: int) -> tuple[Doubles, Doubles, float]:
    """``(table, decode, kept)``: ``table @ decode`` is close to ``weights`` where the predictions vary.

    Args:
        weights: (buckets, outputs).
        predictions: (documents, outputs), what the weights give on the documents.
        width: columns of the table.

    Returns:
        kept: share of the predictions' variance (each output scaled to 1) that is kept.
    """
    scale = predictions.std(axis=0)
    centred = (predictions - predictions.mean(axis=0)) / scale
    values, vectors = np.linalg.eigh(centred.T @ centred)
    basis = vectors[:, ::-1][:, :width]
    return (weights / scale) @ basis, basis.T * scale, float(values[::-1][:width].sum() / values.sum())


def quantised(table: Doubles) -> tuple[npt.NDArray[np.int8], Floats]:
    """The table as int8 and one scale per column; the largest one in ten thousand are cut."""
    scale = np.quantile(np.abs(table[np.abs(table).sum(axis=1) > 0]), 0.9999, axis=0) / 127
    return np.clip(np.rint(table / scale), -127, 127).astype(np.int8), scale.astype(np.float32)
