"""fastText classifiers (.bin and .ftz): DCLM's, PreSelect's, Ultra-FineWeb's, Dolma's, or one's own.

The file is walked to its last byte before fastText sees it (``curate.models``), and fastText runs in a guarded child,
so that a fault of the native library costs the model or one document, never the worker. Memory: one copy of the model
per worker. What fastText itself does stays: a word ``</s>`` in a text ends what is read of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from classifiers.backends.fasttext_text import ENDING, Step
from classifiers.cards import Card
from classifiers.contract import Backend, Texts
from classifiers.windows import Pieces, cut, excerpts, pool
from curate.errors import ConfigError, ModelError, TaskError
from curate.guard import Guard
from curate.stages.base import Context

_CHILD = "classifiers.backends.fasttext_child:Predictor"


class Column(BaseModel):
    """What one label of the card holds.

    Attributes:
        label: probability of this label of the model.
        other: the second label of a model of two; where it is on top the value is one minus its probability.
        mean: value of each label; the column is their mean weighted by probability.
        rank: 1 for the best label, 2 for the next.
        give: of the ranked label its name, or its probability.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str | None = None
    other: str | None = None
    mean: dict[str, float] | None = None
    rank: int | None = Field(default=None, ge=1)
    give: Literal["label", "probability"] = "probability"

    @model_validator(mode="after")
    def _one_way(self) -> Column:
        if sum(x is not None for x in (self.label, self.mean, self.rank)) != 1:
            raise ValueError("a column needs one of label, mean and rank")
        if self.other is not None and self.label is None:
            raise ValueError("other belongs to label")
        if self.give == "label" and self.rank is None:
            raise ValueError("give: label belongs to rank")
        return self


class Options(BaseModel):
    """What the card says of the model.

    Attributes:
        file: which file of a folder is the model; empty where the model is a file.
        tokenizer: a ``tokenizer.json`` beside it, for ``tokens_space``.
        prepare: what is done to a text, in order; see ``classifiers.backends.fasttext_text``.
        prefix: what labels start with in the file.
        classes: all labels of the model, without the prefix.
        columns: label of the card → what it holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = ""
    tokenizer: str | None = None
    prepare: tuple[Step, ...]
    prefix: str = "__label__"
    classes: tuple[str, ...] = Field(min_length=1)
    columns: dict[str, Column] = Field(min_length=1)

    @model_validator(mode="after")
    def _readable(self) -> Options:
        if not ENDING.intersection(self.prepare):
            known = ", ".join(sorted(ENDING))
            raise ValueError(f"prepare leaves newlines in the text, and fastText stops at the first one: add {known}")
        if ("tokens_space" in self.prepare) != (self.tokenizer is not None):
            raise ValueError("tokens_space needs a tokenizer, and nothing else does")
        return self


class FastTextModel(Backend):
    """All labels of a card from one prediction per text."""

    version: ClassVar[int] = 1

    def __init__(self, card: Card) -> None:
        self._card = card
        self.options = Options.model_validate(card.options)
        self._guard: Guard | None = None
        _check_columns(card, self.options)

    def open(self, context: Context) -> None:
        """Checks the files, and starts the child that loads them.

        Raises:
            ModelError: no fastText file, not a whole one, another digest, other labels than the card's; or the native
                library crashed on it, or did not come to an end.
        """
        from curate.models import check_model

        path = self._model()
        check_model(path, kind="fasttext", digest=self._digest(path))
        tokenizer = self._beside(self.options.tokenizer) if self.options.tokenizer is not None else None
        if tokenizer is not None:
            check_model(tokenizer, kind="json")
        options = {
            **self.options.model_dump(mode="json", include={"prefix", "classes", "prepare", "columns"}),
            "path": str(path),
            "tokenizer": str(tokenizer) if tokenizer is not None else None,
        }
        self._guard = Guard(_CHILD, options, cpu_seconds=context.cpu_seconds, memory_mb=context.memory_mb)
        try:
            self._guard.schema()
        except ConfigError as error:
            raise ModelError(str(error).partition("ModelError: ")[2] or str(error)) from None
        except TaskError as error:
            raise ModelError(f"{path}: model refused: fastText broke down while it loaded the file ({error})") from None

    def close(self) -> None:
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        if self._card.window.policy in ("chunk_mean", "chunk_max"):
            parts, pieces = cut(texts.strings(), self._card.window, texts.ids)
            return self._pooled(parts, self._asked(pa.array(pieces, pa.string())), len(texts))
        return self._asked(excerpts(texts, self._card.window))

    def _asked(self, column: pa.Array) -> dict[str, pa.Array]:
        """The values of each text; null where the library failed on it."""
        if self._guard is None:
            raise ModelError(f"card {self._card.name}: the model is not open")
        found, _ = self._guard.map(pa.record_batch({"text": column}))
        return {name: found.column(name) for name in self.options.columns}

    def _pooled(self, parts: Pieces, values: Mapping[str, pa.Array], documents: int) -> dict[str, pa.Array]:
        matrix: npt.NDArray[Any] = np.stack([v.to_numpy(zero_copy_only=False) for v in values.values()], axis=1)
        whole = pool(matrix, parts, documents, self._card.window)
        there = np.bincount(parts.document, minlength=documents) > 0
        status = pa.array([None if found else "too_short" for found in there.tolist()], pa.string())
        return {**{name: pa.array(whole[:, i], from_pandas=True) for i, name in enumerate(values)}, "status": status}

    def _model(self) -> Path:
        return self._beside(self.options.file) if self.options.file else self._card.model_path

    def _beside(self, name: str) -> Path:
        """A file of the model: of the folder that config or card name, or of the card's own files.

        A config may name the model file itself where the card names a file of a folder.
        """
        named = self._card.named_model
        if named is not None:
            return (named / name).resolve() if named.is_dir() else named
        return self._card.path_of(name)

    def _digest(self, path: Path) -> str | None:
        """The digest that card or config give the file."""
        for name, digest in self._card.files.items():
            if self._card.path_of(name) == path:
                return f"sha256:{digest}"
        given = self._card.choice.sha256
        return f"sha256:{given}" if given is not None and path == self._card.model_path else None


def _check_columns(card: Card, options: Options) -> None:
    """Raise ConfigError unless the columns are the card's labels and speak of the model's labels."""
    classes, named = set(options.classes), {label.name for label in card.labels}
    if set(options.columns) != named:
        raise _wrong(card, f"columns are {sorted(options.columns)}, the labels of the card are {sorted(named)}")
    if card.window.unit == "tokens":
        raise _wrong(card, "fastText counts no tokens: give the window in characters, words or bytes")
    for name, column in options.columns.items():
        spoken = {x for x in (column.label, column.other) if x is not None} | set(column.mean or ())
        if spoken - classes:
            raise _wrong(card, f"{name} speaks of {sorted(spoken - classes)}, the classes are {sorted(classes)}")
        if column.other is not None and len(classes) != 2:
            raise _wrong(card, f"{name}: `other` is right only for models of two labels, this one has {len(classes)}")
        if column.mean is not None and set(column.mean) != classes:
            raise _wrong(card, f"{name}: mean needs a value for each of {sorted(classes)}")
        label = card.label(name)
        if (label.type == "name") != (column.give == "label") or (label.values and set(label.values) != classes):
            raise _wrong(card, f"{name}: a name comes from `give: label`, and its values are the classes")
        if label.type == "name" and card.window.policy.startswith("chunk"):
            raise _wrong(card, f"{name}: names of chunks cannot be joined; take another window")


def _wrong(card: Card, why: str) -> ConfigError:
    return ConfigError(f"card {card.name}: options: {why}")
