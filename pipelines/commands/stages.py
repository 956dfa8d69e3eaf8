"""`curate stages`: what there is to choose from, as the code says it."""

from __future__ import annotations

import json
from dataclasses import asdict

from curate.errors import ConfigError
from pipelines.catalogue import StageCard, stage_card, stage_cards
from pipelines.commands.answer import Answer


def main(name: str | None, markdown: bool) -> Answer:
    """All stages as a table, or one stage with its columns, reasons and options."""
    if name is None:
        cards = stage_cards()
        text = markdown_table if markdown else _list
        notes = [] if markdown else ["options of one stage: curate stages NAME"]
        return Answer({"stages": [_data(c) for c in cards]}, lambda: text(cards), notes=notes)
    from curate.stages import STAGES
    from pipelines.config_errors import nearest

    if name not in STAGES:
        guess = nearest(name, STAGES)
        raise ConfigError(f"there is no stage `{name}`; " + (f"did you mean `{guess}`? " if guess else "")
                          + f"(known: {', '.join(STAGES)})")  # fmt: skip
    card = stage_card(name)
    return Answer({"stages": [_data(card)]}, lambda: markdown_table([card]) if markdown else _one(card))


def _data(card: StageCard) -> dict[str, object]:
    names = ("name", "type", "unit", "range", "meaning")
    return {**asdict(card), "adds": [dict(zip(names, column, strict=True)) for column in card.adds]}


def _list(cards: list[StageCard]) -> str:
    from pipelines.render import table

    return table(("stage", "what it does"), [(c.name, c.problem or c.summary) for c in cards])


def _one(card: StageCard) -> str:
    from pipelines.render import table

    if card.problem:
        return f"{card.name}: cannot be used here ({card.problem}); `curate doctor` says which extra brings it"
    parts = [f"{card.name}: {card.summary}"]
    if card.follows:
        parts[0] += f"\nfollows: {card.follows}"
    if card.requires:
        parts[0] += f"\nneeds: {', '.join(card.requires)}"
    if card.keys:
        rows = [(k.name, _default(k.default, k.required), k.type, k.meaning) for k in card.keys]
        parts.append(table(("option", "default", "type", "meaning"), rows))
    if card.adds:
        rows = [(n, t, u or r, doc) for n, t, u, r, doc in card.adds]
        parts.append(table(("column", "type", "unit or range", "meaning"), rows))
    if card.reasons:
        parts.append(table(("drops with", "meaning"), list(card.reasons.items())))
    if card.errors:
        parts.append(table(("fails with", "meaning"), list(card.errors.items())))
    return "\n\n".join(parts)


def _default(value: object, required: bool) -> str:
    if required:
        return "(required)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"


def markdown_table(cards: list[StageCard]) -> str:
    """Name, what it does, columns and reasons of every stage, for the README."""
    lines = ["| stage | what it does | adds | drops with |", "| --- | --- | --- | --- |"]
    for card in cards:
        adds = ", ".join(f"`{name}`" for name, *_ in card.adds)
        reasons = ", ".join(f"`{code}`" for code in card.reasons)
        cells = (f"`{card.name}`", card.problem or card.summary, adds, reasons)
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines)
