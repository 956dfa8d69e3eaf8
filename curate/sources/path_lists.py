"""Path lists: one path or URL per line, plain or gzip, relative to their folder or to ``input.list_prefix``."""

# Names are kept exactly as the file system gives them, bytes beyond UTF-8 too; Path would normalise them.
# ruff: noqa: PTH113, PTH118

from __future__ import annotations

import gzip
import io
import os
import posixpath
from typing import Any
from urllib.parse import urlsplit

from curate.errors import ConfigError, InputError
from curate.sources.base import InputFile
from curate.sources.escaped_names import escaped
from curate.sources.found import Listing
from curate.sources.opening import filesystem, is_remote, local_path, open_input, patiently
from curate.sources.source_names import store

#: how names of path lists end
LISTS = (".paths", ".paths.gz", ".paths.txt")
_MAX_LIST = 1 << 30


def within(folder: str, path: str) -> bool:
    """Whether a path is the folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def looks_like_list(listing: Listing, path: str) -> bool:
    """A ``.txt`` file is a path list unless its first line is JSON or a record."""
    if not path.endswith((".txt", ".txt.gz", ".list")) or not os.path.isfile(path):
        return False
    lines = lines_of(listing, path, 1)
    return bool(lines) and not lines[0].startswith(("{", "[", "WARC/", "filedesc:"))


def resolve(listing: Listing, own: str, path: str, line: str) -> str | None:
    """Where a list entry lies; None if that is outside and outside is not allowed."""
    free = listing.options.allow_outside
    if "://" in line:
        plain = local_path(line)
        same = is_remote(own) and is_remote(line) and posixpath.normpath(line).startswith(posixpath.normpath(own) + "/")
        return plain if free or same else None
    if is_remote(own):
        if ".." in line.split("/") or line.startswith("/"):
            return f"{store(own)}/{line.lstrip('/')}" if free else None
        return f"{_ancestor(own, line) if listing.options.list_prefix is None else own}/{line.removeprefix('./')}"
    where = os.path.normpath(os.path.join(own, line))
    return where if free or within(own, where) else None


def _ancestor(own: str, line: str) -> str:
    """The folder above a remote list that its entries repeat: Common Crawl's start at the bucket's top."""
    marker = "/" + line.split("/", maxsplit=1)[0] + "/"
    head, found, _ = (own + "/").partition(marker)
    return head if found and "://" in head and urlsplit(head).netloc else own


def lines_of(listing: Listing, path: str, count: int | None) -> list[str]:
    """Non-empty lines of a list (gzip by its magic bytes), bytes beyond UTF-8 by surrogateescape."""
    try:
        with _open_list(listing, path) as file:
            head = file.peek(3)[:3] if isinstance(file, io.BufferedReader) else b""
            text: Any = gzip.GzipFile(fileobj=file) if head.startswith(b"\x1f\x8b") else file
            data = text.read(_MAX_LIST if count is None else 64 << 10)
    except (InputError, OSError, EOFError) as error:
        raise ConfigError(f"input.paths: the list {escaped(path)} cannot be read: {error}") from error
    lines = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n")
    kept = [line.strip("\r \t") for line in lines]
    return [line for line in kept if line and not line.startswith("#")][:count]


def _open_list(listing: Listing, path: str) -> Any:
    if is_remote(path):
        fs, inner = filesystem(path)
        size = patiently(lambda: fs.info(inner), listing.retry, path).get("size") or 0
        return open_input(InputFile(path, path, "list", size, ""), listing.retry)
    return open_input(InputFile(os.path.realpath(path), path, "list", 0, ""))
