"""What the selection takes out of texts: the spans that steps before it recorded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.cutting import Cut, cut_spans
from curate.documents import TEXT, Batch, Drop, column
from curate.stages.base import Stage
from pipelines.fates import FateWriter
from pipelines.stage_chain import build_stages
from pipelines.steps.base import Run, Step, Work
from pipelines.steps.documents import context

NOTHING_LEFT = "nothing_left"
CUT_BYTES = column(
    "cut_bytes", pa.int64(), "how many bytes shorter the text is than the one its labels describe; 0: nothing was cut",
    unit="bytes",
)  # fmt: skip
_TOKENS = "tokens"


class Cutter:
    """Cuts spans out of the texts that stay, and counts their tokens anew; one per task.

    A document that keeps fewer words than a step with spans asks for is dropped under that step's name, with the words
    that are left and the least number as value and threshold. ``tokens_count`` is that of the cut text; every other
    label describes the text as it was.
    """

    def __init__(self, run: Run, steps: list[Step], work: Work) -> None:
        self._run, self._work = run, work
        self._steps = cutting_steps(steps)
        self._tokens: Stage | None = None
        self._counts: Counter[str] = Counter()

    def __call__(self, rows: pa.RecordBatch, fates: FateWriter) -> pa.RecordBatch:
        """The rows with their texts cut; those of which too little is left are recorded as dropped."""
        if not self._steps:
            return rows
        cut = self._cut(rows, len(self._steps))
        least = max(step.min_remaining_words for step in self._steps)
        short = cut.changed & (cut.words() < least)
        gone = self._record(rows, short, fates) if short.any() else short
        kept = pa.array(~gone)
        rows = _with(rows, {TEXT.name: cut.texts, CUT_BYTES.name: pa.array(cut.bytes_cut)}).filter(kept)
        changed = cut.changed[~gone]
        self._counts["cut_documents"] += int(changed.sum())
        self._counts["cut_bytes"] += int(cut.bytes_cut[~gone].sum())
        return self._recounted(rows, changed) if changed.any() else rows

    def counts(self) -> dict[str, int]:
        """For the receipt: documents of the corpus that were cut, and the bytes they lost; empty if nothing cuts."""
        return {name: self._counts[name] for name in ("cut_documents", "cut_bytes")} if self._steps else {}

    def close(self) -> None:
        """Release the tokenizer."""
        if self._tokens is not None:
            self._tokens.close()

    def _cut(self, rows: pa.RecordBatch, steps: int) -> Cut:
        """The texts without the spans of the first ``steps`` steps."""
        names = [name for step in self._steps[:steps] for name in step.cuts]
        return cut_spans(rows.column(TEXT.name), [rows.column(name) for name in names])

    def _record(self, rows: pa.RecordBatch, short: npt.NDArray[np.bool_], fates: FateWriter) -> npt.NDArray[np.bool_]:
        """Drop those that are left with too little by one of the steps, under the first that does so."""
        gone = np.zeros(len(short), np.bool_)
        for number, step in enumerate(self._steps, 1):
            cut = self._cut(rows, number)
            words = cut.words()
            now = short & ~gone & cut.changed & (words < step.min_remaining_words)
            if now.any():
                n = int(now.sum())
                mask = pa.array(now)
                left = pa.array(words[now].astype(np.float64))
                least = pa.array([float(step.min_remaining_words)] * n)
                reason = pa.array([NOTHING_LEFT] * n)
                fates.drop(Drop(rows.filter(mask), step.name, reason, left, least, pa.nulls(n, pa.string())))
            gone |= now
        return gone

    def _recounted(self, rows: pa.RecordBatch, changed: npt.NDArray[np.bool_]) -> pa.RecordBatch:
        stage = self._opened()
        if stage is None:
            return rows
        mask = pa.array(changed)
        texts = pa.RecordBatch.from_arrays([rows.column(TEXT.name).filter(mask)], schema=pa.schema([TEXT]))
        counted = stage.process(Batch(texts))
        new: dict[str, pa.Array] = {}
        for name in stage.adds().names:
            new[name] = pc.replace_with_mask(rows.column(name), mask, counted.column(name))
        return _with(rows, new)

    def _opened(self) -> Stage | None:
        """The config's ``tokens`` stage, ready; None if it has none."""
        if self._tokens is None:
            stages = [s for first in (True, False) for s in build_stages(self._run.config, first_pass=first)]
            self._tokens = next((s for s in stages if s.name == _TOKENS), None)
            if self._tokens is not None:
                self._tokens.open(context(self._run, self._work.scratch))
        return self._tokens


def cutting_steps(steps: list[Step]) -> list[Step]:
    """Those of the steps whose spans are cut."""
    return [step for step in steps if step.cuts]


def cut_of(steps: list[Step], labels: dict[str, Any]) -> dict[str, Any] | None:
    """What was cut from the text of a document with these labels, for a person; None if nothing was.

    Returns:
        ``bytes``: by how much its text in the corpus is shorter (absent for a document that is not there), and for
        every step with spans how many, and the bytes in them.
    """
    found: dict[str, Any] = {}
    for step in cutting_steps(steps):
        spans = [span for name in step.cuts for span in labels.get(name) or ()]
        if spans:
            found[step.name] = {"spans": len(spans), "bytes": sum(s["end"] - s["start"] for s in spans)}
    if not found:
        return None
    shorter = labels.get(CUT_BYTES.name)
    return {**({"bytes": shorter} if shorter is not None else {}), **found}


def _with(rows: pa.RecordBatch, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """The rows with these columns replaced, or added."""
    for name, array in columns.items():
        at = rows.schema.get_field_index(name)
        if at < 0:
            rows = rows.append_column(CUT_BYTES if name == CUT_BYTES.name else pa.field(name, array.type), array)
        else:
            rows = rows.set_column(at, rows.schema.field(at), array)
    return rows
