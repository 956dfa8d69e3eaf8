"""What one shard says of its duplicates: small tables that can be merged in any order, and the checks of its rows.

Nothing here is as large as the shard's text; a cluster gives a shard one row however many members it has there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.dedup.audit.ids import U64, mixed, one_id, words_of
from curate.documents import column
from curate.errors import VerificationError

I64 = npt.NDArray[np.int64]

#: kinds by number; 0 is a document that stays
KINDS = ("stays", "exact", "url", "minhash", "content")
STAYS, EXACT, URL, NEAR, CONTENT = range(5)
#: those after which a text is not one of the distinct ones
COPIES = ("exact", "url", "content")
#: bands of similarity from which the sample is drawn, 0.05 wide; the last holds 1 alone
BANDS_PER_UNIT = 20
#: groups are merged by ranges of this many buckets
BUCKETS = 1 << 16
#: what to do about labels that contradict each other
REMEDY = "remove receipts/dedup and run again; if it comes back, this is a fault of curate"
#: sums of a shard that count a stratum begin with this
STRATUM = "stratum:"
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)"

_ID = [("high", pa.uint64()), ("low", pa.uint64())]
GROUPS = pa.schema(
    [
        column("bucket", pa.int32(), "place of the group in the merge: a hash of dimension and value", nullable=False),
        column("dimension", pa.string(), "column, `host` or `year`", nullable=False),
        column("value", pa.string(), "its value; null where a document has none"),
        column("documents", pa.int64(), "documents that duplicate removal looked at", nullable=False),
        column("exact", pa.int64(), "removed for the same text", nullable=False),
        column("url", pa.int64(), "removed for the same address", nullable=False),
        column("minhash", pa.int64(), "removed as near-duplicates", nullable=False),
        column("content", pa.int64(), "removed for the same bytes fetched", nullable=False),
        column("bytes", pa.int64(), "length of the texts as UTF-8", unit="bytes", nullable=False),
        column("removed_bytes", pa.int64(), "of these, removed", unit="bytes", nullable=False),
    ]
)
SUMS = ("documents", *KINDS[1:], "bytes", "removed_bytes")
#: per cluster with duplicates: what the shard holds of it; ``head`` is the row of its survivor, null if elsewhere
CLUSTERS = pa.schema(
    [*_ID, ("exact", pa.int64()), ("url", pa.int64()), ("minhash", pa.int64()), ("content", pa.int64()),
     ("bytes", pa.int64()), ("removed_bytes", pa.int64()), ("least", pa.int64()), ("most", pa.int64()),
     ("head", pa.int32())]
)  # fmt: skip
#: a few removed documents per cluster
MEMBERS = pa.schema(
    [*_ID, ("draw", pa.uint64()), ("id_high", pa.uint64()), ("id_low", pa.uint64()), ("row", pa.int32()),
     ("kind", pa.int8()), ("similarity", pa.float32())]
)  # fmt: skip
#: removed documents that may come into the sample
SAMPLE = pa.schema(
    [("stratum", pa.int32()), ("draw", pa.uint64()), ("id_high", pa.uint64()), ("id_low", pa.uint64()), *_ID,
     ("row", pa.int32())]
)  # fmt: skip


@dataclass(frozen=True)
class ShardTally:
    """The tables of one shard, and its sums: documents, bytes, the removed per kind and per stratum, and ``digest``.

    ``digest`` is a sum over the removed documents that does not depend on their order; that of the pairs must equal it.
    """

    groups: pa.Table
    clusters: pa.Table
    members: pa.Table
    sample: pa.Table
    sums: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Rows:
    """The labels of a shard as arrays, without the documents that duplicate removal never saw."""

    row: I64
    high: U64
    low: U64
    cluster_high: U64
    cluster_low: U64
    size: I64
    kind: npt.NDArray[np.int8]
    similarity: npt.NDArray[np.float32]
    n_bytes: I64
    #: the survivor is of an earlier run in the index: there is nothing of it here to look at
    earlier: npt.NDArray[np.bool_]

    def here(self) -> _Rows:
        """Without those whose survivor is of an earlier run."""
        mine = ~self.earlier
        return _Rows(**{f.name: getattr(self, f.name)[mine] for f in fields(self)})

    @property
    def gone(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.kind != STAYS)


def tally_shard(
    labels: pa.Table,
    n_bytes: I64,
    groups: Mapping[str, pa.Array],
    *,
    shard: str,
    threshold: float | None,
    examples: int,
    sample: int,
) -> ShardTally:
    """Tally and check one shard. Memory: about 200 bytes per document of the shard.

    Args:
        labels: ``LABELS`` of duplicate removal, one row per document; null where a document was dropped before.
        n_bytes: length of each text.
        groups: dimension → value of each document.
        threshold: least similarity of a near-duplicate; None if the config looks for none.
        examples, sample: how many documents per cluster, and per stratum, are carried on.

    Raises:
        VerificationError: a label contradicts another one of its document, or the threshold.
    """
    rows = _rows(labels, n_bytes, f"labels/dedup/{shard}")
    _check(rows, labels, shard, threshold)
    gone = rows.gone
    sums = {
        "documents": len(rows.row),
        "bytes": int(rows.n_bytes.sum()),
        "removed_bytes": int(rows.n_bytes[gone].sum()),
    }
    sums |= {name: int((rows.kind == number).sum()) for number, name in enumerate(KINDS) if number}
    sums["digest"] = pairs_digest(
        rows.high[gone], rows.low[gone], rows.cluster_high[gone], rows.cluster_low[gone], rows.kind[gone]
    )
    here = rows.here() if rows.earlier.any() else rows
    strata = stratum_of(here.kind[here.gone], here.similarity[here.gone])
    for stratum, count in zip(*np.unique(strata, return_counts=True), strict=True):
        sums[f"{STRATUM}{stratum}"] = int(count)
    return ShardTally(
        _groups(rows, groups), _clusters(here), _members(here, examples), _sample(here, sample), sums
    )  # fmt: skip


def added(sums: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums of several shards as one."""
    total: Counter[str] = Counter({"documents": 0, "bytes": 0, "removed_bytes": 0, "digest": 0})
    total.update(dict.fromkeys(KINDS[1:], 0))
    for one in sums:
        total.update(one)
    return {**total, "digest": total["digest"] % (1 << 64)}


def hosts_of(urls: pa.Array) -> pa.Array:
    """The host of each address in lower case; null where there is none."""
    found = pc.struct_field(pc.extract_regex(pc.cast(urls, pa.string()), _HOST), "host")
    return pc.if_else(pc.equal(pc.binary_length(found), 0), pa.scalar(None, pa.string()), pc.utf8_lower(found))


def years_of(dates: pa.Array) -> pa.Array:
    """The first four digits of each ISO 8601 date; null where it does not begin with four."""
    start = pc.utf8_slice_codeunits(pc.cast(dates, pa.string()), 0, 4)
    return pc.if_else(pc.match_substring_regex(start, "^[0-9]{4}$"), start, pa.scalar(None, pa.string()))


def pairs_digest(high: U64, low: U64, other_high: U64, other_low: U64, kind: npt.NDArray[Any]) -> int:
    """A sum modulo 2^64 over (removed, survivor, kind) in which order does not count, but every value does."""
    one = mixed(high, low, 1)
    two = mixed(other_high, other_low, 2)
    return int(mixed(one, two ^ kind.astype(np.uint64), 3).sum(dtype=np.uint64))


def stratum_of(kind: npt.NDArray[np.int8], similarity: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Number of the kind and the band of similarity: ``kind * 100 + band``."""
    exact = np.nan_to_num(similarity.astype(np.float64), nan=0.0)
    band = np.floor(np.round(exact, 6) * BANDS_PER_UNIT + 1e-9).astype(np.int32)
    return kind.astype(np.int32) * 100 + np.where(kind == NEAR, band, 0).astype(np.int32)


def _rows(labels: pa.Table, n_bytes: I64, where: str) -> _Rows:
    there = np.flatnonzero(np.asarray(pc.is_valid(labels["dedup_is_survivor"])))
    seen = labels.take(pa.array(there)).combine_chunks()
    names = pa.array(KINDS[1:], pa.string())
    kind = pc.fill_null(pc.index_in(seen["dedup_kind"], names), -1)
    high, low = words_of(seen["id"], where)
    cluster_high, cluster_low = words_of(seen["dedup_cluster"], where)
    return _Rows(
        there.astype(np.int64), high, low, cluster_high, cluster_low,
        np.asarray(pc.fill_null(seen["dedup_size"], 0), np.int64), np.asarray(kind).astype(np.int8) + 1,
        np.asarray(pc.fill_null(seen["dedup_similarity"], np.nan), np.float32), n_bytes[there], _earlier(seen),
    )  # fmt: skip


def _earlier(seen: pa.Table) -> npt.NDArray[np.bool_]:
    name = "dedup_survivor_dump"
    if name not in seen.column_names:
        return np.zeros(len(seen), np.bool_)
    return np.asarray(pc.is_valid(seen[name]), np.bool_)


def _check(rows: _Rows, labels: pa.Table, shard: str, threshold: float | None) -> None:
    """Every label agrees with the other labels of its document."""
    seen = labels.filter(pc.is_valid(labels["dedup_is_survivor"])).combine_chunks()
    stays = np.asarray(pc.fill_null(seen["dedup_is_survivor"], False), np.bool_)
    named = np.asarray(pc.is_valid(seen["dedup_survivor"]), np.bool_)
    same = np.asarray(pc.fill_null(pc.equal(seen["dedup_survivor"], seen["dedup_cluster"]), False), np.bool_)
    unknown = np.asarray(pc.is_valid(seen["dedup_kind"]), np.bool_) & (rows.kind == STAYS)
    own = (rows.high == rows.cluster_high) & (rows.low == rows.cluster_low)
    known, near = ~np.isnan(rows.similarity), rows.kind == NEAR
    least = np.float32(threshold) if threshold is not None else np.float32(np.inf)  # as the label was rounded
    wrong = (
        ("has a kind that is not known", unknown),
        ("stays and is removed", stays != (rows.kind == STAYS)),
        ("stays, but not for itself", stays & (named | ~own | known)),
        ("is its own survivor", ~stays & own & ~rows.earlier),
        ("is in another cluster than its survivor's", ~stays & ~same),
        ("is removed as an exact copy, but not with similarity 1", (rows.kind == EXACT) & (rows.similarity != 1)),
        ("is removed for its address or bytes, but has a similarity", np.isin(rows.kind, (URL, CONTENT)) & known),
        (f"is removed as similar below the threshold of {threshold}", near & ~(rows.similarity >= least)),
        ("is removed with a similarity above 1", near & (rows.similarity > 1)),
        ("is in a cluster too small for it", rows.size < np.where(stays, 1, 2)),
    )
    for what, mask in wrong:
        if mask.any():
            first = int(np.flatnonzero(mask)[0])
            raise VerificationError(
                f"duplicate removal does not hold: document {one_id(rows.high[first], rows.low[first])} (row "
                f"{rows.row[first]} of labels/dedup/{shard}.parquet) {what}, and {int(mask.sum()) - 1} more; "
                f"{REMEDY}"
            )


def _groups(rows: _Rows, groups: Mapping[str, pa.Array]) -> pa.Table:
    values = {"documents": np.ones(len(rows.row), np.int64), "bytes": rows.n_bytes,
              "removed_bytes": np.where(rows.gone, rows.n_bytes, 0)}  # fmt: skip
    values |= {name: (rows.kind == number).astype(np.int64) for number, name in enumerate(KINDS) if number}
    parts = [GROUPS.empty_table()]
    for dimension, given in groups.items():
        table = pa.table({"value": pc.cast(given, pa.string()).take(pa.array(rows.row)), **values})
        found = table.group_by("value", use_threads=False).aggregate([(n, "sum") for n in SUMS])
        buckets = [_bucket(dimension, value) for value in found["value"].to_pylist()]
        columns = [pa.array(buckets, pa.int32()), pa.array([dimension] * len(found), pa.string()), found["value"]]
        parts.append(pa.Table.from_arrays([*columns, *(found[f"{n}_sum"] for n in SUMS)], schema=GROUPS))
    order = [("bucket", "ascending"), ("dimension", "ascending"), ("value", "ascending")]
    return pa.concat_tables(parts).sort_by(order).combine_chunks()


def _bucket(dimension: str, value: str | None) -> int:
    key = f"{dimension}\0" + ("" if value is None else f"={value}")
    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogateescape")) % BUCKETS


def _clusters(rows: _Rows) -> pa.Table:
    many = rows.size > 1
    kind, stays = rows.kind[many], rows.kind[many] == STAYS
    columns: dict[str, Any] = {"high": rows.cluster_high[many], "low": rows.cluster_low[many]}
    columns |= {name: (kind == number).astype(np.int64) for number, name in enumerate(KINDS) if number}
    columns |= {"bytes": rows.n_bytes[many], "removed_bytes": np.where(stays, 0, rows.n_bytes[many])}
    columns |= {"least": rows.size[many], "most": rows.size[many]}
    columns["head"] = pa.array(rows.row[many].astype(np.int32), mask=~stays)
    return merged_clusters(pa.table(columns).select(CLUSTERS.names).cast(CLUSTERS))


def merged_clusters(table: pa.Table, more: tuple[str, ...] = ()) -> pa.Table:
    """One row per cluster, sorted; ``more`` are columns of which the largest value is taken, nulls aside."""
    sums = (*KINDS[1:], "bytes", "removed_bytes")
    wanted = [*((n, "sum") for n in sums), ("least", "min"), ("most", "max"), ("head", "max"), ("head", "count"),
              *((n, "max") for n in more)]  # fmt: skip
    found = table.group_by(["high", "low"], use_threads=False).aggregate(wanted)
    if found.num_rows and pc.max(found["head_count"]).as_py() > 1:
        twice = found.filter(pc.greater(found["head_count"], 1))
        raise VerificationError(
            f"two documents have the id {one_id(twice['high'][0].as_py(), twice['low'][0].as_py())}"
        )
    names = [*CLUSTERS.names, *more]
    old = {**{n: f"{n}_sum" for n in sums}, "least": "least_min", "most": "most_max", "head": "head_max",
           **{n: f"{n}_max" for n in more}}  # fmt: skip
    columns = {n: found[old.get(n, n)] for n in names}
    return pa.table(columns).sort_by([("high", "ascending"), ("low", "ascending")]).combine_chunks()


def _members(rows: _Rows, examples: int) -> pa.Table:
    gone = np.flatnonzero(rows.gone) if examples else np.zeros(0, np.int64)
    draw = mixed(rows.high[gone], rows.low[gone])
    table = pa.table(
        {
            "high": rows.cluster_high[gone], "low": rows.cluster_low[gone], "draw": draw, "id_high": rows.high[gone],
            "id_low": rows.low[gone], "row": rows.row[gone].astype(np.int32), "kind": rows.kind[gone],
            "similarity": pa.array(rows.similarity[gone], from_pandas=True),
        }
    ).cast(MEMBERS)  # fmt: skip
    return first_of(table, ("high", "low"), examples)


def first_of(table: pa.Table, keys: tuple[str, ...], most: int) -> pa.Table:
    """The ``most`` rows with the smallest draw of each key, sorted by key and draw."""
    arrays = [table[n].to_numpy() for n in keys]
    order = np.lexsort((table["draw"].to_numpy(), *reversed(arrays)))
    starts = np.zeros(len(order), np.bool_)
    if len(order):
        starts[0] = True
        for array in arrays:
            taken = array[order]
            starts[1:] |= taken[1:] != taken[:-1]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0)) if len(order) else order
    return table.take(pa.array(order[np.arange(len(order)) - first < most])).combine_chunks()


def _sample(rows: _Rows, most: int) -> pa.Table:
    gone = np.flatnonzero(rows.gone) if most else np.zeros(0, np.int64)
    table = pa.table(
        {
            "stratum": stratum_of(rows.kind[gone], rows.similarity[gone]),
            "draw": mixed(rows.high[gone], rows.low[gone]), "id_high": rows.high[gone], "id_low": rows.low[gone],
            "high": rows.cluster_high[gone], "low": rows.cluster_low[gone], "row": rows.row[gone].astype(np.int32),
        }
    ).cast(SAMPLE)  # fmt: skip
    return first_of(table, ("stratum",), most)
