"""Reading a binary model file field by field, with every read bounded by the file's end."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from curate.errors import ModelError

#: values tested for NaN and infinity at a time
_FINITE_STEP = 1 << 22


class Reader:
    """A cursor over a memory-mapped file. Every ``take_*`` raises ModelError where the file ends too early."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.at = 0
        if self.size == 0:
            raise ModelError(f"{path}: model refused: the file is empty; fetch it again")
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.map.close()

    def refuse(self, why: str) -> ModelError:
        """The error for this file: what is wrong, at which byte, what to do."""
        return ModelError(
            f"{self.path}: model refused at byte {self.at}: {why}; fetch the file again or check its source"
        )

    def need(self, size: int, what: str) -> None:
        """Raise unless ``size`` more bytes are there."""
        if size < 0 or self.at + size > self.size:
            raise self.refuse(f"{what} needs {size} bytes, {self.size - self.at} are left")

    def take(self, layout: str, what: str) -> tuple[int, ...]:
        """Unpack little-endian fields and step over them."""
        size = struct.calcsize("<" + layout)
        self.need(size, what)
        values = struct.unpack_from("<" + layout, self.map, self.at)
        self.at += size
        return values

    def skip(self, size: int, what: str) -> None:
        """Step over ``size`` bytes that must be there."""
        self.need(size, what)
        self.at += size

    def take_array(self, dtype: str, count: int, what: str) -> npt.NDArray[np.generic]:
        """A copy of ``count`` values; only for small arrays."""
        size = count * np.dtype(dtype).itemsize
        self.need(size, what)
        values = np.frombuffer(self.map, dtype, count, self.at).copy()
        self.at += size
        return values

    def skip_finite(self, count: int, what: str, dtype: str = "<f4") -> None:
        """Step over ``count`` floats, all of which must be finite."""
        width = np.dtype(dtype).itemsize
        self.need(count * width, what)
        for start in range(0, count, _FINITE_STEP):
            n = min(_FINITE_STEP, count - start)
            values = np.frombuffer(self.map, dtype, n, self.at + start * width)
            whole = bool(np.isfinite(values).all())
            del values  # a view left alive would keep the map from closing
            if not whole:
                raise self.refuse(f"{what} holds NaN or infinite values")
        self.at += count * width

    def end(self) -> None:
        """Raise unless the file ends here."""
        if self.at != self.size:
            raise self.refuse(f"{self.size - self.at} bytes follow the end of the model")
