"""Kernels are compiled before the workers need them, once per machine, and never decide an outcome."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running import curate, write_config, write_documents


def events(config: Path) -> list[str]:
    log = (config.with_suffix("") / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["event"] for line in log.splitlines()]


def test_the_second_run_on_a_machine_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    source = write_documents(tmp_path / "in", files=1, documents=5)
    first = write_config(tmp_path / "a.json", source, recipe=None)
    second = write_config(tmp_path / "b.json", source, recipe=None)
    said = curate("run", str(first))
    assert said.returncode == 0 and "compiling kernels, once per machine" in said.stderr
    assert curate("run", str(second)).returncode == 0
    assert "compiling kernels" in events(first)
    assert "compiling kernels" not in events(second)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "file"))
    config = write_config(tmp_path / "a.json", write_documents(tmp_path / "in", files=1, documents=5), recipe=None)
    assert curate("run", str(config)).returncode == 0
