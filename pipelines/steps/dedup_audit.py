"""The audit of duplicate removal: evidence per shard, one merge that checks it, and the limits that stop a run.

Runs whenever whole documents are compared, whether or not the config names ``audit``. What comes after duplicate
removal waits until no limit is crossed, but does not depend on the limits: changing one redoes the last step only.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.audit.config import ALWAYS, USUAL, AuditConfig
from curate.dedup.config import as_plan
from curate.errors import ConfigError, ThresholdError
from curate.store.shards import Output, write_table
from pipelines.config import WHOLE_DOCUMENTS
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

DETAILS_NAME = "dedup/audit_details.json"
ALARMS_NAME = "dedup/alarms.json"
PAGE_NAME = "dedup/audit.html"
_TEXT_BATCH = 1024
_DATE = "date"


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps of the audit; they write no labels."""
    config = audit_config(run)
    columns = _grouped(config, run, labelled)
    return [DedupTally(run, config, columns), DedupAudit(run, config), DedupAlarms(run, config, tuple(columns))]


def audit_config(run: Run) -> AuditConfig:
    """What the config says of the audit; the defaults if it says nothing."""
    found = run.config.duplicates("audit")
    return found[0] if found and isinstance(found[0], AuditConfig) else AuditConfig()


def _grouped(config: AuditConfig, run: Run, labelled: tuple[Step, ...]) -> dict[str, str | None]:
    """Columns by which removal is counted and limited → the step whose labels hold them, None for the documents."""
    from pipelines.steps.documents import Documents

    known: dict[str, str | None] = dict.fromkeys((f.name for f in Documents(run).schema()), None)
    for step in labelled:
        known |= {f.name: step.name for f in step.columns()}
    wanted = config.by if config.by is not None else tuple(n for n in USUAL if n in known)
    for name in wanted:
        if name not in known or name == "text":
            there = ", ".join(sorted(n for n in known if n != "text"))
            raise ConfigError(
                f"dedup.audit.by: there is no column {name!r} before duplicate removal (there are {there})"
            )
    return {name: known[name] for name in wanted}


class DedupTally(Step):
    """Tallies and checks the duplicate labels of a shard.

    Outputs: steps/dedup_tally/<shard>-{groups,clusters,members,sample}.parquet. Memory: about 250 bytes per document of
    the shard, and one batch of texts.
    """

    name = "dedup_tally"

    def __init__(self, run: Run, config: AuditConfig, columns: dict[str, str | None]) -> None:
        super().__init__(run)
        self._config, self._columns = config, columns
        self.after = tuple(dict.fromkeys(["documents", "dedup", *(s for s in columns.values() if s is not None)]))

    def material(self) -> dict[str, Any]:
        return {"by": list(self._columns), "examples": self._config.examples, "sample": self._config.sample,
                "threshold": _threshold(self.run)}  # fmt: skip

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.audit.tally import tally_shard

        labels = self.run.folder.table(f"labels/dedup/{partition}.parquet")
        n_bytes = self._n_bytes(partition, work)
        found = tally_shard(
            labels, n_bytes, self._groups(partition), shard=partition, threshold=_threshold(self.run),
            examples=self._config.examples, sample=self._config.sample,
        )  # fmt: skip
        outputs = [
            write_table(self.run.folder, f"steps/{self.name}/{partition}-{what}.parquet", getattr(found, what))
            for what in ("groups", "clusters", "members", "sample")
        ]
        return Result(outputs, found.sums)

    def _n_bytes(self, partition: str, work: Work) -> npt.NDArray[np.int64]:
        parts = [np.zeros(0, np.int64)]
        with self.run.folder.parquet(f"documents/{partition}.parquet") as file:
            for batch in file.iter_batches(batch_size=_TEXT_BATCH, columns=["text"], use_threads=False):
                parts.append(np.asarray(pc.fill_null(pc.binary_length(batch.column(0)), 0), np.int64))
                work.marks.set(documents=sum(map(len, parts)))
        return np.concatenate(parts)

    def _groups(self, partition: str) -> dict[str, pa.Array]:
        """Dimension → value of every document."""
        from curate.dedup.audit.tally import hosts_of, years_of

        folder, name = self.run.folder, f"documents/{partition}.parquet"
        with folder.parquet(name) as file:
            there = set(file.schema_arrow.names)
        own = [n for n, step in self._columns.items() if step is None]
        table = folder.table(name, list(dict.fromkeys([*own, *(n for n in ("url", _DATE) if n in there)])))
        found = {n: table[n].combine_chunks() for n in own}
        for column, step in self._columns.items():
            if step is not None:
                found[column] = folder.table(f"labels/{step}/{partition}.parquet", [column])[column].combine_chunks()
        if "url" in there:
            found[ALWAYS[0]] = hosts_of(table["url"].combine_chunks())
        if _DATE in there:
            found[ALWAYS[1]] = years_of(table[_DATE].combine_chunks())
        return found


class DedupAudit(Step):
    """Merges the tallies, proves that every removed duplicate has its survivor, and compares a sample of pairs again.

    Outputs: dedup/audit_details.json, dedup/clusters.parquet, dedup/removal.parquet, dedup/sample.parquet,
    dedup/audit.html. Memory: see ``curate.dedup.audit.audit``.
    """

    name = "dedup_audit"
    after = ("dedup_tally", "dedup", "documents")
    aligned = False

    def __init__(self, run: Run, config: AuditConfig) -> None:
        super().__init__(run)
        self._config = config

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        plan = [{d.name: d.options.model_dump(mode="json")} for d in self.run.config.dedup if d.name in WHOLE_DOCUMENTS]
        return {"dedup": plan, "largest": self._config.largest, "examples": self._config.examples,
                "sample": self._config.sample, "name": self.run.config.run.name}  # fmt: skip

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.audit.audit import audit
        from curate.dedup.audit.tally import added
        from curate.store.receipts import read_receipts
        from pipelines.steps.dedup import PAIRS_NAME

        run, wanted = self.run, set(self.run.shards)
        sums = added(r.counts for r in read_receipts(run.folder, DedupTally.name) if r.partition in wanted)
        plan = as_plan(run.config.duplicates(*WHOLE_DOCUMENTS))  # type: ignore[arg-type]
        found = audit(run.folder, run.shards, sums, plan, self._config, PAIRS_NAME)
        details = self._write(DETAILS_NAME, _json(found.details))
        page = self._write(PAGE_NAME, self._page(found.details))
        counts = {"removed": sum(found.details["removed"].values()), "compared_again": found.details["sample"]["pairs"]}
        return Result([*found.outputs, details, page], counts)

    def _page(self, details: dict[str, Any]) -> bytes:
        from curate.inspect.duplicates import audit_of
        from curate.inspect.report import render_audit

        found = audit_of(self.run.folder, details)
        return render_audit(self.run.config.run.name, found).encode("utf-8", "replace")

    def _write(self, name: str, data: bytes) -> Output:
        self.run.folder.write(name, data)
        return plain_output(name, data)


class DedupAlarms(Step):
    """Compares the audit with the limits of the config; a crossed one ends the run with exit 3 before more is done.

    Outputs: dedup/alarms.json.
    """

    name = "dedup_alarms"
    after = ("dedup_audit",)
    aligned = False
    gate = True

    def __init__(self, run: Run, config: AuditConfig, columns: tuple[str, ...]) -> None:
        super().__init__(run)
        self._config, self._columns = config, columns

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        limits = self._config.model_dump(mode="json", exclude={"sample", "largest", "examples", "by"})
        return {"limits": limits, "by": list(self._columns)}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.dedup.audit.alarms import crossed, read_groups
        from curate.dedup.audit.audit import REMOVAL_NAME

        folder = self.run.folder
        details = json.loads(folder.read(DETAILS_NAME))
        found = crossed(self._config, details, read_groups(folder, REMOVAL_NAME, self._columns))
        if found and self._config.on_alarm == "stop":
            lines = "; ".join(alarm.message for alarm in found)
            raise ThresholdError(
                f"{lines}. Nothing was built on it yet. Look at {folder.url}/{PAGE_NAME} or `curate show RUN "
                "--duplicates-of ID`. If it is right, raise the limit "
                f"(--set dedup.audit.{found[0].option}=…, or null) or set dedup.audit.on_alarm=report, and run again: "
                "only this comparison is redone"
            )
        data = _json({"alarms": [alarm.as_dict() for alarm in found], "limits": self.material()["limits"]})
        folder.write(ALARMS_NAME, data)
        return Result([plain_output(ALARMS_NAME, data)], {"alarms": len(found)})


def _threshold(run: Run) -> float | None:
    plan = as_plan(run.config.duplicates(*WHOLE_DOCUMENTS))  # type: ignore[arg-type]
    return plan.minhash.threshold if plan.minhash is not None else None


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode("utf-8", "surrogatepass")
