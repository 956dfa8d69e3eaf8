"""Repeated spans: seeds per shard, joined by key range, then stretches likewise, then the spans of each document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY
from curate.store.receipts import read_receipt
from curate.store.shards import ShardWriter
from pipelines.fates import ROW
from pipelines.shard_reader import ShardReader
from pipelines.steps import opt_out
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

if TYPE_CHECKING:
    from curate.dedup.substring.config import SubstringConfig
    from curate.dedup.substring.find import Slice

NAME = "substring"
TALLY_NAME = "dedup/substring.json"
#: what the ledger says of documents that cutting leaves with too little
REASONS = {f"{NAME}:nothing_left": "fewer words than substring.min_remaining_words are left after its spans were cut"}
#: the label by which duplicates are told
_SURVIVOR = "dedup_is_survivor"
#: options that decide what select does with the spans, not which spans there are
_LATER = {"remove", "min_remaining_words"}


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps that find repeated spans."""
    before = tuple(step.name for step in labelled)
    kinds = (SubstringSeeds, SubstringActive, SubstringWindows, SubstringRepeats, Substring, SubstringTally)
    return [kind(run, before) for kind in kinds]


class _SubstringStep(Step):
    """What the steps share: the options, the key ranges, the documents that are looked at."""

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self._before = before
        self._listed = (opt_out.NAME,) if run.config.opt_out is not None else ()
        self.config: SubstringConfig = run.config.duplicates(NAME)[0]  # type: ignore[assignment]
        self.ranges = self.config.partitions_for(sum(e.size for e in run.manifest.entries))
        self.after = (*self._needs(), *before, *self._listed)

    def _needs(self) -> tuple[str, ...]:
        """Steps of this module that come before."""
        return ()

    def material(self) -> dict[str, Any]:
        return {"substring": self.config.model_dump(mode="json", exclude=_LATER), "ranges": self.ranges}

    def batches(self, partition: str, work: Work) -> Iterator[pa.RecordBatch]:
        """``id``, ``text``, ``row`` of the documents that still stand: not dropped, no duplicates, not opted out."""
        dropped_by = tuple(s for s in self._before if s == "labels")
        reader = ShardReader(self.run.folder, partition, labels=self._before, dropped_by=dropped_by)
        listed = opt_out.listed(self.run, partition)
        done = 0
        for batch in reader.batches(columns=["id", "text"], labels=[_SURVIVOR]):
            done += batch.num_rows
            work.marks.set(documents=done)
            if batch.schema.get_field_index(_SURVIVOR) >= 0:
                batch = batch.filter(pc.fill_null(batch.column(_SURVIVOR), False))
            if listed is not None:
                batch = batch.filter(pa.array(~listed[batch.column(ROW).to_numpy()]))
            if batch.num_rows:
                yield batch.select(["id", "text", ROW]).rename_columns(["id", "text", "row"])


class _OverRanges(_SubstringStep):
    """A join: one task per key range, whatever the shards are called."""

    aligned = False

    def partitions(self) -> list[str]:
        from curate.dedup.substring.find import range_name

        return [range_name(k) for k in range(self.ranges)]


class SubstringSeeds(_SubstringStep):
    """Samples the texts of a shard: one run of words in every stretch that might repeat, as hashes.

    Outputs: steps/substring_seeds/<shard>.parquet. Memory: 4 MiB of text and 4 Mi seeds, about 400 MB in all.
    """

    name = "substring_seeds"

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.substring.find import sign_shard

        output = sign_shard(self.run.folder, partition, self.batches(partition, work), self.config, self.ranges)
        return Result([output], {"seeds": output.rows})


class SubstringActive(_OverRanges):
    """Finds the sampled runs that occur often enough, per range of hashes.

    Outputs: steps/substring_active/<range>.parquet, a bit per seed. Memory: 4 Mi seeds at a time, about 400 MB.
    """

    name = "substring_active"

    def _needs(self) -> tuple[str, ...]:
        return (SubstringSeeds.name,)

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.substring.find import join_seeds

        number = self.partitions().index(partition)
        output, active = join_seeds(self.run.folder, self.run.shards, self.config, number, self.ranges)
        return Result([output], {"active": active})


class SubstringWindows(_SubstringStep):
    """Hashes every stretch around those runs.

    Outputs: steps/substring_windows/<shard>.parquet (hashes per key range) and <shard>.places.parquet. Memory: 4 MiB of
    text and 4 to 8 Mi stretches, about 450 MB for words, 800 MB for bytes (measured, beside the interpreter).
    """

    name = "substring_windows"

    def _needs(self) -> tuple[str, ...]:
        return (SubstringSeeds.name, SubstringActive.name)

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.substring.find import find_windows

        outputs = find_windows(self.run.folder, partition, self.batches(partition, work), self.config, self.ranges)
        return Result(outputs, {"windows": outputs[0].rows, "places": outputs[1].rows})


class SubstringRepeats(_OverRanges):
    """Finds the stretches that repeat and where each occurs first, per range of hashes.

    Outputs: steps/substring_repeats/<range>.parquet, two bits per stretch and shard. Memory: 4 Mi stretches at a time,
    about 500 MB.
    """

    name = "substring_repeats"

    def _needs(self) -> tuple[str, ...]:
        return (SubstringWindows.name,)

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.substring.find import join_windows

        number = self.partitions().index(partition)
        output, top, different = join_windows(self.run.folder, self.run.shards, self.config, number, self.ranges)
        return Result([output], {"repeated": different, "most_frequent": [f.as_dict() for f in top]})


class Substring(_SubstringStep):
    """Records the repeated spans of each document.

    Outputs: labels/substring/<shard>.parquet, row-aligned with documents/<shard>.parquet; null for documents that were
    dropped before, are duplicates of others or are opted out. Memory: 4 MiB of text, the places of 4 Mi stretches, two
    bits per different stretch of the shard, the shard's ids: about 300 MB.
    """

    name = NAME
    cuts: tuple[str, ...] = ()

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run, before)
        if self.config.remove:
            from curate.dedup.substring.labels import SPANS_COLUMN

            self.cuts, self.min_remaining_words = (SPANS_COLUMN,), self.config.min_remaining_words

    def _needs(self) -> tuple[str, ...]:
        return (SubstringWindows.name, SubstringRepeats.name)

    def columns(self) -> pa.Schema:
        from curate.dedup.substring.labels import LABELS

        return LABELS

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.substring.find import SpanFinder, slices

        schema = pa.schema([IDENTITY.field("id"), *self.columns()])
        ids = self.run.folder.table(f"documents/{partition}.parquet", ["id"])["id"]
        rows = _Rows(ids, schema)
        counts = dict.fromkeys(_COUNTED, 0)
        writer = ShardWriter(self.run.folder, f"labels/{self.name}/{partition}.parquet", schema)
        try:
            with SpanFinder.opened(self.run.folder, partition, self.config, self.ranges) as finder:
                for part in slices(self.batches(partition, work)):
                    found = finder.spans(part)
                    _count(counts, part, found)
                    for batch in rows.upto(part, found):
                        writer.write(batch)
            for batch in rows.rest():
                writer.write(batch)
            output = writer.close()
        except BaseException:
            writer.abandon()
            raise
        return Result([output], {"documents": output.rows, **counts})


class SubstringTally(_SubstringStep):
    """Adds up the repeated spans of the corpus.

    Outputs: dedup/substring.json.
    """

    name = "substring_tally"
    aligned: ClassVar[bool] = False

    def _needs(self) -> tuple[str, ...]:
        return (SubstringRepeats.name, Substring.name)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.substring.find import Frequent, most_frequent, range_name

        sums = dict.fromkeys(_COUNTED, 0)
        for shard in self.run.shards:
            counts = self._counts(Substring.name, shard)
            sums = {name: n + counts[name] for name, n in sums.items()}
        joins = [self._counts(SubstringRepeats.name, range_name(k)) for k in range(self.ranges)]
        top = most_frequent(
            Frequent(f["count"], f["hash"], f["first_document"]) for join in joins for f in join["most_frequent"]
        )
        tally = {
            **sums,
            "repeated_windows": sum(join["repeated"] for join in joins),
            "unit": self.config.unit,
            "n": self.config.n,
            "counted": "places" if self.config.within else "documents",
            "most_frequent": [f.as_dict() for f in top],
        }
        text = json.dumps(tally, indent=1, sort_keys=True).encode("ascii")
        self.run.folder.write(TALLY_NAME, text)
        return Result([plain_output(TALLY_NAME, text)], sums)

    def _counts(self, step: str, partition: str) -> dict[str, Any]:
        receipt = read_receipt(self.run.folder, step, partition)
        assert receipt is not None  # the scheduler begins this task after those
        return receipt.counts


#: what each shard's receipt counts, and the tally adds up
_COUNTED = (
    "documents_looked_at", "text_bytes", "documents_with_spans", "spans", "span_bytes", "documents_with_first_spans",
    "first_spans", "first_span_bytes",
)  # fmt: skip


def _count(counts: dict[str, int], part: Slice, found: tuple[pa.Array, pa.Array, pa.Array]) -> None:
    counts["documents_looked_at"] += len(part.rows)
    counts["text_bytes"] += int(part.offsets[-1] - part.offsets[0])
    for column, word in ((found[0], ""), (found[1], "first_")):
        spans = column.flatten()
        lengths = pc.subtract(pc.struct_field(spans, "end"), pc.struct_field(spans, "start"))
        touched = pc.greater(pc.list_value_length(column), 0)
        counts[f"documents_with_{word}spans"] += pc.sum(touched).as_py() or 0
        counts[f"{word}spans"] += len(spans)
        counts[f"{word}span_bytes"] += pc.sum(lengths).as_py() or 0


class _Rows:
    """Label rows of a whole shard from those of some of its documents: null for the others."""

    def __init__(self, ids: pa.ChunkedArray, schema: pa.Schema) -> None:
        self._ids, self._schema, self._done = ids, schema, 0

    def upto(self, part: Slice, found: tuple[pa.Array, ...]) -> Iterator[pa.RecordBatch]:
        """All rows up to the last of ``part``."""
        stop = int(part.rows[-1]) + 1
        place = np.full(stop - self._done, -1, np.int32)
        place[part.rows - self._done] = np.arange(len(part.rows), dtype=np.int32)
        index = pa.array(place, mask=place < 0)
        yield self._batch(stop, [column.take(index) for column in found])

    def rest(self) -> Iterator[pa.RecordBatch]:
        """All rows after the last."""
        stop = len(self._ids)
        if stop > self._done:
            yield self._batch(stop, [pa.nulls(stop - self._done, f.type) for f in list(self._schema)[1:]])

    def _batch(self, stop: int, columns: list[pa.Array]) -> pa.RecordBatch:
        ids = self._ids.slice(self._done, stop - self._done).combine_chunks()
        self._done = stop
        one = ids.chunk(0) if isinstance(ids, pa.ChunkedArray) else ids
        return pa.RecordBatch.from_arrays([one, *columns], schema=self._schema)
