"""How completely and how fast web archives are read: a table per file beside other readers, and charsets against gold.

    python tests/benchmarks/read_warc.py [FOLDER ...]

Prints JSON lines. Without folders it reads the archives of the development data: every file of ``real_warc`` (beside
the counts of warcio and FastWARC that its index holds) and ``debcrawl`` (pages, charsets, mojibake, CPU per page
beside FastWARC, if that is installed, and beside zlib and a plain decode).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO))

import pyarrow.parquet as pq  # noqa: E402
import pytest  # noqa: E402

from curate.sources.base import InputFile, ReadOptions  # noqa: E402
from curate.sources.payload import Dropped, page_of  # noqa: E402
from curate.sources.warc import WarcSource  # noqa: E402


def emit(**values: Any) -> None:
    print(json.dumps(values, ensure_ascii=False, default=str), flush=True)


def shared_folder() -> Path:
    return Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared"))


def source_for(path: Path, cls: type[WarcSource] = WarcSource, **options: Any) -> WarcSource:
    return cls(InputFile(str(path), path.name, cls.kind, path.stat().st_size, ""), ReadOptions(**options))


def read(path: Path, cls: type[WarcSource] = WarcSource, **options: Any) -> tuple[WarcSource, list[Any]]:
    source = source_for(path, cls, **options)
    with path.open("rb") as file:
        return source, list(source.batches(file))


def balance(source: WarcSource) -> dict[str, Any]:
    """What became of the file's records and bytes."""
    dropped = Counter(r for d in source.fates.drops for r in d.reason.to_pylist())
    failed = Counter(f.error for f in source.fates.failures if f.rows is not None and f.level == "error")
    account = source.account
    left = account.documents + dropped.total() + failed.total() + account.skipped.total()
    return {
        "records": account.records,
        "documents": account.documents,
        "dropped": dict(dropped),
        "failed": dict(failed),
        "skipped": dict(account.skipped),
        "rejected_ranges": len(account.rejected),
        "rejected_bytes": account.rejected_bytes,
        "remarks": dict(Counter(f.error for f in source.fates.failures if f.rows is None)),
        "bytes_ok": account.accounted_bytes == source.entry.size,
        "records_ok": account.records == left,
    }


def files_of(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Files of a folder with their index entry; a ``files.tar.zst`` in it is unpacked into a temporary folder."""
    index: dict[str, dict[str, Any]] = {}
    if (folder / "index.jsonl").exists():
        index = {(e := json.loads(line))["file"]: e for line in (folder / "index.jsonl").read_text().splitlines()}
    packed = folder / "files.tar.zst"
    if not packed.exists():
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            yield path, index.get(str(path.relative_to(folder)), {})
        return
    import zstandard

    with tempfile.TemporaryDirectory() as out:
        with packed.open("rb") as file:
            data = zstandard.ZstdDecompressor().stream_reader(file).read()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(out, filter="data")
        for name, entry in index.items():
            yield Path(out) / name, entry


def table(folder: Path) -> None:
    """One line per file, and the sums."""
    sums: Counter[str] = Counter()
    for path, entry in files_of(folder):
        source, _ = read(path)
        row = balance(source)
        others = {
            reader: (entry.get(reader) or {}).get("n")
            for reader in ("warcio", "fastwarc2_auto_decode_all", "fastwarc2_no_http_parse", "fastwarc_0_16")
        }
        emit(bench="file", file=entry.get("file", path.name), size=path.stat().st_size,
             header_lines=entry.get("warc_header_lines"), **row, **others)  # fmt: skip
        sums.update(files=1, records=row["records"], bytes_ok=row["bytes_ok"], records_ok=row["records_ok"])
        sums.update({name: max(n or 0, 0) for name, n in others.items()})
        if entry.get("warc_header_lines"):
            sums.update(records_in_warc_files=row["records"], warc_header_lines=entry["warc_header_lines"])
    emit(bench="all files", folder=folder.name, **sums)


class _Bodies(WarcSource):
    """Keeps each page's bytes as they were before decoding to text."""

    def _start(self) -> None:
        super()._start()
        self.bodies: dict[str, bytes] = {}

    def _document(self, frame: Any) -> Any:
        page = page_of(frame, self.options)
        if not isinstance(page, Dropped):
            self.bodies[frame.head.source_id] = page.body
        return super()._document(frame)


def charsets(folder: Path) -> dict[str, Any]:
    """Pages whose text equals the text under the true charset, by kind of charset; misses by (true, answer)."""
    gold = {r["record_id"]: r for r in pq.read_table(folder / "gold.parquet").to_pylist() if r["kind"] == "page"}
    right: Counter[str] = Counter()
    pages: Counter[str] = Counter()
    misses: Counter[str] = Counter()
    bodies_right = nul = 0
    for path in sorted(folder.glob("*.warc.gz")):
        source, batches = read(path, _Bodies)
        for batch in batches:
            for row in batch.rows.to_pylist():
                truth = gold.pop(row["source_id"])
                body = source.bodies[row["source_id"]]
                bodies_right += hashlib.sha256(body).hexdigest() == truth["body_sha256"]
                kind = "utf-8" if truth["charset"] in ("utf-8", "ascii") else "legacy"
                pages[kind] += 1
                nul += "\0" in row["html"]
                wanted = body.decode(truth["charset"], "replace").removeprefix("\ufeff")
                if row["html"] == wanted:
                    right[kind] += 1
                else:
                    misses[f"{truth['charset']} → {row['read_charset']} ({row['read_charset_source']})"] += 1
    return {"pages": dict(pages), "right": dict(right), "misses": dict(misses), "not_found": len(gold),
            "bodies_right": bodies_right, "with_nul": nul}  # fmt: skip


def cpu(call: Callable[[], int], rounds: int = 3) -> tuple[float, int]:
    """Least CPU seconds of some rounds, and what the call returned."""
    best, n = float("inf"), 0
    for _ in range(rounds):
        start = time.process_time()
        n = call()
        best = min(best, time.process_time() - start)
    return best, n


def speed(path: Path) -> dict[str, Any]:
    """CPU-ms per page: ours with and without digests, FastWARC, and zlib + decode alone."""

    def ours(**options: Any) -> int:
        return read(path, **options)[0].account.documents

    def floor() -> int:
        data, n, at = path.read_bytes(), 0, 0
        while at < len(data):
            inflater = zlib.decompressobj(31)
            pieces = []
            while not inflater.eof:
                given = data[at : at + 32768]
                pieces.append(inflater.decompress(given))
                at += len(given) - len(inflater.unused_data)
            b"".join(pieces).decode("utf-8", "replace")
            n += 1
        return n

    def fastwarc() -> int:
        from fastwarc.warc import ArchiveIterator, WarcRecordType

        n = 0
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=False):
                record.reader.read()
                n += 1
        return n

    seconds, pages = cpu(ours)
    result = {"file": path.name, "pages": pages, "ours_ms": seconds / pages * 1e3}
    result["ours_without_digests_ms"] = cpu(lambda: ours(verify_digests=False))[0] / pages * 1e3
    result["zlib_and_decode_ms"] = cpu(floor)[0] / pages * 1e3
    try:
        result["fastwarc_read_ms"] = cpu(fastwarc)[0] / pages * 1e3
    except ModuleNotFoundError:
        result["fastwarc_read_ms"] = None
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}


def main(folders: list[Path]) -> None:
    for folder in folders:
        table(folder)
        if (folder / "gold.parquet").exists():
            emit(bench="charsets", **charsets(folder))
            for path in sorted(folder.glob("*.warc.gz")):
                emit(bench="speed", **speed(path))


@pytest.mark.bench
def test_reading_is_complete_and_charsets_are_right(shared: Path) -> None:
    main([shared / "data" / "real_warc", shared / "data" / "debcrawl"])


if __name__ == "__main__":
    main([Path(a) for a in sys.argv[1:]] or [shared_folder() / "data" / n for n in ("real_warc", "debcrawl")])
