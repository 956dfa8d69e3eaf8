"""Constraints on answers: how each server takes them, and whether an answer keeps them.

Servers ignore what they do not know with status 200 (vLLM 0.32 does so with its old ``guided_choice``), so every answer
is checked here again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from curate.errors import ConfigError

#: ``vllm``: ``structured_outputs`` (0.12 and later); ``vllm_guided``: ``guided_*`` (before); ``openai``:
#: ``response_format``
Dialect = Literal["vllm", "vllm_guided", "openai"]
Kind = Literal["choice", "regex", "json", "json_object", "grammar"]
_GUIDED = {"choice": "guided_choice", "regex": "guided_regex", "json": "guided_json", "grammar": "guided_grammar"}


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer may look like; made by ``choice``, ``regex``, ``json_schema``, ``json_object`` or ``grammar``.

    ``value`` is JSON text for choices and schemas, so that equal constraints are equal values.
    """

    kind: Kind
    value: str = ""

    def fields(self, dialect: Dialect) -> dict[str, Any]:
        """The fields of the request's body.

        ``openai`` has no form for choices and patterns: they are not sent, only checked. ConfigError for a grammar.
        """
        value: Any = json.loads(self.value) if self.kind in {"choice", "json"} else self.value
        if self.kind == "json_object":
            return {"response_format": {"type": "json_object"}}
        if dialect == "vllm":
            return {"structured_outputs": {self.kind: value}}
        if dialect == "vllm_guided":
            return {_GUIDED[self.kind]: value}
        if self.kind == "json":
            schema = {"name": "answer", "schema": value, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        if self.kind == "grammar":
            raise ConfigError(
                "an OpenAI server takes no grammar; use a JSON schema, or dialect vllm with a vLLM server"
            )
        return {}

    def violation(self, text: str) -> str | None:
        """What is wrong with ``text``, never quoting it; null if nothing. Grammars cannot be checked here."""
        if self.kind == "choice":
            return None if text in _choices(self.value) else "not one of the choices"
        if self.kind == "regex":
            return None if _pattern(self.value).fullmatch(text) else "does not match the pattern"
        if self.kind == "grammar":
            return None
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return "no valid JSON"
        if self.kind == "json_object":
            return None if isinstance(value, dict) else "no JSON object"
        schema = _schema(self.value)
        return _mismatch(value, schema, schema, "$")


def choice(options: Sequence[str]) -> Constraint:
    """The answer is exactly one of ``options``."""
    if not options or len(set(options)) != len(options):
        raise ConfigError("a choice needs at least one option, and no option twice")
    return Constraint("choice", json.dumps(list(options)))


def regex(pattern: str) -> Constraint:
    """The whole answer matches ``pattern``."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"the pattern of a constraint is no regular expression: {error}") from error
    return Constraint("regex", pattern)


def json_schema(schema: dict[str, Any]) -> Constraint:
    """The answer is JSON after ``schema``.

    Checked: type, enum, const, properties, required, additionalProperties, items, minItems, maxItems, minimum,
    maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern, anyOf, oneOf, allOf, local $ref. Other
    keywords are passed on to the server alone.
    """
    return Constraint("json", json.dumps(schema, sort_keys=True))


def json_object() -> Constraint:
    """The answer is any JSON object."""
    return Constraint("json_object")


def grammar(text: str) -> Constraint:
    """The answer is derived from a grammar (EBNF as the server's backend takes it); not checked here."""
    return Constraint("grammar", text)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@lru_cache(maxsize=256)
def _choices(value: str) -> frozenset[str]:
    return frozenset(json.loads(value))


@lru_cache(maxsize=256)
def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(value)


@lru_cache(maxsize=256)
def _schema(value: str) -> Any:
    return json.loads(value)


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "number": (int, float), "integer": (int,),
}  # fmt: skip


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, (object,)))


def _mismatch(value: Any, schema: Any, root: Any, at: str) -> str | None:
    """The first thing at which ``value`` differs from ``schema``, by its path; null if there is none."""
    if isinstance(schema, bool):
        return None if schema else f"{at}: not allowed"
    if "$ref" in schema:
        return _mismatch(value, _referred(schema["$ref"], root), root, at)
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, k) for k in ([kinds] if isinstance(kinds, str) else kinds)):
        return f"{at}: not of type {kinds}"
    if "enum" in schema and not any(_same(value, v) for v in schema["enum"]):
        return f"{at}: not one of the values listed"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{at}: not the constant"
    return _bounds(value, schema, at) or _inside(value, schema, root, at) or _combined(value, schema, root, at)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _referred(path: str, root: Any) -> Any:
    if not path.startswith("#"):
        raise ConfigError(f"a schema refers to {path}: only places inside itself (#/…) are followed")
    found = root
    for part in path.removeprefix("#").strip("/").split("/") if path not in {"#", "#/"} else ():
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def _bounds(value: Any, schema: Any, at: str) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if (low is not None and value < low) or (above is not None and value <= above):
            return f"{at}: too small"
        if (high is not None and value > high) or (below is not None and value >= below):
            return f"{at}: too large"
    for kind, least, most in ((str, "minLength", "maxLength"), (list, "minItems", "maxItems")):
        if isinstance(value, kind) and not schema.get(least, 0) <= len(value) <= schema.get(most, len(value)):
            return f"{at}: wrong length"
    if isinstance(value, str) and "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        return f"{at}: does not match the pattern"
    return None


def _inside(value: Any, schema: Any, root: Any, at: str) -> str | None:
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            if found := _mismatch(item, schema["items"], root, f"{at}[{i}]"):
                return found
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                return f"{at}: {name} is missing"
        for name, item in value.items():
            where = f"{at}.{name}" if name in known else f"{at}.*"
            if found := _mismatch(item, known.get(name, schema.get("additionalProperties", True)), root, where):
                return found
    return None


def _combined(value: Any, schema: Any, root: Any, at: str) -> str | None:
    for part in schema.get("allOf", ()):
        if found := _mismatch(value, part, root, at):
            return found
    if "anyOf" in schema and all(_mismatch(value, part, root, at) for part in schema["anyOf"]):
        return f"{at}: none of the forms allowed"
    if "oneOf" in schema and sum(_mismatch(value, part, root, at) is None for part in schema["oneOf"]) != 1:
        return f"{at}: not exactly one of the forms allowed"
    return None
