"""A pass: stages fused over one stream of batches, with nothing lost between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import Batch
from curate.errors import CurateError, TaskError
from curate.store.failpoints import failpoint
from pipelines.marks import Mark, MarkFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from curate.stages.base import Context, Stage

#: a stage that breaks on every document of a batch this large is broken itself; the documents are not to blame
BROKEN_STAGE_DOCUMENTS = 16


@dataclass
class Marks:
    """Writes where the pass is into the worker's mark file."""

    file: MarkFile
    now: Mark = field(default_factory=Mark)

    def set(self, **changes: int | str) -> None:
        """Change some fields of the mark."""
        self.now = replace(self.now, **changes)  # type: ignore[arg-type]
        self.file.write(self.now)


@dataclass(frozen=True)
class Care:
    """What earlier deaths of workers on this task ask for.

    Attributes:
        one_by_one: numbers of batches that are to be done document by document, so that the one that kills is found.
        poisoned: documents that killed their worker repeatedly: id → error code; they are failed unseen.
    """

    one_by_one: frozenset[int] = frozenset()
    poisoned: Mapping[str, str] = field(default_factory=dict)


class Chain:
    """Stages in order over batches.

    Every stage must account for every row it is given; a chain that finds one missing stops the task. A document on
    which a stage raises is failed (``stage.error``) after it has raised alone; its neighbours go on.
    """

    def __init__(self, stages: list[Stage], marks: Marks, care: Care | None = None) -> None:
        self.stages = stages
        self._marks = marks
        self._care = care if care is not None else Care()

    def open(self, context: Context) -> None:
        """Open every stage."""
        for stage in self.stages:
            stage.open(context)

    def close(self) -> None:
        """Close every stage."""
        for stage in self.stages:
            stage.close()

    def run(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """What comes out, batch by batch; fates gather in each batch's ``fates``."""
        done = kept = size = 0
        for number, batch in enumerate(batches):
            done += len(batch)
            self._marks.set(batch=number, document=-1)
            batch = self._without_poisoned(batch)
            failpoint("pass.batch")
            if number in self._care.one_by_one:
                out = self._singly(batch, self._through)
            else:
                failpoint("pass.document", batch.column("id").to_pylist() if len(batch) else ())
                out = self._through(batch)
            kept += len(out)
            size += out.rows.nbytes
            self._marks.set(batch=-1, stage=-1, document=-1, documents=done, kept=kept, bytes=size, id="")
            yield out

    def _without_poisoned(self, batch: Batch) -> Batch:
        for error in sorted(set(self._care.poisoned.values())):
            ids = [i for i, e in self._care.poisoned.items() if e == error]
            mask = pc.is_in(batch.column("id"), value_set=pa.array(ids, pa.string()))
            batch = batch.at("worker").fail(mask, error, detail="killed its worker each time it was tried")
        return batch

    def _through(self, batch: Batch) -> Batch:
        for number, stage in enumerate(self.stages):
            self._marks.set(stage=number)
            batch = self._apply(stage, batch.at(stage.name))
        return batch

    def _apply(self, stage: Stage, batch: Batch) -> Batch:
        before = (len(batch.fates.drops), len(batch.fates.failures))
        try:
            out = stage.process(batch)
        except (CurateError, MemoryError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a foreign library may raise anything; the document is found below
            del batch.fates.drops[before[0] :], batch.fates.failures[before[1] :]
            return self._survivors(stage, batch, error)
        _conserve(stage, batch, out, before)
        return out

    def _survivors(self, stage: Stage, batch: Batch, error: Exception) -> Batch:
        """The stage raised on this batch: do its documents one by one and fail those on which it raises again."""
        if len(batch) == 1:
            return self._empty_like(stage, batch.fail([True], "stage.error", detail=type(error).__name__))
        before = len(batch.fates.failures)
        out = self._singly(batch, lambda one: self._apply(stage, one.at(stage.name)))
        broken = sum(1 for f in batch.fates.failures[before:] if f.error == "stage.error" and f.stage == stage.name)
        if broken == len(batch) and broken >= BROKEN_STAGE_DOCUMENTS:
            raise TaskError(
                f"stage {stage.name} raised {type(error).__name__} on each of {broken} documents: "
                "the stage or its config is broken, not the documents"
            ) from error
        return out

    def _empty_like(self, stage: Stage, batch: Batch) -> Batch:
        """An empty batch with the columns that the stage would have given."""
        new = {f: pa.nulls(0, f.type) for f in stage.adds()}
        return batch.with_columns(new).without_columns(stage.removes())

    def _singly(self, batch: Batch, work: Callable[[Batch], Batch]) -> Batch:
        parts: list[Batch] = []
        for i in range(len(batch)):
            one = Batch(batch.rows.slice(i, 1), batch.fates, batch.stage)
            id_ = one.column("id")[0].as_py()
            self._marks.set(document=i, id=id_)
            failpoint("pass.document", (id_,))
            parts.append(work(one))
        self._marks.set(document=-1, id="")
        if not parts:
            return work(batch)
        table = pa.Table.from_batches([p.rows for p in parts]).combine_chunks()
        rows = table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema=table.schema)
        return Batch(rows, batch.fates, parts[0].stage)


def _conserve(stage: Stage, before: Batch, after: Batch, counts: tuple[int, int]) -> None:
    """Rows in = rows out + dropped + failed, or the stage has lost documents."""
    gone = sum(d.rows.num_rows for d in after.fates.drops[counts[0] :])
    gone += sum(f.rows.num_rows for f in after.fates.failures[counts[1] :] if f.rows is not None and f.level == "error")
    if len(before) != len(after) + gone:
        raise TaskError(
            f"stage {stage.name} was given {len(before)} documents and accounts for {len(after) + gone}: "
            "this is a fault of the stage; no output of this shard was written"
        )
