"""Linked survivors of earlier runs with their shingle sets, by the partition that settles them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.config import Plan
from curate.dedup.dumps import SECTION_ROWS, SHINGLE_SETS
from curate.documents import column
from curate.errors import VerificationError
from curate.store.sections import Sealed, SectionReader, section_writer
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.dedup_components import members_of
from pipelines.steps.dedup_files import partition_names, sealed_file, sealed_result
from pipelines.steps.dedup_gather import COMPARED, GatherBuffer
from pipelines.steps.dedup_sign import plan_of
from pipelines.steps.dedup_sources import Source, Sources

DUMP = column("dump", pa.string(), "name of the earlier run", nullable=False)
SETS = column("shingles", pa.binary(), "sorted hashes of the shingle set; null where it is not compared")


def recalled(run: Run, plan: Plan, position: int) -> SectionReader:
    """The linked documents of an earlier source, to be opened."""
    names = partition_names(run, plan)
    return sealed_file(run.folder, DedupRecall.name, names[position % len(names)], _name(position))


def _name(position: int) -> str:
    return f"steps/{DedupRecall.name}/{position:06d}.parquet"


class DedupRecall(Step):
    """Collects the linked survivors of earlier runs from the index.

    Each of P tasks does every P-th part of the dumps. Outputs: steps/dedup_recall/<source>.parquet: columns of the
    signature table, ``dump``, ``compared``, ``shingles``; a section per partition of components. Memory: the signatures
    of a part (100 bytes per survivor), 64 MB of shingle sets, one section of 2,048 of them.
    """

    name = "dedup_recall"
    aligned = False
    after = ("dedup_components",)
    buffer_bytes: ClassVar[int] = 64 << 20

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)

    def partitions(self) -> list[str]:
        return partition_names(self.run, self.plan)

    def material(self) -> dict[str, Any]:
        return {}

    def partition_material(self, partition: str) -> dict[str, Any]:
        return {"partition": partition, "of": len(self.partitions())}

    def execute(self, partition: str, work: Work) -> Result:
        sources = Sources(self.run)
        mine = range(int(partition), sources.earlier, len(self.partitions()))
        files = [self._recall(sources, position, work) for position in mine]
        return sealed_result(files, {"documents": sum(f.output.rows for f in files)})

    def _recall(self, sources: Sources, position: int, work: Work) -> Sealed:
        source = sources.all[position]
        members = members_of(self.run, position)
        rows, where = members.column("row").to_numpy(), members.column("partition").to_numpy()
        table = sources.signatures(source).take(pa.array(rows))
        table = table.append_column(DUMP, pa.array([source.dump] * len(rows), pa.string()))
        table = table.append_column(COMPARED, members.column("compared"))
        schema = pa.schema([*table.schema, SETS]).remove_metadata()
        with section_writer(self.run.folder, _name(position), schema) as writer:
            buffer = GatherBuffer(writer, self.buffer_bytes)
            for start in range(0, len(rows), SECTION_ROWS):
                part = table.slice(start, SECTION_ROWS)
                work.marks.set(documents=start)
                buffer.add(
                    part.append_column(SETS, self._sets(sources, source, part)), where[start : start + len(part)]
                )
            buffer.flush()
            return writer.close()

    def _sets(self, sources: Sources, source: Source, part: pa.Table) -> pa.ChunkedArray:
        """The shingle sets of rows that ascend; null where they are not compared."""
        compared = part.column("compared").to_numpy()
        if self.plan.minhash is None or not compared.any():
            return pa.chunked_array([pa.nulls(part.num_rows, pa.binary())])
        wanted = part.column("row").to_numpy()
        found = []
        with sources.of_dump(source, SHINGLE_SETS) as reader:
            for section in np.unique(wanted[compared] // SECTION_ROWS).tolist():
                table = reader.section([section])
                found.append(table.filter(pc.is_in(table.column("row"), pa.array(wanted[compared]))))
        stored = pa.concat_tables(found)
        if stored.num_rows != int(compared.sum()):
            raise VerificationError(f"the dump {source.name} lacks shingle sets of survivors: make it again")
        index = pa.array(np.searchsorted(stored.column("row").to_numpy(), wanted), mask=~compared)
        return stored.column("shingles").take(index)
