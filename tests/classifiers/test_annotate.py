"""Annotation: rubrics, forms, samples and pairs, what is asked once, what is joined."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.annotate import Annotation, annotate, estimates, open_annotation, ratings_table
from classifiers.annotate_config import AnnotateConfig, load_annotate_config
from classifiers.annotate_input import pairs_of, sample_of
from classifiers.annotate_join import joined_table, report_of, soft_pair
from classifiers.generative.rubric import (
    PairForm,
    Rubric,
    RubricForm,
    RubricOptions,
    load_rubric,
    rubric_names,
)
from classifiers.generative.trimming import Trimmer
from curate.errors import BudgetError, ConfigError
from curate.rewrite.requests import TokenLogprob
from tests.classifiers.test_generative import QUICK, answer
from tests.llm_stub import Stub
from tests.running import command, curate, environment

SMALL = {
    "name": "small",
    "title": "Two criteria and a choice",
    "criteria": [
        {"name": "style", "range": [1, 5], "meaning": "good style"},
        {"name": "depth", "range": [0, 10], "meaning": "deep"},
    ],
    "choices": [
        {"name": "kind", "question": "Which kind?", "options": [{"name": n} for n in ("news", "shop", "code")]}
    ],
}


def form(rubric: Any = SMALL, **options: Any) -> RubricForm:
    return RubricForm(RubricOptions(rubric=Rubric.model_validate(rubric), **options), Trimmer())


def write_rows(path: Path, n: int = 20) -> Path:
    rows = [{"id": f"d{i:02d}", "text": f"Text number {i} about mills."} for i in range(n)]
    path.write_text("\n".join(json.dumps(r) for r in rows) + "\n")
    return path


def configured(tmp_path: Path, url: str, *names: str, **changes: Any) -> AnnotateConfig:
    annotators = [{"name": n, "url": url, "model": "stub", "health_s": 5.0, **QUICK} for n in names or ("one",)]
    (tmp_path / "small.yaml").write_text(json.dumps(SMALL))
    if not (tmp_path / "in.jsonl").exists():
        write_rows(tmp_path / "in.jsonl")
    content = {"input": ["in.jsonl"], "output": "out", "rubric": "small.yaml", "annotators": annotators} | changes
    (tmp_path / "annotate.yaml").write_text(json.dumps(content))
    return load_annotate_config(tmp_path / "annotate.yaml")


# -- rubrics and forms


@pytest.mark.parametrize("name", rubric_names())
def test_rubrics_are_valid_and_their_questions_hold_text_and_every_part(name: str) -> None:
    rubric = load_rubric(name, Path())
    options = RubricOptions(rubric=name)
    if rubric.kind == "pairs":
        pair = PairForm(options, Trimmer(), rubric.criteria[0])
        request = pair.pair(("a", "first text"), ("b", "second {text}"), "p", "vllm", 0, None)
        (message,) = request.messages
        assert "first text" in message.content
        assert "second {text}" in message.content
        assert message.content.endswith("A or B.")
        return
    (message,) = RubricForm(options, Trimmer()).messages("The {text} itself.", "doc")
    assert "The {text} itself." in message.content
    for part in rubric.parts:
        assert part.name in message.content or rubric.one_letter
    for choice in rubric.choices:
        assert all(option.name in message.content for option in choice.options)


def test_webs_topics_and_formats_are_those_that_the_project_knows() -> None:
    from classifiers.cards import load_card

    lite = load_card("lite", Path())
    for kind in ("topic", "format"):
        (choice,) = load_rubric(f"weborganizer_{kind}", Path()).choices
        assert len(choice.options) == 24
        known = {v.replace("About Page", "About") for v in lite.label(kind).values}
        assert known <= {o.name for o in choice.options}
    (domain,) = load_rubric("dataman", Path()).choices
    assert {o.name for o in domain.options} == set(lite.label("domain").values)


def test_options_are_shuffled_by_the_document_and_put_back() -> None:
    one_letter = form({**SMALL, "criteria": []})
    (choice,) = one_letter.rubric.choices
    orders = {choice.order(f"doc-{i}") for i in range(200)}
    assert len(orders) == 6
    for document in ("doc-1", "doc-2", "doc-3"):
        shown = one_letter.messages("text", document)[0].content
        for letter in "ABC":
            found = one_letter.parse(
                answer(letter).__class__(b"k" * 16, document, "p", 0, letter, "stop", answer("").usage)
            )
            assert found is not None
            assert f"{letter}: {found['kind']}" in shown
    top = (("A", math.log(0.5)), ("B", math.log(0.3)), ("C", math.log(0.2)))
    found = one_letter.parse(answer("A", (TokenLogprob("A", math.log(0.5), top),)))
    assert found is not None
    by_letter = [choice.options[i].name for i in choice.order("doc")]
    expected = dict(zip(by_letter, (0.5, 0.3, 0.2), strict=True))
    assert found["kind_shares"] == pytest.approx([expected[o.name] for o in choice.options])


def test_a_json_answer_is_read_with_its_probabilities() -> None:
    text = '{"style": 4, "depth": 10, "kind": "B"}'
    tokens = [
        TokenLogprob('{"style":', 0.0),
        TokenLogprob(" 4", -0.1, ((" 4", math.log(0.75)), (" 2", math.log(0.25)))),
    ]
    tokens.append(TokenLogprob(', "depth": 10, "kind": "', 0.0))
    tokens.append(TokenLogprob("B", -0.1, (("B", math.log(0.9)), ("C", math.log(0.1)))))
    tokens.append(TokenLogprob('"}', 0.0))
    found = form().parse(answer(text, tuple(tokens)))
    assert found is not None
    assert (found["style"], found["depth"]) == (4, 10)
    assert found["style_expected"] == pytest.approx(3.5)
    assert found["depth_expected"] is None  # two digits have no single token
    assert sorted(found["kind_shares"]) == pytest.approx([0.0, 0.1, 0.9])
    assert form().constraint.violation(text) is None
    fenced = form().parse(answer(f"```json\n{text}\n```"))
    assert fenced is not None
    assert fenced["style"] == 4


@pytest.mark.parametrize(
    "text",
    [
        "", "4", "{}", '{"style": 4, "depth": 10}', '{"style": 4, "depth": 10, "kind": "D"}',
        '{"style": 0, "depth": 10, "kind": "B"}', '{"style": 4, "depth": 11, "kind": "B"}',
        '{"style": 4.5, "depth": 10, "kind": "B"}', '{"style": "4", "depth": 10, "kind": "B"}',
        '{"style": true, "depth": 10, "kind": "B"}', '{"style": 4, "depth": 10, "kind": ""}',
        '{"style": 4, "style": 5, "depth": 10, "kind": "B"}', '{"style": 4, "depth": 10, "kind": "B", "more": 1}',
        '{"style": 4, "depth": 10, "kind": "B"} Hope this helps!', 'Sure: {"style": 4, "depth": 10, "kind": "B"}',
        '{"style": 4, "depth": NaN, "kind": "B"}', '[{"style": 4, "depth": 10, "kind": "B"}]',
        '{"style": 4, "depth": 1',
    ],
)  # fmt: skip
def test_a_json_answer_of_another_form_gives_nothing(text: str) -> None:
    assert form().read(answer(text)).status == "unparseable"


def test_a_server_without_patterns_is_sent_a_schema() -> None:
    vllm = json.loads(form().request("t", "d", "p", "vllm").body("m", "vllm"))
    assert "regex" in vllm["structured_outputs"]
    openai = json.loads(form().request("t", "d", "p", "openai").body("m", "openai"))
    assert openai["response_format"]["json_schema"]["schema"]["properties"]["kind"]["enum"] == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"criteria": [], "choices": []}, "criterion"),
        ({"kind": "pairs"}, "pairs"),
        ({"criteria": [{"name": "a", "meaning": "m", "range": [3, 3]}]}, "range"),
        ({"criteria": [{"name": "a", "meaning": "m", "levels": {9: "x"}}]}, "level"),
        ({"criteria": [{"name": "a", "meaning": "m", "steps": ["x"]}]}, "steps"),
        ({"criteria": [{"name": "status", "meaning": "m"}]}, "column"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_rubric_that_makes_no_sense_is_refused(tmp_path: Path, change: Any, word: str) -> None:
    (tmp_path / "r.yaml").write_text(json.dumps({**SMALL, **change}))
    with pytest.raises(ConfigError, match=word):
        load_rubric("r.yaml", tmp_path)


# -- samples and pairs


def test_a_sample_depends_on_ids_and_seed_alone(tmp_path: Path) -> None:
    config = configured(tmp_path, "http://x/v1", sample=7)
    drawn = list(sample_of(config))
    assert len(drawn) == 7
    assert drawn == sorted(drawn)
    rows = (tmp_path / "in.jsonl").read_text().splitlines()
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(rows[13:]))
    table = pa.Table.from_pylist([json.loads(r) for r in reversed(rows[:13])])
    pq.write_table(table, tmp_path / "b.parquet")
    other = configured(tmp_path, "http://x/v1", sample=7, input=["a.jsonl.gz", "b.parquet"])
    assert sample_of(other) == sample_of(config)
    assert list(sample_of(configured(tmp_path, "http://x/v1", sample=7, seed=1))) != drawn
    larger = list(sample_of(configured(tmp_path, "http://x/v1", sample=9)))
    assert set(drawn) < set(larger)


def test_two_texts_under_one_id_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n')
    with pytest.raises(ConfigError, match="two different texts"):
        sample_of(configured(tmp_path, "http://x/v1"))


def test_every_document_is_in_about_as_many_pairs_as_asked_for() -> None:
    ids = [f"d{i}" for i in range(41)]
    pairs = pairs_of(ids, 6, 0)
    assert pairs == pairs_of(list(reversed(ids)), 6, 0)
    assert len(set(pairs)) == len(pairs)
    assert all(a < b for a, b in pairs)
    count = {i: sum(i in p for p in pairs) for i in ids}
    assert min(count.values()) >= 3
    assert max(count.values()) <= 6


def test_both_orders_make_one_probability() -> None:
    assert soft_pair([0.8], [1 - 0.4]) == pytest.approx(0.7)
    assert soft_pair([1.0, None], [0.5, 0.5]) is None  # half of a direction cannot be read
    assert soft_pair([1.0, None, 1.0], [0.0, 0.0, 0.0]) == pytest.approx(0.5)
    assert soft_pair([None], [None]) is None


# -- asking


def outcome(annotation: Annotation) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    told = annotate(annotation)
    ratings = ratings_table(annotation, told)
    joined, known = joined_table(annotation, ratings)
    return ratings, joined, report_of(annotation, told, known)


def test_ratings_of_documents_annotators_and_repeats(tmp_path: Path) -> None:
    good = [{"content": '{"style": 4, "depth": 7, "kind": "A"}'}]
    when = {
        "number 3 ": [{"content": "I'm sorry, I cannot judge this."}],
        "number 4 ": [{"content": '{"style": 4}'}],
        "number 5 ": [{"status": 500}],
    }
    with Stub(good, when=when) as stub:
        config = configured(tmp_path, stub.url, "one", "two", repeats=2, join="dawid_skene")
        config = config.model_copy(
            update={"annotators": tuple(a.model_copy(update={"max_attempts": 2}) for a in config.annotators)}
        )
        before = estimates(open_annotation(config))
        assert not (tmp_path / "out").exists()
        assert {n: (e.requests, e.known) for n, e in before.items()} == {"one": (40, 0), "two": (40, 0)}
        ratings, joined, report = outcome(open_annotation(config))
        asked = stub.seen
        after = estimates(open_annotation(config))
        again, joined_again, report_again = outcome(open_annotation(config))
        assert {r["annotator"] for r in again.to_pylist()} == {"one", "two"}
    assert stub.seen - asked == 2 * 2 * 2  # the broken server is asked again, nothing that was answered is
    assert (after["one"].requests, after["one"].known) == (2, 38)
    assert (again, joined_again) == (ratings, joined)
    assert report_again["annotators"]["one"]["replayed"] == 38
    assert ratings.num_rows == 20 * 2 * 2
    statuses = {r["id"]: r["status"] for r in ratings.to_pylist()}
    assert [statuses[f"d{i:02d}"] for i in range(2, 7)] == ["ok", "refused", "unparseable", "model_error", "ok"]
    for row in ratings.to_pylist():
        assert (row["style"] is None) == (row["status"] != "ok")
    assert joined.num_rows == 20
    rows = {r["id"]: r for r in joined.to_pylist()}
    assert (rows["d02"]["style"], rows["d02"]["depth"], rows["d02"]["votes"]) == (4, 7, 4)
    assert rows["d02"]["style_mean"] == pytest.approx(4.0)
    assert rows["d03"]["style"] is None
    assert rows["d03"]["style_share"] is None
    assert rows["d03"]["votes"] == 0
    assert report["annotators"]["one"]["statuses"] == {"model_error": 2, "ok": 34, "refused": 2, "unparseable": 2}
    assert report["criteria"]["style"]["between_repeats"]["one"]["same"] == 1.0
    assert report["criteria"]["style"]["between_annotators"]["one | two"]["pairs"] == 34
    json.dumps(report, allow_nan=False)


def test_pairs_are_asked_in_both_orders_and_a_judge_of_places_says_nothing(tmp_path: Path) -> None:
    rubric = {**SMALL, "kind": "pairs", "choices": [], "criteria": [{"name": "style", "meaning": "better style"}]}
    body = {"choices": [{"message": {"content": "A"}, "finish_reason": "stop"}]}
    with Stub([{"body": body}]) as stub:
        config = configured(tmp_path, stub.url, pairs_per_document=2)
        (tmp_path / "small.yaml").write_text(json.dumps(rubric))
        annotation = open_annotation(config)
        ratings, joined, report = outcome(annotation)
    assert stub.seen == 2 * len(annotation.pairs) == ratings.num_rows
    assert joined.num_rows == len(annotation.pairs)
    assert joined["p_other"].to_pylist() == [0.5] * joined.num_rows
    assert report["criteria"]["style"]["first_chosen"] == {"one": 1.0}


def test_a_choice_of_one_letter_keeps_its_soft_labels(tmp_path: Path) -> None:
    with Stub([{"content": "B"}]) as stub:
        config = configured(tmp_path, stub.url, rubric="weborganizer_topic", sample=5)
        ratings, joined, _ = outcome(open_annotation(config))
    for row in ratings.to_pylist():
        assert len(row["topic_shares"]) == 24
        assert sum(row["topic_shares"]) == pytest.approx(1.0)
        assert max(row["topic_shares"]) == pytest.approx(1.0, abs=0.01)
    assert joined["topic"].to_pylist() == ratings["topic"].to_pylist()
    assert len(set(joined["topic"].to_pylist())) > 1  # the letter B is another option for each document


def test_a_budget_stops_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with Stub([{"content": '{"style": 4, "depth": 7, "kind": "A"}'}]) as stub:
        config = configured(tmp_path, stub.url)

        def limited(most: int) -> AnnotateConfig:
            (one,) = config.annotators
            return config.model_copy(update={"annotators": (one.model_copy(update={"max_tokens": most}),)})

        with pytest.raises(BudgetError):
            annotate(open_annotation(limited(1500)))
        paid = stub.seen
        assert 0 < paid < 20
        told = annotate(open_annotation(limited(1_000_000)))
        assert stub.seen == 20
    assert told["one"].replayed == paid


# -- the command


def test_the_command_estimates_asks_and_writes(tmp_path: Path) -> None:
    with Stub([{"content": '{"style": 4, "depth": 7, "kind": "A"}'}]) as stub:
        configured(tmp_path, "http://nowhere.invalid/v1")
        path = str(tmp_path / "annotate.yaml")
        told = curate("annotate", path, "--estimate", "--json")
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["annotators"]["one"]["questions"] == 20
        assert stub.seen == 0
        poor = curate(
            "annotate", path, "--set", f"annotators.0.url={stub.url}", "--set", "annotators.0.max_tokens=1500"
        )
        assert poor.returncode == 4, poor.stderr
        assert "raise the budget" in poor.stderr
        done = curate("annotate", path, "--set", f"annotators.0.url={stub.url}")
        assert done.returncode == 0, done.stderr
        assert stub.seen == 20
    assert "20 questions (20 ok)" in done.stdout
    assert pq.read_table(tmp_path / "out" / "ratings.parquet").num_rows == 20
    assert pq.read_table(tmp_path / "out" / "joined.parquet")["style"].to_pylist() == [4] * 20
    assert json.loads((tmp_path / "out" / "report.json").read_text())["rubric"] == "small"
    wrong = curate("annotate", path, "--set", "annotators.0.modell=x")
    assert wrong.returncode == 2
    assert "modell" in wrong.stderr


def test_killed_in_the_middle_it_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", 60)
    with Stub([{"content": '{"style": 4, "depth": 7, "kind": "A"}'}], service_seconds=0.01) as stub:
        config = configured(tmp_path, stub.url)
        content = json.loads((tmp_path / "annotate.yaml").read_text())
        content["annotators"][0] |= {"start_concurrency": 1, "max_concurrency": 1}
        (tmp_path / "annotate.yaml").write_text(json.dumps(content))
        first = subprocess.Popen(
            command("annotate", str(tmp_path / "annotate.yaml")), env=environment(), stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while stub.seen < 20 and time.monotonic() < until:
            time.sleep(0.002)
        first.kill()
        first.wait(60)
        assert 20 <= stub.seen < 60
        told = annotate(open_annotation(config))
        assert stub.seen <= 61
    assert len({row["id"] for row in told["one"].rows}) == 60
    assert told["one"].statuses == {"ok": 60}


def test_the_example_config_is_valid() -> None:
    root = Path(__file__).resolve().parents[2]
    config = load_annotate_config(root / "classifiers" / "examples" / "judges.yaml")
    assert [a.name for a in config.annotators] == ["local", "hosted"]
    assert load_rubric(config.rubric, root).name == "fineweb_edu"
