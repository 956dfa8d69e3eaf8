"""One record of a web archive, and what tells the formats apart."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Head:
    """What a record's header says.

    Attributes:
        type: record type in lower case: response, resource, conversion, warcinfo, …
        length: declared length of the block in bytes; None if missing or no number.
        fields: WARC header fields by lower-case name, first one wins; empty for ARC.
        odd: remarks on the header, for the ledger.
    """

    type: str
    length: int | None
    url: str | None
    date: str | None
    source_id: str | None
    content_type: str
    fields: dict[bytes, bytes] = field(default_factory=dict)
    odd: tuple[str, ...] = ()


@dataclass(slots=True)
class Frame:
    """One record.

    Attributes:
        offset: where its member (or, in a plain file, the record) starts in the file.
        inner: index among the records that start in the same member; 0 in a plain file.
        length: so many bytes of the file from ``offset`` on are enough to read the record.
        block: what follows the header; a prefix if ``fault`` is a limit.
        fault: (code, detail) if the record must not become a document.
        notes: (code, detail) of damage that was repaired.
    """

    offset: int
    inner: int
    length: int
    head: Head
    block: bytes
    fault: tuple[str, str] | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)


class Dialect(Protocol):
    """What differs between WARC and ARC."""

    name: str
    #: bytes from its start that suffice to recognise a header
    reach: int
    #: finds the next record header; group 1 starts at the header
    boundary: re.Pattern[bytes]

    def at(self, data: bytes, start: int) -> bool:
        """True if a record header starts at ``start``."""

    def head_end(self, data: bytes, start: int) -> int:
        """Index behind the header that starts at ``start``; -1 if its end is not in ``data``."""

    def parse(self, head: bytes) -> Head:
        """The header, read leniently."""
