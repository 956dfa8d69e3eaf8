"""Outputs of documents → columns of a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.backends.encoder_options import Column
from classifiers.windows import Pieces, pool

if TYPE_CHECKING:
    from classifiers.cards import Card, Label, Window

__all__ = ["activated", "columns"]

F64 = npt.NDArray[np.float64]


def activated(logits: npt.NDArray[Any], activation: str) -> F64:
    """The outputs as the card reads them; a row with a value that is not finite is NaN throughout."""
    values = logits.astype(np.float64)
    values[~np.isfinite(values).all(axis=1)] = np.nan
    if activation == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-values)), np.float64)
    if activation == "softmax" and values.size:
        shifted = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float64)
    return values


def columns(
    card: Card, said: Mapping[str, Column], heads: Sequence[str], values: F64, parts: Pieces, documents: int
) -> dict[str, pa.Array]:
    """One array per label: pooled over the pieces of each document, then clipped, rounded and named.

    NaN where a document has no piece, or a piece without a finite answer.
    """
    pooled: dict[str | None, F64] = {}
    found = {}
    for label in card.labels:
        column = said[label.name]
        if column.pool not in pooled:
            pooled[column.pool] = pool(values, parts, documents, _window(card.window, column.pool))
        found[label.name] = _column(label, column, heads, pooled[column.pool])
    return found


def _window(window: Window, how: str | None) -> Window:
    """The window with the card's way of joining pieces, or this one."""
    if how is None:
        return window
    return window.model_copy(update={"policy": "chunk_max" if how == "max" else "chunk_mean"})


def _column(label: Label, column: Column, heads: Sequence[str], values: F64) -> pa.Array:
    known = ~np.isnan(values).any(axis=1)
    if column.argmax:
        best = np.where(known, np.argmax(np.where(np.isnan(values), -np.inf, values), axis=1), 0)
        if label.type == "int":
            return pa.array(np.array([int(h) for h in heads])[best], pa.int32(), mask=~known)
        return pa.array(np.array(heads, object)[best], pa.string(), mask=~known)
    if column.expected is not None:
        worth = np.array([column.expected[head] for head in heads])
        number = values @ worth
    elif column.top:
        number = np.where(known, values.max(axis=1, initial=-np.inf), np.nan)
    else:
        number = values[:, list(heads).index(str(column.head))]
    return _numbers(label, column, number)


def _numbers(label: Label, column: Column, number: F64) -> pa.Array:
    known = np.isfinite(number)
    if column.clip is not None:
        number = np.clip(number, *column.clip)
    if column.cut is not None:
        names = np.array(column.cut.names, object)
        return pa.array(names[(number >= column.cut.at).astype(np.int64)], pa.string(), mask=~known)
    if column.round:
        number = np.round(number)
    if label.type == "int":
        return pa.array(np.where(known, number, 0).astype(np.int32), pa.int32(), mask=~known)
    return pa.array(number.astype(np.float32), pa.float32(), mask=~known)
