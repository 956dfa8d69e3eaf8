"""`curate schema`: the columns of documents, with their type, unit, range and meaning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.commands.answer import Answer

_NAMES = ("column", "type", "unit", "range", "meaning", "from")


def main(config: Path | None, overrides: Sequence[str], config_schema: bool) -> Answer:
    """Columns of one config, or of everything there is; or the JSON Schema of config files."""
    if config_schema:
        from pipelines.config_schema import config_json_schema

        schema = config_json_schema()
        return Answer({"config": schema}, lambda: json.dumps(schema, indent=1, ensure_ascii=False))
    from pipelines.columns import all_columns, config_columns

    if config is None:
        rows = all_columns()
    else:
        from pipelines.config import load_config

        rows = config_columns(load_config(config, overrides))
    data = {"columns": [dict(zip(_NAMES, row, strict=True)) for row in rows]}
    return Answer(data, lambda: _text(rows))


def _text(rows: Sequence[tuple[str, ...]]) -> str:
    from pipelines.render import table

    shown = [(name, type_, where, unit or range_, doc) for name, type_, unit, range_, doc, where in rows]
    return table(("column", "type", "from", "unit or range", "meaning"), shown)
