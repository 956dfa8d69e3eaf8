"""What the documents are like, as sections of a report: score distributions, label values, heat map."""

from __future__ import annotations

import math
from collections.abc import Iterable

from curate.inspect.data import HeatMap, Histogram, ReportData, ValueCounts
from curate.inspect.safe_text import escape, value
from curate.inspect.svg import number, short, stacked_bars
from curate.inspect.tables import Column, bar, count, details, empty, share, table

_MOST_ROWS = 20


def scores(data: ReportData) -> str:
    """One histogram per numeric label, kept and left on top of each other."""
    if not data.histograms:
        return empty("No numeric labels. Stages such as <code>language</code>, <code>text_stats</code> or "
                     "<code>tokens</code>, and raters under <code>labels</code>, add some.")  # fmt: skip
    figures = "".join(_histogram(h, i) for i, h in enumerate(data.histograms))
    return (
        '<p><span class="key kept"></span>kept in the corpus <span class="key left"></span>left the run after the '
        "label was computed. Documents that left earlier have no value.</p>"
        f'<div class="charts">{figures}</div>'
    )


def _histogram(chart: Histogram, index: int) -> str:
    kept, left = sum(chart.kept), sum(chart.left)
    n = f"n = {chart.n:,} ({kept:,} kept, {left:,} left), exact"
    axis = "; ".join([n, *([chart.unit] if chart.unit else []), *(["axis grows by factors"] if chart.log else [])])
    missing = f" {chart.missing:,} without a value." if chart.missing else ""
    bars = len(chart.kept)
    marks = sorted({0, bars // 4, bars // 2, 3 * bars // 4, bars})
    labels = [(i / bars, short(chart.edges[i])) for i in marks]
    drawing = stacked_bars(
        f"h{index}", f"Distribution of {chart.column}",
        f"{n}. Between {number(chart.edges[0])} and {number(chart.edges[-1])}; most documents at "
        f"{_mode(chart)}. The table below the chart holds every bar.", chart.kept, chart.left, labels,
    )  # fmt: skip
    rows = [
        [f"{number(a)} – {number(b)}", count(k), count(d)]
        for a, b, k, d in zip(chart.edges[:-1], chart.edges[1:], chart.kept, chart.left, strict=True)
        if k or d
    ]
    columns = (Column("From – to", names_row=True), Column("Kept", True), Column("Left", True))
    doc = f'<p class="soft">{escape(chart.doc)}</p>' if chart.doc else ""
    return (
        f"<figure><h3>{value(chart.column)}</h3>{doc}{drawing}"
        f"<figcaption>{escape(axis)}.{missing}</figcaption>"
        f"{details('Figures', table(f'{chart.column}: documents per bar', columns, rows))}</figure>"
    )


def _mode(chart: Histogram) -> str:
    totals = [a + b for a, b in zip(chart.kept, chart.left, strict=True)]
    if not any(totals):
        return "no value"
    at = totals.index(max(totals))
    return f"{number(chart.edges[at])} to {number(chart.edges[at + 1])}"


def labels(data: ReportData) -> str:
    """Tables of label values over the corpus, and domain × quality band."""
    parts = [_heat(data.heat)] if data.heat is not None else []
    if tables := "".join(_values(v, data.token_column) for v in data.values if v.rows):
        parts.append(f'<div class="pairs">{tables}</div>')
    if not parts:
        return empty(
            "The corpus has no label with names. Add <code>language</code> to the stages, or a rater under "
            "<code>labels</code> and <code>domains: {from: …}</code>."
            if data.sums.kept
            else "The corpus is empty: the table of reasons above says why. Loosen the rule that takes most."
        )
    return "".join(parts)


def _values(counts: ValueCounts, token_column: str | None) -> str:
    n = sum(r.documents for r in counts.rows)
    tokens = sum(r.tokens or 0 for r in counts.rows)
    columns = [Column("Value", names_row=True), Column("Documents", True), Column("of docs", True)]
    if token_column is not None:
        columns += [Column("Tokens", True), Column("of tokens", True)]
    rows = []
    for row in counts.rows[:_MOST_ROWS]:
        cells = [_name(row.value), bar(row.documents / n if n else 0, f"{row.documents:,}"), share(row.documents, n)]
        if token_column is not None:
            cells += [count(row.tokens), share(row.tokens or 0, tokens)]
        rows.append(cells)
    hidden = counts.rows[_MOST_ROWS:]
    rest = f'<p class="soft">{len(hidden):,} more values with {sum(r.documents for r in hidden):,} documents.</p>'
    doc = f'<p class="soft">{escape(counts.doc)}</p>' if counts.doc else ""
    caption = f"{counts.column} in the corpus, n = {n:,}, exact"
    return f"<div><h3>{value(counts.column)}</h3>{doc}{table(caption, columns, rows)}{rest if hidden else ''}</div>"


def _name(text: str | None) -> str:
    return '<span class="soft">missing</span>' if text is None else value(text)


def _heat(heat: HeatMap) -> str:
    """Cells coloured by the logarithm of their tokens (or documents), figures in each, sums at the margins."""
    weights = heat.tokens if heat.tokens is not None else heat.documents
    scale = _Scale(weights.values())
    columns = [Column(heat.row_column, names_row=True), *(Column(c, True) for c in heat.columns), Column("All", True)]
    head = "".join(f'<th scope="col" class="n">{value(c.heading)}</th>' for c in columns[1:-1])
    body = []
    for row in heat.rows:
        cells = "".join(_cell(heat, (row, c), scale.strength(weights.get((row, c), 0))) for c in heat.columns)
        docs = sum(heat.documents.get((row, c), 0) for c in heat.columns)
        body.append(f'<tr><th scope="row">{value(row)}</th>{cells}<td>{_two(docs, _tokens(heat, row))}</td></tr>')
    feet = "".join(
        f"<td>{_two(sum(heat.documents.get((r, c), 0) for r in heat.rows), _column_tokens(heat, c))}</td>"
        for c in heat.columns
    )
    n = sum(heat.documents.values())
    tokens = None if heat.tokens is None else sum(heat.tokens.values())
    said = f"n = {n:,} documents" + (f", {tokens:,} tokens" if tokens is not None else "") + ", exact"
    caption = f"{heat.row_column} × {heat.column_column}: documents" + (" and, below them, tokens" if tokens else "")
    return (
        f"<h3>{value(heat.row_column)} × {value(heat.column_column)}</h3>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Heat map"><table class="heat">'
        f"<caption>{escape(caption)}; {said}. Stronger colour holds more, by factors.</caption>"
        f'<thead><tr><th scope="col">{value(heat.row_column)}</th>{head}<th scope="col" class="n">All</th></tr></thead>'
        f'<tbody>{"".join(body)}<tr><th scope="row">All</th>{feet}<td>{_two(n, tokens)}</td></tr></tbody></table></div>'
    )


class _Scale:
    """Strength of a cell's colour, by the logarithm of its weight between the lightest and the heaviest cell."""

    def __init__(self, weights: Iterable[int]) -> None:
        found = [math.log1p(w) for w in weights]
        self._low, self._high = min(found, default=0.0), max(found, default=0.0)

    def strength(self, weight: int) -> float:
        """From 0.05 to 0.55: text on it keeps its contrast in both themes."""
        wide = self._high - self._low
        return 0.05 + 0.5 * ((math.log1p(weight) - self._low) / wide if wide else 1.0)


def _cell(heat: HeatMap, key: tuple[str, str], strength: float) -> str:
    if key not in heat.documents:
        return "<td>–</td>"
    tokens = heat.tokens.get(key, 0) if heat.tokens is not None else None
    return f'<td style="--v:{strength:.3f}">{_two(heat.documents[key], tokens)}</td>'


def _two(documents: int, tokens: int | None) -> str:
    return f"{documents:,}" + (f"<small>{tokens:,} tok.</small>" if tokens is not None else "")


def _tokens(heat: HeatMap, row: str) -> int | None:
    return None if heat.tokens is None else sum(heat.tokens.get((row, c), 0) for c in heat.columns)


def _column_tokens(heat: HeatMap, column: str) -> int | None:
    return None if heat.tokens is None else sum(heat.tokens.get((r, column), 0) for r in heat.rows)
