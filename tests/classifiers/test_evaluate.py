"""Measures against scipy and scikit-learn, and what is not defined."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from classifiers import evaluate_metrics as m
from classifiers.evaluate import Comparison, compare, table_of


def test_measures_are_those_of_scipy_and_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    gold = rng.integers(1, 6, 300).astype(float)
    score = np.round(gold + rng.standard_normal(300), 1)
    assert m.spearman(score, gold) == pytest.approx(stats.spearmanr(score, gold)[0])
    assert m.pearson(score, gold) == pytest.approx(stats.pearsonr(score, gold)[0])
    assert m.auc(score, gold >= 4) == pytest.approx(metrics.roc_auc_score(gold >= 4, score))
    said, truth = [str(int(v)) for v in np.clip(np.rint(score), 1, 5)], [str(int(v)) for v in gold]
    table = m.confusion(said, truth, ["1", "2", "3", "4", "5"])
    assert (table == metrics.confusion_matrix(truth, said)).all()
    assert m.macro_f1(table) == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert m.kappa(table) == pytest.approx(metrics.cohen_kappa_score(truth, said))
    two = m.two_classes(score >= 3.5, gold >= 4)
    assert two["precision"] == pytest.approx(metrics.precision_score(gold >= 4, score >= 3.5))
    assert two["recall"] == pytest.approx(metrics.recall_score(gold >= 4, score >= 3.5))


def test_calibration_by_hand() -> None:
    error, table = m.calibration([0.1, 0.1, 0.95, 0.85], [0, 1, 1, 1])
    assert [row["rows"] for row in table] == [2, 1, 1]
    assert error == pytest.approx(0.5 * 0.4 + 0.25 * 0.05 + 0.25 * 0.15)


def test_constant_and_missing_values_are_not_defined_and_counted() -> None:
    found = compare(Comparison(gold=[1, 2, None, 3], score=[2.0, 2.0, 1.0, float("nan")]), resamples=10)
    assert (found["rows"], found["left_out"], found["constant"]) == (2, 2, True)
    assert found["spearman"] is None
    assert found["intervals"]["spearman"] is None
    assert compare(Comparison(gold=[], score=[]))["spearman"] is None


def test_length_ceiling_groups_and_intervals_stand_beside_the_score() -> None:
    rng = np.random.default_rng(5)
    gold = rng.standard_normal(200)
    score = gold + 0.5 * rng.standard_normal(200)
    given = Comparison(
        gold=gold,
        score=score,
        lengths=np.exp(gold + 5),
        cut=0.0,
        second=gold + 0.1 * rng.standard_normal(200),
        groups={"language": ["en", "de"] * 100},
    )
    one, two = compare(given, resamples=100, seed=3), compare(given, resamples=100, seed=3)
    assert one == two
    low, high = one["intervals"]["spearman"]
    assert low < one["spearman"] < high
    assert one["log_length"]["spearman"] == pytest.approx(1)
    assert one["ceiling"]["spearman"] > one["spearman"]
    assert {row["group"]: row["rows"] for row in one["by"]["language"]} == {"en": 100, "de": 100}
    assert len(one["by"]["length"]) == 3
    assert one["at_cut"]["precision"] > 0.8
    assert "log length" in table_of(one)


def test_names_have_accuracy_and_confusion() -> None:
    found = compare(Comparison(gold=["a", "a", "b", None], score=["a", "b", "b", "a"]), resamples=0)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["confusion"] == [[1, 1], [0, 1]]
