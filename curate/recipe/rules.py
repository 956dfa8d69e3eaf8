"""Weights by a rule, without training runs: natural, stratified, temperature, UniMax, all with epoch caps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError

Floats = npt.NDArray[np.float64]

RULES = ("natural", "stratified", "temperature", "unimax")


@dataclass(frozen=True)
class Allocation:
    """Tokens per group that a rule asks for, within the caps.

    Attributes:
        tokens: per group, sums to the budget.
        capped: groups that the epoch cap holds back.
    """

    tokens: Floats
    capped: npt.NDArray[np.bool_]

    @property
    def weights(self) -> Floats:
        """Shares, summing to 1."""
        shares: Floats = self.tokens / self.tokens.sum()
        return shares


def allocate(rule: str, available: Floats, budget: float, *, max_epochs: float, temperature: float = 1.0) -> Allocation:
    """Divide ``budget`` tokens over groups.

    Args:
        rule: natural (by size), stratified (the same for each), temperature (by size^(1/temperature), Conneau and
            Lample 2019), unimax (as even as the caps allow, Chung et al. 2023; equals stratified with its excess
            spread evenly).
        available: unique tokens per group; a group without tokens gets none.
        max_epochs: no group gives more than ``max_epochs × available``; what it cannot give goes to the others in
            proportion to what the rule wants for them.

    Raises:
        ConfigError: the budget is larger than all groups can give; names the shortfall in tokens.
    """
    if rule not in RULES:
        raise ConfigError(f"recipe.rule: no rule {rule!r}; there are {', '.join(RULES)}")
    caps = available * max_epochs
    if budget > caps.sum() * (1 + 1e-9):
        raise ConfigError(
            f"recipe.budget_tokens: {budget:,.0f} tokens are asked for; {available.sum():,.0f} tokens × "
            f"{max_epochs:g} epochs give {caps.sum():,.0f}, {budget - caps.sum():,.0f} too few. "
            "Lower budget_tokens or raise max_epochs."
        )
    return _fill(_wanted(rule, available, temperature), caps, budget)


def _wanted(rule: str, available: Floats, temperature: float) -> Floats:
    """Relative sizes before caps."""
    some = available > 0
    if rule == "natural":
        return available.astype(np.float64)
    if rule == "temperature":
        return np.where(some, np.power(np.maximum(available, 1.0), 1.0 / temperature), 0.0)
    return some.astype(np.float64)


def _fill(wanted: Floats, caps: Floats, budget: float) -> Allocation:
    """Water-filling: proportional to ``wanted``; groups over their cap are held there and the rest is divided anew."""
    tokens = np.zeros_like(caps)
    held = np.zeros(len(caps), np.bool_)
    while True:
        open_ = ~held & (wanted > 0)
        left = budget - tokens[held].sum()
        if not open_.any() or left <= 0:
            break
        share = np.where(open_, wanted, 0.0)
        tokens[open_] = (left * share / share.sum())[open_]
        over = open_ & (tokens > caps)
        if not over.any():
            break
        tokens[over] = caps[over]
        held |= over
    return Allocation(tokens, held)
