"""The features of all texts a student learns from, as one matrix, and the way back from its weights to arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers import hashed_ridge as fit
from classifiers.backends.hashed_linear import standardised
from classifiers.contract import Texts
from classifiers.students.features import Hashed, Spec, Statistics, embedded, open_embedder
from classifiers.train_config import TrainConfig

__all__ = ["Design", "design_of"]

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Features of all texts.

    Attributes:
        matrix: (texts, columns): CSR if words are looked at, else dense.
        arrays: of the weights file that do not depend on labels (rarity, means, random features).
        specs: the features, with the digests of their models.
        columns: block → its columns of the matrix.
        factor: block → what its features were multiplied with.
    """

    matrix: Any
    arrays: dict[str, npt.NDArray[Any]]
    specs: tuple[Spec, ...]
    columns: dict[str, slice]
    factor: dict[str, float]

    def split(self, weights: Doubles, bits: int) -> dict[str, npt.NDArray[Any]]:
        """The label-dependent arrays of the file from (columns, outputs) weights."""
        parts = {name: weights[place] * self.factor[name] for name, place in self.columns.items()}
        found: dict[str, npt.NDArray[Any]] = {}
        tables = [parts[name] for name in ("words", "runs") if name in parts]
        if tables:
            scales = np.ones((2, weights.shape[1]), np.float32)
            if bits == 8:
                for i, table in enumerate(tables):
                    tables[i], scales[i] = _eight_bits(table)
            found |= {"table": np.vstack(tables), "scale": scales}
        for name, part in parts.items():
            if name == "waves":
                found["wave_heads"] = part
            elif name not in ("words", "runs"):
                found[f"{name}.heads"] = part
        return found


def _eight_bits(table: Doubles) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """The table as int8 with a scale per output; a table of zeros stays one."""
    if not np.abs(table).sum(axis=0).all():
        table = table.copy()
        table[0, np.abs(table).sum(axis=0) == 0] = 1e-30
    return fit.quantised(table)


def design_of(config: TrainConfig, base: Path, texts: pa.Array) -> Design:
    """Features of ``texts`` as the config wants them; ConfigError if a package or a model is missing."""
    from scipy import sparse

    all_texts = Texts.of(texts)
    blocks: dict[str, Any] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    specs: list[Spec] = []
    factor: dict[str, float] = {}
    counted = _counted(config, all_texts) if any(isinstance(s, Hashed | Statistics) for s in config.features) else None
    for spec in config.features:
        root = float(np.sqrt(spec.weight))
        if isinstance(spec, Hashed):
            assert counted is not None
            counts, words = counted[0], 1 << spec.word_bits
            arrays["idf"] = fit.idf_of(counts).astype(np.float16)
            idf = arrays["idf"].astype(np.float32)
            blocks["words"] = fit.weighted(counts[:, :words], idf[:words]) * root
            factor["words"] = root
            if spec.run_bits:
                blocks["runs"] = fit.weighted(counts[:, words:], idf[words:]) * root
                factor["runs"] = root
        elif isinstance(spec, Statistics):
            assert counted is not None
            blocks["waves"], found, factor["waves"] = _waves(spec, counted[1], config.seed)
            arrays |= found
        else:
            embedder = open_embedder(spec, base)
            spec = spec.model_copy(update={"digest": embedder.digest})
            vectors = embedded(spec, embedder, all_texts).astype(np.float64)
            mean = vectors.mean(axis=0)
            length = np.sqrt(np.mean(np.sum((vectors - mean) ** 2, axis=1))) or 1.0
            factor[spec.kind] = root / float(length)
            blocks[spec.kind] = (vectors - mean) * factor[spec.kind]
            arrays[f"{spec.kind}.mean"] = mean.astype(np.float32)
        specs.append(spec)
    columns, at = {}, 0
    for name, block in blocks.items():
        columns[name] = slice(at, at + block.shape[1])
        at += block.shape[1]
    if "words" in blocks:
        matrix = sparse.hstack([sparse.csr_matrix(b) for b in blocks.values()], format="csr")
    else:
        matrix = np.hstack(list(blocks.values()))
    return Design(matrix, arrays, tuple(specs), columns, factor)


def _counted(config: TrainConfig, texts: Texts) -> tuple[Any, npt.NDArray[np.float32]]:
    """Counts of buckets and statistics of all texts."""
    from scipy import sparse

    from curate.kernels.hashed_features import HashedFeatures

    h = next((s for s in config.features if isinstance(s, Hashed)), None)
    shape = (h.word_bits, h.run_bits, h.run_shortest, h.run_longest) if h else (8, 0, 4, 4)
    features = HashedFeatures(config.head, config.tail, *shape)
    indptr, indices, counts, statistics = features.counts(texts.data, texts.offsets)
    return sparse.csr_matrix((counts, indices, indptr), shape=(len(texts), features.buckets)), statistics


def _waves(
    spec: Statistics, statistics: npt.NDArray[np.float32], seed: int
) -> tuple[Doubles, dict[str, npt.NDArray[Any]], float]:
    """Random features of the statistics, their arrays, and what the cosines were multiplied with."""
    mean, deviation = statistics.mean(axis=0), statistics.std(axis=0) + 1e-6
    wave, phase = fit.random_waves(statistics.shape[1], np.random.default_rng(seed), spec.waves)
    factor = float(np.sqrt(2 * spec.weight / spec.waves))
    made = np.cos(standardised(statistics, mean, deviation) @ wave + phase).astype(np.float64) * factor
    found = {"statistics_mean": mean, "statistics_deviation": deviation, "wave": wave, "phase": phase}
    return made, found, factor
