"""What people see: tables, numbers, progress. Text of documents is made safe for a terminal first."""

from __future__ import annotations

import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.progress import Progress

PLAIN_SECONDS = 10.0


def safe(text: str, *, lines: bool = False) -> str:
    """``text`` with every control, format (bidi, zero width) and surrogate character written as an escape.

    Args:
        lines: keep line feeds and tabs.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _harmless(c, lines) else _escape(c) for c in text)


def _harmless(char: str, lines: bool) -> bool:
    if char in "\n\t":
        return lines
    # Cc control, Cf format (all bidi marks), Cs surrogate, Co private, Cn unassigned; Zl and Zp end a line
    return unicodedata.category(char)[0] != "C" and unicodedata.category(char) not in ("Zl", "Zp")


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cell_width(text: str) -> int:
    """Terminal cells that ``text`` takes: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)


def shorten(text: str, width: int) -> str:
    """``text`` cut to ``width`` cells, with an ellipsis where something was cut."""
    if cell_width(text) <= width:
        return text
    out, used = [], 0
    for char in text:
        used += cell_width(char)
        if used > width - 1:
            break
        out.append(char)
    return "".join(out) + "…"


def count(n: float) -> str:
    """A count with separators: 1234567 → 1,234,567."""
    return f"{n:,.0f}"


def size(n: float) -> str:
    """Bytes in decimal units: 1234567 → 1.23 MB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= scale:
            return f"{n / scale:.3g} {unit}" if n < 1000 * scale else f"{n / scale:,.0f} {unit}"
    return f"{n:.0f} B"


def duration(seconds: float) -> str:
    """Seconds as people say them: 75 → 1 min 15 s."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def share(part: float, whole: float) -> str:
    """``part`` of ``whole`` in percent; `–` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int | None = None) -> str:
    """Columns aligned with spaces, numbers to the right; the last column is cut to the terminal's width."""
    cells = [[safe("" if v is None else count(v) if isinstance(v, int) else str(v)) for v in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(headers))]
    widths = [max(cell_width(h), *(cell_width(r[i]) for r in cells), 0) for i, h in enumerate(headers)]
    width = width if width is not None else terminal_width()
    room = width - sum(widths[:-1]) - 2 * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(12, room))
    out = []
    for line in [list(headers), *cells]:
        parts = [_pad(shorten(text, w), w, right[i]) for i, (text, w) in enumerate(zip(line, widths, strict=True))]
        out.append("  ".join(parts).rstrip())
    return "\n".join(out)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - cell_width(text))
    return space + text if right else text + space


def terminal_width(stream: TextIO | None = None) -> int:
    """Columns of the terminal; 200 where the output is no terminal, so that nothing useful is cut."""
    stream = stream or sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else 200


def use_colour(stream: TextIO) -> bool:
    """Whether ``stream`` takes colours: NO_COLOR, TERM=dumb, FORCE_COLOR and whether it is a terminal decide."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def progress_line(state: Progress) -> str:
    """One plain line about a running step."""
    parts = [f"{state.step}: {100 * state.share:.0f} %", f"{count(state.tasks_done)}/{count(state.tasks)} tasks"]
    if state.seconds > 0 and state.documents:
        parts.append(f"{count(state.documents)} documents ({count(state.documents / state.seconds)}/s)")
    if state.seconds > 0 and state.bytes_done:
        parts.append(f"{size(state.bytes_done / state.seconds)}/s")
    if state.kept:
        parts.append(f"kept {share(state.kept, state.documents)}")
    if state.failed:
        parts.append(f"failed {count(state.failed)}")
    if not state.share and state.seconds >= 1:
        parts.append(f"{duration(state.seconds)} so far")
    if state.seconds_left is not None and state.share < 1:
        parts.append(f"{duration(state.seconds_left)} left")
    return ", ".join(parts)


class PlainProgress:
    """A line when a step begins or ends, and at most one every ten seconds between."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self._step = ""
        self._last = -PLAIN_SECONDS
        self._ended = False

    def __call__(self, state: Progress) -> None:
        """Show ``state`` if it is time to."""
        now = self.clock()
        begins = state.step != self._step
        ends = not self._ended and state.tasks > 0 and state.tasks_done >= state.tasks
        if begins:
            self._ended = False
        if begins or ends or now - self._last >= PLAIN_SECONDS:
            self._ended = self._ended or ends
            self._step, self._last = state.step, now
            print(progress_line(state), file=self.stream, flush=True)


class LiveProgress:
    """A bar per step, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn

        console = Console(file=stream, no_color=not use_colour(stream))
        self.bars = Progress(
            TextColumn("{task.fields[step]:<12}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[line]}"),
            console=console,
            refresh_per_second=4,
        )
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, state: Progress) -> None:
        """Redraw the bar of the step in work."""
        line = progress_line(state).partition(": ")[2]
        if state.step not in self.tasks:
            self.tasks[state.step] = self.bars.add_task("", total=1.0, step=state.step, line=line)
        self.bars.update(self.tasks[state.step], completed=state.share, step=state.step, line=line)


@contextmanager
def watching(stream: TextIO | None = None) -> Iterator[Callable[[Progress], None]]:
    """What ``run`` calls with its progress: live bars on a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        live = LiveProgress(stream)
        with live.bars:
            yield live
    else:
        yield _unread(PlainProgress(stream))


def _unread(show: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """``show`` until nobody reads it any more; a run does not end for that."""
    read = True

    def tell(progress: Progress) -> None:
        nonlocal read
        if read:
            try:
                show(progress)
            except OSError:
                read = False

    return tell
