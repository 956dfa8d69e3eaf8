"""Where quality bands are cut, when the config asks for quantiles instead of edges."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.shard_reader import ShardReader
from pipelines.steps import opt_out
from pipelines.steps.base import WHOLE, Result, Run, Step, Work, plain_output

EDGES = "steps/bands/edges.json"
THIRDS = (1 / 3, 2 / 3)


class Bands(Step):
    """Computes the edges of the quality bands from the scores of all live documents."""

    name = "bands"
    aligned = False

    def __init__(self, run: Run, labelled: list[Step]) -> None:
        super().__init__(run)
        self.after = tuple(s.name for s in labelled)
        self._dropping = tuple(s.name for s in labelled if s.name in {"labels", "rate"})

    def partitions(self) -> list[str]:
        return [WHOLE]

    def material(self) -> dict[str, Any]:
        recipe = self.run.config.recipe
        assert recipe is not None and recipe.quality_bands is not None
        return {"bands": recipe.quality_bands.model_dump(mode="json")}

    def execute(self, partition: str, work: Work) -> Result:
        recipe = self.run.config.recipe
        assert recipe is not None and recipe.quality_bands is not None
        values = [self._values(p, recipe.quality_bands.column) for p in self.run.shards]
        scores = np.concatenate(values) if values else np.empty(0)
        wanted = recipe.quality_bands.quantiles or THIRDS
        # `inverted_cdf` gives values that occur, so equal scores never straddle an edge by rounding
        edges = np.quantile(scores, wanted, method="inverted_cdf").tolist() if len(scores) else [0.0] * len(wanted)
        text = json.dumps({"edges": edges, "n": len(scores)}).encode("ascii")
        self.run.folder.write(EDGES, text)
        return Result([plain_output(EDGES, text)], {"documents": len(scores)})

    def _values(self, partition: str, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        reader = ShardReader(self.run.folder, partition, labels=self.after, dropped_by=self._dropping)
        table = reader.label_table([column])
        if table is None:
            return np.empty(0)
        mask = reader.alive(table.num_rows)
        if (listed := opt_out.listed(self.run, partition)) is not None:
            mask &= ~listed
        alive = table.filter(pa.array(mask))
        numbers: np.ndarray[Any, np.dtype[np.float64]] = (
            pc.cast(alive[column], pa.float64()).drop_null().to_numpy(zero_copy_only=False)
        )
        return numbers
