"""Heads find planted weights, their gradients are right, and their links give what the textbook says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression, Ridge

from classifiers.students import heads


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_regression_finds_planted_weights(rng: np.random.Generator) -> None:
    x = rng.standard_normal((400, 6))
    truth = rng.standard_normal(6)
    head = heads.fit_head("regression", x, x @ truth + 3 + 0.01 * rng.standard_normal(400), 1e-8)
    assert np.allclose(head.weights[:, 0], truth, atol=0.01)
    assert head.bias[0] == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("shape", [(30, 80), (80, 12)])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_ridge_is_scikit_learns_in_either_space(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> None:
    x = rng.standard_normal(shape) * (rng.random(shape) < 0.4) + 0.1
    y = rng.standard_normal(shape[0])
    head = heads.fit_head("regression", sparse.csr_matrix(x) if kind == "sparse" else x, y, 0.2)
    peer = Ridge(alpha=0.2 * shape[0]).fit(x, y)
    assert np.allclose(head.weights[:, 0], peer.coef_, atol=1e-5)
    assert head.bias[0] == pytest.approx(peer.intercept_, abs=1e-5)


def test_ordinal_finds_planted_weights_and_thresholds(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20_000, 4))
    truth, edges = np.array([1.0, -2.0, 0.5, 0.0]), np.array([-1.5, 0.0, 2.0])
    levels = (x @ truth + rng.logistic(size=len(x)))[:, None] > edges
    head = heads.fit_head("ordinal", x, levels.sum(axis=1).astype(float), 1e-6, classes=4)
    assert np.allclose(head.weights[:, 0], truth, atol=0.1)
    assert np.allclose(head.thresholds, edges, atol=0.1)


def test_a_level_between_two_counts_for_both() -> None:
    x = np.zeros((4, 1))
    head = heads.fit_head("ordinal", x, np.array([0.0, 0.5, 1.5, 2.0]), 1.0, classes=3)
    chances = heads.cumulative(np.zeros(1), head.thresholds)[0]
    assert np.allclose(chances, [1.5 / 4, 1 / 4, 1.5 / 4], atol=2e-3)


def test_two_ordinal_levels_are_logistic_regression(rng: np.random.Generator) -> None:
    x = rng.standard_normal((500, 3))
    y = (x[:, 0] + rng.logistic(size=500) > 0.3).astype(float)
    head = heads.fit_head("ordinal", x, y, 0.01, classes=2)
    peer = LogisticRegression(C=1 / (0.01 * 500), tol=1e-8).fit(x, y)
    assert np.allclose(head.weights[:, 0], peer.coef_[0], atol=1e-3)
    assert -head.thresholds[0] == pytest.approx(peer.intercept_[0], abs=1e-3)


def test_classification_is_scikit_learns(rng: np.random.Generator) -> None:
    x = rng.standard_normal((400, 5))
    y = np.argmax(x[:, :3] + 0.5 * rng.standard_normal((400, 3)), axis=1)
    head = heads.fit_head("classification", x, y.astype(float), 0.02, classes=3)
    peer = LogisticRegression(C=1 / (0.02 * 400), tol=1e-8, max_iter=1000).fit(x, y)
    assert np.allclose(heads.softmax(head.raw(x)), peer.predict_proba(x), atol=2e-3)


def test_pairwise_finds_planted_weights_from_soft_labels(rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 5))
    truth = rng.standard_normal(5)
    a, b = rng.integers(0, 300, (2, 4000))
    share = 1 / (1 + np.exp(-(x[a] - x[b]) @ truth))
    head = heads.fit_head("pairwise", x, heads.Pairs(a, b, share), 1e-7)
    assert np.allclose(head.weights[:, 0], truth, atol=0.01)


def test_pairwise_finds_a_ranking_from_noisy_votes(rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 5))
    truth = np.array([2.0, -1.0, 0.0, 0.0, 1.0])
    a, b = rng.integers(0, 300, (2, 6000))
    won = (rng.random(6000) < 1 / (1 + np.exp(-(x[a] - x[b]) @ truth))).astype(float)
    head = heads.fit_head("pairwise", sparse.csr_matrix(x), heads.Pairs(a, b, won), 1e-6)
    assert np.corrcoef(head.raw(x)[:, 0], x @ truth)[0, 1] > 0.995


@pytest.mark.parametrize("kind", ["ordinal", "classification", "pairwise"])
def test_gradients_are_those_of_the_loss(
    rng: np.random.Generator, kind: heads.Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def keep(loss: object, start: np.ndarray) -> np.ndarray:
        seen["loss"], seen["start"] = loss, start
        return start

    monkeypatch.setattr(heads, "_minimise", keep)
    x = rng.standard_normal((40, 4))
    target = rng.integers(0, 4, 40) * 1.0
    pairs = heads.Pairs(rng.integers(0, 40, 60), rng.integers(0, 40, 60), rng.random(60))
    heads.fit_head(kind, x, pairs if kind == "pairwise" else np.minimum(target + 0.3, 3), 0.1, classes=4)
    at = seen["start"] + 0.3 * rng.standard_normal(len(seen["start"]))
    assert check_grad(lambda v: seen["loss"](v)[0], lambda v: seen["loss"](v)[1], at) < 1e-5


def test_the_expected_level_is_the_mean_of_the_levels(rng: np.random.Generator) -> None:
    raw, edges = rng.standard_normal(20), np.array([-1.0, 0.5, 2.0])
    assert np.allclose(heads.expected_level(raw, edges), heads.cumulative(raw, edges) @ np.arange(4))
