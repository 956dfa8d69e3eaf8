"""From the bytes of an archive file to the bytes of its records: plain, gzip members, LZ4 frames.

A container cuts a file into members (a plain file is one member) and inflates each of them alone, a bounded step at
a time, from a file that is only ever read forward. Damage ends the member, never the file: ``resync`` finds the next
place where a record begins. Nothing is allocated by a size that the input declares.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, BinaryIO

#: bytes read from the file at once
CHUNK = 1 << 20
#: decompressed bytes per step; nearly every web record fits in one
STEP = 1 << 20
#: compressed bytes given to the inflater at once: what follows the member's end is copied back, so this stays small
SLICE = 1 << 15
#: compressed bytes looked at to decide whether a gzip header found by its magic really starts a record
PROBE = 72 << 10

GZIP_MAGIC = b"\x1f\x8b\x08"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
_LZ4_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")


class Damage(Exception):
    """The current member cannot be read on; ``code`` and ``detail`` go to the ledger."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Feed:
    """A window onto a file that is read from front to back.

    Attributes:
        data: the bytes in the window.
        start: file offset of ``data[0]``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.data = b""
        self.start = 0
        self.ended = False

    @property
    def end(self) -> int:
        """File offset just behind the window."""
        return self.start + len(self.data)

    def more(self, keep: int) -> bool:
        """Read on; bytes before file offset ``keep`` are forgotten. False at the end of the file."""
        if self.ended:
            return False
        kept = self.data[max(keep - self.start, 0) :]
        # As much again as is kept: a window that must grow costs linear, not quadratic, copying.
        chunk = self._file.read(max(CHUNK, len(kept)))
        if not chunk:
            self.ended = True
            return False
        self.start = self.end - len(kept)
        self.data = kept + chunk if kept else chunk
        return True

    def ensure(self, offset: int, size: int, keep: int) -> bytes:
        """Up to ``size`` bytes at file offset ``offset``; fewer only at the end of the file."""
        while self.end < offset + size and self.more(keep):
            pass
        return self.data[offset - self.start : offset - self.start + size]


class Container(ABC):
    """Members of a file, each inflated in steps.

    Attributes:
        member: file offset where the current member starts.
        position: file offset up to which input has been used; the member's end once ``ended`` is true.
        ended: the current member has come to its verified end.
        before: ``position`` when the last step began.
        keep: file offset from which input must stay available for ``resync``; raised by the reader.
    """

    #: True if members end where records may end; a plain file has no such boundaries
    has_members = True

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.member = self.position = self.before = self.keep = feed.start
        self.ended = True

    @abstractmethod
    def open(self) -> bool:
        """Start the member at ``position``. False at the end of the file; Damage if no member starts there."""

    @abstractmethod
    def step(self, want: int = STEP) -> bytes:
        """About ``want`` further bytes of the member, empty only at its end; Damage if it is cut or corrupt."""

    @abstractmethod
    def resync(self, begins: Callable[[bytes], bool]) -> int:
        """File offset of the next member whose content ``begins`` accepts, or the end of the file; moves there."""


class Plain(Container):
    """An uncompressed file: one member, never damaged at this level."""

    has_members = False

    def open(self) -> bool:
        if self.position:
            return False
        self.ended = False
        return bool(self.feed.data or self.feed.more(0))

    def step(self, want: int = STEP) -> bytes:
        data = b""
        self.before = self.position
        if self.position < self.feed.end or self.feed.more(self.position):
            at = self.position - self.feed.start
            data = self.feed.data[at:] if at else self.feed.data
            self.position = self.feed.end
        self.ended = not data
        return data

    def resync(self, begins: Callable[[bytes], bool]) -> int:
        while self.feed.more(self.feed.end):
            pass
        self.ended, self.position = True, self.feed.end
        return self.position


class _Members(Container):
    """What gzip and LZ4 share: an inflater per member, and the search for the next member after damage."""

    magic: bytes
    broken: tuple[type[BaseException], ...]

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._inflater: Any = None
        self._rest = b""  # input handed back by the inflater because the step was full
        self._damage: Damage | None = None

    def _new(self) -> Any:
        raise NotImplementedError

    def _starts(self, head: bytes) -> bool:
        return head.startswith(self.magic)

    def _plausible(self, head: bytes) -> bool:
        """False if ten bytes show already that no member starts here, so that a false magic costs little."""
        return True

    def open(self) -> bool:
        self.member = self.before = self.keep = self.position
        head = self.feed.ensure(self.position, 4, self.position)
        if not head:
            return False
        if not self._starts(head):
            if not head.strip(b"\0"):
                self._padding()
            raise Damage("input.garbage", "bytes between members that belong to none")
        self._inflater, self._rest, self._damage, self.ended = self._new(), b"", None, False
        return True

    def _padding(self) -> None:
        """Raise Damage if nothing but zeros stands between ``position`` and the next member or the end."""
        at = self.position
        while True:
            piece = self.feed.ensure(at, CHUNK, at)
            zeros = len(piece) - len(piece.lstrip(b"\0"))
            at += zeros
            if zeros < CHUNK:
                break
        if not piece[zeros:] or self._starts(self.feed.ensure(at, 4, at)):
            self.keep = at
            raise Damage("input.padding", f"{at - self.position} zero bytes")

    def step(self, want: int = STEP) -> bytes:
        if self._damage is not None:
            raise self._damage
        pieces: list[bytes] = []
        got = 0
        self.before = self.position
        while got < want and not self.ended:
            try:
                piece = self._inflate(want - got)
            except Damage as damage:
                if not got:
                    raise
                self._damage = damage  # first hand out what came before it
                break
            if piece:
                pieces.append(piece)
                got += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _inflate(self, want: int) -> bytes:
        feed = self.feed
        given = self._rest
        if not given:
            at = self.position - feed.start
            if at >= len(feed.data):
                if not feed.more(min(self.keep, self.position)):
                    raise Damage("input.truncated", "the file ends inside a compressed member")
                at = self.position - feed.start
            given = feed.data[at : at + SLICE]
        inflater = self._inflater
        try:
            out: bytes = inflater.decompress(given, want)
        except self.broken as error:
            raise Damage("input.corrupt", f"compressed data does not inflate ({_reason(error)})") from None
        # At the end of the member zlib may leave a stale unconsumed tail: only what is unused counts then.
        rest = (inflater.unused_data or b"") if inflater.eof else self._unconsumed(inflater, given)
        self.position += len(given) - len(rest)
        self.ended = bool(inflater.eof)
        self._rest = b"" if self.ended else rest
        return out

    def _unconsumed(self, inflater: Any, given: bytes) -> bytes:
        raise NotImplementedError

    def resync(self, begins: Callable[[bytes], bool]) -> int:
        feed = self.feed
        at = max(self.member + 1, self.keep, feed.start)
        while True:
            found = feed.data.find(self.magic, at - feed.start)
            if found < 0:
                at = max(at, feed.end - len(self.magic) + 1)
                if not feed.more(at):
                    self.position, self.ended = feed.end, True
                    return feed.end
                continue
            at = feed.start + found
            if self._opens(at, begins):
                self.position, self.ended = at, True
                return at
            at += 1

    def _opens(self, offset: int, begins: Callable[[bytes], bool]) -> bool:
        """True if a member at ``offset`` inflates to something that a record may begin with."""
        if not self._plausible(self.feed.ensure(offset, 10, offset)):
            return False
        for size in (512, PROBE):
            inflater = self._new()
            try:
                out = inflater.decompress(self.feed.ensure(offset, size, offset), 256)
            except self.broken:
                return False
            if out:
                return begins(out)
        return False


class GzipMembers(_Members):
    """A gzip file, member by member; CRC and size of each member are checked by zlib."""

    magic = GZIP_MAGIC
    broken = (zlib.error,)

    def _new(self) -> Any:
        return zlib.decompressobj(31)

    def _plausible(self, head: bytes) -> bool:
        # Three reserved flags must be zero; the extra flags of deflate have three values in use.
        return len(head) == 10 and head[3] < 32 and head[8] in (0, 2, 4)

    def _unconsumed(self, inflater: Any, given: bytes) -> bytes:
        rest: bytes = inflater.unconsumed_tail
        return rest

    def open(self) -> bool:
        try:
            return super().open()
        except Damage:
            head = self.feed.ensure(self.position, 10, self.position)
            # Magic overwritten, the rest of a gzip header intact: a damaged member rather than foreign bytes.
            if head[2:3] == b"\x08" and self._plausible(head):
                raise Damage("input.corrupt", "the magic bytes of a gzip member are damaged") from None
            raise


class Lz4Frames(_Members):
    """An LZ4 file, frame by frame. Needs the ``lz4`` package."""

    magic = LZ4_MAGIC
    broken = (RuntimeError,)

    def _new(self) -> Any:
        from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

        return LZ4FrameDecompressor()

    def _unconsumed(self, inflater: Any, given: bytes) -> bytes:
        # The frame decompressor keeps surplus input itself and says so by needs_input.
        return b""

    def _inflate(self, want: int) -> bytes:
        inflater = self._inflater
        if not inflater.needs_input and not inflater.eof:
            try:
                out: bytes = inflater.decompress(b"", want)
            except self.broken as error:
                raise Damage("input.corrupt", f"compressed data does not inflate ({_reason(error)})") from None
            if inflater.eof:
                self.position -= len(inflater.unused_data or b"")
                self.ended = True
            return out
        return super()._inflate(want)

    def _starts(self, head: bytes) -> bool:
        return head.startswith(self.magic) or _LZ4_SKIPPABLE.match(head) is not None


def _reason(error: BaseException) -> str:
    """The inflater's own words, shortened to what names the fault."""
    return str(error).rsplit(": ", 1)[-1][:80]


def container_of(file: BinaryIO) -> Container:
    """The container that the first bytes of ``file`` show, whatever its name.

    Raises:
        ModuleNotFoundError: the file is LZ4 and the ``lz4`` package is missing.
    """
    feed = Feed(file)
    head = feed.ensure(0, 4, 0)
    if head.startswith(GZIP_MAGIC):
        return GzipMembers(feed)
    if head.startswith(LZ4_MAGIC) or _LZ4_SKIPPABLE.match(head):
        import lz4.frame  # type: ignore[import-untyped]  # noqa: F401 — a missing package must be noticed before any byte is judged damaged

        return Lz4Frames(feed)
    if (head and not head.isascii()) or b"\0" in head:
        # First member damaged? Text never looks like this, so a gzip header further on decides.
        window = feed.ensure(0, CHUNK, 0)
        if GZIP_MAGIC in window and b"WARC/1" not in window:
            return GzipMembers(feed)
    return Plain(feed)
