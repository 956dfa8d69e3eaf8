"""Selections of a config: what is settled over all documents, and how it then decides each of them.

Settling scans the documents (``Scan``) and leaves a few numbers, JSON-able; deciding is row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ConfigError
from curate.select.budget import Cut, Rows, before, find_cuts, order_keys, share_budget, taken
from curate.select.config import ClustersConfig, GumbelConfig, QuadmixConfig, ThresholdConfig, TopConfig
from curate.select.fitting import SAMPLE, names_of
from curate.select.noise import Floats, id_words, numbers
from curate.select.quadmix import Parameters, expected_copies, quality_ranks
from curate.select.reference import Reference, smallest
from curate.select.sampling import drawn_copies, gumbel_keys

Entry = ThresholdConfig | TopConfig | GumbelConfig | QuadmixConfig | ClustersConfig
#: a shard's columns (those of ``needed``, and ``id``), and which documents take part
Candidates = tuple[Mapping[str, pa.Array], npt.NDArray[np.bool_]]
#: gives the candidates anew, shard by shard
Scan = Callable[[], Iterable[Candidates]]
#: values of `per` beyond this many are no domains
MAX_DOMAINS = 2_000
_NONE = "\0none"


def needed(entry: Entry) -> tuple[str, ...]:
    """Columns that a selection looks at."""
    names = [entry.by]
    if isinstance(entry, (TopConfig, QuadmixConfig)) and entry.per is not None:
        names.append(entry.per)
    if isinstance(entry, ClustersConfig):
        names.append(entry.cluster)
    if needs_tokens(entry):
        names.append(entry.token_column)
    return tuple(names)


def needs_tokens(entry: Entry) -> bool:
    """Whether the selection itself, not only its report, asks for tokens."""
    if isinstance(entry, (TopConfig, ClustersConfig)):
        return entry.budget_documents is None
    return isinstance(entry, QuadmixConfig)


def tokens_of(columns: Mapping[str, pa.Array], name: str) -> npt.NDArray[np.int64]:
    """Tokens of each document; missing and negative ones count as 0."""
    found: npt.NDArray[np.int64] = np.maximum(np.nan_to_num(numbers(columns[name]), nan=0.0), 0).astype(np.int64)
    return found


def settle(entry: Entry, scan: Scan) -> dict[str, Any]:
    """What is settled over all documents; see the module."""
    match entry:
        case ThresholdConfig():
            return {}
        case QuadmixConfig():
            return _settle_quadmix(entry, scan)
        case ClustersConfig():
            return _settle_clusters(entry, scan)
    return _settle_top(entry, scan)


def decide(
    entry: Entry, settled: Mapping[str, Any], columns: Mapping[str, pa.Array], live: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """How often each document is taken: 0 or 1, and more for QuaDMix."""
    scores = _scores(entry, columns, live)
    match entry:
        case ThresholdConfig():
            return (scores >= entry.at).astype(np.int32)  # NaN is not
        case QuadmixConfig():
            return drawn_copies(_expected(entry, settled, columns, scores), columns["id"], seed=entry.seed,
                                purpose=f"quadmix:{entry.name}")  # fmt: skip
        case ClustersConfig():
            return _decide_clusters(entry, settled, columns, scores)
    keys = _keys(entry, settled, columns, scores)
    groups = _groups(entry, columns, settled["groups"])
    rows = Rows.of(keys, np.ones(len(keys), np.int64), columns["id"], groups)
    return taken(rows, [Cut(**c) for c in settled["cuts"]]).astype(np.int32)


def _scores(entry: Entry, columns: Mapping[str, pa.Array], live: npt.NDArray[np.bool_]) -> Floats:
    """The score of each document that takes part, else NaN."""
    return np.where(live, numbers(columns[entry.by]), np.nan)


def _weights(entry: Any, columns: Mapping[str, pa.Array]) -> npt.NDArray[np.int64]:
    if entry.budget_documents is not None:
        return np.ones(len(columns["id"]), np.int64)
    return tokens_of(columns, entry.token_column)


def _settle_top(entry: TopConfig, scan: Scan) -> dict[str, Any]:
    settled: dict[str, Any] = {"groups": _values_of(entry, scan)}
    if isinstance(entry, GumbelConfig) and entry.normalise:
        settled["mean"], settled["deviation"] = _moments(entry, scan)

    def rows() -> Iterable[Rows]:
        for columns, live in scan():
            keys = _keys(entry, settled, columns, _scores(entry, columns, live))
            yield Rows.of(keys, _weights(entry, columns), columns["id"], _groups(entry, columns, settled["groups"]))

    def budgets(available: npt.NDArray[np.int64]) -> list[int]:
        total = _budget(entry, int(available.sum()))
        names = settled["groups"] or [""]
        there = dict(zip(names, (int(a) for a in available), strict=True))
        how, shares = (entry.budgets, None) if isinstance(entry.budgets, str) else ("given", entry.budgets)
        found = share_budget(there, total, how, shares) if settled["groups"] else {"": total}
        return [found[n] for n in names]

    cuts = find_cuts(rows, max(1, len(settled["groups"])), budgets)
    settled["cuts"] = [vars(c) for c in cuts]
    return settled


def _budget(entry: Any, available: int) -> int:
    if entry.budget_share is not None:
        return int(available * entry.budget_share)
    return int(entry.budget_tokens if entry.budget_tokens is not None else entry.budget_documents)


def _values_of(entry: TopConfig, scan: Scan) -> list[str]:
    """The values of ``per``, ascending; documents without one are a domain of their own."""
    if entry.per is None:
        return []
    found: set[str] = set()
    for columns, live in scan():
        found |= {v if v is not None else _NONE for v, a in zip(names_of(columns[entry.per]), live, strict=True) if a}
        if len(found) > MAX_DOMAINS:
            raise ConfigError(
                f"select: {entry.name}: `{entry.per}` has more than {MAX_DOMAINS} values: no domain column"
            )
    return sorted(found) or [_NONE]


def _groups(entry: TopConfig, columns: Mapping[str, pa.Array], names: list[str]) -> npt.NDArray[np.int64] | None:
    if entry.per is None:
        return None
    place = {n: i for i, n in enumerate(names)}
    return np.array([place.get(v if v is not None else _NONE, -1) for v in names_of(columns[entry.per])], np.int64)


def _moments(entry: GumbelConfig, scan: Scan) -> tuple[float, float]:
    """Mean and deviation of the scores over all documents, summed exactly, so that no order matters."""
    from fractions import Fraction

    n, total, squares = 0, Fraction(0), Fraction(0)
    for columns, live in scan():
        scores = _scores(entry, columns, live)
        known = scores[~np.isnan(scores)]
        values, counts = np.unique(known, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            exact = Fraction(value)
            n, total, squares = n + count, total + count * exact, squares + count * exact * exact
    if n == 0:
        return 0.0, 0.0
    mean = total / n
    return float(mean), float(max(squares / n - mean * mean, Fraction(0))) ** 0.5


def _keys(entry: Any, settled: Mapping[str, Any], columns: Mapping[str, pa.Array], scores: Floats) -> Floats:
    if not isinstance(entry, GumbelConfig):
        return scores
    return gumbel_keys(
        scores, columns["id"], temperature=entry.temperature, seed=entry.seed, purpose=f"gumbel:{entry.name}",
        mean=settled.get("mean", 0.0), deviation=settled.get("deviation", 1.0),
    )  # fmt: skip


def _settle_quadmix(entry: QuadmixConfig, scan: Scan) -> dict[str, Any]:
    """Per domain, the scores of the sample weighted by tokens, as (value, tokens at least as good) on a line.

    The sample is that of ``reference``: 100,000 documents over all domains, or all where there are fewer.
    """
    kept: pa.Table | None = None
    for columns, live in scan():
        scores = _scores(entry, columns, live)
        mask = ~np.isnan(scores)
        table = pa.table(
            {
                "id": columns["id"].filter(pa.array(mask)),
                "score": pa.array(scores[mask]),
                "tokens": pa.array(tokens_of(columns, entry.token_column)[mask]),
                "per": pa.array(names_of(columns[entry.per]), pa.string()).filter(pa.array(mask)),
            }
        )
        part = smallest(table, SAMPLE, entry.seed)
        kept = part if kept is None else smallest(pa.concat_tables([kept, part]), SAMPLE, entry.seed)
    if kept is None:
        return {"domains": {}}
    names = np.array([v if v is not None else _NONE for v in kept["per"].to_pylist()], dtype=object)
    scores, tokens = kept["score"].to_numpy(), kept["tokens"].to_numpy()
    out = {}
    for name in sorted(set(names.tolist())):
        mask = names == name
        reference = Reference.fit(name, scores[mask], tokens[mask])
        out[name] = {"values": reference.values.tolist(), "tokens": reference.weights.tolist(),
                     "documents": reference.documents}  # fmt: skip
    return {"domains": out}


def _expected(
    entry: QuadmixConfig, settled: Mapping[str, Any], columns: Mapping[str, pa.Array], scores: Floats
) -> Floats:
    out = np.zeros(len(scores))
    names = np.array([v if v is not None else _NONE for v in names_of(columns[entry.per])], dtype=object)
    for name, found in settled["domains"].items():
        chosen = entry.parameters.get(name, entry.default)
        mask = (names == name) & ~np.isnan(scores)
        if chosen is None or not mask.any():
            continue
        reference = Reference(
            name, np.array(found["values"]), np.array(found["tokens"], np.int64), found["documents"], {}
        )
        parameters = Parameters(chosen.steepness, chosen.share, chosen.curvature, chosen.floor)
        out[mask] = expected_copies(quality_ranks(scores[mask], reference), parameters, entry.shape)
    return np.nan_to_num(out, nan=0.0)


def _settle_clusters(entry: ClustersConfig, scan: Scan) -> dict[str, Any]:
    """The place in each cluster where taking ends. Memory: 48 bytes per document that takes part."""
    from curate.select.diversity import coverage

    parts = []
    place: dict[str, int] = {}
    for columns, live in scan():
        scores = _scores(entry, columns, live)
        named = names_of(columns[entry.cluster])
        clusters = np.array([place.setdefault(v, len(place)) if v is not None else -1 for v in named], np.int64)
        mask = ~np.isnan(scores) & (clusters >= 0)
        high, low = id_words(columns["id"])
        parts.append((clusters[mask], order_keys(scores)[mask], high[mask], low[mask], _weights(entry, columns)[mask]))
    if not parts or not place:
        return {"cuts": {}, "before": coverage(np.empty(0, np.int64), np.empty(0, np.int64)),
                "after": coverage(np.empty(0, np.int64), np.empty(0, np.int64))}  # fmt: skip
    clusters, keys, high, low, weights = (np.concatenate([p[i] for p in parts]) for i in range(5))
    order = np.lexsort((low, high, keys, clusters))
    starts = np.searchsorted(clusters[order], np.arange(len(place)))
    round_ = np.empty(len(order), np.int64)
    round_[order] = np.arange(len(order)) - starts[clusters[order]]
    line = np.lexsort((low, high, keys, round_))
    spent = np.cumsum(weights[line])
    count = int(np.searchsorted(spent, _budget(entry, int(weights.sum())), side="right"))
    chosen = np.zeros(len(line), np.bool_)
    chosen[line[:count]] = True
    cuts: dict[str, list[int] | None] = {}
    for name, number in place.items():
        left = order[starts[number] : starts[number] + int((clusters == number).sum())]
        left = left[~chosen[left]]
        cuts[name] = [int(keys[left[0]]), int(high[left[0]]), int(low[left[0]])] if len(left) else None
    return {
        "cuts": dict(sorted(cuts.items())),
        "before": coverage(clusters, weights),
        "after": coverage(clusters[chosen], weights[chosen]),
    }


def _decide_clusters(
    entry: ClustersConfig, settled: Mapping[str, Any], columns: Mapping[str, pa.Array], scores: Floats
) -> npt.NDArray[np.int32]:
    place = {name: i for i, name in enumerate(settled["cuts"])}
    clusters = np.array([place.get(v, -1) if v is not None else -1 for v in names_of(columns[entry.cluster])], np.int64)
    known = (clusters >= 0) & ~np.isnan(scores)
    if not place:
        return known.astype(np.int32)
    ends = [(c[0], c[1], c[2]) if c is not None else None for c in settled["cuts"].values()]
    high, low = id_words(columns["id"])
    return (known & before(ends, np.where(known, clusters, 0), order_keys(scores), high, low)).astype(np.int32)
