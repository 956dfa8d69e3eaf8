"""`curate verify`: proof that every document is accounted for."""

from __future__ import annotations

from typing import Any

from curate.errors import VerificationError
from pipelines.commands.answer import Answer


def main(folder: str, data: bool) -> Answer:
    """The sums, and every problem; exit 5 if there is one."""
    from pipelines.verify import verify

    found = verify(folder, data=data)
    code = 0 if found["ok"] else VerificationError.exit_code
    return Answer(found, lambda: _text(found), code)


def _text(found: dict[str, Any]) -> str:
    from pipelines.render import count, safe, size, table

    dropped, failed = found["dropped"], found["failed"]
    lines = [
        f"in {count(found['in'])} = kept {count(found['kept'])} + dropped {count(_sum(dropped))} "
        f"+ failed {count(_sum(failed))}",
        f"bytes {size(_sum(found['bytes']))}" if not isinstance(found["bytes"], dict) else _bytes(found["bytes"]),
        "the sums hold" if found["ok"] else "THE SUMS DO NOT HOLD",
    ]
    rows = [("dropped", k, v) for k, v in _items(dropped)] + [("failed", k, v) for k, v in _items(failed)]
    parts = ["\n".join(lines)]
    if rows:
        parts.append(table(("fate", "reason", "documents"), rows))
    problems = found.get("problems") or []
    if problems:
        parts.append("\n".join(f"problem: {safe(str(p))}" for p in problems))
    return "\n\n".join(parts)


def _sum(value: Any) -> int:
    return sum(value.values()) if isinstance(value, dict) else int(value or 0)


def _items(value: Any) -> list[tuple[str, int]]:
    return sorted(value.items(), key=lambda kv: (-kv[1], kv[0])) if isinstance(value, dict) else []


def _bytes(value: dict[str, Any]) -> str:
    return "bytes: " + ", ".join(f"{name} {amount:,}" if isinstance(amount, int) else f"{name} {amount}"
                                 for name, amount in value.items())  # fmt: skip
