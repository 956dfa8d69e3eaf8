"""Votes of several annotators: joined labels, reliabilities, measures of agreement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.agreement import (
    cohen_kappa,
    dawid_skene,
    exact_share,
    krippendorff_alpha,
    majority,
    within_share,
)


def planted(seed: int, items: int, confusion: np.ndarray) -> tuple[np.ndarray, ...]:
    """True classes and one vote of every annotator on every item, drawn from their confusion matrices."""
    draw = np.random.default_rng(seed)
    annotators, classes, _ = confusion.shape
    truth = draw.integers(0, classes, items)
    item = np.repeat(np.arange(items), annotators)
    annotator = np.tile(np.arange(annotators), items)
    uniform = draw.random(len(item))
    vote = (uniform[:, None] > confusion[annotator, truth[item]].cumsum(1)).sum(1)
    return truth, item, annotator, np.minimum(vote, classes - 1)


def even(right: float, classes: int) -> np.ndarray:
    wrong = (1 - right) / (classes - 1)
    return np.full((classes, classes), wrong) + np.eye(classes) * (right - wrong)


def swapping(classes: int) -> np.ndarray:
    """Right on all classes but the last two, which it takes for each other."""
    matrix = even(0.9, classes)
    return matrix[[*range(classes - 2), classes - 1, classes - 2]]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 5))
def test_planted_confusion_is_recovered_and_beats_the_majority(seed: int, classes: int) -> None:
    confusion = np.stack(
        [even(0.9, classes), even(0.8, classes), even(0.4, classes), even(0.4, classes), swapping(classes)]
    )
    truth, item, annotator, vote = planted(seed, 1500, confusion)
    found = dawid_skene(item, annotator, vote, 1500, classes)
    plain = majority(item, annotator, vote, 1500, classes)
    assert (found.winner == truth).mean() > (plain.winner == truth).mean() + 0.02
    assert np.abs(found.confusion - confusion).max() < 0.12
    assert found.reliability[0] == pytest.approx(0.9, abs=0.05)
    assert found.reliability[0] > found.reliability[1] > found.reliability[2]
    np.testing.assert_allclose(found.share.sum(1), 1.0)
    np.testing.assert_allclose(found.confusion.sum(2), 1.0)


def test_numbers_of_annotators_and_order_of_votes_do_not_matter() -> None:
    _, item, annotator, vote = planted(1, 300, np.stack([even(0.9, 3), even(0.7, 3), even(0.5, 3)]))
    one = dawid_skene(item, annotator, vote, 300, 3)
    order = np.random.default_rng(0).permutation(len(item))
    two = dawid_skene(item[order], 2 - annotator[order], vote[order], 300, 3)
    np.testing.assert_allclose(one.share, two.share, atol=1e-6)
    np.testing.assert_allclose(one.reliability, two.reliability[::-1], atol=1e-6)


def test_a_majority_with_a_tie_has_no_winner() -> None:
    found = majority([0, 0, 1, 1, 1], [0, 1, 0, 1, 2], [0, 1, 2, 2, 0], 3, 3)
    assert found.winner.tolist() == [-1, 2, -1]
    assert found.share[1].tolist() == pytest.approx([1 / 3, 0, 2 / 3])
    assert np.isnan(found.share[2]).all()
    assert found.reliability.tolist() == [1.0, 1.0, 0.0]


def test_items_without_votes_and_no_votes_at_all() -> None:
    found = dawid_skene([0], [0], [1], 2, 2)
    assert found.winner.tolist() == [1, -1]
    assert np.isnan(found.share[1]).all()
    nobody = dawid_skene([], [], [], 3, 2)
    assert nobody.winner.tolist() == [-1, -1, -1]
    assert majority([], [], [], 0, 2).winner.tolist() == []


def test_kappa_by_hand() -> None:
    a = [0] * 25 + [1] * 25
    b = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    assert cohen_kappa(a, b, 2) == pytest.approx(0.4)  # observed 0.7, by chance 0.5
    assert cohen_kappa(a, a, 2) == 1.0
    assert np.isnan(cohen_kappa([1, 1], [1, 1], 3))
    assert cohen_kappa([0, 1, 2, 2], [0, 1, 2, 1], 3, "quadratic") > cohen_kappa(
        [0, 1, 2, 2], [0, 1, 2, 0], 3, "quadratic"
    )


def test_alpha_of_krippendorffs_own_example() -> None:
    """Nominal data of Krippendorff (2011): four observers, twelve units, alpha 0.743; interval 0.849."""
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    votes = [(unit, value) for row in rows for unit, value in enumerate(row) if value is not None]
    item, value = zip(*votes, strict=True)
    assert krippendorff_alpha(item, value) == pytest.approx(0.743, abs=0.001)
    assert krippendorff_alpha(item, value, "interval") == pytest.approx(0.849, abs=0.001)
    assert np.isnan(krippendorff_alpha([0, 1], [3, 4]))


def test_shares_of_agreement() -> None:
    assert exact_share([1, 2, 3], [1, 2, 5]) == pytest.approx(2 / 3)
    assert within_share([1, 2, 3], [2, 2, 5]) == pytest.approx(2 / 3)
    assert np.isnan(exact_share([], []))
