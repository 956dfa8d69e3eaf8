"""What was found of repeated lines and paragraphs, for people: dedup/lines.json and dedup/paragraphs.json."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from typing import Any

from pipelines.steps.base import WHOLE, Result, Run, Work, plain_output
from pipelines.steps.lines_step import UnitStep, filter_quality, open_ranges, range_names, top_of


def tally_name(kind: str) -> str:
    """The file that says what was found."""
    return f"dedup/{kind}.json"


class TallyUnits(UnitStep):
    """Says what was found: how many lines (paragraphs) occur how often, what they take, and which are the worst.

    Outputs: dedup/<kind>.json.
    """

    suffix = "_tally"
    aligned = False

    def __init__(self, run: Run, kind: str, before: tuple[str, ...]) -> None:
        super().__init__(run, kind, before)
        self.after = (f"{kind}_count", f"{kind}_merge", kind)

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        return {"options": self.options.model_dump(mode="json", exclude={"partitions"})}

    def execute(self, partition: str, work: Work) -> Result:
        exact = self.options.counting == "exact"
        sums = {**self._sums(), **(self._exact() if exact else self._filter())}
        body = {"kind": self.kind, **sums, "options": self.material()["options"]}
        text = json.dumps(body, indent=1, ensure_ascii=False).encode("utf-8", "replace")
        self.run.folder.write(tally_name(self.kind), text)
        return Result([plain_output(tally_name(self.kind), text)], {"marked_units": body["marked_units"]})

    def _sums(self) -> dict[str, Any]:
        shards = self.run.shards
        counted = [self.receipt(f"{self.kind}_count", s).counts for s in shards]
        marks = [self.receipt(self.kind, s).counts for s in shards]
        return {
            "documents": _total(counted, "documents"), "units": _total(counted, "units"),
            "marked_units": _total(marks, "units"), "marked_documents": _total(marks, "marked_documents"),
            "bytes": _total(marks, "bytes"), "marked_bytes": _total(marks, "marked_bytes"),
        }  # fmt: skip

    def _merges(self) -> list[dict[str, Any]]:
        return [self.receipt(f"{self.kind}_merge", r).counts for r in range_names(self)]

    def _exact(self) -> dict[str, Any]:
        merges = self._merges()
        return {
            "distinct": _total(merges, "distinct"), "repeated": _total(merges, "repeated"),
            "repeated_occurrences": _total(merges, "occurrences"), "histogram": _histogram(merges),
            "most_frequent": self._most_frequent(),
        }  # fmt: skip

    def _filter(self) -> dict[str, Any]:
        merges = self._merges()
        return {"bloom": filter_quality(merges), "sampled_histogram": _histogram(merges)}

    def _most_frequent(self) -> list[dict[str, Any]]:
        quotes: dict[str, str] = {}
        for shard in self.run.shards:
            quotes |= json.loads(self.run.folder.read(f"steps/{self.kind}/{shard}.json"))
        with ExitStack() as stack:
            top = top_of(open_ranges(self, stack), self.options.examples)
        return [{"documents": n, "key": key, "first": first, "text": quotes.get(key)} for n, key, first in top]


def _total(counts: list[dict[str, Any]], name: str) -> int:
    return sum(int(one[name]) for one in counts)


def _histogram(merges: list[dict[str, Any]]) -> dict[str, int]:
    """The histograms of all ranges together, small counts first."""
    found: Counter[str] = Counter()
    for one in merges:
        found.update(one["histogram"])
    return {k: found[k] for k in sorted(found, key=lambda k: int(k.partition("-")[0]))}
