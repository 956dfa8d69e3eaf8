"""How far a run is, read from its receipts; works while it runs, after it ended, and after it was killed."""

from __future__ import annotations

import json
from typing import Any

from curate.store.folder import LocalFolder
from pipelines.books import totals_of
from pipelines.graph import steps_of
from pipelines.plan import task_states
from pipelines.verify import open_run


def read_status(run_dir: str) -> dict[str, Any]:
    """Steps with their tasks done and open, the sums so far, and whether a run is at work."""
    run = open_run(run_dir)
    steps = steps_of(run)
    states = task_states(run, steps)
    rows: list[dict[str, Any]] = []
    for step in steps:
        own = [s for s in states if s.step == step.name]
        rows.append({"step": step.name, "tasks": len(own), "done": sum(1 for s in own if not s.reason)})
    todo = sum(r["tasks"] - r["done"] for r in rows)
    holder: dict[str, Any] = {}
    if isinstance(run.folder, LocalFolder) and run.folder.exists(".lock"):
        try:
            holder = json.loads(run.folder.read(".lock"))
        except ValueError:
            holder = {}
    return {
        "output": run.folder.url,
        "state": "complete" if not todo else ("running" if holder.get("state") == "running" else "incomplete"),
        "steps": rows,
        **totals_of(run).to_json(),
    }
