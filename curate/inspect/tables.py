"""Pieces of HTML: tables with headings and scopes, bars inside cells, folded details. Cells are HTML already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curate.inspect.safe_text import escape, plain
from curate.inspect.svg import number


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers (set flush right) or the name of the row."""

    heading: str
    numeric: bool = False
    names_row: bool = False


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, css: str = "") -> str:
    """A table in a frame that scrolls by itself on a narrow screen, and can be scrolled with the keyboard."""
    head = "".join(f'<th scope="col"{_class(c)}>{escape(c.heading)}</th>' for c in columns)
    body = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{plain(caption)}">'
        f'<table class="{css}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def details(summary: str, inner: str) -> str:
    """Something folded away under one line."""
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>"


def bar(share: float, text: str, *, kind: str = "kept") -> str:
    """A number beside a bar of that share (0–1) of the cell."""
    width = min(1.0, max(0.0, share)) * 100
    fill = f'<span class="bar"><span class="fill {kind}" style="width:{width:.2f}%"></span></span>'
    return f'<span class="barred">{fill}<span>{text}</span></span>'


def named(name: str, meaning: str) -> str:
    """The name of a row and, below it, what it means; both are HTML already."""
    return f'{name}<span class="meaning">{meaning}</span>' if meaning else name


def count(n: int | None) -> str:
    """A whole number, or a dash where nobody counted."""
    return "–" if n is None else f"{n:,}"


def files(n: int) -> str:
    """ "1 file", "2 files"."""
    return f"{n:,} file" if n == 1 else f"{n:,} files"


def share(part: float, whole: float) -> str:
    """A percentage; a part that is not nothing never reads as 0 %."""
    if not whole:
        return "–"
    ratio = 100 * part / whole
    return "&lt; 0.01 %" if 0 < ratio < 0.005 else f"{ratio:.2f} %"


def size(n: int | None) -> str:
    """Bytes in the largest decimal unit that leaves at least 1."""
    if n is None:
        return "–"
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= factor:
            return f"{n / factor:,.2f} {unit}"
    return f"{n:,} B"


def figure(x: float | None) -> str:
    """A number of a document, or a dash."""
    return "–" if x is None else number(x)


def empty(text: str) -> str:
    """What a section says that has nothing to show, and what to do about it. ``text`` is HTML of our own."""
    return f'<p class="empty">{text}</p>'


def _class(column: Column) -> str:
    return ' class="n"' if column.numeric else ""


def _cells(columns: Sequence[Column], row: Sequence[str]) -> str:
    out = []
    for column, cell in zip(columns, row, strict=True):
        out.append(f'<th scope="row">{cell}</th>' if column.names_row else f"<td{_class(column)}>{cell}</td>")
    return "".join(out)
