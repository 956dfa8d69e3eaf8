"""Heads of a small model over projected features: random Fourier features, a mixing layer, calibration; compiled.

Every document is computed by loops of its own, never by a matrix product over the batch: the order of additions, and
so every bit, is the same in a batch of one and of a thousand.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def first_scores(latent, scale, decode, z, wave, phase, wave_heads, bias, out):  # type: ignore[no-untyped-def]
    """Ridge scores of each document: Σ blocks (latent · scale) · decode + cos(z · wave + phase) · wave_heads + bias.

    Args:
        latent: float32 (documents, blocks, width); ``scale`` (blocks, width); ``decode`` (width, heads).
        z: float32 (documents, statistics), standardised; ``wave`` (statistics, waves); ``phase`` (waves).
        wave_heads: float32 (waves, heads); ``bias`` (heads); ``out`` (documents, heads), filled.
    """
    width, heads = decode.shape
    waves = phase.shape[0]
    angle = np.empty(waves, np.float32)
    for d in range(latent.shape[0]):
        row = out[d]
        for h in range(heads):
            row[h] = bias[h]
        for j in range(width):
            value = np.float32(0)
            for b in range(latent.shape[1]):
                value += latent[d, b, j] * scale[b, j]
            for h in range(heads):
                row[h] += value * decode[j, h]
        for k in range(waves):
            angle[k] = phase[k]
        for s in range(z.shape[1]):
            value = z[d, s]
            for k in range(waves):
                angle[k] += value * wave[s, k]
        for k in range(waves):
            value = np.cos(angle[k])
            for h in range(heads):
                row[h] += value * wave_heads[k, h]


@njit(cache=True, nogil=True)
def mix(scores, mixer, bias, out):  # type: ignore[no-untyped-def]
    """``out = scores · mixer + bias``, row by row."""
    for d in range(scores.shape[0]):
        for h in range(out.shape[1]):
            out[d, h] = bias[h]
        for a in range(scores.shape[1]):
            value = scores[d, a]
            for h in range(out.shape[1]):
                out[d, h] += value * mixer[a, h]


@njit(cache=True, nogil=True)
def calibrate(values, knots, targets, low, high, out):  # type: ignore[no-untyped-def]
    """Piecewise linear through (knots, targets); beyond them towards ``low`` and ``high``, never quite; one column."""
    last = knots.shape[0] - 1
    scale = (knots[last] - knots[0]) / 4
    for d in range(values.shape[0]):
        v = values[d]
        k = min(max(np.searchsorted(knots, v) - 1, 0), last - 1)
        if v < knots[0]:
            out[d] = low + (targets[0] - low) * np.exp((v - knots[0]) / scale)
        elif v > knots[last]:
            out[d] = high - (high - targets[last]) * np.exp((knots[last] - v) / scale)
        else:
            t = (v - knots[k]) / (knots[k + 1] - knots[k])
            out[d] = targets[k] + t * (targets[k + 1] - targets[k])


@njit(cache=True, nogil=True)
def best_class(logits, best, share):  # type: ignore[no-untyped-def]
    """Index of the largest logit of each row (the first of equals) and its softmax share."""
    for d in range(logits.shape[0]):
        top = 0
        for k in range(1, logits.shape[1]):
            if logits[d, k] > logits[d, top]:
                top = k
        total = 0.0
        for k in range(logits.shape[1]):
            total += np.exp(np.float64(logits[d, k] - logits[d, top]))
        best[d] = top
        share[d] = 1.0 / total
