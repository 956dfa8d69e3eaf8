"""Tasks on a Ray cluster: one that is running, or one started on this machine."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import ConfigError
from pipelines.launchers.base import Launcher, Site
from pipelines.launchers.worker import answer_task
from pipelines.marks import Mark, MarkFile
from pipelines.passes import Marks
from pipelines.steps.base import Step, Work
from pipelines.tasks import Outcome, Task


def _remote_task(site: Site, raw: dict[str, Any], mark_path: str | None) -> dict[str, Any]:
    """What a Ray worker does: the same as a local one, for one task."""
    path = Path(mark_path) if mark_path is not None else None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    marks = Marks(MarkFile(path))
    with tempfile.TemporaryDirectory(prefix="curate-worker-") as scratch:
        return answer_task(site, _steps(site), Task.from_json(raw), Work(marks=marks, scratch=Path(scratch)))


_STEPS: dict[Site, dict[str, Step]] = {}


def _steps(site: Site) -> dict[str, Step]:
    """Steps of a run, kept between the tasks of one worker process."""
    return _STEPS.setdefault(site, {})


class RayLauncher(Launcher):
    """One Ray task per partition, never retried by Ray: a lost worker is an outcome here as everywhere.

    Marks go through files in the run's folder, so that the document that kills its worker is found on a cluster whose
    nodes share that folder; with a run behind a URL the place of a death is not known and the task is given up.

    Args:
        workers: tasks at a time; None for as many as the cluster has CPUs.
        memory_mb: asked of Ray per task, so that it does not overload a node.
    """

    def __init__(self, site: Site, workers: int | None, *, memory_mb: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError("run.launcher: ray needs the package ray: pip install 'curate[ray]'") from error
        self._ray = ray
        self._site = site
        self._started_here = not ray.is_initialized()
        if self._started_here:
            _connect(ray, workers)
        self._limit = workers if workers is not None else max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._session = uuid.uuid4().hex[:8]
        self._task = ray.remote(num_cpus=1, max_retries=0, max_calls=0)(_remote_task)
        self._running: dict[Any, tuple[Task, Path | None]] = {}
        self._count = 0
        self._memory_mb = memory_mb

    @property
    def free(self) -> int:
        return self._limit - len(self._running)

    def submit(self, task: Task) -> None:
        path = None
        if "://" not in self._site.folder:
            path = Path(self._site.folder) / ".marks" / f"{self._session}-{self._count}"
        self._count += 1
        reference = self._task.remote(self._site, task.to_json(), str(path) if path is not None else None)
        self._running[reference] = (task, path)

    def wait(self, timeout_s: float) -> list[Outcome]:
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        return [self._outcome(reference) for reference in ready]

    def _outcome(self, reference: Any) -> Outcome:
        task, path = self._running.pop(reference)
        mark = _read(path)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            memory = isinstance(error, self._ray.exceptions.OutOfMemoryError)
            outcome = Outcome(
                task, "died", f"{type(error).__name__}", "worker.memory" if memory else "worker.crash", mark
            )
        else:
            outcome = Outcome(task, answer["status"], answer.get("detail", ""), answer.get("error", ""), mark)
        if path is not None:
            path.unlink(missing_ok=True)
        return outcome

    def marks(self) -> Mapping[tuple[str, str], Mark]:
        return {task.key: _read(path) for task, path in self._running.values()}

    def stop(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        if self._started_here:
            self._ray.shutdown()
        if "://" not in self._site.folder:
            folder = Path(self._site.folder) / ".marks"
            for path in folder.glob(f"{self._session}-*"):
                path.unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _connect(ray: Any, workers: int | None) -> None:
    """Attach to the cluster that RAY_ADDRESS names, else start one on this machine."""
    root = str(Path(__file__).resolve().parents[2])
    python_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    variables = {"PYTHONPATH": python_path}
    if "CURATE_FAILPOINT" in os.environ:
        variables["CURATE_FAILPOINT"] = os.environ["CURATE_FAILPOINT"]
    options: dict[str, Any] = {"runtime_env": {"env_vars": variables}, "log_to_driver": False, "logging_level": "ERROR"}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", **options)
    else:
        ray.init(num_cpus=workers, include_dashboard=False, **options)


def _read(path: Path | None) -> Mark:
    if path is None or not path.exists():
        return Mark()
    file = MarkFile(path)
    try:
        return file.read()
    finally:
        file.close()
