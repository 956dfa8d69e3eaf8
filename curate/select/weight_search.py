"""Weights of scores learned from proxy runs: which weighting of the raters gave models with the lowest losses.

Meta-rater (Zhuang et al. 2025): weight vectors are drawn from a Dirichlet distribution, each selects a corpus that
trains a proxy, a regressor learns the loss from the weights, a great many random vectors are predicted, and the best
predicted are averaged. One regressor per loss column; what is minimised is the mean of the predictions, each loss put
on its own scale (mean 0, deviation 1) first, so that no loss rules by its unit. The same loop searches the parameters
of QuaDMix (``search`` over any points).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError
from curate.select.noise import Floats

Model = Literal["lightgbm", "ridge"]
#: candidates that are predicted at once
_CHUNK = 65_536
_FOLDS = 5
#: fewer proxy runs teach nothing that can be checked
MINIMUM_RUNS = 10


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        point: the mean of the best predicted points.
        predicted: predicted loss per column at that point, on the column's own scale.
        observed_best: the lowest loss per column among the runs.
        spearman: rank correlation of predicted and observed losses per column, in runs the regressor did not see
            (5 folds); near 0 the search found nothing, NaN if all losses are equal.
        runs: proxy runs learned from.
    """

    point: Floats
    predicted: dict[str, float]
    observed_best: dict[str, float]
    spearman: dict[str, float]
    runs: int


def draw_weights(n: int, scores: int, seed: int, concentration: float = 1.0) -> Floats:
    """``n`` weight vectors over ``scores`` scores from a symmetric Dirichlet distribution; rows sum to 1."""
    found: Floats = np.random.default_rng([seed, 1]).dirichlet(np.full(scores, concentration), n)
    return found


def search(
    points: Floats,
    losses: Mapping[str, Floats],
    candidates: Callable[[np.random.Generator, int], Floats],
    *,
    model: Model = "lightgbm",
    n_candidates: int = 100_000,
    best: int = 128,
    seed: int = 0,
) -> Found:
    """The point with the lowest predicted losses.

    Memory: 65,536 candidates at a time, and the best.

    Args:
        points: one row per run.
        losses: column → one loss per run; lower is better.
        candidates: draws n points from a generator; the same distribution as the runs' points.
        best: how many of the best predicted points are averaged.
    """
    _check(points, losses)
    shape = {name: _scale(values) for name, values in losses.items()}
    targets = {name: (losses[name] - shape[name][0]) / shape[name][1] for name in losses}
    fitted = {name: _regressor(points, y, model, seed) for name, y in targets.items()}
    rng = np.random.default_rng([seed, 2])
    kept, value = np.empty((0, points.shape[1])), np.empty(0)
    for start in range(0, n_candidates, _CHUNK):
        drawn = candidates(rng, min(_CHUNK, n_candidates - start))
        predicted = np.mean([predict(drawn) for predict in fitted.values()], axis=0)
        kept, value = np.concatenate([kept, drawn]), np.concatenate([value, predicted])
        order = np.argsort(value, kind="stable")[:best]
        kept, value = kept[order], value[order]
    point = kept.mean(axis=0)
    return Found(
        point,
        {name: float(fitted[name](point[None])[0]) * shape[name][1] + shape[name][0] for name in losses},
        {name: float(np.min(losses[name])) for name in losses},
        {name: _held_out(points, y, model, seed) for name, y in targets.items()},
        len(points),
    )


def learn_weights(
    names: Sequence[str],
    weights: Floats,
    losses: Mapping[str, Floats],
    *,
    model: Model = "lightgbm",
    n_candidates: int = 100_000,
    best: int = 128,
    seed: int = 0,
) -> tuple[dict[str, float], Found]:
    """Meta-rater's search: the weight of each score, summing to 1, and how it was found."""

    def drawn(rng: np.random.Generator, n: int) -> Floats:
        return rng.dirichlet(np.ones(len(names)), n)

    found = search(weights, losses, drawn, model=model, n_candidates=n_candidates, best=best, seed=seed)
    total = float(found.point.sum())
    return dict(zip(names, (found.point / total).tolist(), strict=True)), found


def _check(points: Floats, losses: Mapping[str, Floats]) -> None:
    if len(points) < MINIMUM_RUNS:
        raise ConfigError(
            f"{len(points)} proxy runs; at least {MINIMUM_RUNS} are needed to learn weights and check them"
        )
    if not losses:
        raise ConfigError("the table of proxy runs has no column of losses")
    if not np.isfinite(points).all() or not all(np.isfinite(v).all() for v in losses.values()):
        raise ConfigError("the table of proxy runs has missing or infinite numbers: leave such runs out")


def _scale(values: Floats) -> tuple[float, float]:
    spread = float(values.std())
    return float(values.mean()), spread if spread > 0 else 1.0


def _regressor(points: Floats, y: Floats, model: Model, seed: int) -> Callable[[Floats], Floats]:
    return _boosted(points, y, seed) if model == "lightgbm" else _quadratic(points, y)


def _boosted(points: Floats, y: Floats, seed: int) -> Callable[[Floats], Floats]:
    """Boosted trees, one thread, so that the result is the same everywhere."""
    import lightgbm

    small = max(2, min(10, len(points) // 10))
    options: dict[str, Any] = {
        "objective": "regression", "learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": small, "verbose": -1,
        "seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": 1, "feature_fraction": 0.8,
        "bagging_fraction": 0.8, "bagging_freq": 1,
    }  # fmt: skip
    booster = lightgbm.train(options, lightgbm.Dataset(points, y, params={"verbose": -1}), num_boost_round=300)

    def predict(x: Floats) -> Floats:
        found: Floats = booster.predict(x, num_threads=1)
        return found

    return predict


def _quadratic(points: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """Ridge over the numbers, their squares and products; the penalty by generalised cross-validation."""
    centre, spread = points.mean(axis=0), points.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    upper = np.triu_indices(points.shape[1])

    def features(x: Floats) -> Floats:
        z = (x - centre) / spread
        return np.column_stack([z, z[:, upper[0]] * z[:, upper[1]]])

    f = features(points)
    mean = f.mean(axis=0)
    u, s, vt = np.linalg.svd(f - mean, full_matrices=False)
    offset, part = float(y.mean()), u.T @ (y - y.mean())
    n = len(y)

    def gcv(penalty: float) -> float:
        shrink = s**2 / (s**2 + penalty)
        left = y - offset - u @ (shrink * part)
        return float(float(left @ left) / n / max(1e-9, 1 - (1 + float(shrink.sum())) / n) ** 2)

    penalty = min((10.0**k * n for k in np.arange(-6, 3, 0.5)), key=gcv)
    weights = vt.T @ (s / (s**2 + penalty) * part)

    def predict(x: Floats) -> Floats:
        found: Floats = (features(x) - mean) @ weights + offset
        return found

    return predict


def _held_out(points: Floats, y: Floats, model: Model, seed: int) -> float:
    """Spearman's correlation of predictions for runs left out, over folds drawn by the seed."""
    fold: npt.NDArray[np.int64] = np.random.default_rng([seed, 3]).permutation(len(y)) % _FOLDS
    predicted = np.empty(len(y))
    for k in range(_FOLDS):
        predicted[fold == k] = _regressor(points[fold != k], y[fold != k], model, seed)(points[fold == k])
    return rank_correlation(predicted, y)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation, ties by their mean rank; NaN if one side does not vary."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return found


def read_runs(path: Any, names: Sequence[str], losses: Sequence[str] | None) -> tuple[Floats, dict[str, Floats]]:
    """Weights and losses of proxy runs from a table (CSV, or Parquet by its ending).

    Args:
        names: columns with the weights, in order.
        losses: columns with losses; None: all that begin with ``loss``.
    """
    import polars as pl

    try:
        frame = pl.read_parquet(path) if str(path).endswith(".parquet") else pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{path}: the table of proxy runs cannot be read ({type(error).__name__})") from error
    wanted = list(losses) if losses is not None else [c for c in frame.columns if c.startswith("loss")]
    missing = [c for c in [*names, *wanted] if c not in frame.columns]
    if missing or not wanted:
        raise ConfigError(
            f"{path}: the table of proxy runs lacks {', '.join(missing) or 'columns that begin with loss'}"
        )
    try:
        numbers = {c: frame[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in [*names, *wanted]}
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{path}: a column of the table of proxy runs holds text where numbers belong") from error
    return np.column_stack([numbers[c] for c in names]), {c: numbers[c] for c in wanted}
