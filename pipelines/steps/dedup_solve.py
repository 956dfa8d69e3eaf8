"""Per partition of components: verified similarities, and who stays."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import column
from curate.store.sections import Sealed, SectionReader, section_writer
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.dedup_components import links_into
from pipelines.steps.dedup_files import partition_names, sealed_file, sealed_result
from pipelines.steps.dedup_gather import gathered_name
from pipelines.steps.dedup_recall import recalled
from pipelines.steps.dedup_sign import plan_of
from pipelines.steps.dedup_sources import Source, Sources, index_of

#: shards whose fates share a section
SHARDS_PER_SECTION = 64
_PLACE = [
    column("shard", pa.int32(), "number of the shard", nullable=False),
    column("row", pa.int32(), "row of the document in it", nullable=False),
]


def fates_name(partition: str) -> str:
    """Where the fates of a partition lie."""
    return f"steps/{DedupSolve.name}/fates-{partition}.parquet"


def pairs_name(partition: str) -> str:
    """Where its pairs lie."""
    return f"steps/{DedupSolve.name}/pairs-{partition}.parquet"


class DedupSolve(Step):
    """Compares the candidates of one partition of components by their texts, and decides who stays.

    Outputs: steps/dedup_solve/fates-<partition>.parquet (``LABELS`` with shard and row; a section per 64 shards),
    steps/dedup_solve/pairs-<partition>.parquet (``PAIRS``, by removed id). Memory: 300 bytes per document and 100 per
    candidate pair of the partition, 512 MB of shingle sets, one row group of gathered texts.
    """

    name = "dedup_solve"
    aligned = False
    #: for shingle sets
    memory_mb: ClassVar[float] = 512
    #: held while all partitions are merged, over all of them
    pairs_held: ClassVar[int] = 1 << 20
    least_pairs: ClassVar[int] = 256

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self.after = ("dedup_components", "dedup_gather", *(["dedup_recall"] if index_of(run) else []))

    def partitions(self) -> list[str]:
        return partition_names(self.run, self.plan)

    def material(self) -> dict[str, Any]:
        options = [part.model_dump(mode="json") for part in (self.plan.exact, self.plan.minhash) if part is not None]
        return {"dedup": [{k: v for k, v in one.items() if k != "partitions"} for one in options]}

    def partition_material(self, partition: str) -> dict[str, Any]:
        return {"partition": partition, "of": len(self.partitions())}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.links import merge_parts
        from curate.dedup.settle import SectionTexts, settle

        number, run, sources = int(partition), self.run, Sources(self.run)
        bits = sources.config.evidence_bits if sources.config is not None else 64
        places = {source.name: place for place, source in enumerate(sources.all)}

        def gathered(name: Any) -> SectionReader:
            return self._gathered(places[name], sources.all[places[name]])

        tables = []
        for place, source in enumerate(sources.all):
            with gathered(source.name) as reader:
                columns = [n for n in reader.schema.names if n not in ("text", "shingles")]
                tables.append((source.name, int(sources.first[place]), reader.section([number], columns)))
        links = merge_parts(links_into(run, self.partitions(), number))
        work.marks.set(documents=sum(t.num_rows for _, _, t in tables))
        reader_of = SectionTexts(gathered, number, bits)
        found = settle(
            tables, links, self.plan, reader_of, earlier=sources.earlier, bits=bits, memory_mb=self.memory_mb
        )
        fates = self._write_fates(partition, tables[sources.earlier :], found.labels)
        pairs = self._write_pairs(partition, found.pairs)
        return sealed_result([fates, pairs], {"report": found.report.as_dict()})

    def _gathered(self, place: int, source: Source) -> SectionReader:
        if source.part is not None:
            return recalled(self.run, self.plan, place)
        return sealed_file(self.run.folder, "dedup_gather", source.name, gathered_name(source.name))

    def _write_fates(self, partition: str, tables: list[Any], labels: dict[Any, pa.Table]) -> Sealed:
        from curate.dedup.resolution import EARLIER, LABELS

        schema = pa.schema([*_PLACE, *LABELS, EARLIER])
        with section_writer(self.run.folder, fates_name(partition), schema) as writer:
            for start in range(0, len(tables), SHARDS_PER_SECTION):
                parts = []
                for place, (shard, _, table) in enumerate(tables[start : start + SHARDS_PER_SECTION], start):
                    where = [pa.array(np.full(table.num_rows, place, np.int32)), table.column("row")]
                    said = labels[shard]
                    dump = said.column(EARLIER.name) if EARLIER.name in said.column_names else None
                    none = pa.nulls(table.num_rows, EARLIER.type)
                    arrays = [*where, *(said.column(n) for n in LABELS.names), none if dump is None else dump]
                    parts.append(pa.Table.from_arrays(arrays, schema=schema))
                writer.write(start // SHARDS_PER_SECTION, pa.concat_tables(parts).combine_chunks())
            return writer.close()

    def _write_pairs(self, partition: str, pairs: pa.Table) -> Sealed:
        pairs = pairs.take(pc.sort_indices(pairs, [("removed", "ascending")]))
        each = max(self.least_pairs, self.pairs_held // len(self.partitions()))
        with section_writer(self.run.folder, pairs_name(partition), pairs.schema) as writer:
            for start in range(0, pairs.num_rows, each):
                writer.write(0, pairs.slice(start, each).combine_chunks())
            return writer.close()
