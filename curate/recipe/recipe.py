"""The recipe: weights, tokens and epochs per group, with the reasons; written as YAML and read back whole."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from curate.errors import ConfigError
from curate.recipe.groups import GroupTable
from curate.recipe.realise import Realised, realise, shuffle_keys
from curate.recipe.rules import RULES, allocate

EMPTY = "The corpus is empty: there is nothing to weigh. What was dropped, and why, is in dropped/ and in the report."
NO_RUNS = "No training runs were used: the weights follow from a rule and the sizes of the groups alone."


@dataclass(frozen=True)
class GroupShare:
    """One group of a recipe.

    Attributes:
        weight: share of the mixture's tokens, as written; weights sum to 1.
        tokens: tokens that the mixture holds, in whole documents.
        target_tokens: what the rule asked for before rounding to whole documents.
        available_tokens, documents: what the corpus holds.
        epochs: tokens ÷ available_tokens.
        capped: the epoch cap holds this group back.
    """

    group: str
    weight: float
    tokens: int
    target_tokens: int
    available_tokens: int
    documents: int
    epochs: float
    capped: bool


@dataclass(frozen=True)
class Recipe:
    """A mixture that can be carried out.

    Attributes:
        columns: label columns that make a group.
        evidence: what the weights rest on.
        alternatives: rule → group → weight, so that the choice can be compared.
        group_table: digest of the group table it was made from.
    """

    name: str
    rule: str
    evidence: str
    columns: tuple[str, ...]
    token_source: str
    budget_tokens: int
    tokens: int
    max_epochs: float
    temperature: float
    seed: int
    group_table: str
    groups: tuple[GroupShare, ...]
    alternatives: dict[str, dict[str, float]]

    def to_yaml(self) -> str:
        """The recipe as YAML 1.2."""
        yaml, out = YAML(typ="safe", pure=True), io.StringIO()
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.width = 120
        plain = {"schema": 1, **asdict(self), "columns": list(self.columns)}
        plain["groups"] = [asdict(g) for g in self.groups]
        yaml.dump(plain, out)
        return out.getvalue()

    @staticmethod
    def from_yaml(text: str) -> Recipe:
        """The inverse of ``to_yaml``; ConfigError if the weights do not sum to 1."""
        raw: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
        raw.pop("schema", None)
        raw["columns"] = tuple(raw["columns"])
        raw["groups"] = tuple(GroupShare(**g) for g in raw["groups"])
        recipe = Recipe(**raw)
        total = sum(g.weight for g in recipe.groups)
        if recipe.groups and abs(total - 1.0) > 1e-6:
            raise ConfigError(f"recipe {recipe.name}: weights sum to {total}, not to 1")
        return recipe


@dataclass(frozen=True)
class Documents:
    """The documents of one group, sorted by id: what the recipe needs to know of them.

    Attributes:
        tokens: of one copy.
        repeats: how often each stands in the group; None: once.
    """

    ids: list[str]
    tokens: np.ndarray[Any, np.dtype[np.int64]]
    repeats: np.ndarray[Any, np.dtype[np.int64]] | None = None

    def drawn(self, seed: int, wanted: float) -> Realised:
        """Copies of each document that come near to ``wanted`` tokens: every repeat is drawn like a document."""
        if self.repeats is None:
            return realise(self.tokens, shuffle_keys(self.ids, seed), wanted)
        of = np.repeat(np.arange(len(self.ids)), self.repeats)
        number = np.arange(len(of)) - np.repeat(np.cumsum(self.repeats) - self.repeats, self.repeats)
        keys = np.zeros(len(of), np.uint64)
        for copy in range(int(self.repeats.max(initial=0))):
            at = np.flatnonzero(number == copy)
            keys[at] = shuffle_keys([self.ids[i] for i in of[at].tolist()], seed, copy)
        found = realise(self.tokens[of], keys, wanted)
        copies = np.zeros(len(self.ids), np.int64)
        np.add.at(copies, of, found.copies)
        return Realised(copies, found.tokens)


def recipe_by_rule(
    name: str, table: GroupTable, table_digest: str, documents: dict[str, Documents], *, rule: str,
    budget_tokens: int | None, max_epochs: float, temperature: float, seed: int,
) -> Recipe:  # fmt: skip
    """A recipe from the sizes of groups alone.

    Args:
        documents: per group, its documents; the recipe's tokens are sums over whole documents.
        budget_tokens: None for as many tokens as the corpus holds.

    Returns:
        the recipe; without groups if the corpus is empty.

    Raises:
        ConfigError: the corpus cannot give the budget within ``max_epochs``.
    """
    available = table.frame["tokens"].to_numpy().astype(np.float64)
    if not len(available) or available.sum() == 0:
        return Recipe(
            name=name, rule=rule, evidence=EMPTY, columns=table.columns, token_source=table.token_source,
            budget_tokens=0, tokens=0, max_epochs=max_epochs, temperature=temperature, seed=seed,
            group_table=table_digest, groups=(), alternatives={},
        )  # fmt: skip
    budget = float(budget_tokens if budget_tokens is not None else table.tokens)
    names = table.frame["group"].to_list()
    chosen = allocate(rule, available, budget, max_epochs=max_epochs, temperature=temperature)
    targets = [round(float(wanted)) for wanted in chosen.tokens]
    tokens = []
    for group, wanted in zip(names, targets, strict=True):
        tokens.append(documents[group].drawn(seed, wanted).tokens)
    total = sum(tokens)
    shares = tuple(
        GroupShare(
            group=group, weight=tokens[i] / total, tokens=tokens[i], target_tokens=targets[i],
            available_tokens=int(available[i]), documents=len(documents[group].ids),
            epochs=float(tokens[i] / available[i]) if available[i] else 0.0, capped=bool(chosen.capped[i]),
        )
        for i, group in enumerate(names)
    )  # fmt: skip
    alternatives = {}
    for other in RULES:
        weights = allocate(other, available, budget, max_epochs=max_epochs, temperature=temperature).weights
        alternatives[other] = {n: round(float(w), 6) for n, w in zip(names, weights, strict=True)}
    return Recipe(
        name=name, rule=rule, evidence=NO_RUNS, columns=table.columns, token_source=table.token_source,
        budget_tokens=round(budget), tokens=total, max_epochs=max_epochs, temperature=temperature, seed=seed,
        group_table=table_digest, groups=shares, alternatives=alternatives,
    )  # fmt: skip
