"""One task: execute a step on a partition and leave its receipt."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field
from typing import Any

from curate.store.failpoints import failpoint
from curate.store.receipts import Receipt, write_receipt
from pipelines.marks import Mark
from pipelines.passes import Care
from pipelines.steps.base import Step, Work


@dataclass(frozen=True)
class Task:
    """A step on a partition, with the fingerprint its receipt will carry and what earlier deaths ask for."""

    step: str
    partition: str
    fingerprint: str
    material: dict[str, Any] = field(hash=False, compare=False)
    care: Care = field(default_factory=Care, hash=False, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Which task it is, whatever its care."""
        return (self.step, self.partition)

    def to_json(self) -> dict[str, Any]:
        """For the pipe to a worker."""
        return {
            "step": self.step,
            "partition": self.partition,
            "fingerprint": self.fingerprint,
            "material": self.material,
            "one_by_one": sorted(self.care.one_by_one),
            "poisoned": dict(self.care.poisoned),
        }

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Task:
        """The inverse of ``to_json``."""
        care = Care(frozenset(raw["one_by_one"]), raw["poisoned"])
        return Task(raw["step"], raw["partition"], raw["fingerprint"], raw["material"], care)


@dataclass(frozen=True)
class Outcome:
    """What became of a task that was given to a launcher.

    Attributes:
        status: done; failed (the task itself is at fault); died (its worker is gone); refused (config or model);
            environment (disk, permission); threshold (a limit was crossed); budget (money or tokens are used up);
            unverified (sums or digests do not hold).
        detail: one line for the log.
        error: ledger code for a document that is found to have killed its worker.
        mark: where the worker was.
    """

    task: Task
    status: str
    detail: str = ""
    error: str = ""
    mark: Mark = field(default_factory=Mark)


def run_task(step: Step, task: Task, work: Work) -> Receipt:
    """Execute and write the receipt; nothing of the task has happened before the receipt stands."""
    failpoint("step.start")
    start, cpu = time.monotonic(), _cpu_seconds()
    work.care = task.care
    result = step.execute(task.partition, work)
    cost = {
        "cpu_seconds": round(_cpu_seconds() - cpu, 3),
        "wall_seconds": round(time.monotonic() - start, 3),
        "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    receipt = Receipt(
        task.step, task.partition, task.fingerprint, task.material, tuple(result.outputs), result.counts, cost
    )
    write_receipt(step.run.folder, receipt)
    return receipt


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
