"""The layout of fastText .bin and .ftz files, walked in Python before the native loader sees them.

The native loader trusts the file: one cut in its dictionary makes it loop for ever, one cut in a matrix gives wrong
labels without an error. Layout as written by facebookresearch/fastText ``FastText::saveModel`` (format version 12, and
11 which differs in defaults only): args, dictionary, input matrix, output matrix, dense or product-quantised.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.models.binary import Reader

MAGIC = 793712314
_VERSIONS = (11, 12)
_SUPERVISED = 3
_KSUB = 256  # centroids per sub-quantiser, fixed in the format
_MAX_DIM = 1 << 16
_MAX_ENTRIES = 1 << 28
_MAX_WORD = 1 << 20


@dataclass(frozen=True)
class FastTextShape:
    """What the header says, checked against the file."""

    dim: int
    words: int
    labels: int
    bucket: int
    quantised: bool
    supervised: bool


def check_fasttext(path: Path) -> FastTextShape:
    """The shape of the model at ``path``; ModelError where structure and length do not agree to the last byte."""
    with Reader(path) as reader:
        magic, version = reader.take("ii", "file header")
        if magic != MAGIC:
            raise reader.refuse("not a fastText file (wrong magic number)")
        if version not in _VERSIONS:
            raise reader.refuse(f"fastText format version {version}, known are {_VERSIONS}")
        dim, bucket, supervised = _args(reader)
        words, labels, pruned = _dictionary(reader, bucket)
        (quantised,) = reader.take("B", "input matrix flag")
        rows = words + (pruned if pruned >= 0 else bucket)
        _matrix(reader, "input matrix", rows, dim, quantised)
        (out_quantised,) = reader.take("B", "output matrix flag")
        # the loader reads a quantised output only in a quantised model
        _matrix(reader, "output matrix", labels if supervised else words, dim, quantised and out_quantised)
        reader.end()
        return FastTextShape(dim, words, labels, bucket, bool(quantised), supervised)


def _args(reader: Reader) -> tuple[int, int, bool]:
    """(dim, bucket, supervised) from the thirteen training arguments."""
    dim, _, _, _, _, word_ngrams, loss, model, bucket, minn, maxn, _ = reader.take("12i", "arguments")
    reader.skip_finite(1, "sampling threshold", "<f8")
    if not 1 <= dim <= _MAX_DIM:
        raise reader.refuse(f"dimension {dim} outside 1 to {_MAX_DIM}")
    if not 1 <= loss <= 4 or not 1 <= model <= 3:
        raise reader.refuse(f"unknown loss {loss} or model kind {model}")
    if bucket < 0 or not 0 <= minn <= 64 or not 0 <= maxn <= 64 or not 0 <= word_ngrams <= 64:
        raise reader.refuse(f"bucket {bucket}, n-grams {minn} to {maxn}, word n-grams {word_ngrams} out of range")
    if bucket == 0 and (maxn > 0 or word_ngrams > 1):
        raise reader.refuse("n-grams without hash buckets (the loader would divide by zero)")
    return dim, bucket, model == _SUPERVISED


def _dictionary(reader: Reader, bucket: int) -> tuple[int, int, int]:
    """(words, labels, pruned n-grams or -1); every entry is walked and the counts must come out."""
    size, words, labels, tokens, pruned = reader.take("iiiqq", "dictionary header")
    if not 1 <= size <= _MAX_ENTRIES or words < 0 or labels < 0 or size != words + labels or tokens < 0:
        raise reader.refuse(f"dictionary of {size} entries = {words} words + {labels} labels, {tokens} tokens")
    if pruned < -1 or pruned > bucket:
        raise reader.refuse(f"{pruned} pruned n-grams of {bucket}")
    reader.need(size * 10, f"dictionary of {size} entries")
    _entries(reader, words, labels)
    if pruned > 0:
        pairs = reader.take_array("<i4", 2 * pruned, "pruned n-grams").reshape(-1, 2)
        low, high = pairs.min(axis=0), pairs.max(axis=0)
        if int(low[0]) < 0 or int(high[0]) >= bucket or int(low[1]) < 0 or int(high[1]) >= pruned:
            raise reader.refuse("pruned n-gram points outside its table")
    return words, labels, pruned


def _entries(reader: Reader, words: int, labels: int) -> None:
    """Walk the entries: name, NUL, count, kind. Words come first, then labels."""
    data, at, end = reader.map, reader.at, reader.size
    for index in range(words + labels):
        nul = data.find(b"\0", at, min(end, at + _MAX_WORD))
        reader.at = at
        if nul < 0 or nul + 10 > end:
            raise reader.refuse(f"dictionary cut or endless at entry {index} of {words + labels}")
        if data[nul + 9] != (index >= words):
            raise reader.refuse(f"dictionary entry {index} is of the wrong kind")
        if index >= words:
            _label(reader, data[at:nul], index)
        at = nul + 10
    reader.at = at


def _label(reader: Reader, name: bytes, index: int) -> None:
    try:
        empty = not name.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise reader.refuse(f"label {index} is not valid UTF-8") from None
    if empty:
        raise reader.refuse(f"label {index} is empty")


def _matrix(reader: Reader, what: str, rows: int, dim: int, quantised: int) -> None:
    """Step over one matrix whose shape must be ``rows`` × ``dim``."""
    qnorm = 0
    if quantised:
        (qnorm,) = reader.take("B", what)
    m, n = reader.take("qq", what)
    if (m, n) != (rows, dim):
        raise reader.refuse(f"{what} of {m} x {n}, the header promises {rows} x {dim}")
    if not quantised:
        reader.skip_finite(m * n, what)
        return
    (codes,) = reader.take("i", what)
    start = reader.at
    reader.skip(codes, f"{what}, codes")
    parts = _quantiser(reader, what, dim)
    if codes != m * parts:
        reader.at = start
        raise reader.refuse(f"{what} has {codes} codes for {m} rows of {parts}")
    if qnorm:
        reader.skip(m, f"{what}, norm codes")
        if _quantiser(reader, f"{what}, norms", 1) != 1:
            raise reader.refuse(f"{what}: norms are quantised in more than one part")


def _quantiser(reader: Reader, what: str, dim: int) -> int:
    """Step over a product quantiser of ``dim`` dimensions; the number of its parts."""
    got, parts, width, last = reader.take("4i", f"{what}, quantiser")
    if got != dim or parts < 1 or width < 1 or not 1 <= last <= width or (parts - 1) * width + last != dim:
        raise reader.refuse(f"{what}: quantiser of {got} dimensions in {parts} parts of {width}, the last of {last}")
    reader.skip_finite(dim * _KSUB, f"{what}, centroids")
    return parts


def is_fasttext(head: bytes) -> bool:
    """True if the file starts with fastText's magic number."""
    return len(head) >= 4 and int(np.frombuffer(head[:4], "<i4")[0]) == MAGIC
