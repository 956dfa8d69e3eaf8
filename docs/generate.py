"""Writes the generated parts of README.md and configs/schema.json; ``--check`` only fails if something differs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parts() -> dict[str, str]:
    """Marker → what stands under it."""
    from pipelines.catalogue import stage_cards

    rows = ["| stage | what it does | drops or fails with |", "| --- | --- | --- |"]
    for card in stage_cards():
        reasons = [f"`{r}`" for r in (*card.reasons, *card.errors)]
        shown = ", ".join(reasons[:4]) + (f" … ({len(reasons)} in all)" if len(reasons) > 4 else "")
        rows.append(f"| `{card.name}` | {card.summary.replace('``', '`')} | {shown} |")
    return {"stages": "\n".join(rows)}


def filled(text: str) -> str:
    """``text`` with every generated part brought up to date."""
    for name, body in parts().items():
        start = f"<!-- generated: {name} -->\n"
        before, found, rest = text.partition(start)
        if not found:
            raise SystemExit(f"README.md has no part {name!r}")
        text = before + start + body + "\n<!-- end -->" + rest.partition("<!-- end -->")[2]
    return text


def main() -> int:
    """Write, or compare."""
    from pipelines.config_schema import config_json_schema

    readme, schema = ROOT / "README.md", ROOT / "configs" / "schema.json"
    wanted = {
        readme: filled(readme.read_text(encoding="utf-8")),
        schema: json.dumps(config_json_schema(), indent=1, ensure_ascii=False) + "\n",
    }
    stale = [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        print("\n".join(f"{path.relative_to(ROOT)} is not up to date: make docs" for path in stale))
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
