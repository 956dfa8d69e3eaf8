"""What a card of an encoder rater may say, and whether it agrees with itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from classifiers.cards import Card, Label
from curate.errors import ConfigError

__all__ = ["BaseModelConfig", "Column", "Cut", "Ends", "Options", "check_columns", "head_names"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cut(_Part):
    """Two names for the sides of a value: ``names[1]`` for at least ``at``, ``names[0]`` below."""

    at: float
    names: tuple[str, str]


class Column(_Part):
    """What one label of the card holds.

    Attributes:
        head: the value of this output.
        expected: value of each output; the column is their mean weighted by probability.
        argmax: the output with the largest value: its name, or (in a column of integers) the number it reads.
        top: the value of that output.
        pool: of documents read in several chunks: mean by units, or the largest; null: as the card's window says.
        clip: values outside are set to the nearest end.
        round: to the nearest integer, halves to the even one, after ``clip``.
        cut: a name for each side of the value.
    """

    head: str | None = None
    expected: dict[str, float] | None = None
    argmax: bool = False
    top: bool = False
    pool: Literal["mean", "max"] | None = None
    clip: tuple[float, float] | None = None
    round: bool = False
    cut: Cut | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Column:
        if sum((self.head is not None, self.expected is not None, self.argmax, self.top)) != 1:
            raise ValueError("a column needs one of head, expected, argmax and top")
        if self.argmax and (self.clip or self.round or self.cut):
            raise ValueError("clip, round and cut belong to numbers, argmax is a name")
        return self


class Ends(_Part):
    """Windows of FinePDFs-Edu: the first tokens, and of long texts also the last ones, cut at whitespace.

    Attributes:
        characters: of a text of at most twice as many, only these are looked at; of a longer one these from each end.
        tokens: most tokens of each piece, special ones not counted.
    """

    characters: int = Field(ge=1)
    tokens: int = Field(ge=1)


class BaseModelConfig(_Part):
    """The encoder under a head whose ``config.json`` only names it.

    Attributes:
        name: as ``base_model`` of the model's config must say.
        config: its public configuration; what the model's own config gives stands above it.
    """

    name: str
    config: dict[str, str | int | float | bool | list[str] | None]


class Options(_Part):
    """How the model is read.

    Attributes:
        layout: sequence: what ``AutoModelForSequenceClassification`` saves; first_token_linear: an encoder ``model``
            and a linear layer ``fc`` over its first token; embedding_mlp: an embedding model and, in ``heads``, one
            small perceptron per output over its normalised first token.
        base: of first_token_linear: the encoder.
        heads: of embedding_mlp: output → safetensors file in the model's folder.
        activation: of the outputs, before anything else: none, softmax over all, or sigmoid of each.
        columns: label → what it holds; a label that is missing holds the output of its name.
        special: whether the tokeniser's special tokens stand around the text.
        characters: characters of a text that are looked at; 0: all.
        ends: instead of the card's window.
        between: what joins the parts of a window of several parts.
        batch_tokens: most tokens, padding counted, of one pass through the model; 0: 4,096 on a CPU, 65,536 on a GPU.
        threads: of a CPU worker.
        device: null: a GPU if there is one.
    """

    layout: Literal["sequence", "first_token_linear", "embedding_mlp"] = "sequence"
    base: BaseModelConfig | None = None
    heads: dict[str, str] = Field(default_factory=dict)
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    columns: dict[str, Column] = Field(default_factory=dict)
    special: bool = True
    characters: int = Field(0, ge=0)
    ends: Ends | None = None
    between: str = ""
    batch_tokens: int = Field(0, ge=0)
    threads: int = Field(1, ge=1)
    device: str | None = Field(default=None, pattern=r"^(cpu|cuda(:\d+)?)$")

    @model_validator(mode="after")
    def _layouts(self) -> Options:
        if (self.layout == "first_token_linear") != (self.base is not None):
            raise ValueError("base belongs to the layout first_token_linear, which needs it")
        if (self.layout == "embedding_mlp") != bool(self.heads):
            raise ValueError("heads belong to the layout embedding_mlp, which needs them")
        return self


def head_names(card: Card) -> tuple[str, ...]:
    """Names of the model's outputs: the card's heads, or its labels."""
    return card.heads or tuple(label.name for label in card.labels)


def check_columns(card: Card, options: Options) -> dict[str, Column]:
    """Label → what it holds, in the card's order; ConfigError where the card contradicts itself."""
    heads = head_names(card)
    unknown = options.columns.keys() - {label.name for label in card.labels}
    if unknown:
        raise _wrong(card, f"columns speaks of {sorted(unknown)}, which are no labels")
    if options.layout == "embedding_mlp" and tuple(options.heads) != heads:
        raise _wrong(card, f"heads are {list(options.heads)}, the outputs of the card are {list(heads)}")
    if card.window.unit != "tokens" and (card.window.policy != "whole" or card.window.limit):
        raise _wrong(card, "the window of an encoder counts tokens")
    if card.window.policy == "whole" and options.ends is None:
        raise _wrong(card, "an encoder reads so many tokens at once: give a window")
    found = {label.name: options.columns.get(label.name, Column(head=label.name)) for label in card.labels}
    for label in card.labels:
        _check_column(card, label, found[label.name], heads, options)
    return found


def _check_column(card: Card, label: Label, column: Column, heads: tuple[str, ...], options: Options) -> None:
    where = f"column {label.name}"
    if column.head is not None and column.head not in heads:
        raise _wrong(card, f"{where}: there is no output {column.head!r}; there are {list(heads)}")
    if column.expected is not None and (set(column.expected) != set(heads) or options.activation != "softmax"):
        raise _wrong(card, f"{where}: expected needs a value for each of {list(heads)} and activation: softmax")
    if column.argmax and label.type == "name" and set(label.values) != set(heads):
        raise _wrong(card, f"{where}: the values of the label must be the outputs {list(heads)}")
    if column.argmax and label.type == "int" and not all(head.lstrip("-").isdigit() for head in heads):
        raise _wrong(card, f"{where}: the outputs {list(heads)} are no integers")
    if column.cut is not None and set(label.values) != set(column.cut.names):
        raise _wrong(card, f"{where}: the values of the label must be {list(column.cut.names)}")
    if (label.type == "name") != (column.cut is not None or (column.argmax and label.type != "int")):
        raise _wrong(card, f"{where}: a name comes from argmax or cut, a number from neither")
    if label.type == "int" and not (column.round or column.argmax):
        raise _wrong(card, f"{where}: an integer comes from round or argmax")
    if label.type == "bool":
        raise _wrong(card, f"{where}: encoders give numbers and names")


def _wrong(card: Card, why: str) -> ConfigError:
    return ConfigError(f"card {card.name}: options: {why}")
