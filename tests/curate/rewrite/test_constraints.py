"""Answers are checked against what was asked for, because servers ignore what they do not know."""

from __future__ import annotations

from typing import Any

import pytest

from curate.errors import ConfigError
from curate.rewrite.constraints import choice, grammar, json_object, json_schema, regex

SCORE = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "why": {"type": "string", "maxLength": 10},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1},
        "more": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/pair"}]},
    },
    "required": ["score"],
    "additionalProperties": False,
    "$defs": {"pair": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}},
}


@pytest.mark.parametrize(
    "text",
    ['{"score": 5}', '{"score": 1, "why": "short", "tags": ["a", "b"]}', '{"score": 2.0, "more": null}',
     '{"score": 3, "more": [1, 2.5]}'],
)  # fmt: skip
def test_what_follows_the_schema_passes(text: str) -> None:
    assert json_schema(SCORE).violation(text) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"score": 99}', "$.score: too large"),
        ('{"score": 0}', "$.score: too small"),
        ('{"score": "five"}', "$.score: not of type integer"),
        ('{"score": true}', "$.score: not of type integer"),
        ('{"score": NaN}', "no valid JSON"),
        ('{"score": 4', "no valid JSON"),
        ('```json\n{"score": 4}\n```', "no valid JSON"),
        ("{}", "$: score is missing"),
        ("[]", "$: not of type object"),
        ('{"score": 4, "secret": 1}', "$.*: not allowed"),
        ('{"score": 4, "why": "far too long a text"}', "$.why: wrong length"),
        ('{"score": 4, "tags": []}', "$.tags: wrong length"),
        ('{"score": 4, "tags": ["a", "c"]}', "$.tags[1]: not one of the values listed"),
        ('{"score": 4, "more": [1]}', "$.more: none of the forms allowed"),
        ("[" * 100_000, "no valid JSON"),
    ],
)
def test_what_does_not_is_named_without_quoting_it(text: str, wrong: str) -> None:
    assert json_schema(SCORE).violation(text) == wrong


def test_choices_and_patterns_must_match_as_a_whole() -> None:
    assert choice(["yes", "no"]).violation("yes") is None
    assert choice(["yes", "no"]).violation(" yes") is not None
    assert regex("[1-5]").violation("3") is None
    assert regex("[1-5]").violation("3\n") is not None
    assert json_object().violation("[1]") is not None
    assert grammar("root ::= x").violation("anything") is None


def test_impossible_constraints_are_refused_when_they_are_made() -> None:
    for make in (lambda: choice([]), lambda: choice(["a", "a"]), lambda: regex("(")):
        with pytest.raises(ConfigError):
            make()
    with pytest.raises(ConfigError, match="grammar"):
        grammar("root ::= x").fields("openai")


def test_equal_schemas_are_equal_constraints_whatever_the_order_of_their_keys() -> None:
    a: dict[str, Any] = {"type": "object", "required": ["x"]}
    assert json_schema(a) == json_schema(dict(reversed(a.items())))
