"""The pipeline on ``debcrawl``, 2,991 pages of documentation whose language, charset and licence are known.

    python tests/benchmarks/debcrawl.py [--show]

Runs the stages ``licence``, ``extract_html`` and ``language`` in a temporary folder, then prints one JSON line each for

- accounted: bytes accounted for per file, and pages found;
- languages: agreement with the gold language, overall, per language, and the confusions;
- charsets: pages decoded with the gold charset or one that gives the same characters, by kind and by charset;
- mojibake: pages whose extracted text is not that of the correctly decoded page, and traces of wrong decoding;
- licences: per licence family, how often the label is among the licences of the page's package; and coverage, the
  share of pages that state a licence for themselves by a plain search of their text.

``--show`` adds the ids of what is not as it should be.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO))

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import pytest  # noqa: E402

from curate.documents import HTML, IDENTITY, Batch  # noqa: E402
from curate.sources.base import InputFile, ReadOptions  # noqa: E402
from curate.sources.payload import Dropped, page_of  # noqa: E402
from curate.sources.warc import WarcSource  # noqa: E402
from curate.stages.base import Context  # noqa: E402
from curate.stages.extract_html import ExtractHtml, ExtractHtmlConfig  # noqa: E402

Row = dict[str, Any]

CONFIG = """
run: {name: debcrawl, output: out, workers: auto, max_failed_ratio: null, max_failed_files: null}
input: {kind: warc, paths: [debcrawl]}
stages:
  - licence: {}
  - extract_html: {engine: resiliparse, drop_empty: false}
  - language: {}
report: null
"""
#: What text looks like that was decoded with the wrong charset: UTF-8 read as Latin-1 or windows-1252, and as KOI8-R
#: or windows-1251. Names of characters in documentation of charsets can look the same.
_TRACES = {
    "replacement": re.compile("�"),
    "utf-8 as latin": re.compile("Ã[\x80-¿ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œ]|â€[œ\x9d\x99™“”˜¦]"),
    "utf-8 as cyrillic": re.compile("(?:[РС][\x80-¿ЂѓЃЉЊЋЏђ‚„…†‡€‰‹‘’“”•–—™љ›њќћџ°±Ії]){3}"),
    "c1 controls": re.compile("[\x80-\x84\x86-\x9f]"),
}
#: family of a label → pattern of the names in the package's copyright file that it may stand for
_FAMILIES = {
    "GPL": r"\bGPL",
    "LGPL": r"\bLGPL",
    "AGPL": r"\bAGPL",
    "GFDL": r"GFDL",
    "Apache": r"Apache",
    "MPL": r"MPL",
    "MIT": r"\bMIT|Expat|X11",
    "BSD": r"BSD",
    "ISC": r"\bISC",
    "PostgreSQL": r"PostgreSQL",
    "PSF": r"Python",
    "CC": r"\bCC-",
    "CC0": r"CC0",
    "public-domain": r"public-domain",
}
_STATES = re.compile(
    r"(?:licensed|released|distributed|available) under (?:the )?(?:terms )?|permission is (?:hereby )?granted to|"
    r"this (?:document|manual|work) is (?:licensed|free)",
    re.IGNORECASE,
)


def emit(**values: Any) -> None:
    print(json.dumps(values, ensure_ascii=False, default=str), flush=True)


def shared_folder() -> Path:
    return Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared"))


def run(data: Path, folder: Path) -> tuple[list[Row], list[Row]]:
    """Rows of the corpus and of ``sources.parquet`` of a run over the archives."""
    from pipelines.cli import main

    (folder / "debcrawl").symlink_to(data)
    config = folder / "debcrawl.yaml"
    config.write_text(CONFIG.replace("[debcrawl]", "['debcrawl/*.warc.gz']"))
    out = folder / "out"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main(["run", str(config), "--set", f"run.output={out}"])
    shards = sorted((out / "corpus").rglob("*.parquet"))
    if not shards:
        raise RuntimeError(f"the run left no corpus: {said.getvalue()[-2000:]}")
    corpus = pa.concat_tables([pq.read_table(shard) for shard in shards]).to_pylist()
    return corpus, pq.read_table(out / "sources.parquet").to_pylist()


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


def bodies(data: Path) -> dict[str, bytes]:
    """Record id → bytes of the page."""
    found: dict[str, bytes] = {}
    for path in sorted(data.glob("*.warc.gz")):
        entry = InputFile(str(path), path.name, WarcSource.kind, path.stat().st_size, "")
        source = _Bodies(entry, ReadOptions())
        with path.open("rb") as file:
            for _ in source.batches(file):
                pass
        found |= source.bodies
    return found


def accounted(sources: list[Row], gold: dict[str, Row], corpus: dict[str, Row]) -> dict[str, Any]:
    pages = {key for key, row in gold.items() if row["kind"] == "page"}
    return {
        "files": {row["path"]: row["accounted_bytes"] == row["size"] for row in sources},
        "pages": len(pages),
        "found": len(pages & set(corpus)),
        "not_pages": len(set(corpus) - pages),
    }


def share(right: Iterable[bool]) -> dict[str, Any]:
    answers = list(right)
    return {"pages": len(answers), "right": round(sum(answers) / max(1, len(answers)), 4)}


def languages(gold: dict[str, Row], corpus: dict[str, Row], show: bool) -> dict[str, Any]:
    """Agreement with ``lang_gold``; a second time for texts of at least 200 characters, since much less is a guess."""
    rows = [(gold[k]["lang_gold"], row) for k, row in corpus.items() if k in gold and gold[k]["lang_gold"]]
    by: dict[str, list[bool]] = defaultdict(list)
    for truth, row in rows:
        by[truth].append(row["language_code"] == truth)
    wrong = [(truth, row) for truth, row in rows if row["language_code"] != truth]
    found: dict[str, Any] = {
        "all": share(row["language_code"] == truth for truth, row in rows),
        "of_200_chars": share(row["language_code"] == truth for truth, row in rows if len(row["text"]) >= 200),
        "at_0.65": share(row["language_code"] == truth for truth, row in rows if (row["language_score"] or 0) >= 0.65),
        "by_language": {name: share(answers) for name, answers in sorted(by.items())},
        "confusions": dict(Counter(f"{truth} → {row['language_code']}" for truth, row in wrong).most_common()),
    }
    if show:
        found["wrong"] = [
            [row["id"], truth, row["language_code"], round(row["language_score"] or 0, 3), len(row["text"])]
            for truth, row in wrong
        ]
    return found


def charsets(gold: dict[str, Row], corpus: dict[str, Row], pages: dict[str, bytes]) -> dict[str, Any]:
    """A charset is right if it gives the characters that the gold one gives: ascii pages are right as utf-8."""
    kinds: dict[str, list[bool]] = defaultdict(list)
    by: dict[str, list[bool]] = defaultdict(list)
    misses: Counter[str] = Counter()
    for key, row in corpus.items():
        truth = gold[key]["charset"]
        kind = "transcoded" if gold[key]["transcoded"] else "utf-8 or ascii"
        if kind != "transcoded" and truth not in ("utf-8", "ascii"):
            kind = "natural legacy"
        right = row["read_charset"] == truth or _same_characters(pages[key], truth, row["read_charset"])
        kinds[kind].append(right)
        by[truth].append(right)
        if not right:
            misses[f"{truth} → {row['read_charset']} ({row['read_charset_source']})"] += 1
    return {
        "kinds": {k: share(v) for k, v in kinds.items()},
        "by_charset": {k: share(v) for k, v in sorted(by.items())},
        "misses": dict(misses),
    }


def _same_characters(body: bytes, truth: str, answer: str) -> bool:
    try:
        return body.decode(truth, "replace") == body.decode(answer, "replace")
    except LookupError:
        return False


def truly_extracted(gold: dict[str, Row], keys: list[str], pages: dict[str, bytes]) -> dict[str, str]:
    """Record id → text of the page decoded with its gold charset."""
    stage = ExtractHtml(ExtractHtmlConfig.model_validate({"drop_empty": False}))
    stage.open(Context())
    found: dict[str, str] = {}
    try:
        for start in range(0, len(keys), 256):
            part = keys[start : start + 256]
            html = [pages[k].decode(gold[k]["charset"], "replace").removeprefix("\ufeff") for k in part]
            columns = {"id": part, "url": [None] * len(part), "source": [""] * len(part), "offset": [0] * len(part),
                       "length": [0] * len(part), "source_id": part, "html": html}  # fmt: skip
            rows = pa.RecordBatch.from_pydict(columns, schema=pa.schema([*IDENTITY, HTML]))
            out = stage.process(Batch(rows)).rows
            found |= dict(zip(out.column("id").to_pylist(), out.column("text").to_pylist(), strict=True))
    finally:
        stage.close()
    return found


def mojibake(gold: dict[str, Row], corpus: dict[str, Row], pages: dict[str, bytes], show: bool) -> dict[str, Any]:
    legacy = [k for k in corpus if gold[k]["charset"] not in ("utf-8", "ascii")]
    truth = truly_extracted(gold, legacy, pages)
    other = [k for k in legacy if corpus[k]["text"] != truth[k]]
    traces: dict[str, dict[str, int]] = {}
    for name, pattern in _TRACES.items():
        had = {k for k in legacy if pattern.search(truth[k])}
        traces[name] = {
            "legacy": sum(1 for k in legacy if k not in had and pattern.search(corpus[k]["text"])),
            "legacy_in_truth": len(had),
            "utf-8": sum(1 for k in corpus if k not in truth and pattern.search(corpus[k]["text"])),
        }
    found: dict[str, Any] = {"legacy_pages": len(legacy), "text_differs": len(other), "traces": traces}
    if show:
        found["differing"] = [[corpus[k]["id"], gold[k]["charset"], corpus[k]["read_charset"]] for k in other]
        found["traced"] = [
            [corpus[k]["id"], name, gold[k]["charset"]]
            for name, pattern in _TRACES.items()
            for k in corpus
            if pattern.search(corpus[k]["text"])
        ]
    return found


def licences(gold: dict[str, Row], corpus: dict[str, Row], show: bool) -> dict[str, Any]:
    """Labels against the package's copyright file; packages whose file has no summary say nothing either way."""
    families: dict[str, list[bool]] = defaultdict(list)
    unknown: Counter[str] = Counter()
    wrong: list[list[str]] = []
    stated = labelled = 0
    for key, row in corpus.items():
        name, package = row["licence_name"], gold[key]["license"] or ""
        if _STATES.search(row["text"]):
            stated += 1
            labelled += name is not None
        if name is None or name == "all-rights-reserved":
            continue
        family = name if name in _FAMILIES else name.split("-")[0]
        if "see copyright" in package:
            unknown[family] += 1
            continue
        right = bool(re.search(_FAMILIES.get(family, re.escape(family)), package))
        families[family].append(right)
        if not right:
            wrong.append([row["id"], name, gold[key]["package"], package[:60]])
    every = [answer for answers in families.values() for answer in answers]
    found: dict[str, Any] = {
        "labelled": sum(1 for row in corpus.values() if row["licence_name"]),
        "in_the_package's_licences": share(every),
        "by_family": {k: share(v) for k, v in sorted(families.items())},
        "package_without_summary": dict(unknown),
        "wrong": dict(Counter(f"{name} in {package}" for _, name, package, _ in wrong)),
        "say_so_in_their_text": stated,
        "of_these_labelled": labelled,
    }
    if show:
        found["wrong_ids"] = wrong
    return found


def main(show: bool = False) -> dict[str, dict[str, Any]]:
    """All lines, printed and returned."""
    data = shared_folder() / "data" / "debcrawl"
    gold = {row["record_id"]: row for row in pq.read_table(data / "gold.parquet").to_pylist()}
    with tempfile.TemporaryDirectory() as folder:
        rows, sources = run(data, Path(folder))
    corpus = {row["source_id"]: row for row in rows}
    pages = bodies(data)
    results = {
        "accounted": accounted(sources, gold, corpus),
        "languages": languages(gold, corpus, show),
        "charsets": charsets(gold, corpus, pages),
        "mojibake": mojibake(gold, corpus, pages, show),
        "licences": licences(gold, corpus, show),
    }
    for name, values in results.items():
        emit(bench=name, **values)
    return results


@pytest.mark.bench
def test_debcrawl_is_read_as_its_gold_says() -> None:
    if not (shared_folder() / "data" / "debcrawl").is_dir():
        pytest.skip("development data not found (set CURATE_SHARED)")
    results = main()
    assert all(results["accounted"]["files"].values())
    assert results["accounted"]["found"] == results["accounted"]["pages"]
    assert results["languages"]["of_200_chars"]["right"] > 0.98
    assert results["charsets"]["kinds"]["transcoded"]["right"] > 0.97
    assert results["mojibake"]["text_differs"] <= 0.03 * results["mojibake"]["legacy_pages"]


if __name__ == "__main__":
    main("--show" in sys.argv[1:])
