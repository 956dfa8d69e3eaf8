"""Zstandard files, frame by frame and block by block (RFC 8878).

The block structure is walked here, and the library decodes one block at a time: that bounds what one call may write
(128 KiB), tells a cut frame from a whole one, and finds the next frame behind a damaged one without guessing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import zstandard

from curate.sources.decompress import BACK, Decoder, Gap, Held, Sink, Window

MAGIC = b"\x28\xb5\x2f\xfd"
_HEADER = 18
_LARGEST_BLOCK = 128 << 10


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a frame header says. ``header``: its bytes; ``window``: bytes of history that decoding needs."""

    header: int
    window: int
    checksum: bool


def is_skippable(head: bytes) -> bool:
    """Whether a skippable frame starts here."""
    return len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F


class ZstdDecoder(Decoder):
    """Decoded zstd frames; skippable frames are passed over.

    Args:
        window_limit: bytes; a frame that asks for a larger window is lost with ``limit.zst-window``.
    """

    def __init__(self, window: Window, sink: Sink, window_limit: int) -> None:
        super().__init__(window, sink)
        self._limit = window_limit

    def blocks(self) -> Iterator[bytes | Gap]:
        """Blocks of text in order, a ``Gap`` for every damaged frame."""
        while head := self.window.read(self.position, _HEADER):
            start = self.position
            frame = _frame(head)
            if is_skippable(head) and len(head) >= 8:
                yield from self._skip(start, 8 + int.from_bytes(head[4:8], "little"))
            elif frame is None:
                yield from self.damaged(start, start, Held(), "input.corrupt", "not a zstd frame")
            elif frame.window > self._limit:
                detail = f"a zstd frame asks for a window of {frame.window} bytes, the limit is {self._limit}"
                end = self._end_of(frame, start + frame.header)
                yield from self.damaged(start, start, Held(), "limit.zst-window", detail, following=end)
            else:
                yield from self._decode(start, frame)
            self.window.forget(self.position - BACK)

    def _skip(self, start: int, length: int) -> Iterator[Gap]:
        at = start
        while at < start + length and (piece := self.window.read(at, min(BACK, start + length - at))):
            at += len(piece)
            self.window.forget(at)
        self.position = at
        if at < start + length:
            self.sink.lost(start, at - start, "input.truncated", "the file ends inside a skippable zstd frame")
            yield Gap()
        else:
            self.sink.good(length)

    def _decode(self, start: int, frame: _Frame) -> Iterator[bytes | Gap]:
        decoder = zstandard.ZstdDecompressor(max_window_size=max(self._limit, 1 << 10)).decompressobj()
        held = Held()
        last = at = start + frame.header
        ended = False
        try:
            decoder.decompress(self.window.read(start, frame.header))
            while not ended:
                size, ended = self._block(at, frame)
                piece = self.window.read(at, size) if size >= 0 else b""
                if size < 0 and len(self.window.read(at, 3)) == 3:
                    yield from held.trusted()
                    yield from self.damaged(start, at, held, "input.corrupt", "a zstd block header is damaged")
                    return
                if size < 0 or len(piece) < size:
                    yield from self._cut(start, last, held)
                    return
                yield from held.add(decoder.decompress(piece), at)
                last, at = at, at + size
                self.window.forget(at - BACK)
        except zstandard.ZstdError:
            yield from held.trusted()
            following = self._end_of(frame, at)
            yield from self.damaged(start, at, held, "input.corrupt", "a zstd block is damaged", following=following)
            return
        yield from self._close(start, last, at, frame, decoder, held)

    def _close(
        self, start: int, last: int, at: int, frame: _Frame, decoder: zstandard.ZstdDecompressionObj, held: Held
    ) -> Iterator[bytes | Gap]:
        """The checksum behind the last block decides over what is held."""
        if frame.checksum:
            tail = self.window.read(at, 4)
            if len(tail) < 4:
                yield from self._cut(start, last, held)
                return
            try:
                decoder.decompress(tail)
            except zstandard.ZstdError:
                what = "the checksum of a zstd frame differs"
                yield from self.damaged(start, at, held, "input.corrupt", what, following=at + 4)
                return
            at += 4
        yield from held.whole()
        self.sink.good(at - start)
        self.position = at

    def _cut(self, start: int, last: int, held: Held) -> Iterator[bytes | Gap]:
        """The file ends inside a frame: whole blocks are delivered, the range from the last one on counts as lost."""
        yield from held.whole()
        end = self.window.end()
        begin = last if held.released else start
        self.sink.good(begin - start)
        self.sink.lost(begin, end - begin, "input.truncated", "the file ends inside a zstd frame")
        self.position = end
        yield Gap()

    def _block(self, at: int, frame: _Frame) -> tuple[int, bool]:
        """Bytes of the block at ``at`` with its header (−1: there is none) and whether it is the last one."""
        head = self.window.read(at, 3)
        value = int.from_bytes(head, "little")
        kind, size = value >> 1 & 3, value >> 3
        if len(head) < 3 or kind == 3 or size > min(max(frame.window, 1 << 10), _LARGEST_BLOCK):
            return -1, False
        return 3 + (1 if kind == 1 else size), bool(value & 1)

    def _end_of(self, frame: _Frame, at: int) -> int | None:
        """Where a frame ends, by its block headers alone; None if they lead nowhere sensible."""
        ended = False
        while not ended:
            size, ended = self._block(at, frame)
            if size < 0:
                return None
            at += size
            self.window.forget(at - BACK)
        at += 4 if frame.checksum else 0
        head = self.window.read(at, _HEADER)
        if not head:
            return min(at, self.window.end())
        return at if is_skippable(head) or _frame(head) is not None else None

    def resync(self, offset: int) -> int:
        """The next magic number with a sound frame header and first block header behind it."""
        while (found := self.window.find(MAGIC, offset)) >= 0:
            frame = _frame(self.window.read(found, _HEADER))
            if frame is not None and self._block(found + frame.header, frame)[0] >= 0:
                return found
            offset = found + 1
        return self.window.end()


def _frame(head: bytes) -> _Frame | None:
    """The frame header at the start of ``head``; None if there is none or it is impossible."""
    if len(head) < 6 or head[:4] != MAGIC or head[4] & 0x08:
        return None
    flags = head[4]
    single = bool(flags & 0x20)
    size_bytes = (int(single), 2, 4, 8)[flags >> 6]
    dictionary = (0, 1, 2, 4)[flags & 3]
    at = 5 + (0 if single else 1) + dictionary
    header = at + size_bytes
    if len(head) < header:
        return None
    if single:
        window = int.from_bytes(head[at:header], "little") + (256 if size_bytes == 2 else 0)
    else:
        base = 1 << (10 + (head[5] >> 3))
        window = base + (base >> 3) * (head[5] & 7)
    return _Frame(header, window, bool(flags & 0x04))
