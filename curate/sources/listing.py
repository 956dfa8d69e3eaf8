"""The list of inputs: globs, folders, single files and path lists; local, ``s3://``, ``https://`` and other stores.

Order is by ``source``. Whatever is found but not read (a link that leaves the folder, a FIFO, a list entry that points
elsewhere) is a failure with a ``path.*`` code; nothing is left out silently.
"""

# Names are kept exactly as the file system gives them, bytes beyond UTF-8 too; Path would normalise them.
# ruff: noqa: PTH110, PTH112, PTH114, PTH116, PTH118, PTH119, PTH120, PTH206

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from curate.documents import Failure
from curate.errors import ConfigError, InputError
from curate.sources.base import InputFile, ReadOptions
from curate.sources.escaped_names import escaped
from curate.sources.found import Found, Listing
from curate.sources.opening import (
    Retry,
    filesystem,
    is_remote,
    local_identity,
    local_path,
    patiently,
    portable_path,
    remote_identity,
)
from curate.sources.path_lists import LISTS, lines_of, looks_like_list, resolve, within
from curate.sources.source_names import name_failures, sources_of, store

#: names that are read when a folder is given, by kind
SUFFIXES = {
    "warc": (".warc", ".warc.gz", ".warc.zst", ".warc.lz4"),
    "arc": (".arc", ".arc.gz", ".arc.zst"),
    "wet": (".wet", ".wet.gz", ".wet.zst"),
    "jsonl": tuple(s + c for s in (".jsonl", ".ndjson", ".json") for c in ("", ".gz", ".zst", ".zstd")),
    "parquet": (".parquet", ".pq", ".parq"),
}
_MAGIC = re.compile(r"[*?\[]")


def list_inputs(
    paths: Sequence[str],
    kind: str,
    *,
    base: Path,
    root: str | None = None,
    options: ReadOptions | None = None,
    retry: Retry | None = None,
    limit: int | None = None,
) -> tuple[list[InputFile], list[Failure]]:
    """The manifest of the inputs that ``paths`` name, and what was found but will not be read.

    Args:
        paths: globs (``**`` for any depth), folders (read recursively, by the suffixes of ``kind``), files, URLs, and
            path lists: ``@list.txt`` or ``*.paths[.gz]``, one path per line.
        kind: of all inputs.
        base: folder that relative paths are resolved against.
        root: folder or URL that sources are relative to; None means the deepest folder common to all inputs.
        options: ``follow_symlinks``, ``list_prefix`` and ``allow_outside`` matter here.
        retry: for remote stores.
        limit: take only so many files, the first by ``source``; None takes all.

    Raises:
        ConfigError: a pattern matches nothing, or a list cannot be read.
    """
    listing = Listing(kind, base, options or ReadOptions(), retry or Retry())
    for pattern in paths:
        before = len(listing.found), len(listing.failures)
        _expand(listing, pattern)
        if (len(listing.found), len(listing.failures)) == before and not _known(listing, pattern):
            raise ConfigError(_nothing(listing, pattern))
    facts = _local_facts(listing, {p: f for p, f in listing.found.items() if not is_remote(p)})
    sources, roots = sources_of(listing, [*facts, *filter(is_remote, listing.found)], root)
    files = _taken(listing, sources, facts, limit)
    name_failures(listing, _paths(sources, files), roots)
    return files, sorted(listing.failures, key=lambda f: (f.source, f.error))


def _paths(sources: Mapping[str, str], files: Sequence[InputFile]) -> list[str]:
    taken = {file.source for file in files}
    return [path for path, source in sources.items() if source in taken]


def _taken(
    listing: Listing, sources: Mapping[str, str], facts: dict[str, tuple[int, str]], limit: int | None
) -> list[InputFile]:
    """The first files by source, ``limit`` at most; a store is asked about no more of its files than that needs."""
    order = sorted(sources, key=sources.__getitem__)
    files: list[InputFile] = []
    at = 0
    while at < len(order) and (limit is None or len(files) < limit):
        some = order[at:] if limit is None else order[at : at + limit - len(files)]
        facts.update(_remote_facts(listing, [p for p in some if is_remote(p)]))
        files += [InputFile(_openable(p), sources[p], listing.kind, *facts[p]) for p in some if p in facts]
        at += len(some)
    return files


def _openable(path: str) -> str:
    """What ``open_input`` takes: links are resolved here, since it follows none."""
    return path if is_remote(path) else portable_path(os.path.realpath(path))


def _expand(listing: Listing, pattern: str) -> None:
    """Add what one entry of ``input.paths`` names."""
    if pattern.startswith("@"):
        _read_list(listing, listing.absolute(pattern[1:]))
    elif is_remote(pattern):
        if pattern.endswith(LISTS):
            _read_list(listing, pattern)
        else:
            _expand_remote(listing, pattern)
    else:
        path = listing.absolute(local_path(pattern))
        if path.endswith(LISTS) or looks_like_list(listing, path):
            _read_list(listing, path)
        elif os.path.isdir(path):
            _walk(listing, path)
        elif os.path.lexists(path):
            _candidate(listing, path, os.path.dirname(path), trusted=True)
        elif _MAGIC.search(path):
            _glob(listing, path)


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


# -- local files -------------------------------------------------------------------------------------------------------


def _walk(listing: Listing, folder: str) -> None:
    """All files below a folder whose names fit the kind; hidden names and ``_`` names are left out."""
    anchor, pending = os.path.realpath(folder), [os.path.realpath(folder)]
    while pending:
        for item in _entries(listing, pending.pop()):
            if item.name.startswith((".", "_")):
                continue
            if item.is_dir(follow_symlinks=False):
                pending.append(item.path)
            elif item.is_symlink() and os.path.isdir(item.path):
                _linked_folder(listing, item.path, anchor, pending)
            elif item.name.lower().endswith(SUFFIXES.get(listing.kind, ("",))):
                _candidate(listing, item.path, anchor)


def _entries(listing: Listing, folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return sorted(items, key=lambda item: item.name)
    except OSError as error:
        listing.refuse(folder, "input.unreadable", f"the folder cannot be listed: {error.strerror}")
        return []


def _linked_folder(listing: Listing, path: str, anchor: str, pending: list[str]) -> None:
    target = os.path.realpath(path)
    if not listing.options.follow_symlinks:
        listing.refuse(
            path, "path.symlink", "a link to a folder; not followed (input.follow_symlinks)", level="warning"
        )
    elif not within(anchor, target):
        pending.append(target)


def _glob(listing: Listing, pattern: str) -> None:
    """Files that match, without passing through links below the fixed part of the pattern."""
    parts = pattern.split(os.sep)
    fixed = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
    folder = os.path.realpath(os.sep.join(parts[:fixed]) or os.sep)
    for path in dict.fromkeys(_matches(listing, folder, parts[fixed:])):
        _candidate(listing, path, folder)


def _matches(listing: Listing, folder: str, parts: list[str]) -> Iterator[str]:
    if not os.path.isdir(folder):
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _matches(listing, folder, rest or ["*"])
    fits = re.compile(fnmatch.translate(part)).match
    for item in _entries(listing, folder):
        hidden = item.name.startswith(".") and not part.startswith(".")
        if hidden or not (part == "**" or fits(item.name)):
            continue
        plain = item.is_dir(follow_symlinks=listing.options.follow_symlinks)
        if part == "**":
            if plain:
                yield from _matches(listing, item.path, parts)
        elif not rest:
            yield item.path
        elif plain:
            yield from _matches(listing, item.path, rest)
        elif item.is_symlink() and os.path.isdir(item.path):
            what = "a link to a folder; not followed (input.follow_symlinks)"
            listing.refuse(item.path, "path.symlink", what, level="warning")


def _candidate(listing: Listing, path: str, anchor: str, *, trusted: bool = False) -> None:
    """Add a file, or say why not. ``trusted``: the config names this very path, so a link is followed."""
    linked = os.path.islink(path)
    if linked and not os.path.exists(path):
        listing.refuse(path, "path.symlink", "a link that leads nowhere")
        return
    target = os.path.realpath(path)
    if linked and not trusted and not listing.options.follow_symlinks and not within(anchor, target):
        listing.refuse(path, "path.symlink", "a link out of the input folder; allow it with input.follow_symlinks")
        return
    mode = _mode(path)
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file (FIFO, socket or device)" if mode else "gone"
        if mode:
            listing.refuse(path, "path.not-regular", what, level="warning" if stat.S_ISDIR(mode) else "error")
        else:
            listing.refuse(path, "input.vanished", what)
        return
    real_parent = os.path.realpath(os.path.dirname(path))
    listing.add(os.path.join(real_parent, os.path.basename(path)), os.path.realpath(anchor), linked=linked)


def _local_facts(listing: Listing, found: dict[str, Found]) -> dict[str, tuple[int, str]]:
    """Size and identity by path. A file with several names is read once: under its own name, not a link's."""
    facts: dict[str, tuple[int, str]] = {}
    seen: dict[tuple[int, int], str] = {}
    for path in sorted(found, key=lambda p: (found[p].linked, os.fsencode(p))):
        target = os.path.realpath(path)
        try:
            status = os.stat(target)
            first = seen.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                what = f"the same file as {escaped(os.path.basename(first))}; read once, under that name"
                listing.refuse(path, "path.symlink", what, level="warning")
                continue
            facts[path] = local_identity(target)
        except FileNotFoundError:
            listing.refuse(path, "input.vanished", "the file is not there")
        except InputError as error:
            listing.refuse(path, error.code, error.detail)
    return facts


# -- path lists --------------------------------------------------------------------------------------------------------


def _read_list(listing: Listing, path: str) -> None:
    """Add the entries of a path list; entries that leave its folder or prefix are refused."""
    lines = lines_of(listing, path, None)
    prefix = listing.options.list_prefix
    own = path.rsplit("/", 1)[0] if prefix is None else prefix.rstrip("/")
    own = own if is_remote(own) else listing.absolute(own)
    for line in lines:
        where = resolve(listing, own, path, line)
        if where is None:
            listing.refuse(
                line, "path.outside", "a list entry outside the list's folder; allow it: input.allow_outside"
            )
        elif is_remote(where):
            listing.add(where, _remote_anchor(own, where))
        elif os.path.lexists(where):
            anchor = own if within(own, where) else os.path.dirname(where)
            _candidate(listing, where, anchor, trusted=listing.options.allow_outside)
        else:
            hint = "; set input.list_prefix, e.g. s3://commoncrawl/" if prefix is None else ""
            listing.refuse(line, "input.vanished", f"a list entry that is not there{hint}")


def _remote_anchor(own: str, where: str) -> str:
    return own if where.startswith(own + "/") else store(where)


# -- remote stores -----------------------------------------------------------------------------------------------------


def _expand_remote(listing: Listing, pattern: str) -> None:
    fs, path = filesystem(pattern)
    try:
        if _MAGIC.search(path.partition("?")[0] if pattern.startswith("http") else path):
            fixed = _MAGIC.split(pattern, maxsplit=1)[0].rsplit("/", 1)[0]
            for match in patiently(lambda: fs.glob(path), listing.retry, pattern):
                listing.add(fs.unstrip_protocol(match), fixed)
        elif pattern.endswith("/") or (not pattern.startswith("http") and _is_folder(listing, fs, path, pattern)):
            for match in patiently(lambda: fs.find(path), listing.retry, pattern):
                if match.lower().endswith(SUFFIXES.get(listing.kind, ("",))):
                    listing.add(fs.unstrip_protocol(match), pattern.rstrip("/"))
        else:
            listing.add(pattern, pattern.rsplit("/", 1)[0])
    except InputError as error:
        if error.code != "input.vanished":
            raise ConfigError(f"input.paths: {pattern} cannot be listed: {error.detail}") from error


def _is_folder(listing: Listing, fs: Any, path: str, url: str) -> bool:
    return bool(patiently(lambda: fs.isdir(path), listing.retry, url))


def _remote_facts(listing: Listing, found: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Size and identity by URL, many at once: a crawl's list names 100,000 files."""
    facts: dict[str, tuple[int, str]] = {}
    if not found:
        return facts

    def look(url: str) -> tuple[str, dict[str, Any] | InputError]:
        try:
            fs, path = filesystem(url)
            return url, dict(patiently(lambda: fs.info(path), listing.retry, url))
        except InputError as error:
            return url, error

    with ThreadPoolExecutor(min(32, len(found))) as pool:
        for url, info in pool.map(look, sorted(found)):
            if isinstance(info, InputError):
                listing.refuse(url, info.code, info.detail)
            elif info.get("size") is None:
                listing.refuse(url, "input.unreadable", "the server does not tell the size; download the file first")
            else:
                facts[url] = int(info["size"]), remote_identity(info)
    return facts


def _known(listing: Listing, pattern: str) -> bool:
    """Whether an earlier pattern had named all that this one names."""
    return not _MAGIC.search(pattern) and (pattern in listing.found or listing.absolute(pattern) in listing.found)


def _nothing(listing: Listing, pattern: str) -> str:
    """What to say when a pattern matches nothing: where it was looked for, and the nearest names there."""
    if is_remote(pattern):
        return f"input.paths: nothing matches {pattern}"
    path = listing.absolute(local_path(pattern.removeprefix("@")))
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    names = sorted(p.name for p in Path(folder).iterdir())
    near = difflib.get_close_matches(os.path.basename(path), names, 3, 0.4) or names[:5]
    ends = ", ".join(SUFFIXES.get(listing.kind, ()))
    what = (
        f"no {listing.kind} file ({ends}) in {escaped(path)}" if path == folder else f"nothing matches {escaped(path)}"
    )
    there = (
        f"; in {escaped(folder)} there are: {', '.join(escaped(n) for n in near)}"
        if near
        else f"; {escaped(folder)} is empty"
    )
    return f"input.paths: {what}{there}"
