"""What a user can say about lines and paragraphs that many documents share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: a counter of the filter holds four bits, and the largest value means "this or more"
MOST_COUNTED = 15


class LinesConfig(BaseModel):
    """Lines that many documents share are marked, and cut from the text if asked.

    Two lines are equal if they are after normalisation: Unicode NFC, lower case, digits as `0`, every run of
    punctuation, space, control and format characters as one space. Lines with nothing left (blank, rulers) are never
    counted and never cut. A document counts once, however often it repeats a line; `line_dedup` is for that.

    CCNet (Wenzek et al. 2020) and Dolma (Soldaini et al. 2024) keep the first of all occurrences; Llama 3 (2024) cuts
    lines that occur more than six times in 30 million documents, which is where the default comes from. FineWeb
    (Penedo et al. 2024) found that cutting all repeated lines harms, so look at `dedup/<entry>.json` before you do.

    Attributes:
        min_occurrences: documents that must share a line, at least, for it to be repeated.
        keep: `first`: the document with the smallest id keeps its first occurrence; `none`: no document does.
        remove: cut repeated lines out of the texts when the corpus is written; else they are only labels. Whole
            documents leave by your `keep` sentence, e.g. `lines_repeated_ratio < 0.3`.
        min_remaining_words: a document from which lines were cut and that is left with fewer words is dropped
            (`<entry>:nothing_left`).
        digits: `zero`: digits are equal to each other, so that dates and counters do not tell lines apart; `same`:
            they are not.
        min_words: lines with fewer words after normalisation are not looked at. Languages without spaces have few.
        min_bytes: nor are lines with fewer bytes after normalisation.
        counting: `exact`: all counts, 28 bytes on disk per different line and shard; `bloom`: counts up to 15 in a
            counting Bloom filter of fixed size, which now and then takes a line for repeated that is not.
        false_positive_rate: for `bloom`: how often that may happen to a line of one document, by the size chosen.
        expected: for `bloom`: different lines the filter is made for; null: as many as the shards counted.
        max_false_positive_rate: for `bloom`: the run stops with exit 3 where the filter does worse than this.
        partitions: key ranges that are merged apart, a power of two; null: one per 2 GiB of input. More of them need
            less memory; the result is the same (with `bloom`, but for what it takes for repeated by mistake).
        examples: repeated lines that `dedup/<entry>.json` quotes (shortened), the most frequent first; 0: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    min_occurrences: int = Field(default=7, ge=2)
    keep: Literal["first", "none"] = "first"
    remove: bool = False
    min_remaining_words: int = Field(default=10, ge=0)
    digits: Literal["zero", "same"] = "zero"
    min_words: int = Field(default=1, ge=0)
    min_bytes: int = Field(default=1, ge=0)
    counting: Literal["exact", "bloom"] = "exact"
    false_positive_rate: float = Field(default=0.001, gt=0, lt=1)
    expected: int | None = Field(default=None, ge=1)
    max_false_positive_rate: float | None = Field(default=0.01, gt=0, le=1)
    partitions: int | None = Field(default=None, ge=1, le=1024)
    examples: int = Field(default=20, ge=0, le=1000)

    @model_validator(mode="after")
    def _consistent(self) -> LinesConfig:
        if self.partitions is not None and self.partitions & (self.partitions - 1):
            raise ValueError("partitions must be a power of two: 1, 2, 4, 8 …")
        if self.counting == "bloom":
            if self.keep == "first":
                raise ValueError(
                    "counting: bloom needs keep: none; a filter remembers no documents, so which was the first would "
                    "depend on the order of shards"
                )
            if self.min_occurrences > MOST_COUNTED:
                raise ValueError(f"counting: bloom counts to {MOST_COUNTED}; lower min_occurrences or count exactly")
        return self


class ParagraphsConfig(LinesConfig):
    """Paragraphs that many documents share are marked, and cut from the text if asked.

    As for lines; where both are asked for, both look at the texts as they were.

    Attributes:
        separator: `blank_line`: a paragraph is a block between blank lines; `newline`: a line, as Dolma has it.
    """

    separator: Literal["blank_line", "newline"] = "blank_line"
