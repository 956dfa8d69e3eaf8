"""The entries of `labels`: a card's name, or a map that says more of one rater; each checked where it stands."""

from __future__ import annotations

from pathlib import Path

from classifiers.choice import RaterChoice
from pipelines.config_errors import ConfigIssue
from pipelines.validation import Layer, validate_section

#: an entry of `labels`
Entry = str | RaterChoice


def read_entries(layer: Layer, base: Path, issues: list[ConfigIssue]) -> tuple[Entry, ...]:
    """The entries of `labels`, in order; what is wrong with one, its card or its permissions becomes an issue.

    Args:
        base: folder that relative paths are resolved against.
    """
    value = layer.document.data.get("labels", [])
    if not isinstance(value, list):
        issues.append(layer.issue("wrong_type", "`labels` must be a list of names", ("labels",)))
        return ()
    entries: list[Entry] = []
    for i, item in enumerate(value):
        entry: Entry | None = None
        if isinstance(item, dict):
            entry = validate_section(layer, ("labels", i), RaterChoice, issues)
        elif isinstance(item, str) and item:
            entry = item
        else:
            issues.append(
                layer.issue("wrong_type", f"`labels[{i}]` must be a name, or a map with `card`", ("labels", i))
            )
        if entry is not None:
            entries.append(entry)
            issues += _problems(layer, i, entry, base)
    return tuple(entries)


def card_of(entry: Entry) -> str:
    """Name or path of the entry's card."""
    return entry if isinstance(entry, str) else entry.card


def _problems(layer: Layer, place: int, entry: Entry, base: Path) -> list[ConfigIssue]:
    """What keeps the rater from being made, told at its place in the config; no model is opened."""
    from classifiers.contract import rater_stage
    from curate.errors import ConfigError

    try:
        rater_stage(entry, base)
    except ConfigError as error:
        return [layer.issue("card", str(error).removeprefix("labels: "), ("labels", place))]
    return []
