"""Names of inputs: relative to a root, valid UTF-8 on one line, each different from all others."""

# Names are kept exactly as the file system gives them, bytes beyond UTF-8 too; Path would normalise them.

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

import xxhash

from curate.sources.escaped_names import escaped
from curate.sources.found import Listing
from curate.sources.opening import is_remote, local_path


def sources_of(listing: Listing, paths: Collection[str], root: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """A source for every path, and the root of every store (``""`` is the local one) that sources are relative to."""
    stores = {_store_of(p) for p in paths}
    roots = {store: _root(listing, paths, store, root) for store in stores}
    sources: dict[str, str] = {}
    taken: set[str] = set()
    for path in sorted(paths, key=os.fsencode):
        store = _store_of(path)
        inner = _relative(path, roots[store])
        name = escaped(inner if len(stores) == 1 or not store else f"{store.replace('://', '/')}/{inner}")
        if name in taken:
            name += "~" + xxhash.xxh3_64_hexdigest(os.fsencode(path))[:8]
        taken.add(name)
        sources[path] = name
    return sources, roots


def name_failures(listing: Listing, taken: Collection[str], roots: Mapping[str, str]) -> None:
    """Warn of escaped names among the ``taken``; name what was refused below a root relative to it, as sources are."""
    for path in sorted(taken, key=os.fsencode):
        inner = _relative(path, roots[_store_of(path)])
        if len(roots) == 1 and escaped(inner) != inner:
            listing.refuse(path, "path.name", "not printable UTF-8; escaped in `source`", level="warning")
    for failure in listing.failures:
        inside = (_relative(failure.source, r) for r in roots.values() if failure.source.startswith(r + "/"))
        failure.source = next(inside, failure.source)


def _root(listing: Listing, paths: Collection[str], store: str, root: str | None) -> str:
    """The folder that sources of one store are relative to."""
    if root is not None and is_remote(root) == bool(store):
        return root.rstrip("/") if store else os.path.realpath(listing.absolute(local_path(root)))
    anchors = [listing.found[p].anchor for p in paths if _store_of(p) == store]
    if not store:
        return os.path.commonpath(anchors)
    common = os.path.commonpath([urlsplit(a).path or "/" for a in anchors])
    return store + ("" if common == "/" else common)


def _relative(path: str, root: str) -> str:
    inside = path.startswith(root.rstrip("/") + "/")
    return path[len(root.rstrip("/")) + 1 :] if inside else path.rsplit("://", maxsplit=1)[-1].lstrip("/")


def _store_of(path: str) -> str:
    return store(path) if is_remote(path) else ""


def store(url: str) -> str:
    """Scheme and host of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
