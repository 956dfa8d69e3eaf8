"""`curate doctor`: whether this machine can run, what it lacks, and what that would bring."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from pipelines.commands.answer import Answer

LEAST_PYTHON, PAST_PYTHON = (3, 11), (3, 14)
LEAST_FREE_BYTES = 2_000_000_000

#: extra → what it brings
EXTRAS = {
    "models": "neural raters and encoders on a CPU",
    "gpu": "the same on a GPU",
    "vllm": "annotation and rewriting by a served LLM",
    "ray": "run.launcher: ray",
    "inspect": "curate inspect, the local page",
    "trafilatura": "extract_html with engine: trafilatura",
    "repair": "the stage text_repair (ftfy)",
    "s3": "inputs and outputs at s3://…",
    "https": "inputs at https://…",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``ok``, ``note`` (works without), ``bad`` (a run would fail)."""

    what: str
    state: str
    detail: str
    advice: str = ""


def main() -> Answer:
    """All findings; exit 7 if one of them would stop a run."""
    from curate.errors import EnvironmentGone

    found: list[Finding] = []
    for look in (python, packages, extras, processors, memory, space, numba_cache, gpu, language_model, processes):
        found += look()
    bad = any(f.state == "bad" for f in found)
    data = {"ok": not bad, "findings": [asdict(f) for f in found]}
    return Answer(data, lambda: _text(found), EnvironmentGone.exit_code if bad else 0)


def _text(found: list[Finding]) -> str:
    from pipelines.render import table

    rows = [(f.state, f.what, f.detail + (f"; {f.advice}" if f.advice else "")) for f in found]
    return table(("", "what", "found"), rows)


def python() -> list[Finding]:
    """The interpreter against what the project supports."""
    here = sys.version_info[:2]
    fine = LEAST_PYTHON <= here < PAST_PYTHON
    wanted = f"{LEAST_PYTHON[0]}.{LEAST_PYTHON[1]} to {PAST_PYTHON[0]}.{PAST_PYTHON[1] - 1}"
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [Finding("python", "ok" if fine else "bad", detail, "" if fine else f"supported are {wanted}")]


def packages() -> list[Finding]:
    """Required packages against the versions that the project asks for."""
    problems, checked = [], 0
    for text in _requirements(""):
        name, wanted = _split(text)
        checked += 1
        version = _version(name)
        if version is None:
            problems.append(Finding(name, "bad", "not installed", f"pip install '{text}'"))
        elif not _satisfies(version, wanted):
            problems.append(Finding(name, "bad", f"{version}, needed is {wanted}", f"pip install '{text}'"))
    return [*problems, Finding("packages", "ok" if not problems else "note", f"{checked - len(problems)} of {checked} "
                               "required packages fit")]  # fmt: skip


def extras() -> list[Finding]:
    """Optional extras: what is there, what the others would bring."""
    out = []
    for extra, brings in EXTRAS.items():
        missing = []
        for text in _requirements(extra):
            name, wanted = _split(text)
            version = _version(name)
            if version is None or not _satisfies(version, wanted):
                missing.append(text)
        if missing:
            advice = f"pip install 'curate[{extra}]'"
            out.append(Finding(f"extra {extra}", "note", f"{brings}: lacks {', '.join(missing)}", advice))
        else:
            out.append(Finding(f"extra {extra}", "ok", brings))
    return out


def _requirements(extra: str) -> list[str]:
    """Requirements of the project itself, or of one extra, without markers."""
    try:
        listed = metadata.requires("curate") or []
    except metadata.PackageNotFoundError:
        listed = _from_pyproject()
    out = []
    for text in listed:
        requirement, _, marker = text.partition(";")
        named = marker.partition("extra ==")[2].strip().strip("'\" ")
        if named == extra:
            out.append(requirement.strip())
    return out


def _from_pyproject() -> list[str]:
    """The same from a checkout that is not installed."""
    import tomllib

    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if not file.is_file():
        return []
    project = tomllib.loads(file.read_text("utf-8"))["project"]
    optional = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(f"{r}; extra == '{e}'" for e, listed in optional.items() for r in listed)]


def _split(requirement: str) -> tuple[str, str]:
    """``numpy>=2.1`` → ("numpy", ">=2.1"); extras in brackets are left out."""
    name = requirement
    for at, char in enumerate(requirement):
        if char in "<>=!~ ([":
            name = requirement[:at]
            break
    return name, requirement[len(name) :].rpartition("]")[2].strip(" ()")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _satisfies(version: str, wanted: str) -> bool:
    """Whether ``version`` fulfils every clause; pre-releases count as their release."""
    compare: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
        ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b, ">": lambda a, b: a > b, "<": lambda a, b: a < b,
    }  # fmt: skip
    for clause in filter(None, (c.strip() for c in wanted.split(","))):
        sign = next((s for s in compare if clause.startswith(s)), None)
        if sign is None:
            continue
        a, b = _numbers(version), _numbers(clause[len(sign) :])
        length = max(len(a), len(b))
        if not compare[sign](a + (0,) * (length - len(a)), b + (0,) * (length - len(b))):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    out = []
    for part in version.split("+", maxsplit=1)[0].split("."):
        digits = "".join(c for c in part[: next((i for i, c in enumerate(part) if not c.isdigit()), len(part))])
        if not digits:
            break
        out.append(int(digits))
    return tuple(out)


def processors() -> list[Finding]:
    """CPUs that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Finding("processors", "ok", f"{usable} usable; run.workers: auto takes as many")]


def memory() -> list[Finding]:
    """Main memory against what one worker needs."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return []
    enough = total >= 4e9
    return [Finding("memory", "ok" if enough else "note", f"{total / 1e9:.1f} GB",
                    "" if enough else "a worker may need 1.5 GB; lower run.workers")]  # fmt: skip


def space() -> list[Finding]:
    """Free space where a run would write, and where temporary files go."""
    out = []
    for what, folder in (("space here", Path.cwd()), ("space for temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        low = free < LEAST_FREE_BYTES
        writable = os.access(folder, os.W_OK)
        state = "bad" if not writable and what != "space here" else "note" if low or not writable else "ok"
        advice = "not writable" if not writable else "a run needs about a fifth of its input" if low else ""
        out.append(Finding(what, state, f"{free / 1e9:.1f} GB free in {folder}", advice))
    return out


def numba_cache() -> list[Finding]:
    """Whether compiled kernels can be kept; if not, every process compiles them again."""
    import curate.kernels

    named = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(next(iter(curate.kernels.__path__)))
    places = [Path(named)] if named else [beside, Path.home() / ".cache"]
    for place in places:
        if os.access(place if place.exists() else place.parent, os.W_OK):
            return [Finding("compiled kernels", "ok", f"kept in {place}")]
    advice = "set NUMBA_CACHE_DIR to a folder that can be written, or each worker compiles for half a minute"
    return [Finding("compiled kernels", "note", "cannot be kept", advice)]


def gpu() -> list[Finding]:
    """GPUs, as the driver names them; none are needed."""
    import subprocess

    if shutil.which("nvidia-smi") is None:
        return [Finding("gpu", "note", "none found; none is needed")]
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return [Finding("gpu", "note", "nvidia-smi does not answer")]
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not names:
        return [Finding("gpu", "note", "nvidia-smi reports none")]
    return [Finding("gpu", "ok", name) for name in names]


def language_model() -> list[Finding]:
    """The bundled language model against its pinned digest."""
    from curate.stages import stage_class

    try:
        stage = stage_class("language")()
        assets = stage.assets(Path.cwd())
        missing = [str(path) for path in assets.values() if not path.is_file()]
    except ImportError as error:
        return [Finding("language model", "bad", f"the stage cannot be loaded: no module {error.name}")]
    if missing:
        return [Finding("language model", "bad", f"missing: {', '.join(missing)}", "install curate again")]
    return [_opened(stage, assets)]


def _opened(stage: object, assets: object) -> Finding:
    from curate.errors import CurateError
    from curate.stages.base import Context, Stage

    if not isinstance(stage, Stage):
        return Finding("language model", "bad", "the stage is none")
    try:
        stage.open(Context())  # checks the digest and the structure of the file
    except (CurateError, ImportError) as error:
        return Finding("language model", "bad", str(error), "install curate again")
    stage.close()
    names = ", ".join(path.name for path in assets.values()) if isinstance(assets, dict) else ""
    return Finding("language model", "ok", f"{names or 'bundled'}: digest as pinned, loads")


def processes() -> list[Finding]:
    """Whether worker processes can be started at all."""
    import multiprocessing

    methods = multiprocessing.get_all_start_methods()
    try:
        process = multiprocessing.get_context("spawn").Process(target=_nothing)
        process.start()
        process.join(60)
        alive = process.is_alive()
        code = process.exitcode
        if alive:
            process.kill()
    except OSError as error:
        return [Finding("worker processes", "bad", f"cannot be started: {error.strerror}")]
    if code != 0:
        return [
            Finding("worker processes", "bad", "a test process did not come back", "see `ulimit -u` and containers")
        ]
    return [Finding("worker processes", "ok", f"start by {', '.join(methods)}")]


def _nothing() -> None:
    """What the test process does."""
