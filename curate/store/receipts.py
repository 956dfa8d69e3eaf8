"""Receipts: written last, one per finished task. Without its receipt a task did not happen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from curate.store.failpoints import failpoint
from curate.store.folder import Folder
from curate.store.shards import Output


@dataclass(frozen=True)
class Receipt:
    """What a finished task says of itself.

    Attributes:
        step, partition: which task.
        fingerprint: of code, config, models and inputs; the task is done only for this fingerprint.
        material: what went into the fingerprint, so that `plan` can say what changed.
        outputs: the files it made.
        counts: numbers that the ledger adds up, by name.
        cost: cpu_seconds, wall_seconds, max_rss_mb.
    """

    step: str
    partition: str
    fingerprint: str
    material: dict[str, Any]
    outputs: tuple[Output, ...]
    counts: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}


def receipt_name(step: str, partition: str) -> str:
    """Where the receipt of a task lies."""
    return f"receipts/{step}/{partition}.json"


def write_receipt(folder: Folder, receipt: Receipt) -> None:
    """Publish the receipt; from here on the task has happened."""
    failpoint("receipt.before")
    text = json.dumps(receipt.to_json(), ensure_ascii=False, indent=1, sort_keys=True)
    folder.write(receipt_name(receipt.step, receipt.partition), text.encode("utf-8"))
    failpoint("receipt.after")


def read_receipt(folder: Folder, step: str, partition: str) -> Receipt | None:
    """The receipt of a task, or None if there is none or it is damaged (then the task is done again)."""
    name = receipt_name(step, partition)
    try:
        raw = json.loads(folder.read(name))
        outputs = tuple(Output(**o) for o in raw["outputs"])
        return Receipt(
            raw["step"], raw["partition"], raw["fingerprint"], raw["material"], outputs, raw["counts"], raw["cost"]
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None


def read_receipts(folder: Folder, step: str) -> list[Receipt]:
    """All receipts of a step, by partition."""
    found = []
    for name in folder.names(f"receipts/{step}"):
        receipt = read_receipt(folder, step, name.rpartition("/")[2].removesuffix(".json"))
        if receipt is not None:
            found.append(receipt)
    return found
