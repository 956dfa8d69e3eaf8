"""All documents that take part: those of earlier runs in the index, then the rows of the run's shards, numbered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from curate.dedup.dumps import KEYS, SIGNATURES, Dump, Part, check_dumps, check_owner, opened, read_dumps
from curate.dedup.index_config import IndexConfig
from curate.errors import VerificationError
from curate.store.folder import Folder, open_folder
from curate.store.sections import REMEDY, SectionReader
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.dedup_files import receipt_of, sealed_file
from pipelines.steps.dedup_sign import keys_name, plan_of

DUMPS_NAME = "steps/dedup_earlier/dumps.json"


def index_of(run: Run) -> IndexConfig | None:
    """The entry `index` of the config; None without it."""
    found = run.config.duplicates("index")
    return found[0] if found else None  # type: ignore[return-value]


def index_folder(run: Run, config: IndexConfig) -> Folder:
    """Where the index is."""
    return open_folder(config.path if "://" in config.path else str(Path(run.base) / config.path))


def run_digest(run: Run) -> str:
    """Tells this run from others: its name and its output folder."""
    return xxhash.xxh3_128_hexdigest(f"{run.config.run.name}\n{run.folder.url}".encode())


class DedupEarlier(Step):
    """Lists the dumps of the index that documents are compared with.

    Output: steps/dedup_earlier/dumps.json, which all later steps go by, whatever becomes of the index meanwhile. The
    dumps' digests are part of the fingerprint: a changed index redoes the join and what follows. Memory: the manifests.
    """

    name = "dedup_earlier"
    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        config = index_of(self.run)
        assert config is not None
        return {"dumps": {d.name: d.digest for d in self._dumps(config)}, "evidence_bits": config.evidence_bits}

    def execute(self, partition: str, work: Work) -> Result:
        config = index_of(self.run)
        assert config is not None
        dumps = self._dumps(config)
        data = json.dumps([d.to_json() for d in dumps], sort_keys=True).encode("utf-8")
        self.run.folder.write(DUMPS_NAME, data)
        counts = {"dumps": len(dumps), "documents": sum(p.rows for d in dumps for p in d.parts)}
        return Result([plain_output(DUMPS_NAME, data)], counts)

    def _dumps(self, config: IndexConfig) -> list[Dump]:
        """All but this run's own; ConfigError if they do not go with the config."""
        folder = index_folder(self.run, config)
        check_owner(folder, config.name, run_digest(self.run))
        dumps = read_dumps(folder, config.name)
        check_dumps(dumps, plan_of(self.run), config.evidence_bits)
        return dumps


@dataclass(frozen=True)
class Source:
    """Documents with consecutive numbers: a shard of this run, or a part of an earlier one.

    Attributes:
        name: of the shard; ``dump/part`` for earlier ones.
        rows: how many numbers it takes.
        entries: of its key file.
        dump: name of the earlier run; None for a shard.
        part: of the earlier run.
    """

    name: str
    rows: int
    entries: int
    dump: str | None = None
    part: Part | None = None


class Sources:
    """All sources of a run, as its finished steps say; earlier ones first."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.config = index_of(run)

    @cached_property
    def all(self) -> list[Source]:
        """In the order of their numbers; reads the receipt of every shard."""
        found = []
        for dump in self.dumps:
            for part in dump.parts:
                entries = part.files[KEYS].output.rows
                found.append(Source(f"{dump.name}/{part.name}", part.rows, entries, dump.name, part))
        for shard in self._run.shards:
            counts = receipt_of(self._run.folder, "dedup_sign", shard).counts
            found.append(Source(shard, int(counts["rows"]), int(counts["entries"])))
        return found

    @cached_property
    def earlier(self) -> int:
        """How many of the sources are of earlier runs."""
        return sum(len(dump.parts) for dump in self.dumps)

    @cached_property
    def dumps(self) -> list[Dump]:
        """The earlier runs; VerificationError if their list is not what its receipt says."""
        if self.config is None:
            return []
        output = receipt_of(self._run.folder, DedupEarlier.name, WHOLE).outputs[0]
        try:
            data = self._run.folder.read(DUMPS_NAME)
        except FileNotFoundError as error:
            place = f"{self._run.folder.url}/{DUMPS_NAME}"
            raise VerificationError(f"{place} is gone: run the same command again, it will be made anew") from error
        if (len(data), xxhash.xxh3_128_hexdigest(data)) != (output.bytes, output.digest):
            raise VerificationError(f"{self._run.folder.url}/{DUMPS_NAME} was damaged or exchanged; {REMEDY}")
        return [Dump.from_json(raw) for raw in json.loads(data)]

    @cached_property
    def first(self) -> npt.NDArray[np.int64]:
        """Number of the first document of each source, and how many there are."""
        return np.concatenate([[0], np.cumsum([s.rows for s in self.all])]).astype(np.int64)

    @property
    def fixed(self) -> int:
        """Documents of earlier runs."""
        return int(self.first[self.earlier])

    def position(self, shard: str) -> int:
        """Position of a shard of this run among all sources."""
        return self.earlier + self._run.shards.index(shard)

    def keys(self, source: Source) -> SectionReader:
        """The key file of a source, to be opened."""
        if source.part is not None:
            return self.of_dump(source, KEYS)
        return sealed_file(self._run.folder, "dedup_sign", source.name, keys_name(source.name))

    def of_dump(self, source: Source, kind: str) -> SectionReader:
        """A file of an earlier run, to be opened."""
        assert self.config is not None and source.part is not None
        return opened(index_folder(self._run, self.config), source.part, kind)

    def signatures(self, source: Source, columns: list[str] | None = None) -> pa.Table:
        """The survivors of a part of an earlier run."""
        with self.of_dump(source, SIGNATURES) as reader:
            return reader.section(columns=[c for c in columns or reader.schema.names if c in reader.schema.names])
