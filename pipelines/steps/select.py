"""Selection: documents joined with their labels, kept where the sentence of the config is true."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import Drop, column
from curate.select.expressions import Conjunct, Selection, parse_selection
from curate.store.shards import ShardWriter
from pipelines.fates import FateWriter
from pipelines.shard_reader import ShardReader
from pipelines.steps import opt_out
from pipelines.steps.bands import EDGES
from pipelines.steps.base import Result, Run, Step, Work
from pipelines.steps.cut import CUT_BYTES, Cutter, cutting_steps
from pipelines.steps.documents import Documents
from pipelines.survival import SURVIVALS, Survival, survivors_only

if TYPE_CHECKING:
    import polars as pl

DOMAIN = column("domain", pa.string(), "the label that `domains.from` names; null where that label is missing")
BAND = column("quality_band", pa.string(), "where the label that `recipe.quality_bands` names falls; null if missing")


class Select(Step):
    """Joins documents and labels, cuts recorded spans out of the texts that stay, and writes the corpus.

    Outputs: corpus/<shard>.parquet, dropped/, failed/.
    """

    name = "select"

    def __init__(self, run: Run, labelled: list[Step]) -> None:
        super().__init__(run)
        self._labelled = labelled
        self._labels = tuple(s.name for s in labelled)
        self._quantiles = _bands(run) is not None and _bands(run)["edges"] is None  # type: ignore[index]
        self.after = (*self._labels, "bands") if self._quantiles else self._labels
        self._dropping = tuple(s.name for s in labelled if s.name in {"labels", "rate"})
        self.selection = selection_of(run)
        self._cut: list[float] | None = None

    @property
    def labelled(self) -> list[Step]:
        """The steps whose labels are joined, in order."""
        return self._labelled

    def material(self) -> dict[str, Any]:
        config = self.run.config
        return {
            "keep": self.selection.text if self.selection is not None else None,
            "domains": config.domains.model_dump(mode="json") if config.domains is not None else None,
            "quality_bands": _bands(self.run),
            "dedup": [d.model_dump(mode="json") for d in config.dedup if d.name != "audit"],
            "keep_dropped_text": config.run.keep_dropped_text,
        }

    def columns(self) -> pa.Schema:
        """Columns of the corpus."""
        fields = list(self._labelled[0].schema()) if isinstance(self._labelled[0], Documents) else []
        for step in self._labelled:
            if step.name != opt_out.NAME:  # what the lists name is not in the corpus; the rest has nothing to say
                fields += list(step.columns())
        names = {f.name for f in fields}
        config = self.run.config
        if config.domains is not None and "domain" not in names:
            fields.append(DOMAIN)
        if _bands(self.run) is not None and "quality_band" not in names:
            fields.append(BAND)
        if cutting_steps(self._labelled):
            fields.append(CUT_BYTES)
        return pa.schema(fields)

    def execute(self, partition: str, work: Work) -> Result:
        self._cut = None  # the edges may have been computed anew since this process began
        folder, schema = self.run.folder, self.columns()
        reader = ShardReader(folder, partition, labels=self._labels, dropped_by=self._dropping)
        writer = ShardWriter(folder, f"corpus/{partition}.parquet", schema, public=True)
        fates = FateWriter(folder, self.name, partition, keep_text=self.run.config.run.keep_dropped_text)
        cutter = Cutter(self.run, self._labelled, work)
        done = 0
        try:
            for rows in reader.batches():
                done += rows.num_rows
                writer.write(cutter(self._select(self._derived(rows), fates), fates))
                work.marks.set(documents=done)
            outputs = [writer.close(), *fates.close()]
        except BaseException:
            writer.abandon()
            fates.abandon()
            raise
        finally:
            cutter.close()
        return Result(outputs, {"documents": done, "kept": outputs[0].rows, **cutter.counts(), **fates.counts()})

    def _derived(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with the columns that name groups."""
        config = self.run.config
        if config.domains is not None and rows.schema.get_field_index("domain") < 0:
            named = rows.column(rows.schema.get_field_index(config.domains.from_))
            rows = rows.append_column(DOMAIN, pc.cast(named, pa.string()))
        bands = _bands(self.run)
        if bands is not None and rows.schema.get_field_index("quality_band") < 0:
            scores = rows.column(rows.schema.get_field_index(bands["column"]))
            rows = rows.append_column(BAND, band_of(scores, self._edges(bands)))
        return rows

    def _edges(self, bands: dict[str, Any]) -> list[float]:
        if not self._quantiles:
            return list(bands["edges"])
        if self._cut is None:
            self._cut = json.loads(self.run.folder.read(EDGES))["edges"]
        return self._cut

    def _select(self, rows: pa.RecordBatch, fates: FateWriter) -> pa.RecordBatch:
        """The rows for which every condition holds; the others are recorded under the first that does not."""
        rows = _without_listed(rows, fates)
        if self.selection is None:
            return rows
        import polars as pl

        for conjunct in self.selection.conjuncts:
            if not rows.num_rows:
                break
            frame = pl.from_arrow(rows.select(sorted(self.selection.columns)))
            assert isinstance(frame, pl.DataFrame)
            kept = _truth(frame, conjunct)
            gone = rows.filter(pc.invert(kept))
            if gone.num_rows:
                self._record(gone, conjunct, fates)
                rows = rows.filter(kept)
        return rows

    def _record(self, gone: pa.RecordBatch, conjunct: Conjunct, fates: FateWriter) -> None:
        survival = next((s for s in SURVIVALS if s.label == conjunct.text), None)
        if survival is not None:
            gone = self._record_duplicates(gone, survival, fates)
        n = gone.num_rows
        if not n:
            return
        nothing = pa.nulls(n, pa.float64())
        value, threshold = nothing, nothing
        if conjunct.column is not None and conjunct.threshold is not None:
            found = gone.column(gone.schema.get_field_index(conjunct.column))
            value = pc.cast(found, pa.float64())
            threshold = pa.array([conjunct.threshold] * n, pa.float64())
        fates.drop(_drop(gone, "keep", conjunct.text, value, threshold))

    def _record_duplicates(self, gone: pa.RecordBatch, survival: Survival, fates: FateWriter) -> pa.RecordBatch:
        """Records what has a survivor under its name; the rest is returned."""
        names = gone.schema.names
        survivor = gone.column(names.index(survival.survivor))
        similarity = pc.cast(gone.column(names.index(survival.similarity)), pa.float64())
        explained = pa.array([False] * gone.num_rows)
        for stage, reason in survival.reasons.items():
            mask = pc.is_valid(survivor)
            if survival.kind is not None:
                mask = pc.fill_null(pc.equal(gone.column(names.index(survival.kind)), stage), False)
            rows = gone.filter(mask)
            if rows.num_rows:
                threshold = pa.array([self._threshold(stage)] * rows.num_rows, pa.float64())
                fates.drop(_drop(rows, stage, reason, similarity.filter(mask), threshold), survivor.filter(mask))
                explained = pc.or_(explained, mask)
        return gone.filter(pc.invert(explained))

    def _threshold(self, kind: str) -> float:
        for spec in self.run.config.dedup:
            if spec.name == kind:
                return float(getattr(spec.options, "threshold", 1.0))
        return 1.0


def _drop(rows: pa.RecordBatch, stage: str, reason: str, value: pa.Array, threshold: pa.Array) -> Drop:
    n = rows.num_rows
    return Drop(rows, stage, pa.array([reason] * n, pa.string()), value, threshold, pa.nulls(n, pa.string()))


def _without_listed(rows: pa.RecordBatch, fates: FateWriter) -> pa.RecordBatch:
    """The rows that no opt-out list names; of the others no text is written anywhere."""
    index = rows.schema.get_field_index("opt_out_listed")
    if index < 0 or not pc.any(rows.column(index)).as_py():
        return rows
    gone = rows.filter(rows.column(index))
    kind, entry = (gone.column(gone.schema.get_field_index(n)) for n in ("opt_out_by", "opt_out_entry"))
    gone, n = gone.select([name for name in gone.schema.names if name != "text"]), gone.num_rows
    fates.drop(Drop(gone, opt_out.NAME, kind, pa.nulls(n, pa.float64()), pa.nulls(n, pa.float64()), entry))
    return rows.filter(pc.invert(rows.column(index)))


def _truth(frame: pl.DataFrame, conjunct: Conjunct) -> pa.Array:
    import polars as pl

    result = frame.select(conjunct.expression().cast(pl.Boolean).fill_null(False).alias("kept"))
    array = result["kept"].to_arrow()
    if len(array) == 1 and frame.height != 1:  # a sentence without columns is one value for all
        array = pa.array([array[0].as_py()] * frame.height, pa.bool_())
    return array


def selection_of(run: Run) -> Selection | None:
    """The parsed ``keep`` of the config; without one, survivors that all entries of `select` take; None if all stay."""
    taken = [spec.options.name for spec in run.config.select]  # type: ignore[attr-defined]
    text = run.config.keep or " and ".join(filter(None, [survivors_only(run.config), *taken])) or None
    return parse_selection(text) if text is not None else None


def _bands(run: Run) -> dict[str, Any] | None:
    recipe = run.config.recipe
    if recipe is None or recipe.quality_bands is None:
        return None
    found: dict[str, Any] = recipe.quality_bands.model_dump(mode="json")
    return found


def band_of(values: pa.Array, edges: list[float]) -> pa.Array:
    """The band each value falls in: ``q0`` below the first edge, ``q1`` on or above it …; null stays null."""
    numbers = pc.cast(values, pa.float64())
    index = np.searchsorted(np.asarray(edges), pc.fill_null(numbers, 0.0).to_numpy(), side="right")
    names = pa.array([f"q{i}" for i in range(len(edges) + 1)], pa.string()).take(pa.array(index))
    return pc.if_else(pc.is_null(numbers), pa.scalar(None, pa.string()), names)
