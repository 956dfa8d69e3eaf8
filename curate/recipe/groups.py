"""Groups: documents with equal values of chosen label columns, and how many tokens each holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from curate.documents import column

#: value of a group column where the label is missing
MISSING = "none"
#: bytes of text per token where no tokenizer was run; an estimate, and named as one
BYTES_PER_TOKEN = 4

GROUPS = pa.schema(
    [
        column("group", pa.string(), "values of the group columns, joined by `:`", nullable=False),
        column("documents", pa.int64(), "documents", nullable=False),
        column("tokens", pa.int64(), "tokens, as `token_source` counts them", nullable=False),
        column("text_bytes", pa.int64(), "bytes of text", unit="bytes", nullable=False),
        column("mean_tokens", pa.float64(), "tokens per document"),
        column("token_source", pa.string(), "column that says how many tokens, or the estimate used", nullable=False),
    ]
)


@dataclass(frozen=True)
class GroupTable:
    """One row per group; totals equal the sums over the corpus.

    Attributes:
        columns: the label columns that make a group.
        frame: ``group``, one column per group column, ``documents``, ``tokens``, ``text_bytes``, sorted by group.
        token_source: column that says how many tokens a document has, or ``text_bytes / 4``.
    """

    columns: tuple[str, ...]
    frame: pl.DataFrame
    token_source: str

    @property
    def tokens(self) -> int:
        """Tokens of all groups."""
        return int(self.frame["tokens"].sum())

    def to_arrow(self) -> pa.Table:
        """The table as it is written to groups.parquet."""
        frame = self.frame.with_columns(
            (pl.col("tokens") / pl.col("documents")).alias("mean_tokens"), token_source=pl.lit(self.token_source)
        )
        extra = [column(c, pa.string(), f"value of {c}") for c in self.columns]
        schema = pa.schema([GROUPS.field(0), *extra, *list(GROUPS)[1:]])
        return frame.select(schema.names).to_arrow().cast(schema)


def group_expression(columns: Sequence[str]) -> pl.Expr:
    """The name of a document's group: the values of ``columns`` joined by ``:``, ``none`` where one is missing."""
    parts = [pl.col(c).cast(pl.String).fill_null(MISSING) for c in columns]
    return pl.concat_str(parts, separator=":")


def token_expression(names: Iterable[str], token_column: str) -> tuple[pl.Expr, str]:
    """Tokens per document, and what says so: ``token_column`` where there is one, else bytes of text divided by 4."""
    if token_column in set(names):
        return pl.col(token_column).cast(pl.Int64).fill_null(0), token_column
    return (pl.col("text").str.len_bytes() // BYTES_PER_TOKEN).cast(pl.Int64), f"text_bytes / {BYTES_PER_TOKEN}"


def tally(shards: Sequence[pl.DataFrame | pl.LazyFrame], columns: Sequence[str], token_column: str) -> GroupTable:
    """The group table of a corpus.

    Args:
        shards: frames with the group columns, ``text`` (or ``text_bytes``), and ``token_column`` if there is one.
        columns: label columns that make a group.
    """
    partial, source = [], token_column
    for shard in shards:
        lazy = shard.lazy()
        names = lazy.collect_schema().names()
        tokens, source = token_expression(names, token_column)
        size = pl.col("text_bytes") if "text_bytes" in names else pl.col("text").str.len_bytes()
        values = [pl.col(c).cast(pl.String).fill_null(MISSING).alias(c) for c in columns]
        grouped = lazy.select(*values, tokens.alias("tokens"), size.cast(pl.Int64).alias("text_bytes")).group_by(
            columns
        )
        partial.append(
            grouped.agg(pl.len().cast(pl.Int64).alias("documents"), pl.col("tokens").sum(), pl.col("text_bytes").sum())
            .collect()
        )  # fmt: skip
    merged = pl.concat(partial).group_by(columns).agg(pl.col("documents", "tokens", "text_bytes").sum())
    named = merged.with_columns(group_expression(columns).alias("group")).sort("group")
    return GroupTable(tuple(columns), named.select("group", *columns, "documents", "tokens", "text_bytes"), source)
