"""Who is a duplicate of whom in a run: the pair of a removed document, the cluster of a survivor, and their places."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.store.folder import Folder
from pipelines.steps.base import Run
from pipelines.steps.dedup import PAIRS_NAME

_BATCH = 1 << 16
_TEXT_BATCH = 512
_PAIR = ("removed", "survivor", "similarity", "containment", "kind")


@dataclass(frozen=True)
class Place:
    """Where a document stands, and what it is."""

    shard: str
    row: int
    url: str | None
    source: str


def pairs_of(folder: Folder, column: str, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Rows of the table of pairs whose ``column`` (removed or survivor) is one of ``ids``; none if there is no table.

    Reads the table batch by batch; row groups that cannot hold the ids are skipped where they are sorted.
    """
    wanted = sorted(set(ids))
    if not wanted or not folder.exists(PAIRS_NAME):
        return
    with folder.parquet(PAIRS_NAME) as file:
        at = file.schema_arrow.names.index(column)
        groups = []
        for group in range(file.num_row_groups):
            known = file.metadata.row_group(group).column(at).statistics
            if known is None or not known.has_min_max or (known.max >= wanted[0] and known.min <= wanted[-1]):
                groups.append(group)
        for batch in file.iter_batches(_BATCH, row_groups=groups, columns=list(_PAIR), use_threads=False):
            yield from batch.filter(pc.is_in(batch[column], pa.array(wanted))).to_pylist()


def places_of(run: Run, ids: Iterable[str]) -> dict[str, Place]:
    """Id → place, of those that reached ``documents/``."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    found: dict[str, Place] = {}
    for shard in run.shards if len(wanted) else ():
        name = f"documents/{shard}.parquet"
        if len(found) == len(wanted) or not run.folder.exists(name):
            continue
        table = run.folder.table(name, ["id", "url", "source"])
        rows = np.flatnonzero(np.asarray(pc.is_in(table["id"], wanted)))
        for row, facts in zip(rows.tolist(), table.take(pa.array(rows)).to_pylist(), strict=True):
            found[facts["id"]] = Place(shard, row, facts["url"], facts["source"])
    return found


def texts_of(run: Run, places: dict[str, Place]) -> dict[str, str]:
    """Id → text; only the row groups that hold them are read."""
    found: dict[str, str] = {}
    for shard in sorted({p.shard for p in places.values()}):
        rows = {p.row: id_ for id_, p in places.items() if p.shard == shard}
        with run.folder.parquet(f"documents/{shard}.parquet") as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                if any(start <= row < end for row in rows):
                    at = start
                    for batch in file.iter_batches(
                        _TEXT_BATCH, row_groups=[group], columns=["text"], use_threads=False
                    ):
                        for row in [r for r in rows if at <= r < at + batch.num_rows]:
                            found[rows[row]] = batch.column(0)[row - at].as_py()
                        at += batch.num_rows
                start = end
    return found


def duplicate_of(run: Run, removed: str) -> dict[str, Any] | None:
    """The pair that explains why a document was removed, with the survivor's address; None if it was not."""
    pair = next(pairs_of(run.folder, "removed", [removed]), None)
    if pair is None:
        return None
    place = places_of(run, [pair["survivor"]]).get(pair["survivor"])
    return {
        "survivor": pair["survivor"],
        "survivor_url": place.url if place is not None else None,
        "survivor_source": place.source if place is not None else None,
        "kind": pair["kind"],
        "similarity": pair["similarity"],
        "containment": pair["containment"],
        "threshold": threshold_of(run, pair["kind"]),
    }


def threshold_of(run: Run, kind: str) -> float | None:
    """What the similarity of that kind was compared with; None where nothing was."""
    found = run.config.duplicates("minhash") if kind == "minhash" else []
    value = getattr(found[0], "threshold", None) if found else None
    return float(value) if value is not None else None


def stands_for(run: Run, survivor: str, most: int = 3) -> dict[str, Any] | None:
    """How many documents were removed in favour of this one, and the nearest near-duplicates; None if none were."""
    counts: dict[str, int] = {}
    nearest: list[tuple[float, str]] = []
    for pair in pairs_of(run.folder, "survivor", [survivor]):
        counts[pair["kind"]] = counts.get(pair["kind"], 0) + 1
        rank = (pair["similarity"] if pair["kind"] == "minhash" else -1.0, pair["removed"])
        nearest = heapq.nlargest(most, [*nearest, rank])
    if not counts:
        return None
    shown = [(similarity, id_) for similarity, id_ in nearest if similarity >= 0]
    places = places_of(run, [id_ for _, id_ in shown])
    return {
        "documents": sum(counts.values()),
        "by_kind": dict(sorted(counts.items())),
        "nearest": [
            {"id": id_, "url": places[id_].url if id_ in places else None, "similarity": similarity}
            for similarity, id_ in shown
        ],
    }


def cluster_of(run: Run, id_: str, limit: int) -> list[dict[str, Any]]:
    """The survivor of a document's cluster and up to ``limit`` - 1 of the others, most similar first; with texts.

    Empty if the document is no duplicate and has none.
    """
    pair = next(pairs_of(run.folder, "removed", [id_]), None)
    survivor = pair["survivor"] if pair is not None else id_
    others: list[tuple[bool, float, str]] = []
    pairs: dict[str, dict[str, Any]] = {}
    for found in pairs_of(run.folder, "survivor", [survivor]):
        rank = (found["removed"] == id_, found["similarity"] or 0.0, found["removed"])  # the one asked for is shown
        others = heapq.nlargest(max(0, limit - 1), [*others, rank])
        pairs[found["removed"]] = found
        if len(pairs) > 4 * limit:
            pairs = {i: pairs[i] for _, _, i in others}
    if not others and pair is None:
        return []
    ids = [survivor, *(i for _, _, i in sorted(others, key=lambda o: (-o[1], o[2])))]
    places = places_of(run, ids)
    texts = texts_of(run, places)
    return [
        {
            "id": i, "url": places[i].url, "source": places[i].source, "survivor": None if i == survivor else survivor,
            "kind": pairs[i]["kind"] if i in pairs else "stays",
            "similarity": pairs[i]["similarity"] if i in pairs else None,
            "containment": pairs[i]["containment"] if i in pairs else None, "text": texts.get(i),
        }
        for i in ids if i in places
    ]  # fmt: skip


def with_survivors(run: Run, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Dropped duplicates with the other half of their pair: containment, and address and text of both."""
    pairs = {p["removed"]: p for p in pairs_of(run.folder, "removed", [r["id"] for r in rows if r.get("survivor")])}
    places = places_of(run, [i for p in pairs.values() for i in (p["removed"], p["survivor"])])
    texts = texts_of(run, places)
    return [_paired(row, pairs[row["id"]], places, texts) if row.get("id") in pairs else row for row in rows]


def _paired(
    row: dict[str, Any], pair: dict[str, Any], places: dict[str, Place], texts: dict[str, str]
) -> dict[str, Any]:  # fmt: skip
    other = places.get(pair["survivor"])
    known = {name: value for name, value in row.items() if name != "text"}
    return {
        **known, "containment": pair["containment"], "survivor_url": other.url if other is not None else None,
        "text": row.get("text") or texts.get(row["id"]), "survivor_text": texts.get(pair["survivor"]),
    }  # fmt: skip
