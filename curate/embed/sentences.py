"""Any sentence-transformers model as an encoder; the library is loaded when the encoder is opened."""

from __future__ import annotations

import importlib.util
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from curate.embed.config import VectorsConfig
from curate.errors import ConfigError

F32 = npt.NDArray[np.float32]
VERSION = 1


def model_folder(model: str, base: Path) -> Path:
    """Where the files of ``model`` are; nothing is loaded or downloaded.

    Raises:
        ConfigError: there is no such folder, package or cached model.
    """
    if model.startswith("package:"):
        return _packaged(model.removeprefix("package:"))
    folder = base / Path(model).expanduser()
    if folder.is_dir():
        return folder
    return _cached(model)


def _packaged(name: str) -> Path:
    if not name.isidentifier() or importlib.util.find_spec(name) is None:
        raise ConfigError(f"vectors.model: there is no package {name!r}; install it, or name a folder")
    try:
        return Path(str(import_module(name).get_model_path()))
    except AttributeError:
        raise ConfigError(f"vectors.model: the package {name!r} has no get_model_path(); name a folder") from None


def _cached(model: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ConfigError(
            f"vectors.model: {model!r} is no folder, and names need `pip install 'curate[models]'`"
        ) from None
    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"vectors.model: {model!r} is neither a folder nor in the local Hugging Face cache "
            f"({type(error).__name__}); download it first (`hf download {model}`), or name a folder"
        ) from error


def model_digest(folder: Path) -> str:
    """xxh3-128 over names and contents of all files of a model."""
    digest = xxhash.xxh3_128()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


class SentenceEncoder:
    """Vectors of a sentence-transformers model: tokens, pooling and scaling as its own files say.

    Texts beyond the model's window are cut (``max_tokens`` shortens the window). Padding inside a batch may move the
    last bits of single precision; what is stored as float16 hides that.
    """

    def __init__(self, config: VectorsConfig, base: Path) -> None:
        folder = model_folder(str(config.model), base)
        try:
            from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ConfigError(
                "vectors.encoder: sentence_transformers is not installed; `pip install 'curate[models]'`, "
                "or use `encoder: hashed`"
            ) from None
        self._model: Any = SentenceTransformer(str(folder), device=config.device, trust_remote_code=False)
        self._model.eval()
        if config.max_tokens is not None:
            self._model.max_seq_length = config.max_tokens
        self._prefix, self._batch = config.prefix, config.batch_size
        self.name = f"sentence_transformers {config.model} on {self._model.device}"
        size = getattr(self._model, "get_embedding_dimension", None) or self._model.get_sentence_embedding_dimension
        self.dimension = int(size())
        if config.dimension is not None and config.dimension != self.dimension:
            raise ConfigError(f"vectors.dimension is {config.dimension}, the model gives {self.dimension}")
        said = f"{VERSION} {config.prefix!r} {config.max_tokens}".encode()
        self.digest = xxhash.xxh3_128_hexdigest(said + model_digest(folder).encode())

    def encode(self, texts: pa.Array) -> F32:
        """(texts, dimension); sorted by length inside, so that little is spent on padding."""
        given = [self._prefix + text for text in texts.to_pylist()]
        if not given:
            return np.empty((0, self.dimension), np.float32)
        found = self._model.encode(given, batch_size=self._batch, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found, np.float32)
