"""Score columns made of other columns, and by comparison with a target.

    target_count  shard     words of the documents in hashed buckets (entries `dsir`)
    target_fit    one task  their sums over all shards
    targets       shard     columns of the entries `dsir` and `zipfit`
    scores_fit    one task  what the other entries learn from a sample of the documents
    scores        shard     their columns

Documents that were dropped before, duplicates and listed ones are neither counted nor sampled; they have null in all
columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import IDENTITY, column
from curate.errors import ConfigError, TaskError
from curate.select.config import DsirConfig, ZipfitConfig
from curate.store.shards import Output, write_shard, write_table
from pipelines.shard_reader import ShardReader
from pipelines.steps import opt_out
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output
from pipelines.steps.documents import Documents
from pipelines.survival import SURVIVALS

if TYPE_CHECKING:
    from curate.select.fitting import Fitted

MODELS = "steps/scores_fit/models.json"
CORPUS_COUNTS = "steps/target_fit/counts.parquet"
_COUNTS = pa.schema(
    [
        column("buckets", pa.int32(), "into how many buckets words were hashed", nullable=False),
        column("bucket", pa.int32(), "a bucket in which words fell", nullable=False),
        column("count", pa.int64(), "words and word pairs in it", nullable=False),
    ]
)
_TARGET_BYTES = 1 << 30
Mask = npt.NDArray[np.bool_]


def added_steps(run: Run, labelled: tuple[Step, ...]) -> list[Step]:
    """The steps of `scores`; those that write labels have columns."""
    entries = [spec.options for spec in run.config.scores]
    steps: list[Step] = []
    before = tuple(labelled)
    if any(isinstance(e, DsirConfig) for e in entries):
        steps += [TargetCount(run, before), TargetFit(run)]
    if any(isinstance(e, (DsirConfig, ZipfitConfig)) for e in entries):
        targets = Targets(run, before)
        steps.append(targets)
        before = (*before, targets)
    if any(not isinstance(e, (DsirConfig, ZipfitConfig)) for e in entries):
        steps += [ScoresFit(run, before), Scores(run, before)]
    return steps


class LabelView:
    """Label and document columns of a shard, and which documents still take part."""

    def __init__(self, run: Run, labelled: Iterable[Step]) -> None:
        self.run = run
        self.names = tuple(s.name for s in labelled)
        self._dropping = tuple(n for n in self.names if n in {"labels", "rate"})
        self._documents = set(Documents(run).schema().names)

    def live(self, partition: str) -> Mask:
        """True for documents that no step dropped, that are no duplicates, and that no list names."""
        reader = ShardReader(self.run.folder, partition, labels=self.names, dropped_by=self._dropping)
        with self.run.folder.parquet(f"documents/{partition}.parquet") as file:
            mask: Mask = reader.alive(file.metadata.num_rows)
        table = reader.label_table([s.label for s in SURVIVALS])
        for name in table.column_names if table is not None else ():
            told = pc.fill_null(table[name].combine_chunks(), False)  # type: ignore[index]
            mask &= told.to_numpy(zero_copy_only=False)
        listed = opt_out.listed(self.run, partition)
        return mask if listed is None else mask & ~listed

    def columns(self, partition: str, names: Iterable[str]) -> pa.Table:
        """The named columns of all documents of the shard, with ``id``; no text is read unless it is named."""
        wanted = [*dict.fromkeys(["id", *names])]
        own = [n for n in wanted if n in self._documents]
        table = self.run.folder.table(f"documents/{partition}.parquet", own)
        labels = ShardReader(self.run.folder, partition, labels=self.names).label_table(
            [n for n in wanted if n not in self._documents]
        )
        if labels is not None:
            for field, array in zip(labels.schema, labels.columns, strict=True):
                table = table.append_column(field, array)
        return table.combine_chunks()


def known_columns(run: Run, labelled: Iterable[Step]) -> dict[str, pa.DataType]:
    """All columns that a later step may look at, with their types."""
    found = {f.name: f.type for f in Documents(run).schema()}
    for step in labelled:
        found |= {f.name: f.type for f in step.columns()}
    return found


def check_known(section: str, name: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    """ConfigError that names the first column that nothing makes."""
    from pipelines.config_errors import nearest

    there = list(known)
    for one in wanted:
        if one not in there:
            guess = nearest(one, there)
            hint = f"did you mean `{guess}`?" if guess else "`curate schema CONFIG` lists the columns"
            raise ConfigError(
                f"{section}: the entry `{name}` looks at `{one}`, and nothing before it makes that; {hint}"
            )


def read_target(base: Path, names: Iterable[str], field: str, section: str) -> list[str]:
    """Texts of the target's JSONL files, in order; ConfigError if there is none or a line holds none."""
    texts: list[str] = []
    for name in names:
        path = base / name
        try:
            if path.stat().st_size > _TARGET_BYTES:
                raise ConfigError(f"{section}: {path} is larger than 1 GB; a target is a sample")
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{section}: the target {path} cannot be read ({type(error).__name__})") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                texts.append(_text_of(line, field, f"{section}: {path}, line {number}"))
    return texts


def _text_of(line: str, field: str, where: str) -> str:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: no JSON") from error
    text = found.get(field) if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise ConfigError(f"{where}: no text under the key {field!r}; `field` names the key")
    return text


def target_digest(base: Path, names: Iterable[str]) -> dict[str, str]:
    """What decides a target: the bytes of its files."""
    from pipelines.stage_chain import file_digest

    return {name: file_digest(base / name) for name in names}


class _Text(Step):
    """What the steps that read texts share.

    Args:
        labelled: steps whose labels are there.
    """

    def __init__(self, run: Run, labelled: Iterable[Step]) -> None:
        super().__init__(run)
        steps = tuple(labelled)
        self.view = LabelView(run, steps)
        more = ("opt_out",) if run.config.opt_out is not None and "opt_out" not in self.view.names else ()
        self.after = (*self.view.names, *more)
        self.dsir = [s.options for s in run.config.scores if isinstance(s.options, DsirConfig)]
        self.zipfit = [s.options for s in run.config.scores if isinstance(s.options, ZipfitConfig)]

    def texts(self, partition: str, work: Work) -> Iterator[tuple[pa.Array, Mask]]:
        """Texts of the shard batch by batch, and which of them take part."""
        live, start = self.view.live(partition), 0
        for rows in ShardReader(self.run.folder, partition).batches(["id", "text"]):
            yield rows.column(rows.schema.get_field_index("text")), live[start : start + rows.num_rows]
            start += rows.num_rows
            work.marks.set(documents=start)


class TargetCount(_Text):
    """Counts words and word pairs of a shard's documents.

    Outputs: steps/target_count/<shard>.parquet. Memory: a batch of texts, and 8 bytes per bucket.
    """

    name = "target_count"

    def material(self) -> dict[str, Any]:
        return {"buckets": sorted({e.buckets for e in self.dsir})}

    def execute(self, partition: str, work: Work) -> Result:
        from curate.select.dsir import count_ngrams

        counts = {n: np.zeros(n, np.int64) for n in sorted({e.buckets for e in self.dsir})}
        documents = 0
        for texts, live in self.texts(partition, work):
            asked = texts.filter(pa.array(live))
            documents += len(asked)
            for n, found in counts.items():
                count_ngrams(asked, n, found)
        output = write_table(self.run.folder, f"steps/target_count/{partition}.parquet", counts_table(counts))
        return Result([output], {"documents": documents})


def counts_table(counts: dict[int, npt.NDArray[np.int64]]) -> pa.Table:
    """Counts per number of buckets as rows, zeros left out."""
    parts = []
    for n, found in sorted(counts.items()):
        at = np.flatnonzero(found)
        parts.append(pa.table([pa.array(np.full(len(at), n, np.int32)), pa.array(at.astype(np.int32)),
                               pa.array(found[at])], schema=_COUNTS))  # fmt: skip
    return pa.concat_tables(parts) if parts else _COUNTS.empty_table()


def counts_of(table: pa.Table, n: int) -> npt.NDArray[np.int64]:
    """The counts over ``n`` buckets."""
    part = table.filter(pc.equal(table["buckets"], n))
    found = np.zeros(n, np.int64)
    np.add.at(found, part["bucket"].to_numpy(), part["count"].to_numpy())
    return found


class TargetFit(Step):
    """Sums the counts of all shards. Outputs: steps/target_fit/counts.parquet. Memory: 8 bytes per bucket."""

    name = "target_fit"
    aligned = False
    after = ("target_count",)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {}

    def execute(self, partition: str, work: Work) -> Result:
        sizes = sorted({s.options.buckets for s in self.run.config.scores if isinstance(s.options, DsirConfig)})
        counts = {n: np.zeros(n, np.int64) for n in sizes}
        for shard in self.run.shards:
            table = self.run.folder.table(f"steps/target_count/{shard}.parquet")
            for n in sizes:
                counts[n] += counts_of(table, n)
        return Result([write_table(self.run.folder, CORPUS_COUNTS, counts_table(counts))], {})


class Targets(_Text):
    """Compares every document with the targets.

    Outputs: labels/targets/<shard>.parquet. Memory: a batch of texts, the targets, 16 bytes per bucket.
    """

    name = "targets"

    def __init__(self, run: Run, labelled: tuple[Step, ...]) -> None:
        super().__init__(run, labelled)
        known = set(known_columns(run, labelled))
        for entry in (*self.dsir, *self.zipfit):
            if entry.name in known:
                raise ConfigError(f"scores: there is a column `{entry.name}` already; name the entry otherwise")
            known.add(entry.name)
        if self.dsir:
            self.after = (*self.after, "target_fit")

    def material(self) -> dict[str, Any]:
        import zlib

        entries: list[DsirConfig | ZipfitConfig] = [*self.dsir, *self.zipfit]
        return {
            "entries": [e.model_dump(mode="json") for e in entries],
            "targets": [target_digest(self.run.base, e.target) for e in entries],
            "zlib": zlib.ZLIB_RUNTIME_VERSION if self.zipfit else None,
        }

    def columns(self) -> pa.Schema:
        fields = [
            column(e.name, pa.float64(), "log importance weight against the target; null: too few words, or left out")
            for e in self.dsir
        ]
        fields += [
            column(e.name, pa.float64(), "alignment with the target by compression; null: empty, or left out",
                   range_="about 0–1")
            for e in self.zipfit
        ]  # fmt: skip
        return pa.schema(fields)

    def execute(self, partition: str, work: Work) -> Result:
        scorers = self._scorers()
        schema = pa.schema([IDENTITY.field("id"), *self.columns()])
        ids = self.run.folder.table(f"documents/{partition}.parquet", ["id"])["id"].combine_chunks()

        def batches() -> Iterator[pa.RecordBatch]:
            start = 0
            for texts, live in self.texts(partition, work):
                arrays = [ids.slice(start, len(texts))]
                asked = texts.filter(pa.array(live))
                for score in scorers:
                    values = np.full(len(texts), np.nan)
                    values[live] = score(asked)
                    arrays.append(pa.array(values, pa.float64(), mask=np.isnan(values)))
                start += len(texts)
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        output = write_shard(self.run.folder, f"labels/{self.name}/{partition}.parquet", schema, batches())
        return Result([output], {"documents": output.rows})

    def _scorers(self) -> list[Any]:
        from curate.select.dsir import Importance, count_ngrams
        from curate.select.zipfit import Alignment

        found: list[Any] = []
        corpus = self.run.folder.table(CORPUS_COUNTS) if self.dsir else None
        for e in self.dsir:
            texts = pa.array(read_target(self.run.base, e.target, e.field, f"scores: {e.name}"), pa.string())
            wanted, _ = count_ngrams(texts, e.buckets)
            try:
                importance = Importance.fit(counts_of(corpus, e.buckets), wanted, e.smoothing)
            except ConfigError as error:  # known only now that the corpus is there
                raise TaskError(f"scores: {e.name}: {error}") from error
            found.append(_weights(importance, e))
        for z in self.zipfit:
            texts_ = read_target(self.run.base, z.target, z.field, f"scores: {z.name}")
            found.append(Alignment(_few(texts_, z.max_texts), z.method, z.level).score)
        return found


def _weights(importance: Any, entry: DsirConfig) -> Any:
    return lambda texts: importance.weights(texts, min_tokens=entry.min_tokens, per_token=entry.per_token)


def _few(texts: list[str], most: int) -> list[str]:
    """At most so many texts, those with the smallest hashes."""
    import xxhash

    return sorted(texts, key=lambda t: (xxhash.xxh3_128_hexdigest(t.encode("utf-8", "replace")), t))[:most]


class _Scored(Step):
    """What the steps of the other entries share."""

    def __init__(self, run: Run, labelled: Iterable[Step]) -> None:
        super().__init__(run)
        from curate.select.fitting import made, needed

        steps = tuple(labelled)
        self.view = LabelView(run, steps)
        self.entries: list[Any] = [
            s.options for s in run.config.scores if not isinstance(s.options, (DsirConfig, ZipfitConfig))
        ]
        known = dict(known_columns(run, steps))
        self.inputs: list[str] = []
        for entry in self.entries:
            wanted = needed(entry)
            check_known("scores", entry.name, wanted, known)
            own = {f.name for e in self.entries for f in made(e)}
            self.inputs += [n for n in wanted if n not in own and n not in self.inputs]
            for field in made(entry):
                if field.name in known:
                    raise ConfigError(f"scores: there is a column `{field.name}` already; name the entry otherwise")
                known[field.name] = field.type
        more = ("opt_out",) if run.config.opt_out is not None and "opt_out" not in self.view.names else ()
        self.after = (*self.view.names, *more)


class ScoresFit(_Scored):
    """Learns what the entries of `scores` need to know, from a sample of the documents that still take part.

    Outputs: steps/scores_fit/models.json, scores/<name>/<column>.parquet (frozen references). Memory: the columns of
    one shard, and 100,000 rows.
    """

    name = "scores_fit"
    aligned = False

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        from pipelines.stage_chain import file_digest

        files = [e.reference for e in self.entries if getattr(e, "reference", None) is not None]
        files += [e.learn.path for e in self.entries if getattr(e, "learn", None) is not None]
        return {
            "entries": [_entry(e) for e in self.entries],
            "seed": self.run.config.run.seed,
            "files": {name: file_digest(self.run.base / name) for name in files},
        }

    def execute(self, partition: str, work: Work) -> Result:
        from curate.select.fitting import SAMPLE, apply, fit
        from curate.select.reference import HASH

        seed = self.run.config.run.seed
        table, seen = self._sample(SAMPLE, seed, work)
        columns = {n: table[n].combine_chunks() for n in table.schema.names if n != HASH}
        about = {"documents": table.num_rows, "of": seen, "size": SAMPLE, "seed": seed}
        said: list[dict[str, Any]] = []
        outputs: list[Output] = []
        for entry in self.entries:
            try:
                learned = fit(entry, columns, self.run.base, seed, about)
            except ConfigError as error:  # a file that is not what it should be; what is done stands
                raise TaskError(f"scores: {entry.name}: {error}") from error
            columns |= apply(entry, learned, columns)
            names = {}
            for name, reference in sorted(learned.references.items()):
                names[name] = f"scores/{entry.name}/{name}.parquet"
                outputs.append(write_table(self.run.folder, names[name], reference.to_table()))
            said.append({"entry": entry.name, "references": names, "said": learned.said})
        text = json.dumps({"sample": about, "models": said}, indent=1, sort_keys=True).encode("utf-8")
        self.run.folder.write(MODELS, text)
        return Result([plain_output(MODELS, text), *outputs], {"documents": seen, "sampled": table.num_rows})

    def _sample(self, size: int, seed: int, work: Work) -> tuple[pa.Table, int]:
        from curate.select.reference import smallest

        kept: pa.Table | None = None
        seen = 0
        for shard in self.run.shards:
            table = self.view.columns(shard, self.inputs)
            table = table.filter(pa.array(self.view.live(shard)))
            seen += table.num_rows
            work.marks.set(documents=seen)
            part = smallest(table, size, seed)
            kept = part if kept is None else smallest(pa.concat_tables([kept, part]), size, seed)
        if kept is None:
            raise TaskError("scores: the run has no shard, so nothing can be learned")
        return kept, seen


def _entry(entry: Any) -> dict[str, Any]:
    return {"kind": type(entry).__name__, **entry.model_dump(mode="json")}


class Scores(_Scored):
    """Makes the columns of the entries, row by row.

    Outputs: labels/scores/<shard>.parquet. Memory: the columns of the shard that the entries look at.
    """

    name = "scores"

    def __init__(self, run: Run, labelled: Iterable[Step]) -> None:
        super().__init__(run, labelled)
        self.after = (*self.after, "scores_fit")

    def material(self) -> dict[str, Any]:
        return {"entries": [_entry(e) for e in self.entries]}

    def columns(self) -> pa.Schema:
        from curate.select.fitting import made

        return pa.schema([f for entry in self.entries for f in made(entry)])

    def execute(self, partition: str, work: Work) -> Result:
        from curate.select.fitting import apply

        models = json.loads(self.run.folder.read(MODELS))["models"]
        table = self.view.columns(partition, self.inputs)
        live = pa.array(self.view.live(partition))
        columns = {n: table[n].combine_chunks() for n in table.schema.names}
        for entry, model in zip(self.entries, models, strict=True):
            for name, array in apply(entry, self._fitted(model), columns).items():
                columns[name] = pc.if_else(live, array, pa.nulls(len(array), array.type))
        schema = pa.schema([IDENTITY.field("id"), *self.columns()])
        out = pa.table([columns[f.name].cast(f.type) for f in schema], schema=schema)
        work.marks.set(documents=out.num_rows)
        output: Output = write_table(self.run.folder, f"labels/{self.name}/{partition}.parquet", out)
        return Result([output], {"documents": output.rows})

    def _fitted(self, model: dict[str, Any]) -> Fitted:
        from curate.select.fitting import Fitted
        from curate.select.reference import Reference

        found = {
            name: Reference.from_table(self.run.folder.table(place), place)
            for name, place in model["references"].items()
        }
        return Fitted(found, model["said"])
