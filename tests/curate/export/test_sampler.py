"""A recipe carried out holds exactly what it says, whatever the shards looked like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curate.errors import ConfigError
from curate.export.sampler import documents_by_group, mix, plan_copies, tokens_written
from curate.recipe.groups import tally
from curate.recipe.recipe import Recipe, recipe_by_rule


def corpus(n: int = 400) -> pa.Table:
    rng = np.random.default_rng(7)
    ids = sorted(rng.bytes(16).hex() for _ in range(n))
    domains = [["law", "sport", None][i % 3] for i in range(n)]
    tokens = rng.integers(10, 900, n)
    return pa.table({"id": ids, "domain": domains, "tokens_count": tokens, "text": [f"text {i}" for i in range(n)]})


def recipe_of(table: pa.Table, **changes: object) -> tuple[Recipe, dict]:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    groups = tally([frame], ["domain"], "tokens_count")
    documents = documents_by_group([frame], ["domain"], "tokens_count")
    settings = {"rule": "unimax", "budget_tokens": 300_000, "max_epochs": 4.0, "temperature": 1.0, "seed": 5} | changes
    return recipe_by_rule("test", groups, "digest", documents, **settings), documents  # type: ignore[arg-type]


def mixed(table: pa.Table, recipe: Recipe, documents: dict, cut: int, n_shards: int, scratch: Path) -> list[pa.Table]:
    def shards() -> object:
        for start in range(0, table.num_rows, cut):
            yield table.slice(start, cut)

    plan = plan_copies(recipe, documents)
    return [t for _, t in mix(shards, plan, seed=recipe.seed, n_shards=n_shards, scratch=scratch)]  # type: ignore[arg-type]


def test_groups_hold_the_tokens_of_the_recipe_to_the_last_one(tmp_path: Path) -> None:
    table = corpus()
    recipe, documents = recipe_of(table)
    written = tokens_written(iter(mixed(table, recipe, documents, 100, 3, tmp_path)))
    assert dict(written) == {g.group: g.tokens for g in recipe.groups}
    assert abs(recipe.tokens - 300_000) < 300


def test_the_mixture_does_not_depend_on_how_the_corpus_is_cut(tmp_path: Path) -> None:
    table = corpus()
    recipe, documents = recipe_of(table)
    first = mixed(table, recipe, documents, 400, 4, tmp_path)
    second = mixed(table, recipe, documents, 33, 4, tmp_path)
    assert all(a.equals(b) for a, b in zip(first, second, strict=True))


def test_documents_are_shuffled_over_groups_and_shards(tmp_path: Path) -> None:
    table = corpus()
    recipe, documents = recipe_of(table)
    shards = mixed(table, recipe, documents, 400, 2, tmp_path)
    assert all(t.num_rows > 100 for t in shards)
    order = shards[0]["id"].to_pylist()
    assert order != sorted(order)
    assert len(set(shards[0]["mix_group"].to_pylist()[:20])) > 1


def test_no_document_is_written_more_often_than_the_epochs_allow(tmp_path: Path) -> None:
    table = corpus()
    recipe, documents = recipe_of(table, max_epochs=2.0, budget_tokens=330_000)
    rows = pa.concat_tables(mixed(table, recipe, documents, 400, 2, tmp_path))
    assert max(rows["mix_epoch"].to_pylist()) == 1
    pairs = list(zip(rows["id"].to_pylist(), rows["mix_epoch"].to_pylist(), strict=True))
    assert len(pairs) == len(set(pairs))


def test_a_missing_label_is_a_group_of_its_own() -> None:
    recipe, _ = recipe_of(corpus())
    assert [g.group for g in recipe.groups] == ["law", "none", "sport"]


def test_a_recipe_reads_back_and_says_that_no_runs_were_used() -> None:
    recipe, _ = recipe_of(corpus())
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert "No training runs" in recipe.evidence
    assert set(recipe.alternatives) == {"natural", "stratified", "temperature", "unimax"}


def test_the_group_table_adds_up_to_the_corpus() -> None:
    table = corpus()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    groups = tally([frame[:100], frame[100:]], ["domain"], "tokens_count").to_arrow()
    assert sum(groups["documents"].to_pylist()) == 400
    assert sum(groups["tokens"].to_pylist()) == sum(table["tokens_count"].to_pylist())
    assert sum(groups["text_bytes"].to_pylist()) == sum(len(t) for t in table["text"].to_pylist())


def test_a_document_that_is_repeated_is_drawn_like_so_many_documents(tmp_path: Path) -> None:
    table = corpus(60)
    times = np.arange(60) % 4
    table = table.append_column("times", pa.array(times))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    groups = tally([frame[:20], frame[20:]], ["domain"], "tokens_count", "times")
    documents = documents_by_group([frame], ["domain"], "tokens_count", "times")
    held = int((table["tokens_count"].to_numpy() * times).sum())
    assert (groups.tokens, groups.frame["documents"].sum()) == (held, times.sum())
    settings = {"rule": "natural", "max_epochs": 4.0, "temperature": 1.0, "seed": 5}
    whole = recipe_by_rule("t", groups, "d", documents, budget_tokens=None, **settings)  # type: ignore[arg-type]
    assert {k: v.copies for k, v in plan_copies(whole, documents).items()} == {
        id_: n for id_, n in zip(table["id"].to_pylist(), times.tolist(), strict=True) if n
    }
    some = recipe_by_rule("t", groups, "d", documents, budget_tokens=held // 3, **settings)  # type: ignore[arg-type]
    written = tokens_written(iter(mixed(table, some, documents, 7, 3, tmp_path)))
    assert written == {g.group: g.tokens for g in some.groups}
    copies = [plan_copies(some, documents).get(id_) for id_ in table["id"].to_pylist()]
    assert all((c.copies if c else 0) <= n for c, n in zip(copies, times.tolist(), strict=True))


def test_repeating_once_is_repeating_nothing() -> None:
    table = corpus(80).append_column("times", pa.array(np.ones(80, np.int64)))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    once = documents_by_group([frame], ["domain"], "tokens_count", "times")
    for name, own in documents_by_group([frame], ["domain"], "tokens_count").items():
        for wanted in (0, 1000, 12_345, 10**6):
            assert own.drawn(3, wanted).copies.tolist() == once[name].drawn(3, wanted).copies.tolist()


def test_a_document_cannot_be_unwritten() -> None:
    frame = pl.DataFrame({"id": ["0" * 32], "domain": ["a"], "tokens_count": [5], "times": [-1]})
    with pytest.raises(ConfigError, match=r"recipe\.repeat_column: 'times' holds numbers below 0"):
        documents_by_group([frame], ["domain"], "tokens_count", "times")
