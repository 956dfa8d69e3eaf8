"""A sample of a run's documents: kept ones from ``corpus/``, dropped ones from ``dropped/``.

The sample does not depend on the order of shards: documents are drawn by a hash of the seed and their id, so the same
seed shows the same documents, whatever wrote them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.errors import ConfigError
from pipelines.config_errors import nearest
from pipelines.duplicates import cluster_of, with_survivors
from pipelines.verify import open_run
from pipelines.why import explain

BATCH_ROWS = 2048
#: shown where --columns names none, beside the labels
FIRST = ("id", "url", "source", "offset", "kind", "stage", "reason", "value", "threshold", "similarity", "containment",
         "detail", "survivor", "survivor_url")  # fmt: skip
LAST = ("text", "survivor_text")


def sample(
    run_dir: str,
    *,
    where: str | None,
    reason: str | None,
    limit: int,
    seed: int,
    columns: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """Up to ``limit`` documents as plain values, texts last.

    A dropped duplicate comes with the document that stays in its place, unless ``columns`` names what is wanted.

    Args:
        where: expression over the columns, as in `keep`.
        reason: show dropped documents: a reason, `stage.reason`, a stage, or `any`; None shows kept ones.
        columns: names; None means all.

    Raises:
        ConfigError: there is no such run, column or reason, or the expression cannot be read.
    """
    files = _files(run_dir, "corpus" if reason is None else "dropped")
    selection = None if where is None else _selection(where, files)
    best: list[tuple[int, str, dict[str, Any]]] = []
    reasons: set[str] = set()
    for filesystem, path in files:
        for rows in _rows(filesystem, path):
            chosen = rows if reason is None else _with_reason(rows, reason, reasons)
            if selection is not None and chosen.num_rows:
                chosen = _where(chosen, selection)
            _draw(chosen, seed, limit, best)
    if reason is not None and not best and not reasons & {reason, "any"}:
        guess = nearest(reason, reasons)
        known = ", ".join(sorted(reasons)) or "none"
        raise ConfigError(f"no document was dropped for {reason!r}; " + (f"did you mean {guess!r}? " if guess else "")
                          + f"(in this run: {known})")  # fmt: skip
    chosen_columns = None if columns is None else _checked(columns, files)
    rows = [row for _, _, row in sorted(best, key=lambda item: (-item[0], item[1]))]
    if reason is not None and columns is None and any(row.get("survivor") for row in rows):
        rows = with_survivors(open_run(run_dir), rows)
    return [_ordered(row, chosen_columns) for row in rows]


def cluster(run_dir: str, key: str, *, limit: int) -> list[dict[str, Any]]:
    """The survivor of the cluster of the document ``key`` and its most similar duplicates, as plain values.

    Args:
        key: an id, the beginning of one, a URL, or the input's own id, as `curate why` takes it.

    Raises:
        ConfigError: nothing or more than one document matches, or it has no duplicates.
    """
    found = explain(run_dir, key)
    if "matches" in found:
        raise ConfigError(f"{key!r} names {found['of']} documents: give an id (`curate why {key} --run …` lists them)")
    rows = cluster_of(open_run(run_dir), found["id"], limit)
    if not rows:
        raise ConfigError(f"the document {found['id']} has no duplicates in {run_dir}")
    return [_ordered(row, None) for row in rows]


def _files(run_dir: str, folder: str) -> list[tuple[Any, str]]:
    """Parquet files below a folder of the run, sorted."""
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(run_dir)
    if not filesystem.isdir(root):
        raise ConfigError(f"there is no run at {run_dir}")
    found = sorted(path for path in filesystem.find(f"{root}/{folder}") if path.endswith(".parquet"))
    if not found:
        hint = (
            "the run is not finished; `curate status` says how far it is" if folder == "corpus" else "nothing left it"
        )
        raise ConfigError(f"{run_dir} holds no {folder}/*.parquet: {hint}")
    return [(filesystem, path) for path in found]


def _rows(filesystem: Any, path: str) -> Iterator[pa.RecordBatch]:
    with filesystem.open(path, "rb") as file:
        yield from pq.ParquetFile(file).iter_batches(BATCH_ROWS)


def _names(files: list[tuple[Any, str]]) -> list[str]:
    names: dict[str, None] = {}
    for filesystem, path in files:
        with filesystem.open(path, "rb") as file:
            names.update(dict.fromkeys(pq.read_schema(file).names))
    return list(names)


def _selection(where: str, files: list[tuple[Any, str]]) -> Any:
    from curate.select.expressions import parse_selection

    try:
        selection = parse_selection(where)
        selection.check(_names(files))
    except ConfigError as error:
        raise ConfigError(str(error).replace("keep: ", "--where: ", 1)) from None
    return selection


def _where(rows: pa.RecordBatch, selection: Any) -> pa.RecordBatch:
    import polars as pl

    missing = selection.columns - set(rows.schema.names)
    if missing:
        return rows.slice(0, 0)
    frame = pl.DataFrame(pa.Table.from_batches([rows.select(sorted(selection.columns))]))
    mask = pl.Series([True] * rows.num_rows)
    for conjunct in selection.conjuncts:
        found = frame.select(conjunct.expression().alias("x"))["x"].fill_null(False)
        mask = mask & (found if len(found) == rows.num_rows else pl.Series([bool(found[0])] * rows.num_rows))
    return rows.filter(pa.array(mask.to_list(), pa.bool_()))


def _with_reason(rows: pa.RecordBatch, reason: str, seen: set[str]) -> pa.RecordBatch:
    stages, reasons = rows.column("stage").to_pylist(), rows.column("reason").to_pylist()
    mask = []
    for stage, code in zip(stages, reasons, strict=True):
        seen.update((code, f"{stage}.{code}", stage))
        mask.append(reason in ("any", code, f"{stage}.{code}", stage))
    return rows.filter(pa.array(mask, pa.bool_()))


def _draw(rows: pa.RecordBatch, seed: int, limit: int, best: list[tuple[int, str, dict[str, Any]]]) -> None:
    """Keep the ``limit`` documents with the smallest hash; only those become Python values."""
    for at, id_ in enumerate(rows.column("id").to_pylist()):
        key = -xxhash.xxh3_64_intdigest(f"{seed}\0{id_}".encode())
        if len(best) < limit:
            heapq.heappush(best, (key, _unique(id_, best, key), rows.slice(at, 1).to_pylist()[0]))
        elif key > best[0][0]:
            heapq.heapreplace(best, (key, _unique(id_, best, key), rows.slice(at, 1).to_pylist()[0]))


def _unique(id_: str, best: list[tuple[int, str, dict[str, Any]]], key: int) -> str:
    """Second sort key; a document that left twice must not make the heap compare rows."""
    return f"{id_}{sum(k == key for k, _, _ in best)}"


def _checked(columns: Sequence[str], files: list[tuple[Any, str]]) -> list[str]:
    known = _names(files)
    for name in columns:
        if name not in known:
            guess = nearest(name, known)
            raise ConfigError(f"there is no column {name!r}; " + (f"did you mean {guess!r}? " if guess else "")
                              + f"(known: {', '.join(known)})")  # fmt: skip
    return list(columns)


def _ordered(row: dict[str, Any], columns: list[str] | None) -> dict[str, Any]:
    if columns is not None:
        return {name: row.get(name) for name in columns}
    first = [name for name in FIRST if name in row]
    rest = [name for name in row if name not in FIRST and name not in LAST]
    return {name: row[name] for name in [*first, *rest, *(name for name in LAST if name in row)]}
