"""All sources, by the kind that configs use. Importing this file imports none of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.sources.base import Source

#: kind → "module:Class"
SOURCES = {
    "warc": "curate.sources.warc:WarcSource",
    "arc": "curate.sources.arc:ArcSource",
    "wet": "curate.sources.wet:WetSource",
    "jsonl": "curate.sources.jsonl:JsonlSource",
    "parquet": "curate.sources.parquet:ParquetSource",
}


def source_class(kind: str) -> type[Source]:
    """The class that reads files of ``kind``; KeyError if there is none."""
    module, cls = SOURCES[kind].split(":")
    found: type[Source] = getattr(import_module(module), cls)
    return found
