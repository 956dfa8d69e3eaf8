"""The total order of documents, by which survivors are chosen, and the documents of all shards in that order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.dedup.config import Plan, Preference
from curate.dedup.signatures import check_signed
from curate.errors import ConfigError, VerificationError

I64 = npt.NDArray[np.int64]

#: A shard's name or number, and its signature table or the Parquet file that holds it.
Signatures = Sequence[tuple[Any, pa.Table | Path | str]]


@dataclass(frozen=True)
class Corpus:
    """All documents by rank: 0 is the most preferred. Memory: about 120 bytes per document.

    Attributes:
        shards: names of the shards, as given.
        lengths: documents per shard.
        ids: by rank.
        source_ids: by rank; None if the signatures carry none.
        shard: index into ``shards``, by rank.
        place: row of the signature table, by rank.
        row: row of the document in its shard, by rank.
        n_bytes: length of the text, by rank.
        text_group: number of the group of equal texts, by rank; a document of its own text has its own group.
        url_group: likewise for addresses; -1 where there is none or addresses are not compared.
        content_group: likewise for fetched contents.
        first: per text group, its first rank.
        fixed: documents of earlier runs; they have the first ranks, are not compared with each other, and all stay.
        dumps: by rank, the name of the earlier run; null for documents of this one. None if there are only those.
    """

    shards: list[Any]
    lengths: list[int]
    ids: pa.Array
    source_ids: pa.Array | None
    shard: I64
    place: I64
    row: I64
    n_bytes: I64
    text_group: I64
    url_group: I64
    content_group: I64
    first: I64
    fixed: int = 0
    dumps: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ranks(self) -> list[I64]:
        """Per shard, the rank of each row of its signature table."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        at = np.empty(len(self), np.int64)
        at[starts[self.shard] + self.place] = np.arange(len(self))
        return [at[starts[i] : starts[i + 1]] for i in range(len(self.lengths))]


def table_of(signatures: pa.Table | Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """The named columns that a signature table has (all if None); a path is read as Parquet, digests checked."""
    if isinstance(signatures, pa.Table):
        names = [name for name in columns or signatures.column_names if name in signatures.column_names]
        return signatures.select(names)
    with pq.ParquetFile(signatures, page_checksum_verification=True) as file:
        names = [name for name in columns or file.schema_arrow.names if name in file.schema_arrow.names]
        return file.read(names)


def load_corpus(signatures: Signatures, plan: Plan, earlier: int = 0) -> Corpus:
    """The documents of all shards in their total order; the result depends on ids and columns, not on shards.

    Args:
        earlier: that many of the first shards are of earlier runs; their tables have a column ``dump``.

    Raises:
        ConfigError: a table was signed with other parameters, or lacks a column that ``prefer`` names.
        VerificationError: two documents have the same id.
    """
    digests = ("text_digest", "url_digest", "content_digest")
    wanted = ["id", "row", "source_id", "n_bytes", *digests, "dump", *(p.column for p in plan.prefer)]
    tables = []
    for shard, given in signatures:
        table = table_of(given, list(dict.fromkeys(wanted)))
        check_signed(table, plan, shard)
        tables.append(table.replace_schema_metadata(None))
    lengths = [len(table) for table in tables]
    full = [table for table in tables if len(table)] or tables[:1]
    if not full:
        full = [pa.schema({"id": pa.string(), "row": pa.int32(), "n_bytes": pa.int64()}).empty_table()]
    together = pa.concat_tables(full, promote_options="permissive").combine_chunks()
    fixed = sum(lengths[:earlier])
    order = rank_order(together, plan.prefer, fixed)
    shard = np.repeat(np.arange(len(lengths)), lengths)
    place = np.concatenate([np.zeros(0, np.int64), *[np.arange(n) for n in lengths]])
    taken = together.take(pa.array(order))
    text_group = _groups(taken, "text_digest")
    alone = text_group < 0
    text_group[alone] = text_group.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    first = np.zeros(int(text_group.max(initial=-1)) + 1, np.int64)
    first[text_group[::-1]] = np.arange(len(order))[::-1]  # of several writes to one place, the last one stays
    return Corpus(
        shards=[name for name, _ in signatures],
        lengths=lengths,
        ids=taken.column("id").combine_chunks(),
        source_ids=taken.column("source_id").combine_chunks() if "source_id" in taken.column_names else None,
        shard=shard[order],
        place=place[order].astype(np.int64),
        row=taken.column("row").to_numpy().astype(np.int64),
        n_bytes=taken.column("n_bytes").to_numpy().astype(np.int64),
        text_group=text_group,
        url_group=_groups(taken, "url_digest"),
        content_group=_groups(taken, "content_digest"),
        first=first,
        fixed=fixed,
        dumps=taken.column("dump").combine_chunks() if "dump" in taken.column_names else None,
    )


def rank_order(table: pa.Table, prefer: Sequence[Preference], fixed: int = 0) -> I64:
    """Row numbers of ``table``, the most preferred document first: by each preference in turn, nulls last, then id.

    The first ``fixed`` rows are of earlier runs: they come before all others, and of the same id by their run's name.
    """
    keys: dict[str, Any] = {}
    directions: list[tuple[str, str]] = []
    if fixed:
        keys["new"] = pa.array(np.arange(len(table)) >= fixed)
        directions.append(("new", "ascending"))
    for i, preference in enumerate(prefer):
        if preference.column not in table.column_names:
            there = ", ".join(table.column_names)
            raise ConfigError(f"dedup.prefer: no column {preference.column!r}; there are {there}")
        values = table.column(preference.column)
        if preference.values is not None:
            listed = pc.index_in(values.cast(pa.string()), pa.array(preference.values, pa.string()))
            unlisted = pc.if_else(values.is_valid(), len(preference.values), None)
            values = pc.coalesce(listed, unlisted.cast(pa.int32()))
        keys[f"key{i}"] = values
        directions.append((f"key{i}", "descending" if preference.descending else "ascending"))
    keys["id"] = table.column("id")
    directions.append(("id", "ascending"))
    if fixed:
        keys["dump"] = table.column("dump")
        directions.append(("dump", "ascending"))
    order: I64 = pc.sort_indices(pa.table(keys), sort_keys=directions).to_numpy().astype(np.int64)
    _check_unique(table.column("id").combine_chunks().take(pa.array(order[fixed:])), bool(prefer))
    return order


def _check_unique(ids: pa.Array, unsorted: bool) -> None:
    if unsorted:
        ids = ids.take(pc.sort_indices(ids))
    if len(ids) > 1:
        twice = pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1))
        if pc.any(twice).as_py():
            name = ids.slice(1).filter(twice)[0].as_py()
            raise VerificationError(f"dedup: two documents have the id {name}; an id must name one document")


def _groups(table: pa.Table, name: str) -> I64:
    """Numbers of equal values, in order of first occurrence; -1 for null, and where there is no such column."""
    if name not in table.column_names or not len(table):
        return np.full(len(table), -1, np.int64)
    found = table.column(name).combine_chunks().dictionary_encode().indices
    numbers: I64 = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
