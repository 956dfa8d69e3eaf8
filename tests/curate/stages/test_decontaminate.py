"""Benchmark items are found where they stand, and only there."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.documents import IDENTITY, TEXT, Batch
from curate.errors import ConfigError
from curate.stages.base import Context
from curate.stages.decontaminate import Decontaminate, DecontaminateConfig

QUESTION = (
    "Which of the seven bridges did the mathematician try to cross exactly once before he gave up and invented graphs?"
)
LONG = " ".join(f"word{i}" for i in range(40))


def write(path: Path, items: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(item) for item in items))
    return path


def stage_for(folder: Path, *paths: Path, **config: object) -> Decontaminate:
    benchmarks = [{"path": p, "fields": ("question", "answer")} for p in paths]
    stage = Decontaminate(DecontaminateConfig.model_validate({"benchmarks": benchmarks, **config}, strict=False))
    stage.open(Context(base=folder))
    return stage


def label(stage: Decontaminate, *texts: str) -> list[tuple[float, int, str | None]]:
    rows = stage.process(Batch(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))).rows
    return [tuple(row[f"decontaminate_{k}"] for k in ("overlap", "matches", "benchmark")) for row in rows.to_pylist()]  # type: ignore[misc]


def test_a_whole_item_in_a_page_overlaps_fully(tmp_path: Path) -> None:
    stage = stage_for(tmp_path, write(tmp_path / "quiz.jsonl", [{"question": QUESTION}]))
    page = f"Some page. {QUESTION.upper().replace(' ', ',  ')} And more."
    assert label(stage, page, "Nothing of the kind.", "") == [(1.0, 8, "quiz"), (0.0, 0, None), (0.0, 0, None)]


def test_overlap_is_the_share_of_the_n_grams_of_the_item(tmp_path: Path) -> None:
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", [{"question": LONG}]))  # 40 words: 28 n-grams
    half = " ".join(LONG.split()[:26])  # 14 n-grams
    assert label(stage, half) == [(0.5, 14, "q")]
    assert label(stage, half + " x " + half) == [(0.5, 14, "q")]


def test_the_best_item_gives_the_name(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", [{"question": LONG}])
    two = write(tmp_path / "two.jsonl", [{"question": " ".join(LONG.split()[:20])}])
    stage = stage_for(tmp_path, one, two)
    assert label(stage, " ".join(LONG.split()[:20])) == [(1.0, 8, "two")]


def test_fields_are_joined_and_nested_values_are_read(tmp_path: Path) -> None:
    item = {"question": "one two three four", "answer": ["five six", {"a": "seven eight nine", "n": 10}]}
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", [item]), n=10)
    assert label(stage, "ONE two, three four five six seven eight nine 10") == [(1.0, 1, "q")]


def test_short_items_match_as_a_whole_and_very_short_ones_are_left_out(tmp_path: Path) -> None:
    items = [{"question": "a b c d e f g h"}, {"question": "too short"}]
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", items))
    assert label(stage, "x a b c d e f g h y", "a b c d e f g", "too short") == [
        (1.0, 1, "q"),
        (0.0, 0, None),
        (0.0, 0, None),
    ]
    assert stage.index is not None and stage.index.report()["items_too_short"] == 1


def test_n_grams_of_a_template_accuse_nobody(tmp_path: Path) -> None:
    template = "answer the following question with exactly one of the letters a b c or d"
    items = [{"question": f"{template} {' '.join(f'w{i}x{k}' for k in range(13))}"} for i in range(20)]
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", items))
    got = label(stage, template, str(items[3]["question"]))
    assert got[0] == (0.0, 0, None) and got[1][0] == 1.0


def test_action_drop_records_overlap_threshold_and_benchmark(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", [{"question": LONG}])
    stage = stage_for(tmp_path, path, action="drop", threshold=0.5)
    texts = [" ".join(LONG.split()[:26]), " ".join(LONG.split()[:25]), "clean"]
    rows = pa.RecordBatch.from_pydict({"text": texts})
    out = stage.process(Batch(rows).at("decontaminate"))
    assert out.column("text").to_pylist() == texts[1:]
    (drop,) = out.fates.drops
    assert (drop.reason.to_pylist(), drop.value.to_pylist(), drop.threshold.to_pylist(), drop.detail.to_pylist()) == (
        ["benchmark_overlap"], [0.5], [0.5], ["q"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("item", "page"),
    [
        ("Größe und Übung machen den Meister sagt man in Österreich gern", 
         "GRÖSSE? Nein: GRÖßE und ÜBUNG machen den Meister, sagt man in Österreich gern"),
        ("東京は日本の首都でありとても大きい都市です", "さて、東京は、日本の首都であり とても大きい都市です。"),
        ("it's what you don't know that can't hurt you they said to me", 
         "It’s what you don’t know that can’t hurt you – they said to me"),
    ],
)  # fmt: skip
def test_case_punctuation_and_scripts_without_spaces(tmp_path: Path, item: str, page: str) -> None:
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", [{"question": item}]), n=8)
    assert label(stage, page)[0][0] == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=4, max_size=30), st.lists(st.sampled_from("abc"), max_size=60))
def test_overlap_agrees_with_sets_of_tuples(
    tmp_path_factory: pytest.TempPathFactory, item: list[str], page: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("d")
    stage = stage_for(folder, write(folder / "q.jsonl", [{"question": " ".join(item)}]), n=4, min_words=2)
    grams = {tuple(item[i : i + 4]) for i in range(len(item) - 3)}
    seen = {tuple(page[i : i + 4]) for i in range(len(page) - 3)}
    ((overlap, matches, _),) = label(stage, " ".join(page))
    assert matches == len(grams & seen)
    assert overlap == pytest.approx(len(grams & seen) / len(grams))


def test_words_are_those_of_a_plain_regex_on_ascii(tmp_path: Path) -> None:
    text = "A man, a plan; a canal: Panama! x=1 (two)... three-four_five 6.7 [eight] #nine"
    words = re.findall(r"[a-z0-9]+", text.lower())
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", [{"question": " ".join(words)}]), n=5)
    assert label(stage, text)[0][0] == 1.0


def test_gzip_is_read_and_files_are_assets(tmp_path: Path) -> None:
    path = tmp_path / "quiz.v2.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"question": LONG}).encode()))
    stage = stage_for(tmp_path, Path("quiz.v2.jsonl.gz"))
    assert label(stage, LONG)[0][2] == "quiz"
    assert dict(stage.assets(tmp_path)) == {"quiz": path}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "x"}\n{broken secret', "q.jsonl:2: not JSON"),
        ('{"other": "x"}', "q.jsonl:1: none of the fields"),
        ("[1]", "q.jsonl:1"),
        ('{"question": "two words"}', "no item has 8 words"),
        ("", "no item has"),
    ],
)
def test_bad_benchmark_files_are_config_errors(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "q.jsonl").write_text(content)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        stage_for(tmp_path, tmp_path / "q.jsonl")
    assert "secret" not in str(caught.value)


def test_a_missing_file_two_equal_names_and_too_many_n_grams_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        stage_for(tmp_path, tmp_path / "none.jsonl")
    with pytest.raises(ValidationError, match="same name"):
        DecontaminateConfig.model_validate({"benchmarks": [{"path": Path("a/q.jsonl")}, {"path": Path("b/q.jsonl")}]})
    with pytest.raises(ConfigError, match="max_ngrams"):
        stage_for(tmp_path, write(tmp_path / "q.jsonl", [{"question": LONG}]), max_ngrams=27)


def test_the_output_does_not_depend_on_the_batch_and_columns_are_declared(tmp_path: Path) -> None:
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", [{"question": LONG}, {"question": QUESTION}]))
    texts = [LONG, "x", QUESTION, " ".join(LONG.split()[:20]), ""]
    assert label(stage, *texts) == [label(stage, text)[0] for text in texts]
    out = stage.process(Batch(pa.RecordBatch.from_pylist([], schema=pa.schema([*IDENTITY, TEXT])))).rows
    assert pa.schema(list(out.schema)[7:]).equals(stage.adds(), check_metadata=True)


@pytest.mark.parametrize("food", ["a ", "a", " ", "a@", "word0 word1 ", "東", "\u0301", "'"])
def test_a_megabyte_of_anything_takes_well_under_two_seconds(tmp_path: Path, food: str) -> None:
    stage = stage_for(tmp_path, write(tmp_path / "q.jsonl", [{"question": LONG}]))
    text = food * (1_000_000 // len(food.encode()))
    label(stage, "warm")
    started = time.process_time()
    label(stage, text)
    assert time.process_time() - started < 2
