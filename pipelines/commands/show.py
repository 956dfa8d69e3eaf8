"""`curate show`: a sample of documents, for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from curate.errors import ConfigError
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
    duplicates_of: str | None = None,
) -> Answer:
    """Kept documents, with ``reason`` dropped ones, with ``duplicates_of`` those of one cluster of duplicates.

    Text is shortened to ``chars`` for people, not in JSON.
    """
    from pipelines.show import cluster, sample

    if duplicates_of is not None:
        if where is not None or reason is not None or columns is not None:
            raise ConfigError("--duplicates-of shows one cluster: it goes with --limit and --chars only")
        found = cluster(folder, duplicates_of, limit=limit)
    else:
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
              if name not in ("id", "url", "text", "html", "survivor_text") and value is not None]  # fmt: skip
    if row.get("url"):
        lines.append(f"   {safe(str(row['url']))}")
    if labels:
        lines.append("   " + safe(" ".join(labels)))
    if row.get("text"):
        lines += ["", _cut(row["text"], chars)]
    if row.get("survivor_text"):
        lines += ["", f"   stays: {safe(str(row.get('survivor')))} {safe(str(row.get('survivor_url') or ''))}", "",
                  _cut(row["survivor_text"], chars)]  # fmt: skip
    return "\n".join(lines)


def _cut(text: str, chars: int) -> str:
    from pipelines.render import safe

    cut = text if chars == 0 else text[:chars]
    return safe(cut, lines=True) + (f" … ({len(text):,} characters)" if len(cut) < len(text) else "")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
