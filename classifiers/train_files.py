"""Writes a student: weights, card, held-out predictions, figures, and a model card for people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers import hashed_ridge as fit
from classifiers.backends.student import HeadSpec, labels_of
from classifiers.bradley_terry import agreement
from classifiers.cards import Card, read_card
from classifiers.evaluate import Comparison, compare, table_of
from classifiers.train_config import TrainConfig
from classifiers.train_features import Design
from classifiers.train_table import Ratings, Target

if TYPE_CHECKING:
    from classifiers.train import Learned, Trained

__all__ = ["write_student"]

Arrays = dict[str, npt.NDArray[Any]]
_KINDS = {"regression": "a score", "ordinal": "expected level", "classification": "the class", "pairwise": "a score"}
_WAYS = {
    "regression": "ridge regression", "ordinal": "cumulative logits", "pairwise": "Bradley-Terry on differences",
    "classification": "multinomial logistic regression",
}  # fmt: skip


def write_student(
    config: TrainConfig, base: Path, ratings: Ratings, design: Design, learned: Sequence[Learned]
) -> Trained:
    """All files of the student, in ``config.output``."""
    from classifiers.train import Trained

    folder = base / config.output
    folder.mkdir(parents=True, exist_ok=True)
    weights, card_path = folder / f"{config.name}.safetensors", folder / f"{config.name}.yaml"
    arrays = _arrays(config, design, learned)
    content = _saved(arrays)
    weights.write_bytes(content)
    document = _card(config, base, design, learned, weights.name, hashlib.sha256(content).hexdigest(), ratings)
    card = _write_card(card_path, document)
    columns, figures = _measured(config, ratings, learned, card, arrays)
    pq.write_table(columns, folder / "held_out.parquet", compression="zstd")
    for label in document["labels"]:
        label_figures = figures.get(label["name"])
        if label_figures:
            label["measured"] = {k: round(v, 4) for k, v in _headline(label_figures).items()}
    _write_card(card_path, document)
    report = folder / "report.json"
    report.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", "utf-8")
    model_card = folder / "MODEL_CARD.md"
    model_card.write_text(_model_card(config, ratings, design, learned, figures), "utf-8")
    return Trained(card_path, weights, folder / "held_out.parquet", model_card, report, figures)


def _saved(arrays: Arrays) -> bytes:
    from safetensors.numpy import save

    plain = {k: np.ascontiguousarray(v.astype(np.float32) if v.dtype == np.float64 else v) for k, v in arrays.items()}
    return bytes(save(dict(sorted(plain.items()))))


def _arrays(config: TrainConfig, design: Design, learned: Sequence[Learned]) -> Arrays:
    weights = np.hstack([one.head.weights for one in learned])
    arrays = {**design.arrays, **design.split(weights, config.bits)}
    arrays["bias"] = np.concatenate([one.head.bias for one in learned])
    if "table" in arrays and config.bits == 32:
        arrays["table"] = arrays["table"].astype(np.float32)
    for one in learned:
        name = one.target.spec.name
        if one.target.spec.kind == "ordinal":
            arrays[f"thresholds.{name}"] = one.head.thresholds
        if one.target.spec.calibrated and one.target.range is not None:
            known = one.held_out[one.target.rows, 0]
            knots, targets = fit.calibration(known, one.target.values, *one.target.range)
            arrays |= {f"knots.{name}": knots, f"targets.{name}": targets}
    return arrays


def _card(
    config: TrainConfig, base: Path, design: Design, learned: Sequence[Learned], weights: str, digest: str,
    ratings: Ratings,
) -> dict[str, Any]:  # fmt: skip
    heads, labels = [], []
    for one in learned:
        heads.append(_head(one.target).model_dump(mode="json", exclude_defaults=True))
        labels += _labels(one.target)
    features = [_placed(s.model_dump(mode="json", exclude_none=True), base) for s in design.specs]
    return {
        "name": config.name,
        "title": config.title or f"a student: {', '.join(one.target.spec.name for one in learned)}",
        "revision": digest[:12],
        "backend": "student",
        "options": {"weights": weights, "features": features, "targets": heads},
        "files": {weights: digest},
        "window": {"policy": "head_tail", "unit": "bytes", "head": config.head, "tail": config.tail},
        "languages": list(config.languages),
        "min_words": config.min_words,
        "licence": config.licence,
        "source": "trained by `curate train`",
        "training": f"{len(ratings.texts)} texts in {ratings.groups} groups, {len(ratings.folds)} folds; MODEL_CARD.md",
        "labels": labels,
    }


def _placed(spec: dict[str, Any], base: Path) -> dict[str, Any]:
    """A model named by a path that exists is named absolutely: the card lies elsewhere than the config."""
    model = spec.get("model")
    if model and (base / model).exists():
        spec["model"] = str((base / model).resolve())
    return spec


def _head(target: Target) -> HeadSpec:
    spec = target.spec
    return HeadSpec(label=spec.name, kind=spec.kind, values=target.names, calibrated=spec.calibrated)


def _labels(target: Target) -> list[dict[str, Any]]:
    spec = target.spec
    meaning = spec.meaning or f"{_KINDS[spec.kind]} of {spec.name}, as a student predicts it"
    found: list[dict[str, Any]]
    probability: dict[str, Any] = {"type": "float", "range": [0.0, 1.0], "unit": "probability"}
    if spec.kind == "classification":
        found = [{"name": spec.name, "type": "name", "values": [str(v) for v in target.names], "meaning": meaning},
                 {"name": f"{spec.name}_score", **probability, "meaning": f"how sure {spec.name} is"}]  # fmt: skip
        if len(target.names) == 2:
            what = f"probability of {target.names[1]}"
            found.append({"name": f"{spec.name}_positive", **probability, "meaning": what})
        return found
    if spec.kind == "ordinal":
        range_ = [float(target.names[0]), float(target.names[-1])]
        return [{"name": spec.name, "range": range_, "meaning": meaning, "unit": "points"},
                {"name": f"{spec.name}_level", "range": range_, "meaning": f"the likeliest level of {spec.name}",
                 "unit": "points"}]  # fmt: skip
    range_ = list(target.range) if target.range else [float("-inf"), float("inf")]
    return [{"name": spec.name, "range": range_, "meaning": meaning, "unit": "points" if target.range else "log-odds"}]


def _write_card(path: Path, document: Mapping[str, Any]) -> Card:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    stream = StringIO()
    yaml.dump(dict(document), stream)
    path.write_text(stream.getvalue(), "utf-8")
    return read_card(path)


def _measured(
    config: TrainConfig, ratings: Ratings, learned: Sequence[Learned], card: Card, arrays: Arrays
) -> tuple[pa.Table, dict[str, Any]]:
    """Held-out predictions as the rater would give them, and their figures."""
    columns: dict[str, pa.Array] = {"id": pa.array(ratings.ids), "fold": pa.array(ratings.fold)}
    figures: dict[str, Any] = {}
    lengths = np.array([len(t) for t in ratings.texts.to_pylist()], np.float64)
    for one in learned:
        target, rows = one.target, one.target.rows
        found = labels_of(_head(target), one.held_out[rows], arrays, card)
        place = np.full(len(ratings.texts), -1, np.int64)
        place[rows] = np.arange(len(rows))
        index = pa.array(place, mask=place < 0)
        columns |= {name: values.take(index) for name, values in found.items()}
        name = target.spec.name
        if target.pairs is not None:
            figures[name] = _pair_figures(target, one, ratings)
        else:
            gold = _gold(target)
            score = found[f"{name}_positive"] if f"{name}_positive" in found else found[name]
            columns[f"{name}_gold"] = pa.array(gold).take(index)
            if target.spec.kind == "classification":
                given = Comparison(gold=gold, score=found[name].to_pylist(), lengths=lengths[rows],
                                   probability=found[f"{name}_score"].to_numpy())  # fmt: skip
            else:
                given = Comparison(gold=gold, score=score.to_numpy(), lengths=lengths[rows])
            figures[name] = compare(given, resamples=config.resamples, seed=config.seed)
            figures[name]["by_fold"] = _by_fold(target, found[name], gold, ratings.fold[rows])
        figures[name]["penalties"] = list(one.penalties)
    return pa.table(columns), figures


def _gold(target: Target) -> Any:
    if target.spec.kind == "classification":
        return [str(target.names[int(v)]) for v in target.values]
    if target.spec.kind == "ordinal":
        return np.interp(target.values, np.arange(len(target.names)), np.array(target.names, np.float64))
    return target.values


def _by_fold(target: Target, found: pa.Array, gold: Any, fold: npt.NDArray[np.int64]) -> list[float | None]:
    """Spearman or accuracy within each fold: the spread of the figure."""
    from classifiers.evaluate_metrics import spearman

    parts: list[float | None] = []
    for f in np.unique(fold):
        mine = np.flatnonzero(fold == f)
        if target.spec.kind == "classification":
            said = found.to_pylist()
            parts.append(float(np.mean([said[i] == gold[i] for i in mine])))
        else:
            parts.append(spearman(found.to_numpy()[mine], np.asarray(gold)[mine]))
    return parts


def _pair_figures(target: Target, one: Learned, ratings: Ratings) -> dict[str, Any]:
    """Agreement with held-out pairs: both texts in one fold, so that one model that saw neither compares them."""
    assert target.pairs is not None
    pairs, scores = target.pairs, one.held_out[:, 0]
    together = ratings.fold[pairs.a] == ratings.fold[pairs.b]
    lengths = np.log1p([len(t) for t in ratings.texts.to_pylist()])
    found = {
        "kind": "pairs",
        "pairs": len(pairs.a),
        "held_out_pairs": int(together.sum()),
        "agreement": agreement(scores, pairs.a[together], pairs.b[together], pairs.share[together]),
        "agreement_log_length": agreement(lengths, pairs.a[together], pairs.b[together], pairs.share[together]),
    }
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in found.items()}


def _headline(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures that stand in the card."""
    names = ("spearman", "pearson", "accuracy", "macro_f1", "agreement")
    return {name: float(figures[name]) for name in names if isinstance(figures.get(name), float)}


def _model_card(
    config: TrainConfig, ratings: Ratings, design: Design, learned: Sequence[Learned], figures: Mapping[str, Any]
) -> str:
    lines = [f"# {config.name}", "", config.title or "A student of given ratings.", "", "## Training", ""]
    lines += [
        f"- {len(ratings.texts)} texts in {ratings.groups} groups; {len(ratings.folds)} folds, each group in one",
        f"- features: {', '.join(s.kind for s in design.specs)} ({design.matrix.shape[1]:,} columns); a bucket's "
        f"weight takes {config.bits} bits",
        f"- seed {config.seed}; window: first {config.head} and last {config.tail} bytes",
        f"- licence: {config.licence}", "",
        "Each figure is on texts whose fold the model had not seen. The penalty of each of these models was chosen in "
        "inner folds of its own training part; rarity of words and means were taken from all texts, without labels. "
        "The model in the file learned from all texts, with the last penalty.", "", "## Labels", "",
    ]  # fmt: skip
    for one in learned:
        spec = one.target.spec
        chosen = ", ".join(f"{p:g}" for p in one.penalties)
        lines += [f"### {config.name}_{spec.name}", "", spec.meaning or _KINDS[spec.kind], "",
                  f"{_WAYS[spec.kind]} on {len(one.target.rows)} texts; penalties: {chosen}", "",
                  "```", table_of(figures[spec.name]), "```", ""]  # fmt: skip
    lines += ["## Limits", "", "A student knows what its ratings knew, on texts like these. Judge it "
              "on your own texts (`curate evaluate`) before you cut by it, beside length alone.", ""]  # fmt: skip
    return "\n".join(lines)
