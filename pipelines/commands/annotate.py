"""`curate annotate`: language models rate a sample of documents by a rubric."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.commands.answer import Answer


def main(config: Path, overrides: Sequence[str], estimate: bool) -> Answer:
    """Ratings, joined labels and a report in the output folder; with ``estimate`` only what it would cost at most.

    Raises:
        BudgetError: an annotator's budget is used up; what was answered is in the journal.
    """
    from classifiers.annotate import annotate, estimates, open_annotation
    from classifiers.annotate_config import load_annotate_config

    given = load_annotate_config(config, overrides)
    annotation = open_annotation(given)
    if estimate:
        return _estimated(estimates(annotation), len(annotation.texts), len(annotation.pairs))
    from classifiers.annotate import ratings_table
    from classifiers.annotate_join import joined_table, report_of
    from curate.store.folder import open_folder
    from curate.store.shards import write_table

    told = annotate(annotation, _progress)
    ratings = ratings_table(annotation, told)
    joined, known = joined_table(annotation, ratings)
    report = report_of(annotation, told, known)
    folder = open_folder(str(given.output))
    write_table(folder, "ratings.parquet", ratings)
    write_table(folder, "joined.parquet", joined)
    folder.write("report.json", json.dumps(report, indent=1).encode() + b"\n")
    return Answer({"output": str(given.output), **report}, lambda: _told(report, str(given.output)))


def _estimated(found: dict[str, Any], documents: int, pairs: int) -> Answer:
    data = {
        name: {
            "questions": e.requests, "known": e.known, "prompt_tokens": e.prompt_tokens,
            "max_completion_tokens": e.max_completion_tokens, "max_cost": round(e.max_cost, 6), "method": e.method,
        }
        for name, e in found.items()
    }  # fmt: skip
    lines = [f"{documents} documents{f', {pairs} pairs' if pairs else ''}"]
    for name, e in data.items():
        lines.append(
            f"{name}: {e['questions']:,} questions ({e['known']:,} more are answered already), "
            f"{e['prompt_tokens']:,} prompt tokens ({e['method']}), at most {e['max_completion_tokens']:,} of answers; "
            f"costs at most {e['max_cost']:.4f}"
        )
    return Answer({"documents": documents, "pairs": pairs, "annotators": data}, lambda: "\n".join(lines))


def _told(report: dict[str, Any], output: str) -> str:
    lines = [
        f"{report['documents']} documents by {report['rubric']}",
        f"{output}: joined.parquet, ratings.parquet, report.json",
    ]
    for name, t in report["annotators"].items():
        statuses = ", ".join(f"{n:,} {s}" for s, n in t["statuses"].items())
        tokens = t["prompt_tokens"] + t["completion_tokens"]
        lines.append(f"{name}: {t['questions']:,} questions ({statuses}), {tokens:,} tokens, cost {t['cost']:.4f}")
    for name, known in report["criteria"].items():
        parts = [f"alpha {known['alpha']}"] if known["alpha"] is not None else []
        parts += [f"{who} {value:.2f}" for who, value in known["reliability"].items() if value is not None]
        lines.append(f"{name}: {', '.join(parts)}")
    return "\n".join(lines)


def _progress(annotator: str, done: int, questions: int) -> None:
    import sys

    if sys.stderr.isatty():
        print(f"\r{annotator}: {done:,} of {questions:,}", end="" if done < questions else "\n", file=sys.stderr)  # noqa: T201
