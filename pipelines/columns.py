"""The columns of documents, from the code that makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curate.documents import CONTENT_DIGEST, IDENTITY, TEXT
from pipelines.catalogue import described, example
from pipelines.config import locate
from pipelines.config_errors import ConfigIssue, nearest
from pipelines.values import Path_

if TYPE_CHECKING:
    from pipelines.config import Config

#: what would make a column, where that is no stage
_MAKERS = {
    "domain": "`domains: {from: …}` makes it",
    CONTENT_DIGEST.name: "name the field that holds the fetched page with input.content_column, or read WARC or ARC",
}
#: name, type, unit, range, meaning, what makes it
Row = tuple[str, str, str, str, str, str]


def config_columns(config: Config) -> list[Row]:
    """Columns of ``corpus/`` of a run of ``config``, in order."""
    makers = _makers(config)
    return [_row(field, makers.get(field.name, "")) for field in corpus_fields(config, makers)]


def corpus_fields(config: Config, makers: dict[str, str] | None = None) -> list[Any]:
    """Arrow fields of ``corpus/``, as the steps of the run declare them; nothing is read or written.

    Args:
        makers: gets, for columns that no stage makes, the name of the step that does.
    """
    from curate.store.folder import open_folder
    from curate.store.manifest import Manifest
    from pipelines.graph import steps_of
    from pipelines.steps.base import Run

    steps = steps_of(Run(config, open_folder(config.run.output), Manifest(), config.base))
    if makers is not None:
        for step in steps:
            for field in step.columns():
                makers.setdefault(field.name, step.name)
    return list(next(step for step in steps if step.name == "select").columns())


def check_columns(config: Config) -> list[ConfigIssue]:
    """What ``keep``, ``domains``, ``recipe`` and ``mix`` name although no stage, rater or step makes it."""
    from curate.select.expressions import parse_selection

    known = [field.name for field in corpus_fields(config)]
    named: list[tuple[Path_, str]] = []
    if config.keep is not None:
        named += [(("keep",), name) for name in sorted(parse_selection(config.keep).columns)]
    if config.domains is not None:
        named.append((("domains", "from"), config.domains.from_))
    for i, spec in enumerate(config.dedup):
        if getattr(spec.options, "content", False):
            named.append((("dedup", i, spec.name), CONTENT_DIGEST.name))
    if config.recipe is not None:
        named += [(("recipe", "groups", i), name) for i, name in enumerate(config.recipe.groups)]
        if config.recipe.repeat_column is not None:
            named.append((("recipe", "repeat_column"), config.recipe.repeat_column))
        if config.recipe.quality_bands is not None:
            named.append((("recipe", "quality_bands", "column"), config.recipe.quality_bands.column))
        # the token column may be missing: tokens are then estimated from bytes, and the recipe says so
    named += [(("mix", "columns", i), name) for i, name in enumerate(config.mix.columns or ())
              if config.recipe is not None and ("mix", "columns", i) in config.written()]  # fmt: skip
    return [_unknown(config, path, name, known) for path, name in named if name not in known]


def _unknown(config: Config, path: Path_, name: str, known: list[str]) -> ConfigIssue:
    guess = nearest(name, known)
    advice = _MAKERS.get(name, "`curate schema CONFIG` lists the columns")
    hint = f"did you mean `{guess}`?" if guess else advice
    return locate(config, path, "unknown_column", f"there is no column `{name}`", hint)


def all_columns() -> list[Row]:
    """Identity, text, and every column of every source and stage with its default config."""
    from curate.sources import SOURCES, source_class
    from curate.sources.base import ReadOptions
    from curate.stages import STAGES, stage_class

    rows: dict[str, Row] = {}
    for kind in SOURCES:
        for field in source_class(kind).schema(ReadOptions()):
            if field.name not in IDENTITY.names:
                rows.setdefault(field.name, _row(field, f"input ({kind})"))
    for name in STAGES:
        try:
            stage = example(stage_class(name))
        except ImportError:
            continue
        for field in stage.adds() if stage is not None else ():
            rows.setdefault(field.name, _row(field, name))
    first = {field.name: _row(field, "input") for field in [*IDENTITY, TEXT]}
    return [*first.values(), *(row for name, row in rows.items() if name not in first)]


def _makers(config: Config) -> dict[str, str]:
    """Column → stage, dedup or input that makes it."""
    from curate.stages import stage_class

    makers = dict.fromkeys(IDENTITY.names, "input")
    for spec in config.stages:
        for field in stage_class(spec.name)(spec.options).adds():  # type: ignore[arg-type]
            makers[field.name] = spec.name
    return makers


def _row(field: Any, maker: str) -> Row:
    name, type_, unit, range_, doc = described(field)
    return name, type_, unit, range_, doc, maker
