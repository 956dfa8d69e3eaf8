"""`curate status`: how far a run is."""

from __future__ import annotations

from typing import Any

from pipelines.commands.answer import Answer


def main(folder: str) -> Answer:
    """What ``pipelines.status`` reads from the run's receipts and lock."""
    from pipelines.status import read_status

    state = read_status(folder)
    return Answer(state, lambda: text(state))


def text(state: dict[str, Any]) -> str:
    """Single values as lines, lists of maps as tables."""
    from pipelines.render import safe, table

    lines, tables = [], []
    for key, value in state.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            headers = list(dict.fromkeys(name for item in value for name in item))
            tables.append(table(headers, [[item.get(name) for name in headers] for item in value]))
        elif isinstance(value, dict):
            lines.append(f"{key}: " + ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items()))
        else:
            lines.append(f"{key}: {_shown(value)}")
    return "\n\n".join([safe("\n".join(lines), lines=True), *tables])


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)
