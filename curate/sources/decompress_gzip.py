"""Gzip files, member by member, with resynchronisation behind a damaged one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from curate.sources.decompress import BACK, BLOCK, Decoder, Gap, Held

MAGIC = b"\x1f\x8b\x08"
#: compressed bytes given to the inflater at once; also the finest place of damage that is told
FEED = 8 << 10
#: compressed bytes tried, and decoded bytes looked at, to decide whether a member really starts here
_TRIAL, _GLIMPSE = 64 << 10, 4 << 10
_BINARY = bytes(sorted({*range(32)} - {9, 10, 13}))


class GzipDecoder(Decoder):
    """Decoded gzip members; zero padding between and behind them is accepted, as gzip does."""

    def blocks(self) -> Iterator[bytes | Gap]:
        """Blocks of text in order, a ``Gap`` for every damaged member."""
        while head := self.window.read(self.position, len(MAGIC)):
            padding = len(head) - len(head.lstrip(b"\0"))
            if head == MAGIC:
                yield from self._member(self.position)
            elif padding:
                self.sink.good(padding)
                self.position += padding
            else:
                yield from self.damaged(self.position, self.position, Held(), "input.corrupt", "not a gzip member")
            self.window.forget(self.position - BACK)

    def _member(self, start: int) -> Iterator[bytes | Gap]:
        inflate, held = zlib.decompressobj(31), Held()
        last = at = start
        full = False
        while not inflate.eof:
            piece = self.window.read(at, FEED)
            if not piece and not full:
                yield from self._cut(start, last, at, held)
                return
            try:
                block = inflate.decompress(piece, BLOCK)
            except zlib.error as error:
                # "incorrect data check": all of it was decoded, and some of it is wrong; nobody knows what.
                wrong = "incorrect" in str(error)
                if not wrong:
                    yield from held.trusted()
                what = "the checksum of a gzip member differs" if wrong else "a gzip member cannot be inflated"
                yield from self.damaged(start, at, held, "input.corrupt", what)
                return
            yield from held.add(block, at)
            full = len(block) == BLOCK
            # At the end of a member ``unconsumed_tail`` may repeat what is in ``unused_data``.
            left = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            last, at = at, at + len(piece) - len(left)
            self.window.forget(at - BACK)
        yield from held.whole()
        self.sink.good(at - start)
        self.position = at

    def _cut(self, start: int, last: int, end: int, held: Held) -> Iterator[bytes | Gap]:
        """The file ends inside a member: what was decoded is delivered, the last piece counts as lost.

        A flipped bit can also hide a member's end, so that the inflater takes the members behind it for its own data:
        if one starts further on, this one is damaged, and only it is lost.
        """
        following = end if held.released else self.resync(start + 1)
        if following < end:
            what = "a gzip member cannot be inflated"
            yield from self.damaged(start, end, held, "input.corrupt", what, following=following)
            return
        yield from held.whole()
        self.sink.good(last - start)
        self.sink.lost(last, end - last, "input.truncated", "the file ends inside a gzip member")
        self.position = end
        yield Gap()

    def resync(self, offset: int) -> int:
        """The next gzip header whose data inflates to something like text."""
        while (found := self.window.find(MAGIC, offset)) >= 0:
            if _starts_member(self.window.read(found, _TRIAL)):
                return found
            offset = found + 1
        return self.window.end()


def _starts_member(data: bytes) -> bool:
    """Whether a gzip header with text behind it starts here; the three magic bytes also occur by chance."""
    if len(data) < 10 or data[3] & 0xE0 or (data[9] > 13 and data[9] != 255):
        return False
    try:
        text = zlib.decompressobj(31).decompress(data, _GLIMPSE)
    except zlib.error:
        return False
    return bool(text) and len(text.translate(None, _BINARY)) == len(text)
