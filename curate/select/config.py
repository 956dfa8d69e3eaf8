"""What a config can say under `scores` (columns from columns) and `select` (which documents are taken)."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Nemotron-CC's five levels over 20 buckets: the first bucket of each but the lowest, and their names
NEMOTRON_BUCKETS = 20
NEMOTRON_CUTS = (7, 12, 18, 19)
NEMOTRON_LEVELS = ("low", "medium_low", "medium", "medium_high", "high")

Column = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Entry(BaseModel):
    """Base of all entries.

    Attributes:
        name: the column that it makes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")


class PercentileConfig(_Entry):
    """The percentile of a score (0–1) among a reference sample that does not move.

    Attributes:
        of: the score.
        reference: a frozen reference of an earlier run (`scores/<name>/<column>.parquet` there); null: a sample of
            100,000 of this run's documents, or all where there are fewer.
    """

    of: Column
    reference: str | None = None


class RunsTable(BaseModel):
    """A table of proxy runs that weights are learned from, as Meta-rater does.

    Attributes:
        path: CSV or Parquet, relative to the config's folder; a row is a run: the weight of each score, and its losses.
        losses: columns with losses, lower is better; null: all that begin with `loss`.
        model: what learns the loss from the weights.
        candidates: random weightings whose loss is predicted.
        best: how many of the best are averaged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    path: str
    losses: tuple[str, ...] | None = None
    model: Literal["lightgbm", "ridge"] = "lightgbm"
    candidates: int = Field(default=100_000, ge=100)
    best: int = Field(default=128, ge=1)


class CombineConfig(_Entry):
    """A weighted sum of scores, each on a common scale first.

    Attributes:
        of: score → weight; any numbers, negative for what is bad. With `learn` the numbers are not used.
        learn: learn the weights from proxy runs.
        scale: percentile, or min_max (linear between the smallest and the largest score of the sample), or none.
        missing: null: a document that lacks a score has no sum; renormalise: the others stand in for it.
    """

    of: dict[str, float] = Field(min_length=1)
    learn: RunsTable | None = None
    scale: Literal["percentile", "min_max", "none"] = "percentile"
    missing: Literal["null", "renormalise"] = "null"

    @model_validator(mode="after")
    def _weighs(self) -> CombineConfig:
        if self.learn is None and not any(self.of.values()):
            raise ValueError("all weights are 0: nothing is combined")
        return self


class BucketsConfig(_Entry):
    """Rank buckets of equal tokens, and the best of several raters (Nemotron-CC).

    Makes `<name>` (the largest bucket that any rater gives, 0 is the lowest) and `<name>_level` (its level).

    Attributes:
        of: the scores of the raters.
        n: buckets.
        cuts: first bucket of each level but the lowest.
        levels: names of the levels, lowest first, one more than there are cuts.
        token_column: column that weighs documents when the edges are found; null: every document counts once.
    """

    of: tuple[Column, ...] = Field(min_length=1)
    n: int = Field(default=NEMOTRON_BUCKETS, ge=2, le=1000)
    cuts: tuple[int, ...] = NEMOTRON_CUTS
    levels: tuple[str, ...] = NEMOTRON_LEVELS
    token_column: str | None = None

    @model_validator(mode="after")
    def _ascending(self) -> BucketsConfig:
        if list(self.cuts) != sorted(set(self.cuts)) or len(self.levels) != len(self.cuts) + 1:
            raise ValueError("cuts must ascend, and there must be one level more than there are cuts")
        if self.cuts and not 0 < self.cuts[0] <= self.cuts[-1] < self.n:
            raise ValueError("cuts must lie between 1 and n - 1")
        return self


class ResidualConfig(_Entry):
    """A score without what length, language, source and the like explain of it; it keeps the score's mean.

    Attributes:
        of: the score.
        numbers: nuisance columns with numbers → linear, or log for log(1 + x).
        names: nuisance columns with names; each of the 200 most frequent has an effect of its own.
        within: column whose values have regressions of their own, where 100 documents or more can be learned from.
        ridge: penalty, in documents: what is seen in few documents moves little.
    """

    of: Column
    numbers: dict[str, Literal["linear", "log"]] = {}
    names: tuple[Column, ...] = ()
    within: str | None = None
    ridge: Positive = 1.0

    @model_validator(mode="after")
    def _explains(self) -> ResidualConfig:
        if not self.numbers and not self.names:
            raise ValueError("residual names no nuisance column: give `numbers` or `names`")
        return self


class BinsConfig(_Entry):
    """The bin that a score falls in: 0 below the first edge, k on or above the k-th.

    Attributes:
        of: the score.
        edges: ascending cuts. Or give `quantiles`.
        quantiles: ascending quantiles (0–1) of the sample that become the edges.
    """

    of: Column
    edges: tuple[float, ...] | None = None
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> BinsConfig:
        cuts = self.edges if self.edges is not None else self.quantiles
        if cuts is None or (self.edges is not None and self.quantiles is not None):
            raise ValueError("give `edges` or `quantiles`")
        if not cuts or any(a >= b for a, b in itertools.pairwise(cuts)):
            raise ValueError("cuts must ascend, and there must be one")
        return self


class DomainMergeConfig(_Entry):
    """Scores merged with weights of the document's domain (QuaDMix).

    Attributes:
        domain: column with the domain.
        weights: domain → score → weight.
        default: score → weight for other domains; null: their documents have no merged score.
        scale: as for combine.
        missing: as for combine.
    """

    domain: Column
    weights: dict[str, dict[str, float]] = {}
    default: dict[str, float] | None = None
    scale: Literal["percentile", "min_max", "none"] = "percentile"
    missing: Literal["null", "renormalise"] = "null"

    @model_validator(mode="after")
    def _weighs(self) -> DomainMergeConfig:
        tables = [*self.weights.values(), *([self.default] if self.default is not None else [])]
        if not tables or any(not any(t.values()) for t in tables):
            raise ValueError("give `weights` or `default`, and in each of them a weight that is not 0")
        return self

    def scores(self) -> tuple[str, ...]:
        """All scores that any domain weighs."""
        tables = [*self.weights.values(), *([self.default] if self.default is not None else [])]
        return tuple(sorted({name for table in tables for name in table}))


class DsirConfig(_Entry):
    """How much more like a target than like the corpus a document's words are: DSIR's log importance weight.

    Attributes:
        target: JSONL files with texts of the target, relative to the config's folder.
        field: key of the text in them.
        buckets: hash buckets of words and word pairs.
        min_tokens: documents with fewer words have no weight.
        smoothing: added to each bucket of the target; a small target needs some.
        per_token: divide by the number of words and pairs; else long documents have extreme weights.
    """

    target: tuple[str, ...] = Field(min_length=1)
    field: str = "text"
    buckets: int = Field(default=10_000, ge=2, le=1 << 24)
    min_tokens: int = Field(default=100, ge=0)
    smoothing: Positive = 0.0
    per_token: bool = False


class ZipfitConfig(_Entry):
    """How well a target compresses together with a document (ZIP-FIT), about 0–1.

    Attributes:
        target: JSONL files with texts of the target, relative to the config's folder; time grows with their number.
        field: key of the text in them.
        method: gzip, or lz4 (faster, coarser, needs the package lz4).
        level: of compression (gzip).
        max_texts: texts of the target that are used: those with the smallest hashes.
    """

    target: tuple[str, ...] = Field(min_length=1)
    field: str = "text"
    method: Literal["gzip", "lz4"] = "gzip"
    level: int = Field(default=6, ge=1, le=9)
    max_texts: int = Field(default=100, ge=1)


class _Chosen(_Entry):
    """Base of all selections: they make a column of true and false that `keep` may name.

    Attributes:
        where: sentence over columns, as `keep` is; documents where it is not true are not taken. null: all take part.
        domain: column by which the report tells what was taken; null: the column that `domains` names, if any.
        token_column: column that says how many tokens a document has.
    """

    where: str | None = None
    domain: str | None = None
    token_column: str = "tokens_count"


class ThresholdConfig(_Chosen):
    """Documents whose score is at least a number.

    Attributes:
        by: the score.
        at: the number.
    """

    by: Column
    at: float


class _Budget(_Chosen):
    """Base of what is taken from the top.

    Attributes:
        by: the score; larger is better.
        budget_tokens: tokens to take: from the top until the next document would exceed it.
        budget_documents: documents to take.
        budget_share: share of the tokens to take, 0–1.
    """

    by: Column
    budget_tokens: int | None = Field(default=None, ge=0)
    budget_documents: int | None = Field(default=None, ge=0)
    budget_share: Share | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> _Budget:
        if sum(b is not None for b in (self.budget_tokens, self.budget_documents, self.budget_share)) != 1:
            raise ValueError("give one of `budget_tokens`, `budget_documents`, `budget_share`")
        return self


class TopConfig(_Budget):
    """The best documents until a budget is spent, in all or per domain; ties go to the smaller id.

    Attributes:
        per: column whose values have budgets of their own; null: one budget for all.
        budgets: how the budget is shared among them: proportional, equal, or value → share.
    """

    per: str | None = None
    budgets: Literal["proportional", "equal"] | dict[str, Positive] = "proportional"


class GumbelConfig(TopConfig):
    """A sample without replacement that favours good documents: Gumbel top-k (QuRating, DSIR).

    Attributes:
        temperature: 0 is top-k, large is uniform.
        normalise: scores to mean 0 and deviation 1 first (QuRating); false for DSIR's weights, with temperature 1.
        seed: another seed draws another sample.
    """

    temperature: Positive = 1.0
    normalise: bool = True
    seed: int = Field(default=0, ge=0)


class SamplingFunction(BaseModel):
    """QuaDMix's parameters of a domain.

    Attributes:
        steepness: λ: how fast copies fall towards the cut.
        share: ω: share of the domain's tokens above the cut.
        curvature: η: the power.
        floor: ε: copies that every document has at least.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    steepness: Positive
    share: Share
    curvature: Positive = 1.0
    floor: Positive = 0.0


class QuadmixConfig(_Chosen):
    """QuaDMix's sampling function: how often a document is taken, by its rank within its domain.

    Makes `<name>` (taken at all) and `<name>_copies` (how often), which `recipe.repeat_column` may name.

    Attributes:
        by: the merged score; larger is better.
        per: column with the domain.
        parameters: domain → parameters.
        default: parameters of other domains; null: their documents are not taken.
        shape: paper: at least one copy above the cut; from_zero: falls to the floor at the cut, at most about one copy.
        seed: another seed draws other fractions.
    """

    by: Column
    per: Column
    parameters: dict[str, SamplingFunction] = {}
    default: SamplingFunction | None = None
    shape: Literal["paper", "from_zero"] = "paper"
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _samples(self) -> QuadmixConfig:
        if not self.parameters and self.default is None:
            raise ValueError("give `parameters` or `default`")
        return self


class ClustersConfig(_Budget):
    """As many clusters as the budget covers: the best of each first, then the next best of each.

    Attributes:
        cluster: column with the cluster (a number or a name).
    """

    cluster: Column
