"""What a user says about a student: which table, which labels, which features, where it goes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from classifiers.students.features import Hashed, Spec, Statistics

__all__ = ["DataSpec", "LabelSpec", "PairSpec", "TrainConfig"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DataSpec(_Part):
    """The table of rated texts: Parquet, or JSON lines (.jsonl, .jsonl.gz, .jsonl.zst)."""

    path: str = Field(min_length=1, description="File, relative to the config.")
    text: str = Field(default="text", description="Column of the texts.")
    id: str | None = Field(default=None, description="Column of ids; null: the place in the table.")
    group: str | None = Field(
        default=None, description="Column of what belongs together (site, author); a group is never on both sides."
    )
    fold: str | None = Field(default=None, description="Column of ready folds (integers); null: by the group's hash.")


class PairSpec(_Part):
    """Judgements of which of two texts is better."""

    path: str = Field(min_length=1, description="File, relative to the config.")
    a: str = Field(default="a", description="Column of the first text's id; of the text itself where `data` is null.")
    b: str = Field(default="b", description="The same of the second.")
    winner: str = Field(default="winner", description="Column: A, B, Tie, or the share from 0 to 1 that the first won.")
    where: dict[str, str] = Field(default_factory=dict, description="Only rows whose columns hold these values.")


class LabelSpec(_Part):
    """One label that is learned."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Column name behind the rater's own.")
    kind: Literal["regression", "ordinal", "classification", "pairwise"] = Field(description="Head; see heads.py.")
    column: str | None = Field(default=None, description="Column of the table; null: as the name.")
    range: tuple[float, float] | None = Field(default=None, description="Of a score; null: what occurs in the table.")
    values: tuple[float | str, ...] = Field(default=(), description="Levels or classes, in order; empty: what occurs.")
    calibrated: bool = Field(default=False, description="regression: match the distribution of the ratings.")
    meaning: str = Field(default="", description="One sentence for the card: what it says, which end is better.")
    pairs: PairSpec | None = Field(default=None, description="pairwise: the judgements.")

    @model_validator(mode="after")
    def _whole(self) -> LabelSpec:
        if (self.kind == "pairwise") != (self.pairs is not None):
            raise ValueError("`pairs` belongs to the kind pairwise, and that needs it")
        if self.values and self.kind not in ("ordinal", "classification"):
            raise ValueError("`values` belongs to the kinds ordinal and classification")
        if self.calibrated and self.kind != "regression":
            raise ValueError("`calibrated` belongs to the kind regression")
        if self.range is not None and (self.kind != "regression" or not self.range[0] < self.range[1]):
            raise ValueError("`range` is [smallest, largest] and belongs to the kind regression")
        return self


class TrainConfig(_Part):
    """A student, from its table to its files."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Of the rater: columns start with it.")
    title: str = Field(default="", description="One sentence for the card: what it rates.")
    output: str = Field(min_length=1, description="Folder for card, weights, predictions and model card.")
    data: DataSpec | None = Field(default=None, description="Table of texts; null: the texts stand in the pairs.")
    labels: tuple[LabelSpec, ...] = Field(min_length=1, description="What is learned.")
    features: tuple[Spec, ...] = Field(default=(Hashed(), Statistics()), min_length=1, description="What is looked at.")
    head: int = Field(default=4000, ge=1, description="Bytes of a text's start that hashed and statistics read.")
    tail: int = Field(default=1200, ge=1, description="Bytes of its end.")
    penalties: tuple[float, ...] = Field(
        default=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3), min_length=1, description="Tried; each label takes its best one."
    )
    folds: int = Field(default=5, ge=2, le=20, description="Parts of the cross-validation, where `fold` is null.")
    inner_folds: int = Field(default=3, ge=2, le=20, description="Parts in which penalties are compared.")
    min_rows: int = Field(default=50, ge=10, description="Fewer rated texts than this are refused.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of random features and of folds.")
    bits: Literal[8, 32] = Field(default=8, description="Of each weight of a hashed bucket in the file.")
    languages: tuple[str, ...] = Field(default=(), description="Codes it is valid for; empty: all.")
    min_words: int = Field(default=1, ge=0, description="Shorter texts get the status too_short.")
    licence: str = Field(default="as the ratings that it learned from allow", description="Of the weights.")
    resamples: int = Field(default=500, ge=0, le=100_000, description="Of the bootstrap behind each figure's interval.")

    @model_validator(mode="after")
    def _whole(self) -> TrainConfig:
        names = [label.name for label in self.labels]
        if len(set(names)) < len(names):
            raise ValueError("two labels have the same name")
        if len({f.kind for f in self.features}) < len(self.features):
            raise ValueError("each kind of features may occur once")
        if self.data is None and (len(self.labels) > 1 or self.labels[0].kind != "pairwise"):
            raise ValueError("without `data` there is one label, of the kind pairwise, whose pairs hold the texts")
        if any(not 0 < p < float("inf") for p in self.penalties):
            raise ValueError("penalties must be above 0")
        return self
