"""Score entries of a config: what each learns from the sample, and how it then makes its columns of any batch.

Learning looks at the reference sample alone; making is row by row. So labels depend on the sample and the document,
and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.documents import column
from curate.errors import ConfigError
from curate.select.config import (
    BinsConfig,
    BucketsConfig,
    CombineConfig,
    DomainMergeConfig,
    PercentileConfig,
    ResidualConfig,
)
from curate.select.noise import Floats, labels_of, numbers
from curate.select.reference import Reference, read_reference
from curate.select.residual import Fit, fit_residual, logarithm, residuals
from curate.select.scores import bins, combine, levels, maximum, merge_by_domain, rank_buckets, scaled

Entry = PercentileConfig | CombineConfig | BucketsConfig | ResidualConfig | BinsConfig | DomainMergeConfig
#: the same columns for all entries: name → array
Columns = Mapping[str, pa.Array]
#: documents in the reference sample
SAMPLE = 100_000
#: a group with fewer documents in the sample takes the regression of all
_GROUP = 100


@dataclass(frozen=True)
class Fitted:
    """What an entry learned.

    Attributes:
        references: column → its distribution over the sample.
        said: the rest, JSON-able.
    """

    references: dict[str, Reference] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)


def needed(entry: Entry) -> tuple[str, ...]:
    """Columns that an entry looks at."""
    match entry:
        case CombineConfig():
            return tuple(entry.of)
        case BucketsConfig():
            return (*entry.of, *([entry.token_column] if entry.token_column is not None else []))
        case ResidualConfig():
            return (entry.of, *entry.numbers, *entry.names, *([entry.within] if entry.within is not None else []))
        case DomainMergeConfig():
            return (*entry.scores(), entry.domain)
        case _:
            return (entry.of,)


def made(entry: Entry) -> pa.Schema:
    """Columns that an entry makes."""
    name = entry.name
    match entry:
        case PercentileConfig():
            doc = f"percentile of {entry.of} among the reference sample; null where there is no score"
            return pa.schema([column(name, pa.float64(), doc, range_="0–1")])
        case CombineConfig():
            return pa.schema(
                [column(name, pa.float64(), f"weighted sum of {', '.join(entry.of)}; null: one is missing")]
            )
        case BucketsConfig():
            doc = f"largest rank bucket that {', '.join(entry.of)} give; null where none gives one"
            return pa.schema(
                [
                    column(name, pa.int32(), doc, range_=f"0–{entry.n - 1}"),
                    column(f"{name}_level", pa.string(), f"level of the bucket: {', '.join(entry.levels)}"),
                ]
            )
        case ResidualConfig():
            doc = f"{entry.of} without what {', '.join((*entry.numbers, *entry.names))} explain; null: one is missing"
            return pa.schema([column(name, pa.float64(), doc)])
        case BinsConfig():
            return pa.schema([column(name, pa.int32(), f"bin of {entry.of}, from 0 up; null where there is no score")])
    doc = f"scores merged by the weights of {entry.domain}; null where a score is missing"
    return pa.schema([column(name, pa.float64(), doc)])


def fit(entry: Entry, sample: Columns, base: Path, seed: int, about: dict[str, Any]) -> Fitted:
    """What the entry learns from the sample; ConfigError if a file that it names is not what it should be.

    Args:
        base: folder that relative paths belong to.
        about: what references say of the sample.
    """

    def references(names: tuple[str, ...], weights: Any = None) -> dict[str, Reference]:
        return {n: Reference.fit(n, numbers(sample[n]), weights, about) for n in names}

    match entry:
        case PercentileConfig():
            if entry.reference is None:
                return Fitted(references((entry.of,)))
            return Fitted({entry.of: read_reference(base / entry.reference)})
        case CombineConfig():
            found = references(tuple(entry.of)) if entry.scale != "none" else {}
            return Fitted(found, _weights(entry, base, seed))
        case BucketsConfig():
            weights = None
            if entry.token_column is not None:
                weights = np.nan_to_num(numbers(sample[entry.token_column]), nan=0.0).astype(np.int64)
            return Fitted(references(entry.of, weights))
        case ResidualConfig():
            return Fitted({}, _regressions(entry, sample))
        case BinsConfig():
            if entry.edges is not None:
                return Fitted({}, {"edges": list(entry.edges)})
            reference = references((entry.of,))[entry.of]
            cuts = [reference.quantile(q) for q in entry.quantiles or ()]
            return Fitted({entry.of: reference}, {"edges": sorted({c for c in cuts if not np.isnan(c)})})
    return Fitted(references(entry.scores()) if entry.scale != "none" else {})


def _weights(entry: CombineConfig, base: Path, seed: int) -> dict[str, Any]:
    if entry.learn is None:
        return {"weights": dict(entry.of)}
    from curate.select.weight_search import learn_weights, read_runs

    table, names = entry.learn, list(entry.of)
    points, losses = read_runs(base / table.path, names, table.losses)
    weights, how = learn_weights(
        names, points, losses, model=table.model, n_candidates=table.candidates, best=table.best, seed=seed
    )
    spearman = {n: None if np.isnan(v) else v for n, v in how.spearman.items()}
    return {"weights": weights, "learned": {"runs": how.runs, "spearman": spearman, "predicted": how.predicted,
                                            "observed_best": how.observed_best}}  # fmt: skip


def _nuisance(entry: ResidualConfig, columns: Columns) -> tuple[dict[str, Floats], dict[str, list[str | None]]]:
    found = {n: numbers(columns[n]) for n in entry.numbers}
    return (
        {n: logarithm(v) if entry.numbers[n] == "log" else v for n, v in found.items()},
        {n: names_of(columns[n]) for n in entry.names},
    )


def _regressions(entry: ResidualConfig, sample: Columns) -> dict[str, Any]:
    score = numbers(sample[entry.of])
    numeric, named = _nuisance(entry, sample)
    overall = fit_residual(score, numeric, named, ridge=entry.ridge)
    groups: dict[str, Any] = {}
    if entry.within is not None:
        where = np.array([v if v is not None else "" for v in names_of(sample[entry.within])], dtype=object)
        for group in sorted(set(where.tolist()) - {""}):
            mask = where == group
            part = fit_residual(
                score[mask], {n: v[mask] for n, v in numeric.items()},
                {n: [x for x, m in zip(v, mask.tolist(), strict=True) if m] for n, v in named.items()},
                ridge=entry.ridge,
            )  # fmt: skip
            if part is not None and part.documents >= _GROUP:
                groups[group] = part.as_json()
    return {"overall": overall.as_json() if overall is not None else None, "groups": groups}


def apply(entry: Entry, fitted: Fitted, columns: Columns) -> dict[str, pa.Array]:
    """The columns that the entry makes, row by row of ``columns``."""
    name, references = entry.name, fitted.references
    match entry:
        case PercentileConfig():
            return {name: labels_of(references[entry.of].percentiles(numbers(columns[entry.of])))}
        case CombineConfig():
            values = {n: _scaled(numbers(columns[n]), references.get(n), entry.scale) for n in entry.of}
            return {name: labels_of(combine(values, fitted.said["weights"], entry.missing))}
        case BucketsConfig():
            found = maximum([rank_buckets(numbers(columns[n]), references[n].edges(entry.n)) for n in entry.of])
            return {name: _whole(found), f"{name}_level": levels(found, entry.cuts, entry.levels)}
        case ResidualConfig():
            return {name: labels_of(_residual(entry, fitted, columns))}
        case BinsConfig():
            return {name: _whole(bins(numbers(columns[entry.of]), fitted.said["edges"]))}
    values = {n: _scaled(numbers(columns[n]), references.get(n), entry.scale) for n in entry.scores()}
    domains = names_of(columns[entry.domain])
    return {name: labels_of(merge_by_domain(values, domains, entry.weights, entry.default, entry.missing))}


def _residual(entry: ResidualConfig, fitted: Fitted, columns: Columns) -> Floats:
    score = numbers(columns[entry.of])
    if fitted.said["overall"] is None:
        return np.full(len(score), np.nan)
    numeric, named = _nuisance(entry, columns)
    groups = names_of(columns[entry.within]) if entry.within is not None else None
    fits = {g: Fit(**f) for g, f in fitted.said["groups"].items()}
    return residuals(score, numeric, named, groups, fits, Fit(**fitted.said["overall"]))


def _scaled(values: Floats, reference: Reference | None, scale: Any) -> Floats:
    return values if reference is None else scaled(values, reference, scale)


def _whole(values: Any) -> pa.Array:
    return pa.array(values, pa.int32(), mask=values < 0)


def names_of(array: pa.Array) -> list[str | None]:
    """A column of names as Python strings; numbers and flags by their text."""
    import pyarrow.compute as pc

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        try:
            array = pc.cast(array, pa.string())
        except pa.ArrowNotImplementedError as error:
            raise ConfigError(f"a column of type {array.type} has no names to group by") from error
    found: list[str | None] = array.to_pylist()
    return found
