"""C4's rules for lines: cookie notices, script warnings, stubs and headings go, running text stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.documents import TEXT, Batch, column
from curate.kernels.strings import string_array, string_buffers
from curate.stages.base import Context, Stage, StageConfig
from curate.stages.line_furniture import without_furniture

if TYPE_CHECKING:
    from curate.kernels.cleaning import LineRules

#: kind of removal → the sentence about it; the kinds are those that ``clean_lines`` counts.
_KINDS = {
    "long_word": "holding a word longer than max_word_chars",
    "no_terminal_punctuation": "not ending in . ? ! or a quotation mark",
    "few_words": "with fewer words than min_words",
    "javascript": 'mentioning "javascript"',
    "policy": "with the wording of cookie notices or terms of use",
}


_FURNITURE = column(
    "line_cleaning_furniture", pa.int32(), "lines removed that belong to the site, before all other rules",
    unit="lines", nullable=False,
)  # fmt: skip


class LineCleaningConfig(StageConfig):
    """Which lines go. The defaults are C4's; FineWeb sets ``terminal_punctuation: false``."""

    terminal_punctuation: bool = Field(
        True, description="remove lines that do not end in . ? ! \" or ', or that end in an ellipsis"
    )
    min_words: int | None = Field(3, ge=0, description="remove lines with fewer words; null keeps them")
    max_word_chars: int | None = Field(1000, ge=0, description="remove lines with a longer word; null keeps them")
    citations: bool = Field(True, description="cut [1], [edit] and [citation needed] out of lines")
    javascript: bool = Field(True, description='remove lines that mention "javascript"')
    policy: bool = Field(True, description="remove lines with the wording of cookie notices and terms of use")
    furniture: bool = Field(
        False,
        description="remove lines that belong to the site: comment forms, share buttons, ways to the top (not in C4)",
    )


class LineCleaning(Stage):
    """Rewrites the text to the lines that C4 keeps, stripped and joined by newlines.

    What C4 decides about lines is decided here; what it decides about pages ("lorem ipsum", curly brackets, too few
    sentences) is the preset ``c4`` of ``quality_rules``, on the labels that ``text_stats`` takes from the cleaned text.
    A line that condemns its page is therefore left in. ``furniture`` goes beyond C4. Without it, the three stages in
    this order give the verdict, the reason and the text of datatrove 0.10.1's C4QualityFilter; where C4 itself keeps a
    page with an empty text (its lines were nothing but citations), the page is dropped here.
    """

    name = "line_cleaning"
    follows = "C4 (JMLR 21/140, section 2.2), as datatrove 0.10.1 applies it; page rules are the preset c4"
    changes_text = True
    reasons: ClassVar = {"line_cleaning_empty": "no line of the text is left (too_few_sentences in datatrove)"}
    Config = LineCleaningConfig
    config: LineCleaningConfig

    _rules: LineRules

    def adds(self) -> pa.Schema:
        """How many lines went, and why."""
        return pa.schema(
            [
                column("line_cleaning_removed_lines", pa.int32(), "lines removed, of all kinds", unit="lines",
                       nullable=False),
                *(
                    column(f"line_cleaning_{kind}", pa.int32(), f"lines removed {why}", unit="lines", nullable=False)
                    for kind, why in _KINDS.items()
                ),
                column("line_cleaning_citations", pa.int32(), "citations cut out of lines, removed ones included",
                       unit="citations", nullable=False),
                column("line_cleaning_blank_ends", pa.int32(), "lines that held only citations, were kept as blank, "
                       "and were lost at the ends of the text: C4 counts each as a sentence", unit="lines",
                       nullable=False),
                column("line_cleaning_end_space", pa.bool_(), "more than a single space, left by citations, was "
                       "stripped off the last line: C4 counts it as a sentence after a full stop", nullable=False),
                *([_FURNITURE] if self.config.furniture else []),
            ]
        )  # fmt: skip

    def open(self, context: Context) -> None:
        """Loads the compiled kernel."""
        from curate.kernels.cleaning import LineRules

        config: Any = self.config
        self._rules = LineRules(
            terminal_punctuation=config.terminal_punctuation,
            min_words=0 if config.min_words is None else config.min_words,
            max_word_chars=-1 if config.max_word_chars is None else config.max_word_chars,
            citations=config.citations,
            javascript=config.javascript,
            policy=config.policy,
        )

    def process(self, batch: Batch) -> Batch:
        """The batch with cleaned texts; documents without any line left are dropped."""
        from curate.kernels.cleaning import clean_lines

        texts, furniture = batch.column("text"), None
        if self.config.furniture:
            texts, furniture = without_furniture(texts)
        cleaned = clean_lines(*string_buffers(texts), self._rules)
        counts = cleaned.counts
        labels = {
            "removed_lines": counts["lines"] - counts["kept_lines"],
            **{kind: counts[kind] for kind in (*_KINDS, "citations", "blank_ends", "end_space")},
        }
        columns: dict[pa.Field | str, pa.Array] = {TEXT: string_array(cleaned.data, cleaned.offsets)}
        if furniture is not None:
            labels["furniture"] = furniture
        for field in self.adds():
            columns[field] = pa.array(labels[field.name.removeprefix("line_cleaning_")]).cast(field.type)
        empty = np.diff(cleaned.offsets) == 0
        return batch.with_columns(columns).drop(empty, "line_cleaning_empty", value=0.0, threshold=1.0)
