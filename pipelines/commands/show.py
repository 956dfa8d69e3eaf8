"""`curate show`: a sample of documents, for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipelines.commands.answer import Answer

#: left out where a person reads and names no columns: they would hide what is read for
_HIDDEN = ("offset", "length", "row", "text_stats_")


def main(
    folder: str,
    where: str | None,
    reason: str | None,
    limit: int,
    seed: int,
    columns: Sequence[str] | None,
    chars: int,
) -> Answer:
    """Kept documents, or with ``reason`` dropped ones; text is shortened to ``chars`` for people, not in JSON."""
    from pipelines.show import sample

    found = sample(folder, where=where, reason=reason, limit=limit, seed=seed, columns=columns)
    data = {"documents": [{name: _plain(value) for name, value in row.items()} for row in found]}
    hidden = _HIDDEN if columns is None else ()
    shown = [{name: value for name, value in row.items() if not name.startswith(hidden)} for row in found]
    notes = ["places and text_stats_… are not shown; --columns names what to show"] if hidden and found else []
    return Answer(data, lambda: "\n\n".join(_document(r, chars) for r in shown) or "no document matches", notes=notes)


def _plain(value: Any) -> Any:
    """JSON has no NaN, no infinity and no bytes."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.hex() if isinstance(value, bytes) else value


def _document(row: dict[str, Any], chars: int) -> str:
    from pipelines.render import safe

    lines = [f"── {safe(str(row.get('id') or row.get('url') or ''))}"]
    labels = [f"{name}={_short(value)}" for name, value in row.items()
              if name not in ("id", "url", "text", "html") and value is not None]  # fmt: skip
    if row.get("url"):
        lines.append(f"   {safe(str(row['url']))}")
    if labels:
        lines.append("   " + safe(" ".join(labels)))
    text = row.get("text")
    if text:
        cut = text if chars == 0 else text[:chars]
        lines += ["", safe(cut, lines=True) + (f" … ({len(text):,} characters)" if len(cut) < len(text) else "")]
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
