"""The other side of ``throughput.py``, run by the interpreter of the peers' environment; needs nothing of curate.

    throughput_peers.py reading|trafilatura|tables FOLDER

FOLDER holds what ``throughput.py`` made: ``warc/pages.warc.gz``, ``tables/text.parquet``, ``tables/text.jsonl.gz``.
Prints one JSON object: CPU seconds (user and system, children included) by task, counts, and versions.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")


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


def reading(folder: Path) -> dict[str, Any]:
    """Seconds and pages of WarcReader (to str), FastWARC and warcio (HTTP parsed, body read)."""
    path = folder / "warc" / "pages.warc.gz"

    def by_warcio() -> int:
        from warcio.archiveiterator import ArchiveIterator

        n = 0
        with path.open("rb") as file:
            for record in ArchiveIterator(file):
                if record.rec_type == "response":
                    record.content_stream().read()
                    n += 1
        return n

    def by_fastwarc(*, check: bool) -> int:
        from fastwarc.warc import ArchiveIterator, WarcRecordType

        n = 0
        with path.open("rb") as file:
            for record in ArchiveIterator(
                file, record_types=WarcRecordType.response, parse_http=True, verify_digests=check
            ):
                record.reader.read()
                n += 1
        return n

    def by_datatrove() -> int:
        from datatrove.pipeline.readers import WarcReader

        return sum(1 for _ in WarcReader(str(folder / "warc"), glob_pattern="*.warc.gz").run())

    found: dict[str, Any] = {}
    for name, work in (
        ("warcio", by_warcio),
        ("fastwarc", lambda: by_fastwarc(check=False)),
        ("fastwarc_digests", lambda: by_fastwarc(check=True)),
        ("WarcReader", by_datatrove),
    ):
        work()
        found[name], found[f"{name}_pages"] = least(work)
    return found


def trafilatura(folder: Path) -> dict[str, Any]:
    """Seconds of WarcReader and the Trafilatura step (sandbox), whole and for a file of one page; texts to a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader

    def chain(name: str) -> list[tuple[str, str]]:
        step = Trafilatura(favour_precision=True, timeout=30)
        documents = step.run(WarcReader(str(folder / name), glob_pattern="*.warc.gz").run())
        return [(d.metadata["url"], d.text) for d in documents]

    if not chain("one"):  # also loads modules, and makes whatever is made at the first call
        raise RuntimeError("datatrove's Trafilatura step gives no text; is lxml_html_clean installed?")
    start, _ = least(lambda: chain("one"), 2)
    seconds, texts = least(lambda: chain("warc"), 1)
    urls, values = zip(*texts, strict=True)
    pq.write_table(pa.table({"url": urls, "text": values}), folder / "datatrove_texts.parquet")
    return {"seconds": seconds, "start_seconds": start, "texts": len(texts)}


def tables(folder: Path) -> dict[str, Any]:
    """Seconds of ParquetReader, ParquetWriter, JsonlReader and JsonlWriter on the same rows."""
    from datatrove.data import Document
    from datatrove.pipeline.readers import JsonlReader, ParquetReader
    from datatrove.pipeline.writers import JsonlWriter, ParquetWriter

    at = str(folder / "tables")
    documents = list(ParquetReader(at, glob_pattern="text.parquet").run())

    def fresh() -> list[Document]:
        return [Document(text=d.text, id=d.id, metadata={"url": d.metadata["url"]}) for d in documents]

    def write(writer: Any) -> Any:
        return lambda: sum(1 for _ in writer.run(iter(fresh()), 0, 1))

    copying = least(fresh)[0]
    found = {
        "ParquetReader": least(lambda: sum(1 for _ in ParquetReader(at, glob_pattern="text.parquet").run()))[0],
        "JsonlReader": least(lambda: sum(1 for _ in JsonlReader(at, glob_pattern="text.jsonl.gz").run()))[0],
        "JsonlReader_plain": least(lambda: sum(1 for _ in JsonlReader(at, glob_pattern="text.jsonl").run()))[0],
    }
    for name, writer in (("ParquetWriter", ParquetWriter), ("JsonlWriter", JsonlWriter)):
        found[name] = least(write(writer(str(folder / name))), 1)[0] - copying
    return {**found, "rows": len(documents)}


def main() -> None:
    import loguru

    loguru.logger.remove()
    task, folder = sys.argv[1], Path(sys.argv[2])
    began = time.process_time()
    found = {"reading": reading, "trafilatura": trafilatura, "tables": tables}[task](folder)
    names = ("datatrove", "trafilatura", "lxml", "warcio", "fastwarc", "pyarrow")
    print(json.dumps({**found, "versions": {n: version(n) for n in names}, "all_cpu": time.process_time() - began}))


if __name__ == "__main__":
    main()
