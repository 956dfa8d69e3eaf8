"""Columns from columns: scores scaled, combined by weights or by rank and maximum, cut into bins.

All functions are pure, take float64 arrays in which NaN means "no score", and never make a number out of none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.select.config import NEMOTRON_CUTS, NEMOTRON_LEVELS
from curate.select.noise import Floats
from curate.select.reference import Reference

Scale = Literal["percentile", "min_max", "none"]
Missing = Literal["null", "renormalise"]
Ints = npt.NDArray[np.int64]


def scaled(scores: Floats, reference: Reference, scale: Scale) -> Floats:
    """Scores on a common scale, 0–1.

    Args:
        scale: ``percentile``: the mid-rank percentile among the reference; ``min_max``: linear between its smallest
            and largest score, what lies outside is cut to 0 and 1, and 0.5 if all of its scores are equal (one
            outlier of the sample decides this scale: prefer percentiles); ``none``: as they are.
    """
    if scale == "percentile":
        return reference.percentiles(scores)
    if scale == "none":
        return scores.copy()
    low, high = reference.bounds
    if np.isnan(low):
        return np.full(len(scores), np.nan)
    if low == high:
        return np.where(np.isnan(scores), np.nan, 0.5)
    # half the span first: the difference of two large numbers of opposite sign is no number
    found: Floats = np.clip((scores / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0)
    return found


def combine(columns: Mapping[str, Floats], weights: Mapping[str, float], missing: Missing = "null") -> Floats:
    """The weighted sum Σ w·x / Σ |w|, as Meta-rater combines 25 scores (Zhuang et al. 2025).

    Args:
        weights: per column; may be negative; not all 0.
        missing: ``null``: a document that lacks one of the scores has none; ``renormalise``: the weights of those it
            has are scaled up to what all weigh, and it has none only if it lacks all.
    """
    names = [n for n in weights if weights[n] != 0]
    if not names or not all(np.isfinite(weights[n]) for n in names):
        raise ValueError("weights must be finite and not all zero")
    values = np.column_stack([columns[n] for n in names])
    weight = np.array([weights[n] for n in names], np.float64)
    known = ~np.isnan(values)
    total = known @ np.abs(weight)
    sums = np.where(known, values, 0.0) @ weight
    usable = known.any(axis=1) if missing == "renormalise" else known.all(axis=1)
    return np.where(usable, sums / np.where(total == 0, 1.0, total), np.nan)


def rank_buckets(scores: Floats, edges: Floats) -> Ints:
    """The part of ``Reference.edges`` that each score falls in, from 0 (lowest) up; −1 where there is no score.

    With token weights every bucket holds the same share of the tokens of the reference, but for ties, which stay
    together (in the bucket where the first of them falls, counted from below).
    """
    found: Ints = np.searchsorted(edges, scores, side="left").astype(np.int64)
    found[np.isnan(scores)] = -1
    return found


def maximum(buckets: Sequence[Ints]) -> Ints:
    """Per document the largest bucket that a rater gave it; −1 where none gave one (Nemotron-CC's ensemble)."""
    found: Ints = np.maximum.reduce([np.asarray(b, np.int64) for b in buckets])
    return found


def levels(buckets: Ints, cuts: Sequence[int] = NEMOTRON_CUTS, names: Sequence[str] = NEMOTRON_LEVELS) -> pa.Array:
    """Names of the levels of buckets: the first name below the first cut, and so on; null for −1.

    By default Nemotron-CC's five over 20 buckets (Su et al. 2024): high 19, medium_high 18, medium 12–17, medium_low
    7–11, low 0–6.
    """
    if len(names) != len(cuts) + 1 or list(cuts) != sorted(set(cuts)):
        raise ValueError("levels: cuts must ascend, and there is one name more than there are cuts")
    place = np.searchsorted(np.asarray(cuts), buckets, side="right")
    return pa.array(list(names), pa.string()).take(pa.array(place, pa.int64(), mask=buckets < 0))


def bins(scores: Floats, edges: Sequence[float]) -> Ints:
    """The bin of each score: 0 below the first edge, k on or above the k-th; −1 where there is no score."""
    if any(not a < b for a, b in itertools.pairwise(edges)):
        raise ValueError("bins: edges must ascend")
    found: Ints = np.searchsorted(np.asarray(edges, np.float64), scores, side="right").astype(np.int64)
    found[np.isnan(scores)] = -1
    return found


def merge_by_domain(
    columns: Mapping[str, Floats],
    domains: Sequence[str | None],
    weights: Mapping[str, Mapping[str, float]],
    default: Mapping[str, float] | None,
    missing: Missing = "null",
) -> Floats:
    """One score out of several, weighted as the document's domain says (QuaDMix, Liu et al. 2025, equation 1).

    Args:
        columns: scores, already on one scale.
        weights: domain → weights of the scores.
        default: weights for other domains and for documents without one; null: they have no score.
    """
    out = np.full(len(domains), np.nan)
    array = np.array([d if d is not None else "" for d in domains], dtype=object)
    present = np.array([d is not None for d in domains], np.bool_)
    for domain in sorted({d for d in domains if d is not None}):
        chosen = weights.get(domain, default)
        if chosen is not None:
            mask = present & (array == domain)
            out[mask] = combine({n: columns[n][mask] for n in chosen}, chosen, missing)
    if default is not None and not present.all():
        out[~present] = combine({n: columns[n][~present] for n in default}, default, missing)
    return out
