"""Whether the stages of a config fit together: each finds the columns it needs, none overwrites another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.documents import HTML, IDENTITY, TEXT
from pipelines.config_errors import ConfigIssue, nearest

if TYPE_CHECKING:
    from curate.stages.base import Stage
    from pipelines.config import Config


def input_columns(config: Config) -> list[str]:
    """Names of the columns that the config's input gives."""
    from curate.sources import source_class

    names = source_class(config.input.kind).schema(config.read_options()).names
    return list(dict.fromkeys([*IDENTITY.names, *names]))


def make_stages(config: Config) -> list[Stage]:
    """The stages of the config, built and not opened."""
    return [made for _, made in _made(config, [])]


def _made(config: Config, issues: list[ConfigIssue]) -> list[tuple[int, Stage]]:
    """Place and stage; a stage that refuses its options becomes an issue."""
    from curate.errors import ConfigError
    from curate.stages import stage_class
    from pipelines.config import locate

    out: list[tuple[int, Stage]] = []
    for i, spec in enumerate(config.stages):
        try:
            out.append((i, stage_class(spec.name)(spec.options)))  # type: ignore[arg-type]
        except (ConfigError, ValueError) as error:
            message = str(error)
            issues.append(locate(config, ("stages", i, spec.name), "stage", message))
    return out


def check_chain(config: Config) -> list[ConfigIssue]:
    """What is wrong with the order of stages; empty if each finds what it needs."""
    from pipelines.config import locate

    issues: list[ConfigIssue] = []
    columns = input_columns(config)
    taken: dict[str, str] = {}
    for i, stage in _made(config, issues):
        at = ("stages", i, stage.name)
        missing = [needed for needed in stage.requires if needed not in columns]
        if missing:
            message = f"`{stage.name}` needs {_listed(missing)}, which nothing before it gives"
            hint = _who_adds(missing[0], stage.name, config, taken)
            issues.append(locate(config, at, "missing_column", message, hint))
        removed = set(stage.removes())
        taken.update(dict.fromkeys(removed & set(columns), stage.name))
        for added in stage.adds().names:
            if added in columns and added not in removed and added != TEXT.name:
                message = f"`{stage.name}` adds the column `{added}`, which is there already"
                issues.append(locate(config, at, "column_twice", message, "remove one of the two stages"))
        columns = [c for c in columns if c not in removed]
        columns += [c for c in stage.adds().names if c not in columns]
    if TEXT.name not in columns and not issues:
        message = f"after all stages there is no column `text`: {config.input.kind} gives `html`"
        issues.append(locate(config, ("stages",), "missing_column", message, "add extract_html to the stages"))
    return issues


def columns_after_stages(config: Config) -> list[str]:
    """Names of the columns after the last stage, in order."""
    columns = input_columns(config)
    for stage in make_stages(config):
        removed = set(stage.removes())
        columns = [c for c in columns if c not in removed]
        columns += [c for c in stage.adds().names if c not in columns]
    return columns


def _listed(names: list[str]) -> str:
    """The column `a`, or the columns `a`, `b` and 3 more."""
    if len(names) == 1:
        return f"the column `{names[0]}`"
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return f"the columns {shown}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _who_adds(column: str, before: str, config: Config, taken: dict[str, str]) -> str:
    """Which stage would bring ``column``, or which one took it away."""
    from curate.stages import STAGES, stage_class
    from pipelines.catalogue import example

    if column in taken:
        return f"an earlier {taken[column]} takes `{column}` away"
    if column == HTML.name:
        return f"{config.input.kind} input has no pages; leave {before} out"
    for name in STAGES:
        try:
            stage = example(stage_class(name))
        except ImportError:  # a stage that is not installed
            continue
        adds = stage.adds().names if stage is not None else []
        if column in adds:
            return f"add {name} before {before}"
    known = sorted(set(input_columns(config)))
    guess = nearest(column, known)
    return f"did you mean `{guess}`?" if guess else ""
