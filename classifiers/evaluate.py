"""Holds a rater's labels against gold: how far they agree, where, and how much of it length alone explains.

Numbers are compared by Spearman and Pearson; at a cut (or where gold is 0/1) by AUC, precision and recall; where gold
has few levels also by macro-F1 and confusion of the rounded score; names by accuracy, macro-F1, kappa and confusion;
probabilities by calibration. Beside them stand the same figures of log length alone and, where a second rating is
given, of that rating: the ceiling. Whatever is not defined (constant sides, empty groups) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers import evaluate_metrics as m
from curate.errors import ConfigError

__all__ = ["Comparison", "compare", "table_of"]

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

#: gold with at most so many values has levels that can be confused
LEVELS = 12
#: groups that are shown, the largest first; the rest is counted as other
GROUPS = 40
#: fewer rows than this say nothing of a group
SMALL = 5


@dataclass(frozen=True)
class Comparison:
    """What is compared, row by row; None or NaN where it is missing.

    Attributes:
        gold: numbers, or names.
        score: the rater's numbers, or names where gold has names.
        lengths: of the texts, in any unit; for what length alone explains and for length bands.
        second: a second rating of the same rows: the ceiling.
        probability: how sure the rater was of its name; or of 1, where gold is 0/1 and the score is none.
        cut: score from which on the rater calls a row good; None: the half of its range where gold is 0/1, else none.
        gold_cut: gold from which on a row is good; None: as ``cut``; 0.5 where gold is 0/1.
        groups: name of a split → value per row, e.g. language, domain.
    """

    gold: Any
    score: Any
    lengths: Any = None
    second: Any = None
    probability: Any = None
    cut: float | None = None
    gold_cut: float | None = None
    groups: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def compare(given: Comparison, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """All figures, as plain JSON values; ``resamples`` 0 leaves the intervals out."""
    named = _named(given.gold)
    if named != _named(given.score):
        raise ConfigError("evaluate: one side holds names and the other numbers; compare like with like")
    sizes = {"gold": len(given.gold), "score": len(given.score)}
    for name in ("lengths", "second", "probability"):
        if getattr(given, name) is not None:
            sizes[name] = len(getattr(given, name))
    sizes |= {name: len(values) for name, values in given.groups.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(f"evaluate: columns have different lengths: {sizes}")
    rows = np.flatnonzero(_there(given.gold, named) & _there(given.score, named))
    found: dict[str, Any] = {"kind": "names" if named else "numbers", "rows": len(rows),
                             "left_out": len(given.gold) - len(rows)}  # fmt: skip
    figures = _Names(given) if named else _Numbers(given, rows)
    found |= figures.on(rows)
    if resamples:
        found["intervals"] = {
            name: m.interval(_drawn(figures, rows, name), len(rows), resamples, seed) for name in figures.quick(rows)
        }
    found["by"] = {name: _by(figures, rows, list(values)) for name, values in _splits(given, rows).items()}
    return found


def _drawn(figures: _Names | _Numbers, rows: Rows, name: str) -> Callable[[Rows], float | None]:
    """One cheap figure as a function of what was drawn."""
    return lambda draw: figures.quick(rows[draw])[name]


class _Names:
    def __init__(self, given: Comparison) -> None:
        self.gold = np.array([None if v is None else str(v) for v in given.gold], object)
        self.said = np.array([None if v is None else str(v) for v in given.score], object)
        self.second = given.second
        self.probability = None if given.probability is None else np.asarray(given.probability, np.float64)

    def quick(self, rows: Rows) -> dict[str, float | None]:
        """What is cheap enough to be drawn again and shown per group."""
        gold, said = self.gold[rows].tolist(), self.said[rows].tolist()
        table = m.confusion(said, gold, sorted({*gold, *said}))
        return {"accuracy": float(table.trace() / table.sum()) if len(rows) else None, "macro_f1": m.macro_f1(table)}

    def on(self, rows: Rows) -> dict[str, Any]:
        gold, said = self.gold[rows].tolist(), self.said[rows].tolist()
        names = sorted({*gold, *said})
        table = m.confusion(said, gold, names)
        found: dict[str, Any] = {**self.quick(rows), "kappa": m.kappa(table), "names": names,
                                 "confusion": table.tolist()}  # fmt: skip
        found["majority"] = max((gold.count(n) for n in names), default=0) / len(rows) if len(rows) else None
        found["per_name"] = {
            name: m.two_classes(np.array([s == name for s in said]), np.array([g == name for g in gold]))
            for name in names
        }
        if self.probability is not None:
            p = self.probability[rows]
            some = np.isfinite(p)
            hit = np.array([s == g for s, g in zip(said, gold, strict=True)], np.float64)
            found["ece"], found["reliability"] = m.calibration(p[some], hit[some])
        if self.second is not None:
            other = [None if v is None else str(v) for v in self.second]
            both = [(g, other[r]) for g, r in zip(gold, rows.tolist(), strict=True) if other[r] is not None]
            share = float(np.mean([g == o for g, o in both])) if both else None
            found["ceiling"] = {"rows": len(both), "accuracy": share}
        return found


class _Numbers:
    def __init__(self, given: Comparison, rows: Rows) -> None:
        self.gold, self.score = _numbers(given.gold), _numbers(given.score)
        self.lengths = None if given.lengths is None else np.log1p(np.maximum(_numbers(given.lengths), 0))
        self.second = None if given.second is None else _numbers(given.second)
        values = np.unique(self.gold[rows])
        self.levels = values if 2 <= len(values) <= LEVELS else None
        binary = len(values) > 0 and set(values.tolist()) <= {0.0, 1.0}
        inside = len(rows) > 0 and bool(((self.score[rows] >= 0) & (self.score[rows] <= 1)).all())
        cut = given.cut if given.cut is not None else 0.5 if binary and inside else None
        self.cut = cut
        self.gold_cut = given.gold_cut if given.gold_cut is not None else 0.5 if binary else given.cut
        self.probability: Doubles | None = None
        if given.probability is not None:
            self.probability = _numbers(given.probability)
        elif binary and inside:
            self.probability = self.score

    def quick(self, rows: Rows) -> dict[str, float | None]:
        gold, score = self.gold[rows], self.score[rows]
        found = {"spearman": m.spearman(score, gold), "pearson": m.pearson(score, gold)}
        if self.gold_cut is not None:
            found["auc"] = m.auc(score, gold >= self.gold_cut)
        return found

    def _against(self, values: Doubles, rows: Rows) -> dict[str, float | None]:
        """The same figures of something else than the score, on the rows that have it."""
        some = rows[np.isfinite(values[rows])]
        found = {"spearman": m.spearman(values[some], self.gold[some]),
                 "pearson": m.pearson(values[some], self.gold[some])}  # fmt: skip
        if self.gold_cut is not None:
            found["auc"] = m.auc(values[some], self.gold[some] >= self.gold_cut)
        return found

    def on(self, rows: Rows) -> dict[str, Any]:
        gold, score = self.gold[rows], self.score[rows]
        found: dict[str, Any] = dict(self.quick(rows))
        found["constant"] = bool(len(rows) > 0 and (np.ptp(gold) == 0 or np.ptp(score) == 0))
        if len(rows):
            found["mean_error"] = float(np.mean(score - gold))
            found["root_mean_square_error"] = float(np.sqrt(np.mean((score - gold) ** 2)))
        if self.gold_cut is not None:
            good = gold >= self.gold_cut
            found |= {"gold_cut": self.gold_cut, "share_good": float(good.mean()) if len(rows) else None}
            if self.cut is not None:
                found |= {"cut": self.cut, "share_kept": float((score >= self.cut).mean()) if len(rows) else None}
                found["at_cut"] = m.two_classes(score >= self.cut, good)
        if self.levels is not None and len(rows):
            near = self.levels[np.abs(score[:, None] - self.levels[None, :]).argmin(axis=1)]
            names = [f"{v:g}" for v in self.levels]
            table = m.confusion([f"{v:g}" for v in near], [f"{v:g}" for v in gold], names)
            found |= {"macro_f1": m.macro_f1(table), "names": names, "confusion": table.tolist()}
        if self.probability is not None and self.gold_cut is not None:
            p = self.probability[rows]
            some = np.isfinite(p) & (p >= 0) & (p <= 1)
            found["ece"], found["reliability"] = m.calibration(p[some], (gold >= self.gold_cut)[some])
        if self.lengths is not None:
            found["log_length"] = self._against(self.lengths, rows)
            found["score_log_length"] = m.spearman(score, self.lengths[rows])
        if self.second is not None:
            twice = rows[np.isfinite(self.second[rows])]
            found["ceiling"] = {"rows": len(twice), **self._against(self.second, rows),
                                "score_on_these": m.spearman(self.score[twice], self.gold[twice])}  # fmt: skip
        return found


def _splits(given: Comparison, rows: Rows) -> dict[str, Sequence[Any]]:
    """The given groups, and thirds of length."""
    found = dict(given.groups)
    if given.lengths is not None and len(rows):
        lengths = _numbers(given.lengths)
        edges = np.quantile(lengths[rows][np.isfinite(lengths[rows])], [1 / 3, 2 / 3])
        band = np.searchsorted(edges, lengths)
        names = [f"up to {edges[0]:g}", f"up to {edges[1]:g}", "longer"]
        found["length"] = [names[int(b)] if np.isfinite(n) else None for b, n in zip(band, lengths, strict=True)]
    return found


def _by(figures: _Names | _Numbers, rows: Rows, values: list[Any]) -> list[dict[str, Any]]:
    """Figures per group, the largest first; groups of fewer than ``SMALL`` rows have counts only."""
    members: dict[str, list[int]] = {}
    for row in rows.tolist():
        members.setdefault("(none)" if values[row] is None else str(values[row]), []).append(row)
    ordered = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    found = []
    for name, mine in ordered[:GROUPS]:
        known = figures.quick(np.array(mine)) if len(mine) >= SMALL else {}
        found.append({"group": name, "rows": len(mine), **known})
    rest = sum(len(mine) for _, mine in ordered[GROUPS:])
    return [*found, {"group": "(other groups)", "rows": rest}] if rest else found


def _named(values: Any) -> bool:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return False
    return any(isinstance(v, str) for v in values)


def _there(values: Any, named: bool) -> npt.NDArray[np.bool_]:
    if named:
        return np.array([v is not None for v in values], np.bool_)
    return np.isfinite(_numbers(values))


def _numbers(values: Any) -> Doubles:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64)
    return np.array([np.nan if v is None else float(v) for v in values], np.float64)


def table_of(figures: Mapping[str, Any]) -> str:
    """The figures as lines for people."""
    lines = []
    intervals = figures.get("intervals", {})
    for name, value in figures.items():
        if isinstance(value, bool) or value is None or isinstance(value, str | int | float):
            between = intervals.get(name)
            span = f"   95 %: {_short(between[0])} to {_short(between[1])}" if between else ""
            lines.append(f"{name.replace('_', ' '):<24} {_short(value)}{span}")
        elif name in ("log_length", "ceiling", "at_cut"):
            lines.append(f"{name.replace('_', ' '):<24} " + ", ".join(f"{k} {_short(v)}" for k, v in value.items()))
    for split, groups in figures.get("by", {}).items():
        lines += ["", f"by {split}"]
        for row in groups:
            rest = ", ".join(f"{k} {_short(v)}" for k, v in row.items() if k not in ("group", "rows"))
            lines.append(f"  {row['group'][:28]:<28} {row['rows']:>7}  {rest}")
    if figures.get("reliability"):
        lines += ["", "reliability: probability, rows, mean, share that happened"]
        lines += [f"  {b['from']:.1f} to {b['to']:.1f} {b['rows']:>7}  {b['mean']:.3f}  {b['share']:.3f}"
                  for b in figures["reliability"]]  # fmt: skip
    if figures.get("confusion") and len(figures["names"]) <= LEVELS:
        width = max(6, *(len(n) for n in figures["names"])) + 1
        lines += [
            "",
            "confusion: rows gold, columns said",
            " " * width + "".join(f"{n:>{width}}" for n in figures["names"]),
        ]
        lines += [f"{n:>{width}}" + "".join(f"{c:>{width}}" for c in row)
                  for n, row in zip(figures["names"], figures["confusion"], strict=True)]  # fmt: skip
    return "\n".join(lines)


def _short(value: Any) -> str:
    if value is None:
        return "not defined"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
