"""Every error code that the source can write into the ledger has its meaning."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from curate.error_codes import FAMILIES, MEANINGS, meaning_of

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(rf"(?:{'|'.join(FAMILIES)})\.[a-z][a-z0-9_-]+")
#: strings of the same form that are no codes: names of files, of a link relation, and a key used before the ledger
OTHER = {
    "model.safetensors",
    "warc.paths",
    "wet.paths",
    "schema.license",
    "warc.line-ends",
    "input.paths",
    "input.kind",
}


def codes_in_source() -> Iterator[tuple[str, Path]]:
    for package in ("curate", "pipelines", "classifiers"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "error_codes.py":
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                    yield node.value, path


def config_keys() -> set[str]:
    from curate.sources.base import ReadOptions

    return {f"input.{name}" for name in ReadOptions.model_fields}


def test_every_code_in_the_source_has_a_meaning() -> None:
    known = OTHER | config_keys() | set(MEANINGS)
    assert sorted({(c, str(p.relative_to(ROOT))) for c, p in codes_in_source() if c not in known}) == []


def test_every_meaning_is_of_a_code_in_the_source() -> None:
    assert sorted(set(MEANINGS) - {code for code, _ in codes_in_source()}) == []


def test_an_unknown_code_has_no_meaning() -> None:
    assert (meaning_of("mine.own"), meaning_of(None)) == (None, None)
    assert meaning_of("json.syntax") == "the line is not valid JSON"
