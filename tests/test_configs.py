"""The ready configs: each is read, planned without a network, and says what it means; the keys do not change unseen."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import Config, load_config
from pipelines.config_errors import ConfigProblems

REPO = Path(__file__).resolve().parent.parent
CONFIGS = sorted((REPO / "configs").glob("*.yaml"))
READY = {"quickstart", "common_crawl", "multilingual", "wet", "jsonl", "dedup_jsonl", "rate_jsonl", "extract_only"}
KEYS = {
    "run": [
        "base", "cpu_seconds_per_document", "document_memory_mb", "keep_dropped_text", "launcher", "max_dropped_ratio",
        "max_failed_files", "max_failed_ratio", "name", "output", "seed", "task_attempts", "worker_memory_mb",
        "workers",
    ],
    "input": [
        "allow_outside", "batch_documents", "batch_mb", "carry", "content_column", "date_column", "decoded_mb",
        "decoded_ratio", "follow_symlinks", "header_kb", "id_column", "json_depth", "kind", "line_mb", "list_prefix",
        "max_files", "paths", "record_mb", "root", "text_column", "text_mb", "url_column", "verify_digests",
        "zstd_window_mb",
    ],
    "stages": None,
    "dedup": None,
    "labels": None,
    "opt_out": ["domains", "ids", "purge", "urls"],
    "vectors": None,
    "scores": None,
    "select": None,
    "domains": ["from"],
    "keep": None,
    "recipe": [
        "budget_tokens", "groups", "max_epochs", "quality_bands", "repeat_column", "rule", "seed", "temperature",
        "token_column",
    ],
    "mix": ["columns", "shard_tokens"],
    "report": ["bins", "examples", "title"],
}  # fmt: skip


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting or resolving a name is an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def schema() -> dict[str, Any]:
    from pipelines.config_schema import config_json_schema

    return config_json_schema()


def test_the_ready_configs_are_there() -> None:
    assert {c.stem for c in CONFIGS} == READY


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.stem)
def test_a_ready_config_is_planned_offline(
    config: Path, no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.cli import main

    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        main(["plan", str(config), "--json"])
    signal.signal(signal.SIGTERM, before)
    answer = json.loads(capsys.readouterr().out)
    assert end.value.code == 0, answer
    assert answer["steps"][0]["name"] == "documents"
    assert all(step["todo"] == step["tasks"] for step in answer["steps"])
    if "https://" in load_config(config).input.paths[0]:
        assert answer["files"] is None
        assert any("when the run starts" in note for note in answer["notes"])
    else:
        assert answer["files"] > 0
    assert not list(tmp_path.iterdir()), "a plan writes nothing"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.stem)
def test_a_ready_config_begins_with_what_it_is_for(config: Path) -> None:
    lines = config.read_text("utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert sum(line.strip().startswith("#") for line in lines) >= 2
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.stem)
def test_what_a_ready_config_selects_and_groups_by_is_made(config: Path) -> None:
    from curate.select.expressions import parse_selection
    from pipelines.columns import corpus_fields

    loaded = load_config(config)
    names = [field.name for field in corpus_fields(loaded)]
    if loaded.keep is not None:
        parse_selection(loaded.keep).check(names)
    if loaded.recipe is not None:
        assert set(loaded.recipe.groups) <= set(names)
        assert loaded.recipe.token_column in names
    assert "text" in names


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.stem)
def test_a_ready_config_fits_the_json_schema(config: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from pipelines.yaml_reader import read_yaml

    jsonschema.validate(read_yaml(config).data, schema())


def test_the_resolved_form_of_a_config_fits_the_json_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(load_config(REPO / "configs" / "quickstart.yaml").resolved(), schema())


def test_schema_json_is_current() -> None:
    stored = json.loads((REPO / "configs" / "schema.json").read_text("utf-8"))
    assert stored == json.loads(json.dumps(schema())), "run: curate schema --config-schema > configs/schema.json"


def test_schema_json_has_a_meaning_for_every_key() -> None:
    shape = json.loads((REPO / "configs" / "schema.json").read_text("utf-8"))
    missing = []
    for name, section in shape["properties"].items():
        assert section["description"], name
        for one in [section, *section.get("anyOf", [])]:
            missing += [f"{name}.{k}" for k, v in one.get("properties", {}).items() if not v.get("description")]
    assert missing == []


def test_the_config_keys_are_the_ones_that_are_written_here() -> None:
    properties = schema()["properties"]
    found: dict[str, Any] = {}
    for name, section in properties.items():
        shapes = [s for s in [section, *section.get("anyOf", [])] if "properties" in s]
        found[name] = sorted(shapes[0]["properties"]) if shapes else None
    assert found == KEYS


def test_every_stage_can_be_named_in_a_config() -> None:
    from curate.stages import STAGES

    items = schema()["properties"]["stages"]["items"]["anyOf"]
    assert items[0]["enum"] == list(STAGES)
    assert [next(iter(branch["properties"])) for branch in items[1:]] == list(STAGES)


# Chains: what a stage needs must be there before it.


def chain(folder: Path, kind: str, stages: str) -> Config:
    path = folder / "c.yaml"
    path.write_text(f"input: {{kind: {kind}, paths: [in/x]}}\nstages: {stages}\n")
    return load_config(path)


@pytest.mark.parametrize(
    ("kind", "stages", "code", "hint"),
    [
        ("warc", "[]", "missing_column", "add extract_html to the stages"),
        ("warc", "[language]", "missing_column", "add extract_html before language"),
        ("wet", "[quality_rules]", "missing_column", "add text_stats before quality_rules"),
        ("wet", "[quality_rules, text_stats]", "missing_column", "add text_stats before quality_rules"),
        ("wet", "[extract_html]", "missing_column", "wet input has no pages; leave extract_html out"),
        ("wet", "[text_stats, text_stats]", "column_twice", "remove one of the two stages"),
        ("warc", "[extract_html, extract_html]", "missing_column", "an earlier extract_html takes `html` away"),
    ],
)
def test_a_chain_that_does_not_fit_is_refused(tmp_path: Path, kind: str, stages: str, code: str, hint: str) -> None:
    with pytest.raises(ConfigProblems) as caught:
        chain(tmp_path, kind, stages)
    first = caught.value.issues[0]
    assert (first.code, first.hint, first.line) == (code, hint, 2)


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        ("warc", "[extract_html]"),
        ("arc", "[extract_html, language]"),
        ("wet", "[]"),
        ("jsonl", "[text_stats, quality_rules]"),
        ("parquet", "[line_cleaning, line_dedup, language]"),
    ],
)
def test_a_chain_that_fits_is_taken(tmp_path: Path, kind: str, stages: str) -> None:
    assert chain(tmp_path, kind, stages).input.kind == kind


def test_a_problem_of_the_chain_points_at_the_stage(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("input: {kind: wet, paths: [in/x]}\nstages:\n  - language: {}\n  - quality_rules: {}\n")
    with pytest.raises(ConfigProblems) as caught:
        load_config(path)
    assert {(i.line, i.column) for i in caught.value.issues} == {(4, 5)}


def test_configs_name_no_folder_of_one_machine() -> None:
    for config in CONFIGS:
        text = config.read_text("utf-8")
        assert str(Path.home()) not in text
        assert "/tmp" not in text


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("keep: language_scor > 0.5\n", "keep", "did you mean `language_score`?"),
        ("domains: {from: language_cod}\n", "domains.from", "did you mean `language_code`?"),
        ("recipe: {groups: [domain]}\n", "recipe.groups[0]", "`domains: {from: …}` makes it"),
        ("recipe: {groups: [language_code, xyz]}\n", "recipe.groups[1]", "`curate schema CONFIG` lists the columns"),
        (
            "recipe: {groups: [quality_band]}\n",
            "recipe.quality_bands.column",
            "`curate schema CONFIG` lists the columns",
        ),
        ("recipe: {groups: [language_code]}\nmix: {columns: [txt]}\n", "mix.columns[0]", "did you mean `text`?"),
    ],
)
def test_a_column_that_nothing_makes_is_refused_before_any_work(
    tmp_path: Path, text: str, path: str, hint: str
) -> None:
    from pipelines.columns import check_columns

    file = tmp_path / "c.yaml"
    file.write_text("input: {kind: wet, paths: [in/x]}\nstages: [language]\n" + text)
    (issue,) = check_columns(load_config(file))
    assert (issue.path, issue.code, issue.hint) == (path, "unknown_column", hint)
    assert issue.line >= 3


def test_what_steps_and_stages_make_can_be_named(tmp_path: Path) -> None:
    from pipelines.columns import check_columns

    file = tmp_path / "c.yaml"
    file.write_text(
        "input: {kind: wet, paths: [in/x]}\nstages: [language]\ndedup: [exact]\ndomains: {from: language_code}\n"
        "keep: dedup_is_survivor and domain != 'xx'\nrecipe: {groups: [domain]}\n"
    )
    assert check_columns(load_config(file)) == []
