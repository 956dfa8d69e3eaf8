"""The command line: what it prints where, how it ends, and that its surface does not change unseen."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.documents import DROPPED, IDENTITY, TEXT

REPO = Path(__file__).resolve().parents[2]
MINIMAL = "input: {kind: jsonl, paths: [in/*.jsonl]}\n"


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def curate(*arguments: str, cwd: Path | None = None) -> Done:
    """A command in this process; the few tests that need a process of their own start one."""
    from pipelines.cli import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    before, here = signal.getsignal(signal.SIGTERM), Path.cwd()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            os.chdir(cwd or here)
            main(list(arguments))
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os.chdir(here)
            signal.signal(signal.SIGTERM, before)
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read())
    return Done(code, *texts)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A folder with the corpus and the drops of a run, written by hand."""
    folder = tmp_path / "run"
    (folder / "corpus").mkdir(parents=True)
    (folder / "dropped").mkdir()
    score = pa.field("lite_score", pa.float64())
    rows = [
        {"id": f"{i:032x}", "url": f"https://a.test/{i}", "source": "a", "offset": i, "length": 1, "source_id": None,
         "text": f"text {i}", "lite_score": i / 10}
        for i in range(10)
    ]  # fmt: skip
    rows[3]["text"] = "bold \x1b[1m and \u202e reversed\nsecond line"
    pq.write_table(pa.Table.from_pylist(rows[:5], pa.schema([*IDENTITY, TEXT, score])), folder / "corpus/0.parquet")
    pq.write_table(pa.Table.from_pylist(rows[5:], pa.schema([*IDENTITY, TEXT, score])), folder / "corpus/1.parquet")
    gone = [
        {"id": f"{i:032x}", "url": None, "source": "a", "offset": i, "length": 1, "stage": "language",
         "reason": "language_not_kept", "value": 0.1, "threshold": 0.65}
        for i in range(20, 23)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(gone, DROPPED), folder / "dropped/0.parquet")
    return folder


def ids(answer: Done) -> list[int]:
    return [int(d["id"], 16) for d in json.loads(answer.stdout)["documents"]]


def test_the_surface_is_the_one_that_is_written_here() -> None:
    from typer.main import get_command

    from pipelines.cli import app

    found = {
        name: sorted(o for p in command.params for o in p.opts + p.secondary_opts)
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    }
    assert found == {
        "init": ["--force", "--json", "--kind", "--name", "--paths", "folder"],
        "plan": ["--json", "--print-config", "--set", "config"],
        "run": ["--accept-input-changes", "--json", "--set", "config"],
        "train": ["--json", "--set", "config"],
        "evaluate": [
            "--by",
            "--card",
            "--cut",
            "--gold",
            "--gold-cut",
            "--json",
            "--probability",
            "--resamples",
            "--score",
            "--second",
            "--seed",
            "--text",
            "table",
        ],
        "status": ["--json", "folder"],
        "why": ["--json", "--run", "key"],
        "show": [
            "--chars",
            "--columns",
            "--duplicates-of",
            "--json",
            "--limit",
            "--reason",
            "--seed",
            "--where",
            "folder",
        ],
        "verify": ["--json", "--quick", "folder"],
        "mix": ["--json", "--set", "folder"],
        "annotate": ["--estimate", "--json", "--set", "config"],
        "report": ["--json", "--set", "folder"],
        "stages": ["--json", "--markdown", "name"],
        "schema": ["--config-schema", "--json", "--set", "config"],
        "doctor": ["--json"],
    }


def test_help_is_fast_and_begins_with_an_example() -> None:
    code = (
        "import os, sys, time\n"
        "from pipelines.cli import main\n"
        "sys.argv = ['curate', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pyarrow', 'pydantic', 'polars', 'numba', 'duckdb', 'rich', 'ruamel'} & set(sys.modules)\n"
        "print(sorted(heavy), time.process_time(), file=sys.stderr)\n"
    )
    seconds = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": str(REPO)},
        )  # fmt: skip
        modules, _, cpu = done.stderr.rpartition(" ")
        assert modules == "[]"
        seconds.append(float(cpu))
    assert "Example: curate plan" in done.stdout
    assert min(seconds) < 0.3  # 0.13 measured on an idle machine; the rest is room for a busy one


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pln",), "Did you mean 'plan'?"),
        (("plan", "--jsn"), "--json"),
        (("stages", "langauge"), "did you mean `language`?"),
        (("init", "--kind", "wrc", "--json"), "did you mean 'warc'?"),
    ],
)
def test_wrong_words_bring_the_nearest_right_one(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = curate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr + done.stdout


def test_config_errors_go_to_stderr_with_exit_2(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(MINIMAL + "recipee: {}\n")
    done = curate("plan", "c.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("c.yaml:2:1: error: unknown key `recipee`\n     2 | recipee: {}\n")
    assert "did you mean `recipe`?" in done.stderr


def test_config_errors_are_objects_with_json(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(MINIMAL + "recipee: {}\n")
    answer = json.loads(curate("plan", "c.yaml", "--json", cwd=tmp_path).stdout)
    assert (answer["schema"], answer["command"], answer["ok"], answer["exit_code"]) == (1, "plan", False, 2)
    (issue,) = answer["error"]["issues"]
    assert {k: issue[k] for k in ("file", "line", "column", "path", "code")} == {
        "file": "c.yaml", "line": 2, "column": 1, "path": "recipee", "code": "unknown_key"}  # fmt: skip


def test_print_config_shows_each_value_and_its_origin(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(MINIMAL)
    answer = json.loads(
        curate("plan", "c.yaml", "--print-config", "--json", "--set", "run.seed=4", cwd=tmp_path).stdout
    )
    assert answer["config"]["run"]["seed"] == 4
    assert answer["origins"]["run.seed"] == "--set"
    assert answer["origins"]["input.kind"] == "c.yaml:1"
    assert answer["origins"]["run.workers"] == "default"


def test_without_a_config_the_one_here_is_meant(tmp_path: Path) -> None:
    (tmp_path / "curate.yaml").write_text(MINIMAL + "run: {name: here}\n")
    answer = json.loads(curate("plan", "--print-config", "--json", cwd=tmp_path).stdout)
    assert answer["config"]["run"]["name"] == "here"


def test_init_writes_what_its_kind_needs() -> None:
    for kind, path in (("warc", "d/a.warc.gz"), ("wet", "d/a.warc.wet.gz"), ("jsonl", "d/a.jsonl.zst"),
                       ("parquet", "d/a.parquet")):  # fmt: skip
        text = starter_of(kind, path)
        assert f"kind: {kind}" in text
        from pipelines.yaml_reader import Document, parse_yaml

        document = parse_yaml(text, Document(file="x"))
        assert document.data["input"]["paths"] == [path]
        assert ("url_filter" in text) == (kind == "warc")


def starter_of(kind: str, path: str) -> str:
    from pipelines.commands.init import guess_kind, starter

    assert guess_kind(path) == kind
    return starter("demo", kind, [path])


def test_init_names_paths_relative_to_the_config_and_overwrites_only_if_told(tmp_path: Path) -> None:
    done = curate("init", "demo", "--paths", "data/*.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["paths"] == ["../data/*.jsonl"]
    assert curate("init", "demo", "--paths", "data/*.jsonl", cwd=tmp_path).returncode == 2
    assert curate("init", "demo", "--paths", "data/*.jsonl", "--force", cwd=tmp_path).returncode == 0


def test_show_draws_the_same_documents_for_the_same_seed(run_folder: Path) -> None:
    first = ids(curate("show", str(run_folder), "--limit", "4", "--json"))
    again = ids(curate("show", str(run_folder), "--limit", "4", "--json"))
    other = ids(curate("show", str(run_folder), "--limit", "4", "--seed", "1", "--json"))
    assert first == again
    assert len(set(first)) == 4
    assert first != other


def test_show_does_not_depend_on_how_documents_are_spread_over_shards(run_folder: Path) -> None:
    before = ids(curate("show", str(run_folder), "--limit", "3", "--json"))
    both = pa.concat_tables([pq.read_table(run_folder / f"corpus/{i}.parquet") for i in (1, 0)])
    (run_folder / "corpus/1.parquet").unlink()
    pq.write_table(both, run_folder / "corpus/0.parquet")
    assert ids(curate("show", str(run_folder), "--limit", "3", "--json")) == before


def test_show_filters_by_expression_and_names_columns(run_folder: Path) -> None:
    done = curate("show", str(run_folder), "--where", "lite_score >= 0.7", "--columns", "id,lite_score", "--json")
    rows = json.loads(done.stdout)["documents"]
    assert sorted(int(r["id"], 16) for r in rows) == [7, 8, 9]
    assert all(list(r) == ["id", "lite_score"] for r in rows)


@pytest.mark.parametrize("reason", ["language", "language_not_kept", "language.language_not_kept", "any"])
def test_show_reads_dropped_documents(run_folder: Path, reason: str) -> None:
    done = curate("show", str(run_folder), "--reason", reason, "--json")
    assert sorted(ids(done)) == [20, 21, 22]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--reason", "langage"), "did you mean 'language'?"),
        (("--columns", "lite_scor"), "did you mean 'lite_score'?"),
        (("--where", "lite_scor > 1"), "did you mean 'lite_score'?"),
        (("--where", "__import__('os')"), "--where"),
    ],
)
def test_show_says_what_would_be_right(run_folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = curate("show", str(run_folder), *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_show_writes_no_control_or_bidi_character_to_a_terminal(run_folder: Path) -> None:
    done = curate("show", str(run_folder), "--where", 'contains(text, "bold")')
    assert "bold \\x1b[1m and \\u202e reversed\nsecond line" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_a_reader_that_leaves_early_ends_it_quietly(run_folder: Path) -> None:
    command = f"{sys.executable} -m pipelines.cli show {run_folder} --limit 10 --json | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("{", "", 0)


def test_a_run_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    done = curate("show", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: there is no run at {tmp_path}/none")


def failing(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> Done:
    """A command with a body of its own, through the edge that all commands pass."""
    from pipelines.guarding import call

    module = types.ModuleType("pipelines.commands.probe")
    source = "def main():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    exec(source, vars(module))
    monkeypatch.setitem(sys.modules, "pipelines.commands.probe", module)
    monkeypatch.setenv("CURATE_CACHE", str(folder))
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        call("probe", False)
    signal.signal(signal.SIGTERM, before)
    return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())


def test_a_fault_of_our_own_ends_with_70_and_a_report_without_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = failing(
        tmp_path, "secret = 'document text'\nraise ValueError('api_key: verysecret ' + 'x' * 500)", monkeypatch
    )
    assert done.returncode == 70
    (report,) = (tmp_path / "faults").iterdir()
    assert str(report) in done.stderr
    assert "Traceback" not in done.stderr
    text = report.read_text()
    assert "builtins.ValueError" in text
    assert "in main" in text
    assert "document text" not in text
    assert "verysecret" not in text
    assert max(map(len, text.splitlines())) < 400
    assert report.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("from curate.errors import ThresholdError\nraise ThresholdError('x')", 3),
        ("from curate.errors import BudgetError\nraise BudgetError('x')", 4),
        ("from curate.errors import VerificationError\nraise VerificationError('x')", 5),
        ("from curate.errors import TaskError\nraise TaskError('x')", 6),
        ("from curate.errors import EnvironmentGone\nraise EnvironmentGone('x')", 7),
        ("from curate.errors import ModelError\nraise ModelError('x')", 2),
        ("import errno, os\nraise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), '/full')", 7),
        ("raise KeyboardInterrupt", 130),
    ],
)
def test_errors_end_with_their_own_code(tmp_path: Path, body: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = failing(tmp_path, body, monkeypatch)
    assert done.returncode == code
    assert done.stderr.count("\n") <= 2


def test_sigterm_ends_with_143(tmp_path: Path) -> None:
    code = (
        "import sys, time, types\nfrom pipelines.guarding import call\n"
        "module = types.ModuleType('pipelines.commands.probe')\n"
        "def main():\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "module.main = main\nsys.modules['pipelines.commands.probe'] = module\ncall('probe', False)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(REPO), "CURATE_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "interrupted" in errors


def test_plain_progress_says_little() -> None:
    from pipelines.progress import Progress
    from pipelines.render import PlainProgress

    now = [0.0]
    stream = io.StringIO()
    show = PlainProgress(stream, clock=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        show(Progress("documents", tasks_done=second, tasks=24, documents=second * 100, kept=second * 60,
                      bytes_done=second * 10**6, bytes_total=24 * 10**6, seconds=second))  # fmt: skip
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "documents: 0 %", "documents: 42 %", "documents: 83 %", "documents: 100 %"]  # fmt: skip
    assert lines[1] == "documents: 42 %, 10/24 tasks, 1,000 documents (100/s), 1 MB/s, kept 60.0 %, 14 s left"


def test_live_progress_draws_on_a_terminal() -> None:
    from pipelines.progress import Progress
    from pipelines.render import LiveProgress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    live = LiveProgress(stream)
    with live.bars:
        live(Progress("documents", tasks_done=1, tasks=2, documents=50, kept=20, seconds=1.0))
        time.sleep(0.01)
    assert "documents" in stream.getvalue()
    assert "kept 40.0 %" in stream.getvalue()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("plain", "plain"), ("é漢", "é漢"), ("\x1b[31m", "\\x1b[31m"), ("a\u202eb", "a\\u202eb"), ("\x00", "\\x00"),
     ("\u2028", "\\u2028"), ("\ud800", "\\ud800"), ("a\nb", "a\\x0ab"), ("\U000e0041", "\\U000e0041"),
     ("\x9b", "\\x9b")],
)  # fmt: skip
def test_safe_text_has_no_character_that_commands_a_terminal(raw: str, shown: str) -> None:
    from pipelines.render import safe

    assert safe(raw) == shown


def test_tables_align_wide_characters_and_numbers() -> None:
    from pipelines.render import table

    assert table(("name", "n"), [("漢字", 1), ("ab", 1234)]).splitlines() == [
        "name      n",
        "漢字      1",
        "ab    1,234",
    ]


def test_doctor_answers_with_one_document_and_finds_this_python() -> None:
    answer: dict[str, Any] = json.loads(curate("doctor", "--json").stdout)
    assert answer["schema"] == 1
    found = {f["what"]: f for f in answer["findings"]}
    assert found["python"]["state"] == "ok"
    assert found["packages"]["detail"].endswith("required packages fit")
    assert {"extra ray", "extra models", "processors", "compiled kernels", "language model"} <= set(found)


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [("2.3.5", ">=2.1", True), ("0.10.1", ">=0.10.1,<0.11", True), ("0.11", ">=0.10.1,<0.11", False),
     ("2.0", ">=2.1", False), ("1.0rc1", ">=1.0", True), ("3", "", True), ("1.2", "==1.2.0", True),
     ("1", "!=1", False)],
)  # fmt: skip
def test_doctor_compares_versions(version: str, wanted: str, fits: bool) -> None:
    from pipelines.commands.doctor import _satisfies

    assert _satisfies(version, wanted) is fits


def test_stages_tell_what_they_add_drop_and_can_be_told() -> None:
    answer = json.loads(curate("stages", "language", "--json").stdout)
    (card,) = answer["stages"]
    assert {"language_code", "language_score"} <= {c["name"] for c in card["adds"]}
    assert "language_not_kept" in card["reasons"]
    keys = {k["name"]: k for k in card["keys"]}
    assert keys["min_score"]["type"] == "number or null"
    assert keys["top_k"]["default"] == 3
    assert all(k["meaning"] for k in card["keys"])


def test_raters_are_named_and_one_tells_its_columns_and_what_it_needs() -> None:
    done = curate("stages", "--json")
    assert "lite" in json.loads(done.stdout)["raters"]
    (card,) = json.loads(curate("stages", "dclm_oh_eli5", "--json").stdout)["raters"]
    assert [c["name"] for c in card["adds"]] == ["dclm_oh_eli5_score", "dclm_oh_eli5_status"]
    assert card["needs_model"] and not card["self_contained"] and card["licence"]
    assert "card: dclm_oh_eli5, model: PATH" in curate("stages", "dclm_oh_eli5").stdout
    (own,) = json.loads(curate("stages", "lite", "--json").stdout)["raters"]
    assert own["self_contained"] and not own["needs_model"]


def test_the_markdown_table_of_stages_has_a_row_per_stage() -> None:
    from curate.stages import STAGES

    lines = curate("stages", "--markdown").stdout.splitlines()
    assert [line.split("|")[1].strip(" `") for line in lines[2:]] == list(STAGES)


def test_columns_are_told_with_unit_range_and_meaning() -> None:
    rows = {c["column"]: c for c in json.loads(curate("schema", "--json").stdout)["columns"]}
    assert rows["id"]["meaning"] == "xxh3-128 of source and offset, 32 hex digits"
    assert rows["offset"]["unit"] == "bytes or rows"
    assert rows["language_score"]["from"] == "language"


def test_completion_is_offered() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli"], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPO), "_CURATE_COMPLETE": "complete_bash", "COMP_WORDS": "curate pl",
             "COMP_CWORD": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "plan"


@pytest.mark.slow
def test_a_run_can_be_looked_at_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lines = [json.dumps({"id": str(i), "text": f"Document {i // 2} has a few words of its own."}) for i in range(8)]
    (tmp_path / "in" / "a.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "curate.yaml").write_text(MINIMAL + "dedup: [exact]\nrun: {workers: 1}\nreport: null\n")
    ran = curate("run", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert (answer["in"], answer["kept"]) == (8, 4)
    verified = json.loads(curate("verify", "out/curate", "--json", cwd=tmp_path).stdout)
    assert verified["ok"] is True
    assert sum(verified["dropped"].values()) == 4
    planned = json.loads(curate("plan", "--json", cwd=tmp_path).stdout)
    assert all(step["todo"] == 0 for step in planned["steps"])
    shown = json.loads(curate("show", "out/curate", "--reason", "any", "--limit", "1", "--json", cwd=tmp_path).stdout)
    (gone,) = shown["documents"]
    told = json.loads(curate("why", gone["id"], "--run", "out/curate", "--json", cwd=tmp_path).stdout)
    assert told["end"] == "dropped"
    assert json.loads(curate("status", "out/curate", "--json", cwd=tmp_path).stdout)["state"] == "complete"
    refused = curate("mix", "out/curate", "--set", "run.seed=3", cwd=tmp_path)
    assert refused.returncode == 2
    assert "only recipe and mix" in refused.stderr
