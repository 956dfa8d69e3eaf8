"""Paths of a config: what relative ones are relative to, and that a run does not read its own output."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config_errors import ConfigIssue
from pipelines.validation import Layer

if TYPE_CHECKING:
    from pipelines.config import Config


def absolute_inputs(layer: Layer) -> None:
    """Make input paths absolute: relative to the config file, or to the working directory if they come from --set."""
    section = layer.document.data.get("input")
    if not isinstance(section, dict):
        return
    paths = section.get("paths")
    if isinstance(paths, str):
        paths = section["paths"] = [paths]
    if isinstance(paths, list):
        section["paths"] = [_absolute(layer, ("input", "paths", i), item) for i, item in enumerate(paths)]
    if isinstance(section.get("root"), str):
        section["root"] = _absolute(layer, ("input", "root"), section["root"])


def _absolute(layer: Layer, path: tuple[str | int, ...], value: Any) -> Any:
    if not isinstance(value, str) or not value or is_url(value):
        return value
    base = Path.cwd() if layer.override(path) is not None else base_folder(layer)
    list_mark = "@" if value.startswith("@") else ""  # `@list.txt` is a path list whatever its name
    value = value.removeprefix("@")
    reference = layer.document.references.get(path)
    if reference is not None and not Path(value).expanduser().is_absolute():
        # run.yaml lies elsewhere: what it says must not depend on where it lies
        layer.document.references[path] = f"{list_mark}{base}/{reference.removeprefix('@')}"
    return list_mark + os.path.normpath(base / Path(value).expanduser())


def base_folder(layer: Layer) -> Path:
    """Folder that relative paths of the config belong to."""
    here = Path(layer.document.file).resolve().parent
    run = layer.document.data.get("run")
    named = run.get("base") if isinstance(run, dict) else None
    return (here / Path(named).expanduser()).resolve() if isinstance(named, str) and named else here


def is_url(path: str) -> bool:
    """Whether fsspec, not the local file system, opens ``path``."""
    return "://" in path or "::" in path


def check_output(config: Config, layer: Layer) -> list[ConfigIssue]:
    """An issue if any input path could name a file in the run's own folder."""
    out = _parts(config.run.output)
    for i, pattern in enumerate(config.input.paths):
        if _may_match_below(_parts(pattern), out):
            message = f"the output `{config.run.output}` lies where `input.paths[{i}]` reads"
            if ("run", "output") in layer.references:
                message = f"the output lies where `input.paths[{i}]` reads"
            hint = "choose a folder beside the input: a run must not read its own output"
            return [layer.issue("output_in_input", message, ("run", "output"), hint=hint)]
    return []


def _parts(path: str) -> tuple[str, ...]:
    """Components of a path, links of its fixed part resolved; URLs keep their scheme and host."""
    if is_url(path):
        scheme, _, rest = path.partition("://")
        return (f"{scheme}://", *[p for p in rest.split("/") if p])
    fixed = Path(path).expanduser()
    tail: list[str] = []
    while any(c in str(fixed) for c in "*?[") and fixed != fixed.parent:
        tail.insert(0, fixed.name)
        fixed = fixed.parent
    return (*Path(os.path.realpath(fixed)).parts, *tail)


def _may_match_below(pattern: tuple[str, ...], folder: tuple[str, ...]) -> bool:
    """Whether ``pattern`` (a file, folder or glob) can name something in ``folder``."""
    for at, part in enumerate(pattern):
        if "**" in part:
            return True
        if at >= len(folder):
            return True
        if not fnmatch.fnmatchcase(folder[at], part):
            return False
    last = pattern[-1] if pattern else ""
    # a glob that ends above the folder names files beside it, or the folder itself as one entry
    return not any(c in last for c in "*?[") or len(pattern) == len(folder)
