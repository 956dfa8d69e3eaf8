"""Windows: which parts of a text a rater reads, and how scores of parts become the score of a document.

Scores of another window are other scores, so a window is part of a card. Everything here counts in the card's unit
(bytes, characters, words or tokens) and knows nothing of texts; ``cut`` gives the texts of the pieces for the units
that need no tokeniser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

if TYPE_CHECKING:
    from classifiers.cards import Window
    from classifiers.texts import Texts

__all__ = ["Pieces", "cut", "excerpts", "pieces", "pool"]

Longs = npt.NDArray[np.int64]

#: seed of the place of a middle; the rest of the draw is the document's id
_MIDDLE_SEED = 0x6D696464


@dataclass(frozen=True)
class Pieces:
    """Parts of documents, sorted by document and start; no two overlap.

    Attributes:
        document: which document each piece is of.
        start, end: units of that document, ``end`` excluded; never empty.
        weight: what the piece counts in a mean: its units.
    """

    document: Longs
    start: Longs
    end: Longs
    weight: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.document)


def pieces(lengths: npt.ArrayLike, window: Window, ids: Sequence[str] | pa.Array | None = None) -> Pieces:
    """The pieces that a window takes of documents.

    An empty document has no piece. A document that is not longer than the parts of head, middle and tail together is
    one piece, whole. Chunks lie end to end from the first unit on, the last one shorter; with ``window.most`` a text
    of more chunks gives that many full ones, evenly from its start to its end. ``window.limit`` cuts the document
    before all this.

    Args:
        lengths: units of each document.
        ids: ids of the documents; only ``head_middle_tail`` needs them. The place of the middle depends on the id and
            the length alone, never on the batch.

    Raises:
        ValueError: a middle is asked for and there are no ids.
    """
    size = np.asarray(lengths, np.int64)
    if window.limit:
        size = np.minimum(size, window.limit)
    if window.policy in ("chunk_mean", "chunk_max"):
        return _chunks(size, window.chunk, window.most)
    if window.policy == "whole":
        return _joined(size, [(np.zeros_like(size), size)])
    ends = window.head + window.middle + window.tail
    cut_ = size > ends
    parts = [(np.zeros_like(size), np.where(cut_, window.head, size))]
    if window.policy == "head_middle_tail":
        start = _middle(size, window, cut_, ids)
        parts.append((start, np.where(cut_, start + window.middle, start)))
    if window.policy != "head":
        parts.append((np.where(cut_, size - window.tail, size), size))
    return _joined(size, parts)


def pool(values: npt.ArrayLike, parts: Pieces, documents: int, window: Window) -> npt.NDArray[np.float64]:
    """Scores of documents from scores of their pieces: (documents × heads), NaN where a document has no piece.

    ``chunk_max`` takes each head's largest score; every other policy the mean weighted by units. NaN in a piece is NaN
    in its document. Sums run in the order of the pieces, so neighbours do not change a bit.

    Args:
        values: (pieces × heads), or one score per piece.
    """
    scores = np.asarray(values, np.float64)
    if scores.ndim == 1:
        scores = scores[:, None]
    there = np.bincount(parts.document, minlength=documents) > 0
    if window.policy == "chunk_max":
        found = np.full((documents, scores.shape[1]), -np.inf)
        with np.errstate(invalid="ignore"):
            np.maximum.at(found, parts.document, scores)
    else:
        found = np.zeros((documents, scores.shape[1]))
        total = np.bincount(parts.document, parts.weight, minlength=documents)
        with np.errstate(invalid="ignore", divide="ignore"):
            np.add.at(found, parts.document, scores * parts.weight[:, None])
            found = found / total[:, None]
    found[~there] = np.nan
    return found


def cut(texts: Sequence[str], window: Window, ids: Sequence[str] | pa.Array | None = None) -> tuple[Pieces, list[str]]:
    """The pieces of texts and what each says, for windows in characters, bytes and words.

    A piece in bytes begins and ends between characters (it gives up the character that its edge would split); a piece
    in words begins at its first word and ends with its last one, whitespace between them kept.

    Raises:
        ValueError: the window counts tokens.
    """
    if window.unit == "characters":
        parts = pieces([len(t) for t in texts], window, ids)
        return parts, [texts[d][s:e] for d, s, e in _rows(parts)]
    if window.unit == "bytes":
        raw = [t.encode() for t in texts]
        parts = pieces([len(t) for t in raw], window, ids)
        return parts, [_between(raw[d], s, e).decode() for d, s, e in _rows(parts)]
    if window.unit == "words":
        spans = [_words(t) for t in texts]
        parts = pieces([len(s) for s in spans], window, ids)
        return parts, [texts[d][spans[d][s][0] : spans[d][e - 1][1]] for d, s, e in _rows(parts)]
    raise ValueError("a window in tokens is cut by the backend that has the tokeniser")


def excerpts(texts: Texts, window: Window, between: str = "\n") -> pa.Array:
    """What of each text is read, its pieces joined by ``between``; the texts themselves where the window takes all.

    Raises:
        ValueError: the window counts tokens, and is not of the policy ``whole`` without a limit.
    """
    if window.policy == "whole" and not window.limit:
        return texts.array()
    parts, said = cut(texts.strings(), window, texts.ids)
    joined: list[list[str]] = [[] for _ in range(len(texts))]
    for document, piece in zip(parts.document.tolist(), said, strict=True):
        joined[document].append(piece)
    return pa.array([between.join(found) for found in joined], pa.string())


def _middle(size: Longs, window: Window, cut_: npt.NDArray[np.bool_], ids: Any) -> Longs:
    """Start of the middle: anywhere between head and tail, by the id; where nothing is cut, the document's end."""
    if ids is None:
        raise ValueError("head_middle_tail draws its middle by the document's id: give the ids")
    start = size.copy()
    rows = np.flatnonzero(cut_)
    picked = ids.take(pa.array(rows)).to_pylist() if isinstance(ids, pa.Array) else [ids[i] for i in rows]
    for row, name in zip(rows.tolist(), picked, strict=True):
        room = int(size[row]) - window.head - window.middle - window.tail + 1
        draw = xxhash.xxh64_intdigest(str(name).encode("utf-8", "surrogatepass"), _MIDDLE_SEED)
        start[row] = window.head + (draw * room >> 64)
    return start


def _chunks(size: Longs, chunk: int, most: int) -> Pieces:
    count = -(-size // chunk)
    spread = (count > most) if most else np.zeros(len(size), np.bool_)
    count = np.where(spread, most, count)
    document = np.repeat(np.arange(len(size)), count)
    place = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    start = place * chunk
    if spread.any():
        even = place * (size[document] - chunk) // max(1, most - 1)
        start = np.where(spread[document], even, start)
    return _made(document, start, np.minimum(start + chunk, size[document]))


def _joined(size: Longs, parts: list[tuple[Longs, Longs]]) -> Pieces:
    document = np.tile(np.arange(len(size)), len(parts))
    start = np.concatenate([s for s, _ in parts])
    end = np.concatenate([e for _, e in parts])
    keep = end > start
    document, start, end = document[keep], start[keep], end[keep]
    order = np.lexsort((start, document))
    return _made(document[order], start[order], end[order])


def _made(document: npt.NDArray[Any], start: npt.NDArray[Any], end: npt.NDArray[Any]) -> Pieces:
    first, last = start.astype(np.int64), end.astype(np.int64)
    return Pieces(document.astype(np.int64), first, last, (last - first).astype(np.float64))


def _rows(parts: Pieces) -> list[tuple[int, int, int]]:
    return list(zip(parts.document.tolist(), parts.start.tolist(), parts.end.tolist(), strict=True))


def _between(raw: bytes, start: int, end: int) -> bytes:
    """``raw[start:end]`` without the halves of characters at its edges."""
    while start < end and raw[start] & 0xC0 == 0x80:
        start += 1
    while end > start and end < len(raw) and raw[end] & 0xC0 == 0x80:
        end -= 1
    return raw[start:end]


def _words(text: str) -> list[tuple[int, int]]:
    """Where each run of non-whitespace starts and ends."""
    found, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        found.append((at, at + len(word)))
        at += len(word)
    return found
