"""Taking documents from the top until a budget is spent: exact, in any order of shards, in bounded memory.

Documents are ordered by score descending, then by id ascending. Those are taken whose tokens, summed from the top,
fit the budget; the first that does not fit ends it, and nothing behind it is taken, however short. So what is taken
holds at most the budget, misses it by less than one document, and a smaller budget takes a part of the same.

The order is never written down. A search narrows the place where the budget ends digit by digit (12 bits of score,
then of id, at a time), summing tokens per digit over a scan of all documents; as soon as few enough are left, they are
sorted. What comes out is a cut per group; ``Cut.takes`` then decides every document by itself.

Memory: 64 KB per group and scan, and ``SORTED`` rows of 32 bytes over all groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.select.noise import Floats, Words, id_words

#: documents that are sorted at once, over all groups
SORTED = 1 << 20
_DIGIT = 12
_BINS = 1 << _DIGIT
#: the composite key: 64 bits of score, 64 + 64 bits of id; each word in digits of 12 bits, the last of 4
_SHIFTS = (52, 40, 28, 16, 4, 0)
_LEVELS = len(_SHIFTS)
_TOP = np.uint64(2**63)


@dataclass(frozen=True)
class Rows:
    """A batch of candidates.

    Attributes:
        scores: float64; NaN: never taken, and not counted.
        weights: int64, tokens of each (1 to count documents); not negative.
        high, low: the ids as numbers.
        groups: int64, the group of each, from 0; negative: never taken.
    """

    scores: Floats
    weights: npt.NDArray[np.int64]
    high: Words
    low: Words
    groups: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        scores: Floats,
        weights: npt.NDArray[np.int64],
        ids: pa.Array | pa.ChunkedArray,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Rows:
        """Candidates from columns; without groups all belong to group 0."""
        high, low = id_words(ids)
        return cls(scores, weights, high, low, np.zeros(len(scores), np.int64) if groups is None else groups)


@dataclass(frozen=True)
class Cut:
    """Where a group's budget ends.

    Attributes:
        key, high, low: the first document that is not taken, as numbers that ascend in the order of taking; ``key`` is
            null if all of the group is taken.
        tokens, documents: what is taken.
        available_tokens, available_documents: what there was.
    """

    key: int | None
    high: int
    low: int
    tokens: int
    documents: int
    available_tokens: int
    available_documents: int

    @property
    def score(self) -> float | None:
        """The score of the first document that is not taken; null if all are."""
        return None if self.key is None else float(_scores_of(np.array([self.key], np.uint64))[0])


def order_keys(scores: Floats) -> Words:
    """Numbers that ascend while scores descend; equal scores (−0 and 0 too) have equal numbers. NaN has none of use."""
    bits = (scores + 0.0).view(np.uint64)
    ascending = np.where(bits >> np.uint64(63) == 1, ~bits, bits | _TOP)
    found: Words = ~ascending
    return found


def _scores_of(keys: Words) -> Floats:
    ascending = ~keys
    return np.where(ascending >= _TOP, ascending & ~_TOP, ~ascending).view(np.float64)


def find_cuts(
    scan: Callable[[], Iterable[Rows]],
    n_groups: int,
    budgets: Callable[[npt.NDArray[np.int64]], Sequence[int]],
    *,
    sorted_rows: int = SORTED,
) -> list[Cut]:
    """The cut of each group.

    Args:
        scan: all candidates anew, in any batches and any order; called two to twenty times.
        budgets: tokens that there are per group → tokens to take per group.
        sorted_rows: how many documents may be sorted at once; decides time and memory, never the result.
    """
    search = _Search(n_groups)
    for level in range(3 * _LEVELS):
        histogram = search.histogram(scan(), level)
        if level == 0:
            search.start([int(b) for b in budgets(histogram[1].reshape(n_groups, _BINS).sum(axis=1))], histogram)
        search.narrow(histogram)
        if search.left <= sorted_rows:
            search.finish(scan(), level)
            break
    return search.cuts()


class _Search:
    """One search per group, all advanced by the same scans."""

    def __init__(self, n_groups: int) -> None:
        self.n = n_groups
        self.budget = np.zeros(n_groups, np.int64)
        self.open = np.ones(n_groups, np.bool_)  # the cut is inside this group
        self.prefix = np.zeros((3, n_groups), np.uint64)
        self.mask = np.zeros((3, n_groups), np.uint64)
        self.before = np.zeros((2, n_groups), np.int64)  # documents, tokens that are taken for sure
        self.available = np.zeros((2, n_groups), np.int64)
        self.inside = np.zeros(n_groups, np.int64)
        self.level = 0
        self.last: list[tuple[int, int, int] | None] = [None] * n_groups

    @property
    def left(self) -> int:
        """Documents among which the cuts lie."""
        return int(self.inside[self.open].sum())

    def histogram(self, scan: Iterable[Rows], level: int) -> npt.NDArray[np.int64]:
        """Documents and tokens per group and digit of ``level``, of those that match the prefixes."""
        self.level = level
        word, shift = divmod(level, _LEVELS)
        width = 4 if _SHIFTS[shift] == 0 else _DIGIT
        found = np.zeros((2, self.n * _BINS), np.int64)
        for rows in scan:
            keys, groups, weights = self._matching(rows)
            digit = (keys[word] >> np.uint64(_SHIFTS[shift])) & np.uint64((1 << width) - 1)
            place = groups * _BINS + digit.astype(np.int64)
            np.add.at(found[0], place, 1)
            np.add.at(found[1], place, weights)
        return found

    def start(self, budgets: list[int], histogram: npt.NDArray[np.int64]) -> None:
        """Budgets become known when everything has been counted once."""
        self.available = histogram.reshape(2, self.n, _BINS).sum(axis=2)
        self.budget = np.array(budgets, np.int64)
        self.open = self.available[1] > self.budget

    def narrow(self, histogram: npt.NDArray[np.int64]) -> None:
        """Go on in the digit in which the budget is passed."""
        word, shift = divmod(self.level, _LEVELS)
        table = histogram.reshape(2, self.n, _BINS)
        sums = self.before[1][:, None] + np.cumsum(table[1], axis=1)
        digit = np.argmax(sums > self.budget[:, None], axis=1)
        for g in np.flatnonzero(self.open).tolist():
            d = int(digit[g])
            self.before[:, g] += table[:, g, :d].sum(axis=1)
            self.inside[g] = table[0, g, d]
            self.prefix[word, g] |= np.uint64(d << _SHIFTS[shift])
            width = 4 if _SHIFTS[shift] == 0 else _DIGIT
            self.mask[word, g] |= np.uint64(((1 << width) - 1) << _SHIFTS[shift])

    def finish(self, scan: Iterable[Rows], level: int) -> None:
        """Sort what is left of each group, and find the first document that does not fit."""
        parts = [self._matching(rows) for rows in scan] if self.open.any() else []
        if not parts:
            return
        keys = [np.concatenate([p[0][k] for p in parts]) for k in range(3)]
        groups = np.concatenate([p[1] for p in parts])
        weights = np.concatenate([p[2] for p in parts])
        order = np.lexsort((keys[2], keys[1], keys[0], groups))
        edges = np.searchsorted(groups[order], np.arange(self.n + 1))
        for g in np.flatnonzero(self.open).tolist():
            rows = order[edges[g] : edges[g + 1]]
            sums = self.before[1, g] + np.cumsum(weights[rows])
            first = int(np.argmax(sums > self.budget[g]))
            taken = rows[:first]
            self.before[:, g] += (first, int(weights[taken].sum()))
            self.last[g] = (int(keys[0][rows[first]]), int(keys[1][rows[first]]), int(keys[2][rows[first]]))

    def cuts(self) -> list[Cut]:
        out = []
        for g in range(self.n):
            documents, tokens = (int(x) for x in self.available[:, g])
            if not self.open[g]:
                out.append(Cut(None, 0, 0, tokens, documents, tokens, documents))
                continue
            end = self.last[g] or tuple(int(x) for x in self.prefix[:, g])
            took = (int(self.before[1, g]), int(self.before[0, g]))
            out.append(Cut(end[0], end[1], end[2], *took, tokens, documents))
        return out

    def _matching(self, rows: Rows) -> tuple[list[Words], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        mask = (rows.groups >= 0) & ~np.isnan(rows.scores)
        groups = np.where(mask, rows.groups, 0)
        keys = [order_keys(rows.scores), rows.high, rows.low]
        mask &= self.open[groups]
        for key, prefix, seen in zip(keys, self.prefix, self.mask, strict=True):
            mask &= (key & seen[groups]) == prefix[groups]
        return [k[mask] for k in keys], groups[mask], rows.weights[mask]


def taken(rows: Rows, cuts: Sequence[Cut]) -> npt.NDArray[np.bool_]:
    """Which of the rows stand before the cut of their group."""
    found = (rows.groups >= 0) & ~np.isnan(rows.scores)
    ends = [(c.key, c.high, c.low) if c.key is not None else None for c in cuts]
    return found & before(ends, np.where(found, rows.groups, 0), order_keys(rows.scores), rows.high, rows.low)


def before(
    ends: Sequence[tuple[int, int, int] | None], groups: npt.NDArray[np.int64], keys: Words, high: Words, low: Words
) -> npt.NDArray[np.bool_]:
    """Which rows stand before the end of their group, in the order of (key, high, low); all where there is no end."""
    open_ = np.array([e is None for e in ends], np.bool_)
    end = np.array([e if e is not None else (0, 0, 0) for e in ends], np.uint64).reshape(-1, 3)[groups]
    tie = (high < end[:, 1]) | ((high == end[:, 1]) & (low < end[:, 2]))
    found: npt.NDArray[np.bool_] = open_[groups] | (keys < end[:, 0]) | ((keys == end[:, 0]) & tie)
    return found


def top_k(
    scores: Floats,
    weights: npt.NDArray[np.int64],
    ids: pa.Array,
    budget: int,
) -> npt.NDArray[np.bool_]:
    """Which documents of one table are taken from the top for ``budget``; the same as over any split of it."""
    rows = Rows.of(scores, weights, ids)
    return taken(rows, find_cuts(lambda: [rows], 1, lambda _: [budget]))


def share_budget(
    available: Mapping[str, int], total: int, how: str, shares: Mapping[str, float] | None = None
) -> dict[str, int]:
    """Tokens to take per domain; whole numbers that sum to ``total``, or to all there is.

    Args:
        available: tokens that there are.
        how: ``proportional``: by what there is; ``equal``: the same for each, and what a small domain lacks goes to
            the others in equal parts; ``given``: by ``shares``, and what a domain lacks goes to the others by their
            shares. No domain is given more than it has.
        shares: for ``given``: weights, not negative; a domain that is not named gets nothing.
    """
    names = sorted(available)
    if how == "proportional":
        weight = {n: float(available[n]) for n in names}
    elif how == "equal":
        weight = dict.fromkeys(names, 1.0)
    elif how == "given":
        weight = {n: float((shares or {}).get(n, 0.0)) for n in names}
        if any(w < 0 or not np.isfinite(w) for w in weight.values()):
            raise ValueError("shares must be finite and not negative")
    else:
        raise ValueError(f"budgets are proportional, equal or given, not {how!r}")
    return _fill(names, {n: int(available[n]) for n in names}, weight, int(total))


def _fill(names: list[str], available: dict[str, int], weight: dict[str, float], total: int) -> dict[str, int]:
    """Water rises in proportion to the weights until each vessel is full or the water is gone."""
    out = dict.fromkeys(names, 0)
    left = max(0, total)
    live = [n for n in names if weight[n] > 0 and available[n] > 0]
    while live and left > 0:
        whole = sum(weight[n] for n in live)
        full = [n for n in live if available[n] <= left * (weight[n] / whole)]
        if not full:
            for name, part in zip(live, _round([left * (weight[n] / whole) for n in live], left), strict=True):
                out[name] = min(part, available[name])
            break
        for name in full:
            out[name] = available[name]
            left -= available[name]
        live = [n for n in live if n not in full]
    return out


def _round(parts: list[float], total: int) -> list[int]:
    """Whole numbers that sum to ``total``: rounded down, the largest remainders up, ties by place."""
    floor = [int(p) for p in parts]
    order = sorted(range(len(parts)), key=lambda i: (floor[i] - parts[i], i))
    for i in order[: max(0, total - sum(floor))]:
        floor[i] += 1
    return floor
