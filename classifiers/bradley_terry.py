"""Bradley-Terry scores from pairwise judgements: who wins how often says how far apart two items stand.

The model of Bradley and Terry (1952): item ``a`` beats ``b`` with probability ``1 / (1 + exp(s_b - s_a))``. A tie
counts half a win for either side, a soft vote its share. A normal prior on the scores keeps items that never lost
finite. The penalised likelihood is strictly concave, so Newton's method finds the one optimum, whatever the order
of the pairs.

Items that no chain of comparisons joins cannot be compared: each such component is centred on 0 by itself, and
``Fit.component`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError

__all__ = ["WINNERS", "Fit", "agreement", "bradley_terry", "bradley_terry_of"]

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

#: share of the win that goes to ``a``, by what a table of pairs says
WINNERS: Mapping[str, float] = {"A": 1.0, "B": 0.0, "Tie": 0.5, "a": 1.0, "b": 0.0, "tie": 0.5}
#: up to so many items the errors are exact and steps are solved directly
DIRECT = 4000
_ROUNDS = 100
_CURVATURE_FLOOR = 1e-12


@dataclass(frozen=True)
class Fit:
    """Scores of all items.

    Attributes:
        scores: log-odds scale, mean 0 within each component; 1 apart is a chance of 73 %.
        errors: standard errors (from the curvature at the optimum, prior included); NaN above ``DIRECT`` items.
        component: number of the component, by the first item of it; items of different ones are not comparable.
        compared: judgements (weights summed) that each item took part in; 0: its score says nothing.
        unbounded: True where only the prior keeps the score finite: the item won or lost everything against the rest of
            its component, or belongs to a set that did.
        rounds: Newton steps taken.
        log_likelihood: of the judgements at these scores, without the prior.
    """

    scores: Doubles
    errors: Doubles
    component: Whole
    compared: Doubles
    unbounded: npt.NDArray[np.bool_]
    rounds: int
    log_likelihood: float

    @property
    def components(self) -> int:
        """How many sets of items cannot be compared with each other."""
        return int(self.component.max()) + 1 if len(self.component) else 0


def bradley_terry(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    share: npt.ArrayLike,
    *,
    items: int | None = None,
    weight: npt.ArrayLike | None = None,
    penalty: float = 0.1,
    tolerance: float = 1e-9,
) -> Fit:
    """Scores of ``items`` items from judgements.

    Args:
        a, b: items compared, counted from 0.
        share: of the win, what goes to ``a``: 1, 0, 0.5 for a tie, or anything between for soft votes.
        items: how many there are; None: the largest number plus one.
        weight: of each judgement; None: 1.
        penalty: precision of the prior: adds ``penalty / 2 · Σ s²``; above 0.
        tolerance: largest gradient at which the search ends, in judgements.

    Raises:
        ConfigError: lengths differ, an item is compared with itself or out of bounds, a share is outside 0 to 1, or a
            weight is negative or not finite.
    """
    first, second, won, weights = _checked(a, b, share, weight, penalty)
    n = items if items is not None else int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    if len(first) and max(int(first.max()), int(second.max())) >= n:
        raise ConfigError(f"pairs: an item has a number beyond the {n} items that there are")
    first, second, won, weights = _joined(first, second, won, weights, n)
    scores, rounds = _newton(first, second, won, weights, n, penalty, tolerance)
    component, unbounded = _components(first, second, won, weights, n)
    count = np.maximum(np.bincount(component, minlength=1), 1)
    scores = scores - (np.bincount(component, scores, minlength=len(count)) / count)[component] if n else scores
    gap = scores[first] - scores[second]
    likelihood = -np.sum(weights * (won * np.logaddexp(0, -gap) + (1 - won) * np.logaddexp(0, gap)))
    compared = (np.bincount(first, weights, n) + np.bincount(second, weights, n)).astype(np.float64)
    errors = _errors(first, second, weights, gap, component, n, penalty)
    return Fit(scores, errors, component, compared, unbounded, rounds, float(likelihood))


def bradley_terry_of(
    a: Sequence[Any], b: Sequence[Any], winner: Sequence[str | float], *, penalty: float = 0.1
) -> tuple[list[Any], Fit]:
    """The items in order of their names, and their scores; ``winner`` is A, B, Tie or the share that ``a`` won.

    Raises:
        ConfigError: as ``bradley_terry``; or a winner is none of these.
    """
    names = sorted(set(a) | set(b))
    place = {name: i for i, name in enumerate(names)}
    share = []
    for row, said in enumerate(winner):
        found = WINNERS.get(said) if isinstance(said, str) else float(said)
        if found is None:
            raise ConfigError(f"pairs: row {row} has a winner that is none of A, B, Tie and no number from 0 to 1")
        share.append(found)
    fit = bradley_terry([place[x] for x in a], [place[x] for x in b], share, items=len(names), penalty=penalty)
    return names, fit


def agreement(scores: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike, share: npt.ArrayLike) -> float:
    """Share of the judgements with a winner whose winner has the higher score, equal scores counting half.

    NaN if there is no such judgement.
    """
    s, won = np.asarray(scores, np.float64), np.asarray(share, np.float64)
    gap = s[np.asarray(a, np.int64)] - s[np.asarray(b, np.int64)]
    decided = won != 0.5
    if not decided.any():
        return float("nan")
    right = np.sign(gap[decided]) * np.sign(won[decided] - 0.5)
    return float(np.mean((right + 1) / 2))


def _checked(
    a: npt.ArrayLike, b: npt.ArrayLike, share: npt.ArrayLike, weight: npt.ArrayLike | None, penalty: float
) -> tuple[Whole, Whole, Doubles, Doubles]:
    first, second = np.asarray(a, np.int64).reshape(-1), np.asarray(b, np.int64).reshape(-1)
    won = np.asarray(share, np.float64).reshape(-1)
    weights = np.ones(len(won)) if weight is None else np.asarray(weight, np.float64).reshape(-1)
    if not len(first) == len(second) == len(won) == len(weights):
        raise ConfigError("pairs: the columns a, b, share and weight have different lengths")
    if not (np.isfinite(penalty) and penalty > 0):
        raise ConfigError("pairs: penalty must be above 0, or an item that never lost has no finite score")
    for what, bad in (
        ("an item below 0", (first < 0) | (second < 0)),
        ("an item compared with itself", first == second),
        ("a share outside 0 to 1", ~((won >= 0) & (won <= 1))),
        ("a weight that is negative or not finite", ~((weights >= 0) & np.isfinite(weights))),
    ):
        if bad.any():
            raise ConfigError(f"pairs: row {int(np.flatnonzero(bad)[0])} has {what}")
    return first, second, won, weights


def _joined(a: Whole, b: Whole, won: Doubles, weight: Doubles, n: int) -> tuple[Whole, Whole, Doubles, Doubles]:
    """One row per pair of items, in order: the result does not depend on how judgements were ordered or turned."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    keys, place = np.unique(low * n + high, return_inverse=True)
    total = np.bincount(place, weight, len(keys)).astype(np.float64)
    wins = np.bincount(place, weight * np.where(a < b, won, 1 - won), len(keys)).astype(np.float64)
    kept = total > 0
    keys, total, wins = keys[kept], total[kept], wins[kept]
    return keys // max(n, 1), keys % max(n, 1), np.clip(wins / total, 0, 1), total


def _newton(
    a: Whole, b: Whole, won: Doubles, weight: Doubles, n: int, penalty: float, tolerance: float
) -> tuple[Doubles, int]:
    """The optimum, and steps taken; steps are halved until the likelihood rises."""
    scores = np.zeros(n)

    def loss(s: Doubles) -> float:
        gap = s[a] - s[b]
        return float(weight @ (np.logaddexp(0, gap) - won * gap) + penalty / 2 * (s @ s))

    now = loss(scores)
    for step in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-(scores[a] - scores[b])))
        pull = weight * (chance - won)
        gradient = np.bincount(a, pull, n) - np.bincount(b, pull, n) + penalty * scores
        if np.abs(gradient).max(initial=0.0) <= tolerance:
            return scores, step
        move = _solved(_curvature(a, b, weight * chance * (1 - chance), n, penalty), gradient, n)
        size, slope = 1.0, float(gradient @ move)
        while (then := loss(scores - size * move)) > now - 1e-4 * size * slope and size > 1e-8:
            size /= 2
        scores, now = scores - size * move, min(then, now)
    return scores, _ROUNDS


def _curvature(a: Whole, b: Whole, bend: Doubles, n: int, penalty: float) -> Any:
    """Second derivatives: the weighted Laplacian of the graph of comparisons, plus the prior."""
    from scipy import sparse

    diagonal = np.bincount(a, bend, n) + np.bincount(b, bend, n) + penalty
    rows, columns = np.concatenate([a, b, np.arange(n)]), np.concatenate([b, a, np.arange(n)])
    return sparse.csr_matrix((np.concatenate([-bend, -bend, diagonal]), (rows, columns)), shape=(n, n))


def _solved(curvature: Any, gradient: Doubles, n: int) -> Doubles:
    if n <= DIRECT:
        return np.asarray(np.linalg.solve(curvature.toarray(), gradient), np.float64)
    from scipy.sparse import diags
    from scipy.sparse.linalg import cg

    scale = diags(1 / np.maximum(curvature.diagonal(), _CURVATURE_FLOOR))
    found, _ = cg(curvature, gradient, rtol=1e-8, maxiter=2000, M=scale)
    return np.asarray(found, np.float64)


def _errors(a: Whole, b: Whole, weight: Doubles, gap: Doubles, component: Whole, n: int, penalty: float) -> Doubles:
    """Standard errors of scores that are centred within components."""
    if n > DIRECT:
        return np.full(n, np.nan)
    chance = 1 / (1 + np.exp(-gap))
    covariance = np.linalg.inv(_curvature(a, b, weight * chance * (1 - chance), n, penalty).toarray()) if n else None
    if covariance is None:
        return np.empty(0)
    variance = covariance.diagonal().copy()
    for c in range(int(component.max()) + 1):
        mine = np.flatnonzero(component == c)
        if len(mine) > 1:  # a lone item keeps its prior's error: nothing is known of it
            part = covariance[np.ix_(mine, mine)]
            variance[mine] += part.mean() - 2 * part.mean(axis=1)
    return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float64)


def _components(a: Whole, b: Whole, won: Doubles, weight: Doubles, n: int) -> tuple[Whole, npt.NDArray[np.bool_]]:
    """Component of each item, and whether it lies outside the reach of likelihood alone (Ford 1957)."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    if n == 0:
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    graph = sparse.csr_matrix((np.ones(len(a)), (a, b)), shape=(n, n))
    _, found = connected_components(graph, directed=False)
    _, first_of, inverse = np.unique(found, return_index=True, return_inverse=True)
    component = np.argsort(np.argsort(first_of))[inverse].astype(np.int64)
    beats = np.concatenate([won > 0, won < 1])
    edges = np.concatenate([a, b])[beats], np.concatenate([b, a])[beats]
    directed = sparse.csr_matrix((np.ones(len(edges[0])), edges), shape=(n, n))
    _, strong = connected_components(directed, directed=True, connection="strong")
    largest = np.zeros(component.max() + 1, np.int64)
    size = np.bincount(strong)
    for c in range(len(largest)):
        members = strong[component == c]
        largest[c] = members[np.argmax(size[members])]
    return component, np.asarray(strong != largest[component], np.bool_)
