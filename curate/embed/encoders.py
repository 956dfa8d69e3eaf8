"""The contract of an encoder, and what every vector goes through before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.embed.config import VectorsConfig

F32 = npt.NDArray[np.float32]

#: what the column ``status`` of vectors says
OK, EMPTY, NOT_FINITE, NOT_ASKED = "ok", "empty", "not_finite", "not_asked"


class Encoder(Protocol):
    """Texts → float vectors.

    Attributes:
        name: of the encoder and its model, for people.
        dimension: of its vectors.
        digest: of everything that decides them: code version, parameters, model files.
    """

    name: str
    dimension: int
    digest: str

    def encode(self, texts: pa.Array) -> F32:
        """(texts, dimension), any length; a row does not depend on the others. Zero where there is nothing to say."""
        ...


def open_encoder(config: VectorsConfig, base: Path, weights: F32 | None = None) -> Encoder:
    """The encoder that ``config`` names, ready to work.

    Args:
        base: what relative paths belong to.
        weights: of the hashed encoder's buckets.

    Raises:
        ConfigError: a package or a model is missing.
    """
    if config.encoder == "hashed":
        from curate.embed.hashed import HashedEncoder

        return HashedEncoder(config, weights)
    if config.encoder == "sentence_transformers":
        from curate.embed.sentences import SentenceEncoder

        return SentenceEncoder(config, base)
    raise ValueError("vectors of a column need no encoder")


def unit_rows(vectors: npt.NDArray[Any]) -> tuple[F32, pa.Array]:
    """Rows of length 1, and what became of each: ``ok``, ``empty`` (zero) or ``not_finite`` (then zero too)."""
    finite = np.isfinite(vectors).all(axis=1)
    clean = np.where(finite[:, None], vectors, 0).astype(np.float64)
    largest = np.abs(clean).max(axis=1, initial=0.0)
    empty = largest == 0
    clean /= np.where(empty, 1.0, largest)[:, None]  # so that squares neither overflow nor vanish
    length = np.sqrt(np.einsum("nd,nd->n", clean, clean))
    unit = (clean / np.where(empty, 1.0, length)[:, None]).astype(np.float32)
    status = np.where(~finite, NOT_FINITE, np.where(empty, EMPTY, OK))
    return unit, pa.array(status.tolist(), pa.string())


def encoded(encoder: Encoder, texts: pa.Array) -> tuple[F32, pa.Array]:
    """Unit vectors and status of ``texts``; a text without a visible character is ``empty``, whatever the encoder."""
    unit, status = unit_rows(encoder.encode(texts))
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
    if pc.any(blank).as_py():
        unit[blank.to_numpy(zero_copy_only=False)] = 0
        status = pc.if_else(blank, EMPTY, status)
    return unit, status
