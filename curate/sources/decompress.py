"""Decoded bytes of a plain, gzip or zstd file, in blocks; damage costs the member or frame it lies in.

The container is told by its first bytes, never by a name. Compressed bytes are accounted for where they are: a range is
either good or lost. What was decoded of a member or frame is held back (up to ``HOLD``) until its checksum is verified,
so that a small damaged frame delivers nothing; of a larger one the part that has left already is named in the ledger.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from curate.errors import InputError

#: decoded bytes per block, at most
BLOCK = 1 << 20
#: decoded bytes of one member or frame that wait for its checksum
HOLD = 32 << 20
#: decoded bytes before a decoding error that are not trusted: inflaters notice a flipped bit late
MARGIN = 64 << 10
#: compressed bytes looked at again when a member's damage may have swallowed the start of the next one
BACK = 1 << 20


class Sink(Protocol):
    """Who keeps the account of compressed bytes."""

    def good(self, length: int) -> None:
        """``length`` bytes of the file were read well."""

    def lost(self, offset: int, length: int, error: str, detail: str) -> None:
        """The range could not be read."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Decoded data is missing here; ``lost`` decoded bytes are known to be among it."""

    lost: int = 0


class Window:
    """A file read forward once, addressed by file offset; bytes are kept until they are forgotten."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._data = b""
        self._start = 0
        self._ended = False

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end of the file."""
        self._fill(offset + length)
        at = offset - self._start
        return self._data[at : at + length]

    def stream(self) -> Iterator[bytes]:
        """Everything from the start of the window on, without keeping any of it."""
        data, self._data = self._data, b""
        self._start += len(data)
        if data:
            yield data
        while data := read_block(self._file, BLOCK):
            self._start += len(data)
            yield data
        self._ended = True

    def find(self, pattern: bytes, offset: int) -> int:
        """File offset of the next ``pattern`` at or behind ``offset``; −1 if there is none. Forgets what it passes."""
        while True:
            at = self._data.find(pattern, max(0, offset - self._start))
            if at >= 0:
                return self._start + at
            offset = max(offset, self._start + len(self._data) - len(pattern) + 1)
            self.forget(offset)
            if not self._fill(self._start + len(self._data) + BLOCK):
                return -1

    def end(self) -> int:
        """Size of the file; reads what is left of it."""
        while self._fill(self._start + len(self._data) + BLOCK):
            self.forget(self._start + len(self._data))
        return self._start + len(self._data)

    def forget(self, before: int) -> None:
        """Bytes before ``before`` are not asked for again."""
        before = min(before, self._start + len(self._data))
        if before - self._start > BLOCK:
            self._data = self._data[before - self._start :]
            self._start = before

    def _fill(self, until: int) -> bool:
        """Read until the window reaches ``until``; True if anything was added."""
        before = len(self._data)
        pieces = [self._data]
        have = self._start + before
        while not self._ended and have < until:
            piece = read_block(self._file, max(BLOCK, until - have))
            self._ended = not piece
            have += len(piece)
            pieces.append(piece)
        if len(pieces) > 1:
            self._data = b"".join(pieces)
        return len(self._data) > before


def read_block(file: BinaryIO, length: int) -> bytes:
    """The next bytes of ``file``, ``b""`` at its end. A failing disk ends the file: InputError."""
    try:
        return file.read(length) or b""
    except OSError as error:
        raise InputError("input.unreadable", f"reading failed: {error.strerror or type(error).__name__}") from error


class Held:
    """Decoded blocks of one member or frame that wait for its checksum, each with where its compressed bytes start."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[bytes, int]] = deque()
        self._bytes = 0
        self.released = 0

    def add(self, block: bytes, offset: int) -> Iterator[bytes]:
        """Take a block; blocks that cannot be held any longer come out."""
        if block:
            self._blocks.append((block, offset))
            self._bytes += len(block)
        if self._bytes > HOLD or self.released:
            yield from self._release(MARGIN)

    def _release(self, keep: int) -> Iterator[bytes]:
        while self._blocks and self._bytes - len(self._blocks[0][0]) >= keep:
            block, _ = self._blocks.popleft()
            self._bytes -= len(block)
            self.released += len(block)
            yield block

    def whole(self) -> Iterator[bytes]:
        """All of it: the checksum holds, or the file ends here."""
        return self._release(0)

    def trusted(self) -> Iterator[bytes]:
        """What lies far enough before a decoding error."""
        return self._release(MARGIN)

    def rest(self) -> tuple[int, int | None]:
        """Decoded bytes that are given up, and where their compressed bytes start (None if there are none)."""
        return self._bytes, (self._blocks[0][1] if self._blocks else None)


class Decoder(ABC):
    """Decoded blocks and gaps of one file, in order; ``sink`` hears where every compressed byte went."""

    def __init__(self, window: Window, sink: Sink) -> None:
        self.window = window
        self.sink = sink
        self.position = 0

    @abstractmethod
    def blocks(self) -> Iterator[bytes | Gap]:
        """Blocks of at most ``BLOCK`` bytes or so; a ``Gap`` wherever decoded data is missing."""

    @abstractmethod
    def resync(self, offset: int) -> int:
        """Where the next member or frame starts at or behind ``offset``; the file's size if there is none."""

    def damaged(
        self, start: int, at: int, held: Held, error: str, detail: str, *, following: int | None = None
    ) -> Iterator[Gap]:
        """Give up what is held, find the next start and account for the range between.

        Args:
            start: where the member or frame begins.
            at: where decoding stopped.
            held: what is still held of it; what of it is trusted must have been taken out before.
            following: where the next one starts, if that is known.
        """
        lost, first = held.rest()
        begin = (at if first is None else first) if held.released else start
        if following is None:
            following = self.resync(max(start + 1, begin, at - BACK))
        if held.released:
            detail += f"; {held.released} decoded bytes before it were delivered without a checksum"
        self.sink.good(begin - start)
        self.sink.lost(begin, following - begin, error, detail)
        self.window.forget(following)
        self.position = following
        yield Gap(lost)
