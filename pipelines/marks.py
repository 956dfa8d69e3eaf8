"""Where a worker is, readable from outside: a small file that the worker maps and the launcher looks at.

When a worker dies, its mark says which batch, which document and which stage it was in; while it lives, the mark gives
the progress line. Writing a mark is a store into shared memory, no system call.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_FORM = struct.Struct("<qqqqqqq32s")


@dataclass(frozen=True)
class Mark:
    """What a worker last said.

    Attributes:
        task: running number of the task in this worker.
        batch: number of the batch in work, −1 outside batches.
        document: number of the document within that batch when they are done one by one, else −1.
        stage: number of the stage in the chain, −1 outside.
        documents, kept, bytes: done so far in this task.
        id: id of the document in work when they are done one by one, else empty.
    """

    task: int = -1
    batch: int = -1
    document: int = -1
    stage: int = -1
    documents: int = 0
    kept: int = 0
    bytes: int = 0
    id: str = ""


class MarkFile:
    """The shared mark of one worker."""

    def __init__(self, path: Path | None) -> None:
        self._map: mmap.mmap | None = None
        if path is not None:
            if not path.exists():
                path.write_bytes(_FORM.pack(-1, -1, -1, -1, 0, 0, 0, b""))
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), _FORM.size)

    def write(self, mark: Mark) -> None:
        """Say where the worker is."""
        if self._map is not None:
            self._map[:] = _FORM.pack(
                mark.task, mark.batch, mark.document, mark.stage, mark.documents, mark.kept, mark.bytes,
                mark.id.encode("ascii"),
            )  # fmt: skip

    def read(self) -> Mark:
        """Where the worker last was."""
        if self._map is None:
            return Mark()
        task, batch, document, stage, documents, kept, size, id_ = _FORM.unpack(self._map[:])
        return Mark(task, batch, document, stage, documents, kept, size, id_.rstrip(b"\0").decode("ascii", "replace"))

    def close(self) -> None:
        """Unmap the file."""
        if self._map is not None:
            self._map.close()
            self._map = None
