"""`curate why`: the history of one document."""

from __future__ import annotations

from typing import Any

from pipelines.commands.answer import Answer


def main(key: str, folder: str) -> Answer:
    """What ``pipelines.why`` finds about the document that ``key`` names."""
    from pipelines.why import explain

    found = explain(folder, key)
    return Answer(found, lambda: text(found))


def text(found: dict[str, Any], indent: int = 0) -> str:
    """Nested values, indented; document text and URLs made safe for the terminal."""
    from pipelines.render import safe

    out = []
    for key, value in found.items():
        head = " " * indent + safe(str(key))
        if isinstance(value, dict) and value:
            out += [f"{head}:", text(value, indent + 2)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            out.append(f"{head}:")
            for item in value:
                body = text(item, indent + 4)
                out.append(body[: indent + 2] + "-" + body[indent + 3 :])
        elif value is not None and value not in ([], {}):
            out.append(f"{head}: {safe(str(value))}")
    return "\n".join(out)
