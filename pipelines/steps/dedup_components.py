"""All links together: components of linked documents, and where each of them is settled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.documents import column
from curate.store.sections import Sealed
from pipelines.steps.base import WHOLE, Result, Run, Step, Work
from pipelines.steps.dedup_files import partition_names, sealed_file, sealed_result
from pipelines.steps.dedup_join import links_name
from pipelines.steps.dedup_sign import plan_of
from pipelines.steps.dedup_sources import Sources

if TYPE_CHECKING:
    from curate.dedup.links import Components, Link

#: sources whose linked documents are listed in one file
_SOURCES_PER_FILE = 256

MEMBERS = pa.schema(
    [
        column("row", pa.int32(), "row of the document in its shard", nullable=False),
        column("partition", pa.int16(), "where its component is settled", nullable=False),
        column("compared", pa.bool_(), "whether its text is needed", nullable=False),
    ]
)


def members_of(run: Run, position: int) -> pa.Table:
    """``MEMBERS`` of a source (see ``Sources``)."""
    name = _members_name(position // _SOURCES_PER_FILE)
    with sealed_file(run.folder, DedupComponents.name, WHOLE, name) as reader:
        return reader.section([position % _SOURCES_PER_FILE])


def spread_name(partition: str) -> str:
    """Where the links of one range of keys lie, by the partitions of their components."""
    return f"steps/{DedupComponents.name}/links-{partition}.parquet"


def _members_name(number: int) -> str:
    return f"steps/{DedupComponents.name}/documents-{number:05d}.parquet"


class DedupComponents(Step):
    """Puts linked documents together into components, and components into partitions.

    One task, as the union-find is one. Outputs: steps/dedup_components/documents-<n>.parquet (``MEMBERS``; a section
    per source), steps/dedup_components/links-<range>.parquet (``LINKS``; two sections per partition of components).
    A component's partition follows from its least key, whatever the order of shards. Memory: 9 bytes per document of
    all shards and of the index, 10 per component, and 60 per link of one range of keys. It reads all links three times.
    """

    name = "dedup_components"
    aligned = False

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self.after = ("dedup_join",)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.links import LINKS, Components, spread
        from curate.store.sections import write_sections

        ranges = partition_names(self.run, self.plan)
        first = Sources(self.run).first
        found = Components(int(first[-1]))
        for name in ranges:
            found.unite(*self._links(name))
        count = found.number()
        for name in ranges:
            found.measure(*self._links(name))
        place = found.partitions(len(ranges))
        files: list[Sealed] = []
        for name in ranges:
            pairs, _, buckets = self._links(name)
            where = [place[found.of(link)] for link in (pairs, buckets)]
            parts = spread((pairs, buckets), where, len(ranges))
            files.append(write_sections(self.run.folder, spread_name(name), LINKS, parts, {}))
        for start in range(0, len(first) - 1, _SOURCES_PER_FILE):
            sources = range(start, min(start + _SOURCES_PER_FILE, len(first) - 1))
            parts = ((s - start, _members(found, place, first, s)) for s in sources)
            name = _members_name(start // _SOURCES_PER_FILE)
            files.append(write_sections(self.run.folder, name, MEMBERS, parts, {}))
        return sealed_result(files, {"components": count})

    def _links(self, name: str) -> tuple[Link, Link, Link]:
        from curate.dedup.links import KINDS, Link

        with sealed_file(self.run.folder, "dedup_join", name, links_name(name)) as reader:
            pairs, stars, buckets = (Link.of(reader.section([kind])) for kind in range(KINDS))
        return pairs, stars, buckets


def _members(found: Components, place: Any, first: Any, source: int) -> pa.Table:
    rows, component, compared = found.members(int(first[source]), int(first[source + 1] - first[source]))
    arrays = [pa.array(rows), pa.array(place[component]), pa.array(compared)]
    return pa.Table.from_arrays(arrays, schema=MEMBERS)


def links_into(run: Run, ranges: list[str], partition: int) -> Iterator[tuple[Link, Link]]:
    """The pairs and buckets of one partition of components, one range of keys after the other."""
    from curate.dedup.links import Link

    for name in ranges:
        with sealed_file(run.folder, DedupComponents.name, WHOLE, spread_name(name)) as reader:
            pairs, buckets = (Link.of(reader.section([2 * partition + kind])) for kind in (0, 1))
        yield pairs, buckets
