"""Trains a student: cross-validation first, then the weights, a card that the rating loads at once, and a model card.

    from classifiers.train import train
    train(TrainConfig(...), base=Path("."))

Each text's held-out prediction comes from a model that saw nothing of its fold. The penalty of that model was chosen in
inner folds of its own training part, so no figure is chosen on what it measures; that of the model that is written was
chosen in the outer folds. What looks at texts but at no label (rarity of words, means) is taken from all texts.

Memory: n² × 8 bytes for regressions of n ≤ 10,000 texts, and the features, about 10 kB per text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.students.heads import Head, Pairs, fit_head, inner_products, loss_of
from classifiers.train_config import TrainConfig
from classifiers.train_features import Design, design_of
from classifiers.train_table import Ratings, Target, read_ratings

__all__ = ["Learned", "Trained", "train"]

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

#: texts up to which regressions are solved over texts instead of features, and bytes of eigenvectors that are held
_DUAL = 10_000
_HELD = 1 << 30
#: texts up to which other heads are, and the least share of the largest eigenvalue that counts
_REDUCED = 4000
_LEAST = 1e-6


@dataclass(frozen=True)
class Learned:
    """A label after training.

    Attributes:
        held_out: (texts, outputs) raw outputs by models that had not seen the text's fold; NaN where not rated.
        head: learned from all rated texts.
        penalties: the one chosen for each fold, and last the one for ``head``.
    """

    target: Target
    held_out: Doubles
    head: Head
    penalties: tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """What ``train`` found and wrote.

    Attributes:
        card, weights, predictions, model_card, report: the files.
        figures: as in ``report``; by label.
    """

    card: Path
    weights: Path
    predictions: Path
    model_card: Path
    report: Path
    figures: dict[str, Any]


def train(config: TrainConfig, base: Path, say: Callable[[str], None] = lambda _: None) -> Trained:
    """Learn, measure and write a student; the same files for the same table, config and processor.

    Raises:
        ConfigError: what ``read_ratings`` refuses, or a package or model of the features is missing.
    """
    # loaded before their threads are limited: what comes later would bring its own number of them
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    from classifiers.train_files import write_student

    ratings = read_ratings(config, base)
    with threadpool_limits(1):
        design = design_of(config, base, ratings.texts)
        say(f"features of {len(ratings.texts)} texts: {design.matrix.shape[1]} columns")
        learned, grams = [], Grams(design)
        for target in ratings.targets:
            learned.append(_learn(config, ratings, target, design, grams))
            say(f"label {target.spec.name}: penalty {learned[-1].penalties[-1]:g}")
        return write_student(config, base, ratings, design, learned)


class Grams:
    """Inner products of all texts and eigenvectors of parts of them, for regressions: all labels share them."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._gram: Doubles | None = None
        self._reduced: tuple[Doubles, Doubles] | None = None
        self._parts: dict[bytes, tuple[Doubles, Doubles]] = {}

    @property
    def gram(self) -> Doubles:
        """(texts, texts)."""
        if self._gram is None:
            self._gram = inner_products(self._design.matrix)
        return self._gram

    def reduced(self) -> tuple[Doubles, Doubles]:
        """``(features, back)``: as few columns as there are texts, with the same inner products; an optimum with a
        penalty on the weights is the same in both. Weights w of ``features`` are ``matrix.T @ (back @ w)``."""
        if self._reduced is None:
            values, vectors = np.linalg.eigh(self.gram)
            some = values > _LEAST * values[-1]
            root = np.sqrt(values[some])
            self._reduced = vectors[:, some] * root, vectors[:, some] / root
        return self._reduced

    def alpha(self, rows: Rows, target: Doubles, penalty: float) -> Doubles:
        """Dual solution of a ridge on these texts; sums to zero, so that features need no centring."""
        key = rows.tobytes()
        if key not in self._parts:
            part = self.gram[np.ix_(rows, rows)]
            centred = part - part.mean(axis=0) - part.mean(axis=1)[:, None] + part.mean()
            if sum(v.nbytes for _, v in self._parts.values()) > _HELD:
                self._parts.clear()
            self._parts[key] = np.linalg.eigh(centred)
        values, vectors = self._parts[key]
        shrunk = (vectors.T @ (target - target.mean())) / (np.maximum(values, 0) + len(rows) * penalty)
        alpha = vectors @ shrunk
        return np.asarray(alpha - alpha.mean(), np.float64)


class _Problem:
    """One label on the texts that have it."""

    def __init__(self, target: Target, design: Design, grams: Grams) -> None:
        self.target, self.kind, self.grams = target, target.spec.kind, grams
        self.dual = self.kind == "regression" and design.matrix.shape[0] <= _DUAL
        self.small = not self.dual and design.matrix.shape[0] <= min(_REDUCED, design.matrix.shape[1])
        self.matrix = design.matrix
        self.x = grams.reduced()[0][target.rows] if self.small else design.matrix[target.rows]
        self.classes = len(target.names)

    def part(self, rows: Rows) -> Doubles | Pairs:
        """Values of these rows; pairs of which both sides are among them, counted within them."""
        if self.target.pairs is None:
            return self.target.values[rows]
        place = np.full(int(self.target.rows.max()) + 1, -1)
        place[self.target.rows[rows]] = np.arange(len(rows))
        a, b = place[self.target.pairs.a], place[self.target.pairs.b]
        both = (a >= 0) & (b >= 0)
        return Pairs(a[both], b[both], self.target.pairs.share[both])

    def fit(self, rows: Rows, penalty: float) -> Head:
        return fit_head(self.kind, self.x[rows], self.part(rows), penalty, self.classes)

    def whole(self, penalty: float) -> Head:
        """The head of all texts that have the label, with weights for the columns of the whole matrix."""
        head = self.fit(np.arange(len(self.target.rows)), penalty)
        if not self.small:
            return head
        weights = np.asarray(self.matrix.T @ (self.grams.reduced()[1] @ head.weights), np.float64)
        return Head(head.kind, weights, head.bias, head.thresholds)

    def outputs(self, rows: Rows, penalty: float, on: Rows) -> tuple[Head, Doubles]:
        """What a model of ``rows`` says of the rows ``on``; the head lacks its weights where they were not needed."""
        if not self.dual:
            head = self.fit(rows, penalty)
            return head, head.raw(self.x[on])
        texts, values, gram = self.target.rows[rows], self.target.values[rows], self.grams.gram
        alpha = self.grams.alpha(texts, values, penalty)
        bias = float(values.mean() - gram[np.ix_(texts, texts)].mean(axis=0) @ alpha)
        raw = gram[np.ix_(self.target.rows[on], texts)] @ alpha + bias
        return Head("regression", np.empty((0, 1)), np.array([bias]), np.empty(0)), raw[:, None]

    def chosen(self, rows: Rows, part: npt.NDArray[np.int64], penalties: Sequence[float]) -> float:
        """The penalty with the least mean loss over the parts of ``rows``, each held out once."""
        if len(penalties) == 1:
            return penalties[0]
        losses = np.zeros(len(penalties))
        for f in np.unique(part):
            inside, outside = rows[part != f], rows[part == f]
            held = self.part(outside)
            if not len(inside) or (isinstance(held, Pairs) and not len(held.a)):
                continue
            for i, penalty in enumerate(penalties):
                head, raw = self.outputs(inside, penalty, outside)
                losses[i] += len(outside) * loss_of(head, raw, held)
        return penalties[int(np.argmin(losses))]


def _learn(config: TrainConfig, ratings: Ratings, target: Target, design: Design, grams: Grams) -> Learned:
    problem = _Problem(target, design, grams)
    fold = ratings.fold[target.rows]
    every = np.arange(len(target.rows))
    folds = [int(f) for f in np.unique(fold)]
    held_out, chosen = None, []
    for f in folds:
        rows = every[fold != f]
        penalty = problem.chosen(rows, _inner(fold[rows], config.inner_folds), config.penalties)
        _, raw = problem.outputs(rows, penalty, every[fold == f])
        held_out = np.full((len(ratings.texts), raw.shape[1]), np.nan) if held_out is None else held_out
        held_out[target.rows[fold == f]] = raw
        chosen.append(penalty)
    assert held_out is not None
    penalty = problem.chosen(every, _inner(fold, config.inner_folds), config.penalties)
    return Learned(target, held_out, problem.whole(penalty), (*chosen, penalty))


def _inner(fold: npt.NDArray[np.int64], parts: int) -> npt.NDArray[np.int64]:
    """Whole folds joined to at most ``parts`` parts, so that groups stay together; one fold is cut by row."""
    names, place = np.unique(fold, return_inverse=True)
    return np.asarray(place % parts if len(names) > 1 else np.arange(len(fold)) % parts, np.int64)
