"""A backend whose answers are written in the texts, for tests of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from classifiers.cards import Card
from classifiers.contract import Backend, Texts
from curate.stages.base import Context


class Toy(Backend):
    """A text ``0.5 good`` has the score 0.5 and the kind good; ``unparseable`` alone is a status."""

    def __init__(self, card: Card) -> None:
        self.card = card
        #: the objects that it was given, to see what raters share
        self.seen: list[Texts] = []

    def open(self, context: Context) -> None:
        pass

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        self.seen.append(texts)
        found: dict[str, list[Any]] = {"score": [], "kind": [], "status": []}
        for text in texts.strings():
            score, _, kind = text.partition(" ")
            status = score if not kind else None
            found["score"].append(None if status else float(score))
            found["kind"].append(None if status or kind == "none" else kind)
            found["status"].append(status)
        types = {"score": pa.float64(), "kind": pa.string(), "status": pa.string()}
        return {name: pa.array(values, types[name]) for name, values in found.items()}


class Served(Toy):
    """Holds no model."""

    holds_model = False


class Silent(Served):
    """Forgets a label of the card."""

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        return {"score": pa.array([0.5] * len(texts))}
