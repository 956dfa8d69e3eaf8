"""Measures of agreement between a rater and gold labels; each is None where it is not defined.

Not defined means: fewer than two values, a constant side (rank and linear correlation, AUC), or no example of a class.
Inputs hold no NaN: ``evaluate.compare`` leaves such rows out and counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: bins of equal width in which probabilities are held against what happened
BINS = 10


def ranks(values: npt.ArrayLike) -> Doubles:
    """Ranks from 1; equal values share their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.asarray(values, np.float64)), np.float64)


def pearson(a: npt.ArrayLike, b: npt.ArrayLike) -> float | None:
    """Linear correlation."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = x - x.mean(), y - y.mean()
    length = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / length, -1, 1)) if length > 0 else None


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float | None:
    """Rank correlation, ties sharing their rank."""
    return pearson(ranks(a), ranks(b)) if len(np.asarray(a)) else None


def auc(score: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Chance that a positive has a higher score than a negative, equal scores counting half."""
    flags = np.asarray(positive, np.bool_)
    p, n = int(flags.sum()), int((~flags).sum())
    if not p or not n:
        return None
    return float((ranks(score)[flags].sum() - p * (p + 1) / 2) / (p * n))


def two_classes(said: Flags, truth: Flags) -> dict[str, float | None]:
    """Precision, recall and F1 of the positive class; precision is None where nothing was called positive."""
    hits, called, real = int((said & truth).sum()), int(said.sum()), int(truth.sum())
    precision = hits / called if called else None
    recall = hits / real if real else None
    f1 = 2 * hits / (called + real) if called + real else None
    return {"precision": precision, "recall": recall, "f1": f1}


def confusion(said: Sequence[str], truth: Sequence[str], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """(gold, said) counts, in the order of ``names``, which holds every name that occurs."""
    place = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(names), len(names)), np.int64)
    np.add.at(out, ([place[t] for t in truth], [place[s] for s in said]), 1)
    return out


def macro_f1(table: npt.NDArray[np.int64]) -> float | None:
    """Mean F1 of the classes that occur in gold or are said, from a confusion matrix."""
    called, real, hits = table.sum(axis=0), table.sum(axis=1), table.diagonal()
    some = called + real > 0
    if not some.any():
        return None
    return float(np.mean(2 * hits[some] / (called + real)[some]))


def kappa(table: npt.NDArray[np.int64]) -> float | None:
    """Cohen's agreement beyond chance; None where chance alone agrees fully."""
    n = table.sum()
    if not n:
        return None
    chance = float(table.sum(axis=0) @ table.sum(axis=1)) / float(n) ** 2
    return float((table.trace() / n - chance) / (1 - chance)) if chance < 1 else None


def calibration(probability: npt.ArrayLike, happened: npt.ArrayLike) -> tuple[float | None, list[dict[str, float]]]:
    """Expected calibration error, and the table of bins (Naeini et al. 2015): equal width, the upper edge included.

    Returns:
        ``(error, table)``: |mean probability - share that happened|, weighted by rows; per bin that is not empty its
        edges, rows, mean probability and share.
    """
    p, y = np.asarray(probability, np.float64), np.asarray(happened, np.float64)
    if not len(p):
        return None, []
    bins = np.clip(np.ceil(p * BINS).astype(np.int64) - 1, 0, BINS - 1)
    table, error = [], 0.0
    for b in np.unique(bins):
        mine = bins == b
        mean, share = float(p[mine].mean()), float(y[mine].mean())
        error += float(mine.mean()) * abs(mean - share)
        table.append({"from": b / BINS, "to": (b + 1) / BINS, "rows": int(mine.sum()), "mean": mean, "share": share})
    return error, table


def interval(
    measure: Callable[[npt.NDArray[np.int64]], float | None], rows: int, resamples: int, seed: int
) -> list[float] | None:
    """95 % bootstrap interval (Efron's percentiles) of a measure of rows drawn with replacement.

    None where fewer than half of the draws define the measure.
    """
    rng = np.random.default_rng(seed)
    found: list[Any] = [measure(rng.integers(0, rows, rows)) for _ in range(resamples)] if rows else []
    known = [v for v in found if v is not None]
    if not known or 2 * len(known) < len(found):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return [float(low), float(high)]
