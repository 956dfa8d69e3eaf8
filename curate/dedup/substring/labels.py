"""Columns that tell of repeated spans."""

from __future__ import annotations

import pyarrow as pa

from curate.documents import column

SPAN = pa.struct([pa.field("start", pa.int32(), nullable=False), pa.field("end", pa.int32(), nullable=False)])
SPANS = pa.list_(SPAN)
SPANS_COLUMN, FIRST_COLUMN, RATIO_COLUMN = "substring_spans", "substring_first_spans", "substring_repeated_ratio"
_NULL = "of the text before anything is cut; null: dropped before, a duplicate, or opted out"

LABELS = pa.schema(
    [
        column(SPANS_COLUMN, SPANS, f"byte ranges that stand in another document too and are not kept here, {_NULL}",
               unit="bytes"),
        column(FIRST_COLUMN, SPANS, f"byte ranges that occur here first and are never cut (none with keep: none), "
               f"{_NULL}", unit="bytes"),
        column(RATIO_COLUMN, pa.float32(), f"share of the bytes in either kind of range, {_NULL}", range_="0–1"),
    ]
)  # fmt: skip
