"""``--set a.b.c=value``: one value of a config, typed by the same rules as in the file.

A stage is addressed by its name (``stages.extract_html.engine=trafilatura``), or by its place where a name occurs
twice (``stages[2].…``). Lists and maps are written in YAML's flow style (``input.paths=[a.gz, "b*.gz"]``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.config_errors import ConfigIssue, ConfigProblems, nearest
from pipelines.validation import Layer
from pipelines.yaml_reader import Document, Path_, dotted, parse_yaml

_PART = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")
_NAMED = ("stages", "dedup")


class _Bad(Exception):
    """An override that cannot be applied."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


def apply_overrides(
    layer: Layer, overrides: Sequence[str], sections: Sequence[str], environment: Mapping[str, str]
) -> list[ConfigIssue]:
    """Write each override into the raw data of ``layer``; the last one wins. Returns what was wrong with them."""
    issues: list[ConfigIssue] = []
    for text in overrides:
        try:
            _apply(layer, text, sections, environment)
        except _Bad as bad:
            key = text.partition("=")[0]
            # the value is not quoted: it could be a secret that no rule recognises
            issues.append(ConfigIssue("--set", 0, 1, key, bad.code, str(bad), bad.hint, key, len(key)))
        except ConfigProblems as problems:
            issues.extend(problems.issues)
    return issues


def _apply(layer: Layer, text: str, sections: Sequence[str], environment: Mapping[str, str]) -> None:
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise _Bad("override", "an override is written key=value", "e.g. --set run.workers=4")
    parts = _split(key)
    if parts[0] not in sections:
        guess = nearest(str(parts[0]), sections)
        hint = (f"did you mean `{guess}`? " if guess else "") + f"(known: {', '.join(sections)})"
        raise _Bad("unknown_key", f"unknown key `{parts[0]}`", hint)
    path = _resolve(layer.document.data, parts)
    value, references = _value(key, raw.strip(), path, environment)
    _write(layer.document.data, path, value)
    _forget(layer, path)
    layer.document.references.update(references)
    layer.overrides[path] = text


def _split(key: str) -> list[str | int]:
    parts: list[str | int] = []
    at = 0
    while at < len(key):
        match = _PART.match(key, at)
        if match is None:
            raise _Bad("override", f"`{key}` is not a path of names", "write a.b.c=value, or a[0]=value")
        parts.append(match[1] if match[1] is not None else int(match[2]))
        at = match.end()
        if at < len(key) and key[at] == ".":
            at += 1
            if at == len(key):
                raise _Bad("override", f"`{key}` ends with a dot", "write a.b.c=value")
    return parts


def _resolve(data: dict[str, Any], parts: list[str | int]) -> Path_:
    """The path in the data: names of stages become places in the list."""
    if parts[0] not in _NAMED or len(parts) == 1:
        return tuple(parts)
    section, which = str(parts[0]), parts[1]
    items = data.get(section) or []
    if not isinstance(items, list):
        raise _Bad("wrong_type", f"`{section}` is not a list in this config")
    for i, item in enumerate(items):
        if isinstance(item, str):
            items[i] = {item: {}}
    if section == "dedup" and which == "audit" and all("audit" not in item for item in items if isinstance(item, dict)):
        data[section] = items = [*items, {"audit": {}}]  # the audit is made whether or not the config names it
    names = [next(iter(item), "") if isinstance(item, dict) else "" for item in items]
    at = _place(section, which, names)
    rest = parts[2:]
    if isinstance(which, int) or (isinstance(which, str) and which.isdigit()):
        rest = rest[1:] if rest and rest[0] == names[at] else rest
    return (section, at, names[at], *rest)


def _place(section: str, which: str | int, names: list[str]) -> int:
    """Index of the item called ``which``."""
    if isinstance(which, str) and which.isdigit() and which not in names:
        which = int(which)
    if isinstance(which, int):
        if which >= len(names):
            raise _Bad("unknown_name", f"`{section}` has {len(names)} items; there is no [{which}]")
        return which
    found = [i for i, name in enumerate(names) if name == which]
    if len(found) == 1:
        return found[0]
    if found:
        places = " or ".join(f"{section}[{i}]" for i in found)
        raise _Bad("ambiguous", f"`{which}` occurs {len(found)} times in {section}", f"write {places}")
    guess = nearest(which, names)
    hint = (f"did you mean `{guess}`? " if guess else "") + f"(in this config: {', '.join(names) or 'none'})"
    raise _Bad("unknown_name", f"`{which}` is not in the {section} of this config", hint)


def _value(key: str, raw: str, path: Path_, environment: Mapping[str, str]) -> tuple[Any, dict[Path_, str]]:
    """The value as the file would read it, and the references in it."""
    quoted = raw if raw[:1] in ("[", "{", '"', "'") else _quote(raw)
    name = str(next((part for part in reversed(path) if isinstance(part, str)), "value"))
    document = Document(file="--set")
    try:
        parse_yaml(f"{_quote_key(name)}: {quoted}\n", document, environment)
        if document.issues:
            raise ConfigProblems(document.issues)
    except ConfigProblems as problems:
        raise _first(problems, key, raw) from None
    value = document.data[name]
    references = {(*path, *inner[1:]): text for inner, text in document.references.items()}
    if quoted is not raw and isinstance(value, str):
        value = _retype(value)
    return value, references


def _retype(text: str) -> Any:
    """A plain scalar: numbers, flags and null are what they look like."""
    import math

    from pipelines.yaml_reader import plain_scalar

    value = plain_scalar(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise _Bad("not_finite", f"`{text}` is not a number that can be compared", "null switches a limit off")
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value


def _quote(raw: str) -> str:
    return "'" + raw.replace("'", "''") + "'"


def _quote_key(name: str) -> str:
    return _quote(name)


def _first(problems: ConfigProblems, key: str, raw: str) -> _Bad:
    first = problems.issues[0]
    hint = first.hint
    if first.code == "anchor" and raw.startswith(("[", "{")):
        hint = f'put patterns in quotes: {key}=["*.gz"]'
    return _Bad(first.code, f"`{key}`: {first.message}", hint)


def _write(data: dict[str, Any], path: Path_, value: Any) -> None:
    current: Any = data
    for at, part in enumerate(path[:-1]):
        inner = _step(current, part, path[: at + 1])
        if inner is None:
            if isinstance(path[at + 1], int):
                raise _Bad("wrong_type", f"`{dotted(path[: at + 1])}` is no list here that could be changed in parts",
                           f"write the whole list: {dotted(path[: at + 1])}=[…]")  # fmt: skip
            inner = {}
            current[part] = inner
        current = inner
    last = path[-1]
    if isinstance(current, list):
        if not isinstance(last, int) or last > len(current):
            raise _Bad("unknown_name", f"`{dotted(path[:-1])}` is a list of {len(current)}; there is no [{last}]")
        if last == len(current):
            current.append(value)
            return
    elif not isinstance(current, dict) or isinstance(last, int):
        raise _Bad("wrong_type", f"`{dotted(path[:-1])}` has no parts that could be set")
    current[last] = value


def _step(current: Any, part: str | int, path: Path_) -> Any:
    if isinstance(current, dict) and isinstance(part, str):
        return current.get(part)
    if isinstance(current, list) and isinstance(part, int) and part < len(current):
        return current[part]
    raise _Bad("wrong_type", f"`{dotted(path)}` cannot be set: what is above it has no such part")


def _forget(layer: Layer, path: Path_) -> None:
    """Places and references of what the override replaced no longer hold."""
    document = layer.document
    for table in (document.values, document.keys, document.references, layer.overrides):
        for old in [p for p in table if p[: len(path)] == path]:
            del table[old]
