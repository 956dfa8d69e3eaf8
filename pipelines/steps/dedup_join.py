"""Keys of all shards, range by range: which documents are candidates of each other, or copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.dedup_files import (
    checked_columns,
    partition_names,
    sealed_result,
)
from pipelines.steps.dedup_sign import OPT_OUT, plan_of
from pipelines.steps.dedup_sources import Source, Sources, index_of

if TYPE_CHECKING:
    from curate.dedup.keys import Entries
    from curate.dedup.links import Link
    from curate.dedup.opt_out import OptOut

#: the finest cut of the keys, that of a key file
_MOST_RANGES = 1024


def links_name(partition: str) -> str:
    """Where the links of a range of keys lie."""
    return f"steps/{DedupJoin.name}/{partition}.parquet"


class DedupJoin(Step):
    """Finds the documents that share a key, over one range of keys of all shards.

    Outputs: steps/dedup_join/<partition>.parquet (``LINKS``; sections: pairs, stars, buckets). Documents that
    ``opt_out`` lists take no part; those of earlier runs are not linked with each other. Memory: about 64 bytes for
    each of 2 million entries (or of a thousandth of all, if that is more), 24 bytes per link of the range, and one bit
    per document if there is an opt-out list.
    """

    name = "dedup_join"
    aligned = False
    #: joined at a time, about 64 bytes each
    entries_at_once: ClassVar[int] = 1 << 21

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self._asked = OPT_OUT in before
        self._lists: OptOut | None = None
        self.after = ("dedup_sign", *([OPT_OUT] if self._asked else []), *(["dedup_earlier"] if index_of(run) else []))

    def partitions(self) -> list[str]:
        return partition_names(self.run, self.plan)

    def material(self) -> dict[str, Any]:
        minhash = self.plan.minhash
        return {"small_bucket": minhash.small_bucket if minhash is not None else None}

    def partition_material(self, partition: str) -> dict[str, Any]:
        return {"range": partition, "of": len(self.partitions())}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.links import LINKS, link_entries, merge_ranges
        from curate.store.sections import write_sections

        small = self.plan.minhash.small_bucket if self.plan.minhash is not None else 2
        k, n = int(partition), len(self.partitions())
        sources = Sources(self.run)
        pieces = self._pieces(sources, n)
        listed: dict[str, npt.NDArray[np.uint8]] = {}

        def ranges() -> Iterator[tuple[Link, Link, Link]]:
            for piece in range(pieces):
                work.marks.set(documents=piece)
                entries = self._entries(sources, k * pieces + piece, n * pieces, listed)
                yield link_entries(entries, small, sources.fixed)

        links = merge_ranges(ranges())
        parts = ((kind, link.table()) for kind, link in enumerate(links))
        written = write_sections(self.run.folder, links_name(partition), LINKS, parts, {})
        return sealed_result([written], {"pairs": len(links[0].key), "stars": len(links[1].key)})

    def _pieces(self, sources: Sources, n: int) -> int:
        """In how many pieces the range is joined: a power of two."""
        entries = sum(source.entries for source in sources.all)
        wanted = -(-entries // (n * self.entries_at_once))
        return max(1, min(_MOST_RANGES // n, 1 << max(0, wanted - 1).bit_length()))

    def _entries(self, sources: Sources, k: int, n: int, listed: dict[str, npt.NDArray[np.uint8]]) -> Entries:
        from curate.dedup.keys import join_entries, read_keys

        def parts() -> Iterator[tuple[int, pa.Table, npt.NDArray[np.bool_] | None]]:
            for number, source in enumerate(sources.all):
                with sources.keys(source) as reader:
                    table = read_keys(reader, k, n)
                yield int(sources.first[number]), table, self._taking_part(sources, source, listed)

        return join_entries(parts())

    def _taking_part(
        self, sources: Sources, source: Source, listed: dict[str, npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.bool_] | None:
        """The rows of a source that nobody asked to leave out; None if that is all of them."""
        if not self._asked:
            return None
        if source.name not in listed:
            asked = self._asked_earlier(sources, source) if source.part else listed_rows(self.run, source.name)
            listed[source.name] = np.packbits(asked) if asked.any() else np.zeros(0, np.uint8)
        packed = listed[source.name]
        return ~np.unpackbits(packed, count=source.rows).astype(np.bool_) if len(packed) else None

    def _asked_earlier(self, sources: Sources, source: Source) -> npt.NDArray[np.bool_]:
        """The survivors of an earlier run whose ids are listed; their addresses are not known."""
        from curate.dedup.opt_out import OptOut
        from pipelines.steps.opt_out import lists_of

        section = self.run.config.opt_out
        assert section is not None
        if self._lists is None:
            self._lists = OptOut(lists_of(section, self.run.base))
        table = sources.signatures(source, ["id", "source_id"])
        nothing = pa.nulls(table.num_rows, pa.string())
        ids, own = (_one(table, name, nothing) for name in ("id", "source_id"))
        found: npt.NDArray[np.bool_] = self._lists.match(ids, own, nothing).labels.column(0).to_numpy(False)
        return found


def listed_rows(run: Run, shard: str) -> npt.NDArray[np.bool_]:
    """Per row of a document shard whether an opt-out list names it, checked against the receipt."""
    name = f"labels/{OPT_OUT}/{shard}.parquet"
    column = checked_columns(run.folder, OPT_OUT, shard, name, ["opt_out_listed"]).column(0)
    found: npt.NDArray[np.bool_] = column.fill_null(False).to_numpy().astype(np.bool_)
    return found


def _one(table: pa.Table, name: str, otherwise: pa.Array) -> pa.Array:
    if name not in table.column_names:
        return otherwise
    chunks = table.column(name).chunks
    return pa.concat_arrays(chunks) if chunks else otherwise
