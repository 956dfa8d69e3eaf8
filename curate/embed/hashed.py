"""The encoder that needs no model: hashed words and word pairs, weighted by rarity, projected at random.

TF-IDF with log counts (Salton and Buckley 1988) over hashed features (Weinberger et al. 2009), and a projection with
random signs (Achlioptas 2003), which keeps cosines up to about (1 − cos²) / √dimension. It sees shared words, their
rarity and their order in pairs; it knows no synonyms. How rare a word is comes from a sample of the corpus.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from curate.embed.config import HASHED_DIMENSION, VectorsConfig
from curate.kernels.strings import string_buffers
from curate.kernels.word_projection import count_documents, project

F32 = npt.NDArray[np.float32]

VERSION = 1
#: 2 to this power buckets for words, and as many for pairs; their table takes dimension bytes each
BITS = 17
#: a pair says less than a word: at this weight words moved within a line cost a cosine of about 0.07
PAIR_WEIGHT = 0.2
#: bytes read at either end of a text; a shorter text is read whole
HEAD, TAIL = 1 << 15, 1 << 13


class WordWeights:
    """Counts in how many documents each bucket occurs, and makes weights of it."""

    def __init__(self) -> None:
        self.documents = 0
        self.frequencies = np.zeros(2 << BITS, np.int64)

    def add(self, texts: pa.Array) -> None:
        """Count more documents; the order does not matter."""
        data, offsets = string_buffers(texts)
        count_documents(data, offsets, HEAD, TAIL, BITS, self.frequencies)
        self.documents += len(texts)

    def weights(self) -> F32:
        """``1 + ln((1 + documents) / (1 + frequency))``, pairs at a fifth: (buckets,)."""
        found = 1.0 + np.log((1 + self.documents) / (1 + self.frequencies))
        found[1 << BITS :] *= PAIR_WEIGHT
        return found.astype(np.float32)


class HashedEncoder:
    """Vectors of weighted hashed words.

    Args:
        weights: of the buckets, from ``WordWeights``; None: all words weigh the same.

    Memory: the table of signs, ``2 ** 18`` bytes per dimension (64 MB for 256). Two runs with equal weights and seed
    give equal bits.
    """

    def __init__(self, config: VectorsConfig, weights: F32 | None) -> None:
        self.dimension = config.dimension or HASHED_DIMENSION
        self.name = f"hashed-{self.dimension}"
        self._weights = weights if weights is not None else WordWeights().weights()
        said = f"{VERSION} {self.dimension} {config.seed} {BITS} {PAIR_WEIGHT} {HEAD} {TAIL}".encode()
        self.digest = xxhash.xxh3_128_hexdigest(said + self._weights.tobytes())
        self._table = _signs(2 << BITS, self.dimension, config.seed)

    def encode(self, texts: pa.Array) -> F32:
        """(texts, dimension), not scaled; zero for a text without a word."""
        data, offsets = string_buffers(texts)
        vectors, _ = project(data, offsets, HEAD, TAIL, BITS, self._weights, self._table)
        return vectors


def _signs(rows: int, width: int, seed: int) -> npt.NDArray[np.int8]:
    """Random −1 and 1."""
    drawn = np.frombuffer(np.random.Generator(np.random.PCG64(seed)).bytes(rows * width // 8), np.uint8)
    signs = np.unpackbits(drawn).view(np.int8)
    signs *= 2
    signs -= 1
    return signs.reshape(rows, width)
