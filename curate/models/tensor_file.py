"""safetensors, NumPy and FAISS files: headers that are read as data and must account for every byte."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import ModelError
from curate.models.binary import Reader

_MAX_HEADER = 100_000_000
_MAX_NPZ_BYTES = 8 << 30
_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8,
}  # fmt: skip
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<f4"}
#: flat indexes: fourcc → True if the vectors are stored as plain float32
_FLAT = (b"IxF2", b"IxFI", b"IxFl")


def check_safetensors(path: Path) -> None:
    """Raise ModelError unless header, offsets, dtypes and values of a safetensors file are sound.

    Stricter than the library (which lets duplicate keys and NaN pass): header of at most 100 MB, no duplicate key,
    offsets that tile the buffer without gap or overlap, sizes that fit shape and dtype, all values finite.
    """
    with Reader(path) as reader:
        (length,) = reader.take("Q", "header length")
        if length > _MAX_HEADER or length > reader.size - reader.at:
            raise reader.refuse(f"header of {length} bytes (at most {_MAX_HEADER} and no more than the file)")
        header = _header(reader, int(length))
        start = reader.at + length
        reader.at = start
        for begin, end, name, dtype in sorted(_tensors(reader, header)):
            if reader.at != start + begin:
                raise reader.refuse(f"tensor {name!r} starts at {begin}, the one before ends at {reader.at - start}")
            _check_values(reader, dtype, end - begin, name)
        reader.end()


def _header(reader: Reader, length: int) -> dict[str, Any]:
    try:
        header = json.loads(reader.map[reader.at : reader.at + length], object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise reader.refuse("the header is not JSON, or repeats a key") from None
    if not isinstance(header, dict):
        raise reader.refuse("the header is not a JSON object")
    return header


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _tensors(reader: Reader, header: dict[str, Any]) -> list[tuple[int, int, str, str]]:
    """(begin, end, name, dtype) of every tensor; sizes must fit shapes."""
    found = []
    for name, entry in header.items():
        if name == "__metadata__":
            if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
                raise reader.refuse("__metadata__ must map strings to strings")
            continue
        begin, end, dtype, count = _entry(reader, name, entry)
        if end - begin != count * _BYTES[dtype] or begin < 0:
            raise reader.refuse(f"tensor {name!r}: {end - begin} bytes for {count} values of {dtype}")
        found.append((begin, end, name, dtype))
    return found


def _entry(reader: Reader, name: str, entry: Any) -> tuple[int, int, str, int]:
    """(begin, end, dtype, number of values) of one entry of the header."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise reader.refuse(f"tensor {name!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in _BYTES:
        raise reader.refuse(f"tensor {name!r} has an unknown dtype")
    sizes = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [None]
    if not all(type(v) is int and v >= 0 for v in sizes) or len(offsets) != 2 or len(shape) > 32:
        raise reader.refuse(f"tensor {name!r} has a malformed shape or offsets")
    count = 1
    for side in shape:
        count *= side
    return offsets[0], offsets[1], dtype, count


def _check_values(reader: Reader, dtype: str, size: int, name: str) -> None:
    """Step over the values of one tensor; floats must be finite."""
    what = f"tensor {name!r}"
    if dtype in _FLOATS:
        reader.skip_finite(size // np.dtype(_FLOATS[dtype]).itemsize, what, _FLOATS[dtype])
    elif dtype == "BF16":
        reader.need(size, what)
        bits = np.frombuffer(reader.map[reader.at : reader.at + size], "<u2")
        if bool(((bits & 0x7F80) == 0x7F80).any()):  # an exponent of all ones is infinite or NaN
            raise reader.refuse(f"{what} holds NaN or infinite values")
        reader.at += size
    else:
        reader.skip(size, what)


def check_npy(path: Path) -> None:
    """Raise ModelError unless ``path`` is one .npy array of plain, finite numbers that ends with the file."""
    with path.open("rb") as file:
        dtype, size = _npy_header(file, str(path))
        start = file.tell()
    if path.stat().st_size - start != size:
        raise ModelError(f"{path}: model refused: {path.stat().st_size - start} bytes of data, header promises {size}")
    if dtype.kind in "fc" and size:
        width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        with Reader(path) as reader:
            reader.at = start
            reader.skip_finite(size // width, "the array", f"{dtype.str[0]}f{width}")


def _npy_header(file: Any, where: str) -> tuple[np.dtype[Any], int]:
    """(dtype, bytes of data) of the array that starts here; object arrays are refused."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, EOFError, SyntaxError, TypeError):
        raise ModelError(f"{where}: model refused: not a readable .npy header") from None
    if dtype.hasobject or dtype.kind not in "biufcSU":
        raise ModelError(f"{where}: model refused: an array of Python objects would run code when loaded")
    count = 1
    for side in shape:
        count *= side
    return dtype, count * dtype.itemsize


def check_npz(path: Path) -> None:
    """Raise ModelError unless every member of the archive is a plain .npy array of the size that its header says."""
    try:
        with zipfile.ZipFile(path) as archive:
            total = 0
            for member in archive.infolist():
                total += member.file_size
                if not member.filename.endswith(".npy") or total > _MAX_NPZ_BYTES:
                    raise ModelError(f"{path}: model refused: the archive holds more than arrays, or more than 8 GiB")
                with archive.open(member) as file:
                    _, size = _npy_header(file, f"{path}, member {member.filename[:80]!r}")
                    if member.file_size - file.tell() != size:
                        raise ModelError(f"{path}: model refused: an array does not fill its member")
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError):
        raise ModelError(f"{path}: model refused: not a readable archive of arrays") from None


def check_faiss(path: Path) -> None:
    """Raise ModelError unless the header of a FAISS index is possible for the length of its file.

    Flat indexes are checked to the last byte. Other kinds have no layout of their own here: dimension and count must
    be possible, and ``check_model`` asks for a digest.
    """
    with Reader(path) as reader:
        reader.skip(4, "kind")
        kind = reader.map[:4]
        dim, count, _, _, trained, metric = reader.take("iqqqBi", "index header")
        if not 1 <= dim <= 1 << 20 or count < 0 or trained > 1 or not 0 <= metric <= 64:
            raise reader.refuse(f"dimension {dim}, {count} vectors, metric {metric}")
        if count > reader.size:  # even binary codes take a byte each
            raise reader.refuse(f"{count} vectors in a file of {reader.size} bytes")
        if kind not in _FLAT:
            return
        if metric > 1:
            reader.skip_finite(1, "metric argument")
        (values,) = reader.take("Q", "vector length")
        if values != count * dim:
            raise reader.refuse(f"{values} values for {count} vectors of {dim}")
        reader.skip_finite(values, "the vectors")
        reader.end()


def is_faiss(head: bytes) -> bool:
    """True if the file starts like a FAISS index."""
    return head[:2] in (b"Ix", b"Iw", b"IH", b"Im", b"IN") and head[:4].isalnum()
