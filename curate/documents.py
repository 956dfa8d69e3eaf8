"""Documents in flight: their columns, their ids, and the batch that never loses one silently.

A batch is an Arrow record batch of documents (256 to 2,048 rows, fewer when texts are long) plus the fates of those
that have left it. Stages return a new batch; they never mutate one. A row leaves a batch in two ways only:
``Batch.drop`` (a rule decided, with reason, value and threshold) and ``Batch.fail`` (it could not be processed).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash


def column(
    name: str, type_: pa.DataType, doc: str, *, unit: str = "", range_: str = "", nullable: bool = True
) -> pa.Field:
    """An Arrow field that carries its own documentation (shown by ``curate schema``).

    Args:
        doc: one sentence, including what null means where null can occur.
        unit: e.g. ``"1/word"``, ``"bytes"``; empty for names and flags.
        range_: e.g. ``"0–1"``.
    """
    meta = {k: v for k, v in {"doc": doc, "unit": unit, "range": range_}.items() if v}
    return pa.field(name, type_, nullable=nullable, metadata=meta)


#: What every document has, whatever it came from.
IDENTITY = pa.schema(
    [
        column("id", pa.string(), "xxh3-128 of source and offset, 32 hex digits", nullable=False),
        column("url", pa.string(), "address the document was fetched from; null if the input names none"),
        column("source", pa.string(), "input file, relative to the input root", nullable=False),
        column("offset", pa.int64(), "where the record starts in its file: byte (WARC, JSONL) or row (Parquet)",
               unit="bytes or rows", nullable=False),
        column("length", pa.int64(), "length of the record in its file", unit="bytes; 1 for rows", nullable=False),
        column("source_id", pa.string(), "the input's own id, as text; null if it has none"),
    ]
)  # fmt: skip

TEXT = column("text", pa.string(), "the document's text, valid UTF-8 without NUL", nullable=False)
HTML = column("html", pa.string(), "the page, decoded; taken away by extract_html", nullable=False)
DATE = column("date", pa.string(), "when the page was fetched, ISO 8601, as the archive says; null if it does not")
CONTENT_DIGEST = column(
    "content_digest",
    pa.string(),
    "xxh3-128 of the fetched bytes without transfer and content codings, before any decoding, 32 hex digits; of JSONL "
    "and Parquet, of the field that input.content_column names (text as UTF-8); null if there is none",
)

#: One row per document that a rule removed.
DROPPED = pa.schema(
    [
        *IDENTITY,
        column("row", pa.int32(), "row in documents/<shard>.parquet; null if it left before text was written"),
        column("stage", pa.string(), "stage or step that decided", nullable=False),
        column("reason", pa.string(), "why; see `curate stages` for the reasons of each stage", nullable=False),
        column("value", pa.float64(), "the value that was compared; null where the reason is not a number"),
        column("threshold", pa.float64(), "what the value was compared with"),
        column("survivor", pa.string(), "id of the document kept in its place; null unless it is a duplicate"),
        column("detail", pa.string(), "short evidence that is not text of the document, e.g. the list that matched"),
    ]
)

#: One row per record or document that could not be processed, and per byte range that could not be read.
FAILED = pa.schema(
    [
        column("id", pa.string(), "id of the document, or of the range that is lost; null for remarks"),
        column("url", pa.string(), "address, where known"),
        column("source", pa.string(), "input file, relative to the input root", nullable=False),
        column("offset", pa.int64(), "where the range starts", unit="bytes or rows", nullable=False),
        column("length", pa.int64(), "length of the range", unit="bytes or rows", nullable=False),
        column("row", pa.int32(), "row in documents/<shard>.parquet; null if it left before text was written"),
        column("stage", pa.string(), "stage that failed; `read` for the source", nullable=False),
        column("error", pa.string(), "code, e.g. input.corrupt, limit.cpu_seconds", nullable=False),
        column("level", pa.string(), "error: something is lost or damaged; warning: odd but whole", nullable=False),
        column("detail", pa.string(), "what was found, without text of the document"),
    ]
)


def document_id(source: str, offset: int, inner: int = 0) -> str:
    """The id of the record at ``offset`` of ``source``: xxh3-128 as 32 hex digits.

    Args:
        source: path relative to the input root, so that a moved folder keeps its ids.
        offset: byte offset of the record (WARC: of its gzip member), or row number.
        inner: which record within that offset, for archives whose compressed members hold several.
    """
    key = f"{source}\0{offset}" if inner == 0 else f"{source}\0{offset}\0{inner}"
    return xxhash.xxh3_128_hexdigest(key.encode("utf-8", "surrogateescape"))


@dataclass
class Drop:
    """Rows that left together by one rule. ``rows`` keeps all their columns, so labels survive the drop."""

    rows: pa.RecordBatch
    stage: str
    reason: pa.Array
    value: pa.Array
    threshold: pa.Array
    detail: pa.Array


@dataclass
class Failure:
    """Rows, or one byte range, that could not be processed."""

    stage: str
    error: str
    level: str
    detail: str | None
    rows: pa.RecordBatch | None = None
    source: str = ""
    offset: int = 0
    length: int = 0
    id: str | None = None


@dataclass
class Fates:
    """What has left a stream of batches, in order. One object travels with all batches of a task."""

    drops: list[Drop] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Batch:
    """A record batch of documents and the fates of those that have left.

    Attributes:
        rows: the documents still in flight.
        fates: shared record of those that left; append only through ``drop`` and ``fail``.
        stage: name written into new fates; the pass sets it before each stage.
    """

    __slots__ = ("fates", "rows", "stage")

    def __init__(self, rows: pa.RecordBatch, fates: Fates | None = None, stage: str = "read") -> None:
        self.rows = rows
        self.fates = fates if fates is not None else Fates()
        self.stage = stage

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def schema(self) -> pa.Schema:
        return self.rows.schema

    def column(self, name: str) -> pa.Array:
        """The column ``name``; KeyError if there is none."""
        index = self.rows.schema.get_field_index(name)
        if index < 0:
            raise KeyError(f"no column {name!r}; there are {self.rows.schema.names}")
        return self.rows.column(index)

    def at(self, stage: str) -> Batch:
        """The same batch, with ``stage`` as the name that new fates carry."""
        return Batch(self.rows, self.fates, stage)

    def with_columns(self, columns: Mapping[pa.Field | str, pa.Array]) -> Batch:
        """A batch in which the given columns are added, or replaced in place where the name exists."""
        fields, arrays = list(self.rows.schema), list(self.rows.columns)
        names = [f.name for f in fields]
        for key, array in columns.items():
            new = key if isinstance(key, pa.Field) else pa.field(key, array.type)
            if len(array) != len(self):
                raise ValueError(f"column {new.name!r} has {len(array)} values for {len(self)} documents")
            if new.name in names:
                at = names.index(new.name)
                fields[at], arrays[at] = (new if isinstance(key, pa.Field) else fields[at].with_type(array.type)), array
            else:
                fields.append(new)
                names.append(new.name)
                arrays.append(array)
        return Batch(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), self.fates, self.stage)

    def without_columns(self, names: Iterable[str]) -> Batch:
        """A batch without the named columns; names that are not there are ignored."""
        gone = set(names)
        keep = [i for i, f in enumerate(self.rows.schema) if f.name not in gone]
        rows = pa.RecordBatch.from_arrays(
            [self.rows.column(i) for i in keep], schema=pa.schema([self.rows.schema.field(i) for i in keep])
        )
        return Batch(rows, self.fates, self.stage)

    def drop(
        self, mask: Any, reason: str | Any, *, value: Any = None, threshold: Any = None, detail: Any = None
    ) -> Batch:
        """The batch without the rows where ``mask`` is true; their fate is recorded.

        Args:
            mask: booleans, one per row (Arrow array, NumPy array or list); null counts as false.
            reason: one code for all, or one per row of the batch.
            value: what was compared, one per row, or one for all; None where the reason is not a number.
            threshold: what it was compared with, likewise.
            detail: short evidence, likewise; never text of the document.
        """
        gone, kept = self._split(mask)
        if gone.num_rows:
            chosen = pa.array(_as_mask(mask))
            self.fates.drops.append(
                Drop(
                    rows=gone,
                    stage=self.stage,
                    reason=_spread(reason, pa.string(), chosen),
                    value=_spread(value, pa.float64(), chosen),
                    threshold=_spread(threshold, pa.float64(), chosen),
                    detail=_spread(detail, pa.string(), chosen),
                )
            )
        return Batch(kept, self.fates, self.stage)

    def fail(self, mask: Any, error: str, *, detail: str | None = None, level: str = "error") -> Batch:
        """The batch without the rows where ``mask`` is true; they are recorded as failed.

        With ``level="warning"`` the rows stay and only the remark is recorded.
        """
        gone, kept = self._split(mask)
        if gone.num_rows:
            self.fates.failures.append(Failure(self.stage, error, level, detail, rows=gone))
        return Batch(kept if level == "error" else self.rows, self.fates, self.stage)

    def _split(self, mask: Any) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        chosen = _as_mask(mask)
        if len(chosen) != len(self):
            raise ValueError(f"mask of {len(chosen)} for {len(self)} documents")
        if not chosen.any():
            return self.rows.slice(0, 0), self.rows
        return self.rows.filter(pa.array(chosen)), self.rows.filter(pa.array(~chosen))


def _as_mask(mask: Any) -> npt.NDArray[np.bool_]:
    """The mask without nulls, as a NumPy array of booleans."""
    if isinstance(mask, pa.ChunkedArray):
        mask = mask.combine_chunks()
    array = mask if isinstance(mask, pa.Array) else pa.array(mask, pa.bool_())
    if array.type != pa.bool_():
        raise TypeError(f"a mask must be boolean, not {array.type}")
    if array.null_count:
        array = array.fill_null(False)
    flags: npt.NDArray[np.bool_] = array.to_numpy(zero_copy_only=False).astype(bool)
    return flags


def _spread(value: Any, type_: pa.DataType, chosen: pa.Array) -> pa.Array:
    """``value`` for the chosen rows: a constant is repeated, an array is filtered."""
    n = int(chosen.true_count)
    if value is None or isinstance(value, (str, int, float)):
        return pa.array([value] * n, type_)
    array = value if isinstance(value, (pa.Array, pa.ChunkedArray)) else pa.array(value)
    return array.cast(type_).filter(chosen)
