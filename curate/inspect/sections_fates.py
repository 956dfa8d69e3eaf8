"""What left the run, as sections of a report: dropped documents by reason, failures and remarks by error code."""

from __future__ import annotations

from collections.abc import Iterable

from curate.inspect.data import Example, Problem, Reason, ReportData
from curate.inspect.safe_text import address, escape, passage, value
from curate.inspect.tables import Column, bar, count, details, empty, figure, named, share, table

_REASONS = (
    Column("Reason", names_row=True), Column("Stage"), Column("Documents", True), Column("of dropped", True),
    Column("of all in", True), Column("Tokens", True),
)  # fmt: skip
_PROBLEMS = (Column("Error", names_row=True), Column("Stage"), Column("Records", True))
_PLACES = (Column("File", names_row=True), Column("Offset", True), Column("Length", True), Column("Found"))


def reasons(data: ReportData) -> str:
    """Every reason with its count and share, then a few documents for each."""
    if not data.reasons:
        return empty("No document was dropped. Add rules under <code>stages</code>, or a sentence as "
                     "<code>keep</code>, if the corpus should be smaller.")  # fmt: skip
    total = data.sums.dropped
    rows = [
        [
            named(value(r.reason), escape(r.meaning)), value(r.stage),
            bar(r.documents / total if total else 0, f"{r.documents:,}", kind="left"), share(r.documents, total),
            share(r.documents, data.sums.entered), count(r.tokens),
        ]
        for r in data.reasons
    ]  # fmt: skip
    shown = table(f"Dropped documents by reason, n = {total:,}, exact", _REASONS, rows)
    return shown + _quoted(data)


def _quoted(data: ReportData) -> str:
    quoted = [r for r in data.reasons if r.examples]
    if not quoted:
        return ""
    note = "They have the smallest ids of their reason; ids are hashes, so this is a fair draw."
    if not data.keeps_dropped_text:
        note += " The run did not keep their texts: set <code>run.keep_dropped_text: true</code> to read them here."
    folded = "".join(
        details(f"{r.reason} ({r.stage}): {len(r.examples):,} of {r.documents:,}", quotes(r.examples)) for r in quoted
    )
    return f'<h3>Dropped documents, quoted</h3><p class="soft">{note}</p>{folded}'


def quotes(examples: Iterable[Example]) -> str:
    """Documents as a list: what is known of each, then the beginning of its text."""
    return f'<ul class="quotes">{"".join(_quote(e) for e in examples)}</ul>'


def _quote(example: Example) -> str:
    facts = [f'<bdi class="id">{value(example.id, limit=64)}</bdi>']
    if example.url is not None:
        facts.append(address(example.url))
    if example.value is not None:
        against = f" (threshold {figure(example.threshold)})" if example.threshold is not None else ""
        facts.append(f"value {figure(example.value)}{against}")
    if example.survivor is not None:
        facts.append(f'kept in its place: <bdi class="id">{value(example.survivor, limit=64)}</bdi>')
    if example.detail:
        facts.append(value(example.detail))
    facts += [f"{value(name)}: {value(text)}" for name, text in example.notes]
    text = passage(example.text) if example.text else ""
    return f'<li><p class="meta">{" · ".join(facts)}</p>{text}</li>'


def failures(data: ReportData) -> str:
    """What failed and what was odd but whole, each with the places in the input."""
    if data.problems:
        failed = _problems("Failed records and ranges by error", data.problems, data.sums.failed)
    else:
        failed = empty("Nothing failed: every record was read and every document went through.")
    warned = ""
    if data.warnings:
        total = sum(w.records for w in data.warnings)
        warned = (
            f"<h3>Warnings</h3><p>Odd, but whole: nothing was lost.</p>{_problems('Warnings', data.warnings, total)}"
        )
    return failed + warned


def _problems(caption: str, problems: Iterable[Problem], total: int) -> str:
    rows, folded = [], ""
    for p in problems:
        rows.append([named(value(p.error), escape(p.meaning)), value(p.stage), count(p.records)])
        if p.places:
            places = [
                [value(x.source), count(x.offset), count(x.length), value(x.detail, limit=300) if x.detail else ""]
                for x in p.places
            ]
            folded += details(f"{p.error}: {len(p.places):,} of {p.records:,} places", table("Places", _PLACES, places))
    return table(f"{caption}, n = {total:,}, exact", _PROBLEMS, rows) + folded


def reason_name(reason: Reason) -> str:
    """The name under which the ledger counts a reason."""
    return f"{reason.stage}:{reason.reason}"
