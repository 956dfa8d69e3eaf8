"""From ratings to labels: annotators and repeats joined, and how far they agree.

Scores and choices are joined by majority or by Dawid-Skene (``classifiers.agreement``); beside the winner stand the
mean of all scores and the share of the winner. Pairs give one probability per pair and criterion: the mean over both
orders, each of which needs an answer to more than half of its questions, as QuRating does (arXiv 2402.09739).
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.agreement import (
    Joined,
    cohen_kappa,
    dawid_skene,
    exact_share,
    krippendorff_alpha,
    majority,
    within_share,
)
from classifiers.annotate import Annotation, Told
from classifiers.generative.rubric import Choice, Criterion
from curate.errors import ConfigError

__all__ = ["joined_table", "report_of", "soft_pair"]


def joined_table(annotation: Annotation, ratings: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """One row per document (or pair and criterion) with the joined labels, and what is known of the annotators."""
    if annotation.rubric.kind == "pairs":
        return _joined_pairs(annotation, ratings)
    ids = list(annotation.texts)
    place = {name: i for i, name in enumerate(ids)}
    columns: dict[str, pa.Array] = {"id": pa.array(ids, pa.string())}
    reliability: dict[str, Any] = {}
    for part in annotation.rubric.parts:
        votes = _Votes.of(annotation, ratings, part, place)
        found = votes.joined(annotation.config.join, len(ids))
        reliability[part.name] = votes.told(found)
        index = pa.array(found.winner, pa.int32(), mask=found.winner < 0)
        if isinstance(part, Criterion):
            columns[part.name] = pa.array(
                [v + part.range[0] if v is not None else None for v in index.to_pylist()], pa.int32()
            )
            columns[f"{part.name}_mean"] = votes.mean(len(ids), part)
        else:
            columns[part.name] = pa.array([o.name for o in part.options], pa.string()).take(index)
        best = np.nan_to_num(found.share, nan=-1.0).max(1, initial=-1.0)
        columns[f"{part.name}_share"] = pa.array(best, pa.float32(), mask=best < 0)
    voted = np.bincount([place[i] for i in _ok(ratings)["id"].to_pylist()], minlength=len(ids))
    columns["votes"] = pa.array(voted, pa.int32())
    return pa.table(columns), reliability


class _Votes:
    """Votes on one criterion or choice, as arrays."""

    def __init__(self, part: Criterion | Choice, names: list[str], rows: list[tuple[int, int, int, int]]) -> None:
        self.part = part
        self.names = names
        table = np.array(rows, np.int64).reshape(-1, 4)
        self.item, self.annotator, self.repeat, self.vote = table.T
        self.classes = part.range[1] - part.range[0] + 1 if isinstance(part, Criterion) else len(part.options)

    @classmethod
    def of(cls, annotation: Annotation, ratings: pa.Table, part: Criterion | Choice, place: dict[str, int]) -> _Votes:
        names = [a.name for a in annotation.config.annotators]
        who = {name: i for i, name in enumerate(names)}
        if isinstance(part, Criterion):
            code: dict[Any, int] = {v: v - part.range[0] for v in range(part.range[0], part.range[1] + 1)}
        else:
            code = {o.name: i for i, o in enumerate(part.options)}
        rows = [
            (place[r["id"]], who[r["annotator"]], r["repeat"], code[r[part.name]])
            for r in _ok(ratings).select(["id", "annotator", "repeat", part.name]).to_pylist()
        ]
        return cls(part, names, rows)

    def joined(self, join: str, items: int) -> Joined:
        how = dawid_skene if join == "dawid_skene" else majority
        return how(self.item, self.annotator, self.vote, items, self.classes)

    def mean(self, items: int, part: Criterion) -> pa.Array:
        """Mean score over all votes; null without votes."""
        count = np.bincount(self.item, minlength=items)
        total = np.bincount(self.item, self.vote.astype(float) + part.range[0], minlength=items)
        with np.errstate(invalid="ignore", divide="ignore"):
            return pa.array(total / count, pa.float32(), mask=count == 0)

    def told(self, found: Joined) -> dict[str, Any]:
        """Reliabilities, confusion matrices and agreements, for the report."""
        graded = isinstance(self.part, Criterion)
        return {
            "reliability": {n: _plain(v) for n, v in zip(self.names, found.reliability, strict=False)},
            "confusion": {n: np.round(m, 4).tolist() for n, m in zip(self.names, found.confusion, strict=False)},
            "alpha": _plain(krippendorff_alpha(self.item, self.vote, "interval" if graded else "nominal")),
            "between_repeats": {
                name: self._agreement(self._pairs_within(i), graded) for i, name in enumerate(self.names)
            },
            "between_annotators": {
                f"{self.names[i]} | {self.names[j]}": self._agreement(self._pairs_between(i, j), graded)
                for i, j in combinations(range(len(self.names)), 2)
            },
        }

    def _by_repeat(self, annotator: int) -> dict[int, dict[int, int]]:
        found: dict[int, dict[int, int]] = defaultdict(dict)
        for item, repeat, vote in zip(
            *(x[self.annotator == annotator] for x in (self.item, self.repeat, self.vote)), strict=True
        ):
            found[int(repeat)][int(item)] = int(vote)
        return found

    def _pairs_within(self, annotator: int) -> tuple[list[int], list[int]]:
        """Votes of every two repeats on the same items."""
        by = self._by_repeat(annotator)
        return _matched([(by[r], by[s]) for r, s in combinations(sorted(by), 2)])

    def _pairs_between(self, one: int, two: int) -> tuple[list[int], list[int]]:
        """Votes of two annotators on the same items, repeat by repeat."""
        a, b = self._by_repeat(one), self._by_repeat(two)
        return _matched([(a[r], b[r]) for r in sorted(a.keys() & b.keys())])

    def _agreement(self, pairs: tuple[list[int], list[int]], graded: bool) -> dict[str, Any] | None:
        a, b = pairs
        if not a:
            return None
        told = {"pairs": len(a), "same": _plain(exact_share(a, b)), "kappa": _plain(cohen_kappa(a, b, self.classes))}
        if graded:
            told["within_one"] = _plain(within_share(a, b))
            told["kappa_quadratic"] = _plain(cohen_kappa(a, b, self.classes, "quadratic"))
        return told


def _matched(pairs: list[tuple[dict[int, int], dict[int, int]]]) -> tuple[list[int], list[int]]:
    a: list[int] = []
    b: list[int] = []
    for one, two in pairs:
        for item in sorted(one.keys() & two.keys()):
            a.append(one[item])
            b.append(two[item])
    return a, b


def soft_pair(listed: list[float | None], swapped: list[float | None]) -> float | None:
    """Probability that the other text has more, from the answers in both orders (null: no answer).

    A direction of which no more than half the answers can be read says nothing, and then the pair does not either.
    """
    means = []
    for direction in (listed, swapped):
        read = [p for p in direction if p is not None]
        if 2 * len(read) <= len(direction):
            return None
        means.append(sum(read) / len(read))
    return sum(means) / len(means)


def _joined_pairs(annotation: Annotation, ratings: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    votes: dict[tuple[str, str, str], dict[str, tuple[list[Any], list[Any]]]] = defaultdict(dict)
    for r in ratings.to_pylist():
        by = votes[r["criterion"], r["id"], r["other"]].setdefault(r["annotator"], ([], []))
        by[r["swapped"]].append(r["p_other"])
    keys = sorted(votes)
    names = [a.name for a in annotation.config.annotators]
    soft = {key: {a: soft_pair(*by) for a, by in votes[key].items()} for key in keys}
    told: dict[str, Any] = {}
    joined: dict[tuple[str, str, str], float | None] = {}
    for criterion in (c.name for c in annotation.rubric.criteria):
        mine = [k for k in keys if k[0] == criterion]
        item, who, vote = _hard(mine, soft, names)
        found = (dawid_skene if annotation.config.join == "dawid_skene" else majority)(item, who, vote, len(mine), 2)
        for i, key in enumerate(mine):
            given = [p for p in soft[key].values() if p is not None]
            mean = sum(given) / len(given) if given else None
            learned = annotation.config.join == "dawid_skene" and given
            joined[key] = float(found.share[i, 1]) if learned and not math.isnan(found.share[i, 1]) else mean
        told[criterion] = {
            "reliability": {n: _plain(v) for n, v in zip(names, found.reliability, strict=False)},
            "alpha": _plain(krippendorff_alpha(item, vote)),
            "first_chosen": {n: _first_chosen(ratings, criterion, n) for n in names},
        }
    rows = [
        {
            "id": one, "other": other, "criterion": criterion, "p_other": joined[criterion, one, other],
            "votes": sum(p is not None for p in soft[criterion, one, other].values()),
        }
        for criterion, one, other in keys
    ]  # fmt: skip
    schema = pa.schema(
        [
            pa.field("id", pa.string()), pa.field("other", pa.string()), pa.field("criterion", pa.string()),
            pa.field("p_other", pa.float64()), pa.field("votes", pa.int32()),
        ]
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema), told


def _hard(keys: list[Any], soft: dict[Any, dict[str, float | None]], names: list[str]) -> tuple[list[int], ...]:
    """Which of both has more, by annotator; no vote where the two orders outweigh each other."""
    item, who, vote = [], [], []
    for i, key in enumerate(keys):
        for name, p in soft[key].items():
            if p is not None and p != 0.5:
                item.append(i)
                who.append(names.index(name))
                vote.append(int(p > 0.5))
    return item, who, vote


def _first_chosen(ratings: pa.Table, criterion: str, annotator: str) -> float | None:
    """Mean probability of the text that stands first; 0.5 is no bias by place."""
    shares = [
        r["p_other"] if r["swapped"] else 1.0 - r["p_other"]
        for r in _ok(ratings).to_pylist()
        if r["criterion"] == criterion and r["annotator"] == annotator
    ]
    return round(sum(shares) / len(shares), 4) if shares else None


def report_of(annotation: Annotation, told: dict[str, Told], known: dict[str, Any]) -> dict[str, Any]:
    """What was asked, what it cost, and how far the annotators agree; JSON-able."""
    price = {a.name: a.price for a in annotation.config.annotators}
    return {
        "rubric": annotation.rubric.name,
        "revision": annotation.rubric.revision,
        "documents": len(annotation.texts),
        "pairs": len(annotation.pairs),
        "repeats": annotation.config.repeats,
        "join": annotation.config.join,
        "annotators": {
            name: {
                "questions": len(t.rows), "replayed": t.replayed, "statuses": dict(sorted(t.statuses.items())),
                "prompt_tokens": t.used.prompt_tokens, "completion_tokens": t.used.completion_tokens,
                "wasted_tokens": t.wasted.tokens, "cost": round(price[name].of(t.used + t.wasted), 6),
            }
            for name, t in told.items()
        },
        "criteria": known,
    }  # fmt: skip


def _ok(ratings: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    if "status" not in ratings.column_names:
        raise ConfigError("these ratings have no column `status`")
    return ratings.filter(pc.equal(ratings.column("status"), "ok"))


def _plain(value: float) -> float | None:
    """Four decimals, null for what is not defined."""
    return None if math.isnan(value) else round(float(value), 4)
