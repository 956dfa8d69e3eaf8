"""Rehydration: how often each survivor is repeated, by what it stood for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.rehydrate_config import RehydrateConfig
from curate.documents import IDENTITY, column
from curate.errors import ConfigError
from curate.store.receipts import read_receipt
from curate.store.shards import write_shard
from pipelines.shard_reader import ShardReader
from pipelines.steps import opt_out
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

NAME = "rehydrate"
TALLY = "dedup/rehydrate.json"
WEIGHT = column(
    "rehydrate_weight",
    pa.int32(),
    "how often the document is repeated, by the size of its cluster; null for documents that do not stay",
    range_="0–",
)
_SURVIVOR = "dedup_is_survivor"
#: steps before this one that may drop documents of a written shard
_DROPPING = ("labels",)


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps of the entry `rehydrate`."""
    before = tuple(step.name for step in labelled)
    return [RehydrateLabels(run, before), RehydrateTally(run)]


def options_of(run: Run) -> RehydrateConfig:
    """The entry's options."""
    (options,) = run.config.duplicates(NAME)
    assert isinstance(options, RehydrateConfig)
    return options


class RehydrateLabels(Step):
    """Says how often each survivor of a shard is repeated.

    Outputs: labels/rehydrate/<shard>.parquet. Memory: 100 bytes per document of the shard; no text is read.
    """

    name = NAME

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self._before = before
        self._options = options_of(run)
        self.after = (*before, *((opt_out.NAME,) if run.config.opt_out is not None else ()))

    def material(self) -> dict[str, Any]:
        return self._options.model_dump(mode="json")

    def columns(self) -> pa.Schema:
        return pa.schema([WEIGHT])

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.rehydrate import tally, weights

        ids = self.run.folder.table(f"documents/{partition}.parquet", ["id"]).column("id").combine_chunks()
        sizes = self._sizes(partition, len(ids))
        schema = pa.schema([IDENTITY.field("id"), WEIGHT])
        table = pa.Table.from_arrays([ids, weights(sizes, self._options.table)], schema=schema)
        written = write_shard(self.run.folder, f"labels/{NAME}/{partition}.parquet", schema, table.to_batches())
        told = sizes.drop_null().to_numpy().astype(np.int64)
        return Result([written], {"documents": len(told), "tally": tally(told, self._options.table)})

    def _sizes(self, partition: str, rows: int) -> pa.Array:
        """Cluster sizes of the documents that stay; null for the others."""
        dropped_by = tuple(step for step in self._before if step in _DROPPING)
        reader = ShardReader(self.run.folder, partition, labels=self._before, dropped_by=dropped_by)
        found = reader.label_table([self._options.by, _SURVIVOR])
        if found is None or self._options.by not in found.column_names:
            raise ConfigError(
                f"dedup.rehydrate.by: no step before makes the column {self._options.by!r}; `exact` and `minhash` make "
                "`dedup_size`"
            )
        if not pa.types.is_integer(found.schema.field(self._options.by).type):
            raise ConfigError(f"dedup.rehydrate.by: the column {self._options.by!r} does not hold whole numbers")
        stays = reader.alive(rows)
        if _SURVIVOR in found.column_names:
            stays &= pc.fill_null(found[_SURVIVOR], False).to_numpy()
        if (listed := opt_out.listed(self.run, partition)) is not None:
            stays &= ~listed
        sizes = pc.cast(found[self._options.by], pa.int64()).combine_chunks()
        return pc.if_else(pa.array(stays), sizes, pa.scalar(None, pa.int64()))


class RehydrateTally(Step):
    """Adds up by cluster size how many documents there are and how many they become.

    Outputs: dedup/rehydrate.json. It counts the survivors of duplicate removal; `keep` may take more of them away.
    """

    name = "rehydrate_tally"
    after = (NAME,)
    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.rehydrate import added

        receipts = [read_receipt(self.run.folder, NAME, shard) for shard in self.run.shards]
        options = options_of(self.run)
        rows = added([r.counts["tally"] for r in receipts if r is not None], options.table)
        body = {
            "by": options.by, "sizes": rows, "documents": sum(row["documents"] for row in rows),
            "clustered": sum(row["clustered"] for row in rows), "repeated": sum(row["repeated"] for row in rows),
        }  # fmt: skip
        text = json.dumps(body, indent=1).encode("ascii")
        self.run.folder.write(TALLY, text)
        return Result([plain_output(TALLY, text)], {"documents": body["documents"], "repeated": body["repeated"]})
