"""The history of one document: where it came from, what each step said of it, where it ended."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.error_codes import meaning_of
from curate.errors import ConfigError
from pipelines.books import DECIDING
from pipelines.duplicates import duplicate_of, stands_for
from pipelines.graph import steps_of
from pipelines.steps.base import Run
from pipelines.steps.cut import cut_of
from pipelines.verify import open_run

_MATCHES = 20


def explain(run_dir: str, key: str) -> dict[str, Any]:
    """Everything the run knows of the document ``key``.

    Args:
        key: an id, the beginning of one (at least six digits), a URL, or the input's own id.

    Returns:
        ``id``, ``url``, ``source``, ``offset``, ``end`` (kept, dropped or failed), ``history`` (one entry per step
        that said something), ``labels``, and where whole documents were compared ``duplicate_of`` (the survivor, its
        similarity, how it was found) or ``stands_for`` (how many were removed, the most similar of them). With several
        matches: ``matches``, their ids and ends.

    Raises:
        ConfigError: nothing matches.
    """
    run = open_run(run_dir)
    found = _find(run, key)
    if not found:
        raise ConfigError(
            f"no document {key!r} in {run_dir}: give an id or the start of one, a URL, or the input's own id"
        )
    if len(found) > 1:
        matches = [{"id": i, "end": _end(entries)} for i, entries in sorted(found.items())[:_MATCHES]]
        return {"key": key, "matches": matches, "of": len(found)}
    ((id_, entries),) = found.items()
    return _tell(run, id_, entries)


def _find(run: Run, key: str) -> dict[str, list[dict[str, Any]]]:
    """Ids that match, with the rows that name them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for partition in run.shards:
        for kind, name in _places(partition):
            if not run.folder.exists(name):
                continue
            with run.folder.parquet(name) as file:
                columns = [n for n in file.schema_arrow.names if n not in {"text", "extra"}]
                table = file.read(columns=columns if kind != "documents" else None, use_threads=False)
            rows = table.filter(_matches(table, key))
            if kind == "documents":
                rows = rows.drop_columns([n for n in ("text", "extra") if n in rows.schema.names])
            for row in rows.to_pylist():
                if row["id"] is not None:
                    found.setdefault(row["id"], []).append({"_kind": kind, "_shard": partition, **row})
    return found


def _places(partition: str) -> list[tuple[str, str]]:
    places = [("documents", f"documents/{partition}.parquet"), ("corpus", f"corpus/{partition}.parquet")]
    return places + [(k, f"{k}/{s}-{partition}.parquet") for k in ("dropped", "failed") for s in DECIDING]


def _matches(table: pa.Table, key: str) -> pa.ChunkedArray:
    mask = pc.equal(table["id"], key)
    if len(key) >= 6:
        mask = pc.or_(mask, pc.starts_with(table["id"], key.lower()))
    for name in ("url", "source_id"):
        if name in table.schema.names:
            mask = pc.or_kleene(mask, pc.fill_null(pc.equal(table[name], key), False))
    return pc.fill_null(mask, False)


def _end(entries: list[dict[str, Any]]) -> str:
    kinds = {e["_kind"] for e in entries}
    if "dropped" in kinds:
        return "dropped"
    if any(e["_kind"] == "failed" and e["level"] == "error" for e in entries):
        return "failed"
    return "kept" if "corpus" in kinds else "in work"


def _tell(run: Run, id_: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    first = entries[0]
    history: list[dict[str, Any]] = []
    for entry in entries:
        if entry["_kind"] in {"dropped", "failed"}:
            wanted = ("stage", "reason", "value", "threshold", "survivor", "error", "level", "detail")
            said_of = {k: entry[k] for k in wanted if entry.get(k) is not None}
            meaning = meaning_of(entry.get("error"))
            history.append({"end": entry["_kind"]} | said_of | ({"meaning": meaning} if meaning else {}))
    labels = next((e for e in entries if e["_kind"] == "corpus"), None)
    said = {k: v for k, v in labels.items() if k not in _IDENTITY} if labels else _labels(run, entries)
    cut = cut_of(steps_of(run), said)
    return {
        "id": id_,
        "url": first.get("url"),
        "source": first.get("source"),
        "offset": first.get("offset"),
        "length": first.get("length"),
        "source_id": first.get("source_id"),
        "shard": first["_shard"],
        "end": _end(entries),
        "history": history,
        **({"cut": cut} if cut is not None else {}),
        **_duplicates(run, id_),
        "labels": said,
    }


def _duplicates(run: Run, id_: str) -> dict[str, Any]:
    """The document that stays in this one's place, or how many this one stands for."""
    pair = duplicate_of(run, id_)
    group = stands_for(run, id_) if pair is None else None
    return {name: value for name, value in (("duplicate_of", pair), ("stands_for", group)) if value is not None}


#: steps that write label tables, in the order in which they run
_LABELLED = (
    "documents",
    "labels",
    "opt_out",
    "dedup",
    "lines",
    "paragraphs",
    "substring",
    "semantic",
    "rehydrate",
    "rate",
)
_IDENTITY = {"id", "url", "source", "offset", "length", "source_id", "_kind", "_shard"}


def _labels(run: Run, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Labels of a document that is not in the corpus, from the side tables."""
    row = next((e["row"] for e in entries if e.get("row") is not None), None)
    if row is None:
        return {}
    said: dict[str, Any] = {}
    for step in _LABELLED:
        name = f"labels/{step}/{entries[0]['_shard']}.parquet"
        if run.folder.exists(name):
            said |= run.folder.table(name).slice(row, 1).to_pylist()[0]
    said.pop("id", None)
    return said
