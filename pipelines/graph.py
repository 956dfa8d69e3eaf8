"""The step graph of a config, in an order in which every step stands behind those it needs."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from curate.store.folder import Folder, LocalFolder, open_folder
from curate.store.manifest import Manifest
from pipelines.launchers.base import Site
from pipelines.steps.base import Run, Step

if TYPE_CHECKING:
    from pipelines.config import Config


#: what adds the steps of which entries of `dedup`, in the order in which they run: a module with
#: ``added_steps(run, labelled)``, the new steps in order; those that write label columns are joined from then on
_DUPLICATES = (
    ("pipelines.steps.dedup", ("exact", "minhash")),
    ("pipelines.steps.lines", ("lines", "paragraphs")),
    ("pipelines.steps.substring", ("substring",)),
    ("pipelines.steps.dedup_audit", ("exact", "minhash")),
    ("pipelines.steps.semantic", ("semantic",)),
    ("pipelines.steps.rehydrate", ("rehydrate",)),
    ("pipelines.steps.dedup_index", ("index",)),
)


def steps_of(run: Run) -> list[Step]:
    """All steps that the config asks for."""
    from pipelines.steps import opt_out
    from pipelines.steps.documents import Documents
    from pipelines.steps.labels import Labels
    from pipelines.steps.select import Select
    from pipelines.steps.sources import Sources

    config = run.config
    steps: list[Step] = [Documents(run), Sources(run)]
    labelled: list[Step] = [steps[0]]
    labels = Labels(run)
    if labels.stages:
        labelled.append(labels)
    steps += labelled[1:]
    left_out = opt_out.added_steps(run)
    steps += left_out
    for module, kinds in _DUPLICATES:
        if config.duplicates(*kinds):
            added = import_module(module).added_steps(run, tuple(labelled))
            steps += added
            labelled += [step for step in added if step.columns().names]
    if config.vectors is not None and not config.duplicates("semantic"):
        from pipelines.steps import vectors

        steps += vectors.added_steps(run, tuple(labelled))
    if config.labels:
        from pipelines.steps.rate import Rate

        rate = Rate(run, labelled)
        labelled.append(rate)
        steps.append(rate)
    for key, module in (("scores", "pipelines.steps.scores"), ("select", "pipelines.steps.selecting")):
        if getattr(config, key):
            added = import_module(module).added_steps(run, tuple(labelled))
            steps += added
            labelled += [step for step in added if step.columns().names]
    if config.recipe is not None and (cut := config.recipe.quality_bands) is not None and cut.edges is None:
        from pipelines.steps.bands import Bands

        steps.append(Bands(run, [*labelled, *left_out[:1]]))
    select = Select(run, [*labelled, *left_out[:1]])
    steps.append(select)
    if config.recipe is not None:
        from pipelines.steps.mixture import Groups, Mix, Recipe

        steps += [Groups(run, select), Recipe(run), Mix(run)]
    from pipelines.steps.publish import Card, Report

    if config.report is not None:
        steps.append(Report(run, select, tuple(s.name for s in steps)))
    steps.append(Card(run, select))
    _wait_at_gates(steps)
    return steps


def _wait_at_gates(steps: list[Step]) -> None:
    """What stands behind a gate begins when the gate is open; its output does not depend on it."""
    gates: tuple[str, ...] = ()
    for step in steps:
        step.behind = gates
        if step.gate:
            gates = (*gates, step.name)


def load_run(site: Site) -> Run:
    """The run whose folder already holds its config and its manifest, as a worker sees it."""

    folder = open_folder(site.folder)
    manifest = Manifest.read(folder)
    if manifest is None:
        raise FileNotFoundError(f"{site.folder} holds no manifest: it is not a run")
    config = stored_config(folder)
    return Run(config, folder, manifest, config.base)


def stored_config(folder: Folder) -> Config:
    """The config that a run keeps in its folder, wherever that is."""
    from pipelines.config import MAX_RUN_YAML, load_config

    if isinstance(folder, LocalFolder):
        return load_config(folder.path / "run.yaml", max_bytes=MAX_RUN_YAML)
    with tempfile.TemporaryDirectory(prefix="curate-config-") as scratch:
        local = Path(scratch) / "run.yaml"
        local.write_bytes(folder.read("run.yaml"))
        return load_config(local, max_bytes=MAX_RUN_YAML)
