"""Who runs the tasks of a plan."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipelines.launchers.base import Launcher, Site

if TYPE_CHECKING:
    from pipelines.steps.base import Run


def make_launcher(run: Run) -> Launcher:
    """The launcher that the config names."""
    section = run.config.run
    site = Site(run.folder.url)
    workers = worker_count(run)
    if section.launcher == "ray":
        from pipelines.launchers.ray import RayLauncher

        return RayLauncher(site, None if section.workers == "auto" else workers, memory_mb=section.worker_memory_mb)
    from pipelines.launchers.local import LocalLauncher

    return LocalLauncher(
        site, workers, memory_mb=section.worker_memory_mb, cpu_seconds=section.cpu_seconds_per_document
    )


def worker_count(run: Run) -> int:
    """Worker processes of a local run: as configured, or one per CPU that this process may use."""
    wanted = run.config.run.workers
    return len(os.sched_getaffinity(0)) if wanted == "auto" else int(wanted)
