"""Which documents are taken, by budgets and draws: columns of true and false that `keep` may name.

    selecting_fit     one task  where each budget ends
    selecting         shard     the columns
    selecting_report  one task  selection/<name>.json: what was taken, by domain and length, and nearness to a target

Documents that were dropped before, duplicates and listed ones never take part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY, column
from curate.errors import ConfigError, TaskError
from curate.select.config import DsirConfig, QuadmixConfig
from curate.store.receipts import read_receipt
from curate.store.shards import write_table
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.scores import (
    CORPUS_COUNTS,
    LabelView,
    Mask,
    check_known,
    counts_of,
    counts_table,
    known_columns,
    read_target,
    target_digest,
)

SETTLED = "steps/selecting_fit/settled.json"


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps of `select`."""
    return [SelectingFit(run, labelled), Selecting(run, labelled), SelectingReport(run, labelled)]


def report_name(name: str) -> str:
    """The file that says what the selection ``name`` took."""
    return f"selection/{name}.json"


class _Selecting(Step):
    """What the three steps share."""

    def __init__(self, run: Run, labelled: Iterable[Step]) -> None:
        super().__init__(run)
        from curate.select.choosing import needed
        from curate.select.expressions import parse_selection

        steps = tuple(labelled)
        self.view = LabelView(run, steps)
        self.entries: list[Any] = [spec.options for spec in run.config.select]
        known = dict(known_columns(run, steps))
        self.inputs: list[str] = []
        self.where = {e.name: parse_selection(e.where) for e in self.entries if e.where is not None}
        self.domains: dict[str, str | None] = {}
        for entry in self.entries:
            own = run.config.domains.from_ if run.config.domains is not None else None
            domain = entry.domain or getattr(entry, "per", None) or own
            self.domains[entry.name] = domain
            wanted = [*needed(entry), *([domain] if domain is not None else [])]
            if entry.name in self.where:
                wanted += sorted(self.where[entry.name].columns)
            check_known("select", entry.name, wanted, known)
            if entry.token_column in known:
                wanted.append(entry.token_column)
            made = {f.name for e in self.entries for f in columns_of(e)}
            self.inputs += [n for n in wanted if n not in made and n not in self.inputs]
            for field in columns_of(entry):
                if field.name in known:
                    raise ConfigError(f"select: there is a column `{field.name}` already; name the entry otherwise")
                known[field.name] = field.type
        more = ("opt_out",) if run.config.opt_out is not None and "opt_out" not in self.view.names else ()
        self.after = (*self.view.names, *more)

    def shard(self, partition: str) -> tuple[dict[str, pa.Array], Mask]:
        """The columns of a shard that any entry looks at, and which documents take part."""
        table = self.view.columns(partition, self.inputs)
        return {n: table[n].combine_chunks() for n in table.schema.names}, self.view.live(partition)

    def asked(self, entry: Any, columns: Mapping[str, pa.Array], live: Mask) -> Mask:
        """Which documents take part in this selection."""
        if entry.name not in self.where:
            return live
        import polars as pl

        mask = live.copy()
        sentence = self.where[entry.name]
        frame = pl.DataFrame({n: pl.from_arrow(columns[n]) for n in sorted(sentence.columns)})
        for conjunct in sentence.conjuncts:
            if not frame.width:  # a sentence without columns is one value for all
                mask &= bool(pl.select(conjunct.expression()).item())
                continue
            mask &= frame.select(conjunct.expression().cast(pl.Boolean).fill_null(False).alias("k"))["k"].to_numpy()
        return mask

    def taken(
        self, entry: Any, settled: Mapping[str, Any], columns: Mapping[str, pa.Array], live: Mask
    ) -> dict[str, pa.Array]:
        """The columns of an entry; null for documents that do not take part because they left before."""
        from curate.select.choosing import decide

        copies = decide(entry, settled, columns, self.asked(entry, columns, live))
        found = {entry.name: pa.array(copies > 0, pa.bool_(), mask=~live)}
        if isinstance(entry, QuadmixConfig):
            found[f"{entry.name}_copies"] = pa.array(copies, pa.int32(), mask=~live)
        return found


def columns_of(entry: Any) -> pa.Schema:
    """Columns that a selection makes."""
    fields = [column(entry.name, pa.bool_(), "whether the selection takes the document; null: it left before")]
    if isinstance(entry, QuadmixConfig):
        fields.append(
            column(f"{entry.name}_copies", pa.int32(), "how often the selection takes the document", unit="1")
        )
    return pa.schema(fields)


class SelectingFit(_Selecting):
    """Finds where each budget ends.

    Outputs: steps/selecting_fit/settled.json. Memory: the columns of one shard that the entries look at, 64 KB per
    domain, a million rows of 32 bytes; 100,000 rows for `quadmix`; 48 bytes per document that takes part for
    `clusters`.
    """

    name = "selecting_fit"
    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        domains = self.run.config.domains
        return {
            "entries": [_said(e) for e in self.entries],
            "domains": domains.model_dump(mode="json") if domains is not None else None,
        }

    def execute(self, partition: str, work: Work) -> Result:
        from curate.select.choosing import settle

        settled: dict[str, Any] = {}
        for entry in self.entries:
            try:
                settled[entry.name] = settle(entry, self._scan(entry, settled, work))
            except ConfigError as error:  # known only now that the labels are there; what is done stands
                raise TaskError(str(error)) from error
        text = json.dumps(settled, sort_keys=True).encode("utf-8")
        self.run.folder.write(SETTLED, text)
        return Result([plain_output(SETTLED, text)], {"selections": len(settled)})

    def _scan(
        self, entry: Any, settled: Mapping[str, Any], work: Work
    ) -> Callable[[], Iterator[tuple[Mapping[str, pa.Array], Mask]]]:
        done = 0

        def scan() -> Iterator[tuple[Mapping[str, pa.Array], Mask]]:
            nonlocal done
            for shard in self.run.shards:
                columns, live = self.shard(shard)
                for earlier in self.entries[: self.entries.index(entry)]:
                    columns |= self.taken(earlier, settled[earlier.name], columns, live)
                done += len(live)
                work.marks.set(documents=done)
                yield columns, self.asked(entry, columns, live)

        return scan


class Selecting(_Selecting):
    """Decides every document of a shard.

    Outputs: labels/selecting/<shard>.parquet, steps/selecting/<shard>.parquet (words of what each entry takes, where
    `scores` compares with a target). Memory: the columns of the shard that the entries look at; a batch of texts.
    """

    name = "selecting"

    def __init__(self, run: Run, labelled: Iterable[Step]) -> None:
        super().__init__(run, labelled)
        self.after = (*self.after, "selecting_fit")
        self.sizes = sorted({s.options.buckets for s in run.config.scores if isinstance(s.options, DsirConfig)})

    def material(self) -> dict[str, Any]:
        return {"entries": [_said(e) for e in self.entries], "buckets": self.sizes}

    def columns(self) -> pa.Schema:
        return pa.schema([f for entry in self.entries for f in columns_of(entry)])

    def execute(self, partition: str, work: Work) -> Result:
        settled = json.loads(self.run.folder.read(SETTLED))
        columns, live = self.shard(partition)
        for entry in self.entries:
            columns |= self.taken(entry, settled[entry.name], columns, live)
        schema = pa.schema([IDENTITY.field("id"), *self.columns()])
        out = pa.table([columns[f.name] for f in schema], schema=schema)
        outputs = [write_table(self.run.folder, f"labels/{self.name}/{partition}.parquet", out)]
        counts = {e.name: self._count(e, columns, live) for e in self.entries}
        for e in self.entries if self.sizes else ():
            found = self._words(_mask(columns[e.name]), partition, work)
            outputs.append(write_table(self.run.folder, words_name(e.name, partition), counts_table(found)))
        work.marks.set(documents=out.num_rows)
        return Result(outputs, {"documents": out.num_rows, "taken": counts})

    def _count(self, entry: Any, columns: Mapping[str, pa.Array], live: Mask) -> dict[str, Any]:
        from curate.select.choosing import tokens_of
        from curate.select.fitting import names_of
        from curate.select.taken import Taken

        found, keep = Taken(), pa.array(live)
        token = columns.get(entry.token_column)
        tokens = tokens_of(columns, entry.token_column) if token is not None else np.ones(len(live), np.int64)
        domain = self.domains[entry.name]
        names = names_of(columns[domain].filter(keep)) if domain is not None else None
        copies = columns.get(f"{entry.name}_copies")
        often = pc.fill_null(copies, 0).to_numpy()[live] if copies is not None else None
        found.add(names, tokens[live], _mask(columns[entry.name])[live], often)
        return found.as_json()

    def _words(self, chosen: Mask, partition: str, work: Work) -> dict[int, npt.NDArray[np.int64]]:
        from curate.select.dsir import count_ngrams
        from pipelines.shard_reader import ShardReader

        counts = {n: np.zeros(n, np.int64) for n in self.sizes}
        start = 0
        for rows in ShardReader(self.run.folder, partition).batches(["id", "text"]):
            texts = rows.column(rows.schema.get_field_index("text"))
            asked = texts.filter(pa.array(chosen[start : start + rows.num_rows]))
            start += rows.num_rows
            for n, found in counts.items():
                count_ngrams(asked, n, found)
        return counts


def words_name(name: str, partition: str) -> str:
    """Where the words of what a selection takes of a shard are counted."""
    return f"steps/selecting/{name}/{partition}.parquet"


class SelectingReport(_Selecting):
    """Says what each selection took. Outputs: selection/<name>.json. Memory: the sums, 24 bytes per bucket."""

    name = "selecting_report"
    aligned = False

    def __init__(self, run: Run, labelled: Iterable[Step]) -> None:
        super().__init__(run, labelled)
        self.after = ("selecting_fit", "selecting")
        self.targets = [s.options for s in run.config.scores if isinstance(s.options, DsirConfig)]

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {
            "entries": [_said(e) for e in self.entries],
            "targets": [[e.model_dump(mode="json"), target_digest(self.run.base, e.target)] for e in self.targets],
            "tokens": [e.token_column in self.inputs for e in self.entries],
        }

    def execute(self, partition: str, work: Work) -> Result:
        settled = json.loads(self.run.folder.read(SETTLED))
        outputs, counts = [], {}
        for entry in self.entries:
            body = self._body(entry, settled[entry.name])
            counts[entry.name] = body["taken"]["all"]["taken_documents"]
            text = json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
            self.run.folder.write(report_name(entry.name), text)
            outputs.append(plain_output(report_name(entry.name), text))
        return Result(outputs, {"taken_documents": counts})

    def _body(self, entry: Any, settled: Mapping[str, Any]) -> dict[str, Any]:
        from curate.select.taken import Taken

        found = Taken()
        for shard in self.run.shards:
            receipt = read_receipt(self.run.folder, "selecting", shard)
            if receipt is None:
                raise TaskError(f"selecting/{shard} has no receipt; run the same command again")
            found.merge(receipt.counts["taken"][entry.name])
        body: dict[str, Any] = {
            "name": entry.name, "options": _said(entry),
            "tokens": entry.token_column if entry.token_column in self.inputs else "documents: no token column",
            "taken": found.report(),
        }  # fmt: skip
        if "cuts" in settled and isinstance(settled["cuts"], list):
            body["cuts"] = _cuts(settled)
        for key in ("before", "after", "mean", "deviation"):
            if key in settled:
                body[key] = settled[key]
        if self.targets:
            body["targets"] = {t.name: self._nearness(entry, t) for t in self.targets}
        return body

    def _nearness(self, entry: Any, target: DsirConfig) -> dict[str, float | None]:
        """KL divergence of hashed words from the target, before and after, in nats."""
        from curate.select.dsir import count_ngrams, kl_divergence

        texts = read_target(self.run.base, target.target, target.field, f"scores: {target.name}")
        wanted, _ = count_ngrams(pa.array(texts, pa.string()), target.buckets)
        after = np.zeros(target.buckets, np.int64)
        for shard in self.run.shards:
            after += counts_of(self.run.folder.table(words_name(entry.name, shard)), target.buckets)
        before = counts_of(self.run.folder.table(CORPUS_COUNTS), target.buckets)
        first, second = kl_divergence(wanted, before), kl_divergence(wanted, after)
        return {"kl_before": _number(first), "kl_after": _number(second), "kl_reduction": _number(first - second)}


def _cuts(settled: Mapping[str, Any]) -> list[dict[str, Any]]:
    from curate.select.budget import Cut

    names = settled["groups"] or [None]
    out = []
    for name, one in zip(names, settled["cuts"], strict=True):
        cut = Cut(**one)
        out.append(
            {
                "domain": None if name is None or name.startswith("\0") else name,
                "first_not_taken": cut.score,
                "taken": cut.tokens,
                "taken_documents": cut.documents,
                "available": cut.available_tokens,
                "available_documents": cut.available_documents,
            }
        )
    return out


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _mask(array: pa.Array) -> Mask:
    found: Mask = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
    return found


def _said(entry: Any) -> dict[str, Any]:
    return {"kind": type(entry).__name__.removesuffix("Config").lower(), **entry.model_dump(mode="json")}
