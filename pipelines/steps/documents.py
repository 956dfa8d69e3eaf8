"""The first pass: an input file becomes a shard of documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.documents import IDENTITY, Batch, Failure
from curate.errors import EnvironmentGone, InputError
from curate.sources import source_class
from curate.sources.base import Account, InputFile, Source
from curate.sources.opening import identity_of, open_input
from curate.stages.base import Context, Stage
from curate.store.manifest import Entry
from curate.store.shards import ShardWriter
from pipelines.fates import FateWriter
from pipelines.passes import Chain
from pipelines.stage_chain import build_stages, labels_of, stage_material
from pipelines.steps.base import Result, Run, Step, Work


class Documents(Step):
    """Reads one input file, runs the stages up to the last one that changes text, writes the documents.

    Outputs: documents/<shard>.parquet, labels/documents/<shard>.parquet (row-aligned), dropped/, failed/.
    """

    name = "documents"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.stages = build_stages(run.config, first_pass=True)

    def material(self) -> dict[str, Any]:
        return {
            "input": self.run.config.read_options().model_dump(mode="json"),
            "kind": self.run.config.input.kind,
            "stages": [stage_material(s, self.run.base) for s in self.stages],
            "keep_dropped_text": self.run.config.run.keep_dropped_text,
            "cpu_seconds_per_document": self.run.config.run.cpu_seconds_per_document,
        }

    def partition_material(self, partition: str) -> dict[str, Any]:
        entry = self.run.entry(partition)
        return {"source": entry.source, "size": entry.size, "identity": entry.identity}

    def schema(self) -> pa.Schema:
        """Columns of the document shards."""
        made = _columns_after(self._source_columns(), self.stages)
        return pa.schema([*IDENTITY, *(f for f in made if not _is_label(f.name, self._carried()))])

    def columns(self) -> pa.Schema:
        made = _columns_after(self._source_columns(), self.stages)
        return pa.schema([f for f in made if _is_label(f.name, self._carried())])

    def _carried(self) -> frozenset[str]:
        return frozenset(self.run.config.read_options().carry)

    def _source_columns(self) -> list[pa.Field]:
        kind = self.run.config.input.kind
        return [f for f in source_class(kind).schema(self.run.config.read_options()) if f.name not in IDENTITY.names]

    def execute(self, partition: str, work: Work) -> Result:
        entry = self.run.entry(partition)
        shard = _Shard(self, partition)
        try:
            account = self._read_into(shard, entry, work)
        except InputError as error:
            shard.abandon()
            shard = _Shard(self, partition)
            account = _unreadable(shard, entry, error)
        except BaseException:
            shard.abandon()
            raise
        return shard.close(entry, account)

    def _read_into(self, shard: _Shard, entry: Entry, work: Work) -> Account:
        file = InputFile(entry.path, entry.source, entry.kind, entry.size, entry.identity)
        source = source_class(entry.kind)(file, self.run.config.read_options())
        _unchanged(file)
        chain = Chain(self.stages, work.marks, work.care)
        chain.open(context(self.run, work.scratch))
        try:
            for batch in chain.run(_reading(source, file)):
                shard.write(batch)
            shard.fates.flush(source.fates)
        finally:
            chain.close()
        _unchanged(file)
        return source.account


class _Shard:
    """The files that one task writes."""

    def __init__(self, step: Documents, partition: str) -> None:
        folder = step.run.folder
        self._documents = ShardWriter(folder, f"documents/{partition}.parquet", step.schema())
        labels = pa.schema([IDENTITY.field("id"), *step.columns()])
        self._labels = ShardWriter(folder, f"labels/{step.name}/{partition}.parquet", labels)
        self.fates = FateWriter(folder, step.name, partition, keep_text=step.run.config.run.keep_dropped_text)

    def write(self, batch: Batch) -> None:
        self._documents.write(batch.rows)
        self._labels.write(batch.rows)
        self.fates.flush(batch.fates)

    def close(self, entry: Entry, account: Account) -> Result:
        documents = self._documents.close()
        outputs = [documents, self._labels.close(), *self.fates.close()]
        counts: dict[str, Any] = {
            "source": entry.source,
            "kind": entry.kind,
            "size": entry.size,
            "records": account.records,
            "documents_read": account.documents,
            "documents": documents.rows,
            "skipped": dict(account.skipped),
            "rejected_ranges": len(account.rejected),
            "rejected_bytes": account.rejected_bytes,
            "accounted_bytes": account.accounted_bytes,
            "failed_documents": self.fates.failed_documents,
            **self.fates.counts(),
        }
        return Result(outputs, counts)

    def abandon(self) -> None:
        self._documents.abandon()
        self._labels.abandon()
        self.fates.abandon()


def context(run: Run, scratch: Path | None) -> Context:
    """What stages may know of the run."""
    return Context(
        seed=run.config.run.seed,
        base=run.base,
        scratch=scratch,
        cpu_seconds=run.config.run.cpu_seconds_per_document,
        memory_mb=run.config.run.worker_memory_mb // 2,
    )


def _reading(source: Source, file: InputFile) -> Iterator[Batch]:
    """The source's batches; whatever the file system says while reading is a fault of this input alone."""
    try:
        with open_input(file) as stream:
            yield from source.batches(stream)
    except EnvironmentGone:
        raise
    except FileNotFoundError as error:
        raise InputError("input.vanished", f"{file.source}: it was listed and is no longer there") from error
    except OSError as error:
        raise InputError("input.unreadable", f"{file.source}: {error.strerror or type(error).__name__}") from error


def _unchanged(file: InputFile) -> None:
    try:
        now = identity_of(file)
    except FileNotFoundError as error:
        raise InputError("input.vanished", f"{file.source}: it was listed and is no longer there") from error
    except OSError as error:
        raise InputError("input.unreadable", f"{file.source}: {error.strerror or type(error).__name__}") from error
    if now != file.identity:
        raise InputError("input.changed", f"{file.source}: it changed after it was listed; run again to read it anew")


def _unreadable(shard: _Shard, entry: Entry, error: InputError) -> Account:
    """The whole file is one rejected range."""
    account = Account(rejected=[(0, entry.size)])
    shard.fates.fail(Failure("read", error.code, "error", error.detail, source=entry.source, length=entry.size))
    return account


def _columns_after(source: list[pa.Field], stages: list[Stage]) -> list[pa.Field]:
    """Columns beside the identity after the stages have run."""
    return labels_of(source, stages)


def _is_label(name: str, carried: frozenset[str]) -> bool:
    """Everything that says something about a document, as opposed to what it is or came with."""
    return name not in {"text", "date", "content_digest", "extra"} and name not in carried
