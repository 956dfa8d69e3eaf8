"""The sections of a config. Every default that decides something stands here, once, with what it means."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from curate.sources.base import ReadOptions

KINDS = ("warc", "arc", "wet", "jsonl", "parquet")


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are frozen, messages never quote values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _workers(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("expected `auto` or a whole number of at least 1")


class RunSection(Section):
    """Where a run is kept, who works on it, and what it tolerates."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="Name of the run: letters, digits, `.`, `_`, `-`. Left out: the name of the config file.",
    )
    output: str = Field(
        min_length=1,
        description="Folder of the run, or an fsspec URL; relative to the working directory. Left out: `out/<name>`.",
    )
    base: str | None = Field(
        default=None,
        description="Folder that relative paths of inputs and assets belong to; null: the config file's. "
        "`run.yaml` names it, so that it stands for itself.",
    )
    launcher: Literal["local", "ray"] = Field(
        default="local", description="Who runs the tasks; the output is the same."
    )
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = Field(
        default="auto", description="Worker processes; `auto` takes one per CPU that this process may use."
    )
    seed: int = Field(
        default=0, ge=0, description="Seed of everything that is drawn; the same seed gives the same bytes."
    )
    worker_memory_mb: int = Field(
        default=4096,
        ge=256,
        description="Address space a worker may use, in MB; a worker that needs more dies and is retried.",
    )
    cpu_seconds_per_document: float = Field(
        default=10.0,
        gt=0,
        description="CPU time one document may cost in a guarded call, in seconds; more fails the document.",
    )
    document_memory_mb: int = Field(
        default=2048, ge=64, description="Memory one guarded call may need beyond what its process holds, in MB."
    )
    task_attempts: int = Field(
        default=2,
        ge=1,
        le=10,
        description="How often a shard is tried before the document that kills its worker is searched.",
    )
    max_failed_ratio: float | None = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Share of records that may fail (0–1) before the run ends with exit 3; null: no limit.",
    )
    max_failed_files: int | None = Field(
        default=0,
        ge=0,
        description="Input files that may be unreadable before the run ends with exit 3; null: no limit.",
    )
    max_dropped_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of documents that rules may drop (0–1) before the run ends with exit 3; null: no limit.",
    )
    keep_dropped_text: bool = Field(
        default=False,
        description="Write the text of dropped documents to `dropped/` too, for reading; it costs their size.",
    )


_COUNTS = tuple(name for name, info in ReadOptions.model_fields.items() if info.annotation is int)


class InputSection(ReadOptions):
    """What is read, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["warc", "arc", "wet", "jsonl", "parquet"] = Field(description="Kind of all input files.")
    paths: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1,
        description="Files, folders, globs (`**` too), URLs (s3://…, https://…), or path lists (`*.paths`, "
        "`*.paths.gz`: one path per line). Relative to the config file; from `--set`, to the working directory.",
    )
    root: str | None = Field(
        default=None,
        description="Folder that `source` is relative to, so ids survive a move; null: the common folder of all.",
    )
    max_files: int | None = Field(
        default=None, ge=1, description="Read only the first files of the sorted list, e.g. for a trial; null: all."
    )

    @field_validator(*_COUNTS)
    @classmethod
    def _positive(cls, value: int) -> int:
        if value < 1:
            raise ValueError("expected at least 1")
        return value

    def read_options(self) -> ReadOptions:
        """The part of this section that sources take."""
        return ReadOptions(**{name: getattr(self, name) for name in ReadOptions.model_fields})


class OptOutSection(Section):
    """Documents that are left out because somebody asked for it, whatever `keep` says."""

    ids: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="List files, one id per line: ours, or the input's own. Like all lists here: relative to the "
        "config's folder, UTF-8, may be gzipped; blank lines and lines that begin with `#` say nothing.",
    )
    urls: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="List files, one address per line; compared as `dedup.exact.url` does (RFC 3986 spellings are one, "
        "http is https, no fragments).",
    )
    domains: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="List files, one domain per line; names the host and all hosts below it, whatever the case, "
        "in letters or in the form of DNS (`xn--…`).",
    )
    purge: bool = Field(
        default=False,
        description="Read the inputs anew without the listed documents, so that no file of the run holds their text. "
        "False: they leave the corpus and all that is made of it at once, but `documents/` keeps their text.",
    )

    @model_validator(mode="after")
    def _names_a_list(self) -> OptOutSection:
        if not (self.ids or self.urls or self.domains):
            raise ValueError("opt_out names no list: give `ids`, `urls` or `domains`, or leave it out")
        return self


class DomainsSection(Section):
    """Where the column `domain` comes from."""

    from_: str = Field(alias="from", description="Label column whose values become the column `domain`.")

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class QualityBands(Section):
    """How a score becomes the column `quality_band` (0 is the lowest band)."""

    column: str = Field(default="lite_overall_score", description="Score that is cut into bands.")
    edges: tuple[float, ...] | None = Field(
        default=None,
        description="Ascending cuts: a score on or above an edge is in the band above it. Or give `quantiles`.",
    )
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None = Field(
        default=None, description="Ascending quantiles (0–1) of the corpus that become the edges. Neither: thirds."
    )

    @model_validator(mode="after")
    def _one_way(self) -> QualityBands:
        if self.edges is not None and self.quantiles is not None:
            raise ValueError("give `edges` or `quantiles`, not both")
        cuts = self.edges if self.edges is not None else self.quantiles
        if cuts is not None and any(a >= b for a, b in itertools.pairwise(cuts)):
            raise ValueError("cuts must ascend")
        return self


class RecipeSection(Section):
    """How the groups of the corpus are weighted, by a rule that needs no training runs."""

    groups: tuple[str, ...] = Field(
        default=("domain", "quality_band"),
        min_length=1,
        description="Columns whose values make a group: `domain`, `quality_band`, or any label column.",
    )
    budget_tokens: int | None = Field(
        default=None, ge=1, description="Tokens of the mixture; null: as many as the corpus holds."
    )
    rule: Literal["natural", "stratified", "temperature", "unimax"] = Field(
        default="unimax",
        description="natural: by size; stratified: the same for each group; temperature: by size^(1/temperature); "
        "unimax: as even as `max_epochs` allows (Chung et al. 2023).",
    )
    temperature: float = Field(
        default=3.33,
        ge=1,
        description="For the rule `temperature`; 1 is natural, large is even. 3.33 is mT5's alpha of 0.3.",
    )
    max_epochs: float = Field(
        default=4.0,
        gt=0,
        description="How often a document may be repeated; up to 4 was nearly as good as new text (Muennighoff 2023).",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the sampler.")
    token_column: str = Field(default="tokens_count", description="Column that says how many tokens a document has.")
    repeat_column: str | None = Field(
        default=None,
        description="Column that says how often a document stands in what is weighed and mixed, e.g. "
        "`rehydrate_weight`; tokens and epochs count its repeats, null counts once. null: every document once.",
    )
    quality_bands: QualityBands | None = Field(
        default=None,
        description="How `quality_band` is cut from a score; null: thirds of lite_overall_score if `groups` names it.",
    )

    @model_validator(mode="after")
    def _bands_where_needed(self) -> RecipeSection:
        if self.quality_bands is None and "quality_band" in self.groups:
            object.__setattr__(self, "quality_bands", QualityBands())  # the fields of a frozen model, before it is used
        return self


class MixSection(Section):
    """How the mixed shards are written."""

    shard_tokens: int = Field(default=100_000_000, ge=1, description="Tokens per mixed shard, about.")
    columns: tuple[str, ...] | None = Field(
        default=("id", "url", "text"),
        description="Columns that mixed shards carry beside `group`, `epoch` and the tokens; null: all of them.",
    )


class ReportSection(Section):
    """What `report/index.html` shows."""

    title: str | None = Field(default=None, description="Title of the page; null: the name of the run.")
    examples: int = Field(
        default=5, ge=0, description="Documents quoted (shortened) per group and reason; 0: the page holds no text."
    )
    bins: int = Field(default=40, ge=2, le=400, description="Bars of a histogram.")
