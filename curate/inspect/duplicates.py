"""The audit of duplicate removal, read back from a run's folder for a page."""

from __future__ import annotations

import json
from typing import Any

from curate.dedup.audit.audit import SAMPLE_NAME
from curate.inspect.data import ClusterMember, DuplicateAudit, LargeCluster, Removal, RemovedPair
from curate.store.folder import Folder


def audit_of(folder: Folder, details: dict[str, Any]) -> DuplicateAudit:
    """The audit as a page shows it.

    Args:
        details: ``dedup/audit_details.json``.
    """
    removed = details["removed"]
    total = _removal({**details, **removed, "value": None})
    return DuplicateAudit(
        total=total,
        threshold=details["threshold"],
        sizes={int(n): count for n, count in details["sizes"].items()},
        similarities={int(n): count for n, count in details["similarities"].items()},
        largest=tuple(_cluster(c) for c in details["largest"]),
        groups={d: (g["values"], tuple(_removal(r) for r in g["most"])) for d, g in details["groups"].items()},
        pairs=tuple(_pair(row) for row in folder.table(SAMPLE_NAME).to_pylist()),
    )


def _removal(row: dict[str, Any]) -> Removal:
    return Removal(row["value"], row["documents"], row["exact"], row["url"], row["minhash"], row["bytes"],
                   row["removed_bytes"], row["content"])  # fmt: skip


def _cluster(found: dict[str, Any]) -> LargeCluster:
    examples = tuple(
        ClusterMember(e["id"], e["kind"], e["similarity"], e["url"], e.get("beginning")) for e in found["examples"]
    )
    same_page = found["same_url"] + found["same_content"]
    return LargeCluster(found["survivor"], found["size"], found["exact"], same_page, found["minhash"], found["url"],
                        found["source"], found.get("beginning"), examples)  # fmt: skip


def _pair(row: dict[str, Any]) -> RemovedPair:
    parts = tuple((sign, text) for sign, text in json.loads(row["diff"]))
    return RemovedPair(
        row["removed"], row["survivor"], row["kind"], row["stratum"], row["available"], row["similarity"],
        row["containment"], row["compared_similarity"], row["removed_url"], row["survivor_url"], row["removed_source"],
        row["survivor_source"], row["same_words"], row["only_removed"], row["only_survivor"], row["uncompared_words"],
        parts,
    )  # fmt: skip
