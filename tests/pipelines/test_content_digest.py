"""Documents are one by what was fetched, from archives and from a named field; a config without either is told so."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.columns import check_columns
from pipelines.config import load_config
from tests.curate.sources.archives import http, member, page, record
from tests.end_to_end.here import rows, run_here
from tests.running import write_config

CONTENT = [{"exact": {"text": False, "content": True}}]


def run(config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    scratch = config.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    result = run_here(load_config(config), scratch, monkeypatch)
    assert result.exit_code == 0, result.problems
    return config.with_suffix("")


def test_pages_of_an_archive_are_one_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same, other = page(1, "one and the same page"), page(1, "one and the same page").replace(b"<p>", b"<p class=x>")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.warc.gz").write_bytes(
        b"".join(member(record(n, http(body))) for n, body in enumerate([same, other, same, same]))
    )
    config = write_config(
        tmp_path / "r.json", tmp_path / "in", stages=[{"extract_html": {}}], dedup=CONTENT, recipe=None,
        input={"kind": "warc", "paths": [str(tmp_path / "in/a.warc.gz")]},
    )  # fmt: skip
    done = run(config, monkeypatch)
    assert len(rows(done, "corpus")) == 2 and len({row["text"] for row in rows(done, "corpus")}) == 1
    assert {row["reason"] for row in rows(done, "dropped")} == {"content_duplicate"}


def test_a_config_without_anything_fetched_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text(json.dumps({"text": "a"}) + "\n")
    config = write_config(tmp_path / "r.json", tmp_path / "in", dedup=CONTENT, recipe=None)
    (issue,) = check_columns(load_config(config))
    assert "content_digest" in issue.message and "input.content_column" in issue.hint
    assert not check_columns(load_config(config, ["input.content_column=html"]))


@pytest.mark.slow
def test_the_share_of_identical_pages_is_the_published_one(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.412 of the rows of a page archive hold bytes that an earlier row holds."""
    crawls = pq.read_table(shared / "data/ota_recrawl_dev/crawls.parquet")
    (tmp_path / "in").mkdir()
    pq.write_table(
        pa.table({"text": crawls["html_sha1_git"], "page": crawls["html"], "url": crawls["url"]}),
        tmp_path / "in/c.parquet",
    )
    config = write_config(
        tmp_path / "r.json", tmp_path / "in", stages=[], dedup=CONTENT, recipe=None,
        input={"kind": "parquet", "paths": [str(tmp_path / "in/c.parquet")], "content_column": "page"},
    )  # fmt: skip
    done = run(config, monkeypatch)
    removed = pq.read_table(done / "dedup/pairs.parquet").num_rows
    assert round(removed / crawls.num_rows, 3) == 0.412
