"""Duplicates that are known to be there, or known not to be; prints JSON lines, with ``--show`` the removed pairs too.

    python tests/benchmarks/known_duplicates.py [recrawl] [web] [news] [--show]

``recrawl``: ``ota_recrawl_dev`` packed as WARC and read back: the share of rows that are exact copies of another, by
page and by main text, beside the shares that its README states (0.412 and 0.957). ``web``: ``weborganizer_dev``, whose
source was deduplicated: near nothing may go. ``news``: ``bbc_topics``: its 98 identical texts must go, and what else
goes is listed. The last two run configs/dedup_jsonl.yaml. Data: ``CURATE_SHARED``, by default ``../shared``.
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

REPO = Path(__file__).resolve().parents[2]
STATED = {"content": 0.412, "text": 0.957}


def emit(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}, ensure_ascii=False), flush=True)


def data(name: str) -> Path:
    return Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared")) / "data" / name


def run(config: Path, *settings: str) -> None:
    sets = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "pipelines.cli", "run", str(config), *sets]
    subprocess.run(command, check=True, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# ---------------------------------------------------------------- the same pages, crawled again and again


def write_crawl(rows: Iterable[dict[str, Any]], path: Path) -> int:
    """The pages as response records; how many."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    count = 0
    with path.open("wb") as out:
        writer = WARCWriter(out, gzip=True)
        for row in rows:
            page = row["html"].encode("utf-8") if isinstance(row["html"], str) else row["html"]
            fields = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
            headers = StatusAndHeaders("200 OK", fields, protocol="HTTP/1.1")
            date = {"WARC-Date": row["crawl_time"][:19].replace(" ", "T") + "Z"}
            record = writer.create_warc_record(
                row["url"], "response", payload=io.BytesIO(page), http_headers=headers, warc_headers_dict=date
            )
            writer.write_record(record)
            count += 1
    return count


def recrawl(work: Path) -> dict[str, Any]:
    """Shares of rows removed as exact copies, by what is compared."""
    work.mkdir(parents=True)
    rows = write_crawl(pq.read_table(data("ota_recrawl_dev") / "crawls.parquet").to_pylist(), work / "crawl.warc.gz")
    found: dict[str, Any] = {"rows": rows, "stated": STATED}
    for what in ("content", "text"):
        config = work / f"{what}.json"
        exact = {"text": what == "text", "content": what == "content"}
        config.write_text(json.dumps({
            "run": {"output": str(work / what), "max_failed_ratio": None},
            "input": {"kind": "warc", "paths": [str(work / "crawl.warc.gz")]},
            "stages": [{"extract_html": {"drop_empty": False}}],
            "dedup": [{"exact": exact}],
            "report": None,
        }))  # fmt: skip
        run(config)
        removed = pq.read_table(work / what / "dedup" / "pairs.parquet").num_rows
        found[what] = {"removed": removed, "share": round(removed / rows, 4)}
    emit("recrawl", **found)
    return found


# ---------------------------------------------------------------- corpora that were deduplicated, or hold known copies


def removed_pairs(rows: list[dict[str, Any]], work: Path) -> list[dict[str, Any]]:
    """What configs/dedup_jsonl.yaml removes from these rows (id, text, url)."""
    work.mkdir(parents=True)
    with (work / "in.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    run(REPO / "configs" / "dedup_jsonl.yaml", f"input.paths=[{work / 'in.jsonl'}]", f"run.output={work / 'run'}")
    pairs: list[dict[str, Any]] = pq.read_table(work / "run" / "dedup" / "pairs.parquet").to_pylist()
    return pairs


def show(pairs: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Each removed document beside its survivor: the words that differ."""
    by_id = {row["id"]: row for row in rows}
    for pair in sorted(pairs, key=lambda p: (p["kind"], p["similarity"])):
        gone, kept = by_id[pair["removed_source_id"]], by_id[pair["survivor_source_id"]]
        print(
            f"\n== {pair['kind']} {pair['similarity']:.4f}  {gone['id']} {gone['url']}  →  {kept['id']} {kept['url']}"
        )
        a, b = kept["text"].split(), gone["text"].split()
        print(f"   {len(a)} and {len(b)} words; begins: {gone['text'][:100]!r}")
        for tag, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()[:12]:
            if tag != "equal":
                print(f"   - {' '.join(a[i:j])[:160]!r}  + {' '.join(b[k:m])[:160]!r}")


def web(work: Path, verbose: bool = False) -> dict[str, Any]:
    """Removed pairs of a corpus that was already deduplicated."""
    table = pq.read_table(data("weborganizer_dev") / "docs.parquet", columns=["id", "url", "text", "registered_domain"])
    rows = table.to_pylist()
    domain = {row["id"]: row["registered_domain"] for row in rows}
    pairs = removed_pairs([{k: row[k] for k in ("id", "url", "text")} for row in rows], work)
    same_site = sum(domain[p["removed_source_id"]] == domain[p["survivor_source_id"]] for p in pairs)
    found = {"documents": len(rows), "removed": len(pairs), "share": round(len(pairs) / len(rows), 5),
             "kinds": Counter(p["kind"] for p in pairs), "of_the_same_domain": same_site}  # fmt: skip
    emit("web", **found)
    if verbose:
        show(pairs, rows)
    return found


def news(work: Path, verbose: bool = False) -> dict[str, Any]:
    """Whether the known copies go, and what goes beside them."""
    table = pq.read_table(data("bbc_topics") / "bbc.parquet", columns=["id", "text", "duplicate_of"])
    rows = [{"id": r["id"], "url": None, "text": r["text"], "of": r["duplicate_of"]} for r in table.to_pylist()]
    copies = {row["id"]: row["of"] for row in rows if row["of"] is not None}
    pairs = removed_pairs([{k: row[k] for k in ("id", "url", "text")} for row in rows], work)
    gone = {p["removed_source_id"] for p in pairs}
    missed = [id_ for id_, of in copies.items() if id_ not in gone and of not in gone]
    families = {frozenset((id_, of)) for id_, of in copies.items()}
    others = [p for p in pairs if frozenset((p["removed_source_id"], p["survivor_source_id"])) not in families]
    found = {"documents": len(rows), "copies": len(copies), "missed": len(missed), "removed": len(pairs),
             "kinds": Counter(p["kind"] for p in pairs), "beside_the_copies": len(others)}  # fmt: skip
    emit("news", **found)
    if verbose:
        show(others, rows)
    return found


@pytest.mark.bench
def test_known_duplicates_go_and_little_else(tmp_path: Path) -> None:
    if not data("bbc_topics").exists():
        pytest.skip(f"needs {data('bbc_topics')}")
    assert news(tmp_path / "news")["missed"] == 0
    assert web(tmp_path / "web")["share"] < 0.005
    shares = recrawl(tmp_path / "recrawl")
    assert all(abs(shares[what]["share"] - STATED[what]) < 0.01 for what in STATED)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=["recrawl", "web", "news", []], default=[])
    parser.add_argument("--show", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name in given.which or ["recrawl", "web", "news"]:
            if name == "recrawl":
                recrawl(Path(place) / name)
            else:
                {"web": web, "news": news}[name](Path(place) / name, given.show)
