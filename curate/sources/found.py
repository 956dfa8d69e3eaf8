"""What listing has found and refused so far."""

# Names are kept exactly as the file system gives them, bytes beyond UTF-8 too; Path would normalise them.
# ruff: noqa: PTH111, PTH118

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from curate.documents import Failure
from curate.sources.base import ReadOptions
from curate.sources.escaped_names import escaped
from curate.sources.opening import Retry, is_remote


@dataclass(frozen=True)
class Found:
    """A candidate: where it is, the folder that its source may be relative to, and how it was named."""

    path: str
    anchor: str
    linked: bool = False


@dataclass
class Listing:
    """What has been found and refused so far."""

    kind: str
    base: Path
    options: ReadOptions
    retry: Retry
    found: dict[str, Found] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def add(self, path: str, anchor: str, *, linked: bool = False) -> None:
        """Note a candidate; a file's own name goes before a link's."""
        known = self.found.get(path)
        if known is None or (known.linked and not linked):
            self.found[path] = Found(path, anchor, linked)

    def refuse(self, path: str, code: str, detail: str, *, level: str = "error") -> None:
        """Note what will not be read."""
        self.failures.append(Failure("read", code, level, detail, source=escaped(path)))

    def absolute(self, path: str) -> str:
        """``path`` itself if it is a URL, else resolved against the base folder."""
        if is_remote(path):
            return path
        return os.path.normpath(os.path.join(self.base.absolute(), os.path.expanduser(path)))
