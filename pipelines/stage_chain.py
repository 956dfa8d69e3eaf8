"""From the config's list of stages to the stages of each pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import xxhash

from curate.stages import stage_class
from curate.stages.base import Stage

if TYPE_CHECKING:
    from pipelines.config import Config


def build_stages(config: Config, *, first_pass: bool) -> list[Stage]:
    """The stages of one of the two passes.

    The first pass ends with the last stage that changes text (or takes a column of the source away); the stages behind
    it only look, so they are a pass of their own over the written documents and can be redone without reading again.
    """
    stages = [stage_class(spec.name)(spec.options) for spec in config.stages]  # type: ignore[arg-type]
    last = max((i for i, s in enumerate(stages) if s.changes_text or s.removes()), default=-1)
    if not first_pass:
        return stages[last + 1 :]
    return [*_purging(config), *stages[: last + 1]]


def _purging(config: Config) -> list[Stage]:
    """The stage that takes opted-out documents away before their text is read, if the config asks for it."""
    if config.opt_out is None or not config.opt_out.purge:
        return []
    from pipelines.steps.opt_out import OptOutStage, OptOutStageConfig

    lists = config.opt_out.model_dump(include={"ids", "urls", "domains"})
    return [OptOutStage(OptOutStageConfig(**lists))]


def labels_of(columns: list[pa.Field], stages: list[Stage]) -> list[pa.Field]:
    """The columns that are there after ``stages`` have run on ``columns``."""
    now = {f.name: f for f in columns}
    for stage in stages:
        now.update({f.name: f for f in stage.adds()})
        for name in stage.removes():
            now.pop(name, None)
    return list(now.values())


def stage_material(stage: Stage, base: Path) -> dict[str, Any]:
    """What decides a stage's output: name, version, config, and the content of its files."""
    return {
        "name": stage.name,
        "version": stage.version,
        "config": stage.config.model_dump(mode="json"),
        "assets": {name: file_digest(path) for name, path in sorted(stage.assets(base).items())},
    }


def file_digest(path: Path) -> str:
    """xxh3-128 of a file, or of the files of a folder with their names; ``missing`` if it is not there."""
    if path.is_dir():
        parts = [f"{p.relative_to(path)}={file_digest(p)}" for p in sorted(path.rglob("*")) if p.is_file()]
        return xxhash.xxh3_128_hexdigest("\n".join(parts).encode("utf-8", "surrogateescape"))
    if not path.is_file():
        return "missing"
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
