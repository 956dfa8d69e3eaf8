"""From parsed rows to a batch: the rules that JSONL and Parquet share about text, ids and carried fields."""

from __future__ import annotations

import base64
import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.documents import CONTENT_DIGEST, DATE, IDENTITY, TEXT, Batch, Fates, column
from curate.errors import ConfigError
from curate.kernels.strings import string_array, string_buffers
from curate.sources.base import ReadOptions

EXTRA = column(
    "extra",
    pa.string(),
    "the input's other fields as one JSON object, in their order; null if there are none",
)
REASONS = {"empty": "the text is missing, null, empty or only white space"}
_TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
_Mask = npt.NDArray[np.bool_]


def table_schema(options: ReadOptions) -> pa.Schema:
    """Columns of JSONL and Parquet batches: IDENTITY, text, date and content_digest if named, carried fields, extra."""
    fields = [*IDENTITY, TEXT]
    if options.date_column is not None:
        fields.append(DATE)
    if options.content_column is not None:
        fields.append(CONTENT_DIGEST)
    taken = {f.name for f in fields} | {"extra", "date"}
    for name, kind in options.carry.items():
        if name in taken:
            raise ConfigError(f"input.carry: {name!r} is a column of curate's own; leave it out, it stays in `extra`")
        fields.append(column(name, _TYPES[kind], "carried from the input; null if it has no such value"))
    return pa.schema([*fields, EXTRA])


def row_ids(source: str, offsets: Sequence[int]) -> list[str]:
    """``curate.documents.document_id`` of every offset, without a call each."""
    prefix = f"{source}\0".encode("utf-8", "surrogateescape")
    digest = xxhash.xxh3_128_hexdigest
    return [digest(prefix + b"%d" % offset) for offset in offsets]


def content_digest(value: Any) -> str | None:
    """xxh3-128 of what was fetched: bytes as they are, text as UTF-8, other values as JSON; None of None."""
    if value is None:
        return None
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    return xxhash.xxh3_128_hexdigest(value if isinstance(value, bytes) else dump(value))


def valid_strings(values: Sequence[str | None]) -> pa.Array:
    """A string column; lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        return pa.array(values, pa.string())
    except (UnicodeEncodeError, pa.ArrowException):
        return pa.array([v if v is None else without_surrogates(v) for v in values], pa.string())


def exact_strings(values: Sequence[str]) -> pa.Array:
    """``valid_strings`` of values of which none is None: one copy less, in one buffer of the right size."""
    try:
        encoded = [value.encode() for value in values]
    except UnicodeEncodeError:
        return valid_strings(values)
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        return valid_strings(values)
    return string_array(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for every lone surrogate; pairs of them are joined."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def id_text(value: Any) -> str | None:
    """An input's own id as text: strings as they are, whole numbers in decimal, everything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return dump(value).decode()


def dump(value: Any) -> bytes:
    """``value`` as JSON; types that JSON lacks as ISO 8601, decimal or base64 text."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return orjson.dumps(_walk(value), option=orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    return str(value)


def _walk(value: Any) -> Any:
    """A copy that orjson takes: lone surrogates replaced, integers beyond 64 bits as text."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {_walk(k): _walk(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walk(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    return value if value is None or isinstance(value, (bool, int, float)) else _plain(value)


def fitted_array(values: Sequence[Any], kind: str) -> pa.Array:
    """A column of values that ``fit`` gave."""
    return valid_strings(values) if kind == "string" else pa.array(values, _TYPES[kind])


def fit(value: Any, kind: str) -> Any:
    """``value`` as carried type ``kind``, None if it does not fit; everything fits a string (as JSON)."""
    if kind == "string":
        return value if isinstance(value, str) else (None if value is None else dump(value).decode())
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind == "float64":
        return float(value)
    whole = isinstance(value, int) or value.is_integer()
    return int(value) if whole and -(2**63) <= value < 2**63 else None


def settle(
    rows: pa.RecordBatch,
    fates: Fates,
    options: ReadOptions,
    wrong: dict[tuple[str, str], _Mask],
    repaired: _Mask | None = None,
) -> Batch:
    """The batch without the rows that are no documents; their fates are recorded.

    Args:
        rows: as ``table_schema`` says; ``text`` is ``""`` where there is none.
        fates: of the file.
        options: ``text_mb`` bounds a text.
        wrong: (error code, detail) → rows that fail with it.
        repaired: rows in whose text something was replaced already.
    """
    text = rows.column("text")
    size = np.diff(string_buffers(text)[1])
    failed = np.zeros(len(rows), bool)
    limit = options.text_mb << 20
    checks = {**wrong, ("limit.text-bytes", f"the text is longer than {limit} bytes (input.text_mb)"): size > limit}
    batch = Batch(rows, fates)
    for (code, detail), mask in checks.items():
        mask = mask & ~failed
        if mask.any():
            batch = batch.fail(mask[~failed], code, detail=detail)
            failed |= mask
    size, repaired = size[~failed], None if repaired is None else repaired[~failed]
    blank = size == 0
    if len(batch):
        blank = blank | pc.utf8_is_space(batch.column("text")).to_numpy(zero_copy_only=False)
    if blank.any():
        batch = batch.drop(blank, "empty")
        repaired = None if repaired is None else repaired[~blank]
    return _without_nul(batch, repaired)


def _without_nul(batch: Batch, repaired: _Mask | None) -> Batch:
    """NUL is taken out of texts; a warning names the documents that changed."""
    data, offsets = string_buffers(batch.column("text")) if len(batch) else (np.empty(0, np.uint8), np.zeros(1))
    marked = np.zeros(len(batch), bool) if repaired is None else repaired
    used = data[int(offsets[0]) : int(offsets[-1])]
    if len(used) and used.min() == 0:
        with_nul = np.add.reduceat(np.append(data == 0, False).astype(np.int64), offsets[:-1].astype(np.int64)) > 0
        values = batch.column("text").to_pylist()
        clean = pa.array([v.replace("\0", "") if n else v for v, n in zip(values, with_nul, strict=True)], pa.string())
        batch = batch.with_columns({TEXT: clean})
        marked = marked | with_nul
    if marked.any():
        what = "lone surrogates were replaced by U+FFFD or NUL was removed in the text"
        batch = batch.fail(marked, "text.surrogate", detail=what, level="warning")
        still = pc.binary_length(batch.column("text")).to_numpy(zero_copy_only=False) == 0
        if still.any():
            batch = batch.drop(still, "empty")
    return batch
