"""Block lists for ``url_filter``: bundled, the user's own, and those inside datatrove, read into hashes."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError
from curate.kernels.urls import (
    ALLOWED,
    EXTENSIONS,
    HOSTS,
    N_KINDS,
    SOFT_WORDS,
    SUBWORDS,
    URLS,
    WORDS,
    HashList,
    hash_lines,
)
from curate.stages.url_assets import BUNDLED, DATATROVE_TAR, datatrove_assets

_SECTIONS = {"extensions": EXTENSIONS, "words": WORDS, "hosts": HOSTS, "urls": URLS}
_DATATROVE = {"banned_words.txt": WORDS, "soft_banned_words.txt": SOFT_WORDS, "banned_subwords.txt": SUBWORDS}
_MEMBERS = {"domains": HOSTS, "urls": URLS}
#: largest list file, decompressed
_MAX_BYTES = 4 << 30


class Lists:
    """Entries by kind, each with the name of the list it came from."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lengths: list[int] = []
        self._parts: list[list[tuple[npt.NDArray[np.uint64], int]]] = [[] for _ in range(N_KINDS)]

    def add(self, kind: int, content: bytes, name: str, *, dotted: bool = False) -> None:
        """The lines of ``content`` as entries of one kind; with ``dotted`` hosts without a dot are left out."""
        if name not in self.names:
            self.names.append(name)
        data = np.frombuffer(_ascii_hosts(content) if kind in (HOSTS, ALLOWED) else content, np.uint8)
        keys, lengths = hash_lines(data, kind, dotted=dotted)
        self._parts[kind].append((keys, self.names.index(name)))
        if kind == SUBWORDS:
            self.lengths += np.unique(lengths).tolist()

    def tables(self) -> list[HashList]:
        """One table per kind."""
        return [HashList.merge(parts) for parts in self._parts]

    def add_bundled(self) -> None:
        """The short list that comes with curate."""
        section, lines = "", dict[str, list[str]]()
        for line in BUNDLED.read_text("utf-8").splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif section:
                lines.setdefault(section, []).append(line)
        for name, entries in lines.items():
            self.add(_SECTIONS[name], "\n".join(entries).encode(), "default")

    def add_datatrove(self) -> None:
        """The lists inside the installed datatrove, read where they lie (about two seconds, 36 MB)."""
        folder = datatrove_assets()
        for file, kind in _DATATROVE.items():
            self.add(kind, _alphanumeric((folder / file).read_bytes()), "datatrove")
        with tarfile.open(folder / DATATROVE_TAR, "r:gz") as archive:
            for member in archive:
                opened = archive.extractfile(member) if member.name in _MEMBERS else None
                if opened is not None:
                    kind = _MEMBERS[member.name]
                    self.add(kind, opened.read(), "datatrove", dotted=True)

    def add_file(self, kind: int, path: Path) -> None:
        """A list of the user, plain or gzip; ConfigError if it cannot be read."""
        try:
            content = path.read_bytes()
            if content[:2] == b"\x1f\x8b":
                content = _gunzip(path)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigError(f"stages.url_filter: list {path} cannot be read ({type(error).__name__})") from None
        self.add(kind, content, path.name)


def _gunzip(path: Path) -> bytes:
    with gzip.open(path) as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"stages.url_filter: list {path} is larger than {_MAX_BYTES >> 30} GiB")
    return content


def _alphanumeric(content: bytes) -> bytes:
    """Entries without what is no letter or digit, as datatrove compares them."""
    lines = (line for line in content.splitlines() if not line.startswith(b"#"))
    return b"\n".join(bytes(c for c in line if chr(c).isalnum() and c < 128) for line in lines)


def _ascii_hosts(content: bytes) -> bytes:
    """Hosts with names in other scripts in their ASCII form."""
    if content.isascii():
        return content
    lines = content.decode("utf-8", "replace").split("\n")
    return "\n".join(
        line if line.isascii() or line.lstrip()[:1] in "#!" else ascii_host(line) for line in lines
    ).encode("utf-8")


def ascii_host(host: str) -> str:
    """The host in the form of DNS (``xn--…``); as it is where it has none."""
    try:
        return host.strip().encode("idna").decode("ascii")
    except UnicodeError:
        return host.strip()
