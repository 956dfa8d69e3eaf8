"""Alignment with a target by compression (ZIP-FIT, Obbad et al. 2024).

The normalised compression distance of two texts is (C(xy) − min(C(x), C(y))) / max(C(x), C(y)), C being the compressed
size. A document's alignment is the mean over the target's texts of 1 − distance: about 0 where nothing is shared, near
1 where the texts are the same. No model, no training; the time is documents × target texts, so keep the target small.

gzip here is deflate without gzip's header, whose 18 bytes tell texts from texts by nothing. Its window is 32 KB: target
texts are cut to ``TARGET_BYTES``, documents to ``DOCUMENT_BYTES``, so that both lie inside it. Sizes depend on the
compression library, so its version belongs to whatever fingerprints these numbers (``library``).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from curate.errors import ConfigError
from curate.select.noise import Floats

Method = Literal["gzip", "lz4"]
TARGET_BYTES = 8 << 10
DOCUMENT_BYTES = 16 << 10


class Alignment:
    """Alignment of documents with a target.

    Memory: 300 KB per target text (gzip), and one document.

    Args:
        target: the target's texts; empty ones are left out.
        method: ``gzip``, or ``lz4``, which is several times as fast, coarser, and needs the package lz4.
        level: of compression, 1–9 for gzip; lz4 has one.
    """

    def __init__(self, target: Sequence[str], method: Method = "gzip", level: int = 6) -> None:
        texts = [t.encode("utf-8", "replace")[:TARGET_BYTES] for t in target if t.strip()]
        if not texts:
            raise ConfigError("zipfit: the target holds no text")
        self.method, self.level = method, level
        if method == "lz4":
            compress = _lz4()
            self._size: Callable[[bytes], int] = lambda data: len(compress(data))
            self._joint: list[Callable[[bytes], int]] = [_joined(t, self._size) for t in texts]
        else:
            self._size = lambda data: _finished(zlib.compressobj(level, zlib.DEFLATED, -15), data, 0)
            self._joint = [_continued(t, level) for t in texts]
        self._alone = np.array([self._size(t) for t in texts], np.float64)

    @property
    def library(self) -> str:
        """What compresses, with its version: two versions may give two sizes."""
        if self.method == "lz4":
            import lz4  # type: ignore[import-untyped]

            return f"lz4 {lz4.library_version_number()}"
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"

    def score(self, texts: pa.Array) -> Floats:
        """Alignment of each text, at most about 1; NaN for texts without anything but space."""
        out = np.full(len(texts), np.nan)
        for i, text in enumerate(texts.to_pylist()):
            if text is not None and text.strip():
                out[i] = self._one(text.encode("utf-8", "replace")[:DOCUMENT_BYTES])
        return out

    def _one(self, data: bytes) -> float:
        alone = float(self._size(data))
        joint = np.array([joint(data) for joint in self._joint], np.float64)
        distance = (joint - np.minimum(self._alone, alone)) / np.maximum(self._alone, alone)
        return float(np.mean(1.0 - distance))


def _finished(compressor: Any, data: bytes, done: int) -> int:
    return done + len(compressor.compress(data)) + len(compressor.flush())


def _continued(target: bytes, level: int) -> Callable[[bytes], int]:
    """Compressed size of the target and a text behind it: the target is compressed once, the state copied."""
    state = zlib.compressobj(level, zlib.DEFLATED, -15)
    done = len(state.compress(target))
    return lambda data: _finished(state.copy(), data, done)


def _joined(target: bytes, size: Callable[[bytes], int]) -> Callable[[bytes], int]:
    return lambda data: size(target + data)


def _lz4() -> Callable[[bytes], bytes]:
    try:
        import lz4.block  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError("zipfit: `method: lz4` needs the package lz4 (pip install lz4); or use gzip") from error
    found: Callable[[bytes], bytes] = lz4.block.compress
    return found
