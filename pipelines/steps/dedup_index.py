"""The survivors of this run join the index, for those that come after."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.dumps import (
    KEYS,
    SECTION_ROWS,
    SHINGLE_SETS,
    SHINGLES,
    SIGNATURES,
    Dump,
    Part,
    publish,
    read_dump,
)
from curate.dedup.index_config import IndexConfig
from curate.errors import ConfigError, VerificationError
from curate.store.folder import LocalFolder
from curate.store.lock import RunLock
from curate.store.sections import REMEDY, Sealed, SectionWriter, section_writer
from pipelines.config import WHOLE_DOCUMENTS
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.dedup_files import checked_columns, receipt_of, sealed_file, sealed_result
from pipelines.steps.dedup_gather import matched_texts
from pipelines.steps.dedup_join import listed_rows
from pipelines.steps.dedup_sign import OPT_OUT, keys_name, plan_of, signature_name
from pipelines.steps.dedup_sources import Sources, index_folder, index_of, run_digest

if TYPE_CHECKING:
    from curate.dedup.config import MinhashConfig

INDEX_NAME = "dedup/index.json"


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps that make a dump of this run.

    Raises:
        ConfigError: there is nothing to index.
    """
    if not run.config.duplicates(*WHOLE_DOCUMENTS):
        raise ConfigError("dedup.index keeps what exact and minhash compare: name one of them, or leave index out")
    return [DedupEvidence(run), DedupIndex(run)]


def evidence_name(shard: str, kind: str) -> str:
    """Where a file of the coming dump lies in the run."""
    return f"steps/{DedupEvidence.name}/{kind}-{shard}.parquet"


class DedupEvidence(Step):
    """Collects what the index keeps of a shard's survivors: signatures, keys, shingle sets.

    Documents that an opt-out list names are left out. Outputs: steps/dedup_evidence/signatures-, keys- and
    shingles-<shard>.parquet. Memory: the signature table and the keys (1 kB per document of the shard), a row group of
    documents (64 MB) and the shingle sets of 2,048 of them.
    """

    name = "dedup_evidence"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self._asked = run.config.opt_out is not None
        self.after = ("dedup_sign", "dedup", *([OPT_OUT] if self._asked else []))

    def material(self) -> dict[str, Any]:
        config, minhash = index_of(self.run), self.plan.minhash
        assert config is not None
        shingle = minhash.model_dump(mode="json", include={"shingle", "normalisation", "compatible"}) if minhash else {}
        return {"evidence_bits": config.evidence_bits, **shingle}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.keys import write_keys

        folder = self.run.folder
        with sealed_file(folder, "dedup_sign", partition, signature_name(partition)) as reader:
            signatures = reader.section()
        rows = signatures.column("row").to_numpy()
        kept = self._kept(partition)[rows]
        chosen = signatures.filter(pa.array(kept))
        number = np.full(int(receipt_of(folder, "dedup_sign", partition).counts["rows"]), -1, np.int32)
        number[rows[kept]] = np.arange(chosen.num_rows, dtype=np.int32)
        with sealed_file(folder, "dedup_sign", partition, keys_name(partition)) as reader:
            entries = reader.section()
        new = number[entries.column("row").to_numpy()]
        entries = entries.set_column(1, entries.schema.field("row"), pa.array(new)).filter(pa.array(new >= 0))
        keys = write_keys(folder, evidence_name(partition, KEYS), entries)
        files = [self._write_signatures(partition, chosen), keys]
        if self.plan.minhash is not None:
            files.append(self._write_sets(partition, chosen, self.plan.minhash, work))
        return sealed_result(files, {"documents": chosen.num_rows})

    def _kept(self, shard: str) -> npt.NDArray[np.bool_]:
        """Per row of the shard, whether the document survives and nobody asked to leave it out."""
        labels = checked_columns(
            self.run.folder, "dedup", shard, f"labels/dedup/{shard}.parquet", ["dedup_is_survivor"]
        ).column(0)
        kept: npt.NDArray[np.bool_] = labels.fill_null(False).to_numpy().astype(np.bool_)
        return kept & ~listed_rows(self.run, shard) if self._asked else kept

    def _write_signatures(self, shard: str, chosen: pa.Table) -> Sealed:
        at = chosen.schema.get_field_index("row")
        rows = pa.array(np.arange(chosen.num_rows, dtype=np.int32))
        table = chosen.set_column(at, chosen.schema.field(at), rows)
        with section_writer(self.run.folder, evidence_name(shard, SIGNATURES), table.schema) as writer:
            for start in range(0, table.num_rows, 65_536):
                writer.write(0, table.slice(start, 65_536).combine_chunks())
            return writer.close()

    def _write_sets(self, shard: str, chosen: pa.Table, config: MinhashConfig, work: Work) -> Sealed:
        """The shingle sets of the survivors, a section per ``SECTION_ROWS`` of them."""
        with section_writer(self.run.folder, evidence_name(shard, SHINGLE_SETS), SHINGLES) as writer:
            done = 0
            for texts in self._texts(shard, chosen):
                self._add_sets(writer, done, texts, config)
                done += len(texts)
                work.marks.set(documents=done)
            if done != chosen.num_rows:
                raise VerificationError(f"documents/{shard}.parquet lacks documents that were signed; {REMEDY}")
            return writer.close()

    def _texts(self, shard: str, chosen: pa.Table) -> Iterator[pa.Array]:
        """Texts of the survivors in their order, row group by row group."""
        name = f"documents/{shard}.parquet"
        rows = chosen.column("row").to_numpy()
        part = chosen.select(["id", "n_bytes"])
        try:
            with self.run.folder.parquet(name) as file:
                start = 0
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    low, high = (int(at) for at in np.searchsorted(rows, [start, stop]))
                    if high > low:
                        found = file.read_row_group(group, columns=["id", "text"], use_threads=False)
                        found = found.take(pa.array(rows[low:high] - start))
                        yield pa.concat_arrays(matched_texts(found, part.slice(low, high - low), name).chunks)
                    start = stop
        except (OSError, pa.ArrowException) as error:
            place = f"{self.run.folder.url}/{name}"
            raise VerificationError(f"{place} cannot be read ({type(error).__name__}): damaged; {REMEDY}") from error

    def _add_sets(self, writer: SectionWriter, first: int, texts: pa.Array, config: MinhashConfig) -> None:
        """Texts of the documents from ``first`` on, cut where sections end."""
        start = 0
        while start < len(texts):
            stop = min(len(texts), start + SECTION_ROWS - (first + start) % SECTION_ROWS)
            rows = np.arange(first + start, first + stop, dtype=np.int32)
            sets = self._sets(texts.slice(start, stop - start), config)
            table = pa.Table.from_arrays([pa.array(rows), sets], schema=SHINGLES)
            writer.write((first + start) // SECTION_ROWS, table)
            start = stop

    def _sets(self, texts: pa.Array, config: MinhashConfig) -> pa.Array:
        from curate.dedup.minhash import shingle
        from curate.kernels.minhash import distinct

        index = index_of(self.run)
        assert index is not None
        width = index.evidence_bits
        found = shingle(texts, config)
        sets, borders = distinct(found.hashes & np.uint64((1 << width) - 1), found.borders)
        whose = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(borders))
        if width == 32:  # document and hash in one word: sorting it costs a tenth of sorting by two keys
            data = np.sort(whose << np.uint64(32) | sets).astype("<u4")
        else:
            data = sets[np.lexsort((sets, whose))].astype("<u8")
        offsets = (borders * (width // 8)).astype(np.int64)
        large = pa.Array.from_buffers(
            pa.large_binary(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
        )
        return large.cast(pa.binary())


class DedupIndex(Step):
    """Publishes this run's survivors as a dump of the index.

    Output: dedup/index.json, what the dump's manifest says; in the index the dump's files, checked byte by byte, then
    the manifest that names them, then what it replaces goes. Memory: the manifest.
    """

    name = "dedup_index"
    aligned = False

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.plan = plan_of(run)
        self.after = ("dedup_evidence", "dedup_earlier", "dedup_pairs")

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        config = index_of(self.run)
        assert config is not None
        return {"index": config.model_dump(mode="json"), "published": self._published(config)}

    def _published(self, config: IndexConfig) -> str:
        """Whether the index still holds what this run put there: a dump that was taken away is published again."""
        if not self.run.folder.exists(INDEX_NAME):
            return "yes"  # or will be: a first run is not begun twice
        said = json.loads(self.run.folder.read(INDEX_NAME))
        there = read_dump(index_folder(self.run, config), config.name)
        return "yes" if there is not None and there.digest == said["digest"] else "no longer"

    def execute(self, partition: str, work: Work) -> Result:
        config = index_of(self.run)
        assert config is not None
        folder = index_folder(self.run, config)
        with contextlib.ExitStack() as stack:
            if isinstance(folder, LocalFolder):
                stack.enter_context(RunLock(folder.path / config.name))
                LocalFolder(folder.path / config.name).sweep()  # what a killed attempt had begun
            placed = publish(folder, self._dump(), self.run.folder)
        data = json.dumps(placed.to_json(), indent=1, sort_keys=True).encode("utf-8")
        self.run.folder.write(INDEX_NAME, data)
        return Result([plain_output(INDEX_NAME, data)], {"documents": sum(p.rows for p in placed.parts)})

    def _dump(self) -> Dump:
        from curate.dedup.signatures import signing_parameters

        config = index_of(self.run)
        assert config is not None
        against = {dump.name: dump.digest for dump in Sources(self.run).dumps}
        said = config.name, run_digest(self.run), signing_parameters(self.plan), config.evidence_bits
        return Dump(*said, against, tuple(self._part(shard) for shard in self.run.shards))

    def _part(self, shard: str) -> Part:
        receipt = receipt_of(self.run.folder, DedupEvidence.name, shard)
        kinds = {evidence_name(shard, kind): kind for kind in (SIGNATURES, KEYS, SHINGLE_SETS)}
        files = {
            kinds[o.path]: Sealed(replace(o), receipt.counts["seals"][o.path])
            for o in receipt.outputs
            if o.path in kinds
        }
        return Part(shard, int(receipt.counts["documents"]), files)
