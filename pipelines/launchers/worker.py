"""A worker process: reads tasks as JSON lines from standard input, answers one JSON line each.

It dies with its parent (standard input ends, and the kernel's parent-death signal), and it never decides anything
about a document by wall time.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from curate.errors import (
    BudgetError,
    ConfigError,
    CurateError,
    EnvironmentGone,
    ModelError,
    ThresholdError,
    VerificationError,
)
from pipelines.launchers.base import Site
from pipelines.marks import Mark, MarkFile
from pipelines.passes import Marks
from pipelines.steps.base import Step, Work
from pipelines.tasks import Task, run_task

_PR_SET_PDEATHSIG = 1


def serve(site: Site, mark_path: Path | None) -> None:
    """Answer tasks until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, not into the answers
    marks = Marks(MarkFile(mark_path))
    steps: dict[str, Step] = {}
    with tempfile.TemporaryDirectory(prefix="curate-worker-") as scratch:
        for number, line in enumerate(sys.stdin):
            task = Task.from_json(json.loads(line))
            marks.now = Mark(task=number)
            marks.set(task=number)
            answer = answer_task(site, steps, task, Work(marks=marks, scratch=Path(scratch)))
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def answer_task(site: Site, steps: dict[str, Step], task: Task, work: Work) -> dict[str, Any]:
    """Run one task and say what became of it; ``steps`` is filled on first use and kept between tasks."""
    try:
        if not steps:
            from pipelines.graph import load_run, steps_of

            steps.update({s.name: s for s in steps_of(load_run(site))})
        run_task(steps[task.step], task, work)
    except EnvironmentGone as error:
        return {"status": "environment", "detail": str(error)}
    except (ConfigError, ModelError) as error:
        return {"status": "refused", "detail": str(error)}
    except BudgetError as error:
        return {"status": "budget", "detail": str(error)}
    except ThresholdError as error:
        return {"status": "threshold", "detail": str(error)}
    except VerificationError as error:
        return {"status": "unverified", "detail": str(error)}
    except CurateError as error:
        return {"status": "failed", "detail": str(error)}
    except MemoryError:
        return {"status": "died", "detail": "out of memory", "error": "worker.memory"}
    except Exception:  # noqa: BLE001 - the runner's edge: reported with its traceback, the other tasks go on
        return {"status": "failed", "detail": traceback.format_exc(limit=-8)}
    return {"status": "done"}


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """``python -m pipelines.launchers.worker FOLDER MARKFILE``."""
    folder, mark = sys.argv[1:3]
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    serve(Site(folder), Path(mark))


if __name__ == "__main__":
    main()
