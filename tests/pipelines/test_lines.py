"""Lines and paragraphs shared by documents of a run are found across shards, told, and cut if asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import load_config
from pipelines.plan import make_plan
from tests.end_to_end.here import rows, run_here
from tests.running import WORDS, curate, digests, write_config

FOOTER = "Subscribe to our newsletter now, 12 readers online!"
NUMBERS = 8


def _text(i: int) -> str:
    own = " ".join(WORDS[(i * 5 + j * (i + 1)) % len(WORDS)] for j in range(30))
    lines = [
        f"Own headline {'abcdefgh'[i] * 3}",
        own,
        FOOTER.replace("12", str(i)) if i % 2 == 0 else "",
        f"End {own[:40]}",
    ]
    return "\n".join(lines)


def write(folder: Path, files: list[list[int]]) -> Path:
    folder.mkdir(parents=True)
    for number, names in enumerate(files):
        lines = [json.dumps({"id": f"d{i}", "text": _text(i)}) for i in names]
        (folder / f"part-{number}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    source = write(tmp_path / "input", [[0, 1, 2], [3, 4, 5], [6, 7]])
    return write_config(
        tmp_path / "r.json", source, stages=[{"pii": {}}], recipe=None,
        dedup=[{"lines": {"min_occurrences": 3, "min_words": 3, "remove": True}}],
    )  # fmt: skip


def run(config: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Path:
    result = run_here(load_config(config, list(overrides)), config.parent / "scratch", monkeypatch)
    assert result.exit_code == 0, result.problems
    return config.with_suffix("")


def by_name(run: Path) -> dict[str, dict[str, Any]]:
    return {row["source_id"]: row for row in rows(run, "corpus")}


def tally(run: Path, kind: str = "lines") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / f"dedup/{kind}.json").read_text())
    return found


def test_a_line_of_many_documents_is_cut_from_all_but_the_first(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(config, monkeypatch)
    corpus = by_name(done)
    sharing = {name: row for name, row in corpus.items() if int(name[1:]) % 2 == 0}
    first = min(sharing.values(), key=lambda row: row["id"])["source_id"]
    for name, row in corpus.items():
        i = int(name[1:])
        marked = name in sharing and name != first
        whole = _text(i)
        assert row["text"] == (whole.replace(FOOTER.replace("12", str(i)) + "\n", "") if marked else whole), name
        assert row["lines_repeated_count"] == int(marked)
        cut = len(FOOTER.replace("12", str(i)) + "\n") if marked else 0
        assert row["lines_repeated_ratio"] == pytest.approx(cut / len(whole))
        spans = [whole.encode()[s["start"] : s["end"]].decode() for s in row["lines_spans"]]
        assert spans == ([FOOTER.replace("12", str(i)) + "\n"] if marked else [])
    told = tally(done)
    assert (told["documents"], told["repeated"], told["marked_units"], told["marked_documents"]) == (8, 1, 3, 3)
    assert told["histogram"]["3-4"] == 1 and sum(told["histogram"].values()) == told["distinct"]
    (worst,) = told["most_frequent"]
    assert worst["documents"] == 4 and worst["text"] == FOOTER.replace("12", first[1:])
    assert worst["first"] == sharing[first]["id"]
    assert told["bytes"] == sum(len(_text(i)) for i in range(NUMBERS))


def test_quotes_stand_only_where_they_are_asked_for(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(config, monkeypatch)
    logs = [p for p in done.rglob("*") if p.is_file() and (p.name == "log.jsonl" or "receipts" in p.parts)]
    assert logs and not any("newsletter" in p.read_text() for p in logs)
    run(config, monkeypatch, "dedup.lines.examples=0")
    assert tally(done)["most_frequent"] == []
    assert not any("newsletter" in p.read_text() for p in done.rglob("*.json"))


def test_labels_alone_leave_texts_as_they_are(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(config, monkeypatch)
    plan = make_plan(load_config(config, ["dedup.lines.remove=false"]))
    assert [s.name for s in plan.steps if s.todo and s.name.startswith("lines")] == ["lines_tally"]
    done = run(config, monkeypatch, "dedup.lines.remove=false", "keep=lines_repeated_ratio < 0.1")
    assert {row["text"] for row in by_name(done).values()} <= {_text(i) for i in range(NUMBERS)}
    assert {r["reason"] for r in rows(done, "dropped")} == {"lines_repeated_ratio < 0.1"}
    assert len(rows(done, "dropped")) == 3


def test_what_is_found_depends_on_neither_key_ranges_nor_the_cut_into_shards(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(config, monkeypatch)
    labels = {n: d for n, d in digests(done).items() if n.startswith(("labels/lines", "corpus/0", "dedup/"))}
    for n in (2, 8):
        run(config, monkeypatch, f"dedup.lines.partitions={n}")
        assert {k: d for k, d in digests(done).items() if k in labels} == labels


def test_only_survivors_are_looked_at_and_opt_out_counts(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = config.parent
    (folder / "input/part-9.jsonl").write_text(json.dumps({"id": "twin", "text": _text(0)}) + "\n")
    (folder / "ids.txt").write_text("d2\n")
    raw = json.loads(config.read_text())
    raw["dedup"] = [{"exact": {}}, *raw["dedup"]]
    raw["opt_out"] = {"ids": ["ids.txt"]}
    config.write_text(json.dumps(raw))
    done = run(config, monkeypatch)
    told = tally(done)
    assert told["documents"] == NUMBERS - 1
    assert [one["documents"] for one in told["most_frequent"]] == [3]


def test_paragraphs_are_blocks_between_blank_lines(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notice = "This notice\nhas two lines."
    (config.parent / "input/part-5.jsonl").write_text(
        "".join(
            json.dumps({"id": f"p{i}", "text": f"{_text(i)}\n\n{notice}\n\n{'z' * i} tail"}) + "\n" for i in range(3)
        )
    )
    raw = json.loads(config.read_text())
    raw["dedup"] = [{"paragraphs": {"min_occurrences": 3, "keep": "none", "remove": True}}]
    config.write_text(json.dumps(raw))
    done = run(config, monkeypatch)
    corpus = by_name(done)
    assert [corpus[f"p{i}"]["paragraphs_repeated_count"] for i in range(3)] == [1, 1, 1]
    assert not any("notice" in corpus[f"p{i}"]["text"] for i in range(3))
    assert corpus["p1"]["text"].endswith("\n\nz tail")
    assert tally(done, "paragraphs")["most_frequent"][0]["text"] == notice


def test_a_filter_marks_what_counting_does_and_says_how_sure_it_is(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"min_occurrences": 3, "min_words": 3, "remove": True, "keep": "none"}
    raw = json.loads(config.read_text())
    raw["dedup"] = [{"lines": options}]
    config.write_text(json.dumps(raw))
    exact = {name: row["lines_spans"] for name, row in by_name(run(config, monkeypatch)).items()}
    assert sum(map(len, exact.values())) == 4
    done = run(config, monkeypatch, "dedup.lines.counting=bloom", "dedup.lines.partitions=2")
    assert {name: row["lines_spans"] for name, row in by_name(done).items()} == exact
    told = tally(done)["bloom"]
    assert 0 < told["fill"] < 0.6 and told["wrong"] == 0 and told["sampled"] > 10
    assert told["distinct_estimated"] == pytest.approx(told["sampled"] + 1, abs=3)
    assert "most_frequent" not in tally(done)


def test_a_filter_that_is_too_small_stops_the_run_before_anything_is_marked(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = json.loads(config.read_text())
    raw["dedup"] = [{"lines": {"min_occurrences": 2, "keep": "none", "counting": "bloom", "expected": 1}}]
    config.write_text(json.dumps(raw))
    lines = [f"line {i} alone word{i * i}" for i in range(400)]
    letters = str.maketrans("0123456789", "abcdefghij")
    (config.parent / "input/long.jsonl").write_text(
        json.dumps({"id": "x", "text": "\n".join(lines).translate(letters)})
    )
    result = run_here(load_config(config), config.parent / "scratch", monkeypatch)
    assert result.exit_code == 3
    (problem,) = [p for p in result.problems if "lines_check" in p and "Bloom" in p]
    assert "dedup.lines.max_false_positive_rate allows (1.00%)" in problem and "dedup.lines.expected=" in problem
    assert not list((config.with_suffix("") / "labels").glob("lines/*"))
    plan = make_plan(load_config(config, ["dedup.lines.max_false_positive_rate=null"]))
    assert {s.name for s in plan.steps if s.name.startswith("lines") and not s.todo} == {"lines_count", "lines_merge"}
    result = run_here(
        load_config(config, ["dedup.lines.max_false_positive_rate=null"]), config.parent / "scratch", monkeypatch
    )
    assert result.exit_code == 0
    assert tally(config.with_suffix(""))["bloom"]["wrong"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_and_kills_decide_nothing(config: Path, tmp_path: Path) -> None:
    raw = json.loads(config.read_text())
    options = {"min_occurrences": 3, "min_words": 3}
    raw["dedup"] = [
        {"lines": options | {"remove": True, "partitions": 4}},
        {"paragraphs": options | {"keep": "none", "counting": "bloom"}},
    ]  # fmt: skip
    found = []
    for name, workers, failpoints in (("one", 1, ()), ("killed", 8, ("receipt.before:kill@4",))):
        raw["run"] |= {"output": str(tmp_path / name), "workers": workers}
        config.write_text(json.dumps(raw))
        for failpoint in failpoints:
            curate("run", str(config), failpoint=failpoint, timeout=600)
        result = curate("run", str(config), timeout=600)
        assert result.returncode == 0, result.stderr
        found.append({k: d for k, d in digests(tmp_path / name).items() if not k.startswith("receipts/")})
    assert found[0] == found[1]
    assert any(k.startswith("labels/paragraphs/") for k in found[0])
