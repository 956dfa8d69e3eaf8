"""Rules over label columns: presets of known corpora, thresholds per language, and rules of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from curate.documents import Batch, column
from curate.stages.base import Stage, StageConfig
from curate.stages.rules.evaluate import Groups, Verdict, evaluate
from curate.stages.rules.languages import fineweb2_languages, fineweb2_thresholds, language_key
from curate.stages.rules.presets import PRESETS, Rule

Preset = Literal["gopher_quality", "gopher_repetition", "c4", "fineweb"]
Bounds = dict[str, float | None]

_OWN = "own"


class OwnRule(StageConfig):
    """One rule over any label column that exists when this stage runs."""

    column: str = Field(description="label column; flags count as 0 and 1, null never fails")
    min: float | None = Field(None, description="least value that passes")
    max: float | None = Field(None, description="greatest value that passes")
    reason: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="reason code for documents that fail")

    @model_validator(mode="after")
    def _has_a_bound(self) -> OwnRule:
        if self.min is None and self.max is None:
            raise ValueError(f"the rule {self.reason!r} has neither min nor max: give at least one")
        return self


class QualityRulesConfig(StageConfig):
    """Which presets, with which bounds; ``null`` turns a bound off, 0 is a value."""

    presets: tuple[Preset, ...] = Field(
        ("gopher_repetition", "gopher_quality", "c4", "fineweb"),
        description="presets, in the order in which the first failing rule is looked for",
    )
    thresholds: dict[Preset, Bounds] = Field(
        default_factory=dict, description="preset → bound → value instead of the preset's own"
    )
    languages: dict[str, dict[Preset, Bounds]] = Field(
        default_factory=dict,
        description="language → preset → bound → value, for documents of that language_code; on top of thresholds",
    )
    fineweb2: bool = Field(
        False, description="take FineWeb2's published bounds for the languages that have them, below `languages`"
    )
    rules: tuple[OwnRule, ...] = Field((), description="rules of your own, evaluated after the presets")
    line_punct_exclude_zero: bool = Field(
        False, description="a page where no line at all ends in punctuation passes that rule of fineweb"
    )
    statistics: str = Field("text_stats", description="prefix of the columns that the presets compare")
    prefix: str = Field(
        "quality_rules",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="what column names start with, if the stage runs twice",
    )
    action: Literal["drop", "label"] = Field("drop", description="drop documents that fail, or only label them")

    @field_validator("presets")
    @classmethod
    def _once(cls, presets: tuple[Preset, ...]) -> tuple[Preset, ...]:
        if len(set(presets)) < len(presets):
            raise ValueError(f"presets lists one twice: {', '.join(presets)}")
        return presets

    @model_validator(mode="after")
    def _known_bounds(self) -> QualityRulesConfig:
        tables = [("thresholds", self.thresholds), *((f"languages.{code}", t) for code, t in self.languages.items())]
        for where, table in tables:
            for preset, bounds in table.items():
                known = [rule.name for rule in PRESETS[preset]]
                for name in bounds:
                    if name not in known:
                        raise ValueError(
                            f"{where}.{preset} has no bound {name!r}; it has {', '.join(dict.fromkeys(known))}"
                        )
        return self


class QualityRules(Stage):
    """Evaluates every preset on every document; drops by the first rule that fails, or only labels.

    Values come from the columns of ``text_stats`` (and any other stage, for rules of your own), so that a changed
    threshold needs no text. The preset ``c4`` holds C4's rules for pages; those for lines are ``line_cleaning``, which
    must run before ``text_stats`` for C4's verdict. FineWeb itself judges Gopher's values on the text before, and C4's
    and its own on the text after cleaning: two pairs of ``text_stats`` and ``quality_rules`` around ``line_cleaning``,
    the first with a ``prefix`` of its own, which the rules name in ``statistics``.
    """

    name = "quality_rules"
    follows = "the filters of datatrove 0.10.1 (Gopher, C4, FineWeb), with truthful reason codes; FineWeb2 per language"
    reasons: ClassVar[Mapping[str, str]] = {rule.reason: rule.doc for rules in PRESETS.values() for rule in rules}
    Config = QualityRulesConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        settings: Any = self.config
        self._rules: dict[str, tuple[Rule, ...]] = {name: self._preset(name) for name in settings.presets}
        if settings.rules:
            self._rules[_OWN] = tuple(
                Rule("", r.column, r.reason, "a rule of the config", low=r.min, high=r.max) for r in settings.rules
            )
        self._by_language = bool(settings.languages or settings.fineweb2)
        columns = dict.fromkeys(rule.column for rules in self._rules.values() for rule in rules)
        extra = ("language_code",) if self._by_language else ()
        # what is needed depends on the config: a finished word list or nothing of c4, for one
        self.requires = (*columns, *extra)  # type: ignore[misc]
        self.reasons = {rule.reason: rule.doc for rules in self._rules.values() for rule in rules}  # type: ignore[misc]

    def _preset(self, name: str) -> tuple[Rule, ...]:
        settings: Any = self.config
        spare = {"min_line_punct_ratio"} if settings.line_punct_exclude_zero else set()
        return tuple(
            Rule(
                r.name,
                r.column.replace("text_stats", settings.statistics, 1),
                r.reason,
                r.doc,
                r.low,
                r.high,
                r.datatrove,
                spare_zero=r.name in spare,
            )
            for r in PRESETS[name]
        )

    def adds(self) -> pa.Schema:
        """One flag per preset, and the first reason."""
        settings: Any = self.config
        flags = [
            column(f"{settings.prefix}_{name}", pa.bool_(),
                   "passes all of the config's own rules" if name == _OWN else f"passes all rules of the preset {name}",
                   nullable=False)
            for name in self._rules
        ]  # fmt: skip
        reason = column(
            f"{settings.prefix}_reason", pa.string(), "code of the first rule that fails; null if none does"
        )
        return pa.schema([*flags, reason])

    def process(self, batch: Batch) -> Batch:
        """The batch with its flags; without the documents that fail, unless the config says to label only."""
        n = len(batch)
        member, codes = self._languages(batch)
        reason = np.full(n, None, object)
        value, bound = np.full(n, np.nan), np.full(n, np.nan)
        columns: dict[pa.Field | str, pa.Array] = {}
        fields = list(self.adds())
        for field, (name, rules) in zip(fields, self._rules.items(), strict=False):
            groups = Groups(member, [self._bounds(name, code) for code in codes]) if name != _OWN else None
            verdict = evaluate(rules, batch.column, n, groups)
            columns[field] = pa.array(verdict.first < 0)
            self._first(verdict, rules, reason, value, bound)
        columns[fields[-1]] = pa.array(reason, pa.string())
        labelled = batch.with_columns(columns)
        settings: Any = self.config
        if settings.action == "label":
            return labelled
        failed = pc.is_valid(columns[fields[-1]])
        return labelled.drop(failed, columns[fields[-1]], value=value, threshold=bound)

    @staticmethod
    def _first(
        verdict: Verdict, rules: tuple[Rule, ...], reason: npt.NDArray[Any], value: npt.NDArray[np.float64],
        bound: npt.NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Writes reason, value and bound of the documents that fail here first."""
        new = (verdict.first >= 0) & np.array([r is None for r in reason], bool)
        names = np.array([rule.reason for rule in rules], object)
        reason[new] = names[verdict.first[new]]
        value[new] = verdict.value[new]
        bound[new] = verdict.bound[new]

    def _languages(self, batch: Batch) -> tuple[npt.NDArray[np.int64], list[str | None]]:
        """Per document the place of its language in the list; one nameless language if bounds do not differ."""
        if not self._by_language:
            return np.zeros(len(batch), np.int64), [None]
        encoded = pc.dictionary_encode(batch.column("language_code"), null_encoding="encode")
        return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()

    def _bounds(self, preset: str, code: str | None) -> Mapping[str, float | None]:
        """The bounds that replace a preset's own for one language, the most specific last."""
        settings: Any = self.config
        bounds = dict(settings.thresholds.get(preset, {}))
        if code is None:
            return bounds
        key = language_key(code)
        if settings.fineweb2 and key in fineweb2_languages():
            bounds.update(fineweb2_thresholds(key).get(preset, {}))
        for name, table in settings.languages.items():
            if language_key(name) == key:
                bounds.update(table.get(preset, {}))
        return bounds
