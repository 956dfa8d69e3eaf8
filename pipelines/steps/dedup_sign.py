"""Per shard: what duplicate search needs of its documents, and by which keys they can meet others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pyarrow as pa

from curate.dedup.config import Plan, as_plan
from curate.errors import VerificationError
from curate.store.sections import REMEDY, SectionWriter
from pipelines.config import WHOLE_DOCUMENTS
from pipelines.fates import ROW
from pipelines.shard_reader import ShardReader
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.dedup_files import sealed_result

#: rows per row group of a signature table
_GROUP_ROWS = 65_536
#: label steps that come before, but decide nothing of what is signed
OPT_OUT = "opt_out"


def plan_of(run: Run) -> Plan:
    """The exact and the MinHash part of the config."""
    return as_plan(run.config.duplicates(*WHOLE_DOCUMENTS))  # type: ignore[arg-type]


def signature_name(shard: str) -> str:
    """Where the signature table of a shard lies."""
    return f"steps/{DedupSign.name}/{shard}.parquet"


def keys_name(shard: str) -> str:
    """Where its key file lies."""
    return f"steps/{DedupSign.name}/keys-{shard}.parquet"


class DedupSign(Step):
    """Computes the duplicate signatures of a shard's live documents.

    Outputs: steps/dedup_sign/<shard>.parquet (``sign_shard`` without band keys), steps/dedup_sign/keys-<shard>.parquet
    (``ENTRIES``). Neither depends on how many partitions join them. Memory: about 1.3 kB per document of the shard
    with 16 bands, and one batch of texts.
    """

    name = "dedup_sign"
    version = 2
    section_entries: ClassVar[int] = 4096

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self.after = tuple(step for step in before if step != OPT_OUT)
        self.plan = plan_of(run)

    def material(self) -> dict[str, Any]:
        from curate.dedup.signatures import signing_parameters

        wanted = sorted({p.column for p in self.plan.prefer})
        return {"signed": json.loads(signing_parameters(self.plan)), "columns": wanted}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup import sign_shard
        from curate.dedup.keys import key_entries, write_keys

        folder = self.run.folder
        table = sign_shard(self._batches(partition, work), self.plan).replace_schema_metadata(None)
        entries = key_entries(table, self.plan)
        keys = write_keys(folder, keys_name(partition), entries, self.section_entries)
        if "bands" in table.column_names:
            table = table.drop_columns(["bands"])
        writer = SectionWriter(folder, signature_name(partition), table.schema)
        try:
            for start in range(0, table.num_rows, _GROUP_ROWS):
                writer.write(0, table.slice(start, _GROUP_ROWS).combine_chunks())
            signed = writer.close()
        except BaseException:
            writer.abandon()
            raise
        with folder.parquet(f"documents/{partition}.parquet") as file:
            rows = file.metadata.num_rows
        counts = {"documents": table.num_rows, "rows": rows, "entries": entries.num_rows}
        return sealed_result([signed, keys], counts)

    def _batches(self, partition: str, work: Work) -> Iterator[pa.RecordBatch]:
        dropped_by = tuple(s for s in self.after if s == "labels")
        reader = ShardReader(self.run.folder, partition, labels=self.after, dropped_by=dropped_by)
        wanted = [p.column for p in self.plan.prefer]
        done = 0
        try:
            for batch in reader.batches(labels=wanted):
                done += batch.num_rows
                work.marks.set(documents=done)
                yield batch.rename_columns(["row" if n == ROW else n for n in batch.schema.names])
        except (OSError, pa.ArrowException) as error:
            place = f"{self.run.folder.url}/documents/{partition}.parquet"
            raise VerificationError(
                f"{place} or a label file of its rows cannot be read ({type(error).__name__}): damaged; {REMEDY}"
            ) from error
