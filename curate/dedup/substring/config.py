"""What a user can say about repeated spans."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: A join partition holds the text of about so many bytes of input, unless the config says how many there are.
INPUT_BYTES_PER_PARTITION = 64 << 20
MAX_PARTITIONS = 4096


class SubstringConfig(BaseModel):
    r"""Spans of at least ``n`` units that occur more than once are recorded, and cut out if asked (Lee et al. 2022).

    Looked at are the documents that still stand: not dropped by a stage, no duplicates, not opted out. A document that
    ``keep`` of the config, a rater or another cut takes away later may have been the one that kept a span.

    Attributes:
        unit: ``words``: runs of ``\w`` with their marks, compared in NFC and lower case, whatever stands between them;
            ``characters``: code points as they stand; ``bytes``: UTF-8 bytes as they stand, spans shrunk to whole
            characters. For scripts without spaces take ``characters``.
        n: least length of a repeated span in units. For ``characters`` or ``bytes``, some four times what one would
            take for words.
        min_occurrences: a span counts as repeated from so many documents on (``within``: so many places).
        within: repetitions inside one document count too.
        keep: ``first``: the span stays in the document with the smallest id (``within``: at its first place there),
            and nothing of such a first occurrence is ever cut, even where another span overlaps it; ``none``: it is cut
            everywhere.
        remove: cut the recorded spans out of the texts when the corpus is written, and count their tokens anew; all
            other labels go on describing the text as it was. Without it the spans are only labels.
        min_remaining_words: a document from which spans were cut and that is left with fewer words is dropped
            (``substring:nothing_left``).
        partitions: ranges of hashes that are joined apart, a power of two; null: one per 64 MiB of input, at most 4096.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    unit: Literal["words", "characters", "bytes"] = "words"
    n: int = Field(default=50, ge=2, le=100_000)
    min_occurrences: int = Field(default=2, ge=2, le=1_000_000_000)
    within: bool = False
    keep: Literal["first", "none"] = "first"
    remove: bool = False
    min_remaining_words: int = Field(default=10, ge=0)
    partitions: int | None = Field(default=None, ge=1, le=MAX_PARTITIONS)

    @field_validator("partitions")
    @classmethod
    def _power_of_two(cls, value: int | None) -> int | None:
        if value is not None and value & (value - 1):
            raise ValueError("partitions must be a power of two: 1, 2, 4, 8 …")
        return value

    @property
    def seed_units(self) -> int:
        """Units of a sampled run: a third of ``n``, so that about one in ``n / 3`` places is sampled."""
        return max(1, self.n // 3)

    def partitions_for(self, input_bytes: int) -> int:
        """How many key ranges there are, for so many bytes of input."""
        if self.partitions is not None:
            return self.partitions
        wanted = -(-input_bytes // INPUT_BYTES_PER_PARTITION)
        return min(MAX_PARTITIONS, 1 << max(0, wanted - 1).bit_length())
