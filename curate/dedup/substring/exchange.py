"""Files between the passes over shards and the joins over key ranges: one row group per block of a shard and range.

A shard is worked off in blocks of bounded size. A file of a shard holds, for every block and every range of keys that
has any, one row group, so that a join reads its range of a file and nothing else. A file of a join holds one row per
block of a shard with a mask: bit ``i`` is the answer to row ``i`` of that row group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import VerificationError
from curate.store.digests import TableDigest
from curate.store.folder import Folder, writing
from curate.store.shards import Output

_ABOUT = "curate.exchange"
#: Masks of so many bytes stand in one row group.
_MASK_GROUP_BYTES = 4 << 20

ANSWERS = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("block", pa.int32(), nullable=False),
        pa.field("mask", pa.binary(), nullable=False),
        pa.field("mask_first", pa.binary(), nullable=False),
    ]
)

Flags = npt.NDArray[np.bool_]


class GroupWriter:
    """Writes a Parquet file one given row group at a time; it appears at ``close``, whole, or not at all.

    Args:
        delta: columns of integers that grow slowly, stored as differences.
        dictionary: columns with few values.
    """

    def __init__(
        self, folder: Folder, name: str, schema: pa.Schema, *, delta: Sequence[str] = (), dictionary: Sequence[str] = ()
    ) -> None:
        self._folder, self._name, self._schema = folder, name, schema
        self._digest, self._rows = TableDigest(schema), 0
        self._groups: list[list[int]] = []
        self._path = folder.temporary(name)
        small = {*delta, *dictionary}
        with writing(f"{folder.url}/{name}"):
            self._writer = pq.ParquetWriter(
                self._path, schema, write_page_checksum=True, use_dictionary=list(dictionary) or False,
                # hashes cannot be made smaller
                compression={f.name: "zstd" if f.name in small or not _is_hash(f) else "none" for f in schema},
                column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED") or None, write_statistics=False,
            )  # fmt: skip

    def write(self, columns: Sequence[Any], block: int, part: int = 0) -> None:
        """Add the columns as the row group of ``(block, part)``; no rows, no row group."""
        if not len(columns[0]):
            return
        arrays = [
            c if isinstance(c, pa.Array) else pa.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._digest.update(table)
        self._rows += table.num_rows
        self._groups.append([block, part])
        with writing(f"{self._folder.url}/{self._name}"):
            self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self, about: Mapping[str, Any]) -> Output:
        """Publish the file, with ``about`` and the places of its row groups in its metadata."""
        said = {**about, "groups": self._groups}
        with writing(f"{self._folder.url}/{self._name}"):
            self._writer.add_key_value_metadata({_ABOUT: json.dumps(said)})
            self._writer.close()
        size = self._path.stat().st_size
        self._folder.publish(self._path, self._name)
        return Output(self._name, self._rows, size, self._digest.hexdigest())

    def abandon(self) -> None:
        """Give the file up; nothing appears."""
        self._writer.close()
        self._folder.discard(self._path)


class GroupFile:
    """An open file of ``GroupWriter``.

    Attributes:
        about: what was given to ``close``.
    """

    def __init__(self, file: pq.ParquetFile, name: str) -> None:
        said = (file.metadata.metadata or {}).get(_ABOUT.encode())
        if said is None:
            raise VerificationError(f"{name} is no exchange file: it does not say where its row groups belong")
        self.about: dict[str, Any] = json.loads(said)
        self._file = file
        self._places = {(block, part): g for g, (block, part) in enumerate(self.about["groups"])}
        if len(self._places) != file.num_row_groups:
            raise VerificationError(f"{name}: {file.num_row_groups} row groups, {len(self._places)} were written")

    @property
    def blocks(self) -> int:
        """How many blocks the shard has."""
        return int(self.about["blocks"])

    def rows(self, block: int, part: int = 0) -> int:
        """Rows of that row group; 0 if there is none."""
        group = self._places.get((block, part))
        return 0 if group is None else int(self._file.metadata.row_group(group).num_rows)

    def read(self, block: int, part: int = 0, columns: list[str] | None = None) -> pa.Table:
        """The rows of that row group."""
        group = self._places.get((block, part))
        if group is None:
            schema = self._file.schema_arrow
            return (schema if columns is None else pa.schema([schema.field(c) for c in columns])).empty_table()
        return self._file.read_row_group(group, columns=columns, use_threads=False)


@contextmanager
def group_file(folder: Folder, name: str, partitions: int | None = None) -> Iterator[GroupFile]:
    """The file ``name``, open.

    Args:
        partitions: key ranges that it must have been written with.

    Raises:
        VerificationError: it is no such file, or was written with another number of ranges.
        FileNotFoundError: there is none.
    """
    with folder.parquet(name) as file:
        found = GroupFile(file, name)
        if partitions is not None and found.about.get("partitions") != partitions:
            raise VerificationError(
                f"{name} was written in {found.about.get('partitions')} key ranges, the join asks for {partitions}"
            )
        yield found


def write_answers(
    folder: Folder, name: str, answers: Sequence[tuple[str, int, Flags, Flags]], partition: int
) -> Output:
    """One row per (shard, block, mask, mask of firsts), in row groups of a few MB, of key range ``partition``."""
    writer = GroupWriter(folder, name, ANSWERS, dictionary=["shard", "block"])
    try:
        waiting: list[tuple[str, int, bytes, bytes]] = []
        size = group = 0
        for shard, block, mask, first in answers:
            waiting.append((shard, block, np.packbits(mask).tobytes(), np.packbits(first).tobytes()))
            size += len(waiting[-1][2]) * 2
            if size > _MASK_GROUP_BYTES:
                writer.write(list(zip(*waiting, strict=True)), group)
                waiting, size, group = [], 0, group + 1
        if waiting:
            writer.write(list(zip(*waiting, strict=True)), group)
        return writer.close({"partition": partition, "blocks": group + 1})
    except BaseException:
        writer.abandon()
        raise


@dataclass(frozen=True)
class Mask:
    """The answers to the rows of one block in one key range, a bit each."""

    rows: int
    packed: bytes
    packed_first: bytes

    def flags(self) -> Flags:
        """Per row: yes or no."""
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.rows).astype(np.bool_)

    def first(self) -> Flags:
        """Per row: is the first here."""
        return np.unpackbits(np.frombuffer(self.packed_first, np.uint8), count=self.rows).astype(np.bool_)


def read_answers(folder: Folder, name: str, shard: str, rows: Mapping[int, int]) -> dict[int, Mask]:
    """The masks of a shard's blocks, by block.

    Args:
        rows: how many rows each block has in this key range; blocks without any have no mask.

    Raises:
        VerificationError: a mask is missing or has another length.
    """
    found: dict[int, Mask] = {}
    with group_file(folder, name) as file:
        for group in range(file.blocks):
            ours = pc.equal(file.read(group, columns=["shard"])["shard"], shard)
            if not pc.any(ours).as_py():
                continue
            for row in file.read(group).filter(ours).to_pylist():
                count = rows.get(row["block"], 0)
                if len(row["mask"]) != -(-count // 8) or len(row["mask_first"]) != len(row["mask"]):
                    raise VerificationError(f"{name}: the mask of shard {shard}, block {row['block']} does not fit")
                found[row["block"]] = Mask(count, row["mask"], row["mask_first"])
    missing = [block for block, count in rows.items() if count and block not in found]
    if missing:
        raise VerificationError(f"{name}: no answer for shard {shard}, blocks {missing[:5]}")
    return found


def _is_hash(field: pa.Field) -> bool:
    return bool(field.type == pa.uint64())


def parts_of(keys: npt.NDArray[np.uint64], partitions: int) -> npt.NDArray[np.uint16]:
    """The key range of each key: its highest bits."""
    bits = partitions.bit_length() - 1
    if bits == 0:
        return np.zeros(len(keys), np.uint16)
    return (keys >> np.uint64(64 - bits)).astype(np.uint16)


def by_part(keys: npt.NDArray[np.uint64], partitions: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """``(order, borders)``: rows by key range, stable within; range ``k`` is ``order[borders[k]:borders[k + 1]]``."""
    parts = parts_of(keys, partitions)
    order = np.argsort(parts, kind="stable")
    borders = np.searchsorted(parts[order], np.arange(partitions + 1))
    return order.astype(np.int64), borders.astype(np.int64)
