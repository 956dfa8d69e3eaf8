"""From texts to shingle hashes and signatures, as a MinHash config says."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.config import MinhashConfig
from curate.kernels.minhash import (
    band_keys,
    permutations,
    signatures,
    signatures_32,
    text_shingles,
    word_shingles,
)
from curate.kernels.normalise import fold, fold_words, has_word, simplify
from curate.kernels.strings import string_buffers
from curate.kernels.words import WordSplitter

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class Shingles(NamedTuple):
    """Hashes of all shingles of a column of texts, in order, with repeats.

    Attributes:
        hashes: document ``d`` has ``hashes[borders[d]:borders[d + 1]]``.
        borders: one more than there are documents.
        words: units per document after normalisation: words, or code points for character shingles; 0 for a text
            without words.
    """

    hashes: U64
    borders: I64
    words: I64


class Signed(NamedTuple):
    """Signatures of a column of texts.

    Attributes:
        signature: documents × hashes, of ``hash_bits`` each.
        keys: documents × bands.
        words: words (or code points) per document.
        valid: False for a document without shingles; its rows mean nothing.
    """

    signature: U64 | npt.NDArray[np.uint32]
    keys: U64
    words: I64
    valid: npt.NDArray[np.bool_]


def shingle(texts: pa.Array, config: MinhashConfig) -> Shingles:
    """The shingle hashes of each text. A text without words has none; short ones as ``MinhashConfig`` says."""
    data, offsets = string_buffers(texts)
    n = config.shingle.n
    if config.normalisation == "datatrove":
        data, offsets = simplify(data, offsets)
        if config.shingle.unit == "words":
            words = _splitter().split(data, offsets)
            spans = words.data, words.starts, words.ends, words.documents
            hashes, borders = word_shingles(*spans, n, not config.compatible)
            return Shingles(hashes, borders, np.diff(words.documents))
    elif config.shingle.unit == "words":
        return Shingles(*text_shingles(*fold_words(data, offsets), n, True, True))
    else:
        data, offsets = fold(data, offsets, lower=True, collapse=True)
    return _characters(data, offsets, n)


def sign(texts: pa.Array, config: MinhashConfig) -> Signed:
    """Signatures and band keys of each text."""
    plan = config.plan
    found = shingle(texts, config)
    given = found.hashes, found.borders, *permutations(config.seed, plan.hashes)
    if config.hash_bits == 32:
        half = signatures_32(*given)
        keys = band_keys(half.astype(np.uint64), plan.bands, plan.rows)
        return Signed(half, keys, found.words, np.diff(found.borders) > 0)
    signature = signatures(*given)
    keys = band_keys(signature, plan.bands, plan.rows)
    return Signed(signature, keys, found.words, np.diff(found.borders) > 0)


def _characters(data: npt.NDArray[np.uint8], offsets: I64, n: int) -> Shingles:
    """Character shingles; none for a text without words, so that rows of dashes are not each other's duplicates."""
    hashes, borders, points = text_shingles(data, offsets, n, True, False)
    wordless = ~has_word(data, offsets)
    if not wordless.any():
        return Shingles(hashes, borders, points)
    lengths = np.diff(borders)
    keep = np.repeat(~wordless, lengths)
    lengths[wordless] = 0
    points[wordless] = 0
    return Shingles(hashes[keep], np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), points)


@lru_cache(maxsize=1)
def _splitter() -> WordSplitter:
    return WordSplitter("en")
