"""Records of a web archive, framed one by one, whatever container they stand in and however they are damaged.

A declared length is believed if a record, or the end of the member, follows where it points. If not, the length of
the HTTP body, the next record header and the member's end decide, in this order. What belongs to no record is
rejected as a byte range; one damaged record costs one record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from curate.sources.base import Account, Source
from curate.sources.frames import Dialect, Frame
from curate.sources.framing import STEP, Container, Damage, Plain
from curate.sources.http import declared_end

_NEWLINES = re.compile(rb"[\r\n]*")
_TAIL = re.compile(rb"(?:\r?\n){1,2}\Z")
#: bytes kept while scanning for a boundary, so that one that lies across two steps is found
_OVERLAP = 8192
#: a member that inflates to more than this many times the record limit is left, not read to its end
_MEMBER_FACTOR = 64


class Framer:
    """Frames of one file, in order; keeps the account of its bytes.

    Args:
        record_cap: bytes that header and block of a record may have together.
        header_cap: bytes that a header may have.
    """

    def __init__(
        self, source: Source, container: Container, dialects: tuple[Dialect, ...], record_cap: int, header_cap: int
    ) -> None:
        self.source = source
        self.account: Account = source.account
        self.c = container
        self.dialects = dialects
        self.dialect = dialects[0]
        self.record_cap = record_cap
        self.header_cap = header_cap
        self.whole_members = True  # so far every record has had a member of its own
        self._known = False  # a record has been seen, so the dialect is settled
        self._buf = b""
        self._pos = 0
        self._origin = 0  # file offset of _buf[0]; meaningful in plain files only
        self._inner = 0
        self._ahead: bytes | None = None  # start of the next member, already inflated
        self._cursor = 0  # all bytes of the file before this one are accounted for

    def frames(self) -> Iterator[Frame]:
        """All records that can be framed; damaged ranges go to ``Source.reject``."""
        while self._find():
            try:
                frame = self._frame()
            except Damage as damage:
                self._lose(damage)
                continue
            self.account.records += 1
            yield frame

    # ---------------------------------------------------------------- accounting
    def _settle(self) -> None:
        """Count everything up to here as belonging to records."""
        here = self._here()
        if here > self._cursor:
            self.account.parsed_bytes += here - self._cursor
            self._cursor = here
        self.c.keep = max(self.c.keep, min(self._cursor, self.c.position))

    def _here(self) -> int:
        """File offset up to which the input has certainly been used for records already framed."""
        if not self.c.has_members:
            return self._origin + self._pos
        if self._ahead is not None:
            return self.c.member
        if self.c.ended and self._pos >= len(self._buf):
            return self.c.position
        return min(self.c.before, self.c.position)

    def _reject(self, end: int, damage: Damage) -> None:
        level = "warning" if damage.code == "input.padding" else "error"
        self.source.reject(self._cursor, end - self._cursor, damage.code, damage.detail, level=level)
        self._cursor = end

    def _lose(self, damage: Damage) -> None:
        """Give up the current member: what it held and is not framed yet is rejected, up to the next good one."""
        if self._ahead is not None:  # the next member is already open, and whole so far
            self._reject(self.c.member, damage)
            self._buf, self._pos = b"", 0
            return
        end = self.c.resync(self._begins)
        self._buf, self._pos, self._inner, self._ahead = b"", 0, 0, None
        self._reject(end, damage)

    def _begins(self, data: bytes) -> bool:
        start = _NEWLINES.match(data).end()  # type: ignore[union-attr]
        return any(d.at(data, start) for d in ((self.dialect,) if self._known else self.dialects))

    # ---------------------------------------------------------------- moving
    def _grow(self, want: int = STEP) -> bool:
        """More bytes of the current member; the window then starts at the current place. False at its end."""
        if self.c.ended or self._ahead is not None:
            return False
        piece = self.c.step(want)
        if not piece:
            return False
        self._origin += self._pos
        self._buf = self._buf[self._pos :] + piece if self._pos < len(self._buf) else piece
        self._pos = 0
        return True

    def _have(self, size: int, *, cross: bool) -> bool:
        """True if ``size`` bytes are in the window from the current place on, read on where needed."""
        while len(self._buf) - self._pos < size:
            missing = size - (len(self._buf) - self._pos)
            if not self._grow(min(missing, max(STEP, len(self._buf)))) and not (cross and self._cross()):
                return False
        return True

    def _open(self) -> bool:
        """Go to the next member. False at the end of the file."""
        if self._ahead is not None:
            self._buf, self._ahead = self._ahead, None
        elif self.c.open():
            self._buf, self._origin = b"", self.c.member
        else:
            return False
        self._pos = self._inner = 0
        return True

    def _cross(self) -> bool:
        """Join the next member if it goes on with the current record rather than starting another."""
        if not self.c.has_members or self._ahead is not None:
            return False
        try:
            if not self.c.open():
                return False
        except Damage:
            return False  # raised again, and rejected, when the next record is looked for
        piece = self.c.step()
        if self._begins(piece):
            self._ahead = piece
            return False
        self._buf, self._pos = self._buf[self._pos :] + piece, 0
        self._inner = 0
        self._odd_members("records are cut across gzip members")
        return True

    def _odd_members(self, detail: str) -> None:
        if self.whole_members and self.c.has_members:
            self.whole_members = False
            self.source.remark(self.c.member, 0, "input.not-record-gzip", detail)

    def _find(self) -> bool:
        """Go to the next record header; False at the end of the file."""
        while True:
            try:
                while self._skip_newlines():
                    if self._at_header():
                        return True
                    self._foreign()
                self._settle()
                if not self._open():
                    return False
            except Damage as damage:
                self._lose(damage)

    def _skip_newlines(self) -> bool:
        """Pass line ends between records. False if the member ends with them."""
        while True:
            buf = self._buf
            self._pos = _NEWLINES.match(buf, self._pos).end()  # type: ignore[union-attr]
            if self._pos < len(buf):
                return True
            if not self._grow():
                return False

    def _at_header(self) -> bool:
        for dialect in (self.dialect,) if self._known else self.dialects:
            self._have(dialect.reach, cross=False)
            if dialect.at(self._buf, self._pos):
                self.dialect, self._known = dialect, True
                return True
        return False

    def _foreign(self) -> None:
        """Pass bytes that belong to no record, up to the next header in this member or its end."""
        start = self._here() if self.c.has_members else self._origin + self._pos
        blank, seen = True, 0
        code = "input.garbage" if self._known else "input.not-warc"
        self._settle()
        while True:
            found = self._next_header(self._pos)
            stop = found if found >= 0 else max(self._pos, len(self._buf) - _OVERLAP)
            blank = blank and not self._buf[self._pos : stop].strip(b"\0")
            seen += stop - self._pos
            self._pos = stop
            if found >= 0:
                break
            if seen > _MEMBER_FACTOR * self.record_cap and self.c.has_members:
                raise Damage(code, "a member without records that expands beyond all limits")
            if not self._grow():
                rest = self._buf[self._pos :]
                blank, seen = blank and not rest.strip(b"\0"), seen + len(rest)
                self._pos = len(self._buf)
                break
        damage = Damage("input.padding" if blank else code, f"{seen} bytes that belong to no record")
        end = self._here()
        if end > start:
            self._reject(end, damage)
        else:  # inside a member that also holds records: its compressed bytes are counted with them
            self.source.remark(self.c.member, 0, damage.code, damage.detail, level="warning" if blank else "error")

    def _next_header(self, start: int) -> int:
        """Index of the next record header in the window; -1 if there is none."""
        best = -1
        for dialect in (self.dialect,) if self._known else self.dialects:
            match = dialect.boundary.search(self._buf, start)
            if match is not None and (best < 0 or match.start(1) < best):
                best = match.start(1)
        return best

    # ---------------------------------------------------------------- one record
    def _frame(self) -> Frame:
        plain = not self.c.has_members
        offset = self._origin + self._pos if plain else self.c.member
        inner = 0 if plain else self._inner
        self._inner += 1
        if inner == 1:
            self._odd_members("several records stand in one gzip member")
        head_size = self._head_size()
        head = self.dialect.parse(self._buf[self._pos : self._pos + min(head_size, self.header_cap)])
        frame = Frame(offset, inner, 0, head, b"")
        if head_size > self.header_cap:
            self._monster(frame)
        else:
            self._block(frame, head_size)
        self._skip_newlines()
        self._settle()
        frame.length = (self._here() if plain else self._used()) - offset
        return frame

    def _used(self) -> int:
        """File offset up to which compressed input has been used."""
        return self.c.member if self._ahead is not None else self.c.position

    def _head_size(self) -> int:
        """Bytes of the header; more than the cap allows if it has no end within the cap."""
        while True:
            end = self.dialect.head_end(self._buf, self._pos)
            if end >= 0 or len(self._buf) - self._pos > self.header_cap:
                return (end if end >= 0 else len(self._buf)) - self._pos
            if not self._grow() and not self._cross():
                if self.c.has_members:
                    raise Damage("warc.header", "a member ends inside a record header")
                raise Damage("input.truncated", "the file ends inside a record header")

    def _monster(self, frame: Frame) -> None:
        """A header beyond the cap: nothing in it can be trusted, so the record ends where the next one starts."""
        frame.fault = ("limit.header-bytes", f"a record header of more than {self.header_cap} bytes")
        self._pos += self._search(self.header_cap)

    def _block(self, frame: Frame, head_size: int) -> None:
        """Find the record's end, put its block into the frame, and go behind it."""
        declared = frame.head.length
        if declared is not None and declared + head_size > self.record_cap and not self._absurd(declared):
            self._too_large(frame, head_size, declared)
            return
        if declared is not None and declared + head_size <= self.record_cap:
            size = head_size + declared
            if self._have(size, cross=True) and self._clean_after(size):
                frame.block = self._buf[self._pos + head_size : self._pos + size]
                self._pos += size
                return
        self._repair(frame, head_size, declared)

    def _absurd(self, declared: int) -> bool:
        """True if the file cannot hold a block of this size."""
        return declared >= 1 << 50 or (
            not self.c.has_members and declared > max(self.source.entry.size - self._origin - self._pos, 0)
        )

    def _clean_after(self, size: int) -> bool:
        """True if a record header, or the end of the member, follows ``size`` bytes on, after line ends."""
        behind = size
        while True:
            at = _NEWLINES.match(self._buf, self._pos + behind).end()  # type: ignore[union-attr]
            behind = at - self._pos
            if len(self._buf) - at >= self.dialect.reach:
                return self.dialect.at(self._buf, at)
            if not self._grow():
                at = self._pos + behind
                return at >= len(self._buf) or self.dialect.at(self._buf, at)

    def _repair(self, frame: Frame, head_size: int, declared: int | None) -> None:
        """The declared length is wrong: end the record by other evidence."""
        said = "no valid length" if declared is None else f"{declared} bytes declared"
        end = declared_end(self._buf[self._pos + head_size : self._pos + head_size + self.header_cap])
        size = -1
        if end is not None and head_size + end <= self.record_cap:
            size = head_size + end
            if not (self._have(size, cross=False) and self._clean_after(size)):
                size = -1
        at_end = False
        if size < 0:
            size = self._search(head_size)
            if size > self.record_cap:
                frame.fault = ("limit.record-bytes", f"{said}, no record header within the limit on record bytes")
                frame.block = self._buf[self._pos + head_size : self._pos + head_size + self.header_cap]
                self._pos += size
                return
            at_end = self._pos + size >= len(self._buf)
        body = self._buf[self._pos + head_size : self._pos + size]
        self._pos += size
        tail = _TAIL.search(body)
        block = body[: tail.start()] if tail else body
        if end is not None and len(body) >= end > len(block):
            block = body[:end]
        frame.block = block
        detail = f"{said}, {len(block)} bytes found"
        short = end is not None and len(block) < end
        if (
            isinstance(self.c, Plain)
            and at_end
            and (declared is None or declared > len(body))
            and (end is None or short)
        ):
            frame.fault = ("input.truncated", f"{detail}; the file ends inside the record")
        elif short:
            frame.fault = ("warc.length", f"{detail}, fewer than the HTTP header promises")
        else:
            frame.notes.append(("warc.length", detail))

    def _search(self, start: int) -> int:
        """Size of the record if it ends at the next record header or at the member's end; over the cap if neither."""
        looked = start
        while True:
            match = self.dialect.boundary.search(self._buf, max(self._pos + looked - 1, self._pos))
            if match is not None:
                return match.start(1) - self._pos
            looked = max(start, len(self._buf) - self._pos - _OVERLAP)
            size = len(self._buf) - self._pos
            if size > self.record_cap or not self._grow():
                return len(self._buf) - self._pos

    def _too_large(self, frame: Frame, head_size: int, declared: int) -> None:
        """Pass over a record beyond the limit without holding it; only the start of its block is kept."""
        self._have(head_size + self.header_cap, cross=False)
        frame.block = self._buf[self._pos + head_size : self._pos + head_size + self.header_cap]
        frame.fault = ("limit.record-bytes", f"{declared} bytes; the limit is {self.record_cap}")
        left = head_size + declared
        while left > len(self._buf) - self._pos:
            left -= len(self._buf) - self._pos
            self._pos = len(self._buf)
            self.c.keep = self.c.before
            if head_size + declared - left > _MEMBER_FACTOR * self.record_cap and self.c.has_members:
                raise Damage("limit.record-bytes", "a record that expands beyond all limits")
            if not self._grow() and not self._cross():
                return
        self._pos += left
