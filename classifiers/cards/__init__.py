"""Cards: the YAML files that declare raters, and the model that reads them.

A user adds a rater by writing a card. What a card may say is this file; ``classifiers/README.md`` shows how.
"""

from __future__ import annotations

import difflib
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from curate.errors import ConfigError

__all__ = ["CARDS", "Card", "Label", "Window", "card_names", "load_card"]

CARDS = Path(__file__).resolve().parent

_TYPES = {"float": pa.float32(), "int": pa.int32(), "name": pa.string(), "bool": pa.bool_()}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Label(_Part):
    """One column that the rater adds.

    Attributes:
        name: column name behind the card's own name.
        type: what the column holds: float, int, name (one of ``values``), or bool.
        range: smallest and largest value, for float and int.
        values: all names that can occur, for name.
        meaning: one sentence: what it says of a document, which end is better.
        unit: what is counted; empty for scores and names.
        measured: how well it agrees with what it was trained on, on documents held out; by measure.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    type: Literal["float", "int", "name", "bool"] = "float"
    range: tuple[float, float] | None = None
    values: tuple[str, ...] = ()
    meaning: str = Field(min_length=1)
    unit: str = ""
    measured: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Label:
        if self.type == "name" and not self.values:
            raise ValueError(f"label {self.name} is of type name: list its values")
        if self.type in {"float", "int"} and (self.range is None or self.range[0] >= self.range[1]):
            raise ValueError(f"label {self.name} needs a range [smallest, largest]")
        if self.name == "status":
            raise ValueError("the name status is taken: every rater has a column <card>_status")
        return self

    def arrow_type(self) -> pa.DataType:
        """Type of the column."""
        return _TYPES[self.type]


class Window(_Part):
    """Which part of a text is read.

    Attributes:
        policy: whole; head: the first ``head`` units; head_tail: the first ``head`` and the last ``tail``, and all of a
            text of at most ``head + tail``.
        unit: bytes, words or tokens.
    """

    policy: Literal["whole", "head", "head_tail"] = "whole"
    unit: Literal["bytes", "words", "tokens"] = "bytes"
    head: int = Field(0, ge=0)
    tail: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _sizes(self) -> Window:
        if self.policy != "whole" and self.head < 1:
            raise ValueError(f"window policy {self.policy} needs head of at least 1")
        if (self.policy == "head_tail") != (self.tail > 0):
            raise ValueError("tail belongs to the policy head_tail, and to no other")
        return self


class Card(_Part):
    """What a rater declares.

    Attributes:
        name: what columns start with and configs say.
        title: one sentence: what it rates.
        revision: version of the model; a changed meaning is a new name, not a new revision.
        backend: what computes it: a name in ``classifiers.contract.BACKENDS``.
        options: what the backend needs to know.
        files: path relative to the card → sha256 of the content.
        labels: columns, in order.
        window: which part of a text is read.
        languages: codes it is valid for; other documents get the status ``language``. Empty: all languages.
        min_words: shorter documents get the status ``too_short``.
        licence: licence of the model files.
        source: where the model comes from.
        follows: paper or tool whose labels it has learned.
        citation: how to cite that.
        training: what it was trained on, and what of it ships.
        limits: what it is not good for.
        measured: figures on held-out data that concern no single label.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    backend: str
    options: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    labels: tuple[Label, ...] = Field(min_length=1)
    window: Window = Field(default_factory=lambda: Window(policy="whole", head=0, tail=0))
    languages: tuple[str, ...] = ()
    min_words: int = Field(0, ge=0)
    licence: str = Field(min_length=1)
    source: str = Field(min_length=1)
    follows: str = ""
    citation: str = ""
    training: str = ""
    limits: str = ""
    measured: dict[str, float] = Field(default_factory=dict)
    _folder: Path = PrivateAttr(default=CARDS)

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        from classifiers.contract import BACKENDS

        if self.backend not in BACKENDS:
            raise ValueError(f"there is no backend {self.backend}; there are: {', '.join(sorted(BACKENDS))}")
        names = [label.name for label in self.labels]
        if len(set(names)) != len(names):
            raise ValueError("two labels have the same name")
        for file, digest in self.files.items():
            if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                raise ValueError(f"files: {file} needs its sha256, 64 hex digits in lower case")
        return self

    def path_of(self, file: str) -> Path:
        """Where a file of the card is."""
        return (self._folder / file).resolve()

    def label(self, name: str) -> Label:
        """The label of that name; KeyError if there is none."""
        for label in self.labels:
            if label.name == name:
                return label
        raise KeyError(name)


def card_names() -> list[str]:
    """Names of the cards that come with the project."""
    return sorted(path.stem for path in CARDS.glob("*.yaml"))


def load_card(card: str, base: Path) -> Card:
    """The card of that name, or at that path (``*.yaml``, relative to ``base``).

    Raises:
        ConfigError: no such card, or not a valid one.
    """
    if card.endswith((".yaml", ".yml")) or "/" in card:
        path = base / card
        if not path.is_file():
            raise ConfigError(f"labels: there is no card file {path}; give an existing path or one of {card_names()}")
        return read_card(path)
    path = CARDS / f"{card}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(card, card_names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(card_names())}"
        raise ConfigError(f"labels: there is no card {card!r}; {hint} A card of your own is named by its path.")
    return read_card(path)


def read_card(path: Path) -> Card:
    """The card in this file; ConfigError names the file and every fault in it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(StringIO(path.read_text("utf-8")))
    except (YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where is not None else ""
        raise ConfigError(f"{path}{line}: the card is not valid YAML; correct it") from None
    try:
        found = Card.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: not a valid card: {faults}") from None
    found._folder = path.resolve().parent
    return found
