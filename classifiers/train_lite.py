"""Trains the rater ``lite`` anew: cross-validation first, then its weights and the figures of its card.

    python -m classifiers.train_lite --shared ../shared            # two minutes of one core, 3 GB
    python -m classifiers.train_lite --shared ../shared --write    # the same, and writes card and weights

Learned from: `annotated_web_dev` (23 scores and a domain by a language model with the rubrics of DataMan, Meta-rater,
QuRating and FineWeb-Edu) and `weborganizer_dev` (topic and format as predicted by WebOrganizer's classifiers). Their
labels may be used freely; their texts are not part of the project. A few texts of random letters, digits and words are
made here and stand at the bottom of every scale: no page of the sets is gibberish, and a crawl has some.

The same command gives the same bytes on the same processor and libraries: sums are made on one thread, since their
order decides the last digits. Elsewhere these may differ; between runs with one and with two threads one weight of the
table in 7,000 moved by one step of its 8 bits, and the accuracy of ``format`` by .001.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers import hashed_ridge as fit
from classifiers.backends.hashed_linear import features_of, heads, standardised
from classifiers.cards import CARDS, Card, read_card
from curate.kernels.strings import string_buffers
from curate.kernels.text_shape import GROUPS

CARD = CARDS / "lite.yaml"
FOLDS = range(5)
#: fold of what is made here: learned from always, never measured on
MADE = -1
#: what the figures of the card that concern no single label say
MEANINGS = {
    "mean_spearman": "mean Spearman over the 23 scores, held out",
    "human_auc": "AUC of `lite_overall_score` on people's judgement good / not good (dclm_human_quality, 181 pages "
    "that lite was not trained on)",
    "human_auc_length": "the same by log word count alone",
    "human_auc_within_length": "AUC within thirds of word count, mean",
}
WIDTH = 80
SEED = 20251123

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Documents, and what is known of them.

    Attributes:
        texts: of both sets, one after the other; ``annotated`` and ``organised`` are rows.
        known: label → values of its rows: scores, or index of the name.
    """

    texts: pa.Array
    annotated: npt.NDArray[np.int64]
    organised: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]
    known: dict[str, npt.NDArray[Any]]


def read_data(shared: Path, card: Card) -> Data:
    """Both sets, with one fold per site: the folds of annotated_web_dev where a site occurs in it."""
    one = pq.read_table(shared / "data/annotated_web_dev/docs.parquet")
    two = pq.read_table(shared / "data/weborganizer_dev/docs.parquet")
    made = gibberish(20)
    columns = [one["text"].combine_chunks(), two["text"].combine_chunks(), pa.array(made)]
    texts = pa.concat_arrays([c.cast(pa.large_string()) for c in columns])
    of_site = dict(zip(one["group"].to_pylist(), one["fold"].to_pylist(), strict=True))
    second = [of_site.get(g, f) for g, f in zip(two["group"].to_pylist(), two["fold"].to_pylist(), strict=True)]
    known: dict[str, npt.NDArray[Any]] = {}
    for label in heads(card):
        if label.type == "float":
            # gibberish harms nobody and repeats little; all else that is rated it lacks
            bottom = {"sensitivity": 5.0, "originality": 2.0}.get(label.name, (label.range or (0.0, 0.0))[0])
            known[label.name] = np.concatenate([one[f"score_{label.name}"].to_numpy(), np.full(len(made), bottom)])
        else:
            names = [*one["domain"].to_pylist(), *["Other"] * len(made)] if label.name == "domain" else two[label.name]
            known[label.name] = np.array([label.values.index(str(v)) for v in names])
    fold = np.array([*one["fold"].to_pylist(), *second, *[MADE] * len(made)])
    n, m = len(one), len(one) + len(two)
    return Data(texts, np.r_[:n, m : len(texts)], np.arange(n, m), fold, known)


def gibberish(each: int) -> list[str]:
    """Texts that say nothing: letters at random, keyboard runs and digits, and common words in no order."""
    rng = np.random.default_rng(SEED)
    letters, common = list("abcdefghijklmnopqrstuvwxyz"), " ".join(GROUPS.values()).split()
    found = []
    for i in range(each):
        n = int(rng.integers(30, 500))
        words = ["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(n)]
        codes = ["".join(rng.choice(list("0123456789abcdefxyz-_/"), rng.integers(2, 12))) for _ in range(n)]
        mixed = [w if rng.random() < 0.7 else c for w, c in zip(words, codes, strict=True)]
        salad = [str(w) for w in rng.choice(common, n)]
        per_line = int(rng.integers(6, 60))
        for kind in (words, mixed, salad):
            lines = [" ".join(kind[k : k + per_line]) for k in range(0, n, per_line)]
            found.append("\n".join(line.capitalize() + "." if i % 2 else line for line in lines))
    return found


class Trainer:
    """Features of all documents, and models of them with some folds left out."""

    def __init__(self, card: Card, data: Data) -> None:
        from scipy import sparse

        self.card, self.data = card, data
        features = features_of(card)
        self.word_buckets = 1 << card.options["word_bits"]
        indptr, indices, counts, statistics = features.counts(*string_buffers(data.texts))
        all_counts = sparse.csr_matrix((counts, indices, indptr), shape=(len(data.texts), features.buckets))
        self.idf = fit.idf_of(all_counts)
        self.mean, self.deviation = statistics.mean(axis=0), statistics.std(axis=0) + 1e-6
        self.wave, self.phase = fit.random_waves(statistics.shape[1], np.random.default_rng(SEED))
        z = standardised(statistics, self.mean, self.deviation)
        waves = (np.cos(z @ self.wave + self.phase) * fit.wave_scale()).astype(np.float32)
        w = self.word_buckets
        blocks = (fit.weighted(all_counts[:, :w], self.idf[:w]), fit.weighted(all_counts[:, w:], self.idf[w:]))
        self.features = fit.Features(blocks, waves)
        self.kernel = self.features.kernel()
        _say("kernel of all documents done")
        self.scores = [label.name for label in heads(card) if label.type == "float"]
        self.names = {label.name: len(label.values) for label in heads(card) if label.type == "name"}
        self.tasks = self._tasks()
        self._cache: dict[frozenset[int], Doubles] = {}

    def _tasks(self) -> tuple[fit.Task, fit.Task]:
        """Scores and domain on the annotated documents; the other names on WebOrganizer's."""
        d = self.data
        scores = np.stack([d.known[name] for name in self.scores], axis=1)
        hot = {name: np.eye(n)[d.known[name]] for name, n in self.names.items()}
        one = np.hstack([scores, hot.pop("domain")])
        return (
            fit.Task(d.annotated, one, d.fold[d.annotated]),
            fit.Task(d.organised, np.hstack(list(hot.values())), d.fold[d.organised]),
        )

    def ridges(self, without: frozenset[int]) -> list[fit.Ridge]:
        """First layer of a model that has not seen these folds."""
        return [fit.fit_ridge(self.kernel, task, without) for task in self.tasks]

    def first(self, without: frozenset[int]) -> Doubles:
        """Ridge scores of all documents by a model that has not seen these folds."""
        if without not in self._cache:
            self._cache[without] = np.hstack([r.predict(self.kernel) for r in self.ridges(without)])
        return self._cache[without]

    def unseen(self, outer: frozenset[int]) -> Doubles:
        """Ridge scores of each document by a model that has seen neither ``outer`` nor the document's own fold."""
        found = np.empty((len(self.data.texts), self.first(outer | {0}).shape[1]))
        for fold in FOLDS:
            mine = self.data.fold == fold
            found[mine] = self.first(outer | {fold})[mine]
        found[self.data.fold == MADE] = np.nan
        return found

    def mixers(self, outer: frozenset[int]) -> dict[str, fit.Mixer]:
        """Second layer, learned from scores of documents that the first layer had not seen."""
        d, scores = self.data, self.unseen(outer)
        found = {}
        keep = ~np.isin(d.fold[d.annotated], [*outer, MADE])
        own = slice(0, len(self.scores))
        found["scores"] = fit.mix_scores(scores[d.annotated][keep], self.tasks[0].targets[keep, own], own)
        for name, n in self.names.items():
            rows = d.annotated if name == "domain" else d.organised
            keep = ~np.isin(d.fold[rows], [*outer, MADE])
            found[name] = fit.mix_names(scores[rows][keep], d.known[name][keep], n)
        return found

    def mixed(self, mixers: Mapping[str, fit.Mixer], scores: Doubles) -> Doubles:
        """All outputs, in the order of the card's heads."""
        every = {"": mixers["scores"].apply(scores), **{n: mixers[n].apply(scores) for n in self.names}}
        return np.hstack(list(every.values()))

    def cross_validated(self) -> Doubles:
        """Outputs of each document by a model that saw nothing of its fold in either layer."""
        out: Doubles | None = None
        for fold in FOLDS:
            mine = self.data.fold == fold
            found = self.mixed(self.mixers(frozenset({fold})), self.first(frozenset({fold}))[mine])
            out = np.full((len(self.data.texts), found.shape[1]), np.nan) if out is None else out
            out[mine] = found
            _say(f"fold {fold} done")
        assert out is not None
        return out


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)  # noqa: T201


def measure(trainer: Trainer, out: Doubles) -> dict[str, dict[str, float]]:
    """Agreement of held-out predictions with the labels, by label; mean over folds and its spread beside the whole."""
    from scipy.stats import spearmanr

    d, found = trainer.data, {}
    real = d.fold[d.annotated] != MADE
    fold = d.fold[d.annotated][real]
    for j, name in enumerate(trainer.scores):
        p, y = out[d.annotated, j][real], d.known[name][real]
        parts = [spearmanr(p[fold == f], y[fold == f])[0] for f in FOLDS]
        found[name] = {"spearman": spearmanr(p, y)[0], "spearman_spread": float(np.std(parts))}
    at = len(trainer.scores)
    for name, n in trainer.names.items():
        rows = d.annotated if name == "domain" else d.organised
        hit = (out[rows, at : at + n].argmax(axis=1) == d.known[name])[d.fold[rows] != MADE]
        parts = [hit[d.fold[rows][d.fold[rows] != MADE] == f].mean() for f in FOLDS]
        found[name] = {"accuracy": float(hit.mean()), "accuracy_spread": float(np.std(parts))}
        at += n
    return {k: {m: round(float(v), 3) for m, v in values.items()} for k, values in found.items()}


def arrays_of(trainer: Trainer, out: Doubles) -> tuple[dict[str, npt.NDArray[Any]], float]:
    """The arrays of the weights file, fitted on all documents, and the share of variance that its table keeps."""
    everything: frozenset[int] = frozenset()
    ridges = trainer.ridges(everything)
    f = trainer.features
    weights = [np.hstack([block[r.rows].T @ r.alpha for r in ridges]) for block in f.blocks]
    predictions = sum(block @ w for block, w in zip(f.blocks, weights, strict=True))
    stacked = np.vstack(weights).astype(np.float64)
    table, decode, kept = fit.low_rank(stacked, np.asarray(predictions, np.float64), WIDTH)
    halves = [fit.quantised(part) for part in (table[: trainer.word_buckets], table[trainer.word_buckets :])]
    waves = np.hstack([f.waves[r.rows].T @ r.alpha for r in ridges]) * fit.wave_scale()
    mixers = trainer.mixers(everything)
    parts = [mixers["scores"], *(mixers[n] for n in trainer.names)]
    arrays: dict[str, npt.NDArray[Any]] = {
        "idf": trainer.idf.astype(np.float16),
        "table": np.vstack([half[0] for half in halves]),
        "scale": np.stack([half[1] for half in halves]),
        "decode": decode, "wave": trainer.wave, "phase": trainer.phase, "wave_heads": waves,
        "bias": np.concatenate([r.bias for r in ridges]),
        "statistics_mean": trainer.mean, "statistics_deviation": trainer.deviation,
        "mixer": np.hstack([m.weights for m in parts]), "mixer_bias": np.concatenate([m.bias for m in parts]),
    }  # fmt: skip
    d = trainer.data
    real = d.fold[d.annotated] != MADE
    for j, name in enumerate(trainer.scores):
        low, high = trainer.card.label(name).range or (0.0, 0.0)
        knots, targets = fit.calibration(out[d.annotated, j][real], d.known[name][real], low, high)
        arrays |= {f"knots.{name}": knots, f"targets.{name}": targets}
    return {k: _plain(v) for k, v in arrays.items()}, kept


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(array.astype(np.float32) if array.dtype == np.float64 else array)


def write(
    card: Card, arrays: Mapping[str, npt.NDArray[Any]], figures: Mapping[str, Any], means: Mapping[str, float]
) -> None:
    """Writes the weights, and into the card their digest and the figures; comments of the card stay."""
    from ruamel.yaml import YAML
    from safetensors.numpy import save

    name = card.options["weights"]
    content = save(dict(sorted(arrays.items())))
    card.path_of(name).write_bytes(content)
    yaml = YAML()
    yaml.width = 120
    document = yaml.load(CARD.read_text("utf-8"))
    document["files"][name] = hashlib.sha256(content).hexdigest()
    document["measured"] = dict(means)
    for label in document["labels"]:
        if label["name"] in figures:
            label["measured"] = dict(figures[label["name"]])
    with CARD.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)


def compared(card: Card, trainer: Trainer) -> dict[str, float]:
    """How far the file as written (``WIDTH`` columns of 8 bits) is from the model as fitted, on all documents."""
    from scipy.stats import spearmanr

    from classifiers.backends.hashed_linear import HashedLinear
    from classifiers.contract import Texts
    from curate.stages.base import Context

    everything: frozenset[int] = frozenset()
    exact = trainer.mixed(trainer.mixers(everything), trainer.first(everything))
    backend = HashedLinear(card)
    backend.open(Context())
    rated = backend.rate(Texts(*string_buffers(trainer.data.texts)))
    least = min(spearmanr(exact[:, j], rated[name].to_numpy())[0] for j, name in enumerate(trainer.scores))
    found, at = {"least_spearman": round(float(least), 4)}, len(trainer.scores)
    for name, n in trainer.names.items():
        values = np.array(card.label(name).values)
        same = values[exact[:, at : at + n].argmax(axis=1)] == np.array(rated[name].to_pylist())
        found[f"same_{name}"] = round(float(same.mean()), 4)
        at += n
    return found


def write_table(card: Card) -> None:
    """Writes the figures of the card into the table of the README."""
    lines = ["| column | range | held-out agreement | spread | meaning |", "| --- | --- | --- | --- | --- |"]
    for label in heads(card):
        kind = "accuracy" if label.type == "name" else "spearman"
        range_ = f"{label.range[0]:g}–{label.range[1]:g}" if label.range else f"{len(label.values)} names"
        value, spread = label.measured[kind], label.measured[f"{kind}_spread"]
        word = "accuracy" if label.type == "name" else "Spearman"
        lines.append(f"| `lite_{label.name}` | {range_} | {word} {value:.3f} | {spread:.3f} | {label.meaning} |")
    lines.append("")
    lines += [f"- {MEANINGS[name]}: {value:.3f}" for name, value in card.measured.items()]
    readme = CARDS.parent / "README.md"
    before, rest = readme.read_text("utf-8").split("<!-- lite:begin -->\n")
    after = rest.split("<!-- lite:end -->\n")[1]
    table = "\n".join(lines)
    readme.write_text(f"{before}<!-- lite:begin -->\n{table}\n<!-- lite:end -->\n{after}", encoding="utf-8")


def finish(trainer: Trainer, shared: Path, write_files: bool) -> dict[str, Any]:
    """Second layer, figures and, if wanted, the files; returns what the command prints."""
    from classifiers.evaluate_lite import human_judgement

    out = trainer.cross_validated()
    figures = measure(trainer, out)
    means = {"mean_spearman": round(float(np.mean([figures[name]["spearman"] for name in trainer.scores])), 3)}
    arrays, kept = arrays_of(trainer, out)
    found: dict[str, Any] = {"table_keeps": round(kept, 4)}
    if write_files:
        write(trainer.card, arrays, figures, means)
        found["file_against_fit"] = compared(read_card(CARD), trainer)
        write(read_card(CARD), arrays, figures, means | human_judgement(shared))
        write_table(read_card(CARD))
    return {**means, **found, "labels": figures}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("CURATE_SHARED", "../shared")))
    parser.add_argument("--write", action="store_true", help="write weights and card")
    options = parser.parse_args()
    # Loaded before their threads are limited: what comes later would bring its own number of them.
    import scipy.linalg  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits

    card = read_card(CARD)
    with threadpool_limits(1):
        trainer = Trainer(card, read_data(options.shared, card))
        found = finish(trainer, options.shared, options.write)
    print(json.dumps(found, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
