"""The contract of a stage: one file, one class, its config, its columns, its reasons.

A stage maps a batch to a batch. It declares which columns it needs and which it adds, so that a chain of stages can
be checked before anything runs. It is built from its config alone, opens models only in ``open``, and gives the same
output whatever the batch boundaries, the worker, or the order of shards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from curate.documents import Batch


class StageConfig(BaseModel):
    """Base of all stage configs: unknown keys are errors, values are frozen and strictly typed."""

    # built when first used, not while the module is imported
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


@dataclass(frozen=True)
class Context:
    """What a stage may know of the run it is opened in.

    Attributes:
        seed: seed of the run; a stage that draws derives its own from (seed, stage name, document id).
        base: folder against which relative paths of the config are resolved.
        scratch: folder for temporary files of this worker.
        journal: the run's folder, path or URL, where a stage keeps what it paid for: under ``journal/…``, across deaths
            of workers and restarts. None: nowhere.
        task: name of the task, the only one that writes journals of this name at a time.
        cpu_seconds: CPU time one document may cost in a guarded call, in seconds.
        memory_mb: address space one guarded child may grow by, in MB.
    """

    seed: int = 0
    base: Path = field(default_factory=Path.cwd)
    scratch: Path | None = None
    journal: str | None = None
    task: str = ""
    cpu_seconds: float = 10.0
    memory_mb: int = 2048


class Stage(ABC):
    """A step of a pass.

    Class attributes:
        name: how configs, columns and the ledger call it.
        version: raise it whenever the same input and config may give another output.
        follows: the paper or tool it follows, with what differs.
        requires: columns that must be there.
        changes_text: True if it rewrites ``text`` (or makes it); later label-only stages can then be redone alone.
        reasons: reason code → one sentence, for every reason it may drop with.
        errors: error code → one sentence, for every error it may fail a document with.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    follows: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]] = ("text",)
    changes_text: ClassVar[bool] = False
    reasons: ClassVar[Mapping[str, str]] = {}
    errors: ClassVar[Mapping[str, str]] = {}
    Config: ClassVar[type[StageConfig]] = StageConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    def adds(self) -> pa.Schema:
        """Columns that the stage adds, documented fields (``curate.documents.column``); empty by default."""
        return pa.schema([])

    def removes(self) -> tuple[str, ...]:
        """Columns that the stage takes away."""
        return ()

    def assets(self, base: Path) -> Mapping[str, Path]:
        """Files whose content decides the output (models, lists): name → path. Their digests enter the fingerprint."""
        return {}

    def open(self, context: Context) -> None:  # noqa: B027 - many stages have nothing to load
        """Load models and tables; called once in the worker before the first batch."""

    @abstractmethod
    def process(self, batch: Batch) -> Batch:
        """The batch after this stage; same row order, rows leave only by ``drop`` and ``fail``."""

    def close(self) -> None:  # noqa: B027 - most stages have nothing to release
        """Release what ``open`` took; called once after the last batch."""
