"""Groups, recipe and mixture as steps of a run."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from tests.running import curate, write_config, write_documents


def test_an_empty_corpus_is_told_as_such_and_ends_well(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "in", files=1, documents=10)
    config = write_config(tmp_path / "r.json", source, keep="pii_emails > 100", report={})
    result = curate("run", str(config))
    assert result.returncode == 0, result.stderr
    run = config.with_suffix("")
    recipe = YAML(typ="safe").load((run / "recipe" / "recipe.yaml").read_text())
    assert (recipe["tokens"], recipe["groups"]) == (0, [])
    assert "empty" in recipe["evidence"]
    assert pq.read_table(run / "mixed" / "00000.parquet").num_rows == 0
    assert (run / "report" / "index.html").is_file()
    assert curate("verify", str(run)).returncode == 0


@pytest.mark.slow
def test_a_budget_that_the_corpus_cannot_give_fails_its_step_alone(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "in", files=1, documents=10)
    config = write_config(tmp_path / "r.json", source)
    result = curate("run", str(config), "--set", "recipe.budget_tokens=1000000000")
    assert result.returncode == 6
    assert "too few" in result.stderr and "max_epochs" in result.stderr
    assert curate("run", str(config)).returncode == 0


def test_the_mixture_holds_the_tokens_of_the_recipe(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "in", files=2, documents=40)
    config = write_config(tmp_path / "r.json", source)
    result = curate("run", str(config), "--set", "recipe.budget_tokens=10000", "--set", "recipe.rule=stratified")
    assert result.returncode == 0, result.stderr
    run = config.with_suffix("")
    recipe = YAML(typ="safe").load((run / "recipe" / "recipe.yaml").read_text())
    table = pq.read_table(run / "mixed")
    for group in recipe["groups"]:
        pairs = zip(table["mix_group"].to_pylist(), table["mix_tokens"].to_pylist(), strict=True)
        assert sum(tokens for name, tokens in pairs if name == group["group"]) == group["tokens"]
    assert abs(sum(g["weight"] for g in recipe["groups"]) - 1) < 1e-6
