"""Ridge heads over hashed n-grams and text statistics, in one compiled pass; no torch, no framework.

A document's words, word pairs and character runs are hashed; one int8 table row per bucket is added up (64 numbers
instead of one per head: the heads are correlated, and a row is one cache line). Statistics pass through random Fourier
features (Rahimi & Recht 2007), which stand for an RBF kernel on them. The ridge scores of all heads then pass one
mixing layer, so that e.g. professionalism sees the format, and are calibrated.

The file holds arrays only (safetensors). Values are rounded to 3 decimals, which hides differences of floating point
between processors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from classifiers.cards import Card, Label
from classifiers.contract import Backend, Texts
from curate.errors import ModelError
from curate.stages.base import Context

Floats = npt.NDArray[np.float32]

#: statistics further from the mean than this many deviations count as this far
LIMIT = 4.0
#: suffix of the label that holds the confidence of a name
CONFIDENCE = "_score"


class Options(BaseModel):
    """What the card must say beside its window.

    Attributes:
        weights: which of the card's files holds the arrays.
        word_bits, run_bits: 2 to this power buckets for words and pairs, and for runs of characters.
        run_shortest, run_longest: bytes of a run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str
    word_bits: int = Field(ge=8, le=24)
    run_bits: int = Field(0, ge=0, le=24)
    run_shortest: int = Field(4, ge=2, le=7)
    run_longest: int = Field(4, ge=2, le=7)


class HashedLinear(Backend):
    """All labels of a card from one pass over the texts."""

    version: ClassVar[int] = 1
    compiles: ClassVar[bool] = True

    def __init__(self, card: Card) -> None:
        self._card = card
        self.options = Options.model_validate(card.options)
        self._model: dict[str, npt.NDArray[Any]] = {}
        self._features: Any = None

    def open(self, context: Context) -> None:
        """Loads the arrays and checks their shapes against the card."""
        from safetensors.numpy import load_file

        from curate.kernels.hashed_features import STATISTICS
        from curate.models import check_model

        path = self._card.path_of(self.options.weights)
        check_model(path, kind="safetensors")
        self._features = features_of(self._card)
        arrays = load_file(path)
        for name in ("idf",):
            arrays[name] = arrays[name].astype(np.float32)
        expected = _shapes(self._card, arrays, self._features.buckets, len(STATISTICS))
        for name, shape in expected.items():
            found = arrays[name].shape if name in arrays else None
            if found != shape:
                raise ModelError(f"{path}: array {name} has shape {found}, the card needs {shape}; they do not match")
        self._model = arrays

    def close(self) -> None:
        self._model, self._features = {}, None

    def words(self, texts: Texts) -> npt.NDArray[np.int64]:
        from curate.kernels.hashed_features import count_words

        return count_words(texts.data, texts.offsets, max(1, self._card.min_words))

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        mixed = self._mixed(texts)
        found: dict[str, pa.Array] = {}
        at = 0
        for label in heads(self._card):
            if label.type == "float":
                found[label.name] = self._calibrated(label, mixed[:, at])
                at += 1
            else:
                names, share = _named(label, np.ascontiguousarray(mixed[:, at : at + len(label.values)]))
                found[label.name] = names
                found[label.name + CONFIDENCE] = share
                at += len(label.values)
        return found

    def _mixed(self, texts: Texts) -> Floats:
        from curate.kernels.small_heads import first_scores, mix

        m = self._model
        latent, statistics = self._features.project(texts.data, texts.offsets, m["idf"], m["table"])
        z = standardised(statistics, m["statistics_mean"], m["statistics_deviation"])
        scores = np.empty((len(texts), len(m["bias"])), np.float32)
        first_scores(latent, m["scale"], m["decode"], z, m["wave"], m["phase"], m["wave_heads"], m["bias"], scores)
        mixed = np.empty((len(texts), len(m["mixer_bias"])), np.float32)
        mix(scores, m["mixer"], m["mixer_bias"], mixed)
        return mixed

    def _calibrated(self, label: Label, values: Floats) -> pa.Array:
        from curate.kernels.small_heads import calibrate

        low, high = label.range or (-np.inf, np.inf)
        out = np.empty(len(values), np.float64)
        m = self._model
        calibrate(np.ascontiguousarray(values), m[f"knots.{label.name}"], m[f"targets.{label.name}"], low, high, out)
        return pa.array(np.round(out, 3).astype(np.float32))


def heads(card: Card) -> list[Label]:
    """The labels that have weights of their own: scores, and names; the confidence of a name has none."""
    names = {label.name + CONFIDENCE for label in card.labels if label.type == "name"}
    return [label for label in card.labels if label.name not in names]


def features_of(card: Card) -> Any:
    """The features that the card's window and options ask for."""
    from curate.kernels.hashed_features import HashedFeatures

    o = Options.model_validate(card.options)
    return HashedFeatures(
        card.window.head, card.window.tail, o.word_bits, o.run_bits, o.run_shortest, o.run_longest
    )  # fmt: skip


def standardised(statistics: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Statistics in deviations from the mean, cut at ``LIMIT``."""
    z: Floats = np.clip((statistics - mean) / deviation, -LIMIT, LIMIT).astype(np.float32)
    return z


def _named(label: Label, logits: Floats) -> tuple[pa.Array, pa.Array]:
    from curate.kernels.small_heads import best_class

    best, share = np.empty(len(logits), np.int32), np.empty(len(logits), np.float64)
    best_class(logits, best, share)
    names = pa.DictionaryArray.from_arrays(pa.array(best), pa.array(label.values, pa.string())).cast(pa.string())
    return names, pa.array(np.round(share, 3).astype(np.float32))


def _shapes(
    card: Card, arrays: Mapping[str, npt.NDArray[Any]], buckets: int, statistics: int
) -> dict[str, tuple[int, ...]]:
    """The shape that each array must have."""
    width = arrays["table"].shape[-1] if "table" in arrays else 0
    first = len(arrays.get("bias", ()))
    waves = len(arrays.get("phase", ()))
    outputs = sum(len(label.values) if label.type == "name" else 1 for label in heads(card))
    shapes: dict[str, tuple[int, ...]] = {
        "idf": (buckets,), "table": (buckets, width), "scale": (2, width), "decode": (width, first),
        "statistics_mean": (statistics,), "statistics_deviation": (statistics,), "wave": (statistics, waves),
        "phase": (waves,), "wave_heads": (waves, first), "bias": (first,), "mixer": (first, outputs),
        "mixer_bias": (outputs,),
    }  # fmt: skip
    for label in heads(card):
        if label.type == "float":
            knots = arrays.get(f"knots.{label.name}")
            n = len(knots) if knots is not None else 0
            shapes |= {f"knots.{label.name}": (n,), f"targets.{label.name}": (n,)}
    return shapes
