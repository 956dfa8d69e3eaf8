"""Reading, extraction and files beside the peers: CPU time on the same input in one run, with what agrees.

    CURATE_PEERS_PYTHON=… python tests/benchmarks/throughput.py [PAGES.parquet …] [--pages 880] [--texts TEXTS.parquet]
        [--only text,trafilatura,reading,parquet,jsonl]

PAGES hold a column ``html`` (and, to compare, ``gold_text``); without any, those of the development data. They are
packed as WARC.gz, one record per member, into a temporary folder, and every reader gets that file. Prints JSON lines:
CPU is user and system time, children included; ratios are peer / ours. Start-up (interpreter, libraries, the children
of both guards) is measured apart on a file of one page and taken off both sides; ``with_start`` leaves it in.

text: archive to text, our source and ``extract_html`` beside datatrove's WarcReader and Trafilatura step, F1 of both
against the gold texts; trafilatura: the same with trafilatura as our engine too, with our version of the library and
with datatrove's; reading: archives only; parquet, jsonl: MB of UTF-8 text per CPU-second.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import pytest  # noqa: E402

SHARED = Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared"))
TASKS = ("text", "trafilatura", "reading", "parquet", "jsonl")


def emit(**values: Any) -> None:
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(rounded, ensure_ascii=False, default=str), flush=True)


def cpu_seconds() -> float:
    """User and system time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def least(work: Callable[[], Any], rounds: int = 3) -> tuple[float, Any]:
    """Least CPU seconds of some rounds, and the last result."""
    best, result = float("inf"), None
    for _ in range(rounds):
        start = cpu_seconds()
        result = work()
        best = min(best, cpu_seconds() - start)
    return best, result


def word_f1(found: str, gold: str) -> float:
    """Multiset word F1; 1 if both are empty."""
    p, g = Counter(re.findall(r"\w+", found.lower())), Counter(re.findall(r"\w+", gold.lower()))
    if not g:
        return float(not p)
    return 2 * sum((p & g).values()) / (sum(p.values()) + sum(g.values())) if p else 0.0


# ------------------------------------------------------------------ input


def pack(pages: list[dict[str, Any]], path: Path) -> None:
    """A WARC.gz of responses as a crawler writes them, with digests, one gzip member per record."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    path.parent.mkdir()
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for i, page in enumerate(pages):
            body = page["html"].encode() if isinstance(page["html"], str) else page["html"]
            fields = [("Content-Type", "text/html; charset=utf-8"), ("Server", "bench"), ("Vary", "Accept-Encoding")]
            writer.write_record(
                writer.create_warc_record(
                    f"http://example.org/{i}",
                    "response",
                    payload=io.BytesIO(body),
                    http_headers=StatusAndHeaders("200 OK", fields, protocol="HTTP/1.1"),
                    warc_headers_dict={"WARC-Identified-Payload-Type": "text/html"},
                )
            )


def load_pages(files: list[Path], most: int) -> list[dict[str, Any]]:
    """Pages of the files in order, at most ``most``."""
    pages: list[dict[str, Any]] = []
    for file in files:
        names = [n for n in ("html", "gold_text") if n in pq.read_schema(file).names]
        pages += pq.read_table(file, columns=names).to_pylist()
    return [page for page in pages if page["html"]][:most]


def load_texts(files: list[Path], megabytes: int = 58) -> pa.Table:
    """Rows of id, url and text, repeated until there are enough megabytes."""
    texts: list[str] = []
    for file in files:
        texts += pq.read_table(file, columns=["text"])["text"].drop_null().to_pylist()
    size = sum(len(t.encode()) for t in texts)
    texts = texts * max(1, round(megabytes * 1e6 / size))
    ids = [f"doc/{i}" for i in range(len(texts))]
    return pa.table({"id": ids, "url": [f"http://example.org/{i}" for i in ids], "text": texts})


def make_tables(table: pa.Table, folder: Path) -> None:
    """The rows as Parquet (zstd, page checksums) and JSONL, plain and gzip."""
    import orjson

    folder.mkdir()
    pq.write_table(
        table, folder / "text.parquet", compression="zstd", use_dictionary=False, write_page_checksum=True,
        row_group_size=4096,
    )  # fmt: skip
    lines = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in table.to_pylist())
    (folder / "text.jsonl").write_bytes(lines)
    (folder / "text.jsonl.gz").write_bytes(gzip.compress(lines, 6))


# ------------------------------------------------------------------ both sides


def archive(path: Path, **options: Any) -> Any:
    """Our source over an archive: (source, batches)."""
    from curate.sources.base import InputFile, ReadOptions
    from curate.sources.warc import WarcSource

    source = WarcSource(InputFile(str(path), path.name, "warc", path.stat().st_size, ""), ReadOptions(**options))
    return source, source.batches


def ours_to_text(path: Path, config: dict[str, Any]) -> list[tuple[str, str]]:
    """(url, text) of every page, as a pass makes them: source, then the guarded stage."""
    from curate.stages.base import Context
    from curate.stages.extract_html import ExtractHtml, ExtractHtmlConfig

    stage = ExtractHtml(ExtractHtmlConfig(**config))
    stage.open(Context(cpu_seconds=30))
    found: list[tuple[str, str]] = []
    with path.open("rb") as file:
        for batch in archive(path)[1](file):
            rows = stage.process(batch.at(stage.name)).rows
            found += zip(rows.column("url").to_pylist(), rows.column("text").to_pylist(), strict=True)
    stage.close()  # the child has ended: its time is counted
    return found


def text_seconds(folder: Path, config: dict[str, Any], rounds: int) -> tuple[float, float, list[tuple[str, str]]]:
    """(whole CPU seconds, those of start-up, texts)."""
    ours_to_text(folder / "one" / "pages.warc.gz", config)
    start, _ = least(lambda: ours_to_text(folder / "one" / "pages.warc.gz", config), 2)
    seconds, texts = least(lambda: ours_to_text(folder / "warc" / "pages.warc.gz", config), rounds)
    return seconds, start, texts


def peer(task: str, folder: Path, script: str = "throughput_peers.py", *more: str) -> dict[str, Any] | None:
    """What a script finds in the peers' environment; None if there is none."""
    python = os.environ.get("CURATE_PEERS_PYTHON")
    if not python:
        return None
    command = [python, str(Path(__file__).with_name(script)), task, str(folder), *more]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=one_thread)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def mean_f1(texts: dict[str, str], pages: list[dict[str, Any]]) -> float | None:
    """Mean F1 over the pages that have a gold text; a page without a text counts as empty."""
    gold = {f"http://example.org/{i}": p["gold_text"] for i, p in enumerate(pages) if p.get("gold_text")}
    return fmean(word_f1(texts.get(url, ""), text) for url, text in gold.items()) if gold else None


def to_text(folder: Path, pages: list[dict[str, Any]], tasks: set[str]) -> None:
    """Archive to text, by both engines, beside datatrove."""
    theirs = peer("trafilatura", folder)
    n = len(pages)
    runs: list[tuple[str, dict[str, Any]]] = []
    if "text" in tasks:
        runs.append(("resiliparse", {}))
    precise = {"engine": "trafilatura", "trafilatura_mode": "precision", "trafilatura_comments": False}
    if "trafilatura" in tasks:
        runs.append(("trafilatura", precise))
    results = [(name, *text_seconds(folder, config, 1 if config else 2)) for name, config in runs]
    if "trafilatura" in tasks and theirs is not None:
        same = peer("ours", folder, "throughput.py", json.dumps(precise))
        assert same is not None
        results.append(("trafilatura of the peers", same["seconds"], same["start_seconds"], same["texts"]))
    other: dict[str, str] = {}
    if theirs is not None:
        other = dict(zip(*pq.read_table(folder / "datatrove_texts.parquet").to_pydict().values(), strict=True))
        emit(bench="datatrove WarcReader + Trafilatura", pages=n, texts=theirs["texts"], f1=mean_f1(other, pages),
             ms_page=(theirs["seconds"] - theirs["start_seconds"]) / n * 1e3, start_s=theirs["start_seconds"],
             versions=theirs["versions"])  # fmt: skip
    for name, seconds, start, found in results:
        texts = dict(found)
        row: dict[str, Any] = {"pages": n, "texts": len(texts), "f1": mean_f1(texts, pages)}
        row |= {"ms_page": (seconds - start) / n * 1e3, "start_s": start}
        if theirs is not None:
            row["ratio"] = (theirs["seconds"] - theirs["start_seconds"]) / (seconds - start)
            row["ratio_with_start"] = theirs["seconds"] / seconds
            row["texts_of_both"] = len(texts.keys() & other.keys())
            row["texts_identical"] = sum(texts[u].split() == other[u].split() for u in texts.keys() & other.keys())
        emit(bench=f"ours, {name}", **row)


def reading(folder: Path) -> None:
    """Reading only."""
    path = folder / "warc" / "pages.warc.gz"

    def ours(**options: Any) -> int:
        source, batches = archive(path, **options)
        with path.open("rb") as file:
            for _ in batches(file):
                pass
        return int(source.account.documents)

    ours()
    theirs = peer("reading", folder) or {}
    for name, options in (("ours", {}), ("ours without digests", {"verify_digests": False})):
        seconds, pages = least(lambda o=options: ours(**o), 5)  # type: ignore[misc]
        row = {"pages": pages, "ms_page": seconds / pages * 1e3, "html_mb_cpu_s": size_of(path) / 1e6 / seconds}
        for reader in ("WarcReader", "warcio", "fastwarc", "fastwarc_digests"):
            if reader in theirs:
                row[f"{reader}_ms"] = theirs[reader] / theirs[f"{reader}_pages"] * 1e3
                row[f"{reader}_pages"] = theirs[f"{reader}_pages"]
                row[f"{reader}_ratio"] = theirs[reader] / seconds
        emit(bench=f"reading, {name}", **row)


def size_of(path: Path) -> int:
    with gzip.open(path) as file:
        return sum(len(piece) for piece in iter(lambda: file.read(1 << 20), b""))


def rows_read(kind: str, path: Path) -> int:
    """Documents of a table through our source."""
    from curate.sources import base, jsonl, parquet

    cls: Any = {"parquet": parquet.ParquetSource, "jsonl": jsonl.JsonlSource}[kind]
    entry = base.InputFile(str(path), path.name, kind, path.stat().st_size, "")
    with path.open("rb") as file:
        return sum(len(batch) for batch in cls(entry, base.ReadOptions()).batches(file))


def parquet(folder: Path, table: pa.Table) -> None:
    """Writing a shard, reading a shard, reading a Parquet input; bare pyarrow with checksums beside each."""
    from curate.documents import IDENTITY, TEXT
    from curate.store.folder import open_folder
    from curate.store.shards import write_shard

    megabytes = sum(len(t.encode()) for t in table["text"].to_pylist()) / 1e6
    n = len(table)
    identity = {
        "id": pa.array([f"{i:032x}" for i in range(n)]), "url": table["url"], "source": pa.array(["a.parquet"] * n),
        "offset": pa.array(range(n), pa.int64()), "length": pa.array([1] * n, pa.int64()), "source_id": table["id"],
    }  # fmt: skip
    shard = pa.table({**identity, "text": table["text"]}, schema=pa.schema([*IDENTITY, TEXT])).combine_chunks()
    store = open_folder(str(folder / "store"))
    batches = shard.to_batches(max_chunksize=512)
    path = folder / "tables" / "text.parquet"
    bare = folder / "bare.parquet"

    def bare_write(**options: Any) -> None:
        coded = [c for c in shard.column_names if c not in ("id", "url", "source_id", "text")]
        pq.write_table(shard, bare, compression="zstd", use_dictionary=coded, **options)

    def bare_read(file: Path, check: bool) -> int:
        with pq.ParquetFile(file, page_checksum_verification=check) as opened:
            return sum(len(b) for b in opened.iter_batches(512, use_threads=False))

    def shard_read() -> int:
        with store.parquet("a.parquet") as opened:
            return sum(len(b) for b in opened.iter_batches(batch_size=512, use_threads=False))

    works: dict[str, Callable[[], Any]] = {
        "write: ours (shard, digest, checksums)": lambda: write_shard(store, "a.parquet", shard.schema, batches),
        "write: bare pyarrow with checksums": lambda: bare_write(write_page_checksum=True, write_page_index=True),
        "write: bare pyarrow": bare_write,
        "read shard: ours": shard_read,
        "read shard: bare pyarrow with checksums": lambda: bare_read(folder / "store" / "a.parquet", True),
        "read input: ours": lambda: rows_read("parquet", path),
        "read input: bare pyarrow with checksums": lambda: bare_read(path, True),
        "read input: bare pyarrow": lambda: bare_read(path, False),
    }
    rates: dict[str, float] = dict.fromkeys(works, 0.0)
    for _ in range(5):  # in turn, so that a machine whose speed drifts does not decide
        for name, work in works.items():
            rates[name] = max(rates[name], megabytes / least(work, 1)[0])
    theirs = peer("tables", folder) or {}
    names = ("ParquetReader", "ParquetWriter")
    rates |= {f"datatrove {k}": megabytes / theirs[k] for k in names if k in theirs}
    # the machine decides the rates; beside pyarrow alone they can be compared between machines
    ratios = {
        f"{what} / pyarrow with checksums": rates[ours] / rates[f"{what}: bare pyarrow with checksums"]
        for what, ours in (
            ("write", "write: ours (shard, digest, checksums)"),
            ("read shard", "read shard: ours"),
            ("read input", "read input: ours"),
        )
    }
    emit(bench="parquet, MB of text per CPU-second", text_mb=megabytes, rows=n, **rates, **ratios)


def jsonl(folder: Path, table: pa.Table) -> None:
    """Reading JSONL, plain and gzip; zlib and one ``orjson.loads`` per line beside it."""
    import orjson

    megabytes = sum(len(t.encode()) for t in table["text"].to_pylist()) / 1e6
    plain, packed = folder / "tables" / "text.jsonl", folder / "tables" / "text.jsonl.gz"

    def bare(opener: Callable[..., Any], path: Path) -> int:
        with opener(path, "rb") as file:
            return sum(len(orjson.loads(line)) for line in file)

    works: dict[str, Callable[[], Any]] = {
        "ours": lambda: rows_read("jsonl", plain),
        "orjson alone": lambda: bare(open, plain),
        "ours, gzip": lambda: rows_read("jsonl", packed),
        "orjson alone, gzip": lambda: bare(gzip.open, packed),
    }
    rates: dict[str, float] = dict.fromkeys(works, 0.0)
    for _ in range(5):
        for name, work in works.items():
            rates[name] = max(rates[name], megabytes / least(work, 1)[0])
    theirs = peer("tables", folder) or {}
    names = ("JsonlReader", "JsonlReader_plain", "JsonlWriter")
    rates |= {f"datatrove {k}": megabytes / theirs[k] for k in names if k in theirs}
    ratios = {f"{n} / orjson": rates[n] / rates[n.replace("ours", "orjson alone")] for n in ("ours", "ours, gzip")}
    emit(bench="jsonl, MB of text per CPU-second", text_mb=megabytes, rows=len(table), **rates, **ratios)


def main(pages: list[Path], most: int, texts: list[Path], tasks: set[str]) -> None:
    """Make the input in a temporary folder and measure."""
    if "CURATE_PEERS_PYTHON" not in os.environ:
        print("CURATE_PEERS_PYTHON is not set: no peers beside ours", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if tasks & {"text", "trafilatura", "reading"}:
            rows = load_pages(pages, most)
            pack(rows, folder / "warc" / "pages.warc.gz")
            pack(rows[:1], folder / "one" / "pages.warc.gz")
            path = folder / "warc" / "pages.warc.gz"
            emit(bench="input", pages=len(rows), html_mb=size_of(path) / 1e6, gz_mb=path.stat().st_size / 1e6)
            if "reading" in tasks:
                reading(folder)
            if tasks & {"text", "trafilatura"}:
                to_text(folder, rows, tasks)
        if tasks & {"parquet", "jsonl"}:
            table = load_texts(texts)
            make_tables(table, folder / "tables")
            if "parquet" in tasks:
                parquet(folder, table)
            if "jsonl" in tasks:
                jsonl(folder, table)


def ours_elsewhere(folder: Path, config: dict[str, Any]) -> None:
    """Our pass in the environment this script is run by, for ``peer``."""
    seconds, start, texts = text_seconds(folder, config, 1)
    print(json.dumps({"seconds": seconds, "start_seconds": start, "texts": texts}))


def defaults() -> tuple[list[Path], list[Path]]:
    """Pages and texts of the development data."""
    data = SHARED / "data"
    pages = [data / "wcxb_dev" / "wcxb_dev.parquet", data / "article_extraction_benchmark" / "articles.parquet"]
    return pages, [data / "weborganizer_dev" / "docs.parquet", data / "annotated_web_dev" / "docs.parquet"]


@pytest.mark.bench
def test_reading_and_extraction_are_ahead_of_the_peers(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "CURATE_PEERS_PYTHON" not in os.environ:
        pytest.skip("CURATE_PEERS_PYTHON names no environment with the peers (tests/benchmarks/README.md)")
    main(defaults()[0], 880, defaults()[1], {"text", "trafilatura", "reading"})
    rows = {r["bench"]: r for r in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["ours, resiliparse"]["ratio"] >= 15
    assert rows["ours, resiliparse"]["f1"] >= rows["datatrove WarcReader + Trafilatura"]["f1"]
    assert rows["ours, trafilatura"]["ratio"] >= 1.1
    assert rows["reading, ours"]["WarcReader_ratio"] > 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        ours_elsewhere(Path(sys.argv[2]), json.loads(sys.argv[3]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--pages", type=int, default=880)
    parser.add_argument("--texts", type=Path, action="append")
    parser.add_argument("--only", default=",".join(TASKS))
    arguments = parser.parse_args()
    chosen = set(arguments.only.split(","))
    main(arguments.files or defaults()[0], arguments.pages, arguments.texts or defaults()[1], chosen)
