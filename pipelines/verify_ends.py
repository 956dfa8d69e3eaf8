"""Does every record of an input file have exactly one end, as the files of the run themselves show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import document_id
from pipelines.books import DECIDING
from pipelines.steps.base import Run

_SOURCES = "sources.parquet"
_COUNTS = ("partition", "path", "records", "documents", "skipped", "rejected_ranges")


@dataclass
class _Ends:
    """Where the documents of one shard ended, by its files.

    Attributes:
        seen: ids of all documents that have an end.
        found: documents by end: corpus, dropped, failed; and ``ranges`` that were lost.
        unreadable: a file could not be read, so that nothing can be said of the sums.
    """

    seen: set[str] = field(default_factory=set)
    found: Counter[str] = field(default_factory=Counter)
    unreadable: bool = False


def ends(run: Run) -> Iterator[str]:
    """Problems, one sentence each: documents with two ends, files whose records and ends differ in number, and ends
    of documents from files that sources.parquet does not name."""
    try:
        rows = run.folder.table(_SOURCES, list(_COUNTS)).to_pylist() if run.folder.exists(_SOURCES) else None
    except (OSError, ValueError, KeyError) as error:
        yield f"{_SOURCES}: cannot be read ({type(error).__name__}): damaged since it was written"
        rows = None
    sources = {row["partition"]: row for row in rows or []}
    if rows is not None:
        yield from _listed(run, [row["partition"] for row in rows])
    for partition in run.shards:
        entry = sources.get(partition)
        shard = _Ends()
        for kind, name in _files(partition):
            if run.folder.exists(name):
                yield from _file(run, kind, name, shard, None if rows is None else entry and entry["path"])
        if entry is not None and not shard.unreadable and run.folder.exists(f"corpus/{partition}.parquet"):
            yield from _balance(entry, shard.found)


def _listed(run: Run, partitions: list[str]) -> Iterator[str]:
    """The input files of sources.parquet are those of the run, each once."""
    twice = [p for p, n in Counter(partitions).items() if n > 1]
    for partition in twice:
        yield f"{_SOURCES}: shard {partition} has more than one row"
    missing = [run.entry(p).source for p in run.shards if p not in set(partitions)]
    if missing:
        yield f"{_SOURCES}: {len(missing)} of {len(run.shards)} input files are not named: {missing[:3]}"
    other = sorted(set(partitions) - set(run.shards))
    if other:
        yield f"{_SOURCES}: {len(other)} rows are of no input file of this run: {other[:3]}"


def _files(partition: str) -> list[tuple[str, str]]:
    fates = [(kind, f"{kind}/{step}-{partition}.parquet") for kind in ("dropped", "failed") for step in DECIDING]
    return [("corpus", f"corpus/{partition}.parquet"), *fates]


def _file(run: Run, kind: str, name: str, shard: _Ends, path: str | None) -> Iterator[str]:
    """Counts the ends in one file into ``shard``.

    Args:
        path: the input file that the shard was made of; None if sources.parquet names none or is not there.
    """
    columns = ["id", "source", "offset", "level"] if kind == "failed" else ["id", "source"]
    try:
        table = run.folder.table(name, columns)
    except (OSError, ValueError) as error:
        shard.unreadable = True
        yield f"{name}: its ids cannot be read ({type(error).__name__}): damaged since it was written"
        return
    if path is not None:
        strangers = int(pc.sum(pc.fill_null(pc.not_equal(table["source"], path), True)).as_py() or 0)
        if strangers:
            yield f"{name}: {strangers} rows are not from {path}, the file that {_SOURCES} names for this shard"
    if kind == "failed":
        table = _documents_and_ranges(table, shard.found)
    ids = table["id"].drop_null().to_pylist()
    shard.found[kind] += len(ids)
    twice = len(ids) - len(set(ids)) + len(shard.seen.intersection(ids))
    if twice:
        yield f"{name}: {twice} documents have more than one end"
    shard.seen.update(ids)


def _documents_and_ranges(failed: pa.Table, found: Counter[str]) -> pa.Table:
    """The rows of documents that failed; ranges that were lost are counted, remarks have no id."""
    errors = failed.filter(pc.and_(pc.equal(failed["level"], "error"), pc.is_valid(failed["id"])))
    lost = [
        id_ == document_id(source, offset, -1)
        for id_, source, offset in zip(*(errors[n].to_pylist() for n in ("id", "source", "offset")), strict=True)
    ]
    found["ranges"] += sum(lost)
    return errors.filter(pc.invert(pa.array(lost, pa.bool_())))


def _balance(entry: dict[str, int | str], found: Counter[str]) -> Iterator[str]:
    """Records that entered against records that ended, both ways."""
    records, skipped = int(entry["records"]), int(entry["skipped"] or 0)
    ended = found["corpus"] + found["dropped"] + found["failed"]
    if records - skipped != ended:
        yield (
            f"{entry['path']}: {_SOURCES} says {records} records, {skipped} of them no documents by their kind; "
            f"{found['corpus']} are kept, {found['dropped']} dropped and {found['failed']} failed, "
            f"{ended - (records - skipped):+d}"
        )
    if int(entry["documents"]) > records - skipped:
        yield f"{entry['path']}: {_SOURCES} says {entry['documents']} documents out of {records - skipped} records"
    if found["ranges"] > int(entry["rejected_ranges"]):
        yield f"{entry['path']}: {found['ranges']} ranges are lost, {_SOURCES} says {entry['rejected_ranges']}"
