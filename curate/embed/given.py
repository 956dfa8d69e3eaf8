"""Vectors that the user already has: in a column of the documents, in their ``extra``, or in Parquet files."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from curate.embed.config import VectorsConfig
from curate.embed.encoders import unit_rows
from curate.errors import ConfigError

F32 = npt.NDArray[np.float32]

WRONG_LENGTH, MISSING = "wrong_length", "missing"
_ENDS = 1 << 20


def vector_files(config: VectorsConfig, base: Path) -> list[Path]:
    """The Parquet files that ``files`` names, sorted; ConfigError if a name finds none."""
    found: set[str] = set()
    for pattern in config.files:
        matches = glob.glob(str(base / Path(pattern).expanduser()), recursive=True)  # noqa: PTH207 - absolute patterns too
        if not matches:
            raise ConfigError(f"vectors.files: nothing matches {pattern!r} (relative to {base})")
        found.update(matches)
    return [Path(p) for p in sorted(found)]


def files_identity(config: VectorsConfig, base: Path) -> dict[str, str]:
    """Name → size and digest of both ends of each file; what its vectors depend on."""
    said = {}
    for path in vector_files(config, base):
        digest, size = xxhash.xxh3_128(), path.stat().st_size
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read(_ENDS))
        said[path.name] = f"{size}:{digest.hexdigest()}"
    return said


class GivenVectors:
    """Looks vectors up; a document without one is ``missing``, one of another length ``wrong_length``; both zero.

    Args:
        dimension: of the vectors.

    With ``files``, ``prepare`` reads their key columns once per shard and holds the vectors of that shard's documents.
    """

    digest = "given-1"

    def __init__(self, config: VectorsConfig, dimension: int, base: Path) -> None:
        self.dimension, self._config = dimension, config
        self._files = vector_files(config, base)
        self._found: dict[str, Any] = {}

    def prepare(self, keys: pa.Array) -> None:
        """Read from the files what they hold for the documents with these keys; of equal keys the last file counts."""
        self._found = {}
        wanted = pc.cast(keys, pa.string()).drop_null()
        for path in self._files:
            for batch_keys, values in _key_batches(path, self._config.key, str(self._config.column), wanted):
                self._found.update(zip(batch_keys, values, strict=True))

    def vectors(self, rows: pa.RecordBatch) -> tuple[F32, pa.Array]:
        """Unit vectors and status of these documents."""
        lists = self._from_files(rows) if self._files else list(_lists(rows, str(self._config.column)))
        out = np.zeros((len(lists), self.dimension), np.float64)
        wrong: dict[int, str] = {}
        for i, one in enumerate(lists):
            values = _numbers(one)
            if values is None:
                wrong[i] = MISSING
            elif len(values) != self.dimension:
                wrong[i] = WRONG_LENGTH
            else:
                out[i] = values
        unit, status = unit_rows(out)
        if wrong:
            said = status.to_pylist()
            for i, why in wrong.items():
                said[i] = why
            status = pa.array(said, pa.string())
        return unit, status

    def _from_files(self, rows: pa.RecordBatch) -> list[Any]:
        keys = rows.column(rows.schema.get_field_index(self._config.key)).to_pylist()
        return [self._found.get(key) if key is not None else None for key in keys]


def first_length(rows: pa.RecordBatch, config: VectorsConfig, base: Path) -> int | None:
    """The length of the first vector among these documents, or in the files; None if there is none."""
    if config.files:
        for path in vector_files(config, base):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(64, columns=[str(config.column)]):
                    for value in batch.column(0).to_pylist():
                        if value is not None:
                            return len(value)
        return None
    lengths = (len(v) for v in map(_numbers, _lists(rows, str(config.column))) if v is not None and len(v))
    return next(lengths, None)


def _lists(rows: pa.RecordBatch, name: str) -> Iterator[Any]:
    index = rows.schema.get_field_index(name)
    if index >= 0:
        yield from rows.column(index).to_pylist()
        return
    for text in rows.column(rows.schema.get_field_index("extra")).to_pylist():
        record = orjson.loads(text) if text else {}
        yield record.get(name) if isinstance(record, dict) else None


def _numbers(value: Any) -> npt.NDArray[np.float64] | None:
    """A list of numbers, null among them as NaN; None for anything else."""
    if isinstance(value, str):  # a carried column holds the list as JSON
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    if not isinstance(value, list) or any(isinstance(v, (str, bool, list, dict)) for v in value):
        return None
    return np.array([np.nan if v is None else float(v) for v in value], np.float64)


def _key_batches(path: Path, key: str, name: str, wanted: pa.Array) -> Iterator[tuple[list[str], list[Any]]]:
    """Keys and vectors (arrays of numbers) of the rows of a file that are wanted."""
    with pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        if key not in there or name not in there:
            raise ConfigError(f"vectors.files: {path.name} has no columns {key!r} and {name!r} (it has {there})")
        for group in range(file.num_row_groups):
            keys = pc.cast(file.read_row_group(group, columns=[key])[key].combine_chunks(), pa.string())
            mask = pc.is_in(keys, value_set=wanted.drop_null())
            if pc.any(mask).as_py():
                values = file.read_row_group(group, columns=[name])[name]
                lists = values.filter(mask).combine_chunks()
                yield (
                    keys.filter(mask).to_pylist(),
                    [
                        v.values.to_numpy(zero_copy_only=False).astype(np.float32).tolist() if v.is_valid else None
                        for v in lists
                    ],
                )
