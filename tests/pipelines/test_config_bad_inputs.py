"""The hostile configs F120–F138, written by the tool beside the development data in the layout of this project.

The tool's own template has other sections (``input.path``, top-level ``workers``); ``--config-template`` replaces it by
the same run in ours. Its edits keep their meaning but for F124, whose second ``workers`` lands at top level instead of
beside the first: duplicates proper are in test_config.py.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = """\
# name: read
input:
  kind: jsonl
  paths: [INPUT]
run:
  output: OUTPUT
  workers: 1
"""
CASES = [f"F{n}" for n in range(120, 139)]


@pytest.fixture(scope="module")
def hostile(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder of the cases, and their entries by id."""
    tool = shared / "tools" / "make_bad_inputs.py"
    if not tool.is_file():
        pytest.skip(f"{tool} is not there")
    folder = tmp_path_factory.mktemp("hostile")
    template = folder / "template.yaml"
    template.write_text(TEMPLATE)
    out = folder / "out"
    command = [sys.executable, str(tool), str(out), "--small", "--kinds", "config", "--config-template", str(template)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    entries = json.loads((out / "expectations.json").read_text())["cases"]
    (out / "config" / "INPUT").mkdir()
    (out / "config" / "INPUT" / "a.jsonl").write_text('{"text": "some words", "id": "1"}\n')
    return out, {e["id"]: e for e in entries}


@pytest.mark.parametrize("case", CASES)
def test_hostile_config_meets_its_expectation(
    case: str,
    hostile: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from pipelines.cli import main

    folder, entries = hostile
    entry = entries[case]
    monkeypatch.chdir(folder / "config")
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    start, before = time.process_time(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        main(["plan", str(folder / entry["file"]), "--print-config", "--json"])
    signal.signal(signal.SIGTERM, before)
    assert time.process_time() - start < entry["expect"]["max_seconds"]
    out, err = capfd.readouterr()
    seen = out + err + "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    for never in entry["expect"]["never"]:
        assert never not in seen
    if "canary" in entry:
        assert not list(folder.rglob(Path(entry["canary"]).name))
    code = int(end.value.code or 0)
    assert {0: "clean", 2: "refused"}[code] in entry["expect"]["exit"]
    if code:
        issues = json.loads(out)["error"]["issues"]
        assert len(issues) >= entry["expect"]["errors_min"]
        assert all(issue["message"] for issue in issues)
