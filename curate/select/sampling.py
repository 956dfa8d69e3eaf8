"""Sampling by score: Gumbel top-k, whose noise is a hash of the document, and drawn numbers of copies.

Gumbel top-k (Kool et al. 2019): the k largest of ``logit + Gumbel noise`` are a sample without replacement with weights
exp(logit). QuRating (Wettig et al. 2024) takes logit = score normalised to mean 0 and standard deviation 1, over the
temperature: 0 is top-k, infinity is a uniform sample. DSIR (Xie et al. 2023) takes the log importance weight as it is.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.select.noise import Floats, gumbel, uniform


def gumbel_keys(
    scores: Floats,
    ids: pa.Array | pa.ChunkedArray,
    *,
    temperature: float,
    seed: int,
    purpose: str = "gumbel",
    mean: float = 0.0,
    deviation: float = 1.0,
) -> Floats:
    """What documents are taken by, largest first: ``(score − mean) / deviation / temperature + noise``; NaN stays NaN.

    Args:
        temperature: 0: the score alone, no noise; infinity: noise alone.
        mean, deviation: of the scores, to normalise them; a deviation of 0 (all scores equal) leaves noise alone.
    """
    if temperature < 0 or math.isnan(temperature):
        raise ValueError(f"temperature {temperature}: must be 0 or more")
    if temperature == 0:
        return scores.copy()
    scaled = np.zeros(len(scores)) if deviation == 0 else (scores - mean) / deviation / temperature
    keys: Floats = np.where(np.isnan(scores), np.nan, scaled + gumbel(ids, seed, purpose))
    return keys


def moments(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation (of the population) without NaN; summed exactly, so that order does not matter."""
    known = values[~np.isnan(values)].tolist()
    if not known:
        return 0.0, 0.0
    mean = math.fsum(known) / len(known)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in known) / len(known))


def drawn_copies(
    expected: Floats, ids: pa.Array | pa.ChunkedArray, *, seed: int, purpose: str = "copies"
) -> npt.NDArray[np.int32]:
    """How often each document is taken: its expected number rounded down, and one more with the rest as probability.

    Args:
        expected: not negative; NaN gives 0.
    """
    wanted = np.where(np.isnan(expected), 0.0, expected)
    if (wanted < 0).any():
        raise ValueError("expected copies must not be negative")
    whole = np.floor(wanted)
    more = uniform(ids, seed, purpose) < wanted - whole
    return (whole + more).astype(np.int32)
