"""Documents that somebody asked to leave out: lists of ids, addresses and domains, matched against identities.

Row 8 of what an open corpus owes (Min et al. 2023, SILO): what is asked to go must be removable after the fact, with
all that was made from it. This module reads the lists and says which documents they name, by which entry.
"""

from __future__ import annotations

import gzip
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.exact import normalise_url
from curate.documents import column
from curate.errors import ConfigError

#: kinds of list in the order in which a match is told: the first that names a document is recorded
KINDS = ("id", "url", "domain")

LABELS = pa.schema(
    [
        column("opt_out_listed", pa.bool_(), "an opt-out list names the document", nullable=False),
        column("opt_out_by", pa.string(), "kind of the list that names it: id, url or domain; null if none does"),
        column("opt_out_entry", pa.string(), "that entry, as `list:line`; null if none does"),
    ]
)

_MAX_BYTES = 4 << 30
_DOTS = str.maketrans({"。": ".", "．": ".", "｡": "."})
_FIRST_LABEL = r"^[^.]*\.?"


@dataclass(frozen=True)
class OptOutList:
    """One list file: where it is, what its lines are, and how messages call it."""

    kind: str
    name: str
    path: Path


@dataclass(frozen=True)
class Entries:
    """All entries of one kind, each key once.

    Attributes:
        keys: large_string, normalised; position is the entry's number.
        places: ``list:line`` of each, of its first occurrence.
        lists: per entry the number of its list.
    """

    keys: pa.Array
    places: pa.Array
    lists: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Matches:
    """What the lists say of some documents.

    Attributes:
        labels: columns of ``LABELS``.
        counts: kind → documents per entry, for every entry that matches, also where another is recorded.
    """

    labels: pa.RecordBatch
    counts: dict[str, npt.NDArray[np.int64]]


class OptOut:
    """Opt-out lists, read and ready to match. Memory: the entries, about 100 bytes each."""

    def __init__(self, lists: Sequence[OptOutList]) -> None:
        """Read all lists; ConfigError if one cannot be read."""
        self.lists = tuple(lists)
        #: lines with an entry, per list
        self.lines = [0] * len(self.lists)
        self.entries: Mapping[str, Entries] = {kind: self._entries(kind) for kind in KINDS}

    def match(self, ids: pa.Array, source_ids: pa.Array, urls: pa.Array) -> Matches:
        """Which of these documents are named, by what.

        Args:
            ids, source_ids, urls: one per document; null where a document has none.
        """
        found: dict[str, list[npt.NDArray[np.int64]]] = {
            "id": [_places_in(ids, self.entries["id"]), _places_in(source_ids, self.entries["id"])],
            "url": [], "domain": [],
        }  # fmt: skip
        if len(self.entries["url"].keys) or len(self.entries["domain"].keys):
            addresses = [None if url is None else address(url) for url in urls.to_pylist()]
            found["url"] = [_places_in(pa.array(addresses, pa.large_string()), self.entries["url"])]
            found["domain"] = _domain_places(addresses, self.entries["domain"])
        return Matches(self._labels(len(ids), found), {k: self._counted(k, rounds) for k, rounds in found.items()})

    def _labels(self, n: int, found: Mapping[str, list[npt.NDArray[np.int64]]]) -> pa.RecordBatch:
        listed = np.zeros(n, np.bool_)
        kinds: npt.NDArray[np.object_] = np.full(n, None, object)
        places: npt.NDArray[np.object_] = np.full(n, None, object)
        for kind in KINDS:
            for at in found[kind]:
                new = np.flatnonzero((at >= 0) & ~listed)
                listed[new] = True
                kinds[new] = kind
                places[new] = self.entries[kind].places.take(pa.array(at[new])).to_pylist()
        told = [pa.array(listed), pa.array(kinds, pa.string()), pa.array(places, pa.string())]
        return pa.RecordBatch.from_arrays(told, schema=LABELS)

    def _counted(self, kind: str, rounds: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Documents per entry; a document that an entry names by its id and its source id counts once."""
        size = len(self.entries[kind].keys)
        if not rounds or not size:
            return np.zeros(size, np.int64)
        pairs = np.concatenate([np.flatnonzero(at >= 0) * size + at[at >= 0] for at in rounds])
        return np.bincount(np.unique(pairs) % size, minlength=size).astype(np.int64)

    def _entries(self, kind: str) -> Entries:
        keys: dict[str, tuple[str, int]] = {}
        for number, one in enumerate(self.lists):
            if one.kind != kind:
                continue
            for line, text in _lines(one):
                self.lines[number] += 1
                key = _KEYS[kind](text)
                if not key:
                    raise ConfigError(f"opt_out.{kind}s: {one.name}, line {line} names nothing: mend or remove it")
                keys.setdefault(key, (f"{one.name}:{line}", number))
        places = pa.array([place for place, _ in keys.values()], pa.string())
        lists = np.array([number for _, number in keys.values()], np.int32)
        return Entries(pa.array(list(keys), pa.large_string()), places, lists)


def address(url: str) -> str:
    """``normalise_url`` of the address, with its host in one spelling; https is taken where no scheme is written."""
    url = url.strip()
    plain = normalise_url(url if "://" in url else f"https://{url.removeprefix('//')}")
    scheme, _, rest = plain.partition("://")
    host, path = _cut(rest)
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    folded = _folded(name.rpartition("@")[2])
    return f"{scheme}://{folded}{':' + port if port else ''}{path}"


def domain(entry: str) -> str:
    """The host of an entry (a bare domain, ``*.domain`` or an address), in the spelling that ``address`` gives hosts.

    Letters in lower case and compatibility forms replaced (NFKC), names in other scripts in the form of DNS
    (``xn--``): near to UTS 46 without transitional mapping, so that ``straße.de`` and ``strasse.de`` are two.
    """
    return _host(address(entry.strip().removeprefix("*").removeprefix(".")))


def _host(normal: str) -> str:
    """The host of what ``address`` gave, without its port."""
    host = _cut(normal.partition("://")[2])[0]
    return host if host.endswith("]") else host.partition(":")[0]


def _cut(rest: str) -> tuple[str, str]:
    """Host with port, and what follows."""
    end = min((rest.find(sign) for sign in "/?#\\" if sign in rest), default=len(rest))
    return rest[:end], rest[end:]


def _folded(host: str) -> str:
    if host.isascii() and "%" not in host:
        return host.lower().rstrip(".")
    whole = unicodedata.normalize("NFKC", unquote(host).translate(_DOTS)).lower().rstrip(".")
    labels = (unicodedata.normalize("NFC", label) for label in whole.split("."))
    return ".".join(one if one.isascii() else f"xn--{one.encode('punycode').decode('ascii')}" for one in labels)


def _id(text: str) -> str:
    """An id of ours may be written in capitals; other ids stay as they are."""
    lower = text.lower()
    return lower if len(text) == 32 and not lower.strip("0123456789abcdef") else text


_KEYS = {"id": _id, "url": address, "domain": domain}


def _places_in(values: pa.Array, entries: Entries) -> npt.NDArray[np.int64]:
    """Per value the number of its entry, or -1."""
    if not len(entries.keys):
        return np.full(len(values), -1, np.int64)
    found = pc.index_in(pc.cast(values, pa.large_string()), value_set=entries.keys, skip_nulls=True)
    places: npt.NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def _domain_places(addresses: Sequence[str | None], entries: Entries) -> list[npt.NDArray[np.int64]]:
    """One array per level of domains, hosts themselves first: so the most special entry is told."""
    hosts = pa.array([None if a is None else _host(a) for a in addresses], pa.large_string())
    rounds = []
    while len(entries.keys) and pc.any(pc.greater(pc.binary_length(hosts), 0)).as_py():
        rounds.append(_places_in(hosts, entries))
        hosts = pc.replace_substring_regex(hosts, _FIRST_LABEL, "")
    return rounds


def _lines(one: OptOutList) -> list[tuple[int, str]]:
    """Line numbers and entries of a list; blank lines and lines that begin with ``#`` are no entries."""
    try:
        content = one.path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            with gzip.open(one.path) as file:
                content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"opt_out.{one.kind}s: {one.name} is larger than {_MAX_BYTES >> 30} GiB; split it")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"opt_out.{one.kind}s: {one.name}, line {line} is not UTF-8: write the list anew") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"opt_out.{one.kind}s: list {one.name} cannot be read ({reason})") from None
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]
