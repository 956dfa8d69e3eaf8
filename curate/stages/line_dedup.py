"""Repeated lines within a page: the first stays, the others go."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from curate.documents import TEXT, Batch, column
from curate.kernels.strings import string_array, string_buffers
from curate.stages.base import Stage, StageConfig


class LineDedupConfig(StageConfig):
    """Which lines may be removed when they repeat."""

    min_chars: int = Field(
        1, ge=1, description="only lines of at least so many characters, whitespace around not counted"
    )
    min_words: int = Field(0, ge=0, description="only lines of at least so many words (FineWeb also tried 10)")


class LineDedup(Stage):
    """Rewrites the text so that each line stands once, where it stood first.

    Lines are what ``\\n`` separates, compared without the whitespace around them. Blank lines stay, except where a
    removal would leave two in a row or one at the end. Texts that repeat nothing keep every byte.
    """

    name = "line_dedup"
    follows = (
        "the line deduplication that FineWeb tried (arXiv 2406.17557), which keeps one occurrence of each line;"
        " here within one page, keeping the first"
    )
    changes_text = True
    reasons: ClassVar = {}
    Config = LineDedupConfig

    def adds(self) -> pa.Schema:
        """How much went."""
        return pa.schema(
            [
                column("line_dedup_removed_lines", pa.int32(), "lines removed because an earlier one is equal",
                       unit="lines", nullable=False),
                column("line_dedup_removed_chars", pa.int32(), "code points by which the text became shorter",
                       unit="characters", nullable=False),
            ]
        )  # fmt: skip

    def process(self, batch: Batch) -> Batch:
        """The batch with every line once; nothing is dropped."""
        from curate.kernels.repeated_lines import drop_repeated_lines

        config: Any = self.config
        data, offsets = string_buffers(batch.column("text"))
        result = drop_repeated_lines(data, offsets, min_chars=config.min_chars, min_words=config.min_words)
        lines, chars = self.adds()
        return batch.with_columns(
            {
                TEXT: string_array(result.data, result.offsets),
                lines: pa.array(result.removed_lines, pa.int32()),
                chars: pa.array(result.removed_chars, pa.int32()),
            }
        )
