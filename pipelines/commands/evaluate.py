"""`curate evaluate`: a table's columns, or a rater run on its texts, against gold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import ConfigError
from pipelines.commands.answer import Answer


def main(
    table: Path, score: str, gold: str, card: str | None, text: str, second: str | None, probability: str | None,
    cut: float | None, gold_cut: float | None, by: Sequence[str], resamples: int, seed: int,
) -> Answer:  # fmt: skip
    """All figures of one comparison; with ``card``, ``score`` is one of the columns that the rater adds."""
    from classifiers.evaluate import Comparison, compare, table_of
    from classifiers.train_table import read_table

    data = read_table(table)
    rated = _rated(card, data, text) if card else {}

    def column(name: str) -> Any:
        if name in rated:
            return rated[name]
        if name not in data.column_names:
            known = ", ".join([*data.column_names, *rated])
            raise ConfigError(f"{table} has no column {name}; there are: {known}")
        return data[name].to_pylist()

    lengths = [len(t or "") for t in data[text].to_pylist()] if text in data.column_names else None
    given = Comparison(
        gold=column(gold), score=column(score), lengths=lengths, second=column(second) if second else None,
        probability=column(probability) if probability else None, cut=cut, gold_cut=gold_cut,
        groups={name: column(name) for name in by},
    )  # fmt: skip
    figures = compare(given, resamples=resamples, seed=seed)
    return Answer({"score": score, "gold": gold, **figures}, lambda: table_of(figures))


def _rated(card: str, data: Any, text: str) -> dict[str, list[Any]]:
    """What the rater adds to the table's texts, in parts of a thousand."""
    import pyarrow as pa

    from classifiers.contract import rater_stage
    from curate.documents import Batch
    from curate.stages.base import Context

    if text not in data.column_names:
        raise ConfigError(f"the table has no column {text}; name the texts with --text")
    rater = rater_stage(card, Path.cwd())
    rater.open(Context())
    found: dict[str, list[Any]] = {name: [] for name in rater.adds().names}
    texts = data[text].combine_chunks().cast(pa.string()).fill_null("")
    ids = pa.array([str(i) for i in range(len(texts))])
    try:
        for at in range(0, len(texts), 1000):
            batch = pa.RecordBatch.from_arrays([ids[at : at + 1000], texts[at : at + 1000]], ["id", "text"])
            out = rater.process(Batch(batch))
            for name, values in found.items():
                values += out.column(name).to_pylist()
    finally:
        rater.close()
    return found
