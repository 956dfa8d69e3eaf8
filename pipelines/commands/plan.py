"""`curate plan`: what a run would do, and why."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.commands.again import checked
from pipelines.commands.answer import Answer


def main(config: Path, overrides: Sequence[str], print_config: bool) -> Answer:
    """The steps with their tasks and reasons, or the resolved config with the origin of every value."""
    from pipelines.config import load_config

    loaded = load_config(config, overrides)
    if print_config:
        resolved, origins = loaded.resolved(), loaded.origins()
        return Answer({"config": resolved, "origins": origins}, lambda: _values(resolved, origins))
    from pipelines.plan import make_plan

    plan = make_plan(checked(loaded))
    return Answer(
        plan.to_json(),
        lambda: _steps(plan),
        notes=["next: " + shlex.join(["curate", "run", str(config), *(p for o in overrides for p in ("--set", o))])],
    )


def _steps(plan: Any) -> str:
    from pipelines.render import count, safe, size, table

    inputs = "listed when the run starts" if plan.files is None else f"{count(plan.files)} files, {size(plan.bytes)}"
    lines = [f"output: {plan.output}", f"inputs: {inputs}"]
    lines += [f"inputs {what}: {len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
              for what, names in vars(plan.changes).items() if names]  # fmt: skip
    lines += [f"refused: {one}" for one in plan.refused[:10]]
    if len(plan.refused) > 10:
        lines.append(f"… and {len(plan.refused) - 10} more refused")
    lines += [f"note: {one}" for one in plan.notes]
    rows = [(s.name, s.tasks, s.todo, s.done, "; ".join([s.reason, *s.detail])) for s in plan.steps]
    return safe("\n".join(lines), lines=True) + "\n\n" + table(("step", "tasks", "to do", "done", "why"), rows)


def _values(resolved: dict[str, Any], origins: dict[str, str]) -> str:
    from json import dumps

    from pipelines.render import table
    from pipelines.values import leaves
    from pipelines.yaml_reader import dotted

    rows = [
        (dotted(path), dumps(value, ensure_ascii=False), origins.get(dotted(path), "default"))
        for path, value in leaves(resolved)
    ]
    return table(("key", "value", "from"), [(key, origin, value) for key, value, origin in rows])
