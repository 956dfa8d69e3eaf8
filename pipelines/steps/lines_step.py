"""What the steps for lines and paragraphs share: their options, the documents they look at, the files they read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.lines.config import LinesConfig
from curate.errors import VerificationError
from curate.store.receipts import Receipt, read_receipt
from pipelines.fates import ROW
from pipelines.shard_reader import ShardReader
from pipelines.steps import opt_out
from pipelines.steps.base import Run, Step, Work

if TYPE_CHECKING:
    from curate.store.sections import Sealed, SectionReader

SURVIVOR = "dedup_is_survivor"
#: steps before these that may drop documents of a written shard
_DROPPING = ("labels",)
_INPUT_PER_PARTITION = 2 << 30
_MOST_PARTITIONS = 1024


class UnitStep(Step):
    """What the four steps of a kind share.

    Args:
        kind: lines or paragraphs.
        before: steps whose labels or drops say which documents are looked at.
    """

    suffix: ClassVar[str] = ""

    def __init__(self, run: Run, kind: str, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self.kind, self.before = kind, before
        self.name = f"{kind}{self.suffix}"  # type: ignore[misc]  # one class, two kinds
        (options,) = run.config.duplicates(kind)
        assert isinstance(options, LinesConfig)
        self.options = options

    def said(self, *names: str) -> dict[str, Any]:
        found: dict[str, Any] = self.options.model_dump(mode="json", include=set(names))
        return found

    def counting(self) -> dict[str, Any]:
        """What decides how units are counted."""
        return self.said("digits", "min_words", "min_bytes", "counting", "separator")

    def live(self, partition: str, work: Work) -> Iterator[pa.RecordBatch]:
        """Ids, texts and rows of the documents that are still survivors."""
        dropped_by = tuple(s for s in self.before if s in _DROPPING)
        reader = ShardReader(self.run.folder, partition, labels=self.before, dropped_by=dropped_by)
        left_out = opt_out.listed(self.run, partition)
        done = 0
        for batch in reader.batches(columns=["id", "text"], labels=[SURVIVOR]):
            done += batch.num_rows
            work.marks.set(documents=done)
            index = batch.schema.get_field_index(SURVIVOR)
            mask = pc.fill_null(batch.column(index), False) if index >= 0 else pa.array(np.ones(len(batch), np.bool_))
            if left_out is not None:
                mask = pc.and_(mask, pa.array(~left_out[batch.column(batch.schema.names.index(ROW)).to_numpy()]))
            yield batch.filter(mask)

    def receipt(self, step: str, partition: str) -> Receipt:
        found = read_receipt(self.run.folder, step, partition)
        if found is None:
            raise VerificationError(
                f"{self.name}: {step}/{partition} has no receipt, so its counts are not known; run the same command "
                "again, and it is counted anew"
            )
        return found

    def sealed(self, step: str, partition: str) -> Sealed:
        from curate.store.sections import Sealed

        receipt = self.receipt(step, partition)
        return Sealed(receipt.outputs[0], receipt.counts["seal"])


def partition_count(run: Run, options: LinesConfig) -> int:
    """Key ranges that are merged apart: as the config says, or by the size of the inputs."""
    if options.partitions is not None:
        return options.partitions
    size = sum(entry.size for entry in run.manifest.entries)
    return min(_MOST_PARTITIONS, 1 << max(0, (size // _INPUT_PER_PARTITION).bit_length()))


def partition_names(n: int) -> list[str]:
    """Names of the key ranges: their numbers."""
    return [f"{k:04d}" for k in range(n)]


def open_ranges(step: UnitStep, stack: ExitStack) -> list[SectionReader]:
    """The merged ranges, open."""
    from curate.store.sections import SectionReader

    sealed = [step.sealed(f"{step.kind}_merge", name) for name in range_names(step)]
    return [stack.enter_context(SectionReader(step.run.folder, s.output.path, s)) for s in sealed]


def top_of(readers: list[SectionReader], n: int) -> list[tuple[int, str, str]]:
    """(documents, key, smallest id) of the most frequent units of all ranges."""
    found = [(int(a), str(b), str(c)) for reader in readers for a, b, c in reader.about["top"]]
    return sorted(found, key=lambda one: (-one[0], one[1]))[:n]


def range_names(step: UnitStep) -> list[str]:
    """Names of the key ranges of a step's kind."""
    return partition_names(partition_count(step.run, step.options))


def filter_quality(merges: list[dict[str, Any]]) -> dict[str, Any]:
    """How well the filters of all key ranges do, from the receipts that filled them.

    Returns:
        ``fill`` and ``estimated_false_positive_rate`` of the worst range, ``measured_false_positive_rate`` over the
        samples of all ranges, the ``sampled`` units that are not repeated and how many of them are ``wrong``, ``cells``
        (half a byte each), ``hashes`` and the different units that the fill tells (``distinct_estimated``).
    """
    single, wrong = (sum(int(one[name]) for one in merges) for name in ("sampled_single", "sampled_wrong"))
    return {
        "cells": sum(int(one["cells"]) for one in merges), "hashes": max(int(one["hashes"]) for one in merges),
        "fill": max(float(one["fill"]) for one in merges),
        "estimated_false_positive_rate": max(float(one["estimated_rate"]) for one in merges),
        "measured_false_positive_rate": wrong / single if single else 0.0, "sampled": single, "wrong": wrong,
        "distinct_estimated": sum(int(one["distinct"]) for one in merges),
    }  # fmt: skip
