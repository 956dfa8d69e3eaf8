"""Reads what a student learns from, and refuses what would give it a false figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from classifiers.bradley_terry import WINNERS
from classifiers.students.heads import Pairs
from classifiers.train_config import DataSpec, LabelSpec, PairSpec, TrainConfig
from curate.errors import ConfigError

__all__ = ["Ratings", "Target", "read_ratings", "read_table"]


@dataclass(frozen=True)
class Target:
    """A label as learned: ``rows`` of the texts, and their values.

    Attributes:
        values: scores, places in ``names``, or (pairwise) nothing.
        names: levels or classes.
        pairs: judgements between texts, for pairwise.
        range: of a regression.
    """

    spec: LabelSpec
    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    names: tuple[float | str, ...] = ()
    pairs: Pairs | None = None
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Ratings:
    """Texts, their folds, and what is known of them."""

    texts: pa.Array
    ids: list[str]
    fold: npt.NDArray[np.int64]
    groups: int
    targets: list[Target] = field(default_factory=list)

    @property
    def folds(self) -> list[int]:
        """The folds that occur."""
        return [int(f) for f in np.unique(self.fold)]


def read_table(path: Path) -> pa.Table:
    """A Parquet or JSON-lines file; ConfigError if it is neither or cannot be read."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; give the path of a Parquet or JSON-lines file")
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path)
        from pyarrow import json as pj

        codec = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
        with pa.input_stream(str(path), compression=codec) as stream:
            return pj.read_json(stream, parse_options=pj.ParseOptions(newlines_in_values=False))
    except pa.ArrowException as error:
        raise ConfigError(
            f"{path} cannot be read as a table ({type(error).__name__}); give Parquet or JSON lines"
        ) from None


def read_ratings(config: TrainConfig, base: Path) -> Ratings:
    """Texts, folds and targets of a student.

    Raises:
        ConfigError: a column is missing or of the wrong type, texts are too few, a label is constant, or a group (or a
            text) stands on both sides of a fold.
    """
    if config.data is None:
        return _from_pairs(config, base)
    spec = config.data
    table = read_table(base / spec.path)
    text = _column(table, spec.text, spec.path)
    if not (pa.types.is_string(text.type) or pa.types.is_large_string(text.type)):
        raise ConfigError(f"{spec.path}: column {spec.text} holds {text.type}, not texts")
    texts = text.cast(pa.large_string()).fill_null("")
    ids = (
        [str(v) for v in _column(table, spec.id, spec.path).to_pylist()]
        if spec.id
        else [str(i) for i in range(len(texts))]
    )
    if len(set(ids)) < len(ids):
        raise ConfigError(f"{spec.path}: column {spec.id} has {len(ids) - len(set(ids))} ids that are there already")
    fold, groups = _folds(config, spec, table, texts)
    targets = [_target(config, label, table, spec.path, ids, base) for label in config.labels]
    found = Ratings(texts, ids, fold, groups, targets)
    for target in targets:
        _check_target(config, found, target)
    return found


def _from_pairs(config: TrainConfig, base: Path) -> Ratings:
    """Every text that occurs in the pairs once; its fold is by its own hash."""
    label = config.labels[0]
    assert label.pairs is not None
    a, b, share = _judgements(label.pairs, base)
    names = sorted({*a, *b})
    place = {name: i for i, name in enumerate(names)}
    texts = pa.array(names, pa.large_string())
    fold = _by_hash([_hash(name) for name in names], config)
    pairs = Pairs(np.array([place[x] for x in a]), np.array([place[x] for x in b]), share)
    target = Target(label, np.unique(np.concatenate([pairs.a, pairs.b])), np.empty(0), pairs=pairs)
    found = Ratings(texts, [_hash(name) for name in names], fold, len(names), [target])
    _check_target(config, found, target)
    return found


def _column(table: pa.Table, name: str | None, path: str) -> pa.Array:
    if name not in table.column_names:
        raise ConfigError(f"{path} has no column {name}; it has: {', '.join(table.column_names)}")
    return table[name].combine_chunks()


def _hash(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))


def _by_hash(keys: list[str], config: TrainConfig) -> npt.NDArray[np.int64]:
    """Fold of each key: the same for equal keys, whatever else is in the table."""
    found = [xxhash.xxh3_64_intdigest(key.encode(), seed=config.seed) % config.folds for key in keys]
    return np.array(found, np.int64)


def _folds(config: TrainConfig, spec: DataSpec, table: pa.Table, texts: pa.Array) -> tuple[npt.NDArray[np.int64], int]:
    """Fold of each text, and the number of groups; refuses leaks."""
    hashes = [_hash(" ".join(str(t).split()).lower()) for t in texts.to_pylist()]
    groups = hashes
    if spec.group:
        column = _column(table, spec.group, spec.path)
        if column.null_count:
            raise ConfigError(
                f"{spec.path}: column {spec.group} is null in {column.null_count} rows; every text needs a group"
            )
        groups = [str(g) for g in column.to_pylist()]
    if spec.fold:
        column = _column(table, spec.fold, spec.path)
        if column.null_count or not pa.types.is_integer(column.type):
            raise ConfigError(f"{spec.path}: column {spec.fold} must hold an integer in every row")
        fold = column.to_numpy(zero_copy_only=False).astype(np.int64)
    else:
        fold = _by_hash(groups, config)
    if len(np.unique(fold)) < 2:
        raise ConfigError(f"{spec.path}: all texts are in one fold; two or more groups are needed to measure anything")
    for what, keys in ((f"groups of {spec.group}", groups), ("texts (equal but for spaces and case)", hashes)):
        leaking = _split(keys, fold)
        if leaking:
            raise ConfigError(
                f"{spec.path}: {leaking} {what} stand in two folds, so figures would be of texts that were seen; "
                "give each one fold, or one group"
            )
    return fold, len(set(groups))


def _split(keys: list[str], fold: npt.NDArray[np.int64]) -> int:
    """How many keys occur in more than one fold."""
    seen: dict[str, int] = {}
    bad = set()
    for key, f in zip(keys, fold.tolist(), strict=True):
        if seen.setdefault(key, f) != f:
            bad.add(key)
    return len(bad)


def _target(config: TrainConfig, label: LabelSpec, table: pa.Table, path: str, ids: list[str], base: Path) -> Target:
    if label.pairs is not None:
        a, b, share = _judgements(label.pairs, base)
        place = {name: i for i, name in enumerate(ids)}
        unknown = sum(x not in place for x in (*a, *b))
        if unknown:
            raise ConfigError(f"{label.pairs.path}: {unknown} ids are not in {path}; both need the same column of ids")
        pairs = Pairs(np.array([place[x] for x in a]), np.array([place[x] for x in b]), share)
        return Target(label, np.unique(np.concatenate([pairs.a, pairs.b])), np.empty(0), pairs=pairs)
    column = _column(table, label.column or label.name, path)
    rows = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False))
    if label.kind == "classification":
        said = [str(v) for v in column.take(pa.array(rows)).to_pylist()]
        names: tuple[Any, ...] = tuple(str(v) for v in label.values) or tuple(sorted(set(said)))
        _known(said, names, label, path)
        place = {name: i for i, name in enumerate(names)}
        return Target(label, rows, np.array([place[v] for v in said], np.float64), names)
    try:
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)[rows]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"{path}: column {label.column or label.name} holds {column.type}, not numbers") from None
    rows, numbers = rows[~np.isnan(numbers)], numbers[~np.isnan(numbers)]
    if np.isinf(numbers).any():
        raise ConfigError(f"{path}: column {label.column or label.name} holds an infinite number; remove it")
    if label.kind == "regression":
        low, high = label.range or ((float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 0.0))
        outside = int(((numbers < low) | (numbers > high)).sum())
        if outside:
            raise ConfigError(f"{path}: {outside} values of {label.name} lie outside its range [{low:g}, {high:g}]")
        return Target(label, rows, numbers, range=(low, high))
    levels = tuple(sorted(float(v) for v in label.values)) or tuple(float(v) for v in np.unique(numbers))
    if len(levels) > 64:
        raise ConfigError(f"label {label.name}: {len(levels)} levels; use the kind regression, or list the values")
    if len(numbers) and (numbers.min() < levels[0] or numbers.max() > levels[-1]):
        raise ConfigError(f"{path}: values of {label.name} lie outside its levels {levels[0]:g} to {levels[-1]:g}")
    return Target(label, rows, np.interp(numbers, levels, np.arange(len(levels))), levels)


def _known(said: list[str], names: tuple[Any, ...], label: LabelSpec, path: str) -> None:
    odd = len([v for v in said if v not in set(names)])
    if odd:
        raise ConfigError(f"{path}: {odd} values of {label.name} are none of those that the label lists")


def _judgements(spec: PairSpec, base: Path) -> tuple[list[str], list[str], npt.NDArray[np.float64]]:
    """First, second, and the share that the first won."""
    table = read_table(base / spec.path)
    for name, value in spec.where.items():
        table = table.filter(pc.equal(_column(table, name, spec.path).cast(pa.string()), value))
    a, b = ([str(v) for v in _column(table, name, spec.path).to_pylist()] for name in (spec.a, spec.b))
    share = []
    for row, said in enumerate(_column(table, spec.winner, spec.path).to_pylist()):
        won = WINNERS.get(said) if isinstance(said, str) else said
        if won is None or not 0 <= float(won) <= 1:
            raise ConfigError(f"{spec.path}: row {row}: {spec.winner} is none of A, B, Tie and no share from 0 to 1")
        share.append(float(won))
    same = sum(x == y for x, y in zip(a, b, strict=True))
    if same:
        raise ConfigError(f"{spec.path}: {same} rows compare a text with itself; remove them")
    return a, b, np.array(share, np.float64)


def _check_target(config: TrainConfig, ratings: Ratings, target: Target) -> None:
    """Refuses a label that nothing can be learned from, in any part of the cross-validation."""
    name = target.spec.name
    if len(target.rows) < config.min_rows:
        raise ConfigError(f"label {name}: {len(target.rows)} rated texts are too few (min_rows: {config.min_rows})")
    if target.pairs is not None:
        decided = target.pairs.share != 0.5
        if not decided.any():
            raise ConfigError(f"label {name}: every pair is a tie; there is nothing to learn")
        return
    if target.range is not None and not target.range[0] < target.range[1]:
        raise ConfigError(f"label {name} is constant; there is nothing to learn")
    fold = ratings.fold[target.rows]
    for f in ratings.folds:
        if len(np.unique(target.values[fold != f])) < 2:
            where = "" if len(np.unique(target.values)) < 2 else f" outside fold {f}"
            raise ConfigError(f"label {name} is constant{where}; there is nothing to learn")
    if len(np.unique(fold)) < 2:
        raise ConfigError(f"label {name}: its texts are all in one fold; there is nothing to measure it on")
