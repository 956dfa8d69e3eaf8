"""The contract of a launcher: it is given tasks and gives back one outcome each, whatever happens to its workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.marks import Mark
from pipelines.tasks import Outcome, Task


@dataclass(frozen=True)
class Site:
    """What a worker needs to rebuild the run: its folder, which holds the config and the manifest."""

    folder: str


class Launcher(ABC):
    """Runs tasks. A lost worker is an outcome (``died``), never a hang."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many more tasks can be submitted now."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Start a task."""

    @abstractmethod
    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that are there, after at most ``timeout_s``."""

    @abstractmethod
    def marks(self) -> Mapping[tuple[str, str], Mark]:
        """Where the running tasks are, as far as it is known."""

    @abstractmethod
    def stop(self) -> None:
        """Kill what is running; tasks leave nothing half-done."""
