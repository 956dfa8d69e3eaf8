"""Carries a recipe out: writes the mixed, shuffled shards, the same bytes every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.documents import column
from curate.errors import ConfigError
from curate.recipe.groups import group_expression, repeat_expression, token_expression
from curate.recipe.realise import shuffle_keys
from curate.recipe.recipe import Documents, Recipe

GROUP = column("mix_group", pa.string(), "group of the recipe that the document stands for", nullable=False)
EPOCH = column("mix_epoch", pa.int32(), "0 for the first copy of a document, 1 for the second …", nullable=False)
TOKENS = column("mix_tokens", pa.int64(), "tokens of the document", unit="tokens", nullable=False)
_KEY = "_key"
#: buckets that are open for writing at a time
MAX_BUCKETS = 64


@dataclass(frozen=True)
class Copies:
    """How often a document is written, and where it belongs."""

    group: str
    copies: int
    tokens: int


def documents_by_group(
    shards: Sequence[pl.DataFrame], recipe_columns: Sequence[str], token_column: str, repeat_column: str | None = None
) -> dict[str, Documents]:
    """Ids and token counts of every group's documents, sorted by id.

    Args:
        shards: frames with ``id``, the group columns, and what the token count needs.
        repeat_column: says how often a document stands in its group; None: once.
    """
    parts = []
    for shard in shards:
        tokens, _ = token_expression(shard.columns, token_column)
        group, repeats = group_expression(recipe_columns), repeat_expression(repeat_column)
        parts.append(shard.select("id", group.alias("group"), tokens.alias("tokens"), repeats.alias("repeats")))
    joined = pl.concat(parts).sort("group", "id")
    if joined.height and joined["repeats"].min() < 0:  # type: ignore[operator]  # whole numbers
        raise ConfigError(
            f"recipe.repeat_column: {repeat_column!r} holds numbers below 0; a document cannot be unwritten"
        )
    return {
        str(name): Documents(
            own["id"].to_list(),
            own["tokens"].to_numpy().astype(np.int64),
            own["repeats"].to_numpy().astype(np.int64) if repeat_column is not None else None,
        )
        for (name,), own in joined.group_by("group", maintain_order=True)
    }


def plan_copies(recipe: Recipe, documents: dict[str, Documents]) -> dict[str, Copies]:
    """How often each document is written: id → copies. Uses the same order as the recipe did, so tokens agree."""
    plan: dict[str, Copies] = {}
    for share in recipe.groups:
        own = documents[share.group]
        found = own.drawn(recipe.seed, share.target_tokens)
        for i in np.flatnonzero(found.copies):
            plan[own.ids[i]] = Copies(share.group, int(found.copies[i]), int(own.tokens[i]))
    return plan


def mix(
    shards: Callable[[], Iterator[pa.Table]], plan: dict[str, Copies], *, seed: int, n_shards: int, scratch: Path
) -> Iterator[tuple[int, pa.Table]]:
    """The mixed shards, one after the other, each shuffled; memory is bounded by one of them.

    A copy's place depends on its id, its number and the seed: which shard by the upper bits of its key, where in the
    shard by the key itself. So the result does not depend on how the corpus is cut into shards.

    Args:
        shards: gives the corpus tables (``id`` and the columns to carry) from the start each time it is called.
        plan: from ``plan_copies``.
        n_shards: how many shards to write.
        scratch: a folder for one temporary file per shard.

    Yields:
        (number, table) with ``mix_group``, ``mix_epoch`` and ``mix_tokens`` added.
    """
    for first in range(0, n_shards, MAX_BUCKETS):
        wanted = range(first, min(first + MAX_BUCKETS, n_shards))
        paths = _scatter(shards(), plan, seed, n_shards, wanted, scratch)
        for bucket in wanted:
            table = pq.read_table(paths[bucket]).sort_by([(_KEY, "ascending"), ("id", "ascending")])
            paths[bucket].unlink()
            yield bucket, table.drop_columns([_KEY])


def _scatter(
    tables: Iterator[pa.Table], plan: dict[str, Copies], seed: int, n_shards: int, wanted: range, scratch: Path
) -> dict[int, Path]:
    writers: dict[int, pq.ParquetWriter] = {}
    paths = {bucket: scratch / f"bucket-{bucket:05d}.parquet" for bucket in wanted}
    try:
        for table in tables:
            copied = _copies(table, plan, seed)
            buckets = (copied[_KEY].to_numpy() >> np.uint64(32)) * np.uint64(n_shards) >> np.uint64(32)
            for bucket in wanted:
                rows = copied.filter(pa.array(buckets == bucket))
                if bucket not in writers:
                    writers[bucket] = pq.ParquetWriter(paths[bucket], copied.schema, compression="zstd")
                if rows.num_rows:
                    writers[bucket].write_table(rows)
    finally:
        for writer in writers.values():
            writer.close()
    return paths


def _copies(table: pa.Table, plan: dict[str, Copies], seed: int) -> pa.Table:
    """The rows of ``table`` as often as the plan says, with their keys."""
    ids = table["id"].to_pylist()
    rows, epochs = [], []
    for row, id_ in enumerate(ids):
        found = plan.get(id_)
        for copy in range(found.copies if found is not None else 0):
            rows.append(row)
            epochs.append(copy)
    taken = table.take(pa.array(rows, pa.int64()))
    keys = np.zeros(len(rows), np.uint64)
    copies = np.asarray(epochs, np.int64)
    for copy in np.unique(copies):
        at = np.flatnonzero(copies == copy)
        keys[at] = shuffle_keys([ids[rows[i]] for i in at], seed ^ 0x5EED, int(copy))
    chosen = [plan[ids[r]] for r in rows]
    taken = taken.append_column(GROUP, pa.array([c.group for c in chosen], pa.string()))
    taken = taken.append_column(EPOCH, pa.array(copies, pa.int32()))
    taken = taken.append_column(TOKENS, pa.array([c.tokens for c in chosen], pa.int64()))
    return taken.append_column(_KEY, pa.array(keys, pa.uint64()))


def tokens_written(tables: Iterator[pa.Table]) -> Counter[str]:
    """Tokens per group in mixed shards."""
    totals: Counter[str] = Counter()
    for table in tables:
        frame = pl.from_arrow(table.select([GROUP.name, TOKENS.name]))
        assert isinstance(frame, pl.DataFrame)
        for group, tokens in frame.group_by(GROUP.name).agg(pl.col(TOKENS.name).sum()).iter_rows():
            totals[group] += tokens
    return totals
