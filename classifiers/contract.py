"""What a rater is: a card that declares it, a backend that computes it, and the stage made of both.

A rater only adds labels: typed columns ``<card>_<label>`` and ``<card>_status``. It never drops a document. A document
without a number has null in every label and a status that says why; a score is never replaced by a default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from classifiers.cards import Card, Label, load_card
from classifiers.choice import RaterChoice
from classifiers.model_files import check_file, check_files, check_permitted, model_assets
from classifiers.texts import SharedTexts, Texts
from curate.documents import Batch, column
from curate.errors import ConfigError, ModelError
from curate.stages.base import Context, Stage, StageConfig

__all__ = [
    "BACKENDS",
    "STATUSES",
    "Backend",
    "Rater",
    "RaterChoice",
    "RaterConfig",
    "SharedTexts",
    "Texts",
    "card_columns",
    "check_file",
    "rater_stage",
]

#: status → what it says of a document
STATUSES: Mapping[str, str] = {
    "ok": "rated",
    "not_asked": "left before it was the rater's turn, e.g. as a duplicate",
    "language": "its language is none that the rater is valid for",
    "too_short": "fewer words than the rater needs",
    "unparseable": "the model answered, and not in the form that it was asked for",
    "refused": "the model declined to judge it, which says nothing of its quality",
    "model_error": "the model gave no finite number",
}

#: backend name → "module:Class"
BACKENDS = {
    "encoder": "classifiers.backends.encoder:Encoder",
    "fasttext": "classifiers.backends.fasttext_model:FastTextModel",
    "generative": "classifiers.backends.generative:Generative",
    "hashed_linear": "classifiers.backends.hashed_linear:HashedLinear",
    "student": "classifiers.backends.student:Student",
    "lexical": "classifiers.backends.lexical:Lexical",
}


class Backend(ABC):
    """Turns texts into the values of a card's labels.

    Attributes:
        version: raise it whenever the same card and files may give other values; part of the fingerprint.
        compiles: it runs kernels that are compiled when first used; they are then compiled once before a run.
        holds_model: it loads model files, whose digests somebody must give; False for rules and for served models.
        indifferent: options of its cards that decide no value, e.g. how fast a server is asked; they redo nothing.
    """

    version: ClassVar[int] = 1
    compiles: ClassVar[bool] = False
    holds_model: ClassVar[bool] = True
    indifferent: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __init__(self, card: Card) -> None:
        """Reads and checks the card's options; loads nothing."""

    @abstractmethod
    def open(self, context: Context) -> None:
        """Loads the card's files, whose digests were checked; called once in the worker."""

    @abstractmethod
    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        """One array per label of the card, in any order; null or NaN where the model has no answer.

        The key ``status`` may hold a string array: null, or the status of a text that has no answer (one of
        ``STATUSES``). Without it such a text gets ``model_error``. The value for a text must not depend on the other
        texts of the batch.
        """

    def words(self, texts: Texts) -> npt.NDArray[np.int64]:
        """Words of each text as the backend counts them, at least up to the card's ``min_words``."""
        from curate.kernels.hashed_features import count_words

        return count_words(texts.data, texts.offsets, np.iinfo(np.int64).max)

    def assets(self) -> Mapping[str, Path]:
        """Files beside those of the card that decide its values: name → path."""
        return {}

    def counts(self) -> Mapping[str, Any]:
        """What the receipt of the task is to tell beside the labels, e.g. what was paid; JSON-able."""
        return {}

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

    def __init__(self, card: Card, shared: SharedTexts | None = None) -> None:
        backend = backend_class(card)
        check_permitted(card, holds_model=backend.holds_model)
        super().__init__(RaterConfig(card=_content(card, backend.indifferent), backend_version=backend.version))
        self.card = card
        self.name = card.name  # type: ignore[misc]
        self.follows = card.follows  # type: ignore[misc]
        self._backend = _made(backend, card)
        self._texts = shared if shared is not None else SharedTexts()

    @property
    def compiles(self) -> bool:
        """Whether its backend runs kernels that are worth compiling before a run."""
        return self._backend.compiles

    def adds(self) -> pa.Schema:
        """The labels in the card's order, then the status."""
        return card_columns(self.card)

    def status_field(self) -> pa.Field:
        """The column that says why a label is null."""
        return _status_field(self.card)

    def assets(self, base: Path) -> Mapping[str, Path]:
        """The card's files, the model that the config names, and what else its backend reads."""
        return {**model_assets(self.card), **self._backend.assets()}

    def open(self, context: Context) -> None:
        """Checks the digests of the card's files, then loads them, then rates the card's canaries.

        Raises:
            ModelError: a file is missing, has another digest than the card says, or is refused by its content; or the
                model gives a canary other labels than the card.
        """
        check_files(self.card)
        self._backend.open(context)
        if self.card.canaries:
            check_canaries(self.card, self._backend)

    def close(self) -> None:
        """Releases the model."""
        self._texts.clear()
        self._backend.close()

    def counts(self) -> Mapping[str, Any]:
        """What its backend wants the receipt to tell."""
        return self._backend.counts()

    def process(self, batch: Batch) -> Batch:
        """The batch with the card's labels; the same for each document whatever its neighbours."""
        status = np.full(len(batch), "ok", dtype=object)
        whole = self._texts.of(batch)
        asked = self._asked(batch, status)
        if self.card.min_words:
            short = self._backend.words(whole.subset(asked)) < self.card.min_words
            status[asked[short]] = "too_short"
            asked = asked[~short]
        values = self._answers(whole.subset(asked))
        given = values.get("status")
        told = _statuses(given, self.card) if given is not None else np.full(len(asked), None, object)
        silent = np.array([code is not None for code in told], np.bool_)
        status[asked[silent]] = told[silent]
        broken = _broken(self.card, values) & ~silent
        status[asked[broken]] = "model_error"
        place = np.full(len(batch), -1, np.int64)
        answered = ~(broken | silent)
        place[asked[answered]] = np.flatnonzero(answered)
        index = pa.array(place, mask=place < 0)
        columns: dict[pa.Field | str, pa.Array] = {
            _field(self.card, label): _finite(_typed(values[label.name], label)).take(index)
            for label in self.card.labels
        }
        columns[self.status_field()] = pa.array(status.tolist(), pa.string())
        return batch.with_columns(columns)

    def _answers(self, texts: Texts) -> Mapping[str, pa.Array]:
        """What the backend says, one array per label and of the right length."""
        values = self._backend.rate(texts)
        for label in self.card.labels:
            found = len(values[label.name]) if label.name in values else None
            if found != len(texts):
                raise ModelError(
                    f"card {self.card.name}: the backend {self.card.backend} gave {found} values of {label.name} for "
                    f"{len(texts)} texts; the label set of the model does not match the card"
                )
        return values

    def _asked(self, batch: Batch, status: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Rows that the model is asked about; the others get their status."""
        ask = np.ones(len(batch), np.bool_)
        if "language_code" in batch.schema.names and self.card.languages:
            known = pc.is_in(batch.column("language_code"), value_set=pa.array(self.card.languages, pa.string()))
            ask = known.to_numpy(zero_copy_only=False)
            status[~ask] = "language"
        return np.flatnonzero(ask)


def rater_stage(card: str | RaterChoice, base: Path | None = None, shared: SharedTexts | None = None) -> Rater:
    """The rater that a config names.

    Args:
        card: name of a card in ``classifiers/cards``, or path of a card file (relative to ``base``); with where its
            model is and what it may do.
        shared: texts that it shares with the other raters of its pass.

    Raises:
        ConfigError: there is no such card, it is not valid, or it needs a model or a permission that the config does
            not give; the message names the card, the place and what to do.
    """
    return Rater(load_card(card, base if base is not None else Path.cwd()), shared)


def card_columns(card: Card) -> pa.Schema:
    """The columns that a rater of this card adds: its labels in order, then the status."""
    return pa.schema([*(_field(card, label) for label in card.labels), _status_field(card)])


def _status_field(card: Card) -> pa.Field:
    meaning = "; ".join(f"{code}: {text}" for code, text in STATUSES.items())
    return column(f"{card.name}_status", pa.string(), f"what the rater did: {meaning}", range_="|".join(STATUSES))


def check_canaries(card: Card, backend: Backend) -> None:
    """Raise ModelError unless the model gives the card's canaries the labels that the card expects."""
    texts = Texts.of([c.text for c in card.canaries], [f"canary {i}" for i in range(len(card.canaries))])
    values = backend.rate(texts)
    for i, canary in enumerate(card.canaries):
        for name, wanted in canary.labels.items():
            found = values[name][i].as_py()
            same = found == wanted
            if isinstance(wanted, int | float) and isinstance(found, int | float):
                same = abs(found - wanted) <= canary.tolerance
            if not same:
                raise ModelError(
                    f"card {card.name}: model refused: canary {i} should have {name} {wanted!r} (tolerance "
                    f"{canary.tolerance:g}), the model says {found!r}; it is another model, or reads texts otherwise"
                )


def _made(backend: type[Backend], card: Card) -> Backend:
    try:
        return backend(card)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'options'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"labels: the card {card.name!r}: options: {faults}") from None


def _content(card: Card, indifferent: tuple[str, ...]) -> dict[str, Any]:
    """What of a card decides its output; what is left at its default is left out, so that new keys redo nothing."""
    content = card.model_dump(mode="json", exclude_defaults=True)
    if "options" in content:
        content["options"] = {k: v for k, v in content["options"].items() if k not in indifferent}
    return content


def backend_class(card: Card) -> type[Backend]:
    """What computes the card's labels; nothing heavy is imported."""
    module, cls = BACKENDS[card.backend].split(":")
    found: Any = getattr(import_module(module), cls)
    return found  # type: ignore[no-any-return]


def _field(card: Card, label: Label) -> pa.Field:
    range_ = "|".join(label.values) if label.values else f"{label.range[0]:g}–{label.range[1]:g}" if label.range else ""
    meaning = f"{label.meaning}; null unless {card.name}_status is ok"
    return column(f"{card.name}_{label.name}", label.arrow_type(), meaning, unit=label.unit, range_=range_)


def _typed(values: pa.Array, label: Label) -> pa.Array:
    return values if values.type == label.arrow_type() else pc.cast(values, label.arrow_type())


def _broken(card: Card, values: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_]:
    """True where a label that must be there is null, NaN, infinite, or a name that the card does not have."""
    broken = np.zeros(len(values[card.labels[0].name]), np.bool_)
    for label in card.labels:
        found = values[label.name]
        if not label.optional:
            broken |= _missing(found)
        if label.type == "name":
            known = pc.is_in(found, value_set=pa.array([*label.values, None], pa.string()))
            broken |= ~known.to_numpy(zero_copy_only=False)
    return broken


def _missing(values: pa.Array) -> npt.NDArray[np.bool_]:
    """True where there is no answer: null, NaN or infinite."""
    missing = pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(values.type):
        missing = missing | ~np.isfinite(values.to_numpy(zero_copy_only=False))
    return np.asarray(missing, np.bool_)


def _finite(values: pa.Array) -> pa.Array:
    """The values with null for NaN and infinity."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pa.array(~_missing(values)), values, pa.scalar(None, values.type))


def _statuses(given: pa.Array, card: Card) -> npt.NDArray[np.object_]:
    """What a backend says of its texts: a status, or None."""
    told = np.array([*given.to_pylist(), None], object)[:-1]
    unknown = {code for code in told if code is not None} - (STATUSES.keys() - {"ok"})
    told[told == "ok"] = None
    if unknown - {"ok"}:
        raise ModelError(f"card {card.name}: the backend gave the status {sorted(unknown)[0]!r}, which is none")
    return told
