"""Rules over the columns of a batch: who fails, for which reason first, at which value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.stages.rules.presets import Rule

Floats = npt.NDArray[np.float64]


class Verdict(NamedTuple):
    """Per document: index of the first rule that fails (-1: none), the value and the bound compared (NaN: none)."""

    first: npt.NDArray[np.int64]
    value: Floats
    bound: Floats


def values_of(column: pa.Array) -> Floats:
    """A label column as floats: flags as 0 and 1, null as NaN."""
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.uint8())
    found: Floats = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return found


def evaluate(rules: Sequence[Rule], column: Callable[[str], pa.Array], n: int, groups: Groups | None = None) -> Verdict:
    """The verdict of ``rules``, in their order, on ``n`` documents.

    Args:
        column: gives a column of the batch by its name.
        groups: other bounds for some of the documents; None if all have the same.
    """
    verdict = Verdict(np.full(n, -1, np.int64), np.full(n, np.nan), np.full(n, np.nan))
    for k, rule in enumerate(rules):
        value = values_of(column(rule.column))
        for bound, below in ((rule.low, True), (rule.high, False)):
            limit = np.full(n, np.nan if bound is None else bound, np.float64)
            if groups is not None:
                groups.apply(rule, below, limit)
            fails = value < limit if below else value > limit  # NaN on either side never fails
            if rule.spare_zero:
                fails &= value != 0
            new = fails & (verdict.first < 0)
            verdict.first[new] = k
            verdict.value[new] = value[new]
            verdict.bound[new] = limit[new]
    return verdict


class Groups(NamedTuple):
    """Documents that have bounds of their own.

    Attributes:
        member: per document, which row of ``bounds`` holds for it; -1 for the rules' own.
        bounds: bound name → value (None: off), per group.
    """

    member: npt.NDArray[np.int64]
    bounds: Sequence[Mapping[str, float | None]]

    def apply(self, rule: Rule, below: bool, limit: Floats) -> None:
        """Writes the groups' bounds for ``rule`` over ``limit``, on the side that the rule has."""
        if (rule.low is None) is below:
            return
        for k, bounds in enumerate(self.bounds):
            if rule.name in bounds:
                value = bounds[rule.name]
                limit[self.member == k] = np.nan if value is None else value
