"""Annotation: language models rate a sample of documents by a rubric; several annotators are joined to one label.

Every answer is in the journal under the output before it is used, so that an annotation that was stopped, by a signal,
a budget or a server that went away, goes on where it was, and a changed one asks only what is new.

Memory: the sample, and about 1 kB per question (10 kB with probabilities).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from classifiers.annotate_config import AnnotateConfig, Annotator
from classifiers.annotate_input import pairs_of, sample_of
from classifiers.generative.forms import Prepared, Reading
from classifiers.generative.rubric import PairForm, Rubric, RubricForm, RubricOptions, load_rubric
from classifiers.generative.trimming import Trimmer
from curate.rewrite.complete import complete_all
from curate.rewrite.journal import Journal
from curate.rewrite.requests import Answer, Request
from curate.rewrite.usage import Estimate, TokenizerFile, Usage, estimate

__all__ = ["Annotation", "annotate", "estimates", "open_annotation"]

JOURNAL = "journal/annotate"


@dataclass(frozen=True)
class Annotation:
    """What is to be asked.

    Attributes:
        texts: id → text, in order of ids.
        pairs: pairs of ids, for rubrics of pairs.
    """

    config: AnnotateConfig
    rubric: Rubric
    texts: dict[str, str]
    pairs: list[tuple[str, str]]


@dataclass
class Told:
    """What came of one annotator's questions: rows for the ratings, and what they cost."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    used: Usage = field(default_factory=Usage)
    wasted: Usage = field(default_factory=Usage)
    replayed: int = 0


def open_annotation(config: AnnotateConfig) -> Annotation:
    """Reads rubric and input; asks nothing."""
    from pathlib import Path

    rubric = load_rubric(config.rubric, Path())
    texts = sample_of(config)
    pairs = pairs_of(list(texts), config.pairs_per_document, config.seed) if rubric.kind == "pairs" else []
    return Annotation(config, rubric, texts, pairs)


def estimates(annotation: Annotation) -> dict[str, Estimate]:
    """What each annotator would cost at most; what the journal holds costs nothing. Asks nothing, writes nothing."""
    found = {}
    for annotator in annotation.config.annotators:
        counter = TokenizerFile(_file_of(annotator)) if annotator.tokenizer is not None else None
        journal = Journal(str(annotation.config.output), None, f"{JOURNAL}/{annotator.name}")
        try:
            asked = _requests(annotation, annotator)
            found[annotator.name] = estimate(
                asked, annotator.model, annotator.revision, annotator.price, counter, journal
            )
        finally:
            journal.close()
    return found


def annotate(annotation: Annotation, progress: Callable[[str, int, int], None] | None = None) -> dict[str, Told]:
    """Asks every annotator everything; one row per document (or pair and order), annotator and repeat.

    Args:
        progress: is called with the annotator's name, answers so far, and all questions.

    Raises:
        BudgetError, EnvironmentGone, ConfigError: as ``complete_all`` says; the same call goes on from the journal.
    """
    return {a.name: _asked(annotation, a, progress) for a in annotation.config.annotators}


def _asked(annotation: Annotation, annotator: Annotator, progress: Callable[[str, int, int], None] | None) -> Told:
    requests = list(_requests(annotation, annotator))
    told = Told()
    with Journal(str(annotation.config.output), "answers", f"{JOURNAL}/{annotator.name}") as journal:
        left = sum(r.key(annotator.model, annotator.revision) not in journal for r in requests)
        outcomes = complete_all(
            requests, annotator.client(), journal=journal, health_s=annotator.health_s if left else None
        )
        for number, outcome in enumerate(outcomes, 1):
            form, row = outcome.tag
            reading = form.read(outcome)
            told.rows.append(_row(row, reading, annotator.name))
            told.statuses[reading.status] = told.statuses.get(reading.status, 0) + 1
            told.replayed += outcome.attempts == 0
            if isinstance(outcome, Answer):
                told.used, told.wasted = told.used + outcome.usage, told.wasted + outcome.wasted
            else:
                told.wasted += outcome.usage
            if progress is not None and (number % 50 == 0 or number == len(requests)):
                progress(annotator.name, number, len(requests))
    return told


def _requests(annotation: Annotation, annotator: Annotator) -> Iterator[Request]:
    """Every question to one annotator; repeats differ in their seed."""
    config, rubric = annotation.config, annotation.rubric
    trimmer = Trimmer(annotator.tokenizer)
    purpose = f"annotate.{rubric.name}@{rubric.revision}.{RubricForm.version}"
    prepared: dict[str, Prepared] = {}
    for repeat in range(config.repeats):
        options = RubricOptions(
            rubric=rubric, temperature=annotator.temperature, logprobs=annotator.logprobs, seed=config.seed + repeat
        )
        if rubric.kind == "scores":
            form = RubricForm(options, trimmer)
            for name, text in annotation.texts.items():
                ready = prepared.setdefault(name, form.prepare(text, name))
                tag = (form, {"id": name, "repeat": repeat, "truncated": ready.truncated})
                yield form.request(ready.text, name, purpose, annotator.dialect, repeat, tag)
            continue
        for criterion in rubric.criteria:
            pair_form = PairForm(options, trimmer, criterion)
            for one, other in annotation.pairs:
                for name in (one, other):
                    if name not in prepared:
                        prepared[name] = pair_form.prepare(annotation.texts[name], name)
                for swapped in (False, True):
                    order = (other, one) if swapped else (one, other)
                    row = {
                        "id": one, "other": other, "criterion": criterion.name, "repeat": repeat, "swapped": swapped,
                    }  # fmt: skip
                    first, second = ((name, prepared[name].text) for name in order)
                    yield pair_form.pair(
                        first, second, f"{purpose}.{criterion.name}", annotator.dialect, repeat, (pair_form, row)
                    )  # fmt: skip


def _row(row: dict[str, Any], reading: Reading, annotator: str) -> dict[str, Any]:
    values = dict(reading.values) if reading.ok else {}
    if "second" in values:  # of the two texts as they stood in the question
        share = values.pop("second")
        values["p_other"] = 1.0 - share if row["swapped"] else share
    return {**row, "annotator": annotator, "status": reading.status, **values}


def ratings_schema(rubric: Rubric) -> pa.Schema:
    """Columns of ratings.parquet, in order of id, criterion, annotator and repeat."""
    if rubric.kind == "pairs":
        return pa.schema(
            [
                pa.field("id", pa.string()), pa.field("other", pa.string()), pa.field("criterion", pa.string()),
                pa.field("annotator", pa.string()), pa.field("repeat", pa.int32()), pa.field("swapped", pa.bool_()),
                pa.field("status", pa.string()), pa.field("p_other", pa.float32()),
            ]
        )  # fmt: skip
    fields = [
        pa.field("id", pa.string()), pa.field("annotator", pa.string()), pa.field("repeat", pa.int32()),
        pa.field("status", pa.string()), pa.field("truncated", pa.bool_()),
    ]  # fmt: skip
    for criterion in rubric.criteria:
        fields += [pa.field(criterion.name, pa.int32()), pa.field(f"{criterion.name}_expected", pa.float32())]
    for choice in rubric.choices:
        fields += [pa.field(choice.name, pa.string()), pa.field(f"{choice.name}_shares", pa.list_(pa.float32()))]
    return pa.schema(fields)


def ratings_table(annotation: Annotation, told: dict[str, Told]) -> pa.Table:
    """All rows of all annotators."""
    schema = ratings_schema(annotation.rubric)
    keys = [n for n in ("id", "other", "criterion", "annotator", "repeat", "swapped") if n in schema.names]
    rows = sorted((row for t in told.values() for row in t.rows), key=lambda row: tuple(row[k] for k in keys))
    return pa.Table.from_pylist(rows, schema=schema)


def _file_of(annotator: Annotator) -> Any:
    path = annotator.tokenizer
    return path / "tokenizer.json" if path is not None and path.is_dir() else path
