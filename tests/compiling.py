"""Compile what most tests use before they run beside each other; otherwise every worker compiles all of it for itself.

A fresh environment has no compiled kernels, and Numba does not keep two processes from compiling the same one. Here
each part is compiled by one process, as many at a time as the suite has workers; a marker remembers it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pipelines.warm import _marker, _remember

REPO = Path(__file__).resolve().parent.parent
_STAGES = ("url_filter", "extract_html", "line_cleaning", "line_dedup", "text_stats", "quality_rules", "licence", "pii")
#: parts that one process compiles, the dearest first
_GROUPS = (
    ("stage:4",),
    ("stage:7",),
    ("dedup", "card:lite"),
    ("stage:2", "stage:5"),
    ("stage:0", "stage:1", "stage:3", "stage:6"),
)
_PROGRAM = """
import sys
from pathlib import Path
from pipelines.warm import compile_target
for target in sys.argv[2:]:
    compile_target(Path(sys.argv[1]), target)
"""


def compile_parts(workers: int) -> None:
    """Compile every part that this machine has not compiled yet; a part that fails is left to the tests to report."""
    missing = [group for group in _GROUPS if not _marker(f"tests:{group}").exists()]
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "config.json"
        config.write_text(
            json.dumps(
                {
                    "run": {"name": "compile", "output": "out"},
                    "input": {"kind": "warc", "paths": ["."]},
                    "stages": [{stage: {}} for stage in _STAGES],
                    "dedup": [{"exact": {}}, {"minhash": {}}],
                    "labels": ["lite"],
                }
            ),
            encoding="utf-8",
        )
        with ThreadPoolExecutor(workers) as pool:
            for group, done in zip(missing, pool.map(partial(_compile, config), missing), strict=True):
                if done:
                    _remember(_marker(f"tests:{group}"))


def _compile(config: Path, group: tuple[str, ...]) -> bool:
    """Whether a process of its own could compile the group."""
    command = [sys.executable, "-c", _PROGRAM, str(config), *group]
    done = subprocess.run(command, cwd=REPO, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0
