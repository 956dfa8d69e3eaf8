"""Rates with a student that ``curate train`` made: linear heads over hashed words, statistics and embeddings.

Everything that is per document is a loop of its own (compiled), so a value does not depend on the batch; embeddings of
sentence-transformers may move in the last bits, which rounding to 4 decimals hides.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from classifiers.backends.hashed_linear import standardised
from classifiers.cards import Card
from classifiers.contract import Backend, Texts
from classifiers.students.features import Hashed, Spec, Statistics, embedded, open_embedder
from curate.errors import ModelError
from curate.stages.base import Context

__all__ = ["HeadSpec", "Options", "Student", "labels_of"]

Floats = npt.NDArray[np.float32]


class HeadSpec(BaseModel):
    """What outputs of the model make a label.

    Attributes:
        label: of the card.
        kind: see ``classifiers.students.heads``.
        values: levels (numbers, ascending) or classes; for ordinal and classification.
        calibrated: a regression's scores are matched to the distribution of the ratings that it learned from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    kind: Literal["regression", "ordinal", "classification", "pairwise"]
    values: tuple[float | str, ...] = ()
    calibrated: bool = False

    @property
    def outputs(self) -> int:
        """Columns of the weights."""
        return len(self.values) if self.kind == "classification" else 1


class Options(BaseModel):
    """What the card says.

    Attributes:
        weights: which of the card's files holds the arrays.
        features: blocks, in the order of the file.
        targets: labels, in the order of the outputs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str
    features: tuple[Spec, ...] = Field(min_length=1)
    targets: tuple[HeadSpec, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _once(self) -> Options:
        kinds = [f.kind for f in self.features]
        if len(set(kinds)) < len(kinds):
            raise ValueError("features: each kind may occur once")
        return self


class Student(Backend):
    """All labels of a card from one pass over the texts."""

    version: ClassVar[int] = 1
    compiles: ClassVar[bool] = True

    def __init__(self, card: Card) -> None:
        self._card = card
        self.options = Options.model_validate(card.options)
        self._model: dict[str, npt.NDArray[Any]] = {}
        self._embedders: list[Any] = []

    def open(self, context: Context) -> None:
        """Loads the arrays and the embedders, and checks both."""
        from safetensors.numpy import load_file

        from curate.models import check_model

        path = self._card.path_of(self.options.weights)
        check_model(path, kind="safetensors")
        self._model = _checked(load_file(path), self.options, path)
        base = path.parent
        self._embedders = [
            (spec, open_embedder(spec, base))
            for spec in self.options.features
            if not isinstance(spec, Hashed | Statistics)
        ]

    def close(self) -> None:
        self._model, self._embedders = {}, []

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        raw = self._raw(texts)
        found: dict[str, pa.Array] = {}
        at = 0
        for head in self.options.targets:
            found |= labels_of(head, raw[:, at : at + head.outputs], self._model, self._card)
            at += head.outputs
        return found

    def _raw(self, texts: Texts) -> npt.NDArray[np.float64]:
        from curate.kernels.small_heads import mix

        outputs = len(self._model["bias"])
        total = np.zeros((len(texts), outputs), np.float32)
        total += self._surface(texts, outputs)
        zero = np.zeros(outputs, np.float32)
        for spec, embedder in self._embedders:
            m = self._model
            vectors = embedded(spec, embedder, texts) - m[f"{spec.kind}.mean"]
            part = np.empty_like(total)
            mix(np.ascontiguousarray(vectors, np.float32), m[f"{spec.kind}.heads"], zero, part)
            total += part
        return total.astype(np.float64)

    def _surface(self, texts: Texts, outputs: int) -> Floats:
        """What hashed words and statistics give, and the bias."""
        from curate.kernels.small_heads import first_scores

        m = self._model
        table = m.get("table")
        if table is None and "phase" not in m:
            return np.broadcast_to(m["bias"], (len(texts), outputs)).astype(np.float32)
        features = surface(self.options.features, self._card)
        if table is None:
            table = np.zeros((features.buckets, 1), np.int8)
        idf = m["idf"].astype(np.float32) if "idf" in m else np.zeros(features.buckets, np.float32)
        latent, statistics = features.project(texts.data, texts.offsets, idf, table)
        width = table.shape[1]
        decode = np.eye(width, outputs, dtype=np.float32)
        scale = m.get("scale", np.ones((2, width), np.float32))
        waves = len(m.get("phase", ()))
        out = np.empty((len(texts), outputs), np.float32)
        if waves:
            z = standardised(statistics, m["statistics_mean"], m["statistics_deviation"])
            wave, phase, heads = m["wave"], m["phase"], m["wave_heads"]
        else:
            z, wave = np.zeros((len(texts), 1), np.float32), np.zeros((1, 0), np.float32)
            phase, heads = np.zeros(0, np.float32), np.zeros((0, outputs), np.float32)
        first_scores(latent, scale, decode, z, wave, phase, heads, m["bias"], out)
        return out


def surface(specs: tuple[Spec, ...], card: Card) -> Any:
    """The compiled features of hashed words and statistics, by the card's window."""
    from curate.kernels.hashed_features import HashedFeatures

    h = next((s for s in specs if isinstance(s, Hashed)), None)
    if h is None:  # statistics alone come from the same pass, whose buckets then are few
        return HashedFeatures(card.window.head, card.window.tail, 8, 0)
    return HashedFeatures(card.window.head, card.window.tail, h.word_bits, h.run_bits, h.run_shortest, h.run_longest)


def labels_of(
    head: HeadSpec, raw: npt.NDArray[np.float64], model: Mapping[str, npt.NDArray[Any]], card: Card
) -> dict[str, pa.Array]:
    """The columns of one label from its raw outputs: value; level or probability beside it."""
    from classifiers.students.heads import cumulative, expected_level, softmax

    if head.kind == "classification":
        chances = softmax(raw)
        best = chances.argmax(axis=1)
        names = pa.array([str(v) for v in head.values], pa.string())
        found = {
            head.label: names.take(pa.array(best)),
            f"{head.label}_score": _rounded(chances[np.arange(len(best)), best]),
        }
        if len(head.values) == 2:
            found[f"{head.label}_positive"] = _rounded(chances[:, 1])
        return found
    value = raw[:, 0]
    if head.kind == "ordinal":
        edges, levels = model[f"thresholds.{head.label}"].astype(np.float64), np.array(head.values, np.float64)
        mean = np.interp(expected_level(value, edges), np.arange(len(levels)), levels)
        if not np.allclose(np.diff(levels), levels[1] - levels[0]):
            mean = cumulative(value, edges) @ levels
        likely = levels[cumulative(value, edges).argmax(axis=1)]
        return {head.label: _rounded(mean), f"{head.label}_level": pa.array(likely.astype(np.float32))}
    if head.kind == "regression":
        low, high = card.label(head.label).range or (-np.inf, np.inf)
        if head.calibrated:
            value = np.interp(value, model[f"knots.{head.label}"], model[f"targets.{head.label}"])
        # NaN stays NaN and becomes the status model_error
        value = np.clip(value, low, high)
    return {head.label: _rounded(value)}


def _rounded(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(np.round(values, 4).astype(np.float32))


def _checked(arrays: dict[str, npt.NDArray[Any]], options: Options, path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays, if they have the shapes that the card needs."""
    outputs = sum(head.outputs for head in options.targets)
    needed: dict[str, tuple[int | None, ...]] = {"bias": (outputs,)}
    for spec in options.features:
        if isinstance(spec, Hashed):
            buckets = (1 << spec.word_bits) + ((1 << spec.run_bits) if spec.run_bits else 0)
            needed |= {"idf": (buckets,), "table": (buckets, outputs), "scale": (2, outputs)}
        elif isinstance(spec, Statistics):
            needed |= {"wave": (None, spec.waves), "phase": (spec.waves,), "wave_heads": (spec.waves, outputs)}
            needed |= {"statistics_mean": (None,), "statistics_deviation": (None,)}
        else:
            needed |= {f"{spec.kind}.mean": (None,), f"{spec.kind}.heads": (None, outputs)}
    for head in options.targets:
        if head.kind == "ordinal":
            needed[f"thresholds.{head.label}"] = (len(head.values) - 1,)
        if head.calibrated:
            needed |= {f"knots.{head.label}": (None,), f"targets.{head.label}": (None,)}
    for name, shape in needed.items():
        found = arrays[name].shape if name in arrays else None
        if (
            found is None
            or len(found) != len(shape)
            or any(w not in (None, g) for w, g in zip(shape, found, strict=True))
        ):
            raise ModelError(f"{path}: array {name} has shape {found}, the card needs {shape}; they do not match")
    return arrays
