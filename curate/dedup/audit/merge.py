"""The tallies of all shards as one: exact, in bounded memory, and with every survivor proven to be kept.

Clusters are merged by ranges of ids, groups by ranges of buckets, so that at most ``ROWS_AT_ONCE`` rows are held (about
100 bytes each, three times over while they are grouped); samples and sums are folded shard by shard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.dedup.audit.ids import ids_of, one_id
from curate.dedup.audit.tally import BUCKETS, GROUPS, KINDS, MEMBERS, REMEDY, SAMPLE, SUMS, first_of, merged_clusters
from curate.documents import column
from curate.errors import VerificationError
from curate.store.folder import Folder
from curate.store.shards import Output, ShardWriter

ROWS_AT_ONCE = 2_000_000
#: groups of a dimension that are named in the summary
MOST_NAMED = 50

CLUSTER_TABLE = pa.schema(
    [
        column("survivor", pa.string(), "id of the document that stays; names the cluster", nullable=False),
        column("size", pa.int64(), "documents, survivor included", range_="2–", nullable=False),
        column("exact", pa.int64(), "removed for the same text", nullable=False),
        column("url", pa.int64(), "removed for the same address", nullable=False),
        column("minhash", pa.int64(), "removed as near-duplicates", nullable=False),
        column("content", pa.int64(), "removed for the same bytes fetched", nullable=False),
        column("bytes", pa.int64(), "length of all texts as UTF-8", unit="bytes", nullable=False),
        column("removed_bytes", pa.int64(), "of these, removed", unit="bytes", nullable=False),
        column("examples", pa.list_(pa.string()), "ids of a few removed documents, drawn by a hash", nullable=False),
    ]
)  # fmt: skip
GROUP_TABLE = pa.schema([f for f in GROUPS if f.name != "bucket"])

Place = tuple[int, int]


@dataclass(frozen=True)
class Member:
    """A removed document of a cluster: its id, (number of its shard, row), kind, and similarity to the survivor."""

    id: str
    place: Place
    kind: str
    similarity: float | None


@dataclass(frozen=True)
class Head:
    """A large cluster, named by its survivor."""

    survivor: str
    place: Place
    size: int
    removed: dict[str, int]
    bytes: int
    examples: tuple[Member, ...] = ()


@dataclass
class Clusters:
    """What the clusters are: sizes → how many, the largest, and where the wanted survivors stand."""

    sizes: Counter[int] = field(default_factory=Counter)
    largest: list[Head] = field(default_factory=list)
    most_near: int = 0
    most_near_survivor: str | None = None
    places: dict[str, Place] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)


@dataclass(frozen=True)
class Tallies:
    """Where the tables of ``tally_shard`` lie: ``steps/dedup_tally/<shard>-<what>.parquet``."""

    folder: Folder
    shards: Sequence[str]

    def name(self, shard: str, what: str) -> str:
        return f"steps/dedup_tally/{shard}-{what}.parquet"

    def rows(self, what: str) -> int:
        """Rows of all shards."""
        total = 0
        for shard in self.shards:
            with self.folder.parquet(self.name(shard, what)) as file:
                total += file.metadata.num_rows
        return total

    def tables(self, what: str, key: str = "", low: int = 0, high: int = 1 << 64) -> Iterator[tuple[int, pa.Table]]:
        """(number of the shard, its rows whose ``key`` is at least ``low`` and below ``high``)."""
        for number, shard in enumerate(self.shards):
            with self.folder.parquet(self.name(shard, what)) as file:
                yield number, _between(file, key, low, high)


def merge_clusters(
    tallies: Tallies, name: str, *, largest: int, examples: int, wanted: frozenset[str] = frozenset()
) -> Clusters:
    """Write the cluster table ``name`` and say what is in it.

    Args:
        wanted: ids of survivors whose place is asked for.

    Raises:
        VerificationError: a named survivor is not kept or not there, or a cluster has not the size that its labels say.
    """
    found = Clusters()
    writer = ShardWriter(tallies.folder, name, CLUSTER_TABLE)
    try:
        rows = tallies.rows("clusters") + tallies.rows("members")
        for low, high in _ranges(rows, 1 << 64):
            table, members = _clusters_between(tallies, low, high, examples)
            _check(table)
            _count(found, table, members, largest, wanted)
            writer.write(_public(table, members))
        found.outputs.append(writer.close())
    except BaseException:
        writer.abandon()
        raise
    return found


def merge_groups(tallies: Tallies, name: str) -> tuple[dict[str, dict[str, object]], Output]:
    """Write the removal per group as ``name``.

    Returns:
        dimension → number of its values, and of the ``MOST_NAMED`` with most removals value and sums; then the output.
    """
    writer = ShardWriter(tallies.folder, name, GROUP_TABLE)
    named: dict[str, list[dict[str, object]]] = {}
    counts: Counter[str] = Counter()
    try:
        for low, high in _ranges(tallies.rows("groups"), BUCKETS):
            parts = [table for _, table in tallies.tables("groups", "bucket", low, high)]
            table = _summed(parts)
            writer.write(table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], schema=GROUP_TABLE))
            for dimension in pc.unique(table["dimension"]).to_pylist():
                mine = table.filter(pc.equal(table["dimension"], dimension))
                counts[dimension] += len(mine)
                named[dimension] = _most_removed([*named.get(dimension, []), *_first_rows(mine)])
        output = writer.close()
    except BaseException:
        writer.abandon()
        raise
    return {d: {"values": counts[d], "most": named[d]} for d in sorted(named)}, output


def fold_samples(tallies: Tallies, most: int) -> pa.Table:
    """The ``most`` removed documents of each stratum with the smallest draw; ``SAMPLE`` and the column ``shard``."""
    schema = SAMPLE.append(pa.field("shard", pa.int32()))
    kept = schema.empty_table()
    for number, table in tallies.tables("sample"):
        mine = table.append_column(schema.field("shard"), pa.array(np.full(len(table), number, np.int32)))
        kept = first_of(pa.concat_tables([kept, mine]), ("stratum",), most)
    return kept


def _ranges(rows: int, end: int) -> list[tuple[int, int]]:
    """Equal ranges of [0, end) for keys that are hashes, so that each holds about ``ROWS_AT_ONCE`` rows or fewer."""
    n = max(1, -(-rows // ROWS_AT_ONCE))
    return [(end * i // n, end * (i + 1) // n) for i in range(n)]


def _between(file: pq.ParquetFile, key: str, low: int, high: int) -> pa.Table:
    if not key or (low == 0 and high >= (BUCKETS if key == "bucket" else 1 << 64)):
        return file.read(use_threads=False)
    at = file.schema_arrow.names.index(key)
    groups = []
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(at).statistics
        if known is None or not known.has_min_max or (known.max >= low and known.min < high):
            groups.append(group)
    table = file.read_row_groups(groups, use_threads=False) if groups else file.schema_arrow.empty_table()
    values = table[key].to_numpy()
    inside = values >= np.array(low, values.dtype)
    if high < 1 << 64:
        inside &= values < np.array(high, values.dtype)
    return table.filter(pa.array(inside))


def _clusters_between(tallies: Tallies, low: int, high: int, examples: int) -> tuple[pa.Table, pa.Table]:
    parts, members = [], [MEMBERS.append(pa.field("shard", pa.int32())).empty_table()]
    for number, table in tallies.tables("clusters", "high", low, high):
        here = pa.array(np.full(len(table), number, np.int32))
        parts.append(table.append_column("shard", pc.if_else(pc.is_valid(table["head"]), here, None)))
        if sum(len(p) for p in parts[1:]) > ROWS_AT_ONCE // 2:  # many shards that hold the same clusters
            parts = [merged_clusters(pa.concat_tables(parts), ("shard",))]
    for number, table in tallies.tables("members", "high", low, high):
        members.append(table.append_column("shard", pa.array(np.full(len(table), number, np.int32))))
        if sum(len(p) for p in members[1:]) > ROWS_AT_ONCE // 2:
            members = [first_of(pa.concat_tables(members), ("high", "low"), examples)]
    return (
        merged_clusters(pa.concat_tables(parts), ("shard",)) if parts else _no_clusters(),
        first_of(pa.concat_tables(members), ("high", "low"), examples),
    )


def _no_clusters() -> pa.Table:
    from curate.dedup.audit.tally import CLUSTERS

    return CLUSTERS.append(pa.field("shard", pa.int32())).empty_table()


def _removed(table: pa.Table) -> npt.NDArray[np.int64]:
    return np.asarray(sum(table[n].to_numpy() for n in KINDS[1:]), np.int64)


def _check(table: pa.Table) -> None:
    """Every cluster has its survivor, which is kept, and as many documents as its labels say."""
    if not len(table):
        return
    absent = np.asarray(pc.is_null(table["head"]), np.bool_)
    size = 1 + _removed(table)
    other = (table["least"].to_numpy() != size) | (table["most"].to_numpy() != size)
    for mask, what in (
        (absent, "documents were removed in favour of {id}, which is not kept or not there"),
        (other, "the cluster of {id} has not the size that the labels of its documents say"),
    ):
        if mask.any():
            first = int(np.flatnonzero(mask)[0])
            said = what.format(id=one_id(table["high"][first].as_py(), table["low"][first].as_py()))
            raise VerificationError(
                f"duplicate removal does not hold: {said}, and {int(mask.sum()) - 1} more clusters; {REMEDY}"
            )


def _count(found: Clusters, table: pa.Table, members: pa.Table, largest: int, wanted: frozenset[str]) -> None:
    if not len(table):
        return
    size = 1 + _removed(table)
    for n, count in zip(*np.unique(size, return_counts=True), strict=True):
        found.sizes[int(n)] += int(count)
    near = table["minhash"].to_numpy()
    at = int(np.argmax(near))
    if near[at] > found.most_near:
        found.most_near = int(near[at])
        found.most_near_survivor = one_id(table["high"][at].as_py(), table["low"][at].as_py())
    first = np.argsort(-size, kind="stable")[:largest]
    heads = [_head(table.slice(int(i), 1), members) for i in first]
    found.largest = sorted([*found.largest, *heads], key=lambda h: (-h.size, h.survivor))[:largest]
    if wanted:
        ids = ids_of(table["high"].to_numpy(), table["low"].to_numpy())
        rows = np.flatnonzero(np.asarray(pc.is_in(ids, pa.array(sorted(wanted)))))
        for i in rows.tolist():
            found.places[ids[i].as_py()] = (table["shard"][i].as_py(), table["head"][i].as_py())


def _head(row: pa.Table, members: pa.Table) -> Head:
    of = row.to_pylist()[0]
    mine = members.filter(pc.and_(pc.equal(members["high"], row["high"][0]), pc.equal(members["low"], row["low"][0])))
    examples = tuple(
        Member(one_id(m["id_high"], m["id_low"]), (m["shard"], m["row"]), KINDS[m["kind"]], m["similarity"])
        for m in mine.to_pylist()
    )
    removed = {k: of[k] for k in KINDS[1:]}
    size = 1 + sum(removed.values())
    return Head(one_id(of["high"], of["low"]), (of["shard"], of["head"]), size, removed, of["bytes"], examples)


def _public(table: pa.Table, members: pa.Table) -> pa.RecordBatch:
    """Rows of the cluster table, in the order of ids."""
    if not len(table):
        return pa.RecordBatch.from_pylist([], schema=CLUSTER_TABLE)
    offsets = np.zeros(len(table) + 1, np.int32)
    if len(members):  # both are sorted by cluster, and every cluster has members
        offsets[1:] = np.cumsum(_run_lengths(members))
    ids = ids_of(members["id_high"].to_numpy(), members["id_low"].to_numpy())
    columns = [
        ids_of(table["high"].to_numpy(), table["low"].to_numpy()), pa.array(1 + _removed(table)),
        *(table[n].combine_chunks() for n in (*KINDS[1:], "bytes", "removed_bytes")),
        pa.ListArray.from_arrays(pa.array(offsets), ids),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=CLUSTER_TABLE)


def _run_lengths(members: pa.Table) -> npt.NDArray[np.int64]:
    high, low = members["high"].to_numpy(), members["low"].to_numpy()
    starts = np.flatnonzero(np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    return np.diff(np.append(starts, len(members)))


def _summed(parts: list[pa.Table]) -> pa.Table:
    if not parts:
        return GROUP_TABLE.empty_table()
    keys = ["bucket", "dimension", "value"]
    found = pa.concat_tables(parts).group_by(keys, use_threads=False).aggregate([(n, "sum") for n in SUMS])
    found = found.sort_by([(k, "ascending") for k in keys]).combine_chunks()
    columns = [found["dimension"], found["value"], *(found[f"{n}_sum"] for n in SUMS)]
    return pa.Table.from_arrays(columns, schema=GROUP_TABLE).combine_chunks()


def _first_rows(table: pa.Table) -> list[dict[str, object]]:
    """The rows with most removals; ties by more documents, then by value."""
    order = [("removed", "descending"), ("documents", "descending"), ("value", "ascending")]
    ranked = table.append_column("removed", pa.array(_removed(table))).sort_by(order)
    found: list[dict[str, object]] = ranked.slice(0, MOST_NAMED).drop_columns(["removed"]).to_pylist()
    return found


def _most_removed(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return _first_rows(pa.Table.from_pylist(rows, schema=GROUP_TABLE))
