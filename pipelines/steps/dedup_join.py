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
    document_numbers,
    partition_names,
    receipt_of,
    sealed_file,
    sealed_result,
)
from pipelines.steps.dedup_sign import OPT_OUT, keys_name, plan_of

if TYPE_CHECKING:
    from curate.dedup.links import Link

#: the finest cut of the keys, that of a key file
_MOST_RANGES = 1024


def links_name(partition: str) -> str:
    """Where the links of a range of keys lie."""
    return f"steps/{DedupJoin.name}/{partition}.parquet"


class DedupJoin(Step):
    """Finds the documents that share a key, over one range of keys of all shards.

    Outputs: steps/dedup_join/<partition>.parquet (``LINKS``; sections: pairs, stars, buckets). Documents that
    ``opt_out`` lists take no part. Memory: about 64 bytes for each of 2 million entries (or of a thousandth of all, if
    that is more), 24 bytes per link of the range, and one bit per document if there is an opt-out list.
    """

    name = "dedup_join"
    aligned = False
    #: joined at a time, about 64 bytes each
    entries_at_once: ClassVar[int] = 1 << 21

    def __init__(self, run: Run, before: tuple[str, ...]) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self._asked = OPT_OUT in before
        self.after = ("dedup_sign", OPT_OUT) if self._asked else ("dedup_sign",)

    def partitions(self) -> list[str]:
        return partition_names(self.run, self.plan)

    def material(self) -> dict[str, Any]:
        minhash = self.plan.minhash
        return {"small_bucket": minhash.small_bucket if minhash is not None else None}

    def partition_material(self, partition: str) -> dict[str, Any]:
        return {"range": partition, "of": len(self.partitions())}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.links import LINKS, link_entries, merge_ranges
        from curate.dedup.sections import write_sections

        small = self.plan.minhash.small_bucket if self.plan.minhash is not None else 2
        k, n = int(partition), len(self.partitions())
        pieces = self._pieces(n)
        listed: dict[str, npt.NDArray[np.uint8]] = {}

        def ranges() -> Iterator[tuple[Link, Link, Link]]:
            for piece in range(pieces):
                work.marks.set(documents=piece)
                yield link_entries(self._entries(k * pieces + piece, n * pieces, listed), small)

        links = merge_ranges(ranges())
        parts = ((kind, link.table()) for kind, link in enumerate(links))
        written = write_sections(self.run.folder, links_name(partition), LINKS, parts, {})
        return sealed_result([written], {"pairs": len(links[0].key), "stars": len(links[1].key)})

    def _pieces(self, n: int) -> int:
        """In how many pieces the range is joined: a power of two."""
        entries = sum(int(receipt_of(self.run.folder, "dedup_sign", s).counts["entries"]) for s in self.run.shards)
        wanted = -(-entries // (n * self.entries_at_once))
        return max(1, min(_MOST_RANGES // n, 1 << max(0, wanted - 1).bit_length()))

    def _entries(self, k: int, n: int, listed: dict[str, npt.NDArray[np.uint8]]) -> Any:
        from curate.dedup.keys import join_entries, read_keys

        folder, first = self.run.folder, document_numbers(self.run)

        def parts() -> Iterator[tuple[int, pa.Table, npt.NDArray[np.bool_] | None]]:
            for number, shard in enumerate(self.run.shards):
                with sealed_file(folder, "dedup_sign", shard, keys_name(shard)) as reader:
                    table = read_keys(reader, k, n)
                rows = int(first[number + 1] - first[number])
                yield int(first[number]), table, self._taking_part(shard, rows, listed)

        return join_entries(parts())

    def _taking_part(
        self, shard: str, rows: int, listed: dict[str, npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.bool_] | None:
        """The rows of a shard that nobody asked to leave out; None if that is all of them."""
        if not self._asked:
            return None
        if shard not in listed:
            name = f"labels/{OPT_OUT}/{shard}.parquet"
            column = checked_columns(self.run.folder, OPT_OUT, shard, name, ["opt_out_listed"]).column(0)
            asked = column.fill_null(False).to_numpy().astype(np.bool_)
            listed[shard] = np.packbits(asked) if asked.any() else np.zeros(0, np.uint8)
        packed = listed[shard]
        return ~np.unpackbits(packed, count=rows).astype(np.bool_) if len(packed) else None
