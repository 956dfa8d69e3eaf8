"""Writes the generated parts of README.md, docs/fates.md and configs/schema.json; ``--check`` only fails if something
differs."""

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


def fates() -> str:
    """docs/fates.md: every reason and every error code with its meaning."""
    from curate.error_codes import FAMILIES, MEANINGS
    from curate.sources import source_class
    from pipelines.catalogue import stage_cards

    lines = [
        "# Why a document left",
        "",
        "Written by `make docs` from the code. `curate why ID --run DIR` tells the history of one document.",
        "",
        "## Reasons for which documents are dropped",
        "",
        "In `dropped/`, columns `stage` and `reason`; beside it the `value` that was compared and the `threshold`.",
        "",
        "| stage | reason | meaning |",
        "| --- | --- | --- |",
    ]
    read: dict[str, str] = {}
    for kind in ("warc", "wet", "jsonl", "parquet"):
        for reason, meaning in source_class(kind).reasons.items():
            read.setdefault(reason, meaning)
    tables = [("read", read), *((card.name, card.reasons) for card in stage_cards())]
    lines += [f"| `{name}` | `{reason}` | {_cell(text)} |" for name, rows in tables for reason, text in rows.items()]
    lines += [
        "| `keep` | the part of the sentence that is not true | decided by `keep` in the config |",
        "",
        "## Error codes",
        "",
        "In `failed/`, column `error`. At the level `error` something is lost or damaged; at `warning` it was "
        "odd, and everything was kept.",
        "",
        "| family | is about |",
        "| --- | --- |",
        *(f"| `{name}.*` | {_cell(text)} |" for name, text in FAMILIES.items()),
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| `{code}` | {_cell(text)} |" for code, text in MEANINGS.items()),
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


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
        ROOT / "docs" / "fates.md": fates(),
        schema: json.dumps(config_json_schema(), indent=1, ensure_ascii=False) + "\n",
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        print("\n".join(f"{path.relative_to(ROOT)} is not up to date: make docs" for path in stale))
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
