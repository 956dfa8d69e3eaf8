"""The books of a run, added up from its receipts: what went in, what was kept, dropped, failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from curate.store.receipts import Receipt, read_receipts
from pipelines.steps.base import Run

#: steps whose receipts carry fates
DECIDING = ("documents", "labels", "rate", "select")


@dataclass
class Totals:
    """Sums over all receipts.

    Attributes:
        entered: records that are documents or should have been, and ranges that could not be read.
        kept: documents in the corpus.
        dropped: ``stage:reason`` → documents.
        failed: ``stage:error`` → records or ranges; warned: code → remarks that cost nothing.
    """

    files: int = 0
    records: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    entered: int = 0
    documents: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)
    bytes_size: int = 0
    bytes_accounted: int = 0
    bytes_rejected: int = 0
    cpu_seconds: float = 0.0
    unreadable_files: list[str] = field(default_factory=list)

    @property
    def dropped_total(self) -> int:
        """Documents dropped for any reason."""
        return sum(self.dropped.values())

    @property
    def failed_total(self) -> int:
        """Records and ranges that failed for any reason."""
        return sum(self.failed.values())

    def to_json(self) -> dict[str, Any]:
        """The sums as JSON-able data, in the form of ``curate verify``."""
        return {
            "files": self.files,
            "records": self.records,
            "skipped": dict(sorted(self.skipped.items())),
            "in": self.entered,
            "documents": self.documents,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "failed": dict(sorted(self.failed.items())),
            "warned": dict(sorted(self.warned.items())),
            "bytes": {
                "size": self.bytes_size,
                "accounted": self.bytes_accounted,
                "rejected": self.bytes_rejected,
            },
            "cpu_seconds": round(self.cpu_seconds, 2),
        }

    def lines(self) -> list[str]:
        """The sums for a person."""
        lines = [
            f"{self.files} files, {self.bytes_size / 1e6:,.1f} MB: {self.entered:,} in = {self.kept:,} kept + "
            f"{self.dropped_total:,} dropped + {self.failed_total:,} failed"
        ]
        lines += [f"  dropped {n:>8,}  {reason}" for reason, n in self.dropped.most_common(12)]
        lines += [f"  failed  {n:>8,}  {error}" for error, n in self.failed.most_common(12)]
        return lines


def totals_of(run: Run) -> Totals:
    """Add up the receipts of the run's current partitions."""
    totals, wanted = Totals(files=len(run.shards)), set(run.shards)
    for step in DECIDING:
        for receipt in read_receipts(run.folder, step):
            if receipt.partition not in wanted:
                continue
            totals.dropped.update(receipt.counts.get("dropped", {}))
            totals.failed.update(receipt.counts.get("failed", {}))
            totals.warned.update(receipt.counts.get("warned", {}))
            if step == "documents":
                _add_source(totals, receipt)
            if step == "select":
                totals.kept += receipt.counts["kept"]
            totals.cpu_seconds += receipt.cost.get("cpu_seconds", 0.0)
    for row in refused_inputs(run):
        if row["level"] == "error":
            totals.failed[f"read:{row['error']}"] += 1
            totals.entered += 1
    return totals


def _add_source(totals: Totals, receipt: Receipt) -> None:
    counts = receipt.counts
    totals.records += counts["records"]
    totals.skipped.update(counts["skipped"])
    totals.documents += counts["documents_read"]
    totals.bytes_size += counts["size"]
    totals.bytes_accounted += counts["accounted_bytes"]
    totals.bytes_rejected += counts["rejected_bytes"]
    totals.entered += entered_of(counts)
    if counts["size"] and counts["rejected_bytes"] == counts["size"]:
        totals.unreadable_files.append(counts["source"])


def entered_of(counts: dict[str, Any]) -> int:
    """Documents read, and what was dropped or failed before it could become one."""
    read_fates = sum(n for name, n in counts["dropped"].items() if name.startswith("read:"))
    read_fates += sum(n for name, n in counts["failed"].items() if name.startswith("read:"))
    total: int = counts["documents_read"] + read_fates
    return total


def refused_inputs(run: Run) -> list[dict[str, Any]]:
    """Inputs that were not read at all: links that lead outside, pipes, vanished files."""
    name = "failed/inputs-all.parquet"
    found: list[dict[str, Any]] = run.folder.table(name).to_pylist() if run.folder.exists(name) else []
    return found
