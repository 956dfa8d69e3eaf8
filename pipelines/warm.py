"""Compile the kernels that a config needs once, in parallel, before the workers would each do it for themselves.

Numba keeps compiled kernels beside the installed package (or in its user cache). The first run on a machine pays for
them: about a minute of CPU time for all stages. Each target below compiles another part, so two cores halve the wait,
and two workers do not compile the same thing twice. A marker remembers which kernels were compiled for which machine;
where it is wrong, the only consequence is that a worker compiles for itself. Nothing here decides any output.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import xxhash

from curate.store.folder import LocalFolder
from pipelines.config import WHOLE_DOCUMENTS
from pipelines.label_entries import card_of
from pipelines.launchers.worker import die_with_parent
from pipelines.progress import Progress
from pipelines.steps.base import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from curate.stages.base import Stage
    from pipelines.config import Config
    from pipelines.runlog import RunLog

_LIMIT_S = 600.0
_TICK_S = 0.1

_TEXTS = (
    "The miller wrote to someone@example.org, or called +49 30 1234567. It's a fine day - isn't it?\n\nNext: (a) 1,5.",
    "Le meunier n'a rien dit.\nIl est parti tôt, vers 7 h. Le meunier n'a rien dit.",
)
_PAGE = "<html><head><title>Mill</title></head><body><main><p>The miller wrote a letter.</p></main></body></html>"


def warm_up(
    run: Run, workers: int, log: RunLog, stopped: Callable[[], int], progress: Callable[[Progress], None] | None
) -> None:
    """Compile what the run's steps need, if this machine has not done it yet; waits for it, or until a signal."""
    if not isinstance(run.folder, LocalFolder):
        return
    missing = {t: m for t in targets_of(run) if not (m := _marker(_part(run, t))).exists()}
    if not missing:
        return
    start = time.monotonic()
    log.write("info", "compiling kernels", targets=list(missing))
    waiting = list(missing)
    running: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            target = waiting.pop(0)
            running[target] = _start(run.folder.path / "run.yaml", target)
        for target in [t for t, p in running.items() if p.poll() is not None]:
            if running.pop(target).returncode == 0:
                _remember(missing[target])
        if stopped() or time.monotonic() - start > _LIMIT_S:
            for process in running.values():
                process.kill()
            return
        if progress is not None:
            done, seconds = len(missing) - len(waiting) - len(running), time.monotonic() - start
            progress(
                Progress("compiling kernels, once per machine", tasks_done=done, tasks=len(missing), seconds=seconds)
            )
        time.sleep(_TICK_S)
    log.write("info", "kernels compiled", seconds=round(time.monotonic() - start, 1))


def targets_of(run: Run) -> list[str]:
    """Parts that may compile something: stages by their place in the config, duplicate removal, raters."""
    stages = [f"stage:{i}" for i, _ in enumerate(run.config.stages)]
    matching = ["dedup"] if run.config.duplicates(*WHOLE_DOCUMENTS) else []
    semantic = ["semantic"] if run.config.duplicates("semantic") or run.config.vectors is not None else []
    spans = [f"substring:{options.unit}" for options in run.config.duplicates("substring")]  # type: ignore[attr-defined]
    repeated = run.config.duplicates("lines", "paragraphs")
    lines = [f"lines:{counting}" for counting in sorted({o.counting for o in repeated})]  # type: ignore[attr-defined]
    return [*stages, *matching, *lines, *spans, *semantic, *_cards(run)]


def _cards(run: Run) -> list[str]:
    """The raters that run kernels; one that asks a server or loads gigabytes must not be tried out for nothing."""
    if not run.config.labels:
        return []
    from classifiers.contract import rater_stage

    compiles = [rater_stage(entry, run.base).compiles for entry in run.config.labels]
    return [f"card:{i}" for i, needed in enumerate(compiles) if needed]


def _part(run: Run, target: str) -> str:
    """What a target compiles, whatever its place in this config: the stage's name, the card's."""
    kind, _, place = target.partition(":")
    if kind == "card":
        return f"card:{card_of(run.config.labels[int(place)])}"
    return f"stage:{run.config.stages[int(place)].name}" if kind == "stage" else target


def _remember(marker: Path) -> None:
    with contextlib.suppress(OSError):
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def _start(config: Path, target: str) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    environment.pop("CURATE_FAILPOINT", None)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipelines.warm", str(config), target],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip


def _marker(part: str) -> Path:
    """A file named after everything that decides whether compiled kernels can be used again."""
    kernels = Path(__file__).resolve().parents[1] / "curate" / "kernels"
    state = [f"{p.name}:{p.stat().st_mtime_ns}:{p.stat().st_size}" for p in sorted(kernels.glob("*.py"))]
    version = importlib.metadata.version("numba")
    key = "\n".join([version, platform.processor() or platform.machine(), str(kernels), part, *state])
    cache = os.environ.get("CURATE_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "curate" / "compiled" / xxhash.xxh3_64_hexdigest(key.encode())


def compile_target(config_path: Path, target: str) -> None:
    """Run one part on two tiny documents, so that its kernels are compiled and cached."""
    from pipelines.config import MAX_RUN_YAML, load_config

    config = load_config(config_path, max_bytes=MAX_RUN_YAML)
    kind, _, name = target.partition(":")
    if kind == "dedup":
        _compile_dedup(config)
    elif kind == "semantic":
        _compile_semantic()
    elif kind == "lines":
        _compile_lines(name)
    elif kind == "substring":
        _compile_substring(name)
    elif kind == "card":
        from classifiers.contract import rater_stage

        _compile_stage(rater_stage(config.labels[int(name)], config.base), config.base)
    else:
        from curate.stages import stage_class

        spec = config.stages[int(name)]
        _compile_stage(stage_class(spec.name)(spec.options), config.base)  # type: ignore[arg-type]


def _compile_stage(stage: Stage, base: Path) -> None:
    from curate.documents import Batch
    from curate.stages.base import Context

    rows = _rows()
    if set(stage.requires) <= set(rows.schema.names):
        stage.open(Context(base=base))
        stage.process(Batch(rows).at(stage.name))
        stage.close()


def _compile_dedup(config: Config) -> None:
    from curate.dedup import TableTexts, as_plan, resolve, sign_shard
    from curate.dedup.keys import join_entries, key_entries
    from curate.dedup.links import Components, link_entries

    rows = _rows()
    given = as_plan(config.duplicates(*WHOLE_DOCUMENTS))  # type: ignore[arg-type]
    signed = sign_shard([rows], given)
    resolve([("a", signed)], TableTexts({"a": rows}), given)
    links = link_entries(join_entries(iter([(0, key_entries(signed, given), None)])), 2)
    found = Components(rows.num_rows)
    found.unite(*links)
    found.number()
    found.measure(*links)


def _compile_semantic() -> None:
    from curate.dedup.semantic import compare
    from curate.embed.config import VectorsConfig
    from curate.embed.encoders import encoded
    from curate.embed.hashed import HashedEncoder, WordWeights
    from curate.embed.kmeans import distances, spherical_kmeans

    texts = pa.array(_TEXTS, pa.string())
    counted = WordWeights()
    counted.add(texts)
    unit, _ = encoded(HashedEncoder(VectorsConfig(dimension=8), counted.weights()), texts)
    found = spherical_kmeans(unit, 1, engine="numpy")
    distances(unit, found.centroids, np.zeros(len(unit), np.int32))
    compare(lambda a, b: unit[a:b].copy(), len(unit), (0.05,), 0.05, window=1)


def _compile_lines(counting: str) -> None:
    from curate.dedup.cutting import cut_spans
    from curate.dedup.lines.bloom import Size, fill_filter
    from curate.dedup.lines.config import LinesConfig
    from curate.dedup.lines.count import Counts, halves, summed, units_of

    rows = _rows()
    found = units_of(rows.column("text"), LinesConfig())
    high, low = halves(rows.column("id"))
    ones = np.ones(len(found.key), np.uint32)
    counts = summed([Counts(found.key, ones, high[found.document], low[found.document])])
    spans = pa.array([[{"start": 0, "end": 1}], None])
    cut_spans(rows.column("text"), [spans]).words()
    if counting == "bloom":
        fill_filter([counts], Size.for_keys(len(counts), 0.01), len(counts), 2)


def _compile_substring(unit: str) -> None:
    from curate.dedup.cutting import cut_spans
    from curate.dedup.substring.config import SubstringConfig
    from curate.dedup.substring.find import find_all

    rows = _rows().select(["id", "text"]).append_column("row", pa.array(range(len(_TEXTS)), pa.int32()))
    with tempfile.TemporaryDirectory(prefix="curate-warm-") as scratch:
        config = SubstringConfig.model_validate({"unit": unit, "n": 4, "within": True})
        for _, _, (spans, *_) in find_all(LocalFolder(Path(scratch)), {"a": [rows]}, config):
            cut_spans(rows.column("text"), [spans]).words()


def _rows() -> pa.RecordBatch:
    n = len(_TEXTS)
    return pa.RecordBatch.from_pydict(
        {
            "id": [f"{i:032x}" for i in range(n)],
            "url": [f"https://example.org/a/{i}.html?q=1" for i in range(n)],
            "source": ["warm"] * n,
            "offset": list(range(n)),
            "length": [1] * n,
            "source_id": pa.nulls(n, pa.string()),
            "text": list(_TEXTS),
            "html": [_PAGE] * n,
            "language_code": ["en", "fr"],
        }
    )


if __name__ == "__main__":
    die_with_parent()
    compile_target(Path(sys.argv[1]), sys.argv[2])
