"""The run loop: lock, freeze the inputs, do what the plan says, close the books."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from curate.errors import ConfigError
from curate.store.folder import Folder, LocalFolder, open_folder
from curate.store.lock import RunLock
from curate.store.manifest import Manifest
from pipelines.books import Totals, totals_of
from pipelines.fates import FateWriter
from pipelines.graph import steps_of
from pipelines.launchers import make_launcher, worker_count
from pipelines.plan import list_entries, task_states
from pipelines.progress import Progress
from pipelines.retire import retire
from pipelines.runlog import RunLog
from pipelines.scheduler import Scheduler, Trouble
from pipelines.steps.base import Run
from pipelines.warm import warm_up

if TYPE_CHECKING:
    from pipelines.config import Config


@dataclass
class RunResult:
    """How a run ended.

    Attributes:
        exit_code: of the command line.
        summary: lines for a person.
    """

    exit_code: int
    output: str
    totals: Totals
    tasks_done: int
    tasks_skipped: int
    seconds: float
    problems: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able data."""
        return {
            "exit_code": self.exit_code,
            "output": self.output,
            "tasks_done": self.tasks_done,
            "tasks_skipped": self.tasks_skipped,
            "seconds": round(self.seconds, 3),
            "problems": self.problems,
            **self.totals.to_json(),
        }


class Stop:
    """Set by SIGINT and SIGTERM while a run is going on."""

    def __init__(self) -> None:
        self.signal = 0

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handle both signals inside the block; only in the main thread, elsewhere nothing is touched."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._hear) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.signal = number


def run(
    config: Config,
    *,
    progress: Callable[[Progress], None] | None = None,
    accept_input_changes: bool = False,
) -> RunResult:
    """Do everything the config asks for that is not done yet.

    Args:
        progress: called a few times a second with the state of the run.
        accept_input_changes: files that were added, removed or changed since the first run are taken over; without it
            such a run is refused, because mixing two inputs in one output should be a decision.

    Raises:
        ConfigError: the inputs cannot be listed, or differ from the frozen manifest.
        EnvironmentGone: another run holds the folder, or it cannot be written.
    """
    start = time.monotonic()
    folder = open_folder(config.run.output)
    with ExitStack() as stack:
        if isinstance(folder, LocalFolder):
            lock = stack.enter_context(RunLock(folder.path))
            folder.sweep()
        log = stack.enter_context(RunLog(folder))
        if isinstance(folder, LocalFolder) and lock.took_over:
            log.write("warning", "took over", reason=lock.took_over)
        prepared = prepare(config, folder, accept_input_changes=accept_input_changes)
        stop = stack.enter_context(Stop().listening())
        lost = lock.lost if isinstance(folder, LocalFolder) else lambda: False
        return _work(prepared, stop, log, progress, start, lost)


def prepare(config: Config, folder: Folder, *, accept_input_changes: bool) -> Run:
    """Freeze the inputs and the config in the run's folder."""
    frozen = Manifest.read(folder)
    fresh, refused = list_entries(config)
    if frozen is not None and (changes := frozen.compare(fresh)) and not accept_input_changes:
        parts = [
            f"{len(v)} {k} ({', '.join(v[:3])}{', …' if len(v) > 3 else ''})" for k, v in vars(changes).items() if v
        ]
        raise ConfigError(
            f"the inputs differ from those that {folder.url} was begun with: {'; '.join(parts)}. "
            "Run with --accept-input-changes to redo what they touch, or give another run.output."
        )
    manifest = (frozen or Manifest()).updated(fresh)
    if manifest != frozen:
        manifest.write(folder)
    text = _yaml(config.resolved()).encode("utf-8")
    if not folder.exists("run.yaml") or folder.read("run.yaml") != text:
        folder.write("run.yaml", text)
    _write_environment(folder)
    fates = FateWriter(folder, "inputs", "all")
    for failure in refused:
        fates.fail(failure)
    fates.close()
    return Run(config, folder, manifest, config.base)


def _work(
    prepared: Run,
    stop: Stop,
    log: RunLog,
    progress: Callable[[Progress], None] | None,
    start: float,
    lost: Callable[[], bool],
) -> RunResult:
    steps = steps_of(prepared)
    states = task_states(prepared, steps)
    if prepared.config.run.launcher == "local" and any(s.reason for s in states):
        warm_up(prepared, worker_count(prepared), log, lambda: stop.signal, progress)
    for line in retire(prepared.folder, steps):
        log.write("info", "removed", what=line)
    launcher = make_launcher(prepared)
    scheduler = Scheduler(prepared, steps, states, launcher, log, lambda: stop.signal, lost)
    log.write("info", "start", tasks=len(states), todo=sum(1 for s in states if s.reason))
    try:
        trouble = scheduler.work(progress)
    finally:
        launcher.stop()
        if isinstance(prepared.folder, LocalFolder):
            prepared.folder.sweep()  # what workers had begun when they died
    totals = totals_of(prepared)
    result = RunResult(
        exit_code=_exit_code(prepared, trouble, totals),
        output=prepared.folder.url,
        totals=totals,
        tasks_done=scheduler.done,
        tasks_skipped=scheduler.skipped,
        seconds=time.monotonic() - start,
        problems=[*trouble.messages, *thresholds_crossed(prepared, totals)],
    )
    result.summary = totals.lines()
    log.write("info", "end", **result.to_json())
    return result


def _exit_code(prepared: Run, trouble: Trouble, totals: Totals) -> int:
    if trouble.signal:
        return 128 + trouble.signal
    if trouble.exit_code:
        return trouble.exit_code
    return 3 if thresholds_crossed(prepared, totals) else 0


def thresholds_crossed(prepared: Run, totals: Totals) -> list[str]:
    """One sentence per limit of the config that the run crossed."""
    limits, found = prepared.config.run, []
    ratio = totals.failed_total / totals.entered if totals.entered else 0.0
    if limits.max_failed_ratio is not None and ratio > limits.max_failed_ratio:
        found.append(
            f"{totals.failed_total} of {totals.entered} records failed ({ratio:.2%}), more than run.max_failed_ratio "
            f"allows ({limits.max_failed_ratio:.2%}): see {prepared.folder.url}/failed/"
        )
    unreadable = len(totals.unreadable_files)
    if limits.max_failed_files is not None and unreadable > limits.max_failed_files:
        found.append(
            f"{unreadable} input files could not be read, more than run.max_failed_files allows "
            f"({limits.max_failed_files}): {', '.join(totals.unreadable_files[:3])}"
        )
    dropped = totals.dropped_total / totals.entered if totals.entered else 0.0
    if limits.max_dropped_ratio is not None and dropped > limits.max_dropped_ratio:
        found.append(
            f"{dropped:.1%} of the documents were dropped, more than run.max_dropped_ratio allows "
            f"({limits.max_dropped_ratio:.1%})"
        )
    return found


def _yaml(values: dict[str, Any]) -> str:
    import io

    from ruamel.yaml import YAML

    yaml, out = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    yaml.dump(values, out)
    return out.getvalue()


def _write_environment(folder: Folder) -> None:
    """What the run was made with; it decides nothing, so it is not part of the fingerprints."""
    import platform
    from importlib import metadata

    names = ("curate", "pyarrow", "polars", "numpy", "numba", "resiliparse", "fasttext-numpy2-wheel", "trafilatura",
             "tokenizers", "torch", "datatrove")  # fmt: skip
    packages = {}
    for name in names:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    body = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
    }
    folder.write("environment.json", json.dumps(body, indent=1, sort_keys=True).encode())
