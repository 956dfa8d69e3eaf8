"""What opt-out lists name leaves everything that a run delivers, at once or by reading anew, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config import load_config
from pipelines.config_errors import ConfigProblems
from pipelines.plan import make_plan
from tests.end_to_end.here import rows, run_here
from tests.running import WORDS, digests, write_config

#: a word that only this document holds
SECRET = "zanzibarquux"
HOSTS = {"a": "one.example", "b": "two.example", "c": "forum.one.example", "twin": "two.example", "e": "three.example"}


def _text(name: str) -> str:
    if name == "twin":
        return _text("b")
    start = sorted(HOSTS).index(name)
    return " ".join(WORDS[start : start + 25]) + (f"\nshared {SECRET}" if name in ("a", "c") else f" {name * 5}")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "input").mkdir()
    (tmp_path / "scratch").mkdir()
    for number, names in enumerate((("a", "b", "c"), ("twin", "e"))):
        lines = [
            json.dumps({"id": n, "text": _text(n), "url": f"https://{HOSTS[n]}/{n}", "n": i})
            for i, n in enumerate(names)
        ]
        (tmp_path / f"input/part-{number}.jsonl").write_text("\n".join(lines) + "\n")
    for kind in ("ids", "urls", "domains"):
        (tmp_path / f"{kind}.txt").write_text("# nobody yet\n")
    return write_config(
        tmp_path / "r.json", tmp_path / "input", stages=[{"pii": {}}, {"text_stats": {}}], report={"examples": 9},
        dedup=[{"exact": {}}, {"lines": {"min_occurrences": 2}}], keep="dedup_is_survivor", mix={"columns": None},
        opt_out={"ids": ["ids.txt"], "urls": ["urls.txt"], "domains": ["domains.txt"]},
    )  # fmt: skip


def run(config: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Path:
    result = run_here(load_config(config, list(overrides)), config.parent / "scratch", monkeypatch)
    assert result.exit_code == 0, result.problems
    return config.with_suffix("")


def redone(config: Path, *overrides: str) -> set[str]:
    return {s.name for s in make_plan(load_config(config, list(overrides))).steps if s.todo}


def names(run: Path, kind: str) -> list[str]:
    return sorted(row["source_id"] for row in rows(run, kind))


def holding(run: Path, word: str, *without: str) -> list[str]:
    """Files of a run that hold ``word``, in any column of a table or in the bytes of anything else."""
    found = []
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(run))
        if name.startswith(without or ("\0",)):
            continue
        content = str(pq.ParquetFile(path).read().to_pylist()) if path.suffix == ".parquet" else path.read_text("utf-8")
        found += [name] if word in content else []
    return found


def test_what_is_listed_leaves_all_that_is_delivered(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(config, monkeypatch)
    assert names(done, "corpus") == ["a", "b", "c", "e"]
    assert {p.partition("/")[0] for p in holding(done, SECRET)} == {
        "documents", "corpus", "mixed", "report", "dedup", "steps"
    }  # fmt: skip
    (config.parent / "domains.txt").write_text("one.example\n")
    run(config, monkeypatch)
    assert names(done, "corpus") == ["b", "e"]
    assert holding(done, SECRET, "documents/") == []
    assert [r["source_id"] for r in rows(done, "mixed")].count("a") == 0
    groups = pq.read_table(done / "groups.parquet")
    assert sum(groups["documents"].to_pylist()) == 2
    dropped = {r["source_id"]: r for r in rows(done, "dropped") if r["stage"] == "opt_out"}
    told = {name: (row["reason"], row["detail"]) for name, row in dropped.items()}
    assert told == dict.fromkeys(("a", "c"), ("domain", "domains.txt:1"))


def test_a_changed_list_redoes_what_follows_and_neither_reading_nor_labels_nor_signing(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config, monkeypatch)
    assert redone(config) == set()
    (config.parent / "urls.txt").write_text("https://three.example/e\n")
    assert {"opt_out", "opt_out_summary", "select", "groups", "recipe", "mix", "report", "card"} <= redone(config)
    assert not {"documents", "sources", "labels", "dedup_sign"} & redone(config)


@pytest.mark.slow
def test_a_rebuild_equals_a_run_that_knew_the_list_from_the_start(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config, monkeypatch)
    (config.parent / "ids.txt").write_text("a\nnobody\n")
    rebuilt = digests(run(config, monkeypatch))
    raw = json.loads(config.read_text())
    raw["run"]["output"] = str(tmp_path / "fresh")
    fresh = config.with_name("fresh.json")
    fresh.write_text(json.dumps(raw))
    assert digests(run(fresh, monkeypatch)) == rebuilt


def test_a_listed_survivor_is_replaced_by_the_next_of_its_cluster(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(config, monkeypatch)
    (survivor,) = {"b", "twin"} & set(names(done, "corpus"))
    (other,) = {"b", "twin"} - {survivor}
    (config.parent / "ids.txt").write_text(f"{survivor}\n")
    run(config, monkeypatch)
    assert names(done, "corpus") == sorted({"a", "c", "e", other})
    (config.parent / "ids.txt").write_text("b\ntwin\n")
    run(config, monkeypatch)
    assert names(done, "corpus") == ["a", "c", "e"]


def test_every_list_says_what_it_named_and_what_idles(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config.parent / "ids.txt").write_text("a\nnobody\n")
    (config.parent / "urls.txt").write_text("http://one.example/a\nhttp://one.example/a\n")
    (config.parent / "domains.txt").write_text("one.example\nelsewhere.example\n")
    done = run(config, monkeypatch)
    told = json.loads((done / "opt_out/summary.json").read_text())
    assert told["documents"] == 2
    by_kind: dict[str, Any] = {one["kind"]: one for one in told["lists"]}
    assert by_kind["id"] == {"list": "ids.txt", "kind": "id", "entries": 2, "repeated_entries": 0, "idle_entries": 1,
                             "matched_entries": 1, "matched_documents": 1}  # fmt: skip
    assert (by_kind["url"]["entries"], by_kind["url"]["repeated_entries"], by_kind["url"]["idle_entries"]) == (2, 1, 0)
    assert (by_kind["domain"]["matched_documents"], by_kind["domain"]["idle_entries"]) == (2, 1)


def test_purging_leaves_the_text_in_no_file_of_the_run(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ("run.keep_dropped_text=true", "opt_out.purge=true", "input.carry={n: int64}", "keep=n > 0")
    done = run(config, monkeypatch, *overrides)
    assert "dropped/select-00000.parquet" in holding(done, SECRET)
    (config.parent / "domains.txt").write_text("one.example\n")
    assert {"documents", "labels"} <= redone(config, *overrides)
    run(config, monkeypatch, *overrides)
    assert holding(done, SECRET) == []
    gone = [r for r in rows(done, "dropped") if r["stage"] == "opt_out"]
    assert sorted(r["source_id"] for r in gone) == ["a", "c"] and all(r["text"] is None for r in gone)
    told = json.loads((done / "opt_out/summary.json").read_text())
    assert told["documents"] == 2 and told["lists"][2]["matched_documents"] == 2


def test_dropped_texts_and_lists_go_together_only_with_purge(config: Path) -> None:
    with pytest.raises(ConfigProblems, match=r"set opt_out\.purge to true"):
        load_config(config, ["run.keep_dropped_text=true"])


def test_a_section_without_a_list_is_refused(config: Path) -> None:
    with pytest.raises(ConfigProblems, match="opt_out names no list"):
        load_config(config, ["opt_out={}"])


def test_a_list_that_is_gone_stops_the_run_before_anything_is_delivered(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.parent / "urls.txt").unlink()
    result = run_here(load_config(config), config.parent / "scratch", monkeypatch)
    assert result.exit_code == 2
    assert any("list urls.txt cannot be read" in p for p in result.problems)
    assert not (config.with_suffix("") / "corpus").exists()
