"""Per shard: its linked documents with the texts that must be compared, by the partition that settles them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import column
from curate.errors import VerificationError
from curate.store.sections import REMEDY, SectionWriter, section_writer
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.dedup_components import members_of
from pipelines.steps.dedup_files import sealed_file, sealed_result
from pipelines.steps.dedup_sign import plan_of, signature_name
from pipelines.steps.dedup_sources import Sources

COMPARED = column("compared", pa.bool_(), "whether the text was gathered", nullable=False)
GATHERED_TEXT = column("text", pa.string(), "text of the document; null where it is not compared")


def gathered_name(shard: str) -> str:
    """Where the linked documents of a shard lie."""
    return f"steps/{DedupGather.name}/{shard}.parquet"


class DedupGather(Step):
    """Collects a shard's linked documents, so that settling reads no document by itself.

    Outputs: steps/dedup_gather/<shard>.parquet: columns of the signature table, ``compared``, ``text``; a section per
    partition of components, rows ascending. Each id and length is compared with what was signed. Memory: the signature
    table (250 bytes per document), a row group of documents (64 MB), 64 MB of gathered texts.
    """

    name = "dedup_gather"
    aligned = False
    #: of gathered documents, held before they are written
    buffer_bytes: ClassVar[int] = 64 << 20

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self.after = ("dedup_sign", "dedup_components")

    def material(self) -> dict[str, Any]:
        return {"texts": self.plan.minhash is not None}

    def execute(self, partition: str, work: Work) -> Result:
        folder = self.run.folder
        members = members_of(self.run, Sources(self.run).position(partition))
        with sealed_file(folder, "dedup_sign", partition, signature_name(partition)) as signed:
            table = signed.section()
        rows = members.column("row").to_numpy()
        place = np.searchsorted(table.column("row").to_numpy(), rows)
        table = table.take(pa.array(place)).append_column(COMPARED, members.column("compared"))
        where = members.column("partition").to_numpy()
        schema = pa.schema([*table.schema, GATHERED_TEXT])
        with section_writer(folder, gathered_name(partition), schema) as writer:
            buffer = GatherBuffer(writer, self.buffer_bytes)
            done = 0
            for part, texts in self._texts(partition, table, rows):
                buffer.add(part.append_column(GATHERED_TEXT, texts), where[done : done + part.num_rows])
                done += part.num_rows
                work.marks.set(documents=done)
            buffer.flush()
            written = writer.close()
        return sealed_result([written], {"documents": len(rows)})

    def _texts(
        self, shard: str, table: pa.Table, rows: npt.NDArray[np.int32]
    ) -> Iterator[tuple[pa.Table, pa.ChunkedArray]]:
        """The rows of ``table`` piece by piece, with their texts."""
        if self.plan.minhash is None:
            yield table, pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
            return
        name = f"documents/{shard}.parquet"
        try:
            with self.run.folder.parquet(name) as file:
                start = 0
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    low, high = np.searchsorted(rows, [start, stop])
                    if high > low:
                        found = file.read_row_group(group, columns=["id", "text"], use_threads=False)
                        part = table.slice(int(low), int(high - low))
                        texts = matched_texts(found.take(pa.array(rows[low:high] - start)), part, name)
                        yield part, pc.if_else(part.column("compared"), texts, pa.scalar(None, pa.string()))
                    start = stop
        except (OSError, pa.ArrowException) as error:
            place = f"{self.run.folder.url}/{name}"
            raise VerificationError(f"{place} cannot be read ({type(error).__name__}): damaged; {REMEDY}") from error
        if len(rows) and rows[-1] >= start:
            raise VerificationError(f"{self.run.folder.url}/{name} has {start} rows, more were signed; {REMEDY}")


def matched_texts(found: pa.Table, part: pa.Table, name: str) -> pa.ChunkedArray:
    """The texts; VerificationError if these are other documents than were signed."""
    lengths = pc.cast(pc.binary_length(found.column("text")), pa.int64())
    same = pc.and_(pc.equal(found.column("id"), part.column("id")), pc.equal(lengths, part.column("n_bytes")))
    if not pc.all(same, min_count=0).as_py():
        raise VerificationError(f"{name} does not hold the documents that were signed: exchanged or damaged; {REMEDY}")
    return found.column("text")


class GatherBuffer:
    """Rows on their way to their sections, written together when there are many."""

    def __init__(self, writer: SectionWriter, room: int) -> None:
        self._writer = writer
        self._room = room
        self._waiting: dict[int, list[pa.Table]] = {}
        self._bytes = 0

    def add(self, table: pa.Table, where: npt.NDArray[np.int16]) -> None:
        if not table.num_rows:
            return
        order = np.argsort(where, kind="stable")
        edges = np.flatnonzero(np.diff(where[order], prepend=-1))
        for start, stop in zip(edges.tolist(), [*edges[1:].tolist(), len(order)], strict=True):
            part = table.take(pa.array(order[start:stop])) if len(edges) > 1 else table
            self._waiting.setdefault(int(where[order[start]]), []).append(part)
        self._bytes += table.nbytes
        if self._bytes >= self._room:
            self.flush()

    def flush(self) -> None:
        for section in sorted(self._waiting):
            self._writer.write(section, pa.concat_tables(self._waiting[section]).combine_chunks())
        self._waiting, self._bytes = {}, 0
