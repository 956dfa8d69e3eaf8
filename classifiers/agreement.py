"""Several annotators: who agrees with whom, and one label from many.

``majority`` counts votes. ``dawid_skene`` (Dawid & Skene 1979, by EM) also learns how each annotator errs, from nothing
but the votes, and weighs them by it: an annotator who always mixes up two classes is read the right way round, one who
guesses counts for nothing. Votes are three parallel arrays: item, annotator, class, each numbered from 0; an annotator
may vote on an item several times (repeats) or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Joined", "cohen_kappa", "dawid_skene", "exact_share", "krippendorff_alpha", "majority", "within_share"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: pseudo-votes of each annotator in each row of the confusion matrix, spread over it; most of them on the diagonal
_SMOOTHING = 1.0
_DIAGONAL = 0.6
_MOST_ROUNDS = 500
_CHANGE = 1e-7


@dataclass(frozen=True)
class Joined:
    """One label per item.

    Attributes:
        winner: class of each item; -1 where nobody voted, or two classes have the same share.
        share: (items × classes) probability of each class; rows of items without votes are NaN.
        confusion: (annotators × classes × classes) probability of a vote (last axis) given the true class.
        reliability: probability that a vote of the annotator is right, over the classes as they occur; NaN for one
            who never voted.
        prior: how often each class occurs.
        rounds: rounds of EM; 0 for a majority.
    """

    winner: Ints
    share: Floats
    confusion: Floats
    reliability: Floats
    prior: Floats
    rounds: int


def majority(item: npt.ArrayLike, annotator: npt.ArrayLike, vote: npt.ArrayLike, items: int, classes: int) -> Joined:
    """The class with most votes; every vote counts the same. Reliability is agreement with the winner."""
    i, a, v = _votes(item, annotator, vote)
    share = _shares(i, v, items, classes)
    winner = _winner(share)
    annotators = int(a.max(initial=-1)) + 1
    known = np.where(winner[i] >= 0)[0] if len(i) else np.zeros(0, np.int64)
    hard = np.zeros((items, classes))
    hard[np.flatnonzero(winner >= 0), winner[winner >= 0]] = 1.0
    confusion = _confusion(i[known], a[known], v[known], hard, annotators, classes)
    prior = hard.sum(0) / max(1.0, hard.sum())
    right = np.bincount(a[known], v[known] == winner[i[known]], minlength=annotators)
    count = np.bincount(a[known], minlength=annotators)
    with np.errstate(invalid="ignore"):
        return Joined(winner, share, confusion, right / count, prior, 0)


def dawid_skene(item: npt.ArrayLike, annotator: npt.ArrayLike, vote: npt.ArrayLike, items: int, classes: int) -> Joined:
    """The most probable class under what the votes say of the annotators.

    Needs at least two annotators who share items to tell more than a majority; with one it believes that one. A weak
    prior keeps each annotator on the side of the truth, so that classes do not swap names.
    """
    i, a, v = _votes(item, annotator, vote)
    annotators = int(a.max(initial=-1)) + 1
    belief = np.nan_to_num(_shares(i, v, items, classes))
    prior = np.full(classes, 1.0 / classes)
    confusion = np.full((annotators, classes, classes), 1.0 / classes)
    voted = np.bincount(i, minlength=items) > 0
    rounds = 0
    for rounds in range(1, _MOST_ROUNDS + 1):  # noqa: B007 -- told in the result
        confusion = _confusion(i, a, v, belief, annotators, classes)
        prior = (belief[voted].sum(0) + _SMOOTHING / classes) / (voted.sum() + _SMOOTHING)
        logs = np.tile(np.log(prior), (items, 1))
        np.add.at(logs, i, np.log(confusion)[a, :, v])
        logs -= logs.max(1, keepdims=True)
        found = np.exp(logs)
        found /= found.sum(1, keepdims=True)
        found[~voted] = 0.0
        change = np.abs(found - belief).max(initial=0.0)
        belief = found
        if change < _CHANGE:
            break
    share = belief.copy()
    share[~voted] = np.nan
    reliability = np.einsum("k,akk->a", prior, confusion) if annotators else np.zeros(0)
    reliability[np.bincount(a, minlength=annotators) == 0] = np.nan
    return Joined(_winner(share), share, confusion, reliability, prior, rounds)


def exact_share(one: npt.ArrayLike, two: npt.ArrayLike) -> float:
    """Share of items on which both say the same; NaN without items."""
    a, b = np.asarray(one), np.asarray(two)
    return float((a == b).mean()) if len(a) else float("nan")


def within_share(one: npt.ArrayLike, two: npt.ArrayLike, most: float = 1.0) -> float:
    """Share of items on which the two scores differ by at most ``most``."""
    a, b = np.asarray(one, float), np.asarray(two, float)
    return float((np.abs(a - b) <= most).mean()) if len(a) else float("nan")


def cohen_kappa(
    one: npt.ArrayLike, two: npt.ArrayLike, classes: int, weights: Literal["none", "linear", "quadratic"] = "none"
) -> float:
    """Cohen's kappa of two annotators over classes from 0: 1 is agreement, 0 what chance gives.

    NaN where both always say the same one class: there is nothing to agree on.
    """
    a, b = np.asarray(one, np.int64), np.asarray(two, np.int64)
    if not len(a):
        return float("nan")
    table = np.zeros((classes, classes))
    np.add.at(table, (a, b), 1.0)
    table /= table.sum()
    expected = np.outer(table.sum(1), table.sum(0))
    distance = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes))).astype(float)
    cost = (distance > 0).astype(float) if weights == "none" else distance ** (2 if weights == "quadratic" else 1)
    chance = float((cost * expected).sum())
    return 1.0 - float((cost * table).sum()) / chance if chance > 0 else float("nan")


def krippendorff_alpha(
    item: npt.ArrayLike, value: npt.ArrayLike, level: Literal["nominal", "interval"] = "nominal"
) -> float:
    """Krippendorff's alpha over all votes, whoever gave them; items with one vote say nothing.

    NaN where there are no pairs of votes, or all votes are the same.
    """
    i, x = np.asarray(item, np.int64), np.asarray(value, float)
    if not len(i):
        return float("nan")
    number = np.bincount(i)
    keep = number[i] >= 2
    i, x = i[keep], x[keep]
    if not len(i):
        return float("nan")
    levels, code = np.unique(x, return_inverse=True)
    cells = np.zeros((int(i.max()) + 1, len(levels)))
    np.add.at(cells, (i, code), 1.0)
    size = cells.sum(1)
    filled = size > 0
    cells, size = cells[filled], size[filled]
    distance = np.subtract.outer(levels, levels) ** 2 if level == "interval" else 1.0 - np.eye(len(levels))
    observed = ((cells @ distance) * cells).sum(1) / (size - 1)
    totals = cells.sum(0)
    expected = totals @ distance @ totals / (totals.sum() - 1)
    return float(1.0 - observed.sum() / expected) if expected > 0 else float("nan")


def _votes(item: npt.ArrayLike, annotator: npt.ArrayLike, vote: npt.ArrayLike) -> tuple[Ints, Ints, Ints]:
    i, a, v = (np.asarray(x, np.int64) for x in (item, annotator, vote))
    if not len(i) == len(a) == len(v):
        raise ValueError("item, annotator and vote have different lengths")
    return i, a, v


def _shares(i: Ints, v: Ints, items: int, classes: int) -> Floats:
    table = np.zeros((items, classes))
    np.add.at(table, (i, v), 1.0)
    with np.errstate(invalid="ignore"):
        share: Floats = table / table.sum(1, keepdims=True)
    return share


def _winner(share: Floats) -> Ints:
    filled = np.nan_to_num(share, nan=-1.0)
    best = filled.max(1, initial=-1.0)
    tied = (filled >= best[:, None] - 1e-12).sum(1) > 1
    return np.where((best < 0) | tied, -1, filled.argmax(1)).astype(np.int64)


def _confusion(i: Ints, a: Ints, v: Ints, belief: Floats, annotators: int, classes: int) -> Floats:
    """What each annotator says, given the class that is believed; smoothed, each row sums to 1."""
    off = _SMOOTHING * (1.0 - _DIAGONAL) / max(1, classes - 1)
    table = np.full((annotators, classes, classes), off)
    table[:, np.arange(classes), np.arange(classes)] = _SMOOTHING * _DIAGONAL
    seen = np.zeros((annotators, classes, classes))
    np.add.at(seen.transpose(0, 2, 1), (a, v), belief[i])
    table += seen
    confusion: Floats = table / table.sum(2, keepdims=True)
    return confusion
