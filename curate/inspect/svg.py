"""Charts as SVG, drawn here so that a page needs no script; each with a title, a description, and its n."""

from __future__ import annotations

from collections.abc import Sequence

from curate.inspect.safe_text import plain

WIDTH, HEIGHT = 340, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 30


def number(x: float) -> str:
    """A number as people write it: thousands separated, at most four significant digits after the point."""
    if x == int(x) and abs(x) < 1e15:
        return f"{int(x):,}"
    return f"{x:,.0f}" if abs(x) >= 10_000 else f"{x:.4g}"


def short(x: float) -> str:
    """A number of at most five characters for an axis: 1.2k, 3M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:.3g}{unit}"
    return f"{x:.3g}"


def stacked_bars(
    key: str, title: str, description: str, lower: Sequence[int], upper: Sequence[int],
    labels: Sequence[tuple[float, str]],
) -> str:  # fmt: skip
    """Bars of two counts on top of each other, from left to right.

    Args:
        key: unique on the page; names the title and the description for screen readers.
        lower, upper: the two counts of each bar.
        labels: (position from 0 to 1, text) along the axis.
    """
    highest = max((a + b for a, b in zip(lower, upper, strict=True)), default=0)
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = wide / max(1, len(lower))
    parts = [_frame(highest)]
    for i, (a, b) in enumerate(zip(lower, upper, strict=True)):
        x, w = _LEFT + i * step, max(0.5, step - (1 if step > 3 else 0))
        below = high * a / highest if highest else 0.0
        above = high * b / highest if highest else 0.0
        if a:
            parts.append(_bar("kept", x, HEIGHT - _BOTTOM - below, w, below))
        if b:
            parts.append(_bar("left", x, HEIGHT - _BOTTOM - below - above, w, above))
    for position, text in labels:
        anchor = "start" if position < 0.08 else "end" if position > 0.92 else "middle"
        parts.append(
            f'<text x="{_LEFT + position * wide:.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="{anchor}">'
            f"{plain(text)}</text>"
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{key}-t {key}-d">'
        f'<title id="{key}-t">{plain(title)}</title><desc id="{key}-d">{plain(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _frame(highest: int) -> str:
    """The axis, and lines at half and at the whole of the highest bar."""
    base, top = HEIGHT - _BOTTOM, _TOP
    lines = f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{WIDTH - _RIGHT}" y2="{base}"/>'
    if not highest:
        return lines
    for share in (0.5, 1.0):
        y = base - (base - top) * share
        lines += f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        lines += f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{short(highest * share)}</text>'
    return lines


def _bar(kind: str, x: float, y: float, w: float, h: float) -> str:
    # a bar of one document among a million is drawn as a hair, not as nothing
    h = max(h, 1.0)
    return f'<rect class="{kind}" x="{x:.1f}" y="{min(y, HEIGHT - _BOTTOM - h):.1f}" width="{w:.1f}" height="{h:.1f}"/>'
