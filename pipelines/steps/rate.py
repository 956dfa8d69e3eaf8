"""The pass of the raters: all cards of the config over the live documents of a shard, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.contract import Rater, SharedTexts, rater_stage
from curate.documents import IDENTITY, Batch
from curate.errors import ConfigError
from pipelines.fates import ROW
from pipelines.shard_reader import ShardReader
from pipelines.stage_chain import stage_material
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.label_pass import all_of, label_pass, stack
from pipelines.survival import SURVIVALS

#: steps before this one that may drop documents of a written shard
_DROPPING = ("labels",)


class Rate(Step):
    """Adds the columns of every card that ``labels`` of the config names; drops nothing.

    Duplicates and documents that an earlier pass dropped are not rated: null in every label, status ``not_asked``.

    Outputs: labels/rate/<shard>.parquet, row-aligned with documents/<shard>.parquet, dropped/ (always empty), failed/
    (documents on which a rater broke).
    """

    name = "rate"

    def __init__(self, run: Run, labelled: list[Step]) -> None:
        super().__init__(run)
        self.after = tuple(s.name for s in labelled)
        texts = SharedTexts()
        self.raters = [rater_stage(card, run.base, texts) for card in run.config.labels]
        self._schema = _columns(self.raters)

    def material(self) -> dict[str, Any]:
        return {
            "raters": [stage_material(rater, self.run.base) for rater in self.raters],
            "keep_dropped_text": self.run.config.run.keep_dropped_text,
        }

    def columns(self) -> pa.Schema:
        return self._schema

    def execute(self, partition: str, work: Work) -> Result:
        reader = ShardReader(self.run.folder, partition, labels=self.after)
        live = _Live(ShardReader(self.run.folder, partition, dropped_by=self._before()))
        result = label_pass(self, partition, work, reader, [*self.raters], self._aligned, live.asked)
        told = {rater.name: dict(counts) for rater in self.raters if (counts := rater.counts())}
        return Result(result.outputs, {**result.counts, "raters": told}) if told else result

    def _before(self) -> tuple[str, ...]:
        return tuple(name for name in self.after if name in _DROPPING)

    def _aligned(self, out: Batch, read: pa.RecordBatch) -> pa.RecordBatch:
        """Labels of all documents of the shard in their order; the status says which were not rated."""
        schema = pa.schema([IDENTITY.field("id"), *self._schema])
        pieces = [self._with_status(piece, "model_error") for piece in all_of(out)]
        asked = np.concatenate([_rows(piece) for piece in pieces])
        rest = read.filter(pa.array(~np.isin(_rows(read), asked)))
        return stack([*pieces, self._with_status(rest, "not_asked")], schema)

    def _with_status(self, rows: pa.RecordBatch, status: str) -> pa.RecordBatch:
        """The rows with this status of each rater that did not give them one."""
        for rater in self.raters:
            field = rater.status_field()
            if rows.schema.get_field_index(field.name) < 0:
                rows = rows.append_column(field, pa.array([status] * rows.num_rows, pa.string()))
        return rows


class _Live:
    """Which documents of a shard are rated."""

    def __init__(self, reader: ShardReader) -> None:
        self._reader = reader
        self._alive: np.ndarray[Any, np.dtype[np.bool_]] | None = None

    def asked(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that no earlier step dropped and that are no duplicates."""
        if self._alive is None:
            with self._reader.folder.parquet(f"documents/{self._reader.partition}.parquet") as file:
                self._alive = self._reader.alive(file.metadata.num_rows)
        mask = self._alive[_rows(rows)]
        for survival in SURVIVALS:
            index = rows.schema.get_field_index(survival.label)
            if index >= 0:
                mask = mask & pc.fill_null(rows.column(index), False).to_numpy(zero_copy_only=False)
        return rows.filter(pa.array(mask))


def _rows(piece: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.int32]]:
    found: np.ndarray[Any, np.dtype[np.int32]] = piece.column(piece.schema.get_field_index(ROW)).to_numpy()
    return found


def _columns(raters: list[Rater]) -> pa.Schema:
    """Columns of all raters; ConfigError if two give the same one."""
    fields: dict[str, tuple[pa.Field, str]] = {}
    for rater in raters:
        for field in rater.adds():
            if field.name in fields:
                raise ConfigError(
                    f"labels: the cards {fields[field.name][1]!r} and {rater.name!r} both give the column "
                    f"{field.name!r}; name one of them only, or rename one in a card of your own"
                )
            fields[field.name] = (field, rater.name)
    return pa.schema([field for field, _ in fields.values()])
