"""What a rater is: a card that declares it, a backend that computes it, and the stage made of both.

A rater only adds labels: typed columns ``<card>_<label>`` and ``<card>_status``. It never drops a document. A document
without a number has null in every label and a status that says why; a score is never replaced by a default.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.cards import Card, Label, load_card
from curate.documents import Batch, column
from curate.errors import ModelError
from curate.stages.base import Context, Stage, StageConfig

__all__ = ["BACKENDS", "STATUSES", "Backend", "Rater", "RaterConfig", "Texts", "rater_stage"]

#: status → what it says of a document
STATUSES: Mapping[str, str] = {
    "ok": "rated",
    "not_asked": "left before it was the rater's turn, e.g. as a duplicate",
    "language": "its language is none that the rater is valid for",
    "too_short": "fewer words than the rater needs",
    "model_error": "the model gave no finite number",
}

#: backend name → "module:Class"
BACKENDS = {"hashed_linear": "classifiers.backends.hashed_linear:HashedLinear"}


@dataclass(frozen=True)
class Texts:
    """Texts of a batch, as the backends read them: computed once, shared by all raters of a pass.

    Attributes:
        data, offsets: UTF-8 bytes and where each text starts.
        shared: what a backend computed for these texts and another may use, by a key that names it fully.
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    shared: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1


class Backend(ABC):
    """Turns texts into the values of a card's labels.

    Attributes:
        version: raise it whenever the same card and files may give other values; part of the fingerprint.
    """

    version: ClassVar[int] = 1

    @abstractmethod
    def __init__(self, card: Card) -> None:
        """Reads and checks the card's options; loads nothing."""

    @abstractmethod
    def open(self, context: Context) -> None:
        """Loads the card's files, whose digests were checked; called once in the worker."""

    @abstractmethod
    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        """One array per label of the card, in any order; null or NaN where the model has no answer.

        The value for a text must not depend on the other texts of the batch.
        """

    @abstractmethod
    def words(self, texts: Texts) -> npt.NDArray[np.int64]:
        """Words of each text as the backend counts them, at least up to the card's ``min_words``."""

    def close(self) -> None:  # noqa: B027 -- most backends hold nothing that must be given back
        """Releases what ``open`` took."""


class RaterConfig(StageConfig):
    """What enters the fingerprint of a rater: its card's whole content and the versions of the code that reads it."""

    card: dict[str, Any]
    backend_version: int


class Rater(Stage):
    """Adds the labels of a card; drops nothing and changes no text."""

    name = "rater"
    requires = ("text",)

    def __init__(self, card: Card) -> None:
        backend = _backend_class(card)
        super().__init__(RaterConfig(card=card.model_dump(mode="json"), backend_version=backend.version))
        self.card = card
        self.name = card.name  # type: ignore[misc]
        self.follows = card.follows  # type: ignore[misc]
        self._backend = backend(card)

    def adds(self) -> pa.Schema:
        """The labels in the card's order, then the status."""
        return pa.schema([*(_field(self.card, label) for label in self.card.labels), self.status_field()])

    def status_field(self) -> pa.Field:
        """The column that says why a label is null."""
        meaning = "; ".join(f"{code}: {text}" for code, text in STATUSES.items())
        name = f"{self.card.name}_status"
        return column(name, pa.string(), f"what the rater did: {meaning}", range_="|".join(STATUSES))

    def assets(self, base: Path) -> Mapping[str, Path]:
        """The card's files."""
        return {name: self.card.path_of(name) for name in self.card.files}

    def open(self, context: Context) -> None:
        """Checks the digests of the card's files, then loads them.

        Raises:
            ModelError: a file is missing, has another digest than the card says, or is refused by its content.
        """
        for name, wanted in self.card.files.items():
            check_file(self.card.path_of(name), wanted)
        self._backend.open(context)

    def close(self) -> None:
        """Releases the model."""
        self._backend.close()

    def process(self, batch: Batch) -> Batch:
        """The batch with the card's labels; the same for each document whatever its neighbours."""
        from curate.kernels.strings import string_buffers

        n = len(batch)
        status = np.full(n, "ok", dtype=object)
        asked = self._asked(batch, status)
        texts = Texts(*string_buffers(batch.column("text").take(pa.array(asked))))
        short = self._backend.words(texts) < self.card.min_words
        if short.any():
            status[asked[short]] = "too_short"
            asked = asked[~short]
            texts = Texts(*string_buffers(batch.column("text").take(pa.array(asked))))
        values = self._backend.rate(texts)
        broken = np.zeros(len(texts), np.bool_)
        for label in self.card.labels:
            broken |= _missing(values[label.name])
        status[asked[broken]] = "model_error"
        place = np.full(n, -1, np.int64)
        place[asked[~broken]] = np.flatnonzero(~broken)
        index = pa.array(place, mask=place < 0)
        columns: dict[pa.Field | str, pa.Array] = {
            _field(self.card, label): _typed(values[label.name], label).take(index) for label in self.card.labels
        }
        columns[self.status_field()] = pa.array(status.tolist(), pa.string())
        return batch.with_columns(columns)

    def _asked(self, batch: Batch, status: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Rows that the model is asked about; the others get their status."""
        ask = np.ones(len(batch), np.bool_)
        if "language_code" in batch.schema.names and self.card.languages:
            known = pc.is_in(batch.column("language_code"), value_set=pa.array(self.card.languages, pa.string()))
            ask = known.to_numpy(zero_copy_only=False)
            status[~ask] = "language"
        return np.flatnonzero(ask)


def rater_stage(card: str, base: Path | None = None) -> Rater:
    """The rater that a config names.

    Args:
        card: name of a card in ``classifiers/cards``, or path of a card file (relative to ``base``).

    Raises:
        ConfigError: there is no such card, or it is not valid; the message names the card, the place and what to do.
    """
    return Rater(load_card(card, base if base is not None else Path.cwd()))


def check_file(path: Path, wanted: str) -> None:
    """Raise ModelError unless the file at ``path`` is there and has this sha256."""
    if not path.is_file():
        raise ModelError(f"{path}: the card names this file and it is not there; fetch it or correct the card")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise ModelError(
            f"{path}: model refused: expected sha256 {wanted}, found {found}; fetch the file again, or write the "
            "digest found into the card if the model was changed on purpose"
        )


def _backend_class(card: Card) -> type[Backend]:
    module, cls = BACKENDS[card.backend].split(":")
    found: Any = getattr(import_module(module), cls)
    return found  # type: ignore[no-any-return]


def _field(card: Card, label: Label) -> pa.Field:
    range_ = "|".join(label.values) if label.values else f"{label.range[0]:g}–{label.range[1]:g}" if label.range else ""
    meaning = f"{label.meaning}; null unless {card.name}_status is ok"
    return column(f"{card.name}_{label.name}", label.arrow_type(), meaning, unit=label.unit, range_=range_)


def _typed(values: pa.Array, label: Label) -> pa.Array:
    return values if values.type == label.arrow_type() else pc.cast(values, label.arrow_type())


def _missing(values: pa.Array) -> npt.NDArray[np.bool_]:
    """True where there is no answer: null, NaN or infinite."""
    missing = pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(values.type):
        missing = missing | ~np.isfinite(values.to_numpy(zero_copy_only=False))
    return np.asarray(missing, np.bool_)
