"""Texts of a shard as units, slice by slice, and where the passes over them keep their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.substring.config import SubstringConfig
from curate.errors import VerificationError
from curate.kernels.strings import Bytes, Offsets, string_buffers
from curate.kernels.substring import Units, code_units, word_units

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]

#: Texts worked on at a time; a longer document stands alone. Costs up to 40 bytes per byte (units are bytes).
SLICE_BYTES = 4 << 20


#: What the passes write, see ``curate.dedup.substring``.
SEEDS = pa.schema([pa.field("seed", pa.uint64(), False), pa.field("count", pa.int64(), False)])
WINDOWS = pa.schema(
    [
        pa.field("a", pa.uint64(), False),
        pa.field("b", pa.uint64(), False),
        pa.field("count", pa.int64(), False),
        pa.field("id_high", pa.uint64(), False),
        pa.field("id_low", pa.uint64(), False),
    ]
)
PLACES = pa.schema(
    [
        pa.field("row", pa.int32(), False),
        pa.field("place", pa.int32(), False),
        pa.field("window", pa.int32(), False),
        pa.field("is_first", pa.bool_(), False),
    ]
)


@dataclass(frozen=True)
class Names:
    """Where the passes keep their files in the run's folder; ``{}`` is a shard or the number of a key range."""

    seeds: str = "steps/substring_seeds/{}.parquet"
    active: str = "steps/substring_active/{}.parquet"
    windows: str = "steps/substring_windows/{}.parquet"
    places: str = "steps/substring_windows/{}.places.parquet"
    repeats: str = "steps/substring_repeats/{}.parquet"


NAMES = Names()


def range_name(partition: int) -> str:
    """Name of a key range."""
    return f"range-{partition:04d}"


def units_of(data: Bytes, offsets: Offsets, config: SubstringConfig) -> Units:
    """The units of each text as the config counts them."""
    if config.unit == "words":
        return word_units(data, offsets)
    return code_units(data, offsets, by_byte=config.unit == "bytes")


@dataclass(frozen=True)
class Slice:
    """Some documents of a shard: their rows, their ids as two halves of 128 bits, their texts."""

    rows: I32
    id_high: U64
    id_low: U64
    data: Bytes
    offsets: Offsets


def slices(batches: Iterable[pa.RecordBatch], row: str = "row") -> Iterator[Slice]:
    """The documents of batches with ``id``, ``text`` and ``row``, at most ``SLICE_BYTES`` of text at a time."""
    for batch in batches:
        texts = batch.column(batch.schema.get_field_index("text"))
        rows = batch.column(batch.schema.get_field_index(row)).to_numpy()
        high, low = _id_halves(batch.column(batch.schema.get_field_index("id")))
        data, offsets = string_buffers(texts)
        start = 0
        while start < len(batch):
            stop = int(np.searchsorted(offsets, offsets[start] + SLICE_BYTES, side="right")) - 1
            stop = min(max(stop, start + 1), len(batch))
            part = slice(start, stop)
            yield Slice(rows[part].astype(np.int32), high[part], low[part], data, offsets[start : stop + 1])
            start = stop


def _id_halves(ids: pa.Array) -> tuple[U64, U64]:
    """Ids of 32 hex digits as two numbers, so that their order is that of the ids."""
    data, offsets = string_buffers(ids)
    if (np.diff(offsets) != 32).any():
        raise VerificationError("substring: an id is not 32 hex digits; ids come from curate.documents.document_id")
    raw = bytes.fromhex(data[offsets[0] : offsets[-1]].tobytes().decode("ascii"))
    halves = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 0].copy(), halves[:, 1].copy()
