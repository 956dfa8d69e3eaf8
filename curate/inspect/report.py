"""One self-contained HTML page about a run: no script, no request, every value from the data escaped and isolated.

``render_report`` is a pure function of ``ReportData``: the same run gives the same bytes, whoever worked on it. The
page's policy (``default-src 'none'``) forbids whatever a mistake in escaping could let through.
"""

from __future__ import annotations

from importlib import resources

from curate.inspect.data import DuplicateAudit, FunnelRow, ReportData
from curate.inspect.safe_text import escape, plain, value
from curate.inspect.sections_corpus import labels, scores
from curate.inspect.sections_duplicates import audited, duplicates
from curate.inspect.sections_fates import failures, reasons
from curate.inspect.sections_recipe import mixture, provenance
from curate.inspect.tables import Column, bar, count, files, share, size, table

__all__ = ["ReportData", "render_audit", "render_report"]

#: sampled pairs of each kind and band of similarity on the page of the audit
_AUDITED = 12
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_SECTIONS = (
    ("funnel", "Funnel"),
    ("dropped", "Dropped"),
    ("failed", "Failed"),
    ("scores", "Scores"),
    ("labels", "Labels"),
    ("duplicates", "Duplicates"),
    ("recipe", "Recipe"),
    ("provenance", "Provenance"),
)


def render_report(data: ReportData) -> str:
    """The page as HTML, ending in a line feed."""
    bodies = {
        "funnel": _funnel(data),
        "dropped": reasons(data),
        "failed": failures(data),
        "scores": scores(data),
        "labels": labels(data),
        "duplicates": duplicates(data),
        "recipe": mixture(data),
        "provenance": provenance(data),
    }
    sections = "\n".join(
        f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{name}</h2>{bodies[key]}</section>'
        for key, name in _SECTIONS
    )
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name in _SECTIONS)
    return _page(
        data.title,
        f'<header><h1>{value(data.title)}</h1><p class="soft">Report of the run <bdi>{escape(data.run)}</bdi>. '
        "All figures are exact: every document of the run is counted, none is sampled.</p>"
        f'{_facts(data)}<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n'
        f"<main>\n{sections}\n</main>\n"
        "<footer><p>Made by curate from the receipts of the run; the same run gives the same page. "
        "<code>curate verify</code> checks the sums against the files.</p></footer>",
    )


def render_audit(run: str, audit: DuplicateAudit) -> str:
    """The audit of duplicate removal as a page of its own, there before anything is built on the removal."""
    return _page(
        f"Duplicates of {run}",
        f'<header><h1>Duplicates of {value(run)}</h1><p class="soft">What was removed, in favour of what, before '
        "anything else was done with the documents. Counts are exact; the pairs below are a sample.</p></header>\n"
        f'<main>\n<section aria-label="Duplicates">{audited(audit, 1, per_stratum=_AUDITED)}</section>\n'
        "</main>\n<footer><p>Made by curate; the same run gives the same page.</p></footer>",
    )


def _page(title: str, body: str) -> str:
    """The frame of every page: its policy, its style, and what stands in it."""
    css = (resources.files("curate.inspect") / "page.css").read_text("utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{plain(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _facts(data: ReportData) -> str:
    sums, last = data.sums, data.funnel[-1] if data.funnel else FunnelRow("", 0)
    facts = [
        ("Input", size(sums.bytes_size), files(sums.files)),
        ("Documents in", count(sums.entered), f"{sums.records:,} records"),
        ("Kept", count(sums.kept), share(sums.kept, sums.entered)),
        ("Dropped", count(sums.dropped), share(sums.dropped, sums.entered)),
        ("Failed", count(sums.failed), share(sums.failed, sums.entered)),
        (
            "Tokens kept",
            count(last.tokens),
            "as the stage <code>tokens</code> counts" if last.tokens else "not counted",
        ),
        ("Text kept", size(last.text_bytes), "UTF-8"),
    ]
    items = "".join(f"<div><dt>{n}</dt><dd>{v}<small>{note}</small></dd></div>" for n, v, note in facts)
    return f'<dl class="facts">{items}</dl>'


def _funnel(data: ReportData) -> str:
    sums = data.sums
    out = sums.kept + sums.dropped + sums.failed
    balance = (
        f'<span class="good">adds up</span>: {sums.entered:,} in = {sums.kept:,} kept + {sums.dropped:,} dropped + '
        f"{sums.failed:,} failed"
        if out == sums.entered
        else f'<span class="bad">does not add up</span>: {sums.entered:,} in, but {out:,} kept, dropped or failed; '
        "run <code>curate verify</code>"
    )
    skipped = sum(sums.skipped.values())
    kinds = ", ".join(f"{value(k)} {n:,}" for k, n in sorted(sums.skipped.items()))
    aside = f" {skipped:,} records are no documents by their kind ({kinds})." if skipped else ""
    columns = (
        Column("Left after", names_row=True), Column("Documents", True), Column("of all in", True),
        Column("Dropped", True), Column("Failed", True), Column("Tokens left", True), Column("Text left", True),
    )  # fmt: skip
    rows = [
        [
            value(row.name), bar(row.documents / sums.entered if sums.entered else 0, f"{row.documents:,}"),
            share(row.documents, sums.entered), count(row.dropped), count(row.failed), count(row.tokens),
            size(row.text_bytes),
        ]
        for row in data.funnel
    ]  # fmt: skip
    return (
        f"<p>{files(sums.files)} with {sums.records:,} records became {sums.documents:,} documents.{aside} "
        f"The account {balance}.</p>"
        + table(f"Documents left after each stage, n = {sums.entered:,}, exact", columns, rows)
        + '<p class="soft">Tokens and text are given from where every document that is left was measured; before that '
        "a dash.</p>"
    )
