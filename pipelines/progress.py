"""What a running run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The state of a run at one moment; all counts are since the start of this call, not of earlier ones.

    Attributes:
        step: step in work.
        steps_done: steps that are complete.
        steps: steps of the run.
        tasks_done: tasks of this step that are complete, those of earlier calls included.
        tasks: tasks of this step.
        documents: documents read so far by this step.
        kept: of them, those that are still in.
        failed: records and documents that could not be processed.
        bytes_done: input bytes that are accounted for.
        bytes_total: input bytes of this step; 0 where unknown.
        seconds: wall time since the step began, in this call.
    """

    step: str
    steps_done: int = 0
    steps: int = 0
    tasks_done: int = 0
    tasks: int = 0
    documents: int = 0
    kept: int = 0
    failed: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """Share of the step that is done, 0–1: by bytes where they are known, else by tasks."""
        if self.bytes_total:
            return min(1.0, self.bytes_done / self.bytes_total)
        return self.tasks_done / self.tasks if self.tasks else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Wall time that the step still needs at its speed so far; None before there is a speed."""
        return None if not self.share else self.seconds * (1 - self.share) / self.share
