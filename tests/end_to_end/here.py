"""A whole run in this process: the real steps, plan and scheduler, with a launcher that does each task at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.config import Config
from pipelines.launchers.base import Launcher, Site
from pipelines.launchers.worker import answer_task
from pipelines.marks import Mark
from pipelines.run import RunResult
from pipelines.steps.base import Step, Work
from pipelines.tasks import Outcome, Task


class HereLauncher(Launcher):
    """Does what a worker does, in this process, when it is asked for outcomes."""

    def __init__(self, site: Site, scratch: Path, before: Callable[[Task], None] | None) -> None:
        self._site, self._scratch, self._before = site, scratch, before
        self._steps: dict[str, Step] = {}
        self._next: Task | None = None

    @property
    def free(self) -> int:
        return 1 if self._next is None else 0

    def submit(self, task: Task) -> None:
        self._next = task

    def wait(self, timeout_s: float) -> list[Outcome]:
        if self._next is None:
            return []
        task, self._next = self._next, None
        if self._before is not None:
            self._before(task)
        answer = answer_task(self._site, self._steps, Task.from_json(task.to_json()), Work(scratch=self._scratch))
        return [Outcome(task, answer["status"], answer.get("detail", ""), answer.get("error", ""))]

    def marks(self) -> Mapping[tuple[str, str], Mark]:
        return {}

    def stop(self) -> None:
        self._next = None


def run_here(
    config: Config, scratch: Path, monkeypatch: Any, *, before: Callable[[Task], None] | None = None, **more: Any
) -> RunResult:
    """The result of ``pipelines.run.run``, with every task done in this process.

    Args:
        before: called with each task before it is done, to make something happen during the run.
    """
    from pipelines import run as module

    def make(prepared: Any) -> Launcher:
        return HereLauncher(Site(prepared.folder.url), scratch, before)

    monkeypatch.setattr(module, "make_launcher", make)
    return module.run(config, **more)


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    """All rows of ``corpus``, ``dropped`` or ``failed``."""
    found: list[dict[str, Any]] = []
    for path in sorted((run / kind).glob("*.parquet")):
        found += pq.ParquetFile(path).read().to_pylist()
    return found
