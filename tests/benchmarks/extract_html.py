"""Extraction measured: word F1 and CPU per page by engine and page type, what the guard costs, language labels.

    python tests/benchmarks/extract_html.py [--engines resiliparse,auto,trafilatura] [--pages 700]

Prints one JSON object per line. F1 is the multiset word F1 of the data's README; CPU is user + system time of this
process and its children, in ms per page. The guard's overhead compares the same pages through the stage and through
the bare function in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from curate.documents import IDENTITY, Batch  # noqa: E402
from curate.stages.base import Context, Stage  # noqa: E402
from curate.stages.extract_html import ExtractHtml, ExtractHtmlConfig  # noqa: E402
from curate.stages.language import Language  # noqa: E402

WORKER_OPTIONS = ("engine", "noscript", "auto_share", "mode", "comments", "text_bytes")
SHARED = Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared"))


def word_f1(found: str, gold: str) -> float:
    """Multiset word F1; 1 if both are empty."""
    p, g = Counter(re.findall(r"\w+", found.lower())), Counter(re.findall(r"\w+", gold.lower()))
    if not g:
        return float(not p)
    return 2 * sum((p & g).values()) / (sum(p.values()) + sum(g.values())) if p else 0.0


def batch_of(pages: list[str]) -> Batch:
    """Pages as documents."""
    n = len(pages)
    values: dict[str, list[Any]] = {
        "id": [f"{i:032x}" for i in range(n)],
        "url": [None] * n,
        "source": ["bench"] * n,
        "offset": list(range(n)),
        "length": [1] * n,
        "source_id": [None] * n,
    }
    rows = {field.name: pa.array(values[field.name], field.type) for field in IDENTITY}
    return Batch(pa.record_batch({**rows, "html": pa.array(pages, pa.string())}))


def cpu_seconds() -> float:
    """User and system time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def through(stage: Stage, pages: list[str], size: int = 128) -> list[str | None]:
    """The stage's text for every page; null where it failed."""
    texts: list[str | None] = [None] * len(pages)
    for start in range(0, len(pages), size):
        rows = stage.process(batch_of(pages[start : start + size])).rows
        for i, text in zip(rows.column("offset").to_pylist(), rows.column("text").to_pylist(), strict=True):
            texts[start + i] = text
    return texts


def measure(engine: str, pages: list[str]) -> tuple[list[str | None], float, float]:
    """(texts, CPU ms per page without start-up, start-up CPU s) of the whole stage, child included."""

    def run(todo: list[str]) -> tuple[list[str | None], float]:
        before = cpu_seconds()
        stage = ExtractHtml(ExtractHtmlConfig(engine=engine, drop_empty=False))  # type: ignore[arg-type]
        stage.open(Context(cpu_seconds=30))
        texts = through(stage, todo)
        stage.close()
        return texts, cpu_seconds() - before

    run(pages[:1])  # kernels compiled
    _, start = run(pages[:1])
    texts, cost = run(pages)
    return texts, 1000 * (cost - start) / len(pages), start


def overhead(pages: list[str], size: int = 64) -> dict[str, Any]:
    """What the guard and the scan cost beside the same function in this process, batch by batch in turn, so that a
    machine whose speed drifts does not decide."""
    from curate.guard import Guard
    from curate.kernels.html_scan import Limits, scan_pages
    from curate.kernels.strings import string_buffers
    from curate.stages.html_worker import HtmlWorker

    options = dict(zip(WORKER_OPTIONS, ("resiliparse", False, 0.1, "default", True, 8 << 20), strict=True))
    worker, guard = HtmlWorker(**options), Guard("curate.stages.html_worker:HtmlWorker", options)
    guard.map(pa.record_batch({"html": pages[:1]}))
    scan_pages(*string_buffers(pa.array(pages[:1])), Limits(512, 1000, 1 << 16))
    spent: Counter[str] = Counter()
    for start in range(0, len(pages), size):
        batch = pa.record_batch({"html": pa.array(pages[start : start + size])})
        began = time.process_time()
        rows = [worker(page.as_py()) for page in batch.column(0)]
        pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=["text", "title", "engine"])
        spent["bare"] += (middle := time.process_time()) - began  # type: ignore[assignment]
        before = child_seconds(guard)
        guard.map(batch)
        spent["parent"] += (end := time.process_time()) - middle  # type: ignore[assignment]
        spent["child"] += child_seconds(guard) - before  # type: ignore[assignment]
        scan_pages(*string_buffers(batch.column(0)), Limits(512, 1000, 1 << 16))
        spent["scan"] += time.process_time() - end  # type: ignore[assignment]
    guard.close()
    ms = {f"{name}_ms": round(1000 * seconds / len(pages), 3) for name, seconds in spent.items()}
    share = (spent["parent"] + spent["child"]) / spent["bare"] - 1
    return {**ms, "guard_overhead": round(share, 4), "scan_overhead": round(spent["scan"] / spent["bare"], 4)}


def child_seconds(guard: Any) -> float:
    """CPU time of the guard's child so far, to 10 ms."""
    fields = Path(f"/proc/{guard._child.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quality(engines: list[str], limit: int) -> None:
    """F1 per type and CPU per page of each engine."""
    table = pq.read_table(SHARED / "data/wcxb_dev/wcxb_dev.parquet", columns=["html", "gold_text", "page_type"])
    rows = table.slice(0, limit).to_pylist()
    pages = [row["html"] for row in rows]
    for engine in engines:
        texts, ms, start = measure(engine, pages)
        scores: dict[str, list[float]] = defaultdict(list)
        for row, text in zip(rows, texts, strict=True):
            scores[row["page_type"]].append(word_f1(text or "", row["gold_text"] or ""))
        by_type = {kind: round(sum(v) / len(v), 3) for kind, v in sorted(scores.items())}
        every = [score for v in scores.values() for score in v]
        line = {
            "engine": engine,
            "pages": len(pages),
            "f1": round(sum(every) / len(every), 3),
            "macro": round(sum(by_type.values()) / len(by_type), 3),
            "f1_by_type": by_type,
            "cpu_ms_per_page": round(ms, 2),
            "start_cpu_s": round(start, 2),
            "failed": sum(text is None for text in texts),
            "empty": sum(text == "" for text in texts),
        }
        print(json.dumps(line))
    print(json.dumps(overhead(pages)))


def gold_pages() -> Iterator[tuple[str, str]]:
    """(html, language) of the pages of debcrawl whose language is known."""
    from fastwarc.warc import ArchiveIterator

    gold = pq.read_table(SHARED / "data/debcrawl/gold.parquet").to_pylist()
    known = {g["record_id"].strip("<>"): g for g in gold if g["kind"] == "page" and g["lang_gold"]}
    for name in ("crawl-00", "crawl-01"):
        with (SHARED / f"data/debcrawl/{name}.warc.gz").open("rb") as file:
            for record in ArchiveIterator(file, parse_http=True):
                g = known.get(record.headers.get("WARC-Record-ID", "").strip("<>"))
                if g is not None:
                    yield record.reader.read().decode(g["charset"], "replace"), g["lang_gold"]


def languages() -> None:
    """Agreement of the language label with the gold of debcrawl, after extraction."""
    pages, gold = zip(*gold_pages(), strict=True)
    extract, language = ExtractHtml(ExtractHtmlConfig(drop_empty=False)), Language()
    extract.open(Context())
    language.open(Context())
    right = n = 0
    cost = 0.0
    wrong: Counter[str] = Counter()
    for start in range(0, len(pages), 256):
        batch = extract.process(batch_of(list(pages[start : start + 256])))
        before = time.process_time()
        rows = language.process(batch).rows
        cost += time.process_time() - before
        for i, code in zip(rows.column("offset").to_pylist(), rows.column("language_code").to_pylist(), strict=True):
            n += 1
            right += code == gold[start + i]
            if code != gold[start + i]:
                wrong[f"{gold[start + i]}>{code}"] += 1
    extract.close()
    print(
        json.dumps(
            {
                "language_pages": n,
                "agreement": round(right / n, 4),
                "ms_per_document": round(1000 * cost / n, 3),
                "wrong": dict(wrong.most_common(8)),
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="resiliparse,auto,trafilatura")
    parser.add_argument("--pages", type=int, default=700)
    parser.add_argument("--skip-language", action="store_true")
    arguments = parser.parse_args()
    quality([engine for engine in arguments.engines.split(",") if engine], arguments.pages)
    if not arguments.skip_language:
        languages()
