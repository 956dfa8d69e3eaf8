"""`--set`: typed like the file, addressed by name, refused with the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.config import Config, load_config
from pipelines.config_errors import ConfigProblems

TEXT = """\
input: {kind: jsonl, paths: [in/*.jsonl]}
stages:
  - line_dedup
  - text_stats: {}
  - quality_rules: {presets: [c4]}
dedup:
  - minhash: {threshold: 0.8}
"""


def load(folder: Path, *overrides: str, text: str = TEXT) -> Config:
    path = folder / "c.yaml"
    path.write_text(text)
    return load_config(path, overrides, environment={"W": "5"})


def problem(folder: Path, *overrides: str, text: str = TEXT) -> Any:
    with pytest.raises(ConfigProblems) as caught:
        load(folder, *overrides, text=text)
    return caught.value.issues[0]


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("run.workers=4", ("run", "workers"), 4),
        ("run.workers=auto", ("run", "workers"), "auto"),
        ("run.workers=${W}", ("run", "workers"), 5),
        ("run.max_failed_ratio=null", ("run", "max_failed_ratio"), None),
        ("run.max_failed_ratio=1e-2", ("run", "max_failed_ratio"), 0.01),
        ("run.keep_dropped_text=true", ("run", "keep_dropped_text"), True),
        ("input.text_column=no", ("input", "text_column"), "no"),
        ('input.text_column="3"', ("input", "text_column"), "3"),
        ("recipe.budget_tokens=1e9", ("recipe", "budget_tokens"), 1_000_000_000),
        ("recipe.groups=[a, b]", ("recipe", "groups"), ("a", "b")),
        ("mix.columns=[]", ("mix", "columns"), ()),
        ("keep=x >= 3 and y", ("keep",), "x >= 3 and y"),
        ("report=null", ("report",), None),
        ("labels=[lite]", ("labels",), ("lite",)),
        ("report.title=a=b: #c", ("report", "title"), "a=b: #c"),
        ("input.carry={n: int64}", ("input", "carry"), {"n": "int64"}),
    ],
)
def test_values_are_typed_as_in_the_file(tmp_path: Path, override: str, path: tuple[str, ...], value: Any) -> None:
    found: Any = load(tmp_path, override)
    for part in path:
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_a_stage_is_addressed_by_its_name(tmp_path: Path) -> None:
    config = load(tmp_path, "stages.line_dedup.min_chars=7", "stages.quality_rules.presets=[fineweb]")
    options: Any = {s.name: s.options for s in config.stages}
    assert options["line_dedup"].min_chars == 7
    assert options["quality_rules"].presets == ("fineweb",)
    assert config.origins()["stages.line_dedup.min_chars"] == "--set"


def test_a_way_of_finding_duplicates_is_addressed_by_its_name(tmp_path: Path) -> None:
    options: Any = load(tmp_path, "dedup.minhash.threshold=0.7").dedup[0].options
    assert options.threshold == 0.7


def test_a_stage_is_addressed_by_its_place(tmp_path: Path) -> None:
    options: Any = load(tmp_path, "stages[0].min_chars=9").stages[0].options
    assert options.min_chars == 9


def test_a_name_that_occurs_twice_asks_for_a_place(tmp_path: Path) -> None:
    text = "input: {kind: jsonl, paths: [a]}\nstages: [line_dedup, line_dedup]\n"
    found = problem(tmp_path, "stages.line_dedup.min_chars=3", text=text)
    assert (found.code, found.hint) == ("ambiguous", "write stages[0] or stages[1]")


def test_all_stages_can_be_replaced(tmp_path: Path) -> None:
    config = load(tmp_path, "stages=[line_dedup: {min_chars: 4}]")
    assert [s.name for s in config.stages] == ["line_dedup"]


def test_an_item_of_a_list_can_be_replaced(tmp_path: Path) -> None:
    assert load(tmp_path, "input.paths[0]=/x/y.jsonl").input.paths == ("/x/y.jsonl",)


def test_the_last_override_wins(tmp_path: Path) -> None:
    assert load(tmp_path, "run.seed=1", "run.seed=2").run.seed == 2


def test_a_section_can_be_replaced_and_then_refined(tmp_path: Path) -> None:
    config = load(tmp_path, "recipe={rule: natural}", "recipe.max_epochs=2")
    assert config.recipe is not None
    assert (config.recipe.rule, config.recipe.max_epochs) == ("natural", 2.0)


def test_paths_from_the_command_line_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load(tmp_path, "input.paths=[x.jsonl]")
    assert config.input.paths == (f"{tmp_path}/elsewhere/x.jsonl",)


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("run.wrkers=3", "unknown_key", "did you mean `workers`?"),
        ("inpt.kind=wet", "unknown_key", "did you mean `input`?"),
        ("stages.quality_rule.presets=[c4]", "unknown_name", "did you mean `quality_rules`?"),
        ("stages.pii.emails=null", "unknown_name", "in this config: line_dedup, text_stats, quality_rules"),
        ("stages.line_dedup.min_char=3", "unknown_key", "did you mean `min_chars`?"),
        ("stages[9].x=3", "unknown_name", "there is no [9]"),
        ("run.workers", "override", "key=value"),
        ("=3", "override", "key=value"),
        ("run..workers=3", "override", "not a path"),
        ("run.workers.=3", "override", "ends with a dot"),
        ("run.workers.x.y=3", "bad_value", "whole number"),
        ("recipe.groups[0]=z", "wrong_type", "write the whole list: recipe.groups=[…]"),
        ("run.workers=four", "bad_value", "expected `auto` or a whole number"),
        ("run.seed=-1", "bad_value", "at least 0"),
        ("run.max_failed_ratio=.inf", "not_finite", "null switches a limit off"),
        ("run.output=${NOT_SET}/x", "unset_variable", "NOT_SET is not set"),
        ("input.paths=[*.gz]", "anchor", 'input.paths=["*.gz"]'),
        ("input.paths=[a", "syntax", "not YAML"),
        ("run.name=[a]", "wrong_type", "expected text"),
        ("run.name=!!python/name:os.system", "bad_value", ""),
    ],
)
def test_wrong_overrides_say_what_would_be_right(tmp_path: Path, override: str, code: str, words: str) -> None:
    found = problem(tmp_path, override)
    assert (found.file, found.code) == ("--set", code)
    assert words in f"{found.message} {found.hint}"


def test_all_wrong_overrides_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems) as caught:
        load(tmp_path, "inpt.x=1", "run.wrkers=2", "stages.pii.x=3")
    assert len(caught.value.issues) == 3


def test_mistakes_of_the_file_come_before_those_of_overrides(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems) as caught:
        load(tmp_path, "run.wrkers=2", text=TEXT + "kep: x\n")
    assert [i.path for i in caught.value.issues] == ["kep", "run.wrkers"]
