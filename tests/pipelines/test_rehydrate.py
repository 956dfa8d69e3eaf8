"""Survivors are repeated in the mixture as often as the table says for the size of their cluster, tokens counted so."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from pipelines.config import load_config
from pipelines.config_errors import ConfigProblems
from tests.end_to_end.here import rows, run_here
from tests.running import WORDS, write_config

#: text → how often the input holds it
COPIES = {"a": 1, "b": 2, "c": 4, "d": 6}
#: size of the cluster → repeats, by this table
TABLE = [[1, 1], [2, 3], [4, 0], [5, 2]]
REPEATS = {"a": 1, "b": 3, "c": 0, "d": 2}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "input").mkdir()
    (tmp_path / "scratch").mkdir()
    lines = [
        json.dumps({"id": f"{name}{i}", "text": f"{name * 3} " + " ".join(WORDS[: 10 + 7 * ord(name) % 9])})
        for name, n in COPIES.items()
        for i in range(n)
    ]
    (tmp_path / "input/one.jsonl").write_text("\n".join(lines[::2]) + "\n")
    (tmp_path / "input/two.jsonl").write_text("\n".join(lines[1::2]) + "\n")
    return write_config(
        tmp_path / "r.json", tmp_path / "input", stages=[{"text_stats": {}}],
        dedup=[{"exact": {}}, {"rehydrate": {"table": TABLE}}],
        recipe={"groups": ["dedup_size"], "quality_bands": None, "rule": "natural", "repeat_column": "rehydrate_weight",
                "token_column": "text_stats_n_words"},
    )  # fmt: skip


def run(config: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Path:
    result = run_here(load_config(config, list(overrides)), config.parent / "scratch", monkeypatch)
    assert result.exit_code == 0, result.problems
    return config.with_suffix("")


def test_each_survivor_stands_in_the_mixture_as_often_as_the_table_says(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(config, monkeypatch)
    corpus = {row["text"][0]: row for row in rows(done, "corpus")}
    assert {name: row["rehydrate_weight"] for name, row in corpus.items()} == REPEATS
    mixed = rows(done, "mixed")
    assert Counter(row["text"][0] for row in mixed) == {k: n for k, n in REPEATS.items() if n}
    assert sorted(row["mix_epoch"] for row in mixed if row["text"][0] == "b") == [0, 1, 2]
    recipe = YAML(typ="safe").load((done / "recipe/recipe.yaml").read_text())
    words = {name: row["text_stats_n_words"] for name, row in corpus.items()}
    held = {str(COPIES[name]): words[name] * REPEATS[name] for name in COPIES}
    assert {g["group"]: g["tokens"] for g in recipe["groups"]} == held
    assert {g["group"]: g["available_tokens"] for g in recipe["groups"]} == held
    groups = {row["group"]: row for row in pq.read_table(done / "groups.parquet").to_pylist()}
    assert {k: (row["documents"], row["unique_documents"]) for k, row in groups.items()} == {
        "1": (1, 1), "2": (3, 1), "4": (0, 1), "6": (2, 1)
    }  # fmt: skip
    assert groups["2"]["unique_tokens"] * 3 == groups["2"]["tokens"] == held["2"]


def test_what_is_repeated_adds_up(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads((run(config, monkeypatch) / "dedup/rehydrate.json").read_text())
    assert (told["documents"], told["clustered"], told["repeated"]) == (4, 13, sum(REPEATS.values()))
    assert [(row["from"], row["to"], row["documents"], row["clustered"], row["repeated"]) for row in told["sizes"]] == [
        (1, 1, 1, 1, 1), (2, 3, 1, 2, 3), (4, 4, 1, 4, 0), (5, None, 1, 6, 2)
    ]  # fmt: skip


def test_two_epochs_of_repeats_are_every_repeat_twice(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = sum(g["tokens"] for g in pq.read_table(run(config, monkeypatch) / "groups.parquet").to_pylist())
    done = run(config, monkeypatch, f"recipe.budget_tokens={2 * total}")
    assert Counter(row["text"][0] for row in rows(done, "mixed")) == {k: 2 * n for k, n in REPEATS.items() if n}


def test_without_a_repeat_column_weights_are_labels_alone(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(config, monkeypatch, "recipe.repeat_column=null")
    assert Counter(row["text"][0] for row in rows(done, "mixed")) == dict.fromkeys(COPIES, 1)


def test_a_repeat_column_that_nothing_makes_is_named(config: Path) -> None:
    from pipelines.columns import check_columns

    (issue,) = check_columns(load_config(config, ["recipe.repeat_column=rehydrate_wait"]))
    assert "rehydrate_wait" in issue.message and "rehydrate_weight" in issue.hint


def test_a_table_that_does_not_ascend_is_a_config_error(config: Path) -> None:
    with pytest.raises(ConfigProblems, match="ascend"):
        load_config(config, ["dedup.rehydrate.table=[[1, 1], [3, 1], [2, 1]]"])
