"""The index of earlier runs: a folder of dumps, each a set of sealed files and the manifest that names them.

    <dump>/dump.json                                    written last; without it the dump does not exist
    <dump>/<generation>/<part>-signatures.parquet       survivors: ids, preferences, digests, lengths
    <dump>/<generation>/<part>-keys.parquet             their keys (``curate.dedup.keys``)
    <dump>/<generation>/<part>-shingles.parquet         their shingle sets (``SHINGLES``)

A part is a shard of the run. Rows of all three are counted through its survivors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.dedup.config import Plan
from curate.dedup.signatures import signing_parameters
from curate.documents import column
from curate.errors import ConfigError, VerificationError
from curate.store.digests import digest_json
from curate.store.folder import Folder
from curate.store.sections import Sealed, SectionReader
from curate.store.shards import Output

MANIFEST = "dump.json"
SIGNATURES, KEYS, SHINGLE_SETS = "signatures", "keys", "shingles"

_REMEDY = (
    "run the same command again if that dump was replaced meanwhile; else take it back from a copy, or delete its dump "
    "and run the run that made it again"
)

#: Documents in a section of a shingle file.
SECTION_ROWS = 2048

SHINGLES = pa.schema(
    [
        column("row", pa.int32(), "row of the document among the survivors of its part", nullable=False),
        column("shingles", pa.binary(), "sorted hashes of its shingle set, little-endian", nullable=False),
    ]
)


@dataclass(frozen=True)
class Part:
    """One shard's survivors.

    Attributes:
        name: of the shard.
        rows: survivors.
        files: ``SIGNATURES``, ``KEYS`` and (with minhash) ``SHINGLE_SETS`` → the file, as it lies in the index.
    """

    name: str
    rows: int
    files: dict[str, Sealed]


@dataclass(frozen=True)
class Dump:
    """An earlier run in the index.

    Attributes:
        name: of the dump.
        run: digest that tells the run that made it.
        signed_with: as in ``signing_parameters``.
        evidence_bits: of each shingle hash.
        against: the dumps that it was compared with: name → digest.
        parts: shards.
        digest: of all that the manifest says.
    """

    name: str
    run: str
    signed_with: str
    evidence_bits: int
    against: dict[str, str]
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        """32 hex digits; equal for equal dumps."""
        return digest_json(asdict(self))

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"schema": 1, **asdict(self), "digest": self.digest}

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Dump:
        """The inverse of ``to_json``; ValueError if the digest is not that of the rest."""
        parts = tuple(
            Part(p["name"], p["rows"], {k: Sealed(Output(**f["output"]), f["seal"]) for k, f in p["files"].items()})
            for p in raw["parts"]
        )
        dump = Dump(raw["name"], raw["run"], raw["signed_with"], raw["evidence_bits"], raw["against"], parts)
        if raw["schema"] != 1 or dump.digest != raw["digest"]:
            raise ValueError("digest")
        return dump


def read_dump(folder: Folder, name: str) -> Dump | None:
    """The dump of this name; None if it was never published.

    Raises:
        VerificationError: its manifest is damaged.
    """
    place = f"{name}/{MANIFEST}"
    if not folder.exists(place):
        return None
    try:
        found = Dump.from_json(json.loads(folder.read(place)))
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationError(f"{folder.url}/{place} is damaged: {_REMEDY}") from error
    if found.name != name:
        raise VerificationError(
            f"{folder.url}/{place} is the manifest of the dump {found.name}: give it its folder back"
        )
    return found


def read_dumps(folder: Folder, without: str) -> list[Dump]:
    """All dumps but one, by name.

    Raises:
        VerificationError: a manifest is damaged, or a folder has none: a dump that is not read would be no duplicates.
    """
    found = []
    for name in folder.folders(""):
        if name == without or name.startswith("."):
            continue
        dump = read_dump(folder, name)
        if dump is None:
            raise VerificationError(
                f"{folder.url}/{name} has no {MANIFEST}: its run was stopped while it published, or is at it now, or "
                "the file is lost. Wait for that run, run it again, or delete the folder"
            )
        found.append(dump)
    return sorted(found, key=lambda dump: dump.name)


def check_dumps(dumps: Iterable[Dump], plan: Plan, evidence_bits: int) -> None:
    """ConfigError unless all dumps were signed as ``plan`` asks."""
    wanted = signing_parameters(plan)
    for dump in dumps:
        if dump.signed_with != wanted:
            raise ConfigError(
                f"dedup.index: the dump {dump.name} was signed with {dump.signed_with}, the config asks for {wanted}: "
                "give the config its options back, or begin another index (dedup.index.path)"
            )
        if dump.evidence_bits != evidence_bits:
            raise ConfigError(
                f"dedup.index: the dump {dump.name} keeps {dump.evidence_bits} bits of a shingle, the config asks for "
                f"{evidence_bits}: set dedup.index.evidence_bits to {dump.evidence_bits}, or begin another index"
            )


def publish(folder: Folder, dump: Dump, sources: Folder) -> Dump:
    """Copy the files of ``dump``, which lie in ``sources``, into the index; the manifest last, what it replaces after.

    Returns:
        The dump with the places that its files have now.

    Raises:
        ConfigError: another run made a dump of this name.
        VerificationError: a file is not what was sealed.
    """
    check_owner(folder, dump.name, dump.run)
    generation = dump.digest[:16]
    parts = []
    for part in dump.parts:
        files = {}
        for kind, sealed in part.files.items():
            name = f"{dump.name}/{generation}/{part.name}-{kind}.parquet"
            with SectionReader(sources, sealed.output.path, sealed) as reader:
                reader.check()
            _copy(sources, sealed.output.path, folder, name)
            output = Output(name, sealed.output.rows, sealed.output.bytes, sealed.output.digest)
            files[kind] = Sealed(output, sealed.seal)
        parts.append(Part(part.name, part.rows, files))
    placed = Dump(dump.name, dump.run, dump.signed_with, dump.evidence_bits, dump.against, tuple(parts))
    folder.write(f"{dump.name}/{MANIFEST}", json.dumps(placed.to_json(), indent=1, sort_keys=True).encode("utf-8"))
    for other in folder.folders(dump.name):
        if other != generation:
            for name in folder.names(f"{dump.name}/{other}"):
                folder.remove(name)
    return placed


def check_owner(folder: Folder, name: str, run: str) -> None:
    """ConfigError if another run made the dump of this name."""
    there = read_dump(folder, name)
    if there is not None and there.run != run:
        raise ConfigError(
            f"dedup.index: {folder.url} holds a dump {name} of another run (of another output folder): choose another "
            "dedup.index.name, or delete that dump"
        )


def opened(folder: Folder, part: Part, kind: str) -> SectionReader:
    """A file of a dump, to be opened."""
    sealed = part.files.get(kind)
    if sealed is None:
        raise VerificationError(f"{folder.url}: part {part.name} of a dump has no {kind}; {_REMEDY}")
    return SectionReader(folder, sealed.output.path, sealed, _REMEDY)


def _copy(source: Folder, name: str, target: Folder, place: str) -> None:
    def make(path: Path) -> None:
        with source.opened(name) as file, path.open("wb") as out:
            while piece := file.read(8 << 20):
                out.write(piece)

    target.write_with(place, make)
