"""Heads: what turns features into a label, learned by minimising one convex loss with a penalty on the weights.

=============  ====================================================  =================================
kind           model                                                 output
=============  ====================================================  =================================
regression     ridge: squared loss                                   the score
ordinal        cumulative logits (McCullagh 1980), equal slopes      expected level
classification multinomial logistic regression                       name and its probability
pairwise       Bradley-Terry on differences (QuRating), soft labels  score, on the scale of log-odds
=============  ====================================================  =================================

Features are a matrix, sparse or dense, one row per document. Losses are means over rows, so that a penalty means the
same for any number of them; ``penalty / 2 · |weights|²`` is added, the bias left out. Everything starts at zero and
is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Head", "Kind", "Pairs", "cumulative", "expected_level", "fit_head", "inner_products", "loss_of", "softmax"]

Kind = Literal["regression", "ordinal", "classification", "pairwise"]
Doubles = npt.NDArray[np.float64]

_STEPS = 300
_LEAST_GAP = 1e-6
_LEAST_CHANCE = 1e-12


@dataclass(frozen=True)
class Pairs:
    """Judgements between rows: ``share`` of the win goes to row ``a``."""

    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    share: Doubles


@dataclass(frozen=True)
class Head:
    """What was learned.

    Attributes:
        weights: (features, outputs).
        bias: (outputs).
        thresholds: of ordinal levels, ascending; empty for the other kinds.
    """

    kind: Kind
    weights: Doubles
    bias: Doubles
    thresholds: Doubles

    def raw(self, features: Any) -> Doubles:
        """(rows, outputs) before the link."""
        return np.asarray(features @ self.weights, np.float64) + self.bias


def fit_head(kind: Kind, features: Any, target: Doubles | Pairs, penalty: float, classes: int = 0) -> Head:
    """The head of this kind that fits ``target`` best.

    Args:
        features: (rows, features), SciPy CSR or dense.
        target: regression: scores; ordinal: levels from 0 to ``classes - 1`` (between two levels: both, by nearness);
            classification: numbers of the classes; pairwise: judgements between rows.
        penalty: above 0.
        classes: levels or classes.
    """
    if isinstance(target, Pairs):
        return _pairwise(features, target, penalty)
    if kind == "regression":
        return _ridge(features, target, penalty)
    if kind == "ordinal":
        return _ordinal(features, target, penalty, classes)
    return _multinomial(features, target.astype(np.int64), penalty, classes)


def loss_of(head: Head, raw: Doubles, target: Doubles | Pairs) -> float:
    """Mean loss of raw outputs on documents held out; the loss that was minimised, without the penalty."""
    if isinstance(target, Pairs):
        gap = raw[target.a, 0] - raw[target.b, 0]
        return float(np.mean(np.logaddexp(0, gap) - target.share * gap))
    if head.kind == "regression":
        return float(np.mean((raw[:, 0] - target) ** 2))
    if head.kind == "ordinal":
        low, high, nearness = _neighbours(target, len(head.thresholds) + 1)
        chances = np.maximum(cumulative(raw[:, 0], head.thresholds), _LEAST_CHANCE)
        rows = np.arange(len(target))
        return float(-np.mean((1 - nearness) * np.log(chances[rows, low]) + nearness * np.log(chances[rows, high])))
    chances = np.maximum(softmax(raw), _LEAST_CHANCE)
    return float(-np.mean(np.log(chances[np.arange(len(target)), target.astype(np.int64)])))


def softmax(raw: Doubles) -> Doubles:
    """Probabilities of the classes."""
    lifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(lifted / lifted.sum(axis=1, keepdims=True), np.float64)


def cumulative(raw: Doubles, thresholds: Doubles) -> Doubles:
    """Probabilities of the levels: (rows, levels)."""
    below = 1 / (1 + np.exp(-np.clip(thresholds[None, :] - raw[:, None], -500, 500)))
    edges = np.hstack([np.zeros((len(raw), 1)), below, np.ones((len(raw), 1))])
    return np.diff(edges, axis=1)


def expected_level(raw: Doubles, thresholds: Doubles) -> Doubles:
    """Mean of the levels by their probabilities, levels counted from 0."""
    above = 1 / (1 + np.exp(-np.clip(raw[:, None] - thresholds[None, :], -500, 500)))
    return np.asarray(above.sum(axis=1), np.float64)


def _ridge(features: Any, target: Doubles, penalty: float) -> Head:
    """Solved in the smaller of the two spaces; features are centred without making them dense."""
    n, p = features.shape
    centre = np.asarray(features.mean(axis=0), np.float64).ravel()
    mean = float(target.mean())
    rest = target - mean
    if n <= p:
        gram = inner_products(features)
        gram = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
        alpha = _solve(gram, rest, n * penalty)
        alpha = alpha - alpha.mean()
        weights = np.asarray(features.T @ alpha, np.float64)
    else:
        dense = np.asarray((features.T @ features).toarray() if _sparse(features) else features.T @ features, float)
        moved = dense - n * np.outer(centre, centre)
        weights = _solve(moved, np.asarray(features.T @ rest, np.float64), n * penalty)
    return Head("regression", weights[:, None], np.array([mean - centre @ weights]), np.empty(0))


def inner_products(features: Any) -> Doubles:
    """(rows, rows) of a sparse or dense matrix."""
    if not _sparse(features):
        return np.asarray(features @ features.T, np.float64)
    from classifiers.hashed_ridge import Features

    return Features((features,), np.zeros((features.shape[0], 1), np.float32)).kernel().astype(np.float64)


def _solve(gram: Doubles, right: Doubles, penalty: float) -> Doubles:
    from scipy.linalg import cho_factor, cho_solve

    gram = gram.copy()
    # the smallest number that keeps the matrix positive where rounding has made it not
    gram[np.diag_indices_from(gram)] += penalty + 1e-12 * max(1.0, float(np.trace(gram)) / len(gram))
    return np.asarray(cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), right), np.float64)


def _sparse(features: Any) -> bool:
    from scipy import sparse

    return bool(sparse.issparse(features))


def _minimise(loss: Callable[[Doubles], tuple[float, Doubles]], start: Doubles) -> Doubles:
    from scipy.optimize import minimize

    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "ftol": 1e-9, "gtol": 1e-6}
    )  # fmt: skip
    return np.asarray(found.x, np.float64)


def _multinomial(features: Any, target: npt.NDArray[np.int64], penalty: float, classes: int) -> Head:
    n, p = features.shape
    hot = np.eye(classes)[target]
    # a class that never occurs would be pushed to minus infinity: it starts, and is held, at a small chance
    share = np.maximum(hot.mean(axis=0), 0.1 / n)

    def loss(x: Doubles) -> tuple[float, Doubles]:
        weights, bias = x[: p * classes].reshape(p, classes), x[p * classes :]
        raw = np.asarray(features @ weights, np.float64) + bias
        top = raw.max(axis=1, keepdims=True)
        log = top + np.log(np.exp(raw - top).sum(axis=1, keepdims=True))
        value = float(np.mean(log[:, 0] - (hot * raw).sum(axis=1)))
        pull = (np.exp(raw - log) - hot) / n
        held = bias - start[p * classes :]
        value += penalty / 2 * float(np.sum(weights**2)) + _HOLD / 2 * float(held @ held)
        slope = np.asarray(features.T @ pull, np.float64) + penalty * weights
        return value, np.concatenate([slope.ravel(), pull.sum(axis=0) + _HOLD * held])

    start = np.concatenate([np.zeros(p * classes), np.log(share)])
    x = _minimise(loss, start)
    return Head("classification", x[: p * classes].reshape(p, classes), x[p * classes :], np.empty(0))


#: how weakly a class's bias is held at its share of the rows: no class that was not seen runs off
_HOLD = 1e-4


def _neighbours(target: Doubles, levels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Doubles]:
    """The two levels next to each target, and how near it is to the upper one."""
    low = np.clip(np.floor(target), 0, levels - 1).astype(np.int64)
    high = np.minimum(low + 1, levels - 1)
    return low, high, np.clip(target - low, 0, 1)


def _ordinal(features: Any, target: Doubles, penalty: float, levels: int) -> Head:
    n, p = features.shape
    low, high, nearness = _neighbours(target, levels)
    pairs = [(low, (1 - nearness) / n), (high, nearness / n)]
    share = np.zeros(levels)
    for level, weight in pairs:
        share += np.bincount(level, weight, levels)
    below = np.clip(np.cumsum(np.maximum(share, 0.1 / n))[:-1], 1e-3 / levels, 1 - 1e-3 / levels)
    first = np.maximum.accumulate(np.log(below / (1 - below)) + np.arange(levels - 1) * _LEAST_GAP * 10)
    gaps = np.log(np.maximum(np.diff(first), 1e-2))
    start = np.concatenate([np.zeros(p), first[:1], gaps])

    def loss(x: Doubles) -> tuple[float, Doubles]:
        weights, edges = x[:p], _thresholds(x[p:])
        raw = np.asarray(features @ weights, np.float64)
        padded = np.concatenate([[-np.inf], edges, [np.inf]])
        value, pull, slope = penalty / 2 * float(weights @ weights), np.zeros(n), np.zeros(levels + 1)
        for level, weight in pairs:
            up = _logistic(padded[level + 1] - raw)
            down = _logistic(padded[level] - raw)
            chance = np.maximum(up - down, _LEAST_CHANCE)
            value -= float(weight @ np.log(chance))
            pull += weight * (1 - up - down)
            slope += np.bincount(level + 1, -weight * up * (1 - up) / chance, levels + 1)
            slope += np.bincount(level, weight * down * (1 - down) / chance, levels + 1)
        held = x[p + 1 :] - start[p + 1 :]
        value += _HOLD / 2 * float(held @ held)
        inner = slope[1:levels]
        moved = np.concatenate([[inner.sum()], np.cumsum(inner[::-1])[::-1][1:] * np.exp(x[p + 1 :]) + _HOLD * held])
        return value, np.concatenate([np.asarray(features.T @ pull, np.float64) + penalty * weights, moved])

    x = _minimise(loss, start)
    return Head("ordinal", x[:p, None], np.zeros(1), _thresholds(x[p:]))


def _thresholds(x: Doubles) -> Doubles:
    """First threshold, then logarithms of the gaps: always ascending."""
    return np.concatenate([x[:1], x[0] + np.cumsum(np.exp(x[1:]))])


def _logistic(x: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))), np.float64)


def _pairwise(features: Any, pairs: Pairs, penalty: float) -> Head:
    p, n = features.shape[1], len(pairs.a)
    from scipy import sparse

    rows = np.arange(n)
    entries = np.concatenate([np.ones(n), -np.ones(n)])
    turned = (np.concatenate([rows, rows]), np.concatenate([pairs.a, pairs.b]))
    differences = sparse.csr_matrix((entries, turned), shape=(n, features.shape[0]))

    def loss(x: Doubles) -> tuple[float, Doubles]:
        gap = np.asarray(differences @ (features @ x), np.float64)
        value = float(np.mean(np.logaddexp(0, gap) - pairs.share * gap)) + penalty / 2 * float(x @ x)
        pull = (_logistic(gap) - pairs.share) / n
        return value, np.asarray(features.T @ (differences.T @ pull), np.float64) + penalty * x

    weights = _minimise(loss, np.zeros(p))
    seen = np.unique(np.concatenate([pairs.a, pairs.b]))
    bias = -float(np.asarray(features @ weights, np.float64)[seen].mean())
    return Head("pairwise", weights[:, None], np.array([bias]), np.empty(0))
