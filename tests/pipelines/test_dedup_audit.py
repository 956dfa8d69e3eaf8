"""The audit in real, small runs: what it records, what stops a run, what it finds out about tampered labels."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.errors import ConfigError
from curate.store.folder import LocalFolder
from curate.store.shards import write_table
from pipelines.config import load_config
from pipelines.plan import make_plan
from pipelines.run import RunResult
from pipelines.show import cluster, sample
from pipelines.tasks import Task
from pipelines.why import explain
from tests.curate.inspect.hostile import Elements
from tests.end_to_end.here import run_here
from tests.running import curate, digests, write_config

HOSTILE = "<script>alert(1)</script>"
#: 64 words make 60 shingles; another last word changes one of them on each side
NEAR, CONTAINED = 59 / 61, 59 / 60


def prose(seed: int, words: int = 60) -> list[str]:
    draw = random.Random(seed)
    return [f"word{draw.randrange(10**6)}" for _ in range(words)]


def corpus(folder: Path) -> Path:
    """``copies``: 4 texts, 5 times each. ``templates``: 2 texts with 9 each that end in another word, and 5 others."""
    folder.mkdir(parents=True)
    copies = [(f"c{i}-{n}", " ".join(prose(i))) for i in range(4) for n in range(5)]
    near = [(f"t{i}-{n}", " ".join([*prose(100 + i, 59), f"{HOSTILE}{n}"])) for i in range(2)
            for n in range(10)]  # fmt: skip
    near += [(f"own-{i}", " ".join(prose(200 + i))) for i in range(5)]
    for name, rows in (("copies", copies), ("templates", near)):
        lines = [json.dumps({"id": i, "text": t, "url": f"https://{name}.example/{i}"}) for i, t in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs, a config and its finished run in ``run``."""
    folder = tmp_path_factory.mktemp("audit")
    corpus(folder / "input")
    write_config(
        folder / "run.json", folder / "input", stages=[], recipe=None, report={"examples": 3},
        dedup=[{"exact": {}}, {"minhash": {"threshold": 0.8}}],
    )  # fmt: skip
    assert go(folder).exit_code == 0
    return folder


def go(folder: Path, *overrides: str, before: Callable[[Task], None] | None = None) -> RunResult:
    (folder / "scratch").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        config = load_config(folder / "run.json", [f"run.output={folder / 'run'}", *overrides])
        return run_here(config, folder / "scratch", patch, before=before)


@pytest.fixture
def again(made: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that may be spoilt."""
    shutil.copytree(made, tmp_path / "copy")
    text = (made / "run.json").read_text().replace(str(made), str(tmp_path / "copy"))
    (tmp_path / "copy/run.json").write_text(text.replace(str(tmp_path / "copy/input"), str(made / "input")))
    return tmp_path / "copy"


def details(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run/dedup/audit_details.json").read_text())
    return found


def test_the_audit_counts_what_was_planted(made: Path) -> None:
    found = details(made)
    assert (found["documents"], found["survivors"], found["distinct_texts"]) == (45, 11, 29)
    assert found["removed"] == {"exact": 16, "url": 0, "minhash": 18, "content": 0}
    assert found["sizes"] == {"5": 4, "10": 2} and found["similarities"] == {"96": 18}
    by_source = {r["value"]: r for r in found["groups"]["source"]["most"]}
    assert (by_source["copies.jsonl"]["exact"], by_source["templates.jsonl"]["minhash"]) == (16, 18)
    assert [r["value"] for r in found["groups"]["host"]["most"]] == ["templates.example", "copies.example"]
    assert [c["size"] for c in found["largest"]] == [10, 10, 5, 5, 5, 5]
    assert all(len(c["examples"]) == 3 for c in found["largest"])


def test_sampled_pairs_carry_the_similarity_computed_from_the_texts(made: Path) -> None:
    rows = pq.read_table(made / "run/dedup/sample.parquet").to_pylist()
    near = [r for r in rows if r["kind"] == "minhash"]
    assert len(rows) == 34 and len(near) == 18
    for row in near:
        assert row["similarity"] == row["compared_similarity"] == pytest.approx(NEAR, abs=1e-12)
        assert row["containment"] == row["compared_containment"] == pytest.approx(CONTAINED, abs=1e-12)
        signs = {sign for sign, _ in json.loads(row["diff"])}
        assert signs >= {"=", "-", "+"} and row["same_words"] >= 59
    assert all(r["only_removed"] == r["only_survivor"] == 0 for r in rows if r["kind"] == "exact")


@pytest.mark.parametrize(
    ("limit", "figure"),
    [
        ("max_removed_ratio=0.7", "34 of 45 documents were removed as duplicates (75.6%)"),
        ("max_removed_ratio_by=0.79", "source `copies.jsonl`: 16 of 20 documents were removed as duplicates (80.0%)"),
        ("max_near_ratio=0.6", "18 of 29 distinct texts were removed as near-duplicates (62.1%)"),
        ("max_near_ratio_by=0.7", "source `templates.jsonl`: 18 of 25 distinct texts were removed as near-dup"),
        ("max_cluster_share=0.2", "holds 10 of 45 documents (22.2%)"),
        ("max_cluster_size=9", "holds 10 documents"),
        ("max_near_cluster_size=8", "9 near-duplicates were removed in favour of"),
    ],
)
def test_a_crossed_limit_stops_with_its_figure_and_option(again: Path, limit: str, figure: str) -> None:
    result = go(again, "dedup.audit.min_documents=10", f"dedup.audit.{limit}")
    assert (result.exit_code, result.tasks_done) == (3, 0)
    assert figure in result.problems[0] and f"dedup.audit.{limit.partition('=')[0]} allows" in result.problems[0]
    assert "dedup/audit.html" in result.problems[0]


def test_small_corpora_are_not_stopped_by_limits_on_shares(again: Path) -> None:
    assert go(again, "dedup.audit.max_removed_ratio=0.1", "dedup.audit.max_near_ratio=0.1").exit_code == 0


def test_nothing_is_built_before_the_limit_is_raised_and_nothing_redone_after(again: Path) -> None:
    shutil.rmtree(again / "run")
    result = go(again, "dedup.audit.max_near_cluster_size=5")
    assert (
        result.exit_code == 3 and not (again / "run/corpus").exists() and not (again / "run/receipts/select").exists()
    )
    assert (again / "run/dedup/audit.html").stat().st_size > 1000
    assert not (again / "run/receipts/dedup_alarms").exists()
    before = {p: p.stat().st_mtime_ns for p in (again / "run").rglob("receipts/**/*.json")}
    assert go(again, "dedup.audit.max_near_cluster_size=9").exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(list((again / "run/corpus").glob("*.parquet"))) == 2


def test_an_alarm_can_be_told_without_stopping(again: Path) -> None:
    result = go(again, "dedup.audit.max_cluster_size=3", "dedup.audit.on_alarm=report")
    (alarm,) = json.loads((again / "run/dedup/alarms.json").read_text())["alarms"]
    assert result.exit_code == 0 and (alarm["option"], alarm["figure"], alarm["limit"]) == ("max_cluster_size", 10, 3)


def test_a_changed_limit_redoes_the_comparison_and_the_pages_only(again: Path) -> None:
    config = load_config(again / "run.json", [f"run.output={again / 'run'}", "dedup.audit.max_cluster_size=99"])
    todo = {s.name for s in make_plan(config).steps if s.todo}
    assert todo == {"dedup_alarms", "report", "card"}


def test_the_command_ends_with_3(made: Path, tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "stopped.json", made / "input", run={"workers": 1}, stages=[], recipe=None,
        dedup=[{"exact": {}}, {"audit": {"max_cluster_size": 4}}],
    )  # fmt: skip
    ended = curate("run", str(config))
    assert ended.returncode == 3 and "max_cluster_size" in ended.stderr


def test_an_unknown_column_is_refused_before_any_work(again: Path) -> None:
    with pytest.raises(ConfigError, match=r"dedup.audit.by: there is no column 'sauce'"):
        go(again, 'dedup.audit.by=["sauce"]')


def test_an_audit_of_nothing_is_refused(made: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "bare.json", made / "input", stages=[], recipe=None, dedup=[{"audit": {}}])
    with pytest.raises(ConfigError, match="neither is named"):
        load_config(config)


def relabel(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    """Changes the labels of the second shard, which holds the near-duplicates."""

    def tamper(run: Path) -> None:
        name = "labels/dedup/00001.parquet"
        table = pq.read_table(run / name)
        write_table(LocalFolder(run), name, change(table))

    return tamper


def repair(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def tamper(run: Path) -> None:
        name = "dedup/pairs.parquet"
        write_table(LocalFolder(run), name, change(pq.read_table(run / name)))

    return tamper


def put(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def near_row(table: pa.Table) -> int:
    return int(pc.index(table["dedup_kind"], "minhash").as_py())


def a_survivor_goes(table: pa.Table) -> pa.Table:
    """The survivor of the first near-duplicate is removed in favour of another document that stays: a chain."""
    rows = table.to_pylist()
    head = rows[near_row(table)]["dedup_survivor"]
    other = next(r["id"] for r in rows if r["dedup_is_survivor"] and r["id"] != head and r["dedup_size"] > 1)
    at = next(i for i, r in enumerate(rows) if r["id"] == head)
    for name, value in (("dedup_is_survivor", False), ("dedup_survivor", other), ("dedup_cluster", other),
                        ("dedup_kind", "minhash"), ("dedup_similarity", 0.9)):  # fmt: skip
        table = put(table, name, at, value)
    return table


def other_pair(run: Path) -> None:
    """Labels and pairs agree on a pair of documents that have nothing in common."""
    labels = pq.read_table(run / "labels/dedup/00001.parquet").to_pylist()
    heads = [r["id"] for r in labels if r["dedup_is_survivor"] and r["dedup_size"] > 1]
    swap = dict(zip(heads, reversed(heads), strict=True))
    gone = {r["id"] for r in labels if r["dedup_kind"] == "minhash"}

    def label(table: pa.Table) -> pa.Table:
        for name in ("dedup_survivor", "dedup_cluster"):
            values = [swap[v] if i in gone else v for i, v in zip(table["id"].to_pylist(), table[name].to_pylist(),
                                                                  strict=True)]  # fmt: skip
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(values))
        return table

    def pair(table: pa.Table) -> pa.Table:
        both = zip(table["removed"].to_pylist(), table["survivor"].to_pylist(), strict=True)
        values = pa.array([swap[s] if i in gone else s for i, s in both])
        return table.set_column(1, table.schema.field("survivor"), values)

    relabel(label)(run)
    repair(pair)(run)


TAMPERED = {
    "a chain": (relabel(a_survivor_goes), "in favour of|not the size"),
    "below the threshold": (relabel(lambda t: put(t, "dedup_similarity", near_row(t), 0.79)), "below the threshold"),
    "a wrong size": (relabel(lambda t: put(t, "dedup_size", near_row(t), 11)), "not the size"),
    "kept and removed": (relabel(lambda t: put(t, "dedup_is_survivor", near_row(t), True)), "stays and is removed"),
    "a pair missing": (repair(lambda t: t.slice(1)), "33 removed documents"),
    "a pair below": (repair(lambda t: put(t, "similarity", pc.index(t["kind"], "minhash").as_py(), 0.5)), "below the"),
    "another similarity": (
        repair(lambda t: put(t, "similarity", pc.index(t["kind"], "minhash").as_py(), 0.9)), "compared again 0.967",
    ),
    "unlike documents": (other_pair, "compared again 0.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAMPERED)
def test_labels_that_do_not_hold_end_the_run_with_5(again: Path, case: str) -> None:
    change, said = TAMPERED[case]
    for step in ("dedup_tally", "dedup_audit"):
        shutil.rmtree(again / "run/receipts" / step)
    done: list[str] = []

    def before(task: Task) -> None:  # after the plan: a file that differs from its receipt would be made anew
        if task.step == "dedup_tally" and not done:
            change(again / "run")
            done.append(case)

    result = go(again, before=before)
    assert done and result.exit_code == 5
    assert "duplicate removal does not hold" in result.problems[0]
    assert any(part in " ".join(result.problems) for part in said.split("|"))


def test_the_same_corpus_gives_the_same_bytes(made: Path, again: Path) -> None:
    shutil.rmtree(again / "run")
    assert go(again).exit_code == 0
    one, two = (digests(folder / "run") for folder in (made, again))
    wanted = [n for n in one if n.startswith(("dedup/", "steps/dedup_tally", "report/"))]
    assert len(wanted) > 10 and {n: one[n] for n in wanted} == {n: two[n] for n in wanted}


def test_pages_show_hostile_text_and_take_no_element_from_it(made: Path) -> None:
    for name in ("dedup/audit.html", "report/index.html"):
        page = (made / "run" / name).read_text()
        assert "&lt;/script&gt;" in page and "<script" not in page
        found = Elements(page)
        assert not found.unbalanced and not found.open
        assert "Removed documents beside those that stay" in page and "<del>" in page and "<ins>" in page


def test_a_page_without_examples_quotes_no_text(again: Path) -> None:
    assert go(again, "report.examples=0").exit_code == 0
    page = (again / "run/report/index.html").read_text()
    assert "word" + str(random.Random(100).randrange(10**6)) not in page and "Largest clusters" in page


def test_the_data_card_tells_what_was_removed_and_checked(made: Path) -> None:
    card = (made / "run/corpus/README.md").read_text()
    assert "34 of 45 removed (75.6%)" in card and "18 of 29 removed as near-duplicates (62.1%)" in card
    assert "34 removed documents compared again" in card and "none was crossed" in card
    assert "copies.jsonl: 80.0% of 20" in card


def test_why_names_the_survivor_and_the_similarity(made: Path) -> None:
    rows = pq.read_table(made / "run/dedup/pairs.parquet").to_pylist()
    pair = next(r for r in rows if r["kind"] == "minhash")
    told = explain(str(made / "run"), pair["removed"])["duplicate_of"]
    assert told["survivor"] == pair["survivor"] and told["survivor_source"] == "templates.jsonl"
    assert told["similarity"] == pytest.approx(NEAR, abs=1e-12) and told["containment"] == pytest.approx(CONTAINED)
    assert (told["kind"], told["threshold"]) == ("minhash", 0.8)
    assert told["survivor_url"] == f"https://templates.example/{pair['survivor_source_id']}"
    group = explain(str(made / "run"), pair["survivor"])["stands_for"]
    assert (group["documents"], group["by_kind"], len(group["nearest"])) == (9, {"minhash": 9}, 3)
    alone = explain(str(made / "run"), "own-1")
    assert "duplicate_of" not in alone and "stands_for" not in alone


def test_show_reads_both_halves_of_a_pair(made: Path) -> None:
    (row,) = sample(str(made / "run"), where=None, reason="near_duplicate", limit=1, seed=0, columns=None)
    assert row["text"].split()[:59] == row["survivor_text"].split()[:59] and row["text"] != row["survivor_text"]
    assert row["containment"] == pytest.approx(CONTAINED) and row["survivor_url"].startswith("https://templates.")


def test_show_lists_the_cluster_of_a_removed_document(made: Path) -> None:
    rows = cluster(str(made / "run"), "c2-3", limit=3)
    assert [r["kind"] for r in rows] == ["stays", "exact", "exact"]
    assert {r["text"] for r in rows} == {" ".join(prose(2))}
    removed = next(r["id"] for r in rows if r["kind"] == "exact")
    assert cluster(str(made / "run"), removed, limit=2)[1]["id"] == removed
    with pytest.raises(ConfigError, match="no duplicates"):
        cluster(str(made / "run"), "own-1", limit=3)
    with pytest.raises(ConfigError, match="give an id"):
        cluster(str(made / "run"), "nobody", limit=3)


def test_no_duplicates_and_no_documents_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input/a.jsonl").write_text('{"id": "1", "text": "one text alone"}\n')
    (tmp_path / "input/b.jsonl").write_text("")
    write_config(tmp_path / "run.json", tmp_path / "input", stages=[], recipe=None, dedup=[{"exact": {}}], report={})
    assert go(tmp_path).exit_code == 0
    assert details(tmp_path)["sizes"] == {} and details(tmp_path)["documents"] == 1
    assert "No duplicates among 1 documents" in (tmp_path / "run/dedup/audit.html").read_text()
