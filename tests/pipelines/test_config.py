"""Configs: what is read, what is refused, and where the message points."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import Config, load_config
from pipelines.config_errors import ConfigProblems
from pipelines.yaml_reader import plain_scalar, read_yaml

MINIMAL = "input: {kind: jsonl, paths: [in/*.jsonl]}\n"


def write(folder: Path, text: str | bytes, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(folder: Path, text: str | bytes, *overrides: str, environment: dict[str, str] | None = None) -> Config:
    return load_config(write(folder, text), overrides, environment=environment or {})


def issues_of(folder: Path, text: str | bytes, *overrides: str, environment: dict[str, str] | None = None) -> list[Any]:
    with pytest.raises(ConfigProblems) as caught:
        load(folder, text, *overrides, environment=environment)
    assert caught.value.exit_code == 2
    return caught.value.issues


def test_defaults_fill_in_name_and_output_from_the_file_name(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL, "my crawl.yaml"))
    assert (config.run.name, config.run.output, config.run.workers) == ("my-crawl", "out/my-crawl", "auto")
    assert config.recipe is None
    assert config.keep is None


def test_all_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    text = (
        "run:\n  workers: [1, 2]\n  outputt: x\nworker: 4\n"
        "input: {kind: jsnl, paths: [a], verify_digests: no, batch_mb: '3'}\n"
        "stages:\n  - langage: {}\nrecipe: {max_epochs: 0, rule: unimx}\n"
    )
    found = issues_of(tmp_path, text)
    places = [(i.line, i.column, i.path, i.code) for i in found]
    assert places == [
        (2, 12, "run.workers", "bad_value"),
        (3, 3, "run.outputt", "unknown_key"),
        (4, 1, "worker", "unknown_key"),
        (5, 15, "input.kind", "bad_value"),
        (5, 49, "input.verify_digests", "wrong_type"),
        (5, 63, "input.batch_mb", "wrong_type"),
        (7, 5, "stages.langage", "unknown_name"),
        (8, 22, "recipe.max_epochs", "bad_value"),
        (8, 31, "recipe.rule", "bad_value"),
    ]
    hints = {i.path: i.hint for i in found}
    assert hints["run.outputt"].startswith("did you mean `output`?")
    assert hints["worker"].startswith("did you mean `run.workers`?")
    assert hints["input.kind"] == "did you mean `jsonl`?"
    assert hints["input.verify_digests"] == "write `false`"
    assert hints["stages.langage"].startswith("did you mean `language`?")
    assert hints["recipe.rule"] == "did you mean `unimax`?"


def test_a_message_shows_file_line_caret_and_guess(tmp_path: Path) -> None:
    text = str(issues_of(tmp_path, "input:\n  kind: jsonl\n  path: [a]\n")[1])
    lines = text.splitlines()
    assert lines[0] == f"{tmp_path}/c.yaml:3:3: error: unknown key `path` in input"
    assert lines[1] == "     3 |   path: [a]"
    assert lines[2].startswith("       |   ^^^^  did you mean `paths`? (known: ")


def test_no_more_than_twenty_mistakes_are_printed_but_all_are_kept(tmp_path: Path) -> None:
    text = MINIMAL + "".join(f"k{i}: 1\n" for i in range(30))
    with pytest.raises(ConfigProblems) as caught:
        load(tmp_path, text)
    assert len(caught.value.issues) == 30
    assert str(caught.value).endswith("… and 10 more")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e9", 1e9), ("1_000_000", 1_000_000), ("010", 10), ("0o17", 15), ("0x1F", 31), ("no", "no"), ("on", "on"),
        ("12:30", "12:30"), ("2024-01-02", "2024-01-02"), ("1.10", 1.1), ("~", None), ("", None), ("true", True),
        ("True", True), ("yes", "yes"), ("-3", -3), (".5", 0.5), ("1.", 1.0), ("1e-3", 0.001), ("e3", "e3"),
        ("1.2.3", "1.2.3"), ("-", "-"), ("+7", 7), ("nan", "nan"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(written: str, value: Any) -> None:
    assert plain_scalar(written) == value
    assert type(plain_scalar(written)) is type(value)


@pytest.mark.parametrize(
    "written", ["1e9", "1_000", "010", "0o17", "no", "12:30", "1.10", "true", "~", "-3", ".5", "+7"]
)
def test_scalars_agree_with_ruamel(written: str) -> None:
    from ruamel.yaml import YAML

    assert YAML(typ="safe", pure=True).load(f"x: {written}")["x"] == plain_scalar(written)


def test_a_round_float_is_a_whole_number_where_one_is_wanted(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + "recipe: {budget_tokens: 1e9, max_epochs: 4}\n")
    assert config.recipe is not None
    assert config.recipe.budget_tokens == 1_000_000_000
    assert type(config.recipe.budget_tokens) is int
    assert config.recipe.max_epochs == 4.0


def test_norwegian_is_not_false(tmp_path: Path) -> None:
    config = load(tmp_path, "input: {kind: jsonl, paths: [a], text_column: no}\n")
    assert config.input.text_column == "no"


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "empty", 1),
        ("# nothing\n", "empty", 1),
        ("- a\n- b\n", "not_a_map", 1),
        ("just text\n", "not_a_map", 1),
        (MINIMAL + MINIMAL, "duplicate_key", 2),
        (MINIMAL + "---\n" + MINIMAL, "two_documents", 2),
        (MINIMAL + "evil: !!python/object/apply:os.system ['true']\n", "tag", 2),
        (MINIMAL + "x: !mine 3\n", "tag", 2),
        (MINIMAL + "x: &a [1]\ny: *a\n", "anchor", 2),
        (MINIMAL + "x: *a\n", "anchor", 2),
        (MINIMAL + "deep: " + "[" * 5000 + "]" * 5000 + "\n", "too_deep", 2),
        (MINIMAL + "\tx: 1\n", "syntax", 2),
        (MINIMAL + "x: {a: 1\n", "syntax", 3),
        ("%YAML 1.1\n---\n" + MINIMAL, "version", 1),
        (MINIMAL.encode() + b"# caf\xe9\n", "not_utf8", 2),
        (MINIMAL.encode() + b"x: \x00\n", "control_character", 2),
        (MINIMAL.encode("utf-16"), "not_utf8", 1),
        (MINIMAL + "#" * 256 * 1024, "too_large", 0),
    ],
)
def test_forms_that_are_refused(tmp_path: Path, text: str | bytes, code: str, line: int) -> None:
    first = issues_of(tmp_path, text)[0]
    assert (first.code, first.line) == (code, line)


def test_ten_megabytes_of_comments_are_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + ("# " + "c" * 98 + "\n") * 100_000)
    start = time.process_time()
    with pytest.raises(ConfigProblems):
        load_config(path)
    assert time.process_time() - start < 0.5


def test_bom_and_crlf_are_fine(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + (MINIMAL + "run:\n  name: x\n").replace("\n", "\r\n").encode()
    assert load(tmp_path, text).run.name == "x"


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems, match="no such file"):
        load_config(tmp_path / "none.yaml")


def test_environment_is_read_only_where_written(tmp_path: Path) -> None:
    text = 'input: {kind: jsonl, paths: ["${DATA}/x.jsonl"]}\nrun: {output: "$HOME/x", name: "a"}\n'
    config = load(tmp_path, text, environment={"DATA": "/data", "HOME": "/root"})
    assert config.input.paths == ("/data/x.jsonl",)
    assert config.run.output == "$HOME/x"


def test_resolved_holds_references_not_values(tmp_path: Path) -> None:
    text = MINIMAL + "run:\n  output: ${WHERE}/x\n"
    config = load(tmp_path, text, environment={"WHERE": "/secret-place"})
    assert config.run.output == "/secret-place/x"
    assert "secret-place" not in json.dumps(config.resolved())
    assert config.resolved()["run"]["output"] == "${WHERE}/x"
    assert config.resolved(references=False)["run"]["output"] == "/secret-place/x"


def test_a_plain_reference_is_typed_like_any_plain_value(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + "run:\n  workers: ${N}\n", environment={"N": "3"}).run.workers == 3


def test_an_escaped_dollar_is_no_reference(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + "report: {title: '$${x}'}\n")
    assert config.report is not None
    assert config.report.title == "${x}"


@pytest.mark.parametrize("value", ["${NOT_SET}", "a${NOT_SET}b", "${}", "${1x}", "${A"])
def test_a_variable_that_is_not_set_is_an_error(tmp_path: Path, value: str) -> None:
    first = issues_of(tmp_path, MINIMAL + f"run:\n  output: '{value}'\n")[0]
    assert first.code in ("unset_variable", "variable")
    assert first.line == 3


@pytest.mark.parametrize(
    "line",
    [
        "foo: sk-TESTSECRET0002",
        "api_key: plainword",
        "foo: https://user:sk-TESTSECRET0001@127.0.0.1:1/v1",
        "foo: https://me:hunter2@host/x",
        "foo: AKIAIOSFODNN7EXAMPLE",
        "foo: ghp_0123456789abcdefghijABCDEFGHIJ456789",
        "foo: [ok, hf_abcdefghijklmnopqrstuvwxyzABCDEFGH]",
        "password: hunter2",
        "foo: s3://b/x?X-Amz-Signature=abcdef0123456789",
    ],
)
def test_a_written_out_secret_is_refused_and_never_shown(tmp_path: Path, line: str) -> None:
    found = issues_of(tmp_path, MINIMAL + f"mix:\n  {line}\n")
    assert any(i.code == "secret" and "${NAME}" in i.hint for i in found)
    shown = "\n".join(map(str, found)) + json.dumps([i.to_json() for i in found])
    for secret in ("TESTSECRET", "plainword", "hunter2", "IOSFODNN7", "ghp_0123", "hf_abc", "abcdef0123456789"):
        assert secret not in shown


def test_a_secret_is_not_shown_by_a_syntax_error_on_its_line(tmp_path: Path) -> None:
    shown = str(issues_of(tmp_path, MINIMAL + "mix: {api_key: verysecretword\n  x: [\n")[0])
    assert "verysecretword" not in shown


def test_a_secret_in_an_override_is_refused_and_never_shown(tmp_path: Path) -> None:
    shown = "\n".join(map(str, issues_of(tmp_path, MINIMAL, "report.title=sk-TESTSECRET0003")))
    assert "looks like a secret" in shown
    assert "TESTSECRET" not in shown


def test_templates_and_shell_are_plain_text(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + "run:\n  output: OUT-{{7*7}}-$(touch PWNED)-`touch PWNED`-%(x)s\n")
    assert config.run.output == "OUT-{{7*7}}-$(touch PWNED)-`touch PWNED`-%(x)s"
    assert not list(Path.cwd().glob("PWNED*"))


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "curate.stages.language:Language", "__import__"])
def test_stages_come_from_the_registry_only(tmp_path: Path, name: str) -> None:
    first = issues_of(tmp_path, MINIMAL + f"stages:\n  - '{name}': {{}}\n")[0]
    assert first.code == "unknown_name"


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("IN", "IN"), ("IN/out", "IN"), ("IN/../IN", "IN"), ("IN/out", "IN/**/*.jsonl"), ("IN/out", "IN/*/*.jsonl"),
        ("IN/link/out", "IN"), ("OTHER", "OTHER/corpus/x.jsonl"), ("./IN/out/", "IN/"),
    ],
)  # fmt: skip
def test_a_run_does_not_read_its_own_output(tmp_path: Path, output: str, path: str) -> None:
    (tmp_path / "IN").mkdir()
    (tmp_path / "IN" / "link").symlink_to(tmp_path / "IN")
    text = f"input: {{kind: jsonl, paths: ['{path}']}}\nrun: {{output: '{tmp_path}/{output}'}}\n"
    assert [i.code for i in issues_of(tmp_path, text)] == ["output_in_input"]


@pytest.mark.parametrize(
    ("output", "path"),
    [("out", "IN"), ("IN/out", "IN/*.jsonl"), ("IN-out", "IN"), ("out", "IN/**/*.jsonl"), ("IN/b", "IN/a/*.jsonl")],
)
def test_an_output_beside_the_input_is_fine(tmp_path: Path, output: str, path: str) -> None:
    text = f"input: {{kind: jsonl, paths: ['{path}']}}\nrun: {{output: '{tmp_path}/{output}'}}\n"
    assert load(tmp_path, text).run.output == f"{tmp_path}/{output}"


def test_input_paths_are_relative_to_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = load(tmp_path, "input: {kind: jsonl, paths: [in/*.jsonl, /abs/x.jsonl, 's3://b/y.jsonl'], root: in}\n")
    assert config.input.paths == (f"{tmp_path}/in/*.jsonl", "/abs/x.jsonl", "s3://b/y.jsonl")
    assert config.input.root == f"{tmp_path}/in"
    assert config.base == tmp_path


def test_one_path_may_be_written_without_a_list(tmp_path: Path) -> None:
    assert load(tmp_path, "input: {kind: jsonl, paths: /a/b.jsonl}\n").input.paths == ("/a/b.jsonl",)


def test_run_yaml_means_the_same_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    text = 'input: {kind: jsonl, paths: ["${SUB}/*.jsonl", x.jsonl], root: "."}\nrun: {output: /o/u/t}\n'
    first = load_config(write(tmp_path / "a", text), environment={"SUB": "in"})
    second = load_config(write(tmp_path / "b", json.dumps(first.resolved()), "run.yaml"), environment={"SUB": "in"})
    assert second.resolved() == first.resolved()
    assert second.input == first.input
    assert second.base == first.base == tmp_path / "a"


def test_a_config_survives_pickling_with_its_places(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL, "run.seed=7")
    again = pickle.loads(pickle.dumps(config))
    assert again.resolved() == config.resolved()
    assert again.origins() == config.origins()
    assert again.base == tmp_path


def test_every_value_knows_where_it_came_from(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL + "run:\n  seed: 3\n", "recipe.rule=natural")
    origins = config.origins()
    assert origins["run.seed"] == f"{tmp_path}/c.yaml:3"
    assert origins["recipe.rule"] == "--set"
    assert origins["recipe.max_epochs"] == "default"
    assert origins["run.workers"] == "default"


def test_configs_are_frozen(tmp_path: Path) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        load(tmp_path, MINIMAL).run.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("bands", "code"),
    [
        ("{edges: [1, 2], quantiles: [0.5]}", "bad_value"),
        ("{edges: [2, 1]}", "bad_value"),
        ("{quantiles: [1.5]}", "bad_value"),
    ],
)
def test_quality_bands_are_cut_one_way_and_ascend(tmp_path: Path, bands: str, code: str) -> None:
    assert [i.code for i in issues_of(tmp_path, MINIMAL + f"recipe: {{quality_bands: {bands}}}\n")] == [code]


def test_keep_is_parsed_when_the_config_is(tmp_path: Path) -> None:
    first = issues_of(tmp_path, MINIMAL + "keep: __import__('os')\n")[0]
    assert (first.code, first.line) == ("expression", 2)


def test_dedup_names_each_way_once(tmp_path: Path) -> None:
    assert [i.code for i in issues_of(tmp_path, MINIMAL + "dedup: [exact, exact: {}]\n")] == ["dedup"]
    assert [s.name for s in load(tmp_path, MINIMAL + "dedup: [exact, minhash: {threshold: 0.7}]\n").dedup] == [
        "exact", "minhash"]  # fmt: skip


def test_positions_are_those_of_the_source(tmp_path: Path) -> None:
    document = read_yaml(write(tmp_path, "a:\n  - b: 1\n    c: [x, y]\n"))
    assert document.data == {"a": [{"b": 1, "c": ["x", "y"]}]}
    mark = document.values["a", 0, "c", 1]
    assert (mark.line, mark.column) == (3, 12)
    assert document.keys["a", 0, "c"].column == 5


def test_reading_a_config_loads_no_model_library(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    code = (
        "import sys; from pipelines.config import load_config; load_config(sys.argv[1]); "
        "bad = {'torch', 'fasttext', 'trafilatura', 'sklearn', 'polars', 'duckdb', 'datatrove'} & set(sys.modules); "
        "assert not bad, bad"
    )
    repo = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment, timeout=60)


def test_a_model_that_looks_before_its_fields_still_takes_lists(tmp_path: Path) -> None:
    options: Any = load(tmp_path, MINIMAL + "dedup: [minhash: {prefer: [{column: date}]}]\n").dedup[0].options
    assert options.prefer[0].column == "date"
    found = issues_of(tmp_path, MINIMAL + "dedup: [minhash: {prefer: [{colum: date}]}]\n")
    assert {i.code for i in found} == {"missing", "unknown_key"}


def test_quality_bands_are_there_where_groups_name_them(tmp_path: Path) -> None:
    named = load(tmp_path, MINIMAL + "recipe: {}\n").recipe
    assert named is not None and named.quality_bands is not None
    assert named.quality_bands.column == "lite_overall_score"
    other = load(tmp_path, MINIMAL + "recipe: {groups: [language_code]}\n").recipe
    assert other is not None and other.quality_bands is None
