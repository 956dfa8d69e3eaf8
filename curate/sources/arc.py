"""ARC files, the format before WARC: versions 1 and 2, with and without an empty line between records."""

from __future__ import annotations

from typing import ClassVar

from curate.sources.warc import WarcSource


class ArcSource(WarcSource):
    """ARC: the same pages and columns as WARC; ``source_id`` is null, ARC has no record ids.

    A file that turns out to hold WARC records is read as WARC.
    """

    kind: ClassVar[str] = "arc"
