"""What the code says about its stages and sections: the source of every generated table and of configs/schema.json."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from curate.errors import ConfigError
from curate.stages import STAGES, stage_class
from pipelines.validation import ITEMS


@dataclass(frozen=True)
class Key:
    """One config key: its name, type in words, default (None and ``required`` False means null), meaning."""

    name: str
    type: str
    default: Any
    required: bool
    meaning: str


@dataclass(frozen=True)
class StageCard:
    """What a stage says of itself.

    Attributes:
        problem: why it cannot be used here (a package that is not installed), else empty.
        adds: (column, type, unit, range, meaning) of each column, with the default config.
    """

    name: str
    summary: str
    follows: str = ""
    requires: tuple[str, ...] = ()
    adds: tuple[tuple[str, str, str, str, str], ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    keys: tuple[Key, ...] = ()
    problem: str = ""


def stage_cards() -> list[StageCard]:
    """All stages, in the order of the registry."""
    return [stage_card(name) for name in STAGES]


def stage_card(name: str) -> StageCard:
    """The stage ``name``; KeyError if there is none."""
    try:
        cls = stage_class(name)
    except ImportError as error:
        return StageCard(name, "", problem=f"no module {error.name}")
    stage = example(cls)
    return StageCard(
        name,
        first_sentence(cls),
        cls.follows,
        tuple(stage.requires if stage is not None else cls.requires),
        tuple(described(f) for f in stage.adds()) if stage is not None else (),
        dict(stage.reasons if stage is not None else cls.reasons),
        dict(cls.errors),
        tuple(keys(cls.Config)),
    )


def example(cls: Any) -> Any:
    """An instance with the default config; None where the stage needs options."""
    try:
        return cls()
    except (ValueError, ConfigError):  # pydantic's ValidationError is a ValueError
        return None


def described(column: Any) -> tuple[str, str, str, str, str]:
    """Name, type, unit, range and meaning of an Arrow field made with ``curate.documents.column``."""
    meta = {k.decode(): v.decode() for k, v in (column.metadata or {}).items()}
    return column.name, str(column.type), meta.get("unit", ""), meta.get("range", ""), meta.get("doc", "")


def first_sentence(thing: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    text = inspect.getdoc(thing) or inspect.getdoc(inspect.getmodule(thing)) or ""
    return " ".join(text.split("\n\n")[0].split())


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Config keys of a model, nested ones dotted."""
    meanings = attribute_meanings(model)
    for name, info in model.model_fields.items():
        shown = prefix + (info.alias or name)
        meaning = " ".join((info.description or meanings.get(name, "")).split())
        yield Key(shown, type_words(info.annotation), default_of(info), info.is_required(), meaning)


def attribute_meanings(model: type[BaseModel]) -> dict[str, str]:
    """Meanings from the ``Attributes:`` part of the docstrings of a model and its bases."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not (isinstance(cls, type) and issubclass(cls, BaseModel)) or cls is BaseModel:
            continue
        _, _, part = (inspect.cleandoc(cls.__doc__ or "")).partition("Attributes:\n")
        current: list[str] = []
        for line in part.splitlines():
            if line and not line.startswith(" "):
                break
            if line.startswith("    ") and not line.startswith("     "):
                names, _, text = line.strip().partition(": ")
                current = [n.strip() for n in names.split(",")]
                found.update(dict.fromkeys(current, text))
            elif line.strip():
                found.update({n: f"{found[n]} {line.strip()}" for n in current})
    return found


def nested_models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Models inside the fields of ``model``, at any depth, each once."""
    found: dict[type[BaseModel], None] = {}
    waiting: list[Any] = [info.annotation for info in model.model_fields.values()]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel) and one not in found:
            found[one] = None
            waiting += [info.annotation for info in one.model_fields.values()]
        waiting += [a for a in get_args(one) if a is not one]
    return list(found)


def default_of(info: FieldInfo) -> Any:
    """The default as JSON-able value; None for required keys."""
    if info.is_required():
        return None
    value = info.get_default(call_default_factory=True, validated_data={})
    return plain(value)


def plain(value: Any) -> Any:
    """JSON-able form of a default."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, (tuple, list, set, frozenset)):
        inner = [plain(v) for v in value]
        return sorted(inner, key=str) if isinstance(value, (set, frozenset)) else inner
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}


def type_words(annotation: Any) -> str:
    """A type as people say it: ``int | None`` → ``whole number or null``."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(str(a) for a in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_words(a) for a in inner))
    if origin in (tuple, list, set, frozenset):
        return f"list of {type_words(inner[0])}" if inner else "list"
    if origin is dict or annotation is dict:
        return "map"
    if hasattr(annotation, "__metadata__"):
        return type_words(inner[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "map"
    return "text" if annotation is not Any else "anything"


def dedup_models() -> dict[str, type[BaseModel]]:
    """Config models of the ways of finding duplicates."""
    return item_models("dedup")


def item_models(section: str) -> dict[str, type[BaseModel]]:
    """Config models of the items of a list of the config, e.g. ``scores``."""
    found = {}
    for name, place in ITEMS[section].items():
        module, cls = place.split(":")
        found[name] = getattr(import_module(module), cls)
    return found
