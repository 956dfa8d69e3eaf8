"""Pages that their address alone rules out: lists of hosts, addresses, extensions and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.documents import Batch
from curate.kernels.strings import string_buffers
from curate.stages.base import Context, Stage, StageConfig


class UrlFilterConfig(StageConfig):
    """Which lists block. Entries can be written here or stand in files, one per line, plain or gzip."""

    lists: tuple[Literal["default", "datatrove"], ...] = Field(
        ("default",),
        description="bundled lists: default (extensions that are no text, a dozen words); datatrove (the 4.6 million "
        "hosts and the words inside the installed datatrove)",
    )
    hosts: tuple[str, ...] = Field((), description="hosts or domains; a domain blocks every host in it")
    urls: tuple[str, ...] = Field((), description="whole addresses, compared without scheme, user, port and fragment")
    extensions: tuple[str, ...] = Field((), description="endings of the path, e.g. pdf")
    words: tuple[str, ...] = Field((), description="words between other signs of the address")
    soft_words: tuple[str, ...] = Field((), description="words of which soft_word_count distinct ones block")
    subwords: tuple[str, ...] = Field((), description="sequences anywhere in the letters and digits run together")
    host_files: tuple[str, ...] = ()
    url_files: tuple[str, ...] = ()
    extension_files: tuple[str, ...] = ()
    word_files: tuple[str, ...] = ()
    soft_word_files: tuple[str, ...] = ()
    subword_files: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = Field((), description="hosts or domains that nothing blocks")
    soft_word_count: int = Field(2, ge=1, le=64)


class UrlFilter(Stage):
    """Drops documents whose address is on a list; documents without an address pass.

    Hosts are compared without case, port, user and dot at the end, on domain boundaries (``a.com`` blocks
    ``x.a.com``, not ``ba.com``); names in other scripts in their ASCII form. Words are compared without case. Addresses
    that are not well-formed are read as far as they go. What is recorded is the name of the list, never the address.
    """

    name = "url_filter"
    version = 1
    follows = (
        "RefinedWeb's URL filter (Penedo et al., arXiv:2306.01116, appendix G.1) as in datatrove 0.10.1 URLFilter; "
        "differs: domains block all their hosts, addresses match without scheme, case of hosts and words is ignored"
    )
    requires = ("url",)
    reasons: ClassVar[dict[str, str]] = {
        "blocked_host": "the host, or a domain it is in, is on a list; detail: the list",
        "blocked_url": "the address is on a list; detail: the list",
        "blocked_extension": "the path ends like a file that is no text; detail: the list",
        "blocked_word": "a listed word is in the address (value: soft words found); detail: the list",
    }
    Config = UrlFilterConfig
    config: UrlFilterConfig

    def assets(self, base: Path) -> Mapping[str, Path]:
        """All list files."""
        from curate.stages.url_assets import BUNDLED, datatrove_files

        found: dict[str, Path] = {"default": BUNDLED} if "default" in self.config.lists else {}
        if "datatrove" in self.config.lists:
            found |= datatrove_files()
        c = self.config
        files = (c.host_files, c.url_files, c.extension_files, c.word_files, c.soft_word_files, c.subword_files)
        return found | {name: base / name for group in files for name in group}

    def open(self, context: Context) -> None:
        """Read the lists; ConfigError if one cannot be read."""
        from curate.kernels.urls import ALLOWED, EXTENSIONS, HOSTS, SOFT_WORDS, SUBWORDS, URLS, WORDS
        from curate.stages.url_lists import Lists

        c, lists = self.config, Lists()
        inline = {HOSTS: c.hosts, URLS: c.urls, EXTENSIONS: c.extensions, WORDS: c.words, SOFT_WORDS: c.soft_words}
        for kind, entries in (inline | {SUBWORDS: c.subwords, ALLOWED: c.allow_hosts}).items():
            lists.add(kind, "\n".join(entries).encode(), "config")
        files = {HOSTS: c.host_files, URLS: c.url_files, EXTENSIONS: c.extension_files, WORDS: c.word_files}
        for kind, paths in (files | {SOFT_WORDS: c.soft_word_files, SUBWORDS: c.subword_files}).items():
            for path in paths:
                lists.add_file(kind, context.base / path)
        if "default" in c.lists:
            lists.add_bundled()
        if "datatrove" in c.lists:
            lists.add_datatrove()
        self._tables, self._lengths, self._names = lists.tables(), lists.lengths, lists.names

    def process(self, batch: Batch) -> Batch:
        """The batch without documents whose address is on a list."""
        from curate.kernels.urls import EXTENSIONS, HOSTS, SOFT_WORDS, URLS

        kind, source, soft = self._match(batch.column("url"))
        reasons = np.full(len(batch), "blocked_word", object)
        reasons[kind == HOSTS] = "blocked_host"
        reasons[kind == URLS] = "blocked_url"
        reasons[kind == EXTENSIONS] = "blocked_extension"
        by_count = kind != SOFT_WORDS
        return batch.drop(
            kind >= 0,
            pa.array(reasons, pa.string()),
            value=pa.array(soft.astype(np.float64), mask=by_count),
            threshold=pa.array(np.full(len(batch), self.config.soft_word_count, np.float64), mask=by_count),
            detail=pa.array(np.array(self._names, object)[source], pa.string()),
        )

    def _match(self, urls: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """(kind or -1, list, soft words) per address."""
        from curate.kernels.urls import ODD, match_urls

        tables, count = (self._tables, self._lengths), self.config.soft_word_count
        found = match_urls(*string_buffers(urls), *tables, count)
        odd = np.flatnonzero(found.kind == ODD)
        if len(odd):
            plain = pa.array([_ascii_url(url) for url in urls.take(pa.array(odd)).to_pylist()], pa.string())
            again = match_urls(*string_buffers(plain), *tables, count)
            found.kind[odd] = np.where(again.kind == ODD, -1, again.kind)
            found.source[odd], found.soft[odd] = again.source, again.soft
        return found


def _ascii_url(url: str) -> str:
    """The address with its host in ASCII; where that cannot be, without the signs that stand in the way."""
    from curate.stages.url_lists import ascii_host

    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url.removeprefix("//")
    cut = min((rest.find(sign) for sign in "/?#\\" if sign in rest), default=len(rest))
    host = ascii_host(unquote(rest[:cut]).rpartition("@")[2])
    if not host.isascii() or "%" in host:
        host = host.encode("ascii", "ignore").decode().replace("%", "")
    return scheme + mark + host + rest[cut:]
