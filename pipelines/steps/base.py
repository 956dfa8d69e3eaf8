"""The contract of a step: a pass over shards, or a global computation, made of idempotent tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import xxhash

from curate.store.digests import digest_json
from curate.store.folder import Folder
from curate.store.shards import Output
from pipelines.marks import MarkFile
from pipelines.passes import Care, Marks

if TYPE_CHECKING:
    from curate.store.manifest import Entry, Manifest
    from pipelines.config import Config

#: the partition of a step that is one task
WHOLE = "all"


@dataclass(frozen=True)
class Run:
    """What every step knows: the config, the run's folder, the frozen inputs."""

    config: Config
    folder: Folder
    manifest: Manifest
    base: Path

    @property
    def shards(self) -> list[str]:
        """Names of the document shards, one per input file."""
        return [e.partition for e in self.manifest.entries]

    def entry(self, partition: str) -> Entry:
        """The input file that becomes ``partition``."""
        return next(e for e in self.manifest.entries if e.partition == partition)


@dataclass
class Work:
    """What a task is given beside its partition."""

    marks: Marks = field(default_factory=lambda: Marks(MarkFile(None)))
    care: Care = field(default_factory=Care)
    scratch: Path | None = None


@dataclass(frozen=True)
class Result:
    """What a task leaves for its receipt."""

    outputs: list[Output]
    counts: dict[str, Any]


class Step(ABC):
    """A node of the step graph.

    Attributes:
        name: unique in a run; names receipts and files.
        version: raise it whenever the same inputs may give another output.
        after: steps that must be done before; with ``aligned`` only their task of the same partition.
        gate: nothing after it in the graph begins before it is done, though nothing there depends on what it says.
        behind: the gates before it; set by the graph.
        cuts: those of its columns that list spans which select takes out of the text (``curate.dedup.cutting``).
        min_remaining_words: select drops a document that is left with fewer words by them (``<name>:nothing_left``).
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    after: tuple[str, ...] = ()
    aligned: ClassVar[bool] = True
    gate: ClassVar[bool] = False
    behind: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    min_remaining_words: int = 0

    def __init__(self, run: Run) -> None:
        self.run = run

    def partitions(self) -> list[str]:
        """Names of its tasks; one per shard by default."""
        return self.run.shards

    @abstractmethod
    def material(self) -> dict[str, Any]:
        """Everything but the inputs that decides its output: config, versions, digests of models. JSON-able."""

    def partition_material(self, partition: str) -> dict[str, Any]:
        """What of the inputs decides this partition, beside the steps before it."""
        return {}

    def columns(self) -> pa.Schema:
        """Label columns that it writes to ``labels/<name>/``; empty if none."""
        return pa.schema([])

    @abstractmethod
    def execute(self, partition: str, work: Work) -> Result:
        """Do one task: files in, files out; the same whatever ran before in this process."""


def plain_output(name: str, data: bytes) -> Output:
    """What a receipt says of a file that is not a table: its digest is of its bytes."""
    return Output(name, 0, len(data), xxhash.xxh3_128_hexdigest(data))


def fingerprints(steps: list[Step]) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """The fingerprint and its material of every task: (step, partition) → (digest, material).

    A task's fingerprint holds those of the tasks before it, so a change anywhere reaches all that follows from it.
    """
    done: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for step in steps:
        own = {"step": step.name, "version": step.version, "config": step.material()}
        whole = {
            name: digest_json([done[key][0] for key in sorted(done) if key[0] == name]) for name in step.after
        }  # fmt: skip
        for partition in step.partitions():
            inputs = {
                name: done[name, partition][0] if step.aligned and (name, partition) in done else whole[name]
                for name in step.after
            }
            material = {**own, "partition": step.partition_material(partition), "inputs": inputs}
            done[step.name, partition] = (digest_json(material), material)
    return done
