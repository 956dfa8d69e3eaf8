"""Opt-out: which documents somebody asked to leave out, found again whenever a list changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.opt_out import KINDS, LABELS, OptOut, OptOutList
from curate.documents import HTML, IDENTITY, TEXT, Batch, column
from curate.stages.base import Context, Stage, StageConfig
from curate.store.folder import Folder
from curate.store.shards import ShardWriter, write_table
from pipelines.sections import OptOutSection
from pipelines.stage_chain import file_digest
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

NAME = "opt_out"
SUMMARY = "opt_out/summary.json"
#: reasons of the ledger, with what they mean: the kind of the list
REASONS = {
    "id": "a list of `opt_out` names its id, or the input's own id; detail: list and line",
    "url": "a list of `opt_out` names its address; detail: list and line",
    "domain": "a list of `opt_out` names its host, or a domain it is in; detail: list and line",
}
_ASKED = ["id", "source_id", "url"]
_COUNTS = pa.schema(
    [
        column("kind", pa.string(), "kind of the list", nullable=False),
        column("entry", pa.string(), "the entry, as `list:line`", nullable=False),
        column("documents", pa.int64(), "documents of the shard that it names", nullable=False),
    ]
)


def added_steps(run: Run) -> list[Step]:
    """The steps of `opt_out`; none without it."""
    return [OptOutLabels(run), OptOutSummary(run)] if run.config.opt_out is not None else []


def labels_name(partition: str) -> str:
    """The label table of a shard."""
    return f"labels/{NAME}/{partition}.parquet"


def listed(run: Run, partition: str) -> npt.NDArray[np.bool_] | None:
    """Per row of a document shard whether an opt-out list names it; None without `opt_out`."""
    if run.config.opt_out is None:
        return None
    found = run.folder.table(labels_name(partition), ["opt_out_listed"]).column(0)
    mask: npt.NDArray[np.bool_] = found.to_numpy()
    return mask


def lists_of(section: OptOutSection, base: Path) -> list[OptOutList]:
    """The list files, ids first."""
    given = dict(zip(KINDS, (section.ids, section.urls, section.domains), strict=True))
    return [OptOutList(kind, name, base / name) for kind, names in given.items() for name in names]


def lists_material(section: OptOutSection, base: Path) -> dict[str, Any]:
    """What decides who is named: the lists, and what they hold."""
    return {f"{one.kind}:{one.name}": file_digest(one.path) for one in lists_of(section, base)}


class OptOutLabels(Step):
    """Marks the documents that opt-out lists name, from identities alone.

    Outputs: labels/opt_out/<shard>.parquet (row-aligned, told for documents that other steps drop too),
    steps/opt_out/<shard>.parquet (documents per matching entry). Memory: the entries, and the identities of a row
    group of documents.
    """

    name = NAME
    after = ("documents",)

    def material(self) -> dict[str, Any]:
        section = self.run.config.opt_out
        assert section is not None
        return {"lists": lists_material(section, self.run.base)}

    def columns(self) -> pa.Schema:
        return LABELS

    def execute(self, partition: str, work: Work) -> Result:
        section = self.run.config.opt_out
        assert section is not None
        lists = OptOut(lists_of(section, self.run.base))
        schema = pa.schema([IDENTITY.field("id"), *LABELS])
        writer = ShardWriter(self.run.folder, labels_name(partition), schema)
        totals = {kind: np.zeros(len(lists.entries[kind].keys), np.int64) for kind in KINDS}
        named = 0
        try:
            for rows in _identities(self.run.folder, partition):
                found = lists.match(*(rows.column(n) for n in _ASKED))
                writer.write(pa.RecordBatch.from_arrays([rows.column("id"), *found.labels.columns], schema=schema))
                named += pc.sum(found.labels.column("opt_out_listed")).as_py() or 0
                for kind in KINDS:
                    totals[kind] += found.counts[kind]
            labels = writer.close()
        except BaseException:
            writer.abandon()
            raise
        counted = write_table(self.run.folder, f"steps/{NAME}/{partition}.parquet", _count_table(lists, totals))
        return Result([labels, counted], {"documents": labels.rows, "listed": named})


class OptOutSummary(Step):
    """Adds up what the opt-out lists named, and counts the entries that name nothing.

    Outputs: opt_out/summary.json: per list its entries, how many of them name a document, and the documents they name
    (one that two lists name counts for both); entries that stand in several lists count for the first.
    """

    name = "opt_out_summary"
    after = (NAME,)
    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        section = self.run.config.opt_out
        assert section is not None
        return {"lists": lists_material(section, self.run.base), "purge": section.purge}

    def execute(self, partition: str, work: Work) -> Result:
        section = self.run.config.opt_out
        assert section is not None
        lists = OptOut(lists_of(section, self.run.base))
        counts = self._documents_per_entry(purged=section.purge)
        found = [_list_summary(lists, number, counts) for number in range(len(lists.lists))]
        body = {"documents": self._documents(purged=section.purge), "lists": found, "purge": section.purge}
        text = json.dumps(body, indent=1, sort_keys=True).encode("ascii")
        self.run.folder.write(SUMMARY, text)
        idle = sum(one["idle_entries"] for one in found)
        return Result([plain_output(SUMMARY, text)], {"documents": body["documents"], "idle_entries": idle})

    def _documents_per_entry(self, *, purged: bool) -> Counter[tuple[str, str]]:
        total: Counter[tuple[str, str]] = Counter()
        for shard in self.run.shards:
            for row in self.run.folder.table(f"steps/{NAME}/{shard}.parquet").to_pylist():
                total[row["kind"], row["entry"]] += row["documents"]
            if purged:
                gone = _purged(self.run.folder, shard)
                for reason, entry in zip(gone["reason"].to_pylist(), gone["detail"].to_pylist(), strict=True):
                    total[reason, entry] += 1
        return total

    def _documents(self, *, purged: bool) -> int:
        named = 0
        for shard in self.run.shards:
            mask = listed(self.run, shard)
            named += int(mask.sum()) if mask is not None else 0
            named += _purged(self.run.folder, shard).num_rows if purged else 0
        return named


class OptOutStageConfig(StageConfig):
    """The lists by which documents leave before their text is read.

    Attributes:
        ids, urls, domains: list files, as in the config's `opt_out`.
    """

    ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


class OptOutStage(Stage):
    """Takes listed documents out before anything is written: with `opt_out.purge`, the first stage of all.

    Their texts reach no file of the run, not even ``dropped/`` where that holds texts.
    """

    name = NAME
    requires = ("id",)
    reasons: ClassVar[Mapping[str, str]] = REASONS
    Config = OptOutStageConfig
    config: OptOutStageConfig

    def assets(self, base: Path) -> Mapping[str, Path]:
        """All list files."""
        return {f"{one.kind}:{one.name}": one.path for one in lists_of(self._section(), base)}

    def _section(self) -> OptOutSection:
        return OptOutSection(**self.config.model_dump())

    def open(self, context: Context) -> None:
        """Read the lists; ConfigError if one cannot be read."""
        self._lists = OptOut(lists_of(self._section(), context.base))

    def process(self, batch: Batch) -> Batch:
        """The batch without documents that a list names."""
        labels = self._lists.match(*(batch.column(n) for n in _ASKED)).labels
        mask = labels.column("opt_out_listed")
        if not pc.any(mask).as_py():
            return batch
        out = batch.drop(mask, labels.column("opt_out_by"), detail=labels.column("opt_out_entry"))
        gone = out.fates.drops[-1]
        gone.rows = gone.rows.select([n for n in gone.rows.schema.names if n not in (TEXT.name, HTML.name)])
        return out


def _purged(folder: Folder, shard: str) -> pa.Table:
    """The fates of documents that `purge` took out while a shard was written."""
    table = folder.table(f"dropped/documents-{shard}.parquet", ["stage", "reason", "detail"])
    return table.filter(pc.equal(table["stage"], NAME))


def _identities(folder: Folder, partition: str) -> Iterator[pa.RecordBatch]:
    with folder.parquet(f"documents/{partition}.parquet") as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=_ASKED, use_threads=False).combine_chunks().to_batches()


def _count_table(lists: OptOut, totals: Mapping[str, npt.NDArray[np.int64]]) -> pa.Table:
    rows = []
    for kind in KINDS:
        at = np.flatnonzero(totals[kind])
        places = lists.entries[kind].places.take(pa.array(at)).to_pylist()
        rows += [{"kind": kind, "entry": p, "documents": int(n)} for p, n in zip(places, totals[kind][at], strict=True)]
    return pa.Table.from_pylist(rows, schema=_COUNTS)


def _list_summary(lists: OptOut, number: int, counts: Counter[tuple[str, str]]) -> dict[str, Any]:
    one = lists.lists[number]
    entries = lists.entries[one.kind]
    places = entries.places.filter(pa.array(entries.lists == number)).to_pylist()
    matched = [counts[one.kind, place] for place in places if counts[one.kind, place]]
    return {
        "list": one.name, "kind": one.kind, "entries": lists.lines[number],
        "repeated_entries": lists.lines[number] - len(places),
        "idle_entries": len(places) - len(matched),
        "matched_entries": len(matched), "matched_documents": sum(matched),
    }  # fmt: skip
