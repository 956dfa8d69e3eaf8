"""The report and the data card of real, small runs: their figures are the ledger's, their bytes the run's."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from curate.store.folder import open_folder
from curate.store.manifest import Manifest
from pipelines.config import load_config
from pipelines.graph import steps_of
from pipelines.run import RunResult, run
from pipelines.steps.base import Run
from pipelines.verify import verify
from tests.curate.inspect.hostile import Elements

WORDS = "the river carried old boats past {} and people on the bank waved to them until it was dark again in {}"
HOSTILE = "<script>alert(1)</script> and \u202emore about the old town and its market, which people like to visit"
CONFIG = """
run: {name: publish, output: OUT, workers: 1, keep_dropped_text: true, max_failed_ratio: 1.0}
input: {kind: jsonl, paths: [in/*.jsonl]}
stages:
  - language: {keep: [en]}
  - tokens: {}
dedup: [{exact: {}}]
keep: "dedup_is_survivor and tokens_count > 12"
recipe: {groups: [language_code], rule: natural}
report: {examples: 2, bins: 10}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two input files, a config, and a finished run in ``out``."""
    folder = tmp_path_factory.mktemp("publish")
    (folder / "in").mkdir()
    texts = [WORDS.format(f"town {i}", f"winter {i}") for i in range(30)]
    first = [*texts[:20], texts[0], HOSTILE, "Too short to keep."]
    second = [*texts[20:], texts[1], "Der Fluss trug alte Boote an der Stadt vorbei, und die Leute winkten am Ufer."]
    for number, rows in enumerate((first, second)):
        lines = [json.dumps({"text": t, "id": str(i), "url": f"https://host/<b>{i}"}) for i, t in enumerate(rows)]
        lines += ["{not json"] * (number == 0)
        (folder / "in" / f"{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "curate.yaml").write_text(CONFIG.replace("OUT", str(folder / "out")), encoding="utf-8")
    assert go(folder).exit_code == 0
    return folder


def go(folder: Path, *overrides: str) -> RunResult:
    return run(load_config(folder / "curate.yaml", overrides=overrides))


def page(folder: Path, out: str = "out") -> str:
    return (folder / out / "report" / "index.html").read_text(encoding="utf-8")


def card(folder: Path, out: str = "out") -> tuple[dict[str, Any], str]:
    text = (folder / out / "corpus" / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    return YAML(typ="safe").load(head), body


def test_figures_of_the_page_are_those_of_verify(made: Path) -> None:
    books = verify(str(made / "out"))
    assert books["ok"]
    shown = Elements(page(made)).shown
    dropped, failed = sum(books["dropped"].values()), sum(books["failed"].values())
    assert f"{books['in']} in = {books['kept']} kept + {dropped} dropped + {failed} failed" in shown
    assert (dropped, failed) == (4, 1)
    rows = re.findall(r"<tr>.*?</tr>", page(made))
    for key, n in books["dropped"].items():
        stage, _, reason = key.partition(":")
        named = [r for r in rows if f"<bdi>{html.escape(reason)}</bdi>" in r and f"<td><bdi>{stage}</bdi></td>" in r]
        assert len(named) == 1 and f"<span>{n}</span>" in named[0], key


def test_tokens_of_the_page_are_those_of_the_corpus(made: Path) -> None:
    tokens = sum(
        sum(pq.read_table(p)["tokens_count"].to_pylist()) for p in sorted((made / "out/corpus").glob("*.parquet"))
    )
    assert f"Tokens kept{tokens:,}" in Elements(page(made)).shown


def test_dropped_documents_are_quoted_as_text(made: Path) -> None:
    shown = page(made)
    assert "Too short to keep." in shown
    assert "https://host/&lt;b&gt;" in shown
    assert "<script" not in shown and "<b>" not in shown


def test_rows_of_the_card_are_those_of_the_receipts(made: Path) -> None:
    head, body = card(made)
    receipts = [json.loads(p.read_text()) for p in sorted((made / "out/receipts/select").glob("*.json"))]
    outputs = [o for r in receipts for o in r["outputs"] if o["path"].startswith("corpus/")]
    info = head["dataset_info"]
    assert info["splits"][0]["num_examples"] == sum(o["rows"] for o in outputs) == 31
    assert info["download_size"] == sum(p.stat().st_size for p in (made / "out/corpus").glob("*.parquet"))
    assert [f["name"] for f in info["features"]] == pq.read_schema(made / "out/corpus/00000.parquet").names
    assert head["language"] == ["en"]
    assert "36 in = 31 kept + 4 dropped + 1 failed." in body
    assert "| `exact` | `exact_duplicate` | 2 |" in body


@pytest.mark.slow
def test_two_workers_in_another_folder_write_the_same_bytes(made: Path) -> None:
    assert go(made, f"run.output={made / 'two'}", "run.workers=2").exit_code == 0
    assert page(made, "two") == page(made)
    assert (made / "two/corpus/README.md").read_bytes() == (made / "out/corpus/README.md").read_bytes()


def test_neither_page_nor_card_names_folders_of_this_machine(made: Path) -> None:
    assert str(made) not in page(made)
    assert str(made) not in (made / "out/corpus/README.md").read_text(encoding="utf-8")


def test_other_report_settings_redo_the_report_and_no_document(made: Path) -> None:
    again = go(made, f"run.output={made / 'out'}", "report.title='A <b>title</b>'", "report.examples=0")
    assert {"done": again.tasks_done, "exit": again.exit_code} == {"done": 2, "exit": 0}  # the page and the card
    shown = page(made)
    assert "<title>A &lt;b&gt;title&lt;/b&gt;</title>" in shown
    assert "Too short to keep." not in shown and "carried old boats" not in shown
    assert go(made).exit_code == 0  # as it was


def test_an_empty_corpus_has_a_page_and_a_card(made: Path) -> None:
    out = made / "none"
    result = go(made, f"run.output={out}", "keep='tokens_count > 1e6'", "recipe=null")
    assert result.exit_code == 0
    shown = Elements(page(made, "none")).shown
    assert "36 in = 0 kept + 35 dropped + 1 failed" in shown
    assert "The corpus is empty" in shown
    assert card(made, "none")[0]["dataset_info"]["splits"][0]["num_examples"] == 0


def test_report_null_means_no_page_but_a_card(made: Path) -> None:
    config = load_config(made / "curate.yaml", overrides=("report=null",))
    names = [s.name for s in steps_of(Run(config, open_folder(str(made / "out")), Manifest(), config.base))]
    assert "report" not in names and "card" in names


def test_documents_of_one_address_are_on_the_books(tmp_path: Path) -> None:
    rows = [{"text": "boats on the river", "url": "http://h/a"}, {"text": "people at the bank", "url": "https://h/a"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "curate.yaml").write_text(
        f"run: {{output: {tmp_path / 'out'}, workers: 1}}\ninput: {{kind: jsonl, paths: [a.jsonl]}}\n"
        "dedup: [{exact: {url: true}}]\n"
    )
    assert go(tmp_path).totals.to_json()["dropped"] == {"url:url_duplicate": 1}
    assert verify(str(tmp_path / "out"))["ok"]
    assert "another document has the same address, and stays" in page(tmp_path)
