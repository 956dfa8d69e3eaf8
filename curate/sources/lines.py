"""Lines of bounded length from blocks of bytes, split at LF and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from curate.sources.decompress import Gap


@dataclass(frozen=True, slots=True)
class Lines:
    """Neighbouring whole lines.

    Attributes:
        offset: where the first one starts in the decoded stream, in bytes.
        lines: without their LF.
        terminated: whether the last one ended with LF; false only at the end of the stream.
        torn: whether the first one follows a gap, so that it may be the end of a line.
    """

    offset: int
    lines: list[bytes]
    terminated: bool = True
    torn: bool = False


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit; ``length`` counts its LF, if it has one."""

    offset: int
    length: int
    terminated: bool


@dataclass(frozen=True, slots=True)
class Fragment:
    """The start of a line whose rest is missing."""

    offset: int
    length: int


class _Framer:
    """The line that is being put together. ``offset``: where it starts; ``held``: its bytes so far."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.offset = 0
        self.pieces: list[bytes] = []
        self.held = 0
        self.skipping = False
        self.torn = False

    def gap(self, gap: Gap) -> Iterator[Fragment]:
        if self.held:
            yield Fragment(self.offset, self.held)
        self._start(self.offset + self.held + gap.lost)
        self.torn = True

    def block(self, block: bytes) -> Iterator[Lines | LongLine]:
        if self.skipping:
            cut = block.find(b"\n") + 1
            self.held += cut or len(block)
            if not cut:
                return
            yield LongLine(self.offset, self.held, True)
            self._start(self.offset + self.held)
            block = block[cut:]
        lines = block.split(b"\n")
        rest = lines.pop()
        if lines:
            size = self.held + len(block) - len(rest)
            if self.pieces:
                lines[0] = b"".join([*self.pieces, lines[0]])
            yield from self._whole(lines, size)
        if rest:
            self.pieces.append(rest)
            self.held += len(rest)
        if self.held > self.limit:
            self.skipping = True
            self.pieces = []

    def end(self) -> Iterator[Lines | LongLine]:
        if self.skipping:
            yield LongLine(self.offset, self.held, False)
        elif self.pieces:
            yield Lines(self.offset, [b"".join(self.pieces)], terminated=False, torn=self.torn)

    def _start(self, offset: int) -> None:
        self.offset, self.pieces, self.held, self.skipping, self.torn = offset, [], 0, False, False

    def _whole(self, lines: list[bytes], size: int) -> Iterator[Lines | LongLine]:
        """Lines that have ended, ``size`` bytes with their LFs; those over the limit by themselves."""
        offset, torn = self.offset, self.torn
        self._start(offset + size)
        run: list[bytes] = []
        if size <= self.limit:
            run, lines = lines, []
        at = start = offset
        for line in lines:
            if len(line) > self.limit:
                if run:
                    yield Lines(start, run, torn=torn and start == offset)
                yield LongLine(at, len(line) + 1, True)
                run, start = [], at + len(line) + 1
            else:
                run.append(line)
            at += len(line) + 1
        if run:
            yield Lines(start, run, torn=torn and start == offset)


def split_lines(blocks: Iterable[bytes | Gap], limit: int) -> Iterator[Lines | LongLine | Fragment]:
    """The lines of a stream. At most ``limit`` bytes of a line, and two blocks, are in memory at any time.

    Args:
        blocks: decoded bytes in order; a ``Gap`` where some are missing.
        limit: bytes of the longest line that is delivered, without its LF; longer ones are only measured.
    """
    framer = _Framer(limit)
    for block in blocks:
        if isinstance(block, Gap):
            yield from framer.gap(block)
        elif block:
            yield from framer.block(block)
    yield from framer.end()
