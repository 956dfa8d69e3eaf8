"""A run's config: one YAML file and `--set`, checked whole before any work.

``load_config`` reports every mistake at once, each with its file, line, column and the nearest valid name. What it
returns is frozen, knows where each value came from, and can be written back with references instead of secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, PrivateAttr, SerializeAsAny

from classifiers.choice import RaterChoice
from curate.embed.config import VectorsConfig
from curate.sources.base import ReadOptions
from pipelines.chain_check import check_chain
from pipelines.config_errors import ConfigIssue, ConfigProblems
from pipelines.label_entries import read_entries
from pipelines.overrides import apply_overrides
from pipelines.paths import absolute_inputs, base_folder, check_output
from pipelines.sections import (
    DomainsSection,
    InputSection,
    MixSection,
    OptOutSection,
    RecipeSection,
    ReportSection,
    RunSection,
    Section,
)
from pipelines.validation import Layer, validate_items, validate_section
from pipelines.values import leaves
from pipelines.yaml_reader import MAX_BYTES, Path_, dotted, read_yaml

__all__ = ["MAX_RUN_YAML", "WHOLE_DOCUMENTS", "Config", "DedupSpec", "StageSpec", "check_chain", "load_config"]


#: entries of `dedup` that compare whole documents; they share one order of survivors
WHOLE_DOCUMENTS = ("exact", "minhash")
#: run.yaml holds absolute paths, so it may be longer than the config it was made from
MAX_RUN_YAML = 16 * 1024 * 1024


class StageSpec(Section):
    """One stage of the chain: its name and its own config."""

    name: str
    options: SerializeAsAny[BaseModel]


class DedupSpec(Section):
    """One entry of `dedup`: its name and its own config."""

    name: str
    options: SerializeAsAny[BaseModel]


class ScoreSpec(Section):
    """One entry of `scores`: its name and its own config."""

    name: str
    options: SerializeAsAny[BaseModel]


class SelectSpec(Section):
    """One entry of `select`: its name and its own config."""

    name: str
    options: SerializeAsAny[BaseModel]


#: top-level lists whose items are `- name: {options}`
_LISTS = {"stages": StageSpec, "dedup": DedupSpec, "scores": ScoreSpec, "select": SelectSpec}


class Config(Section):
    """A run, fully resolved."""

    run: RunSection = Field(description="Where the run is kept, who works on it, what it tolerates.")
    input: InputSection = Field(description="What is read, and how.")
    stages: tuple[StageSpec, ...] = Field(
        default=(), description="Stages of the first pass, in order: `- name: {options}`."
    )
    dedup: tuple[DedupSpec, ...] = Field(default=(), description="Ways of finding duplicates, in order.")
    vectors: VectorsConfig | None = Field(
        default=None,
        description="One vector per document, and what makes it; null: only where something needs them, by default.",
    )
    opt_out: OptOutSection | None = Field(
        default=None, description="Lists of ids, addresses and domains that are left out; null: nobody asked."
    )
    labels: tuple[str | RaterChoice, ...] = Field(
        default=(),
        description="Raters, by the name of a card or the path of one; or a map: `card`, and what else it needs.",
    )
    scores: tuple[ScoreSpec, ...] = Field(
        default=(), description="Columns made of other columns or by comparison with a target, in order."
    )
    select: tuple[SelectSpec, ...] = Field(
        default=(), description="Which documents are taken, by budgets and draws: columns that `keep` may name."
    )
    domains: DomainsSection | None = Field(
        default=None, description="Where the column `domain` comes from; null: none."
    )
    keep: str | None = Field(
        default=None,
        description="Expression over columns: documents where it is true stay; null: all that is no "
        "duplicate and that all entries of `select` take.",
    )
    recipe: RecipeSection | None = Field(
        default=None, description="How groups are weighted; null: no recipe, no mixture."
    )
    mix: MixSection = Field(default=MixSection(), description="How mixed shards are written.")
    report: ReportSection | None = Field(default=ReportSection(), description="What the report shows; null: no report.")

    _layer: Layer = PrivateAttr(default_factory=Layer)

    @property
    def path(self) -> Path:
        """The config file."""
        return Path(self._layer.document.file)

    @property
    def base(self) -> Path:
        """Folder that relative paths of assets are resolved against: ``run.base``, else the config file's."""
        return base_folder(self._layer)

    def written(self) -> frozenset[Path_]:
        """Paths of the values that the file or an override gives."""
        return frozenset((*self._layer.document.values, *self._layer.overrides))

    def duplicates(self, *names: str) -> list[BaseModel]:
        """The options of the `dedup` entries with these names, in the config's order."""
        return [spec.options for spec in self.dedup if spec.name in names]

    def read_options(self) -> ReadOptions:
        """How inputs are read: the part of ``input`` that sources take."""
        return self.input.read_options()

    def resolved(self, *, references: bool = True) -> dict[str, Any]:
        """All values as JSON-able data in the layout of the file, defaults included.

        Args:
            references: show values that came from ``${NAME}`` as written, not as read (for run.yaml).
        """
        plain = self.model_dump(mode="json", by_alias=True, exclude=set(_LISTS))
        out: dict[str, Any] = {}
        for name in type(self).model_fields:
            if name in _LISTS:
                out[name] = [{s.name: s.options.model_dump(mode="json", by_alias=True)} for s in getattr(self, name)]
            else:
                out[name] = plain[name]
        out["run"]["base"] = str(self.base)
        if references:
            for path, text in self._layer.references.items():
                _put(out, path, text)
        return out

    def origins(self) -> dict[str, str]:
        """Key → where its value came from: ``default``, ``file:line`` or ``--set``."""
        return {dotted(path): self._layer.origin(path) for path, _ in leaves(self.resolved())}


def load_config(
    path: Path | str,
    overrides: Sequence[str] = (),
    *,
    environment: Mapping[str, str] = os.environ,
    max_bytes: int = MAX_BYTES,
) -> Config:
    """The config at ``path`` with ``overrides`` (``a.b.c=value``) applied; ConfigProblems lists all that is wrong.

    Args:
        environment: what ``${NAME}`` is looked up in.
        max_bytes: larger files are refused; a run.yaml may be longer than the config it was made from.
    """
    document = read_yaml(Path(path), environment=environment, max_bytes=max_bytes)
    layer = Layer(document)
    issues = [*document.issues, *apply_overrides(layer, overrides, known_sections(), environment)]
    told = {(issue.line, issue.column) for issue in document.issues}
    found: list[ConfigIssue] = []
    config = _build(layer, found)
    # a value that could not be read is no second mistake where a model misses it
    issues += [issue for issue in found if issue.line == 0 or (issue.line, issue.column) not in told]
    if issues or config is None:
        raise ConfigProblems(issues)
    chain = check_chain(config)
    if chain:
        raise ConfigProblems(chain)
    return config


def known_sections() -> tuple[str, ...]:
    """Names of the top-level keys."""
    return tuple(Config.model_fields)


def locate(config: Config, path: Path_, code: str, message: str, hint: str = "") -> ConfigIssue:
    """An issue about ``path`` of a loaded config, with its place in the file if it has one."""
    return config._layer.issue(code, message, path, hint=hint, key=len(path) > 1 and path[0] in _LISTS)


_SECTIONS: dict[str, type[BaseModel]] = {
    "run": RunSection,
    "input": InputSection,
    "opt_out": OptOutSection,
    "vectors": VectorsConfig,
    "domains": DomainsSection,
    "recipe": RecipeSection,
    "mix": MixSection,
    "report": ReportSection,
}
_NULLABLE = frozenset(("domains", "keep", "opt_out", "recipe", "report", "vectors"))


def _build(layer: Layer, issues: list[ConfigIssue]) -> Config | None:
    """The config from raw data; mistakes are added to ``issues``."""
    data = layer.document.data
    known = known_sections()
    for key in data:
        if key not in known:
            issues.append(layer.unknown_key((key,), known, sections=_SECTIONS))
    _fill_run(layer)
    absolute_inputs(layer)
    values: dict[str, Any] = {}
    for name, model in _SECTIONS.items():
        if name in data or name in ("run", "input"):
            values[name] = validate_section(layer, (name,), model, issues, nullable=name in _NULLABLE)
    for name, spec in _LISTS.items():
        values[name] = tuple(spec(name=n, options=o) for n, o in validate_items(layer, name, issues))
    _check_dedup(layer, values["dedup"], issues)
    values["labels"] = read_entries(layer, base_folder(layer), issues)
    values["keep"] = _selection(layer, issues)
    if issues:
        return None
    config = Config.model_validate({k: v for k, v in values.items() if k in data or k in ("run", "input")})
    config._layer = layer
    issues.extend(check_output(config, layer))
    if config.opt_out is not None and config.run.keep_dropped_text and not config.opt_out.purge:
        message = "run.keep_dropped_text keeps the text of listed documents that rules dropped before opt_out is read"
        hint = "set opt_out.purge to true (the inputs are read anew without them), or run.keep_dropped_text to false"
        issues.append(layer.issue("opt_out", message, ("opt_out",), hint=hint))
    return config


def _fill_run(layer: Layer) -> None:
    """Name and output of the run, where the config leaves them out."""
    run = layer.document.data.setdefault("run", {})
    if isinstance(run, dict):
        name = run.setdefault("name", _file_name(layer))
        run.setdefault("output", f"out/{name if isinstance(name, str) else 'run'}")


def _file_name(layer: Layer) -> str:
    stem = Path(layer.document.file).stem
    clean = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).lstrip("._-")
    return clean[:100] or "run"


def _optional_string(layer: Layer, name: str, issues: list[ConfigIssue]) -> str | None:
    value = layer.document.data.get(name)
    if isinstance(value, bool):  # `keep: true` is a sentence too
        return "true" if value else "false"
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    issues.append(layer.issue("wrong_type", f"`{name}` must be an expression in quotes, or null", (name,)))
    return None


def _check_dedup(layer: Layer, specs: Sequence[DedupSpec], issues: list[ConfigIssue]) -> None:
    """Whether the ways of finding duplicates go together."""
    from curate.dedup.config import as_plan
    from curate.errors import ConfigError

    for name in sorted({spec.name for spec in specs}):
        if sum(spec.name == name for spec in specs) > 1:
            issues.append(layer.issue("dedup", f"dedup: `{name}` may be named once", ("dedup",)))
            return
    matching = [spec.options for spec in specs if spec.name in WHOLE_DOCUMENTS]
    if not matching and any(spec.name == "audit" for spec in specs):
        message = "dedup: `audit` looks at what `exact` and `minhash` remove, and neither is named"
        issues.append(layer.issue("dedup", message, ("dedup",), hint="add `- exact: {}`, or leave `audit` out"))
    if not matching:
        return
    try:
        as_plan(matching)  # type: ignore[arg-type]
    except ConfigError as error:
        issues.append(layer.issue("dedup", str(error), ("dedup",)))


def _selection(layer: Layer, issues: list[ConfigIssue]) -> str | None:
    """The sentence of ``keep``, if it can be parsed."""
    from curate.errors import ConfigError
    from curate.select.expressions import parse_selection

    value = _optional_string(layer, "keep", issues)
    if value is not None:
        try:
            parse_selection(value)
        except ConfigError as error:
            issues.append(layer.issue("expression", str(error), ("keep",)))
    return value


def _put(data: Any, path: Path_, value: Any) -> None:
    """Set ``value`` at ``path`` where that path exists."""
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    last = path[-1]
    there = last in data if isinstance(data, dict) else isinstance(data, list) and last in range(len(data))
    if there:
        data[last] = value
