"""What a user can say about repeating documents that stood for many."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: what the FineWeb2 authors found promising without an extensive search (their repository's README)
FINEWEB2 = ((1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1))

_Row = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)]]


class RehydrateConfig(BaseModel):
    """How often a survivor is repeated, by the size of the cluster it stands for, as a label.

    Follows FineWeb2 (Penedo et al. 2025): pages that were copied a few times are better than pages that never were or
    that were copied thousands of times, so what duplicate removal took is given back in part. The label
    `rehydrate_weight` alone repeats nothing; `recipe.repeat_column: rehydrate_weight` does.

    Attributes:
        by: column that says how large a document's cluster is.
        table: pairs of a size and how often documents of that size and up to the next are repeated; 1: as they are,
            0: not at all in the mixture. The first size is 1. The default is FineWeb2's: 2 and 3 as often as they
            occurred, 4 three times, 5 to 99 five times, 100 to 999 eight times, larger ones once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    by: str = Field(default="dedup_size", min_length=1)
    table: tuple[_Row, ...] = Field(default=FINEWEB2, min_length=1)

    @field_validator("table")
    @classmethod
    def _ascends(cls, value: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if value[0][0] != 1:
            raise ValueError("the first size of the table must be 1")
        if any(a[0] >= b[0] for a, b in pairwise(value)):
            raise ValueError("sizes of the table must ascend")
        return value
