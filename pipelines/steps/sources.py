"""One row per input file: where its bytes and records went."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curate.documents import column
from curate.store.receipts import read_receipts
from curate.store.shards import write_table
from pipelines.steps.base import WHOLE, Result, Step, Work

SOURCES = pa.schema(
    [
        column("path", pa.string(), "input file, relative to the input root", nullable=False),
        column("partition", pa.string(), "name of the shard it became", nullable=False),
        column("kind", pa.string(), "warc, arc, wet, jsonl or parquet", nullable=False),
        column("size", pa.int64(), "size of the file", unit="bytes", nullable=False),
        column("records", pa.int64(), "records, lines or rows that were framed", nullable=False),
        column("documents", pa.int64(), "records that became a document before any stage", nullable=False),
        column("skipped", pa.int64(), "records that are no documents by their kind (requests, revisits …)"),
        column("rejected_ranges", pa.int64(), "ranges that could not be read; listed in failed/", nullable=False),
        column("rejected_bytes", pa.int64(), "bytes in those ranges", unit="bytes", nullable=False),
        column("accounted_bytes", pa.int64(), "bytes parsed plus bytes rejected; equals size", unit="bytes"),
    ]
)


class Sources(Step):
    """Gathers the receipts of the first pass into sources.parquet."""

    name = "sources"
    after = ("documents",)
    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {}

    def execute(self, partition: str, work: Work) -> Result:
        wanted = set(self.run.shards)
        rows = []
        for receipt in read_receipts(self.run.folder, "documents"):
            if receipt.partition not in wanted:
                continue
            counts = receipt.counts
            rows.append(
                {
                    "path": counts["source"],
                    "partition": receipt.partition,
                    "kind": counts["kind"],
                    "size": counts["size"],
                    "records": counts["records"],
                    "documents": counts["documents_read"],
                    "skipped": sum(counts["skipped"].values()),
                    "rejected_ranges": counts["rejected_ranges"],
                    "rejected_bytes": counts["rejected_bytes"],
                    "accounted_bytes": counts["accounted_bytes"],
                }
            )
        output = write_table(self.run.folder, "sources.parquet", pa.Table.from_pylist(rows, schema=SOURCES))
        return Result([output], {"files": len(rows)})
