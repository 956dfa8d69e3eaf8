"""One table of all dropped documents with their survivors, and the sums of what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.store.sections import SectionReader
from curate.store.shards import write_shard
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.dedup_files import partition_names, receipt_of, sealed_file
from pipelines.steps.dedup_sign import plan_of
from pipelines.steps.dedup_solve import pairs_name

PAIRS_NAME = "dedup/pairs.parquet"
AUDIT_NAME = "dedup/audit.json"


class DedupPairs(Step):
    """Merges the pairs of all partitions, and adds up their reports.

    Outputs: dedup/pairs.parquet (``PAIRS``, ascending by ``removed``, which occurs once: the order depends on ids
    only), dedup/audit.json (``Report``). Memory: a million pairs, 200 bytes each.
    """

    name = "dedup_pairs"
    aligned = False

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self.after = ("dedup_sign", "dedup_solve")

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.resolution import PAIRS

        folder = self.run.folder
        with ExitStack() as stack:
            names = partition_names(self.run, self.plan)
            opened = [stack.enter_context(sealed_file(folder, "dedup_solve", n, pairs_name(n))) for n in names]
            written = write_shard(folder, PAIRS_NAME, PAIRS, _merged([_Stream(reader) for reader in opened]))
        report = self._report(names)
        audit = json.dumps(report, indent=1, sort_keys=True).encode("ascii")
        folder.write(AUDIT_NAME, audit)
        work.marks.set(documents=report["documents"])
        return Result([written, plain_output(AUDIT_NAME, audit)], {**report, "removed": written.rows})

    def _report(self, names: list[str]) -> dict[str, int]:
        """Sums over partitions; documents without a link are their own survivors."""
        from curate.dedup.resolution import Report

        total = Report()
        for name in names:
            total.add(Report(**receipt_of(self.run.folder, "dedup_solve", name).counts["report"]))
        removed = total.documents - total.survivors
        signed = (receipt_of(self.run.folder, "dedup_sign", s).counts["documents"] for s in self.run.shards)
        total.documents = sum(int(n) for n in signed)
        total.survivors = total.documents - removed
        return total.as_dict()


class _Stream:
    """A sorted file of pairs, one row group at a time."""

    def __init__(self, reader: SectionReader) -> None:
        self._reader = reader
        self._groups = iter(reader.groups())
        self._table: pa.Table | None = None
        self.advance()

    @property
    def last(self) -> str | None:
        """The last id at hand; None at the end of the file."""
        return None if self._table is None else self._table.column("removed")[-1].as_py()

    def advance(self) -> None:
        """Read the next row group; the one at hand must have been taken whole."""
        group = next(self._groups, None)
        self._table = None if group is None else self._reader.group(group)

    def taken(self, bound: str) -> Iterator[pa.Table]:
        """The rows up to ``bound``; reads on when all were taken."""
        if self._table is None:
            return
        below = pc.sum(pc.less_equal(self._table.column("removed"), bound)).as_py()
        if below:
            yield self._table.slice(0, below)
        if below == self._table.num_rows:
            self.advance()
        else:
            self._table = self._table.slice(below)


def _merged(streams: list[_Stream]) -> Iterator[pa.RecordBatch]:
    """All rows in the order of ``removed``; holds one row group of each stream."""
    while bounds := [s.last for s in streams if s.last is not None]:
        bound = min(bounds)
        table = pa.concat_tables([part for s in streams for part in s.taken(bound)])
        order = np.asarray(pc.sort_indices(table, [("removed", "ascending")]))
        yield from table.take(pa.array(order)).combine_chunks().to_batches()
