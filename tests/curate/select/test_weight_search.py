"""Weights learned from proxy runs: what was planted in simulated proxies is found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from curate.errors import ConfigError
from curate.select.weight_search import draw_weights, learn_weights, rank_correlation, read_runs

Floats = npt.NDArray[np.float64]
PLANTED = np.array([0.45, 0.0, 0.3, 0.0, 0.25, 0.0])
NAMES = [f"s{i}" for i in range(6)]


class Simulation:
    """Documents with six scores, and a usefulness that is the planted sum of them, with noise.

    A proxy is trained on the best 15 % by a weighted sum; its loss falls with the usefulness of what it was trained on.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.scores = rng.random((6000, 6))
        self.useful = self.scores @ PLANTED + rng.normal(0, 0.05, 6000)

    def loss(self, weights: Floats) -> float:
        merged = self.scores @ weights
        return 3 - 2 * float(self.useful[merged >= np.quantile(merged, 0.85)].mean())


def test_planted_weights_are_recovered_by_boosting() -> None:
    recovered("lightgbm", 0.9)


def test_planted_weights_are_recovered_by_ridge() -> None:
    recovered("ridge", 0.9)


def recovered(model: str, cosine: float) -> None:
    world = Simulation(0)
    weights = draw_weights(256, 6, seed=1)
    noise = np.random.default_rng(2).normal(0, 0.005, (2, 256))
    losses = np.array([world.loss(w) for w in weights])
    columns = {"loss_a": losses + noise[0], "loss_b": 100 * (losses + noise[1])}
    if model == "lightgbm":
        del columns["loss_b"]  # time
    found, how = learn_weights(
        NAMES, weights, columns, model=model, n_candidates=20_000, seed=3,
    )  # type: ignore[arg-type]  # fmt: skip
    point = np.array([found[n] for n in NAMES])
    assert point.sum() == pytest.approx(1) and (point >= 0).all()
    assert point @ PLANTED / np.linalg.norm(point) / np.linalg.norm(PLANTED) > cosine
    assert set(np.argsort(point)[-3:]) == {0, 2, 4}
    # what counts: a proxy trained with the found weights beats nearly all that were run, and even weights by far
    assert world.loss(point) < np.quantile(losses, 0.02)
    assert world.loss(point) - world.loss(PLANTED) < 0.25 * (world.loss(np.full(6, 1 / 6)) - world.loss(PLANTED))
    assert min(how.spearman.values()) > 0.8 and how.runs == 256


def test_losses_that_do_not_depend_on_the_weights_are_told() -> None:
    noise = np.random.default_rng(0).normal(size=100)
    _, how = learn_weights(NAMES, draw_weights(100, 6, 0), {"loss": noise}, model="ridge", n_candidates=1000)
    assert abs(how.spearman["loss"]) < 0.35


def test_the_same_table_gives_the_same_weights() -> None:
    weights = draw_weights(60, 6, 0)
    losses = {"loss": weights @ np.arange(6.0)}
    one, two = (learn_weights(NAMES, weights, losses, n_candidates=2000, seed=5)[0] for _ in range(2))
    assert one == two


def test_the_table_of_runs(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [0.5, 0.1], "b": [0.5, 0.9], "loss_x": [1, 2], "other": ["k", "l"]})
    frame.write_csv(tmp_path / "runs.csv")
    points, losses = read_runs(tmp_path / "runs.csv", ["b", "a"], None)
    assert points.tolist() == [[0.5, 0.5], [0.9, 0.1]] and losses["loss_x"].tolist() == [1, 2]
    with pytest.raises(ConfigError, match="lacks c"):
        read_runs(tmp_path / "runs.csv", ["c"], None)
    with pytest.raises(ConfigError, match="holds text"):
        read_runs(tmp_path / "runs.csv", ["other"], None)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_runs(tmp_path / "none.csv", ["a"], None)
    with pytest.raises(ConfigError, match="2 proxy runs"):
        learn_weights(["b", "a"], points, losses)
    with pytest.raises(ConfigError, match="missing or infinite"):
        learn_weights(["a"], np.full((12, 1), np.nan), {"loss": np.zeros(12)})


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([1.0, 1, 2]), np.array([1.0, 2, 3])) == pytest.approx(0.8660, abs=1e-4)
    assert np.isnan(rank_correlation(np.zeros(3), np.arange(3.0)))
