"""Runs of curate as a user starts them: a process of its own, on a small input made on the spot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import xxhash

REPO = Path(__file__).resolve().parent.parent

WORDS = (
    "the river carried boats past mills while farmers counted sacks of grain and children learned to read maps of "
    "distant hills where shepherds kept bees and wrote letters about weather trade bridges clocks and salt"
).split()


def write_documents(folder: Path, files: int = 4, documents: int = 60) -> Path:
    """JSONL files of invented prose: every document different, some with an e-mail address, some repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        lines = []
        for i in range(documents):
            seed = 1 if i % 20 == 19 else number * documents + i + 2
            words = [WORDS[(seed * (j + 3) + j * j) % len(WORDS)] for j in range(40 + seed % 60)]
            text = " ".join(words) + (" write to someone@example.org" if i % 10 == 0 else "")
            lines.append(json.dumps({"id": f"{number}-{i}", "text": text, "url": f"https://example.org/{number}/{i}"}))
        (folder / f"part-{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_config(path: Path, source: Path, **changes: Any) -> Path:
    """A config over those documents; JSON is YAML."""
    config: dict[str, Any] = {
        "run": {"name": path.stem, "output": str(path.with_suffix("")), "workers": 1},
        "input": {"kind": "jsonl", "paths": [str(source / "*.jsonl")]},
        "stages": [{"pii": {}}],
        "recipe": {"groups": ["pii_emails"], "quality_bands": {"column": "pii_emails", "edges": [1]}},
        "report": None,
    }
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) and isinstance(config.get(key), dict) else value
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def curate(*arguments: str, failpoint: str = "", timeout: float = 120, **more: Any) -> subprocess.CompletedProcess[str]:
    """``curate ARGUMENTS`` in a process of its own."""
    return subprocess.run(
        command(*arguments), check=False, capture_output=True, text=True, timeout=timeout, env=environment(failpoint),
        **more,
    )  # fmt: skip


def command(*arguments: str) -> list[str]:
    """The command line of ``curate`` with this interpreter."""
    return [sys.executable, "-m", "pipelines.cli", *arguments]


def environment(failpoint: str = "") -> dict[str, str]:
    """The environment for it: the checkout on the path, failpoints armed."""
    path = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "CURATE_FAILPOINT": failpoint}


#: what may differ between two runs of the same config
_VOLATILE = {"log.jsonl", "environment.json", ".lock"}


def digests(run: Path) -> dict[str, str]:
    """Digest of every file of a run but logs and receipts' costs: equal for equal runs."""
    found = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(run))
        if name in _VOLATILE or "/poisoned/" in name or name == "run.yaml":
            continue
        data = path.read_bytes()
        if name.startswith("receipts/"):
            receipt = json.loads(data)
            data = json.dumps([receipt[k] for k in ("fingerprint", "outputs", "counts")]).encode()
        found[name] = xxhash.xxh3_128_hexdigest(data)
    return found
