"""Tokens per document, counted with any ``tokenizers`` file, or estimated from bytes.

The tokenizer is a ``tokenizer.json`` by path, or the one that ships here (``curate-bpe-16k``: byte-level BPE of 16,384
tokens, digits one by one; ``curate/stages/assets/train_tokenizer.py`` made it). Special tokens that a tokenizer would
put around a text are not counted, truncation and padding written in the file are switched off.

Memory is bounded: texts are encoded in pieces of at most 200,000 characters that end before white space. For
tokenizers that split at white space first, as nearly all do, the sum over the pieces is the count of the whole; with
others it may differ by a token per cut. A word longer than a piece is cut through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from curate.documents import Batch, column
from curate.errors import ConfigError, ModelError
from curate.kernels.strings import string_buffers
from curate.stages.base import Context, Stage, StageConfig

BUNDLED = "curate-bpe-16k"
_BUNDLED_FILE = Path(__file__).parent / "assets" / f"{BUNDLED}.json"
#: Characters per piece and per call; an encoded character costs up to some 150 bytes.
PIECE, CALL = 200_000, 2_000_000
BYTES_PER_TOKEN = 4


class TokensConfig(StageConfig):
    """How tokens are counted.

    Attributes:
        tokenizer: ``curate-bpe-16k``, or the path of a ``tokenizer.json``, relative to the config.
        estimate: ``bytes`` counts no tokens but a quarter of the UTF-8 bytes, rounded up; null counts.
    """

    tokenizer: str = BUNDLED
    estimate: Literal["bytes"] | None = None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the library's own threads off while it encodes: the launcher decides on the cores.

    It reads its switch from the environment at each call and offers no other; the value is put back.
    """
    key = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(key)
    os.environ[key] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """The text in parts of at most ``size`` characters, cut before white space in their second half if possible."""
    start = 0
    while len(text) - start > size:
        end = start + size
        for at in range(end, start + size // 2, -1):
            if text[at].isspace() and not text[at - 1].isspace():
                end = at
                break
        yield text[start:end]
        start = end
    yield text[start:]


class Tokens(Stage):
    """Labels ``tokens_count``."""

    name = "tokens"
    Config = TokensConfig
    config: TokensConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self._tokenizer: Any = None

    def adds(self) -> pa.Schema:
        """``tokens_count``, int32, never null; its description names the tokenizer or says that it is an estimate."""
        if self.config.estimate:
            doc = f"ESTIMATE of tokens: UTF-8 bytes divided by {BYTES_PER_TOKEN}, rounded up"
        else:
            doc = f"tokens of the text by {Path(self.config.tokenizer).name}, without special tokens"
        return pa.schema([column("tokens_count", pa.int32(), doc, unit="tokens", nullable=False)])

    def assets(self, base: Path) -> Mapping[str, Path]:
        """The tokenizer's file; none for an estimate."""
        return {} if self.config.estimate else {"tokenizer": self._file(base)}

    def open(self, context: Context) -> None:
        """Load the tokenizer.

        Raises:
            ConfigError: there is no such file.
            ModelError: it is not a tokenizer.
        """
        if self.config.estimate:
            return
        path = self._file(context.base)
        if not path.is_file():
            raise ConfigError(f"tokens.tokenizer: no file {path}; give the path of a tokenizer.json, or {BUNDLED!r}")
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise ModelError(f"tokens.tokenizer: {path} is not a tokenizers file: {str(error)[:200]}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def close(self) -> None:
        """Forget the tokenizer."""
        self._tokenizer = None

    def process(self, batch: Batch) -> Batch:
        """The batch with ``tokens_count``."""
        texts = batch.column("text")
        counts = self._estimate(texts) if self.config.estimate else self._count(texts)
        return batch.with_columns({self.adds().field(0): pa.array(counts.astype(np.int32), pa.int32())})

    def _file(self, base: Path) -> Path:
        return _BUNDLED_FILE if self.config.tokenizer == BUNDLED else base / self.config.tokenizer

    def _estimate(self, texts: pa.Array) -> Any:
        _, offsets = string_buffers(texts)
        return -(-np.diff(offsets) // BYTES_PER_TOKEN)

    def _count(self, texts: pa.Array) -> Any:
        if self._tokenizer is None:
            raise RuntimeError("tokens: open() comes before process()")
        counts = np.zeros(len(texts), np.int64)
        rows: list[int] = []
        waiting: list[str] = []
        size = 0
        with _one_thread():
            for row, scalar in enumerate(texts):
                for piece in pieces(scalar.as_py() or ""):
                    if size + len(piece) > CALL:
                        self._add(counts, rows, waiting)
                        rows, waiting, size = [], [], 0
                    rows.append(row)
                    waiting.append(piece)
                    size += len(piece)
            self._add(counts, rows, waiting)
        return counts

    def _add(self, counts: Any, rows: list[int], waiting: list[str]) -> None:
        encoded = self._tokenizer.encode_batch_fast(waiting, add_special_tokens=False) if waiting else []
        np.add.at(counts, np.array(rows, np.int64), [len(each) for each in encoded])
