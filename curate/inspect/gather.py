"""Figures of a run from its shards: every document counted, few texts read, memory bounded by one shard's numbers.

Label columns are read shard by shard; texts are read only to measure their length (batch by batch) and, for examples,
from the row groups that hold them. Nothing depends on the order in which shards were made.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.inspect.data import Example, HeatMap, Histogram, Place, ValueCount, ValueCounts
from curate.store.folder import Folder

KEPT = "kept"
#: labels with more values than this are not names but texts
MOST_VALUES = 1000
#: and so are labels of which more than this share of documents has one of its own (titles, addresses)
MOST_DISTINCT = 0.5
#: longest text that is carried for an example, in characters
EXAMPLE_CHARS = 4000
_TEXT_BATCH = 1024
_BOUNDS = re.compile(r"(-?\d+(?:\.\d+)?)\s*–\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Layout:
    """Where a run's rows lie.

    Attributes:
        shards: partitions, in order.
        labels: steps that wrote ``labels/<step>/``; deciding: steps that wrote ``dropped/`` and ``failed/``.
    """

    folder: Folder
    shards: tuple[str, ...]
    labels: tuple[str, ...]
    deciding: tuple[str, ...]
    token_column: str = "tokens_count"

    def label(self, shard: str, column: str) -> pa.ChunkedArray | None:
        """A label column of a shard, aligned with its documents; None if no step made it."""
        for step in self.labels:
            name = f"labels/{step}/{shard}.parquet"
            with self.folder.parquet(name) as file:
                if column in file.schema_arrow.names:
                    return file.read(columns=[column], use_threads=False)[column]
        return None

    def rows(self, shard: str) -> int:
        """Documents of a shard."""
        with self.folder.parquet(f"documents/{shard}.parquet") as file:
            return int(file.metadata.num_rows)


@dataclass
class Weight:
    """Documents that met the same fate, and what they hold; ``untold`` of them have no token count."""

    documents: int = 0
    tokens: int = 0
    untold: int = 0
    text_bytes: int = 0


@dataclass
class Fates:
    """What became of the written documents: fate → weight; ``kept``, ``stage:reason`` or ``stage:error``."""

    weights: dict[str, Weight] = field(default_factory=dict)

    def of(self, fate: str) -> Weight:
        return self.weights.setdefault(fate, Weight())


def fates(layout: Layout) -> Fates:
    """The fate of every document that reached ``documents/``, with its tokens and bytes."""
    found = Fates()
    for shard in layout.shards:
        names, codes = row_fates(layout, shard)
        size = _text_bytes(layout, shard)
        tokens = layout.label(shard, layout.token_column)
        known = np.zeros(len(codes), np.bool_) if tokens is None else ~_nulls(tokens)
        counted = np.zeros(len(codes), np.int64) if tokens is None else _integers(tokens)
        for code, name in enumerate(names):
            mine = codes == code
            weight = found.of(name)
            weight.documents += int(mine.sum())
            weight.text_bytes += int(size[mine].sum())
            weight.tokens += int(counted[mine].sum())
            weight.untold += int((mine & ~known).sum())
    return found


def row_fates(layout: Layout, shard: str) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Per document of a shard the index of its fate in the list of names; 0 is ``kept``."""
    names, codes = {KEPT: 0}, np.zeros(layout.rows(shard), np.int32)
    for step in layout.deciding:
        dropped = layout.folder.table(f"dropped/{step}-{shard}.parquet", ["row", "stage", "reason"])
        failed = layout.folder.table(f"failed/{step}-{shard}.parquet", ["row", "stage", "error", "level"])
        failed = failed.filter(pc.equal(failed["level"], "error"))
        for table, code in ((dropped, "reason"), (failed, "error")):
            there = table.filter(pc.is_valid(table["row"]))
            keys = pc.binary_join_element_wise(there["stage"], there[code], ":")
            for key in sorted(pc.unique(keys).to_pylist()):
                rows = there["row"].filter(pc.equal(keys, key))
                codes[rows.to_numpy()] = names.setdefault(key, len(names))
    return list(names), codes


def _text_bytes(layout: Layout, shard: str) -> npt.NDArray[np.int64]:
    with layout.folder.parquet(f"documents/{shard}.parquet") as file:
        batches = file.iter_batches(batch_size=_TEXT_BATCH, columns=["text"], use_threads=False)
        parts = [np.asarray(pc.fill_null(pc.binary_length(b.column(0)), 0), np.int64) for b in batches]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _nulls(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_null(column), np.bool_)


def _integers(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.cast(column, pa.int64()), 0), np.int64)


def histograms(layout: Layout, fields: Sequence[pa.Field], bins: int, logarithmic: frozenset[str]) -> list[Histogram]:
    """One histogram per field; fields without any finite value are left out.

    Args:
        bins: bars wanted; whole numbers of few values get one bar each.
        logarithmic: columns whose edges grow by a factor.
    """
    found = []
    for wanted in fields:
        low, high, finite = _range(layout, wanted.name)
        if finite:
            whole = pa.types.is_integer(wanted.type)
            edges = bin_edges(
                low, high, bins, whole=whole, log=wanted.name in logarithmic, declared=_meta(wanted, "range")
            )
            found.append(_counted(layout, wanted, edges, wanted.name in logarithmic))
    return found


def bin_edges(
    low: float, high: float, bins: int, *, whole: bool, log: bool, declared: str = ""
) -> npt.NDArray[np.float64]:
    """Ascending edges that hold all values from ``low`` to ``high``; a declared range such as 1–5 is kept."""
    if log and high > max(1.0, low) * 2:
        start = max(1.0, low)
        edges = np.geomspace(start, high, bins + 1)
        edges[0], edges[-1] = start, high
        if whole:
            edges = np.unique(np.round(edges))
        return np.concatenate([[low], edges]) if low < start else edges
    if whole and high - low < bins:
        return np.arange(low - 0.5, high + 1.0)
    if (bounds := _bounds(declared)) is not None and bounds[0] <= low and high <= bounds[1]:
        return np.linspace(*bounds, bins + 1)
    return np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _bounds(declared: str) -> tuple[float, float] | None:
    """The two ends of a range such as ``0–1``; None if it has not two."""
    found = _BOUNDS.fullmatch(declared.strip())
    return (float(found[1]), float(found[2])) if found else None


def _range(layout: Layout, column: str) -> tuple[float, float, bool]:
    low, high, finite = np.inf, -np.inf, False
    for shard in layout.shards:
        values = _finite(layout, shard, column)[0]
        if len(values):
            low, high, finite = min(low, float(values.min())), max(high, float(values.max())), True
    return low, high, finite


def _finite(layout: Layout, shard: str, column: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The finite values of a label and where they stand."""
    label = layout.label(shard, column)
    if label is None:
        return np.zeros(0), np.zeros(layout.rows(shard), np.bool_)
    values = np.asarray(pc.fill_null(pc.cast(label, pa.float64()), np.nan), np.float64)
    there = np.isfinite(values)
    return values[there], there


def _counted(layout: Layout, wanted: pa.Field, edges: npt.NDArray[np.float64], log: bool) -> Histogram:
    bars = len(edges) - 1
    kept, left, missing = np.zeros(bars, np.int64), np.zeros(bars, np.int64), 0
    for shard in layout.shards:
        values, there = _finite(layout, shard, wanted.name)
        stays = row_fates(layout, shard)[1][there] == 0
        kept += np.histogram(values[stays], edges)[0]
        left += np.histogram(values[~stays], edges)[0]
        missing += int((~there).sum())
    return Histogram(
        wanted.name, tuple(edges.tolist()), tuple(kept.tolist()), tuple(left.tolist()), missing, log,
        _meta(wanted, "doc"), _meta(wanted, "unit"),
    )  # fmt: skip


def _meta(wanted: pa.Field, key: str) -> str:
    return str((wanted.metadata or {}).get(key.encode(), b"").decode("utf-8"))


class Tally:
    """Documents and tokens of the corpus by the values of one label or two."""

    def __init__(self) -> None:
        self.documents: Counter[tuple[str | None, ...]] = Counter()
        self.tokens: Counter[tuple[str | None, ...]] = Counter()

    def add(self, keys: pa.Table, tokens: pa.ChunkedArray | None) -> None:
        """Add the rows of ``keys``, whose columns together are a key."""
        names = [f"k{i}" for i in range(keys.num_columns)]
        table = keys.rename_columns(names)
        sums: list[tuple[Any, str]] = [([], "count_all")]
        if tokens is not None:
            table, sums = table.append_column("t", pc.cast(tokens, pa.int64())), [*sums, ("t", "sum")]
        for row in table.group_by(names, use_threads=False).aggregate(sums).to_pylist():
            key = tuple(row[n] for n in names)
            self.documents[key] += row["count_all"]
            self.tokens[key] += row.get("t_sum") or 0


def tallies(
    layout: Layout, wanted: Sequence[tuple[str, ...]]
) -> tuple[dict[tuple[str, ...], Tally], bool]:  # fmt: skip
    """The corpus by each of the wanted columns or pairs, and whether tokens were counted."""
    found, told = {key: Tally() for key in wanted}, False
    columns = {c for key in wanted for c in key}
    for shard in layout.shards:
        with layout.folder.parquet(f"corpus/{shard}.parquet") as file:
            names = file.schema_arrow.names
            there = [c for c in names if c in columns or c == layout.token_column]
            table = file.read(columns=there, use_threads=False)
        tokens = table[layout.token_column] if layout.token_column in there else None
        told = told or tokens is not None
        for key, tally in found.items():
            if set(key) <= set(there):
                named = [pc.cast(table[c], pa.string()) for c in key]
                tally.add(pa.table(dict(zip((str(i) for i in range(len(key))), named, strict=True))), tokens)
    return found, told


def value_counts(column: pa.Field, tally: Tally, told: bool) -> ValueCounts | None:
    """The values of a label, most documents first; None if they are too many to be names."""
    told_documents = sum(n for key, n in tally.documents.items() if key[0] is not None)
    if len(tally.documents) > MOST_VALUES or (
        len(tally.documents) > 20 and len(tally.documents) > MOST_DISTINCT * told_documents
    ):
        return None
    order = sorted(tally.documents, key=lambda k: (-tally.documents[k], k[0] is None, k[0] or ""))
    rows = tuple(ValueCount(k[0], tally.documents[k], tally.tokens[k] if told else None) for k in order)
    return ValueCounts(column.name, rows, _meta(column, "doc"))


def heat_map(row: str, column: str, tally: Tally, told: bool, most_rows: int = 40) -> HeatMap | None:
    """Documents and tokens by two labels, rows by size; None if there is nothing to show."""
    cells = {(a or "none", b or "none"): n for (a, b), n in tally.documents.items()}
    tokens = {(a or "none", b or "none"): n for (a, b), n in tally.tokens.items()} if told else None
    by_row: Counter[str] = Counter()
    for (a, _), n in (tokens or cells).items():
        by_row[a] += n
    rows = tuple(sorted(by_row, key=lambda a: (-by_row[a], a))[:most_rows])
    columns = tuple(sorted({b for _, b in cells}, key=lambda b: (b == "none", b)))
    shown = {k: n for k, n in cells.items() if k[0] in rows}
    return HeatMap(row, column, rows, columns, shown, tokens) if cells else None


def _rows_of(
    layout: Layout, pattern: str, column: str, wanted: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], Any]:  # fmt: skip
    """Values of a column at given rows of given files; only the row groups that hold them are read."""
    found: dict[tuple[str, int], Any] = {}
    for name in sorted({n for n, _ in wanted}):
        rows = np.array(sorted(r for n, r in wanted if n == name), np.int64)
        for row, item in _take(layout.folder, pattern.format(name), column, rows):
            found[name, row] = item
    return found


def _take(folder: Folder, path: str, column: str, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
    with folder.parquet(path) as file:
        if column not in file.schema_arrow.names:
            return
        ends = np.cumsum([file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)])
        groups = np.searchsorted(ends, rows, side="right")
        for group in np.unique(groups).tolist():
            start = int(ends[group]) - file.metadata.row_group(group).num_rows
            values = file.read_row_group(group, columns=[column], use_threads=False)[column]
            for row in rows[groups == group].tolist():
                item = values[row - start].as_py()
                yield row, item[:EXAMPLE_CHARS] if isinstance(item, str) else item


_FATE_COLUMNS = ("id", "url", "stage", "reason", "value", "threshold", "survivor", "detail")


def dropped_examples(layout: Layout, most: int, *, texts: bool) -> dict[str, tuple[Example, ...]]:
    """Per ``stage:reason`` the dropped documents with the smallest ids, with their texts where they were kept."""
    smallest: dict[str, list[tuple[str, str, int, dict[str, Any]]]] = {}
    for step in layout.deciding if most else ():
        for shard in layout.shards:
            name = f"{step}-{shard}"
            table = layout.folder.table(f"dropped/{name}.parquet", list(_FATE_COLUMNS))
            _keep_smallest(smallest, name, table, most)
    places = [(name, row) for rows in smallest.values() for _, name, row, _ in rows]
    text = _rows_of(layout, "dropped/{}.parquet", "text", places) if texts else {}
    return {
        key: tuple(
            Example(i, f["url"], text.get((name, row)), f["value"], f["threshold"], f["survivor"], f["detail"])
            for i, name, row, f in rows
        )
        for key, rows in smallest.items()
    }


def _keep_smallest(
    smallest: dict[str, list[tuple[str, str, int, dict[str, Any]]]], name: str, table: pa.Table, most: int
) -> None:
    keys = pc.binary_join_element_wise(table["stage"], table["reason"], ":")
    for key in pc.unique(keys).to_pylist():
        rows = np.flatnonzero(np.asarray(pc.equal(keys, key)))
        ids = table["id"].take(pa.array(rows)).to_pylist()
        first = heapq.nsmallest(most, zip(ids, rows.tolist(), strict=True))
        found = [(i, name, r, {c: table[c][r].as_py() for c in _FATE_COLUMNS}) for i, r in first]
        smallest[key] = heapq.nsmallest(most, [*smallest.get(key, []), *found], key=lambda x: x[0])


def kept_examples(
    layout: Layout, groups: Sequence[str], notes: Sequence[str], most: int
) -> dict[tuple[str, ...], tuple[Example, ...]]:
    """Per group of the corpus the documents with the smallest ids, with the given labels."""
    smallest: dict[tuple[str, ...], list[tuple[str, str, int, dict[str, Any]]]] = {}
    for shard in layout.shards if most else ():
        with layout.folder.parquet(f"corpus/{shard}.parquet") as file:
            names = file.schema_arrow.names
            wanted = [n for n in dict.fromkeys(["id", "url", *groups, *notes]) if n in names]
            table = file.read(columns=wanted, use_threads=False)
        for row in _first_rows(table, groups, most):
            facts = {n: table[n][row].as_py() for n in wanted}
            key = tuple("none" if facts[g] is None else str(facts[g]) for g in groups)
            found = [*smallest.get(key, []), (facts["id"], shard, row, facts)]
            smallest[key] = heapq.nsmallest(most, found, key=lambda x: x[0])
    places = [(shard, row) for rows in smallest.values() for _, shard, row, _ in rows]
    text = _rows_of(layout, "corpus/{}.parquet", "text", places)
    return {
        key: tuple(
            Example(i, f.get("url"), text.get((shard, row)), notes=_noted(f, notes)) for i, shard, row, f in rows
        )
        for key, rows in smallest.items()
    }


def _first_rows(table: pa.Table, groups: Sequence[str], most: int) -> list[int]:
    """Rows of the smallest ids of each group."""
    import polars as pl

    frame = pl.from_arrow(table.select(["id", *groups]))
    assert isinstance(frame, pl.DataFrame)
    ordered = frame.with_row_index("_at").sort("id")
    first = ordered.group_by(list(groups), maintain_order=True).head(most) if groups else ordered.head(most)
    return sorted(first["_at"].to_list())


def failed_places(layout: Layout, level: str, most: int) -> dict[str, tuple[Place, ...]]:
    """Per ``stage:error`` the first places in the input, by file and offset."""
    columns = ["source", "offset", "length", "stage", "error", "level", "detail"]
    smallest: dict[str, list[tuple[str, int, int, str]]] = {}
    names = ["inputs-all", *(f"{step}-{shard}" for step in layout.deciding for shard in layout.shards)]
    for name in names:
        if name == "inputs-all" and not layout.folder.exists(f"failed/{name}.parquet"):
            continue
        table = layout.folder.table(f"failed/{name}.parquet", columns)
        table = table.filter(pc.equal(table["level"], level))
        keys = pc.binary_join_element_wise(table["stage"], table["error"], ":")
        for key in pc.unique(keys).to_pylist():
            mine = table.filter(pc.equal(keys, key)).sort_by([("source", "ascending"), ("offset", "ascending")])
            found = [
                (r["source"], r["offset"], r["length"], r["detail"] or "") for r in mine.slice(0, most).to_pylist()
            ]
            smallest[key] = heapq.nsmallest(most, [*smallest.get(key, []), *found])
    return {key: tuple(Place(s, o, n, d or None) for s, o, n, d in rows) for key, rows in smallest.items()}


def _noted(facts: dict[str, Any], notes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    shown = ((n, facts.get(n)) for n in notes)
    return tuple((n, f"{v:.4g}" if isinstance(v, float) else str(v)) for n, v in shown if v is not None)
