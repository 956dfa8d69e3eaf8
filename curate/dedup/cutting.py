"""Texts without recorded spans.

What goes is the spans, and then white space at their seams, by this rule: where nothing but white space (space, tab,
line ends) lies between two spans, they are one; at the start and at the end of a text the white space beside a cut
goes; elsewhere, of the white space before and behind a cut the piece with more line feeds stays, the one before it if
both have as many, and the only one if there is one. Nothing is ever put in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import VerificationError
from curate.kernels.strings import Bytes, Offsets, string_array, string_buffers
from curate.kernels.substring import count_words, read_only
from curate.kernels.substring_spans import without_spans

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """Texts after a cut.

    Attributes:
        texts: a string column, as long as the one that was given.
        bytes_cut: by how many bytes each text is shorter.
    """

    texts: pa.Array
    bytes_cut: I64

    @property
    def changed(self) -> npt.NDArray[np.bool_]:
        """True for the texts that something was cut from."""
        return self.bytes_cut > 0

    def words(self) -> I64:
        r"""How many words (runs of ``\w`` with their marks) each text has now."""
        return count_words(*string_buffers(self.texts))


def cut_spans(texts: pa.Array, columns: Sequence[pa.Array]) -> Cut:
    """The texts without the spans of all columns together.

    Args:
        texts: strings; null stays null.
        columns: lists of structs of ``start`` and ``end``, bytes of the text at borders of characters; in any order,
            overlapping or not; null means none.

    Raises:
        VerificationError: a span leaves its text or splits a character; it belongs to another text.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    row, start, end = _spans(columns)
    data, offsets = string_buffers(texts)
    _check(data, offsets, row, start, end)
    some = end > start
    row, base = row[some], offsets[row[some]]
    out, borders = without_spans(read_only(data), offsets, row, base + start[some], base + end[some])
    new = string_array(out, borders).cast(texts.type)
    if texts.null_count:
        new = pc.if_else(texts.is_valid(), new, pa.scalar(None, texts.type))
    return Cut(new, np.diff(offsets) - np.diff(borders))


def _check(data: Bytes, offsets: Offsets, row: I64, start: I64, end: I64) -> None:
    size = np.diff(offsets)[row]
    bad = (start < 0) | (end < start) | (end > size)
    for edge in (start, end):
        inside = ~bad & (edge < size)
        bad[inside] |= data[(offsets[row] + edge)[inside]] & 0xC0 == 0x80
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise VerificationError(
            f"cutting: the span {start[i]}–{end[i]} does not fit the text of {size[i]} bytes in row {row[i]}: it was "
            "recorded for another text"
        )


def _spans(columns: Sequence[pa.Array]) -> tuple[I64, I64, I64]:
    """Row, start and end of all spans, by row, then start."""
    parts = []
    for column in columns:
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        spans = column.flatten()
        start, end = (pc.struct_field(spans, name).to_numpy(zero_copy_only=False) for name in ("start", "end"))
        parts.append((pc.list_parent_indices(column).to_numpy(), start, end))
    row, start, end = (
        np.concatenate([np.zeros(0, np.int64), *(p[i] for p in parts)]).astype(np.int64) for i in range(3)
    )
    order = np.lexsort((end, start, row))
    return row[order], start[order], end[order]
