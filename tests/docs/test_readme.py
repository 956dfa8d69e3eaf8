"""README says what is true now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_generated_parts_are_up_to_date(repo: Path) -> None:
    result = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=repo, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(repo), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_linked_file_is_there(repo: Path) -> None:
    text = (repo / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (repo / link).exists()] == []


def test_every_command_exists(repo: Path) -> None:
    from typer.main import get_command

    from pipelines.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    text = (repo / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^|[\s/`])curate ([a-z]+)", text, re.MULTILINE))
    assert used <= known, used - known


def test_the_library_example_runs(repo: Path) -> None:
    pytest.importorskip("pyarrow")
    text = (repo / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repo,
        env={"PYTHONPATH": str(repo), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "<EMAIL>" in result.stdout and "someone@example.org" not in result.stdout


def test_nothing_speaks_of_the_place_where_it_was_built(repo: Path) -> None:
    words = ["/" + "work/", "farm" + "-", "hel" + "per-"]
    listed = subprocess.run(["git", "ls-files"], cwd=repo, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.split():
        path = repo / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".json", ""} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{name}: {w}" for w in words if w in text]
    assert found == []
