"""Cards: the YAML files that declare raters, and the model that reads them.

A user adds a rater by writing a card. What a card may say is this file; ``classifiers/README.md`` shows how.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from classifiers.choice import RaterChoice
from curate.errors import ConfigError

__all__ = ["CARDS", "Canary", "Card", "Label", "Threshold", "Window", "card_names", "load_card"]

CARDS = Path(__file__).resolve().parent

#: size of a window → policies that have it
_SIZES = {
    "head": "head, head_tail and head_middle_tail",
    "middle": "head_middle_tail",
    "tail": "head_tail and head_middle_tail",
    "chunk": "chunk_mean and chunk_max",
}
_TYPES = {"float": pa.float32(), "int": pa.int32(), "name": pa.string(), "bool": pa.bool_()}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Threshold(_Part):
    """A cut that the authors of a rater recommend; it holds for their corpus.

    Attributes:
        at: the value.
        keep: which side passes: values of at least, or at most, ``at``.
        why: where it comes from and what it kept there.
    """

    at: float
    keep: Literal["at_least", "at_most"] = "at_least"
    why: str = Field(min_length=1)


class Label(_Part):
    """One column that the rater adds.

    Attributes:
        name: column name behind the card's own name.
        type: what the column holds: float, int, name (one of ``values``), or bool.
        range: smallest and largest value, for float and int; `.inf` for an open end.
        values: all names that can occur, for name.
        meaning: one sentence: what it says of a document, which end is better.
        unit: what is counted; empty for scores and names.
        optional: the rater may say nothing of this label alone: null there takes nothing from the others.
        threshold: the recommended cut.
        measured: how well it agrees with what it was trained on, on documents held out; by measure.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    type: Literal["float", "int", "name", "bool"] = "float"
    range: tuple[float, float] | None = None
    values: tuple[str, ...] = ()
    meaning: str = Field(min_length=1)
    unit: str = ""
    optional: bool = False
    threshold: Threshold | None = None
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
    """Which parts of a text are read, and how their scores are joined; ``classifiers.windows`` computes it.

    Attributes:
        policy: whole; head: the first ``head`` units; head_tail: the first ``head`` and the last ``tail``;
            head_middle_tail: also ``middle`` units from between, at a place drawn by the document's id (these three
            take all of a text that is not longer than its parts); chunk_mean: chunks of ``chunk`` units, the last one
            shorter, their scores averaged by their units; chunk_max: the same, the largest score.
        unit: bytes, characters, words or tokens.
        most: most chunks of a text, evenly from its start to its end (2: the first and the last); 0: all.
        limit: units of the text that are looked at at all; 0: all.
    """

    policy: Literal["whole", "head", "head_tail", "head_middle_tail", "chunk_mean", "chunk_max"] = "whole"
    unit: Literal["bytes", "characters", "words", "tokens"] = "bytes"
    head: int = Field(default=0, ge=0)
    middle: int = Field(default=0, ge=0)
    tail: int = Field(default=0, ge=0)
    chunk: int = Field(default=0, ge=0)
    most: int = Field(default=0, ge=0)
    limit: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _sizes(self) -> Window:
        parts = {"head", "middle", "tail"} if self.policy == "head_middle_tail" else set(self.policy.split("_"))
        for size, owners in _SIZES.items():
            if size in parts and getattr(self, size) < 1:
                raise ValueError(f"window policy {self.policy} needs {size} of at least 1")
            if size not in parts and getattr(self, size) > 0:
                raise ValueError(f"{size} belongs to the policies {owners}, not to {self.policy}")
        if self.most and "chunk" not in parts:
            raise ValueError(f"most counts chunks, and the policy {self.policy} has none")
        return self


class Canary(_Part):
    """A text whose labels are known: the model is refused if it gives others.

    Attributes:
        text: what is rated; not shorter than ``min_words`` asks.
        labels: label → expected value.
        tolerance: how far a number may be off.
    """

    text: str = Field(min_length=1)
    labels: dict[str, float | int | bool | str] = Field(min_length=1)
    tolerance: float = Field(1e-3, ge=0)


class Card(_Part):
    """What a rater declares.

    Attributes:
        name: what columns start with and configs say.
        title: one sentence: what it rates.
        revision: version of the model; a changed meaning is a new name, not a new revision.
        backend: what computes it: a name in ``classifiers.contract.BACKENDS``.
        options: what the backend needs to know.
        model_id: name of the model on its hub, ``owner/name``; empty if it has none.
        model: file or folder of the model, relative to the card; empty: the only one of ``files``, or what the config
            names.
        files: path → sha256 of the content; relative to the folder that ``model`` names, or else to the card. Of a
            single file the name does not matter where the config says where it is.
        pinned: ``files`` gives the digest of all that is loaded. False for published models whose digest we could not
            take ourselves: the config names the model, and its sha256 or ``allow_unpinned: true``.
        remote_code: loading it runs code that comes with the model; refused unless the config allows ``model_id``.
        heads: what the model's outputs are, in the model's own order; empty: the labels, in order.
        tokens: most tokens in one input of the model, special ones counted; 0: it does not read tokens.
        dtype: in what it is computed.
        canaries: texts whose labels are known, rated whenever the model is opened.
        labels: columns, in order.
        window: which parts of a text are read.
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
    model_id: str = Field("", pattern=r"^([\w.-]+/[\w.-]+)?$")
    model: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    pinned: bool = True
    remote_code: bool = False
    heads: tuple[str, ...] = ()
    tokens: int = Field(0, ge=0)
    dtype: Literal["float32", "bfloat16", "float16", "int8"] = "float32"
    canaries: tuple[Canary, ...] = ()
    labels: tuple[Label, ...] = Field(min_length=1)
    window: Window = Window()
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
    _choice: RaterChoice = PrivateAttr(default=RaterChoice(card=""))
    _base: Path = PrivateAttr(default=CARDS)

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
        if self.remote_code and not self.model_id:
            raise ValueError("remote_code needs model_id: configs allow such models by that name")
        for canary in self.canaries:
            for name in canary.labels:
                if name not in names:
                    raise ValueError(f"canaries: there is no label {name}")
        return self

    @property
    def folder(self) -> Path:
        """Folder of the card's file, against which its paths are resolved."""
        return self._folder

    @property
    def choice(self) -> RaterChoice:
        """What the config said of this rater."""
        return self._choice

    @property
    def self_contained(self) -> bool:
        """Whether it works with nothing but this project: all that it loads is here."""
        return self.pinned and not self.remote_code and all(self.path_of(name).is_file() for name in self.files)

    @property
    def named_model(self) -> Path | None:
        """File or folder of the model if config or card name one."""
        if self._choice.model:
            return (self._base / self._choice.model).resolve()
        return (self._folder / self.model).resolve() if self.model else None

    @property
    def model_path(self) -> Path:
        """File or folder of the model; ConfigError if neither config nor card say where it is."""
        named = self.named_model
        if named is not None:
            return named
        if len(self.files) == 1:
            return self.path_of(next(iter(self.files)))
        raise ConfigError(
            f"labels: the card {self.name!r} needs its model, which is not part of this project: get it from "
            f"{self.model_id or self.source}, and write {{card: {self.name}, model: PATH}} in the place of {self.name}"
        )

    def path_of(self, file: str) -> Path:
        """Where a file of the card is."""
        named = self.named_model
        if named is not None and named.is_dir():
            return (named / file).resolve()
        return named if named is not None and len(self.files) == 1 else (self._folder / file).resolve()

    def label(self, name: str) -> Label:
        """The label of that name; KeyError if there is none."""
        for label in self.labels:
            if label.name == name:
                return label
        raise KeyError(name)


def card_names() -> list[str]:
    """Names of the cards that come with the project."""
    return sorted(path.stem for path in CARDS.glob("*.yaml"))


def load_card(card: str | RaterChoice, base: Path) -> Card:
    """The card of that name, or at that path (``*.yaml``, relative to ``base``), as the config wants it.

    Raises:
        ConfigError: no such card, or not a valid one.
    """
    choice = RaterChoice(card=card) if isinstance(card, str) else card
    found = read_card(_path_of(choice.card, base), choice.options)
    found._choice, found._base = choice, base
    return found


def _path_of(card: str, base: Path) -> Path:
    if card.endswith((".yaml", ".yml")) or "/" in card:
        path = base / card
        if not path.is_file():
            raise ConfigError(f"labels: there is no card file {path}; give an existing path or one of {card_names()}")
        return path
    path = CARDS / f"{card}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(card, card_names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(card_names())}"
        raise ConfigError(f"labels: there is no card {card!r}; {hint} A card of your own is named by its path.")
    return path


def read_card(path: Path, options: Mapping[str, Any] | None = None) -> Card:
    """The card in this file, with ``options`` over its own; ConfigError names the file and every fault in it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(StringIO(path.read_text("utf-8")))
    except (YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where is not None else ""
        raise ConfigError(f"{path}{line}: the card is not valid YAML; correct it") from None
    if options and isinstance(content, dict):
        content["options"] = {**(content.get("options") or {}), **options}
    try:
        found = Card.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: not a valid card: {faults}") from None
    found._folder = path.resolve().parent
    return found
