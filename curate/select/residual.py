"""What is left of a score when nuisance columns have explained what they can (DeconfoundLM's idea).

A ridge regression of the score on numbers (length, …) and names (language, source), within each group if asked;
the residual keeps the score's overall mean, so it stays on the score's scale. It is linear: what a nuisance does to the
score in a curve is taken out only as far as a straight line goes; give the logarithm of lengths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curate.select.noise import Floats

#: names of a nuisance column that get an effect of their own; the rest shares one
MAX_NAMES = 200


@dataclass(frozen=True)
class Fit:
    """One group's regression.

    Attributes:
        mean: of the score.
        centre, spread: of each number, by which it is standardised.
        slopes: change of the score per standard deviation of each number.
        effects: column → name (null is the empty one) → what this name adds to the mean; names that are not there add
            nothing.
        documents: how many it was fitted on.
        explained: share of the score's variance that it explains there, 0–1.
    """

    mean: float
    centre: dict[str, float]
    spread: dict[str, float]
    slopes: dict[str, float]
    effects: dict[str, dict[str, float]]
    documents: int
    explained: float

    def nuisance(self, numbers: Mapping[str, Floats], names: Mapping[str, Sequence[str | None]]) -> Floats:
        """What the nuisance columns say of the score, less its mean; NaN where a number is missing."""
        n = len(next(iter((*numbers.values(), *names.values()))))
        out = np.zeros(n)
        for column, slope in self.slopes.items():
            out = out + slope * (numbers[column] - self.centre[column]) / self.spread[column]
        for column, effects in self.effects.items():
            out = out + np.array([effects.get(v if v is not None else "", 0.0) for v in names[column]])
        return out

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def logarithm(values: Floats) -> Floats:
    """log(1 + x) for lengths and counts; NaN where x is missing or negative."""
    return np.log1p(np.where(values < 0, np.nan, values))


def fit_residual(
    score: Floats,
    numbers: Mapping[str, Floats],
    names: Mapping[str, Sequence[str | None]],
    *,
    ridge: float = 1.0,
) -> Fit | None:
    """The regression over documents whose score and numbers are all there; None if there is none.

    Args:
        ridge: penalty on slopes and effects, in documents: a name that occurs in few documents moves little.
    """
    known = ~np.isnan(score)
    for column in numbers.values():
        known &= ~np.isnan(column)
    n = int(known.sum())
    if n == 0:
        return None
    y = score[known]
    mean = math.fsum(y.tolist()) / n
    centre, spread, columns, labels = {}, {}, [], []
    for name, column in numbers.items():
        centre[name] = math.fsum(column[known].tolist()) / n
        width = float(np.sqrt(np.mean((column[known] - centre[name]) ** 2)))
        spread[name] = width if width > 0 else 1.0
        columns.append((column[known] - centre[name]) / spread[name])
        labels.append((name, ""))
    for name, values in names.items():
        here = np.array([v if v is not None else "" for v in values], dtype=object)[known]
        found, counts = np.unique(here.astype(str), return_counts=True)
        order = sorted(range(len(found)), key=lambda i: (-int(counts[i]), str(found[i])))[:MAX_NAMES]
        for i in order:
            columns.append((here == found[i]).astype(np.float64))
            labels.append((name, str(found[i])))
    weights = _solve(columns, y - mean, ridge)
    slopes = {name: float(w) for (name, value), w in zip(labels, weights, strict=True) if name in numbers}
    effects: dict[str, dict[str, float]] = {name: {} for name in names}
    fitted = np.zeros(n)
    for (name, value), column, weight in zip(labels, columns, weights, strict=True):
        fitted += weight * (column - column.mean())
        if name in effects:
            effects[name][value] = float(weight)
    for name, values in names.items():
        # effects are told against the mean document, so that residuals keep the mean of the score
        known_names = [v if v is not None else "" for v, k in zip(values, known.tolist(), strict=True) if k]
        middle = math.fsum(effects[name].get(v, 0.0) for v in known_names) / n
        effects[name] = {value: effect - middle for value, effect in effects[name].items()}
    total = float(np.sum((y - mean) ** 2))
    left = float(np.sum((y - mean - fitted) ** 2))
    return Fit(mean, centre, spread, slopes, effects, n, max(0.0, 1 - left / total) if total > 0 else 0.0)


def _solve(columns: list[Floats], y: Floats, ridge: float) -> Floats:
    """Ridge coefficients; the constant is not penalised."""
    if not columns:
        return np.empty(0)
    x = np.column_stack(columns)
    x = x - x.mean(axis=0)
    gram = x.T @ x + max(ridge, 1e-9) * np.eye(x.shape[1])
    weights: Floats = np.linalg.solve(gram, x.T @ y)
    return weights


def residuals(
    score: Floats,
    numbers: Mapping[str, Floats],
    names: Mapping[str, Sequence[str | None]],
    groups: Sequence[str | None] | None,
    fits: Mapping[str, Fit],
    overall: Fit,
) -> Floats:
    """The score less what the nuisance columns say of it.

    Args:
        groups: which fit each document takes; one without a fit of its own takes ``overall``.
    """
    out = score - overall.nuisance(numbers, names)
    if groups is None:
        return out
    array = np.array([g if g is not None else "" for g in groups], dtype=object)
    for group, fit in fits.items():
        mask = array == group
        if mask.any():
            chosen = {n: v[mask] for n, v in numbers.items()}
            names_here = {n: [x for x, m in zip(v, mask.tolist(), strict=True) if m] for n, v in names.items()}
            out[mask] = (score[mask] - fit.nuisance(chosen, names_here)) - fit.mean + overall.mean
    return out
