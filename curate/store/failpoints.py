"""Named places where a test can make the program fail.

``CURATE_FAILPOINT="store.before_rename:kill"`` ends the process with SIGKILL the first time that place is reached;
``name:action@n`` waits for the n-th time. Several are separated by ``;``. Without the variable a failpoint costs one
comparison. Actions: ``kill``, ``term``, ``segv``, ``enospc``, ``eio``, ``hang`` (burns CPU for ever), ``exit``.

A failpoint may be limited to one document: ``name:action@id=HEX``; it then fires whenever that document passes,
which is how tests make a "document that kills its worker".
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable

#: every failpoint in the code, with where it stands; a test checks that each is reached
FAILPOINTS = {
    "store.before_write": "before the first byte of a file goes to its temporary name",
    "store.before_rename": "after fsync of the temporary file, before it gets its final name",
    "store.after_rename": "after the rename, before the folder is synced",
    "receipt.before": "all outputs of a task stand, its receipt does not",
    "receipt.after": "the receipt stands, the launcher has not heard of it",
    "pass.batch": "before a batch enters the first stage",
    "pass.document": "a batch that holds a given document enters the first stage",
    "step.start": "a task begins",
    "run.between_steps": "the scheduler found a step complete",
    "lock.taken": "the run holds its lock and has not begun",
}

_ARMED: dict[str, tuple[str, int, str | None]] = {}
_HITS: dict[str, int] = {}


def arm(spec: str) -> None:
    """Set the failpoints from ``spec``; ValueError for a name that does not exist."""
    _ARMED.clear()
    _HITS.clear()
    for part in filter(None, (p.strip() for p in spec.split(";"))):
        name, _, action = part.partition(":")
        if name not in FAILPOINTS:
            raise ValueError(f"no failpoint {name!r}; there are {sorted(FAILPOINTS)}")
        action, _, when = action.partition("@")
        document = when.removeprefix("id=") if when.startswith("id=") else None
        _ARMED[name] = (action, int(when) if when and document is None else 1, document)


arm(os.environ.get("CURATE_FAILPOINT", ""))


def failpoint(name: str, documents: Iterable[str | None] = ()) -> None:
    """Fail here if a test asked for it."""
    if not _ARMED or name not in _ARMED:
        return
    action, nth, document = _ARMED[name]
    if document is not None:
        if document not in set(documents):
            return
    else:
        _HITS[name] = _HITS.get(name, 0) + 1
        if _HITS[name] != nth:
            return
    _act(action)


def _act(action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif action == "segv":
        import ctypes

        ctypes.string_at(0)
    elif action == "enospc":
        raise OSError(errno.ENOSPC, "No space left on device (failpoint)")
    elif action == "eio":
        raise OSError(errno.EIO, "Input/output error (failpoint)")
    elif action == "exit":
        os._exit(9)
    elif action == "hang":
        while True:
            pass
    else:
        raise ValueError(f"failpoint action {action!r}: use kill, term, segv, enospc, eio, hang or exit")
