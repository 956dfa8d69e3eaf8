"""The traps of datatrove 0.10.1 that were reproduced in experiments: what happens in ours, one test each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import load_config
from pipelines.verify import verify
from tests.end_to_end.here import rows, run_here
from tests.running import curate, digests, write_config, write_documents


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "scratch").mkdir()

    def run(config: Path, *overrides: str, **more: Any) -> Any:
        result = run_here(load_config(config, list(overrides)), tmp_path / "scratch", monkeypatch, **more)
        assert verify(str(config.with_suffix("")))["problems"] == []
        return result

    return run


def write_lines(folder: Path, lines: list[bytes | dict[str, Any]], name: str = "a.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    data = b"".join((json.dumps(x).encode() if isinstance(x, dict) else x) + b"\n" for x in lines)
    (folder / name).write_bytes(data)
    return folder


def small(path: Path, source: Path, **changes: Any) -> Path:
    base: dict[str, Any] = {"run": {"workers": 1}, "stages": [], "recipe": None}
    for key, value in changes.items():
        base[key] = base[key] | value if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return write_config(path, source, **base)


# ------------------------------------------------------------------ T1: schema from the first document


def test_t1_a_field_that_first_comes_in_a_later_document_is_kept(tmp_path: Path, here: Any) -> None:
    source = write_lines(
        tmp_path / "in", [{"id": i, "text": f"text {i}", **({"late": i} if i else {})} for i in range(6)]
    )
    config = small(tmp_path / "r.json", source)
    assert here(config).exit_code == 0
    kept = rows(config.with_suffix(""), "corpus")
    extra = {r["source_id"]: json.loads(r["extra"]) if r["extra"] else {} for r in kept}
    assert extra == {"0": {}, **{str(i): {"late": i} for i in range(1, 6)}}


def test_t1_a_named_field_is_a_column_even_if_the_first_files_lack_it(tmp_path: Path, here: Any) -> None:
    source = write_lines(tmp_path / "in", [{"id": "0", "text": "first"}], "a.jsonl")
    write_lines(source, [{"id": "1", "text": "second", "score": 0.5}], "b.jsonl")
    config = small(tmp_path / "r.json", source, input={"carry": {"score": "float64"}})
    assert here(config).exit_code == 0
    whole = pa.concat_tables([pq.read_table(p) for p in sorted((config.with_suffix("") / "corpus").glob("*.parquet"))])
    assert whole["score"].to_pylist() == [None, 0.5]


@pytest.mark.parametrize("batch", [1, 2, 512])
def test_t1b_one_field_with_whole_and_broken_numbers_loses_nothing(batch: int, tmp_path: Path, here: Any) -> None:
    values: list[Any] = [1, 2.5, "three", None, [4]]
    source = write_lines(tmp_path / "in", [{"id": i, "text": f"text {i}", "n": v} for i, v in enumerate(values)])
    config = small(tmp_path / "r.json", source, input={"batch_documents": batch})
    assert here(config).exit_code == 0
    kept = rows(config.with_suffix(""), "corpus")
    assert [json.loads(r["extra"])["n"] for r in kept] == values


# ------------------------------------------------------------------ T2: one bad line, a cut file, empty texts


def test_t2_one_line_of_invalid_bytes_among_five_thousand_costs_that_line(tmp_path: Path, here: Any) -> None:
    lines: list[Any] = [{"id": str(i), "text": f"text number {i}"} for i in range(5000)]
    lines.insert(10, b'{"id": "bad", "text": "\xff\xfe"}')
    config = small(tmp_path / "r.json", write_lines(tmp_path / "in", lines))
    result = here(config)
    assert result.exit_code == 0  # one in 5,001 is within the threshold
    assert len(rows(config.with_suffix(""), "corpus")) == 5000
    assert [(r["error"], r["level"]) for r in rows(config.with_suffix(""), "failed")] == [("json.utf8", "error")]


def test_t2b_a_line_that_is_an_array_costs_that_line(tmp_path: Path, here: Any) -> None:
    lines: list[Any] = [{"id": "0", "text": "first"}, b'["a", "b"]', {"id": "2", "text": "last"}]
    config = small(tmp_path / "r.json", write_lines(tmp_path / "in", lines))
    assert here(config).exit_code == 3
    assert [r["text"] for r in rows(config.with_suffix(""), "corpus")] == ["first", "last"]
    assert [r["error"] for r in rows(config.with_suffix(""), "failed")] == ["json.not-object"]


def test_t2c_a_gzip_file_cut_in_half_gives_what_stands_before_the_cut(tmp_path: Path, here: Any) -> None:
    source = write_documents(tmp_path / "in", files=2, documents=200)
    path = source / "part-0.jsonl"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    (source / "part-0.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    config = small(tmp_path / "r.json", source, input={"paths": [str(source / "*")]})
    assert here(config).exit_code == 3
    run = config.with_suffix("")
    assert [r["error"] for r in rows(run, "failed")] == ["input.truncated"]
    kept = [r["source"] for r in rows(run, "corpus")]
    assert kept.count("part-1.jsonl") == 200 and 50 < kept.count("part-0.jsonl.gz") < 200


def test_t2d_documents_without_text_are_counted_with_a_reason(tmp_path: Path, here: Any) -> None:
    lines: list[Any] = [{"id": "0", "text": "words"}, {"id": "1", "text": ""}, {"id": "2"}, {"id": "3", "text": None}]
    config = small(tmp_path / "r.json", write_lines(tmp_path / "in", lines), run={"max_failed_ratio": 1.0})
    result = here(config)
    totals = result.totals
    assert (totals.entered, totals.kept, totals.dropped_total + totals.failed_total) == (4, 1, 3)


# ------------------------------------------------------------------ T3, T5: one task raises


def test_t3_t5_a_task_that_dies_leaves_its_neighbours_done_and_no_half_file_under_a_final_name(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "in", files=4, documents=10)
    config = small(tmp_path / "r.json", source, run={"workers": 2})
    run = config.with_suffix("")
    # every worker dies in its third task: of whatever it had begun, nothing is visible
    first = curate("run", str(config), failpoint="store.before_rename:kill@3")
    assert first.returncode in {0, 6, -9}
    for path in run.rglob("*.parquet"):
        assert pq.read_metadata(path).num_rows >= 0
    assert curate("run", str(config)).returncode == 0
    assert len(rows(run, "corpus")) == 40


# ------------------------------------------------------------------ T4: resume after a change


@pytest.mark.slow
def test_t4_a_new_filter_and_a_new_file_are_noticed_by_the_next_run(tmp_path: Path, here: Any) -> None:
    source = write_documents(tmp_path / "in", files=2, documents=10)
    config = small(tmp_path / "r.json", source, stages=[{"pii": {}}])
    assert here(config).exit_code == 0
    assert len(rows(config.with_suffix(""), "corpus")) == 20
    write_lines(source, [{"id": "new", "text": "a document that came later"}], "part-9.jsonl")
    result = here(config, "keep=pii_emails == 0", accept_input_changes=True)
    assert result.exit_code == 0
    kept = rows(config.with_suffix(""), "corpus")
    assert len(kept) == 21 - 2
    assert "new" in {r["source_id"] for r in kept}


# ------------------------------------------------------------------ T6: very short documents are duplicates too


def test_t6_five_identical_documents_of_two_words_leave_one(tmp_path: Path, here: Any) -> None:
    lines: list[Any] = [{"id": str(i), "text": "hello world"} for i in range(5)]
    lines.append({"id": "other", "text": "another one"})
    source = write_lines(tmp_path / "in", lines)
    for number, dedup in enumerate(([{"exact": {}}], [{"exact": {}}, {"minhash": {}}], [{"minhash": {}}])):
        config = small(tmp_path / f"r{number}.json", source, dedup=dedup)
        assert here(config).exit_code == 0
        texts = sorted(r["text"] for r in rows(config.with_suffix(""), "corpus"))
        assert texts == ["another one", "hello world"], dedup
        gone = rows(config.with_suffix(""), "dropped")
        assert len(gone) == 4 and len({r["survivor"] for r in gone}) == 1


# ------------------------------------------------------------------ T7: rules on documents without words


def test_t7_rules_on_documents_without_words_give_a_verdict(tmp_path: Path, here: Any) -> None:
    texts = ["   ", "\n\n\n", "\u200b", "!", "words of a text that has some"]
    source = write_lines(tmp_path / "in", [{"id": str(i), "text": t} for i, t in enumerate(texts)])
    presets = ["gopher_quality", "gopher_repetition", "c4", "fineweb"]
    config = small(tmp_path / "r.json", source, stages=[{"text_stats": {}}, {"quality_rules": {"presets": presets}}])
    result = here(config)
    run = config.with_suffix("")
    assert result.exit_code == 0 and rows(run, "failed") == []
    dropped = {r["source_id"]: r["reason"] for r in rows(run, "dropped")}
    assert len(dropped) == 5 and all(dropped.values())


# ------------------------------------------------------------------ T9: another number of workers


@pytest.mark.slow
def test_t9_a_run_resumed_with_more_workers_loses_and_doubles_nothing(tmp_path: Path) -> None:
    source = write_documents(tmp_path / "in", files=5, documents=20)
    whole = small(tmp_path / "whole.json", source, run={"name": "same", "workers": 1})
    assert curate("run", str(whole)).returncode == 0
    config = small(tmp_path / "r.json", source, run={"name": "same", "workers": 1})
    assert curate("run", str(config), failpoint="receipt.after:kill@3").returncode in {0, -9, 6}
    assert curate("run", str(config), "--set", "run.workers=3").returncode == 0
    assert digests(config.with_suffix("")) == digests(whole.with_suffix(""))
    ids = [r["id"] for r in rows(config.with_suffix(""), "corpus")]
    assert len(ids) == len(set(ids)) == 100


# ------------------------------------------------------------------ T10: nothing is left


def test_t10_a_run_that_keeps_nothing_ends_well_with_a_valid_empty_corpus(tmp_path: Path, here: Any) -> None:
    source = write_documents(tmp_path / "in", files=2, documents=10)
    config = small(
        tmp_path / "r.json", source, stages=[{"pii": {}}], dedup=[{"exact": {}}],
        keep="pii_emails > 99 and dedup_is_survivor",
    )  # fmt: skip
    result = here(config)
    assert result.exit_code == 0, result.problems
    tables = [pq.read_table(p) for p in sorted((config.with_suffix("") / "corpus").glob("*.parquet"))]
    assert [t.num_rows for t in tables] == [0, 0]
    assert all({"id", "url", "text", "pii_emails"} <= set(t.schema.names) for t in tables)
    assert sum(result.totals.dropped.values()) == 20


def test_t10_an_input_without_a_document_ends_well(tmp_path: Path, here: Any) -> None:
    source = write_lines(tmp_path / "in", [{"id": "0", "text": ""}])
    config = small(tmp_path / "r.json", source, dedup=[{"exact": {}}, {"minhash": {}}])
    assert here(config).exit_code == 0
    assert rows(config.with_suffix(""), "corpus") == []


# ------------------------------------------------------------------ read in source


def test_duplicates_are_removed_by_document_and_not_by_position(tmp_path: Path, here: Any) -> None:
    source = write_lines(tmp_path / "in", [{"id": "a", "text": "the same text"}, {"id": "b", "text": "another text"}])
    write_lines(source, [{"id": "c", "text": "the same text"}], "b.jsonl")
    config = small(tmp_path / "r.json", source, dedup=[{"exact": {}}])
    here(config)
    before = {r["text"] for r in rows(config.with_suffix(""), "corpus")}
    lines = (source / "a.jsonl").read_text().splitlines()
    (source / "a.jsonl").write_text("\n".join(reversed(lines)) + "\n")
    here(config, accept_input_changes=True)
    after = [r["text"] for r in rows(config.with_suffix(""), "corpus")]
    assert set(after) == before and len(after) == 2


def test_state_that_a_step_needs_is_made_again_when_it_is_gone(tmp_path: Path, here: Any) -> None:
    source = write_documents(tmp_path / "in", files=2, documents=40)
    config = small(tmp_path / "r.json", source, dedup=[{"exact": {}}])
    here(config)
    run = config.with_suffix("")
    wanted, kept = digests(run), len(rows(run, "corpus"))
    assert kept < 80
    for path in (run / "labels/dedup").glob("*.parquet"):
        path.unlink()
    here(config)
    assert digests(run) == wanted
