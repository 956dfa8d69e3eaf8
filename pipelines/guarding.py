"""How a command ends: its answer on stdout, its errors as exit codes, its faults in a file that can be sent on."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pipelines.commands.answer import Answer

SCHEMA = 1
OUR_FAULT = 70
#: set in the environment of an interpreter that was started anew, so that it is done once
_RESTARTED = "CURATE_RESTARTED"


class Terminated(KeyboardInterrupt):
    """SIGTERM; cleans up on its way like Ctrl-C, ends with 143."""


def call(command: str, as_json: bool, **arguments: Any) -> NoReturn:
    """Run ``pipelines.commands.<command>.main(**arguments)``, print its answer, end the process."""
    gc.enable()  # the command line itself is built without (`pipelines.cli.main`)
    with contextlib.suppress(ValueError):  # not in the main thread, e.g. in a notebook
        signal.signal(signal.SIGTERM, _terminate)
    code = OUR_FAULT
    try:
        code = _answer(command, as_json, arguments)
    except BrokenPipeError:
        code = 0  # the reader has seen enough, e.g. `curate show … | head`
    _mute_broken()
    raise SystemExit(code)


def prepare_process() -> None:
    """Make the process fit for work whatever started it.

    Standard streams that are closed are opened on nothing, so that no file of a run gets their numbers. Under a locale
    without UTF-8 the interpreter is started anew in its UTF-8 mode: paths and configs hold any text. A run has a worker
    per core, so OpenBLAS starts no threads of its own unless the environment says so: NumPy and SciPy each have a set,
    which cost 0.1 s of CPU time at the start of every process.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays open
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8") and not os.environ.get(_RESTARTED):
        environment = {**os.environ, "PYTHONUTF8": "1", _RESTARTED: "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _mute_broken() -> None:
    """Point standard streams that nobody reads any more to nothing; the interpreter flushes them at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _answer(command: str, as_json: bool, arguments: dict[str, Any]) -> int:
    try:
        answer: Answer = import_module(f"pipelines.commands.{command}").main(**arguments)
        try:
            _show(command, as_json, answer)
        except BrokenPipeError:  # what was found stands, whether anybody reads it or not
            _mute_broken()
        return answer.exit_code
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as stop:
        code = 143 if isinstance(stop, Terminated) else 130
        _say(command, as_json, "interrupted", "interrupted", code, hint="the same command goes on where it stopped")
        return code
    except Exception as error:  # noqa: BLE001 - the edge: everything ends as an exit code
        return _failed(command, as_json, error)


def _show(command: str, as_json: bool, answer: Answer) -> None:
    if as_json:
        import json as json_

        # not every file name is valid Unicode; escapes keep the document valid whatever it holds
        print(json_.dumps({"schema": SCHEMA, "command": command, **answer.data}, default=str, allow_nan=False))  # noqa: T201
        return
    text = answer.text()
    if text:
        print(text.encode("utf-8", "backslashreplace").decode())  # noqa: T201
    for note in answer.notes:
        print(note, file=sys.stderr)  # noqa: T201


def _failed(command: str, as_json: bool, error: Exception) -> int:
    from curate.errors import CurateError
    from pipelines.config_errors import ConfigProblems, redact

    if isinstance(error, CurateError):
        issues = error.to_json() if isinstance(error, ConfigProblems) else None
        message = f"{len(issues)} mistakes in the config" if as_json and issues else redact(str(error))
        _say(command, as_json, type(error).__name__, message, error.exit_code, issues=issues)
        return error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {error.filename}" if error.filename else ""
        _say(command, as_json, "EnvironmentGone", redact(f"{error.strerror}{where}"), 7,
             hint="put that right and run the same command again")  # fmt: skip
        return 7
    place = write_fault(command, error)
    message = f"a fault of our own ({type(error).__name__}); the report is at {place}"
    _say(command, as_json, "fault", message, OUR_FAULT, hint="it holds no text of documents; please send it on")
    return OUR_FAULT


def _say(
    command: str, as_json: bool, kind: str, message: str, code: int, *, hint: str = "", issues: Any = None
) -> None:
    """An error for people on stderr, or for programs as the one document on stdout."""
    from pipelines.render import safe

    if as_json:
        import json as json_

        error = {"kind": kind, "message": message, "hint": hint, "issues": issues}
        body = {"schema": SCHEMA, "command": command, "ok": False, "exit_code": code}
        text, stream = json_.dumps({**body, "error": {k: v for k, v in error.items() if v}}), sys.stdout
    else:
        lines = message if issues is not None else f"error: {message}"
        text, stream = safe(lines, lines=True) + (f"\n{hint}" if hint else ""), sys.stderr
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _mute_broken()


def write_fault(command: str, error: Exception) -> Path:
    """A report of an unexpected error: versions, command, places in the code. Messages of foreign errors are cut.

    It is readable by its owner only; values of variables and text of documents are not in it.
    """
    import tempfile
    import time
    import traceback

    from pipelines.config_errors import redact
    from pipelines.render import safe

    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"curate fault, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}",
        f"python {sys.version.split()[0]} on {sys.platform}",
        f"command: {command}",
        f"error: {type(error).__module__}.{type(error).__name__}: {safe(redact(str(error)))[:200]}",
        *(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames),
    ]
    for folder in (cache_folder() / "faults", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(".txt", f"curate-{command}-", folder)
        except OSError:
            continue
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines) + "\n")
        return Path(name)
    print("\n".join(lines), file=sys.stderr)  # noqa: T201
    return Path("stderr")


def cache_folder() -> Path:
    """``CURATE_CACHE``, else ``$XDG_CACHE_HOME/curate``, else ``~/.cache/curate``."""
    named = os.environ.get("CURATE_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "curate"
