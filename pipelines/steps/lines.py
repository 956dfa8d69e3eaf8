"""Lines and paragraphs that many documents share: counted per shard, summed by key range, marked per shard."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import ThresholdError
from pipelines.steps import opt_out
from pipelines.steps.base import WHOLE, Result, Run, Step, Work
from pipelines.steps.lines_mark import MarkUnits
from pipelines.steps.lines_step import UnitStep, filter_quality, partition_count, partition_names, range_names
from pipelines.steps.lines_tally import TallyUnits

if TYPE_CHECKING:
    from curate.dedup.lines.count import Counts

KINDS = ("lines", "paragraphs")


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps of the entries `lines` and `paragraphs`."""
    before = tuple(step.name for step in labelled)
    steps: list[Step] = []
    for kind in KINDS:
        if run.config.duplicates(kind):
            steps += [CountUnits(run, kind, before), MergeUnits(run, kind, before)]
            check = CheckFilter(run, kind, before)
            steps += [check] if check.options.counting == "bloom" else []
            steps += [MarkUnits(run, kind, before), TallyUnits(run, kind, before)]
    return steps


class CountUnits(UnitStep):
    """Counts in how many documents of a shard each line (paragraph) occurs.

    Outputs: steps/<kind>_count/<shard>.parquet, sorted by key. Memory: 100 bytes per unit, for 4 million units at a
    time; more go through scratch files.
    """

    suffix = "_count"

    def __init__(self, run: Run, kind: str, before: tuple[str, ...]) -> None:
        super().__init__(run, kind, before)
        self.after = (*before, *((opt_out.NAME,) if run.config.opt_out is not None else ()))

    def material(self) -> dict[str, Any]:
        return self.counting()

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.lines.count import ShardCounter

        with tempfile.TemporaryDirectory(prefix="curate-lines-", dir=work.scratch) as scratch:
            counter = ShardCounter(self.options, Path(scratch))
            for batch in self.live(partition, work):
                counter.add(batch.column("id"), batch.column("text"))
            sealed = counter.write(self.run.folder, f"steps/{self.name}/{partition}.parquet")
        counts = {"documents": counter.documents, "units": counter.units, "seal": sealed.seal}
        return Result([sealed.output], counts)


class MergeUnits(UnitStep):
    """Sums the counts of all shards in a range of keys and keeps what is repeated.

    Outputs: steps/<kind>_merge/<range>.parquet: repeated units, sorted by key, or the cells of a filter. Memory: 90
    bytes per different unit of the range; for a filter its cells, and one shard's units of the range.
    """

    suffix = "_merge"
    aligned = False

    def __init__(self, run: Run, kind: str, before: tuple[str, ...]) -> None:
        super().__init__(run, kind, before)
        self.after = (f"{kind}_count",)

    def partitions(self) -> list[str]:
        return partition_names(partition_count(self.run, self.options))

    def material(self) -> dict[str, Any]:
        of_filter = ("false_positive_rate", "expected") if self.options.counting == "bloom" else ()
        said = self.said("min_occurrences", "examples", "counting", *of_filter)
        return {**said, "partitions": len(self.partitions())}

    def execute(self, partition: str, work: Work) -> Result:
        return self._filter(partition) if self.options.counting == "bloom" else self._exact(partition)

    def _exact(self, partition: str) -> Result:
        from curate.dedup.lines.count import COUNTS, histogram, merged
        from curate.store.sections import write_sections

        total = merged(self._counts(partition))
        repeated = total.chosen(total.documents >= self.options.min_occurrences)
        name = f"steps/{self.name}/{partition}.parquet"
        about = {"top": _most_frequent(repeated, self.options.examples)}
        sealed = write_sections(self.run.folder, name, COUNTS, iter([(0, repeated.table())]), about)
        counts = {
            "distinct": len(total), "repeated": len(repeated), "histogram": histogram(total.documents),
            "occurrences": int(repeated.documents.sum(dtype=np.int64)), "seal": sealed.seal,
        }  # fmt: skip
        return Result([sealed.output], counts)

    def _filter(self, partition: str) -> Result:
        from curate.dedup.lines.bloom import CELLS, Size, about, fill_filter
        from curate.dedup.lines.count import histogram
        from curate.store.sections import write_sections

        entries = sum(len(part) for part in self._counts(partition))
        expected = self.options.expected
        wanted = entries if expected is None else -(-expected // len(self.partitions()))
        size = Size.for_keys(wanted, self.options.false_positive_rate)
        made, measured = fill_filter(self._counts(partition), size, entries, self.options.min_occurrences)
        name = f"steps/{self.name}/{partition}.parquet"
        sealed = write_sections(self.run.folder, name, CELLS, iter([(0, made.table())]), about(size))
        counts = {
            **about(size), "fill": made.fill, "estimated_rate": made.estimated_rate(),
            "distinct": made.estimated_keys(), "sampled_one_in": measured.one_in,
            "sampled_single": measured.single, "sampled_wrong": measured.wrong,
            "histogram": histogram(measured.sample.documents), "seal": sealed.seal,
        }  # fmt: skip
        return Result([sealed.output], counts)

    def _counts(self, partition: str) -> Iterator[Counts]:
        from curate.dedup.lines.count import read_counts
        from curate.store.sections import SectionReader

        for shard in self.run.shards:
            sealed = self.sealed(f"{self.kind}_count", shard)
            with SectionReader(self.run.folder, sealed.output.path, sealed) as reader:
                yield read_counts(reader, int(partition), len(self.partitions()))


class CheckFilter(UnitStep):
    """Stops the run (exit 3) if the Bloom filter takes too many lines (paragraphs) for repeated that are not.

    Nothing has been marked then. Only this step is redone where only the limit is changed.
    """

    suffix = "_check"
    aligned = False
    gate = True

    def __init__(self, run: Run, kind: str, before: tuple[str, ...]) -> None:
        super().__init__(run, kind, before)
        self.after = (f"{kind}_merge",)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return self.said("max_false_positive_rate")

    def execute(self, partition: str, work: Work) -> Result:
        found = filter_quality([self.receipt(f"{self.kind}_merge", r).counts for r in range_names(self)])
        limit = self.options.max_false_positive_rate
        measured, estimated = found["measured_false_positive_rate"], found["estimated_false_positive_rate"]
        if limit is not None and max(measured, estimated) > limit:
            option = f"dedup.{self.kind}"
            raise ThresholdError(
                f"{self.name}: the Bloom filter is {found['fill']:.0%} full and takes {measured:.2%} of a sample of "
                f"{self.kind} for repeated that are not (estimated at most: {estimated:.2%}), more than "
                f"{option}.max_false_positive_rate allows ({limit:.2%}). Make it larger: --set {option}.expected="
                f"{found['distinct_estimated']} or more (or null), or lower {option}.false_positive_rate, or count "
                "exactly. Nothing was marked yet"
            )
        return Result([], {name: value for name, value in found.items() if value is not None})


def _most_frequent(counts: Counts, n: int) -> list[list[Any]]:
    """(documents, key, smallest id) of the units that most documents hold, by documents, then key."""
    order = np.lexsort((counts.key, -counts.documents.astype(np.int64)))[:n]
    return [
        [int(counts.documents[i]), f"{counts.key[i]:016x}", f"{counts.high[i]:016x}{counts.low[i]:016x}"]
        for i in order.tolist()
    ]
