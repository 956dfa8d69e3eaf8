"""Hostile inputs F01–F110 through the real pipeline: read, extract, write, account for; each meets its expectation.

The files and what must come of them are made by a tool beside the development data. All cases of a kind run together
through the command line; then each runs alone, and must leave what it left among the others.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.errors import ConfigError
from pipelines.config import load_config
from pipelines.verify import verify
from tests.end_to_end.here import rows, run_here
from tests.running import curate

KINDS = ("warc", "wet", "jsonl", "parquet")
#: numbers without a case
GAPS = {32, 33, 43, 44, 49, 104}
CASES = [f"F{n:02d}" for n in range(1, 111) if n not in GAPS]
#: the small set's lines that are too long are 8 MB long
LIMITS: dict[str, Any] = {"line_mb": 4}
#: lists of paths, which are no inputs of a folder
LISTS = {"F110"}
#: expected code → what we say instead, where ours tells more
OTHER_CODES = {
    "F98": "empty",  # a null text in a good column is a document without text, not a column of a wrong type
}
#: cases that may end in one clear error instead of the documents listed as "must"
ALL_OR_ERROR = {"F82"}
#: cases whose documents may come out more than once: a file that holds them twice
REPEATED = {"F28"}


@dataclass
class Case:
    """One entry of expectations.json and where its file is."""

    id: str
    kind: str
    path: Path
    expect: dict[str, Any]
    canary: Path | None


@dataclass
class Done:
    """What a run of one case left."""

    exit_code: int
    strict_exit_code: int
    corpus: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    dropped: list[dict[str, Any]]
    said: str
    problems: list[str]
    refused: str = ""


@pytest.fixture(scope="session")
def tool(shared: Path) -> Path:
    path = shared / "tools" / "make_bad_inputs.py"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture(scope="session")
def cases(tool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    out = tmp_path_factory.mktemp("hostile") / "out"
    subprocess.run(
        [sys.executable, str(tool), str(out), "--small", "--kinds", ",".join(KINDS)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    entries = json.loads((out / "expectations.json").read_text(encoding="utf-8"))["cases"]
    return {
        e["id"]: Case(e["id"], e["kind"], out / e["file"], e["expect"], out / e["canary"] if "canary" in e else None)
        for e in entries
    }


def config_of(folder: Path, kind: str, paths: list[str], **limits: Any) -> Path:
    """Extraction only: nothing may be lost, everything that fails is tolerated and recorded."""
    config = {
        "run": {"output": str(folder / "run"), "workers": 2, "max_failed_ratio": 1.0, "max_failed_files": None},
        "input": {"kind": kind, "paths": paths, **limits},
        "stages": [{"extract_html": {"drop_empty": False}}] if kind == "warc" else [],
        "report": None,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def everything_said(run: Path) -> str:
    """All that a run wrote, decoded: cells of every Parquet file, and every other file."""
    parts = []
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        if path.suffix == ".parquet":
            parts += [str(v) for column in pq.ParquetFile(path).read().columns for v in column.to_pylist()]
        else:
            parts.append(path.read_text(encoding="utf-8"))  # logs, receipts and configs are valid UTF-8
    return "\n".join(parts)


def run_alone(case: Case, folder: Path) -> Done:
    """The case in a run of its own, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # canaries would appear here
        done = run_case(case, folder, patch)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "run", "scratch"]
    return done


def run_case(case: Case, folder: Path, patch: pytest.MonkeyPatch) -> Done:
    config, scratch, output = folder / "config.json", folder / "scratch", folder / "run"
    scratch.mkdir()
    config_of(folder, case.kind, [str(case.path)], **(LIMITS if case.kind == "jsonl" else {}))
    try:
        result = run_here(load_config(config), scratch, patch)
    except ConfigError as error:
        return Done(error.exit_code, error.exit_code, [], [], [], str(error), [], str(error))
    strict = ["run.max_failed_ratio=0.0", "run.max_failed_files=0"]
    again = run_here(load_config(config, strict), scratch, patch)
    assert again.tasks_done <= 1, "thresholds decide nothing but what the card says of the config"
    return Done(
        result.exit_code, again.exit_code, rows(output, "corpus"), rows(output, "failed"), rows(output, "dropped"),
        everything_said(output), verify(str(output))["problems"],
    )  # fmt: skip


def test_every_case_has_a_test(tool: Path) -> None:
    module = _load(tool)
    models = Path(__file__).parents[1] / "curate" / "test_models.py"
    configs = Path(__file__).parents[1] / "pipelines" / "test_config_bad_inputs.py"
    known = [entry[0] for entry in module.CASES]
    llm = [entry[0] for entry in module.CASES if entry[2] == "llm"]
    tested_elsewhere = [
        *_parameters(_load(configs).test_hostile_config_meets_its_expectation),
        *_parameters(_load(models).test_hostile_model_meets_its_expectation),
    ]
    assert len(known) == len(set(known)) == 153
    # the cases of language model servers come with the client that talks to them
    assert sorted([*CASES, *tested_elsewhere, *llm]) == sorted(known)


def _parameters(test: Any) -> list[str]:
    (mark,) = (m for m in test.pytestmark if m.name == "parametrize")
    return list(mark.args[1])


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Together:
    """What a run over all cases of a kind left."""

    run: Path
    corpus: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    dropped: list[dict[str, Any]]
    said: str
    problems: list[str]

    def of(self, case: Case) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        """Kept, failed and dropped rows of one case."""
        kept, failed, dropped = (
            [r for r in rows if r["source"].split("/")[0] == case.path.name]
            for rows in (self.corpus, self.failed, self.dropped)
        )
        return kept, failed, dropped


@pytest.fixture(scope="module")
def together(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of all cases of a kind, run by the command line on two workers, once per kind."""
    runs: dict[str, Together] = {}

    def run(kind: str) -> Together:
        if kind not in runs:
            folder = tmp_path_factory.mktemp(kind)
            limits = LIMITS if kind == "jsonl" else {}
            config = config_of(folder, kind, [str(cases["F01"].path.parents[1] / kind)], **limits)
            result = curate("run", str(config), cwd=folder)
            assert result.returncode == 0, result.stderr
            assert sorted(p.name for p in folder.iterdir()) == ["config.json", "run"]
            out = folder / "run"
            runs[kind] = Together(
                out, rows(out, "corpus"), rows(out, "failed"), rows(out, "dropped"), everything_said(out),
                verify(str(out))["problems"],
            )  # fmt: skip
        return runs[kind]

    return run


@pytest.mark.parametrize("id_", [id_ for id_ in CASES if id_ not in LISTS])
def test_hostile_input_among_others_meets_its_expectation(id_: str, cases: dict[str, Case], together: Any) -> None:
    case = cases[id_]
    found = together(case.kind)
    assert found.problems == []
    corpus, failed, dropped = found.of(case)
    _check_documents(case, corpus)
    _check_ledger(case, failed, dropped)
    assert not any(secret in found.said for secret in case.expect["never"])
    assert case.canary is None or not case.canary.exists()


# controls, and those whose fate is decided where inputs are listed; the slow ones are all the others
_FIRST = {"F01", "F02", "F58", "F62", "F71", "F87", "F93", "F102", "F105", "F106", "F107", "F108", "F109", "F110"}


@pytest.mark.parametrize("id_", [id_ if id_ in _FIRST else pytest.param(id_, marks=pytest.mark.slow) for id_ in CASES])
def test_hostile_input_alone_ends_as_among_others(
    id_: str, cases: dict[str, Case], together: Any, tmp_path: Path
) -> None:
    case, found = cases[id_], run_alone(cases[id_], tmp_path)
    if found.refused:
        assert "refused" in case.expect["exit"]
        assert not any(secret in found.refused for secret in case.expect["never"])
        return
    assert found.problems == []
    _check_documents(case, found.corpus)
    errors = _check_ledger(case, found.failed, found.dropped)
    assert found.exit_code == 0
    assert found.strict_exit_code == (3 if errors else 0)
    assert not any(secret in found.said for secret in case.expect["never"])
    if case.path.is_file() and id_ not in LISTS:
        corpus, failed, dropped = together(case.kind).of(case)
        assert (found.corpus, found.failed, found.dropped) == (corpus, failed, dropped)


def _check_documents(case: Case, corpus: list[dict[str, Any]]) -> None:
    texts, expect = [row["text"] for row in corpus], case.expect
    any_number = expect.get("may_any", False)
    wanted = [] if case.id in ALL_OR_ERROR and not texts else expect["must"]
    for marker in wanted:
        times = sum(marker in text for text in texts)
        assert times == 1 or (any_number and times), marker
    for marker in expect["may"]:
        assert any_number or case.id in REPEATED or sum(marker in text for text in texts) <= 1, marker
    for literal in expect.get("must_text", []):
        assert any(literal in text for text in texts), literal
    assert expect["readable_min"] <= len(texts) <= expect["readable_max"]
    assert not any("\0" in text for text in texts)
    assert len({row["id"] for row in corpus}) == len(texts)


def _check_ledger(case: Case, failed: list[dict[str, Any]], dropped: list[dict[str, Any]]) -> int:
    """Whether what is missing is accounted for; returns how many errors there are."""
    expect = case.expect
    errors = sum(row["level"] == "error" for row in failed)
    # what could not be read, and what was read and is no document: both are accounted for with a reason
    codes = [row["error"] for row in failed] + [row["reason"] for row in dropped]
    assert len(codes) >= expect["errors_min"]
    if expect["errors_min"]:
        wanted = (expect["error_class"], OTHER_CODES.get(case.id, expect["error_class"]))
        assert any(code.startswith(wanted) for code in codes), codes
    assert ("partial" if errors else "clean") in expect["exit"]
    return errors


def test_workers_stay_small_on_bombs(together: Any) -> None:
    for kind in ("warc", "jsonl", "parquet"):
        receipts = [json.loads(p.read_bytes()) for p in (together(kind).run / "receipts/documents").glob("*.json")]
        used = {r["counts"]["source"]: r["cost"]["max_rss_mb"] for r in receipts}
        # a worker's peak includes the interpreter, its libraries and compiled kernels: about 250 MB
        assert max(used.values()) < 1500, used


def test_a_damaged_file_ends_with_3_under_the_default_thresholds(cases: dict[str, Case], tmp_path: Path) -> None:
    config = config_of(tmp_path, "warc", [str(cases["F02"].path)])
    values = json.loads(config.read_text())
    del values["run"]["max_failed_ratio"], values["run"]["max_failed_files"]
    config.write_text(json.dumps(values))
    result = curate("run", str(config), cwd=tmp_path)
    assert result.returncode == 3
    assert "1 of 10 records failed (10.00%), more than run.max_failed_ratio allows (0.10%)" in result.stderr
    assert len(rows(tmp_path / "run", "corpus")) == 9
