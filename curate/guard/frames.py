"""What parent and child of a guard say to each other: framed Arrow IPC and JSON, and a progress counter they share."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import pyarrow as pa

_HEAD = struct.Struct("<cQ")

#: frames from the parent
SETUP, REQUEST = b"C", b"Q"
#: frames from the child
READY, BROKEN, RESULTS, DONE = b"S", b"E", b"R", b"D"

#: shared counter: row in work (-1: none), resident bytes when the batch began
PROGRESS = struct.Struct("<qq")

#: columns that the child adds to the results
ROW, ERROR, DETAIL = "_row", "_error", "_detail"


class ItemError(Exception):
    """Raised by a guarded function to fail one item with a code of its own; ``detail`` must quote no document."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


def send(fd: int, kind: bytes, payload: bytes | memoryview | pa.Buffer) -> None:
    """Write one frame; BrokenPipeError if the other side is gone."""
    view = memoryview(payload).cast("B")
    _write(fd, memoryview(_HEAD.pack(kind, len(view))))
    _write(fd, view)


def _write(fd: int, view: memoryview) -> None:
    while len(view):
        view = view[os.write(fd, view) :]


def receive(fd: int, wait: Callable[[], None] | None = None) -> tuple[bytes, bytearray]:
    """The next frame; EOFError if the other side is gone. ``wait`` is called before each read that may block."""
    kind, size = _HEAD.unpack(_read(fd, _HEAD.size, wait))
    return kind, _read(fd, size, wait)


def _read(fd: int, size: int, wait: Callable[[], None] | None) -> bytearray:
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        if wait is not None:
            wait()
        got = os.readv(fd, [view[at:]])
        if got == 0:
            raise EOFError
        at += got
    return data


def pack(batch: pa.RecordBatch) -> pa.Buffer:
    """A record batch as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def unpack(payload: bytearray) -> pa.RecordBatch:
    """The record batch of ``pack``; its columns are views of ``payload``."""
    with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
        return reader.read_next_batch()
