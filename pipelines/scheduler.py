"""Gives tasks to a launcher as soon as the steps before them are done, and deals with what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from curate.errors import BudgetError, ConfigError, EnvironmentGone, TaskError, ThresholdError, VerificationError
from curate.store.failpoints import failpoint
from pipelines.attempts import Attempts
from pipelines.launchers.base import Launcher
from pipelines.plan import TaskState
from pipelines.progress import Progress
from pipelines.runlog import RunLog
from pipelines.steps.base import Run, Step
from pipelines.tasks import Outcome, Task

_TICK_S = 0.25


#: how a task that was given up ends the run; every other way is a failed task
_CODES = {
    "budget": BudgetError.exit_code,
    "environment": EnvironmentGone.exit_code,
    "refused": ConfigError.exit_code,
    "threshold": ThresholdError.exit_code,
    "unverified": VerificationError.exit_code,
}
#: of several codes the last in this list is told: a limit that was crossed hides no failure
_GRAVITY = (0, BudgetError.exit_code, ThresholdError.exit_code, TaskError.exit_code, VerificationError.exit_code)


def _graver(one: int, two: int) -> int:
    """The exit code that says more; codes that are not ranked end the run at once."""
    return max(one, two, key=lambda code: _GRAVITY.index(code) if code in _GRAVITY else len(_GRAVITY))


@dataclass
class Trouble:
    """Why a run did not do all of its tasks."""

    signal: int = 0
    exit_code: int = 0
    messages: list[str] = field(default_factory=list)


class Scheduler:
    """One run's tasks.

    Args:
        states: all tasks in order; those without a reason are done.
        stopped: the signal that asks to stop, or 0.
        lost: whether the run's folder is no longer the one that was locked.
    """

    def __init__(
        self,
        run: Run,
        steps: list[Step],
        states: list[TaskState],
        launcher: Launcher,
        log: RunLog,
        stopped: Callable[[], int],
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._lost = lost
        self._run, self._steps, self._launcher, self._log, self._stopped = run, steps, launcher, log, stopped
        self._sizes = {e.partition: e.size for e in run.manifest.entries}
        self._attempts = Attempts(run.folder, run.config.run.task_attempts)
        self._complete = {(s.step, s.partition) for s in states if not s.reason}
        self._given_up: set[tuple[str, str]] = set()
        todo = [s for s in states if s.reason]
        self._waiting = {
            (s.step, s.partition): Task(
                s.step, s.partition, s.fingerprint, s.material, self._attempts.care((s.step, s.partition))
            )
            for s in todo
        }
        self._running: dict[tuple[str, str], Task] = {}
        self._began: dict[str, float] = {}
        self.done = 0
        self.skipped = len(states) - len(todo)

    def work(self, progress: Callable[[Progress], None] | None) -> Trouble:
        """Until every task is done or cannot be; the reasons for the latter come back."""
        trouble = Trouble()
        while self._waiting or self._running:
            trouble.signal = self._stopped()
            if trouble.signal:
                trouble.messages.append(f"stopped by signal {trouble.signal}; run the same command to go on")
                return trouble
            if self._folder_gone(trouble):
                return trouble
            self._submit()
            if not self._running:
                break  # what waits, waits for a task that was given up
            for outcome in self._launcher.wait(_TICK_S):
                if self._folder_gone(trouble):  # then what the task says of it is not the reason
                    return trouble
                self._settle(outcome, trouble)
                if trouble.exit_code in (2, EnvironmentGone.exit_code):
                    return trouble
            if progress is not None:
                self._report(progress)
        if self._waiting:
            trouble.messages.append(f"{len(self._waiting)} tasks that need the failed ones were not begun")
        return trouble

    def _folder_gone(self, trouble: Trouble) -> bool:
        if not self._lost():
            return False
        trouble.exit_code = EnvironmentGone.exit_code
        trouble.messages.append(
            f"the output folder {self._run.folder.url} was removed, or another put in its place, while the run was at "
            "work: run the same command again to do what was lost"
        )
        return True

    def _submit(self) -> None:
        for key in self._ready():
            if self._launcher.free <= 0:
                return
            task = self._waiting.pop(key)
            self._running[key] = task
            self._began.setdefault(key[0], time.monotonic())
            self._launcher.submit(task)

    def _ready(self) -> list[tuple[str, str]]:
        """Waiting tasks whose inputs are there: by step, and the largest input first, so that none is left for last."""
        found = []
        for number, step in enumerate(self._steps):
            keys = [k for k in self._waiting if k[0] == step.name]
            if not keys or any(self._unfinished(name) for name in step.behind):
                continue
            open_before = {name for name in step.after if self._unfinished(name)}
            for key in keys:
                needs = [(name, key[1]) for name in step.after]
                if all(n in self._complete if step.aligned else False for n in needs) or not open_before:
                    found.append((number, -self._sizes.get(key[1], 0), key))
        return [key for _, _, key in sorted(found)]

    def _unfinished(self, step: str) -> bool:
        return any(k[0] == step for k in (*self._waiting, *self._running, *self._given_up))

    def _settle(self, outcome: Outcome, trouble: Trouble) -> None:
        key = outcome.task.key
        self._running.pop(key, None)
        if outcome.status == "done":
            self._complete.add(key)
            self.done += 1
            if not self._unfinished(key[0]):
                self._log.write("info", "step done", step=key[0])
                failpoint("run.between_steps")
            return
        self._log.write("warning", outcome.status, step=key[0], partition=key[1], detail=outcome.detail)
        if outcome.status == "died":
            again = self._attempts.after_death(outcome)
            if again is not None:
                self._waiting[key] = again
                return
            outcome = Outcome(outcome.task, "failed", f"its worker died again and again: {outcome.detail}")
        self._given_up.add(key)
        trouble.exit_code = _graver(trouble.exit_code, _CODES.get(outcome.status, TaskError.exit_code))
        trouble.messages.append(f"{key[0]}/{key[1]}: {outcome.detail.strip()}")

    def _report(self, progress: Callable[[Progress], None]) -> None:
        if not self._running:
            return
        number, step = min((i, s) for i, s in enumerate(self._steps) if any(k[0] == s.name for k in self._running))
        name = step.name
        marks = [m for (s, _), m in self._launcher.marks().items() if s == name]
        finished = [k for k in self._complete if k[0] == name]
        total = len(finished) + sum(1 for k in (*self._waiting, *self._running) if k[0] == name)
        progress(
            Progress(
                step=name,
                steps_done=number,
                steps=len(self._steps),
                tasks_done=len(finished),
                tasks=total,
                documents=sum(m.documents for m in marks),
                kept=sum(m.kept for m in marks),
                bytes_done=sum(self._sizes.get(k[1], 0) for k in finished),
                bytes_total=sum(self._sizes.values()) if len(step.partitions()) > 1 else 0,
                seconds=time.monotonic() - self._began.get(name, time.monotonic()),
            )
        )
