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
        column(
            "unique_documents", pa.int64(), "documents, each once where `repeat_column` repeats them", nullable=False
        ),
        column("unique_tokens", pa.int64(), "tokens of these", nullable=False),
        column("mean_tokens", pa.float64(), "tokens per document"),
        column("token_source", pa.string(), "column that says how many tokens, or the estimate used", nullable=False),
    ]
)


@dataclass(frozen=True)
class GroupTable:
    """One row per group; totals equal the sums over the corpus.

    Attributes:
        columns: the label columns that make a group.
        frame: ``group``, one column per group column, ``documents``, ``tokens``, ``text_bytes``, ``unique_documents``,
            ``unique_tokens``, sorted by group.
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


def repeat_expression(repeat_column: str | None) -> pl.Expr:
    """How often a document counts: 1 without a column and where it is null."""
    return pl.lit(1, pl.Int64) if repeat_column is None else pl.col(repeat_column).cast(pl.Int64).fill_null(1)


def tally(
    shards: Sequence[pl.DataFrame | pl.LazyFrame],
    columns: Sequence[str],
    token_column: str,
    repeat_column: str | None = None,
) -> GroupTable:
    """The group table of a corpus.

    Args:
        shards: frames with the group columns, ``text`` (or ``text_bytes``), and ``token_column`` if there is one.
        columns: label columns that make a group.
        repeat_column: whole numbers that say how often a document counts; null counts once. None: all count once.
    """
    sums = ("documents", "tokens", "text_bytes", "unique_documents", "unique_tokens")
    partial, source = [], token_column
    for shard in shards:
        lazy = shard.lazy()
        names = lazy.collect_schema().names()
        tokens, source = token_expression(names, token_column)
        size = pl.col("text_bytes") if "text_bytes" in names else pl.col("text").str.len_bytes()
        values = [pl.col(c).cast(pl.String).fill_null(MISSING).alias(c) for c in columns]
        times = repeat_expression(repeat_column)
        counted = lazy.select(
            *values, times.alias("documents"), (tokens * times).alias("tokens"),
            (size.cast(pl.Int64) * times).alias("text_bytes"), pl.lit(1, pl.Int64).alias("unique_documents"),
            tokens.alias("unique_tokens"),
        )  # fmt: skip
        partial.append(counted.group_by(columns).agg(pl.col(sums).sum()).collect())
    merged = pl.concat(partial).group_by(columns).agg(pl.col(sums).sum())
    named = merged.with_columns(group_expression(columns).alias("group")).sort("group")
    return GroupTable(tuple(columns), named.select("group", *columns, *sums), source)
