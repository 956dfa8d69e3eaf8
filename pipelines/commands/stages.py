"""`curate stages`: what there is to choose from, as the code and the raters' cards say it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from classifiers.cards import card_names
from curate.errors import ConfigError
from pipelines.catalogue import StageCard, described, stage_card, stage_cards
from pipelines.commands.answer import Answer

#: what is told of a column
_COLUMN = ("name", "type", "unit", "range", "meaning")


def main(name: str | None, markdown: bool) -> Answer:
    """All stages as a table and the raters by name, or one stage or rater with its columns."""
    if name is None:
        cards = stage_cards()
        text = markdown_table if markdown else _list
        raters = card_names()
        notes = [] if markdown else [
            f"raters, for `labels`: {', '.join(raters)}", "one stage or rater: curate stages NAME",
        ]  # fmt: skip
        return Answer({"stages": [_data(c) for c in cards], "raters": raters}, lambda: text(cards), notes=notes)
    from curate.stages import STAGES
    from pipelines.config_errors import nearest

    if name in card_names() and name not in STAGES:
        return rater(name)
    if name not in STAGES:
        known = [*STAGES, *card_names()]
        guess = nearest(name, known)
        raise ConfigError(f"there is no stage and no rater `{name}`; " + (f"did you mean `{guess}`? " if guess else "")
                          + f"(known: {', '.join(known)})")  # fmt: skip
    card = stage_card(name)
    return Answer({"stages": [_data(card)]}, lambda: markdown_table([card]) if markdown else _one(card))


def rater(name: str) -> Answer:
    """One rater: where its model comes from, what it needs, its columns."""
    from classifiers.cards import load_card
    from classifiers.contract import backend_class, card_columns

    card = load_card(name, Path())
    columns = [described(field) for field in card_columns(card)]
    needs_model = backend_class(card).holds_model and not card.self_contained
    facts = {
        "name": card.name, "title": card.title, "follows": card.follows, "licence": card.licence, "source": card.source,
        "backend": card.backend, "languages": list(card.languages),
        "window": card.window.model_dump(exclude_defaults=True), "needs_model": needs_model,
        "self_contained": card.self_contained, "remote_code": card.remote_code, "limits": card.limits,
    }  # fmt: skip
    data = {"raters": [{**facts, "adds": [dict(zip(_COLUMN, column, strict=True)) for column in columns]}]}
    return Answer(data, lambda: _rater_text(facts, columns))


def _rater_text(facts: Mapping[str, object], columns: Sequence[tuple[str, ...]]) -> str:
    from pipelines.render import table

    lines = [f"{facts['name']}: {facts['title']}"]
    lines += [f"{key}: {facts[key]}" for key in ("follows", "licence", "source", "limits") if facts[key]]
    if facts["languages"]:
        lines.append(f"languages: {', '.join(facts['languages'])}")  # type: ignore[arg-type]
    if facts["needs_model"]:
        lines.append(f"needs its model: labels: [{{card: {facts['name']}, model: PATH, sha256: …}}]")
    rows = [(n, t, u or r, doc) for n, t, u, r, doc in columns]
    return "\n".join(lines) + "\n\n" + table(("column", "type", "unit or range", "meaning"), rows)


def _data(card: StageCard) -> dict[str, object]:
    return {**asdict(card), "adds": [dict(zip(_COLUMN, column, strict=True)) for column in card.adds]}


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
