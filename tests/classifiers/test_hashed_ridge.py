"""The pieces of the training: known weights are found, order is kept, what is cut is small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from classifiers import hashed_ridge as fit


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_ridge_finds_planted_weights_and_leaves_folds_out(rng: np.random.Generator) -> None:
    x = rng.standard_normal((400, 20)).astype(np.float32)
    truth = rng.standard_normal((20, 3))
    task = fit.Task(np.arange(300), (x @ truth)[:300] + 0.01 * rng.standard_normal((300, 3)), np.arange(300) % 5)
    features = fit.Features((sparse.csr_matrix(x),), np.zeros((400, 1), np.float32))
    found = fit.fit_ridge(features.kernel(), task, {0, 1})
    assert not np.isin(task.fold[found.rows], [0, 1]).any()
    predicted = found.predict(features.kernel())[300:]
    assert all(np.corrcoef(predicted[:, j], (x @ truth)[300:, j])[0, 1] > 0.999 for j in range(3))


def test_the_kernel_is_the_inner_product_however_frequent_a_bucket_is(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = (rng.random((30, 50)) * (rng.random((30, 50)) < rng.random(50))).astype(np.float32)
    features = fit.Features((sparse.csr_matrix(x),), rng.standard_normal((30, 4)).astype(np.float32))
    monkeypatch.setattr(fit, "FREQUENT", 10)
    assert np.allclose(features.kernel(), x @ x.T + features.waves @ features.waves.T, atol=1e-4)


def test_waves_stand_for_a_gaussian_kernel(rng: np.random.Generator) -> None:
    wave, phase = fit.random_waves(10, rng)
    z = rng.standard_normal((40, 10))
    made = np.cos(z @ wave + phase) * fit.wave_scale()
    expected = fit.STATISTICS_WEIGHT * np.exp(-((z[:, None] - z[None]) ** 2).sum(axis=-1) / 20)
    assert np.abs(made @ made.T - expected).max() < 0.15


def test_calibration_keeps_order_and_spans_the_scale(rng: np.random.Generator) -> None:
    ratings = rng.integers(1, 6, 2000).astype(np.float64)
    predicted = 3 + 0.2 * (ratings - 3) + 0.2 * rng.standard_normal(2000)
    knots, targets = fit.calibration(predicted, ratings, 1, 5)
    assert (np.diff(knots) > 0).all() and (np.diff(targets) > 0).all()
    assert targets[0] > 1 and targets[-1] < 5
    carried = np.interp(predicted, knots, targets)
    assert np.quantile(carried, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(ratings, [0.1, 0.5, 0.9]), abs=0.5)


def test_mixing_learns_what_another_score_adds(rng: np.random.Generator) -> None:
    scores = rng.standard_normal((5000, 3))
    targets = scores[:, :1] + 0.5 * scores[:, 2:]
    mixed = fit.mix_scores(scores, targets, slice(0, 1)).apply(scores)
    assert mixed.shape == (5000, 1)
    assert np.corrcoef(mixed[:, 0], targets[:, 0])[0, 1] > 0.99


def test_a_name_that_never_occurs_is_never_given(rng: np.random.Generator) -> None:
    names = rng.integers(0, 2, 500) * 2
    scores = rng.standard_normal((500, 2)) + names[:, None]
    given = fit.mix_names(scores, names, 4).apply(scores).argmax(axis=1)
    assert set(given.tolist()) <= {0, 2} and (given == names).mean() > 0.9


def test_a_narrow_table_keeps_correlated_outputs(rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 40))
    weights = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 12))
    table, decode, kept = fit.low_rank(weights, x @ weights, 3)
    assert kept == pytest.approx(1) and np.allclose(table @ decode, weights, atol=1e-8)


def test_eight_bits_cost_half_a_step_at_most(rng: np.random.Generator) -> None:
    table = rng.uniform(-1, 1, (5000, 4))
    small, scale = fit.quantised(table)
    inside = np.abs(table) <= 127 * scale
    assert np.abs(small * scale - table)[inside].max() <= 0.51 * scale.max()
    assert inside.mean() > 0.999
