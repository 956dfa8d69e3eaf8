"""Runs a server in a process group of its own and ends the whole group when its own parent is gone.

    python -I keeper.py STOP_SECONDS DESCRIPTOR PROGRAM [ARGUMENT …]

Its standard input is a pipe whose other end the parent holds: it closes when the parent ends, however that happens. The
number of the group is written to DESCRIPTOR, so that the parent can end it should the keeper itself be killed; the
server then gets SIGTERM from the kernel.
Standard library only, so that it starts in no time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def main() -> int:
    """The server's exit status, negative for signals turned into 128 + signal."""
    stop_s, told = float(sys.argv[1]), int(sys.argv[2])
    libc = ctypes.CDLL(None)
    # The server must not hold our pipe, else nobody would ever see it close. There is one thread so far.
    server = subprocess.Popen(
        sys.argv[3:], stdin=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),  # noqa: PLW1509 -- one thread
    )  # fmt: skip
    os.write(told, str(server.pid).encode())
    os.close(told)

    def end() -> None:
        _signal_group(server.pid, signal.SIGTERM)
        try:
            server.wait(stop_s)
        except subprocess.TimeoutExpired:
            _signal_group(server.pid, signal.SIGKILL)

    def watch_parent() -> None:
        while os.read(0, 1):
            pass
        end()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end, daemon=True).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch_parent, daemon=True).start()
    status = server.wait()
    _signal_group(server.pid, signal.SIGKILL)  # children that outlived the leader
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
