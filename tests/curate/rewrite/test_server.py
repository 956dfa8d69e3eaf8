"""A server of the run's own: started, started again, and gone with all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from curate.errors import ConfigError, EnvironmentGone
from curate.rewrite.complete import complete_all
from curate.rewrite.config import ServerConfig
from curate.rewrite.journal import Journal
from curate.rewrite.server import Server
from tests.curate.rewrite.asking import config, requests

STUB = Path(__file__).parents[2] / "llm_stub.py"


def stub(*arguments: str, **changes: Any) -> ServerConfig:
    return ServerConfig(command=(sys.executable, str(STUB), "--port", "{port}", *arguments), **changes)


def alive(marker: str, besides: str = "\0") -> list[int]:
    """Processes whose command line holds ``marker`` and not ``besides``, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if marker in command and besides not in command and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def gone_within(marker: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while alive(marker):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_it_answers_writes_its_log_and_is_gone_afterwards(tmp_path: Path) -> None:
    with Server(stub("--model", "mine"), tmp_path / "logs" / "server.log") as server:
        server.wait_ready()
        got = list(complete_all(requests(10), config(server.url, model="mine"), health_s=5))
        marker = f"--port {server.port}"
        assert alive(marker)
    assert all(o.ok for o in got)
    assert gone_within(marker, 5)
    assert '"url"' in (tmp_path / "logs" / "server.log").read_text()


def test_when_it_dies_in_the_middle_it_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with Server(stub("--die-after", "120", restarts=3), tmp_path / "log") as server, Journal(tmp_path, "t0") as journal:
        server.wait_ready()
        chosen = config(server.url, max_concurrency=4, patience_s=30.0, total_s=60.0, max_attempts=20)
        got = list(complete_all(requests(200), chosen, journal=journal, hopeless=server.hopeless))
        assert server.starts == 2
    assert len(got) == 200
    assert all(o.ok for o in got)


def test_when_it_keeps_dying_the_run_ends_at_once_and_says_where_the_log_is(tmp_path: Path) -> None:
    with Server(stub("--die-after", "5", restarts=0), tmp_path / "log") as server:
        server.wait_ready()
        begun = time.monotonic()
        with pytest.raises(EnvironmentGone, match=r"status 9.*log"):
            list(complete_all(requests(100), config(server.url, patience_s=60.0), hopeless=server.hopeless))
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("script", "said"), [("exit 1", "status 1"), ("exit 255", "status 255"), ("kill -SEGV $$", "signal SIGSEGV")]
)
def test_a_command_that_ends_at_once_is_not_waited_for(tmp_path: Path, script: str, said: str) -> None:
    with Server(ServerConfig(command=("sh", "-c", script), restarts=0), tmp_path / "log") as server:
        with pytest.raises(EnvironmentGone, match=said):
            server.wait_ready()


def test_a_program_that_is_not_there_is_the_configs_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-program"):
        Server(ServerConfig(command=("no-such-program",)), tmp_path / "log").start()


def test_a_server_that_never_gets_healthy_meets_its_deadline(tmp_path: Path) -> None:
    with Server(ServerConfig(command=("sleep", "60"), ready_s=0.3, stop_s=1), tmp_path / "log") as server:
        with pytest.raises(EnvironmentGone, match="not healthy within"):
            server.wait_ready()


def test_children_that_ignore_signals_are_killed_with_it(tmp_path: Path) -> None:
    marker = f"61.{os.getpid()}"
    script = f"trap '' TERM; (trap '' TERM; sleep {marker}) & wait; sleep {marker}"
    with Server(ServerConfig(command=("sh", "-c", script), stop_s=0.3), tmp_path / "log"):
        while not alive(f"sleep {marker}"):
            time.sleep(0.02)
    assert gone_within(f"sleep {marker}", 5)


def test_it_is_not_left_behind_when_its_keeper_is_killed(tmp_path: Path) -> None:
    marker = f"63.{os.getpid()}"
    script = f"trap '' TERM; (trap '' TERM; sleep {marker}) & wait; sleep {marker}"
    with Server(ServerConfig(command=("sh", "-c", script), stop_s=0.3, restarts=0), tmp_path / "log") as server:
        while not alive(f"sleep {marker}", besides="trap"):
            time.sleep(0.02)
        (keeper,) = alive("keeper.py 0.3")
        os.kill(keeper, signal.SIGKILL)
        assert gone_within(f"sleep {marker}", 5)
        until = time.monotonic() + 5
        while server.hopeless() is None and time.monotonic() < until:
            time.sleep(0.02)
        assert "SIGKILL" in str(server.hopeless())


def test_it_does_not_outlive_a_run_that_is_killed(tmp_path: Path, repo: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from curate.rewrite.config import ServerConfig
        from curate.rewrite.server import Server
        server = Server(ServerConfig(command=("sleep", sys.argv[1]), stop_s=1), Path(sys.argv[2])).start()
        print("started", flush=True)
        time.sleep(60)
    """
    marker = f"62.{os.getpid()}"
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), marker, str(tmp_path / "log")], cwd=repo, stdout=subprocess.PIPE
    )
    assert run.stdout is not None
    run.stdout.readline()
    while not alive(f"sleep {marker}"):
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert gone_within(f"sleep {marker}", 5)


def test_keys_do_not_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_TEST_KEY", "sk-TESTSECRET0002")
    log = tmp_path / "log"
    chosen = ServerConfig(command=("sh", "-c", "env; sleep 60"), env={"MINE": "1"}, stop_s=1)
    with Server(chosen, log, hide=["CURATE_TEST_KEY"]):
        until = time.monotonic() + 10
        while "MINE=1" not in log.read_text() and time.monotonic() < until:
            time.sleep(0.02)
    assert "MINE=1" in log.read_text()
    assert "TESTSECRET" not in log.read_text()
