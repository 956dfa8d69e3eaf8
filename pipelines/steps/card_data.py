"""What the data card says of a run: gathered from receipts, footers and label columns."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.store.receipts import read_receipts
from pipelines.config import WHOLE_DOCUMENTS

if TYPE_CHECKING:
    from pydantic import BaseModel

    from curate.export.card import CardData, Gone, Made, RaterFacts
    from pipelines.steps.base import Run
    from pipelines.steps.publish import Card

_LICENCE = ("licence_name", "licence_version")
_DEDUP_SUMMARY = {
    "exact": "Documents with the same text: one stays.",
    "minhash": "Documents whose shingles overlap at least as much as the threshold, found by MinHash bands and "
    "verified by their true Jaccard similarity: one stays.",
    "index": "Documents were compared with the survivors of earlier runs too, which are preferred.",
}


def card_data(step: Card) -> CardData:
    """Everything that the card of the run's corpus says."""
    from curate.export.card import CardData
    from pipelines.books import totals_of
    from pipelines.steps.dedup import AUDIT_NAME
    from pipelines.steps.publish import meanings_of

    run, config, totals = step.run, step.run.config, totals_of(step.run)
    schema = step.select.columns()
    meanings, errors = meanings_of(step)
    rows, on_disk = _corpus_outputs(run, step.select.name)
    sums = _Sums(run, schema)
    audit = json.loads(run.folder.read(AUDIT_NAME)) if config.duplicates(*WHOLE_DOCUMENTS) else {}
    return CardData(
        name=config.run.name,
        schema=schema,
        rows=rows,
        parquet_bytes=on_disk,
        memory_bytes=sums.memory_bytes,
        files=totals.files,
        kind=config.input.kind,
        input_bytes=totals.bytes_size,
        records=totals.records,
        entered=totals.entered,
        failed=totals.failed_total,
        languages=sums.counts("language_code"),
        tokens=sums.totals.get("tokens_count") if "tokens_count" in schema.names else None,
        stages=tuple(_made_stage(s) for s in step.stages()),
        dedup=tuple(
            _made(d.name, _DEDUP_SUMMARY.get(d.name, ""), "", d.options) for d in config.dedup if d.name != "audit"
        ),
        duplicates={k: v for k, v in audit.items() if isinstance(v, int)},
        audited=_audited(run) if audit else {},
        raters=_raters(step),
        keep=step.select.selection.text if step.select.selection is not None else None,
        dropped=_gone(totals.dropped, meanings),
        failures=_gone(totals.failed, errors),
        redacted=sums.redacted() if any(s.name == "pii" for s in step.stages()) else None,
        tiers=sums.counts("licence_tier") if "licence_tier" in schema.names else None,
        licences=dict(sorted(sums.licences.items())),
        version=_version(run),
    )


def _audited(run: Run) -> dict[str, str]:
    """What the audit of duplicate removal found: shares removed, by kind and by group, and what was compared again."""
    from pipelines.steps.dedup_audit import ALARMS_NAME, DETAILS_NAME

    found = json.loads(run.folder.read(DETAILS_NAME))
    alarms = json.loads(run.folder.read(ALARMS_NAME))["alarms"]
    removed, sample = found["removed"], found["sample"]
    said = {
        "all documents": _share(sum(removed.values()), found["documents"], "removed"),
        "distinct texts": _share(removed["minhash"], found["distinct_texts"], "removed as near-duplicates"),
        "text": _share(found["removed_bytes"], found["bytes"], "removed", "bytes "),
        "largest cluster": f"{max(map(int, found['sizes']), default=1):,} documents",
        "sample": f"{sample['pairs']:,} removed documents compared again with those that stay in their place, "
        f"{sample['not_compared_again']:,} too long for that",
    }
    for dimension, groups in found["groups"].items():
        if dimension not in ("host", "year") and groups["values"] > 1:
            worst = max(groups["most"], key=_removed_share)
            name = "none" if worst["value"] is None else worst["value"]
            said[f"{dimension} that lost most"] = f"{name}: {_removed_share(worst):.1%} of {worst['documents']:,}"
    return said | {"limits": "; ".join(a["what"] for a in alarms) if alarms else "none was crossed"}


def _share(part: int, whole: int, how: str, unit: str = "") -> str:
    return f"{part:,} of {whole:,} {unit}{how} ({part / whole:.1%})" if whole else f"none {how}"


def _removed_share(group: dict[str, Any]) -> float:
    gone = sum(group[kind] for kind in ("exact", "url", "minhash", "content"))
    return gone / group["documents"] if group["documents"] else 0.0


def _corpus_outputs(run: Run, select: str) -> tuple[int, int]:
    """Documents and bytes on disk of the corpus, as the receipts say."""
    wanted = set(run.shards)
    outputs = [
        o for r in read_receipts(run.folder, select) if r.partition in wanted
        for o in r.outputs if o.path.startswith("corpus/")
    ]  # fmt: skip
    return sum(o.rows for o in outputs), sum(o.bytes for o in outputs)


class _Sums:
    """Sums over the corpus, shard by shard: sizes, tokens, redactions, values of two labels."""

    _COUNTED = ("language_code", "licence_tier")

    def __init__(self, run: Run, schema: pa.Schema) -> None:
        self.memory_bytes = 0
        self.totals: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self._values: dict[str, Counter[str]] = {n: Counter() for n in self._COUNTED}
        whole = [f.name for f in schema if pa.types.is_integer(f.type)]
        summed = [n for n in whole if n == "tokens_count" or n.startswith("pii_")]
        for shard in run.shards:
            with run.folder.parquet(f"corpus/{shard}.parquet") as file:
                groups = (file.metadata.row_group(i) for i in range(file.num_row_groups))
                self.memory_bytes += sum(g.total_byte_size for g in groups)
                known = file.schema_arrow.names
                wanted = [n for n in known if n in summed or n in self._COUNTED]
                self._add(file.read(columns=wanted, use_threads=False))
                if set(_LICENCE) <= set(known):
                    self._add_licences(file.read(columns=list(_LICENCE), use_threads=False))
        for name in summed:
            self.totals.setdefault(name, 0)

    def _add(self, table: pa.Table) -> None:
        for name in table.column_names:
            if name in self._COUNTED:
                for entry in pc.value_counts(table[name]).to_pylist():
                    self._values[name][entry["values"] or "none"] += entry["counts"]
            else:
                self.totals[name] += pc.sum(pc.cast(table[name], pa.int64())).as_py() or 0

    def _add_licences(self, table: pa.Table) -> None:
        grouped = table.group_by(list(_LICENCE)).aggregate([([], "count_all")])
        for row in grouped.to_pylist():
            name = "-".join(str(row[n]) for n in _LICENCE if row[n]) if row[_LICENCE[0]] else "none"
            self.licences[name] += row["count_all"]

    def counts(self, name: str) -> dict[str, int]:
        """Value → documents, sorted."""
        return dict(sorted(self._values[name].items()))

    def redacted(self) -> dict[str, int]:
        """Kind → replacements."""
        return {n.removeprefix("pii_"): v for n, v in sorted(self.totals.items()) if n.startswith("pii_")}


def _made_stage(stage: Any) -> Made:
    from pipelines.catalogue import first_sentence

    return _made(stage.name, first_sentence(type(stage)), stage.follows, stage.config)


def _made(name: str, summary: str, follows: str, options: BaseModel) -> Made:
    """A stage with those of its settings that differ from the defaults."""
    from curate.export.card import Made

    settings = options.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Made(name, summary, follows.rstrip("."), settings)


def _gone(counts: Counter[str], meanings: dict[str, str]) -> tuple[Gone, ...]:
    from curate.export.card import Gone

    rows = []
    for key, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        stage, _, reason = key.partition(":")
        rows.append(Gone(stage, reason, n, meanings.get(key, meanings.get(reason, ""))))
    return tuple(rows)


def _raters(step: Card) -> tuple[RaterFacts, ...]:
    """Name, revision and licence of each rater, from the cards that the run was given."""
    from classifiers.cards import load_card
    from curate.export.card import RaterFacts

    cards = (load_card(name, step.run.base) for name in step.run.config.labels)
    return tuple(RaterFacts(c.name, c.title, c.revision, c.licence, c.limits) for c in cards)


def _version(run: Run) -> str:
    found: str = json.loads(run.folder.read("environment.json"))["packages"].get("curate", "")
    return found
