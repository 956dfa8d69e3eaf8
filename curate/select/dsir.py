"""Data selection by importance resampling (DSIR, Xie et al. 2023; the numbers of PyPI's ``data-selection`` 1.0.3).

Words and word pairs are counted in hashed buckets (``kernels.hashed_ngrams``), once over the corpus and once over the
target; a document's log importance weight is the sum over its words and pairs of
log(p_target + 1e-8) − log(p_corpus + 1e-8). Documents are then taken by Gumbel top-k over these weights
(``sampling.gumbel_keys`` with mean 0, deviation 1, temperature 1).

The weight is a sum over words: long documents have extreme weights. ``per_token`` divides by the number of words and
pairs, which the package does not do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ConfigError
from curate.kernels.strings import Bytes, Offsets, string_buffers
from curate.select.noise import Floats

#: added to probabilities before logarithms
SMALL = 1e-8
Counts = npt.NDArray[np.int64]
#: bytes of text that are lower-cased at once
_LOWER_BYTES = 8 << 20


def lower_buffers(texts: pa.Array) -> tuple[Bytes, Offsets]:
    """The texts in lower case, as Python's ``str.lower`` writes it; NUL separates, so no text sees its neighbour."""
    parts = [t if t is not None else "" for t in texts.to_pylist()]
    data = "\0".join(parts).lower().encode("utf-8", "replace")
    array = np.frombuffer(data, np.uint8)
    if any("\0" in p for p in parts):  # never in a document; then one by one
        pieces = [p.lower().encode("utf-8", "replace") for p in parts]
        return np.frombuffer(b"".join(pieces), np.uint8), np.concatenate(([0], np.cumsum([len(p) for p in pieces])))
    ends = np.concatenate((np.flatnonzero(array == 0), [len(array)])).astype(np.int64)
    offsets = np.concatenate(([0], ends - np.arange(len(ends)))).astype(np.int64)
    return array[array != 0], offsets[: len(parts) + 1]


def count_ngrams(texts: pa.Array, buckets: int, counts: Counts | None = None) -> tuple[Counts, Counts]:
    """Words and pairs per bucket over all texts, added to ``counts`` if given, and the words (tokens) of each text."""
    found = np.zeros(buckets, np.int64) if counts is None else counts
    tokens = np.zeros(len(texts), np.int64)
    for start, part in _parts(texts):
        _run(part, buckets, found, np.empty(0), np.empty(0), tokens[start : start + len(part)])
    return found, tokens


@dataclass(frozen=True)
class Importance:
    """The estimator.

    Attributes:
        log_ratio: per bucket log(p_target + 1e-8) − log(p_corpus + 1e-8).
    """

    log_ratio: Floats

    @classmethod
    def fit(cls, corpus: Counts, target: Counts, smoothing: float = 0.0) -> Importance:
        """From counts over the corpus and the target.

        Args:
            smoothing: added to every bucket of the target's counts; small targets need it, the package's default is 0.
        """
        if corpus.sum() == 0 or target.sum() == 0:
            which = "target" if target.sum() == 0 else "corpus"
            raise ConfigError(f"importance weights: the {which} holds no word, so nothing can be compared with it")
        wanted = target + smoothing
        ratio = np.log(wanted / wanted.sum() + SMALL) - np.log(corpus / corpus.sum() + SMALL)
        return cls(ratio)

    def weights(self, texts: pa.Array, *, min_tokens: int = 100, per_token: bool = False) -> Floats:
        """Log importance weight of each text; NaN where it has fewer than ``min_tokens`` words, or none."""
        found, tokens = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
        for start, part in _parts(texts):
            stop = start + len(part)
            _run(part, len(self.log_ratio), np.empty(0, np.int64), self.log_ratio, found[start:stop],
                 tokens[start:stop])  # fmt: skip
        if per_token:
            found /= np.maximum(2 * tokens - 1, 1)
        found[tokens < max(1, min_tokens)] = np.nan
        return found


def kl_divergence(target: Counts, other: Counts) -> float:
    """KL(target ‖ other) of the hashed words and pairs, in nats, both with 1e-8 added; NaN if one is empty."""
    if target.sum() == 0 or other.sum() == 0:
        return float("nan")
    p, q = target / target.sum() + SMALL, other / other.sum() + SMALL
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * (np.log(p) - np.log(q))))


def _parts(texts: pa.Array) -> list[tuple[int, pa.Array]]:
    """Runs of texts of at most 8 MB together, or one long text alone, and where they start."""
    _, offsets = string_buffers(texts)
    out, start = [], 0
    while start < len(texts):
        stop = int(np.searchsorted(offsets, offsets[start] + _LOWER_BYTES, side="right")) - 1
        stop = min(max(stop, start + 1), len(texts))
        out.append((start, texts.slice(start, stop - start)))
        start = stop
    return out


def _run(texts: pa.Array, buckets: int, counts: Counts, ratio: Floats, weights: Floats, tokens: Counts) -> None:
    from curate.kernels.hashed_ngrams import character_kinds, ngram_batch

    data, offsets = lower_buffers(texts)
    longest = int(np.diff(offsets).max(initial=0))
    ngram_batch(data, offsets, character_kinds(), buckets, longest, counts, ratio, weights, tokens)
