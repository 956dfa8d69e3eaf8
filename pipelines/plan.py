"""What a run would do, and why: every task compared with its receipt before anything is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curate.documents import Failure
from curate.store.folder import Folder, open_folder
from curate.store.manifest import Changes, Entry, Manifest
from curate.store.receipts import Receipt, read_receipt
from pipelines.graph import steps_of
from pipelines.retire import described, leftovers
from pipelines.steps.base import Run, Step, fingerprints

if TYPE_CHECKING:
    from pipelines.config import Config

_SHOWN = 20
#: stands for a key that one side does not have
_ABSENT = "(not there)"


@dataclass(frozen=True)
class TaskState:
    """One task: what its receipt must say, and why it must be done (empty if it is done)."""

    step: str
    partition: str
    fingerprint: str
    material: dict[str, Any]
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class StepPlan:
    """One step of a plan.

    Attributes:
        reason: why its tasks must be done, most frequent first; "done" if none.
        detail: what changed, old value → new value, where that is known.
    """

    name: str
    what: str
    tasks: int
    todo: int
    done: int
    reason: str
    detail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        files, bytes: inputs; None where a remote list is read at run time only.
        changes: how the inputs differ from the frozen manifest.
        refused: inputs that will not be read, with the reason.
    """

    output: str
    files: int | None
    bytes: int | None
    steps: list[StepPlan]
    changes: Changes = field(default_factory=Changes)
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON-able data."""
        return {
            "output": self.output,
            "files": self.files,
            "bytes": self.bytes,
            "changes": {k: list(v) for k, v in vars(self.changes).items()},
            "refused": list(self.refused),
            "notes": list(self.notes),
            "steps": [vars(s) | {"detail": list(s.detail)} for s in self.steps],
        }


def make_plan(config: Config) -> Plan:
    """Compare what the config asks for with what the run's folder already holds; nothing is written."""
    folder = open_folder(config.run.output)
    frozen = Manifest.read(folder)
    notes: list[str] = []
    if remote_inputs(config) and frozen is None:
        return _unlisted(config, folder)
    if remote_inputs(config):
        notes.append("inputs are remote: the frozen list is taken as it is; changes are noticed at run time")
        fresh = list(frozen.entries) if frozen else []
        refused: list[Failure] = []
    else:
        fresh, refused = list_entries(config)
    changes = frozen.compare(fresh) if frozen is not None else Changes()
    manifest = (frozen or Manifest()).updated(fresh)
    run = Run(config, folder, manifest, config.base)
    steps = steps_of(run)
    states = task_states(run, steps)
    notes += [f"will be removed: {line}" for line in described(leftovers(folder, steps))]
    return Plan(
        output=folder.url,
        files=len(manifest.entries),
        bytes=sum(e.size for e in manifest.entries),
        steps=[_step_plan(s, [t for t in states if t.step == s.name]) for s in steps],
        changes=changes,
        refused=tuple(f"{f.source}: {f.error}" for f in refused),
        notes=tuple(notes),
    )


def remote_inputs(config: Config) -> bool:
    """Whether listing the inputs needs the network."""
    options = config.read_options()
    return any("://" in p for p in (*config.input.paths, options.list_prefix or ""))


def list_entries(config: Config) -> tuple[list[Entry], list[Failure]]:
    """The inputs as they are now, partition names not yet given, and what will not be read."""
    from curate.sources.listing import list_inputs

    found, refused = list_inputs(
        list(config.input.paths), config.input.kind, base=config.base, root=config.input.root,
        options=config.read_options(), limit=config.input.max_files,
    )  # fmt: skip
    return [Entry("", f.source, f.path, f.kind, f.size, f.identity) for f in found], refused


def task_states(run: Run, steps: list[Step]) -> list[TaskState]:
    """Every task of the run, in order, with the reason why it is not done."""
    states: list[TaskState] = []
    undone: set[tuple[str, str]] = set()
    for (step, partition), (fingerprint, material) in fingerprints(steps).items():
        receipt = read_receipt(run.folder, step, partition)
        reason, detail = _why(run.folder, receipt, fingerprint, material)
        if reason:
            undone.add((step, partition))
        states.append(TaskState(step, partition, fingerprint, material, reason, detail))
    return states


def _why(folder: Folder, receipt: Receipt | None, fingerprint: str, material: Mapping[str, Any]) -> tuple[str, str]:
    """Why a task is not done: (reason, what changed); empty strings if it is done."""
    if receipt is None:
        return "never done", ""
    if receipt.fingerprint != fingerprint:
        for key, reason in (
            ("version", "the code of the step changed"),
            ("config", "its config or a model changed"),
            ("partition", "the input file changed"),
        ):
            if receipt.material.get(key) != material.get(key):
                return reason, "; ".join(differences(receipt.material.get(key), material.get(key), ""))
        return "a step before it is redone", ""
    for output in receipt.outputs:
        if not folder.exists(output.path):
            return "an output file is gone", output.path
        if folder.size(output.path) != output.bytes:
            return "an output file has another size than its receipt says", output.path
    return "", ""


def differences(old: Any, new: Any, place: str) -> list[str]:
    """``place: old → new`` for every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}, key=str):
            before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
            if before != after:
                found += differences(before, after, f"{place}.{key}" if place else str(key))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = []
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            if a != b:
                name = str(b.get("name", i)) if isinstance(b, dict) else str(i)
                found += differences(a, b, f"{place}.{name}" if place else name)
        return found
    return [f"{place}: {_short(old)} → {_short(new)}"]


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        value = [v.get("name") for v in value]
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _step_plan(step: Step, states: list[TaskState]) -> StepPlan:
    todo = [s for s in states if s.reason]
    reasons = Counter(s.reason for s in todo)
    detail = list(dict.fromkeys(s.detail for s in todo if s.detail))[:_SHOWN]
    return StepPlan(
        name=step.name,
        what=(step.__doc__ or "").strip().splitlines()[0],
        tasks=len(states),
        todo=len(todo),
        done=len(states) - len(todo),
        reason="; ".join(r for r, _ in reasons.most_common()) or "done",
        detail=tuple(detail),
    )


def _unlisted(config: Config, folder: Folder) -> Plan:
    """The plan of a run whose inputs are behind the network and were never listed."""
    steps = steps_of(Run(config, folder, Manifest(), config.base))
    return Plan(
        output=folder.url,
        files=None,
        bytes=None,
        steps=[StepPlan(s.name, (s.__doc__ or "").strip().splitlines()[0], 0, 0, 0, "never done") for s in steps],
        notes=("inputs are remote: they are listed and frozen when the run starts",),
    )
