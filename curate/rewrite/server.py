"""A model server of the run's own: started, watched, started again, and stopped with all its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from curate.errors import ConfigError, EnvironmentGone
from curate.rewrite.config import ServerConfig
from curate.store.folder import writing

_KEEPER = Path(__file__).with_name("keeper.py")
_POLL_S = 0.1


class Server:
    """``with Server(config, log) as server:`` runs the command until the end of the block.

    The server gets its own session; a keeper process beside it ends its whole group when this process ends, however it
    does. After a death it is started again on the same port, at most ``restarts`` times. Output goes to ``log``.

    Args:
        hide: environment variables that the server does not get (API keys).
    """

    def __init__(self, config: ServerConfig, log: Path, hide: Iterable[str] = ()) -> None:
        self.config = config
        self.log = log
        self.port = config.port
        self.starts = 0
        self._hide = set(hide)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._gone: str | None = None
        self._group = 0

    @property
    def url(self) -> str:
        """The address for ``ClientConfig.url``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> Server:
        """Start it; does not wait until it is healthy. ConfigError if the program is not there."""
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        self._stopping.clear()
        self._gone = None
        self._spawn()
        self._watcher = threading.Thread(target=self._watch, name="llm-server", daemon=True)
        self._watcher.start()
        return self

    def hopeless(self) -> str | None:
        """Why the server will not come back; null while it runs or is being started again."""
        return self._gone

    def wait_ready(self) -> float:
        """Seconds until ``/health`` answered 200. EnvironmentGone after ``ready_s``, or when it is gone for good."""
        import urllib.error
        import urllib.request

        begun = time.monotonic()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            if self._gone:
                raise EnvironmentGone(f"the language model's server did not start: {self._gone}")
            try:
                with opener.open(self.url.removesuffix("/v1") + "/health", timeout=2) as reply:
                    if reply.status == 200:
                        return time.monotonic() - begun
            except (urllib.error.URLError, OSError):
                pass
            if time.monotonic() - begun > self.config.ready_s:
                raise EnvironmentGone(
                    f"the language model's server was not healthy within {self.config.ready_s:.0f} s (ready_s); "
                    f"its output is in {self.log}"
                )
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End the whole process group: SIGTERM, after ``stop_s`` SIGKILL."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None
        self._end_keeper()

    def _end_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        killed = keeper.poll() is not None and keeper.returncode < 0
        if keeper.stdin is not None:
            keeper.stdin.close()
        try:
            keeper.wait(self.config.stop_s + 5)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
            killed = True
        if killed and self._group:  # else the keeper has seen to it, and the number may be somebody else's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)

    def _spawn(self) -> None:
        command = [part.replace("{port}", str(self.port)) for part in self.config.command]
        environment = {k: v for k, v in os.environ.items() if k not in self._hide} | self.config.env
        if not _found(command[0], environment):
            raise ConfigError(f"server.command begins with {command[0]!r}, which is no program that can be found")
        with writing(str(self.log)):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                told, tell = os.pipe()
                try:
                    # In its own session, so that Ctrl-C reaches the run first and the server is there until its end
                    self._keeper = subprocess.Popen(
                        [sys.executable, "-I", str(_KEEPER), str(self.config.stop_s), str(tell), *command],
                        stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment,
                        start_new_session=True, pass_fds=(tell,),
                    )  # fmt: skip
                finally:
                    os.close(tell)
                with os.fdopen(told, "rb") as answer:
                    self._group = int(answer.read() or b"0")  # empty if the program could not be started
        self.starts += 1

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_S):
            keeper = self._keeper
            if keeper is None or keeper.poll() is None:
                continue
            status = keeper.returncode
            self._end_keeper()
            if self.starts > self.config.restarts:
                self._gone = (
                    f"it ended with {_ending(status)}, for the {self.starts}. time; its output is in {self.log}"
                )
                return
            if self._stopping.wait(min(5.0, 0.5 * self.starts)):
                return
            try:
                self._spawn()
            except (ConfigError, EnvironmentGone) as error:
                self._gone = str(error)
                return

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _ending(status: int) -> str:
    """An exit status for people; 128 + n and -n are signals, as far as there is such a signal."""
    number = -status if status < 0 else status - 128
    return f"signal {signal.Signals(number).name}" if number in set(signal.Signals) else f"status {status}"


def _found(program: str, environment: dict[str, str]) -> bool:
    import shutil

    return shutil.which(program, path=environment.get("PATH")) is not None
