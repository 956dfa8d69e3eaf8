"""Features of students: blocks of numbers per text, the same when learning and when rating.

``hashed`` and ``statistics`` come from one compiled pass over the bytes; ``wordllama`` (static embeddings) and
``sentences`` (any sentence-transformers model) read the first and the last characters of a text; ``fasttext`` is the
sentence vector of a fastText model. What decides a block beside the text (a model's files) is pinned by a digest in
the card, and refused where it is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from classifiers.contract import Texts
from curate.errors import ConfigError, ModelError

__all__ = ["Embedding", "FastText", "Hashed", "Sentences", "Spec", "Statistics", "WordLlama", "open_embedder"]

Floats = npt.NDArray[np.float32]

_MISSING = "features: {what} needs the package {package}: `pip install {install}`"


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    weight: float = Field(
        default=1.0, gt=0, le=100, description="How much the block counts: its mean squared length, beside 1 for words."
    )


class Hashed(_Spec):
    """Words and word pairs, and runs of characters, hashed, weighted by rarity."""

    kind: Literal["hashed"] = "hashed"
    word_bits: int = Field(default=16, ge=8, le=22, description="2 to this power buckets for words and pairs.")
    run_bits: int = Field(default=16, ge=0, le=22, description="The same for runs of characters; 0: none.")
    run_shortest: int = Field(default=4, ge=2, le=7, description="Bytes of the shortest run.")
    run_longest: int = Field(default=4, ge=2, le=7, description="Bytes of the longest run.")


class Statistics(_Spec):
    """The 52 statistics of a text's shape, through random Fourier features, so that their effects may bend."""

    kind: Literal["statistics"] = "statistics"
    weight: float = Field(default=0.5, gt=0, le=100, description="How much the block counts.")
    waves: int = Field(default=512, ge=16, le=4096, description="Random features that stand for an RBF kernel.")


class _Windowed(_Spec):
    head: int = Field(default=4000, ge=1, description="Characters read at the start.")
    tail: int = Field(default=1500, ge=0, description="Characters read at the end, as a vector of their own; 0: none.")
    digest: str = Field(default="", description="Of the model's files; written by the training, checked when rating.")


class WordLlama(_Windowed):
    """Static embeddings of 256 dimensions that the package wordllama carries; no torch."""

    kind: Literal["wordllama"] = "wordllama"


class Sentences(_Windowed):
    """Any sentence-transformers model."""

    kind: Literal["sentences"] = "sentences"
    model: str = Field(
        min_length=1, description="Folder (relative to the card), hub name in the cache, or package:NAME."
    )
    head: int = Field(default=1300, ge=1, description="Characters read at the start.")
    tail: int = Field(default=1200, ge=0, description="Characters read at the end, as a vector of their own; 0: none.")
    max_tokens: int | None = Field(default=None, ge=1, description="Tokens read of each; null: as the model says.")
    batch_size: int = Field(default=32, ge=1, description="Texts per call of the model.")
    device: str | None = Field(default=None, description="cpu, cuda …; null: a GPU where there is one.")


class FastText(_Windowed):
    """Sentence vectors of a fastText model (.bin or .ftz)."""

    kind: Literal["fasttext"] = "fasttext"
    model: str = Field(min_length=1, description="File, relative to the card.")


Spec = Annotated[Hashed | Statistics | WordLlama | Sentences | FastText, Field(discriminator="kind")]
Embedding = WordLlama | Sentences | FastText


class Embedder(Protocol):
    """Texts → vectors, with the digest of what decides them."""

    digest: str

    def encode(self, texts: Sequence[str]) -> Floats:
        """(texts, dimension)."""
        ...


def open_embedder(spec: Embedding, base: Path) -> Embedder:
    """The embedder, its files checked against ``spec.digest`` if there is one.

    Raises:
        ConfigError: package or model are missing.
        ModelError: the files are other ones than those that the student learned from.
    """
    found: Embedder
    if isinstance(spec, WordLlama):
        found = _Static()
    elif isinstance(spec, Sentences):
        found = _Encoder(spec, base)
    else:
        found = _Vectors(base / spec.model, spec.digest)
    if spec.digest and spec.digest != found.digest:
        raise ModelError(
            f"features: {spec.kind}: the model has digest {found.digest}, the student learned from {spec.digest}; "
            "use that model, or train anew"
        )
    return found


def embedded(spec: Embedding, embedder: Embedder, texts: Texts) -> Floats:
    """(texts, dimension or twice that), each part of length 1, zero where a text is empty; shared within a pass."""
    key = ("student", spec.kind, embedder.digest, spec.head, spec.tail)
    if key not in texts.shared:
        strings = texts.strings()
        parts = [_unit(embedder, [s[: spec.head] for s in strings])]
        if spec.tail:
            parts.append(_unit(embedder, [s[-spec.tail :] for s in strings]))
        texts.shared[key] = np.ascontiguousarray(np.hstack(parts), np.float32)
    found: Floats = texts.shared[key]
    return found


def _unit(embedder: Embedder, strings: Sequence[str]) -> Floats:
    """Vectors of length 1; a text without a visible character is never shown to the model."""
    said = [i for i, s in enumerate(strings) if s.strip()]
    some = embedder.encode([strings[i] for i in said] or ["."]).astype(np.float32)
    out = np.zeros((len(strings), some.shape[1]), np.float32)
    if said:
        length = np.sqrt(np.einsum("nd,nd->n", some, some))
        out[said] = some / np.maximum(length, 1e-12)[:, None]
    return out


class _Static:
    """wordllama's embeddings, from the files inside its package."""

    def __init__(self) -> None:
        try:
            import wordllama  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            text = _MISSING.format(what="wordllama", package="wordllama", install="wordllama")
            raise ConfigError(text) from None
        folder = Path(str(wordllama.__file__)).parent
        files = sorted([*folder.glob("weights/*.safetensors"), *folder.glob("tokenizers/*.json")])
        self.digest = _sha256(files)
        # the package looks for its tokenizer in the wrong folder and would download it, unless told where it is
        self._model: Any = wordllama.WordLlama.load(cache_dir=str(folder), disable_download=True)

    def encode(self, texts: Sequence[str]) -> Floats:
        return np.asarray(self._model.embed(list(texts), norm=False), np.float32)


class _Encoder:
    """A sentence-transformers model, by the encoder that vectors of a corpus use too."""

    def __init__(self, spec: Sentences, base: Path) -> None:
        from curate.embed.config import VectorsConfig
        from curate.embed.sentences import SentenceEncoder

        self._encoder = SentenceEncoder(
            VectorsConfig(encoder="sentence_transformers", model=spec.model, max_tokens=spec.max_tokens,
                          batch_size=spec.batch_size, device=spec.device), base,
        )  # fmt: skip
        self.digest = self._encoder.digest

    def encode(self, texts: Sequence[str]) -> Floats:
        import pyarrow as pa

        return self._encoder.encode(pa.array(list(texts), pa.string()))


class _Vectors:
    """Sentence vectors of a fastText model, checked before it is loaded."""

    def __init__(self, path: Path, digest: str) -> None:
        from curate.models import load_fasttext

        if not path.is_file():
            raise ConfigError(f"features: fasttext: there is no file {path}; give the path of a .bin or .ftz model")
        self.digest = _sha256([path])
        self._model: Any = load_fasttext(str(path), digest or None)

    def encode(self, texts: Sequence[str]) -> Floats:
        from fasttext_pybind import Vector  # type: ignore[import-not-found,unused-ignore]

        size = self._model.getArgs().dim
        out = np.empty((len(texts), size), np.float32)
        for i, text in enumerate(texts):
            vector = Vector(size)
            self._model.getSentenceVector(vector, " ".join(text.split()))  # it would stop at a newline
            out[i] = np.array(vector)
        return out


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
