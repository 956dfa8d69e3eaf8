"""Configs that commands work with: checked whole, or that of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curate.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.config import Config


def checked(config: Config) -> Config:
    """``config``, if all columns that it names are made."""
    from pipelines.columns import check_columns
    from pipelines.config_errors import ConfigProblems

    issues = check_columns(config)
    if issues:
        raise ConfigProblems(issues)
    return config


def config_of(folder: str, overrides: Sequence[str], allowed: Sequence[str]) -> Config:
    """The config in ``folder``/run.yaml with overrides of the ``allowed`` sections.

    Raises:
        ConfigError: ``folder`` is no run, or an override touches another section.
    """
    from pipelines.config import MAX_RUN_YAML, load_config

    for text in overrides:
        section = text.partition("=")[0].split(".")[0].strip()
        if section not in allowed:
            raise ConfigError(
                f"--set {section}… cannot be changed here, only {' and '.join(allowed)}; use `curate run`"
            )
    if "://" in folder:
        return _remote(folder, overrides)
    file = Path(folder) / "run.yaml"
    if not file.is_file():
        raise ConfigError(f"{folder} holds no run.yaml: it is not the folder of a run")
    return checked(load_config(file, [*overrides, f"run.output={folder}"], max_bytes=MAX_RUN_YAML))


def _remote(folder: str, overrides: Sequence[str]) -> Config:
    import tempfile

    from curate.store.folder import open_folder
    from pipelines.config import MAX_RUN_YAML, load_config

    store = open_folder(folder)
    if not store.exists("run.yaml"):
        raise ConfigError(f"{folder} holds no run.yaml: it is not the folder of a run")
    with tempfile.TemporaryDirectory(prefix="curate-") as scratch:
        file = Path(scratch) / "run.yaml"
        file.write_bytes(store.read("run.yaml"))
        return checked(load_config(file, [*overrides, f"run.output={folder}"], max_bytes=MAX_RUN_YAML))
