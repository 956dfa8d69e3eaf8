"""The samples are what their gold table says: reproducible, complete, readable, and alike where they claim to be."""

from __future__ import annotations

import gzip
import html
import itertools
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from data_samples.build import PARTS, build, versions
from data_samples.builder.archive import codec

BUILT = (*PARTS, "wet/sample.warc.wet.gz", "jsonl/sample.jsonl.zst", "parquet/sample.parquet", "gold.parquet")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def samples(repo: Path) -> Path:
    return repo / "data_samples"


@pytest.fixture(scope="module")
def gold(samples: Path) -> list[Row]:
    return list(pq.read_table(samples / "gold.parquet").to_pylist())


@pytest.fixture(scope="module")
def documents(gold: list[Row]) -> list[Row]:
    return [row for row in gold if row["expected"] == "document"]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    build(folder)
    return folder


# ---------------------------------------------------------------- building
def test_gold_follows_from_the_sources(samples: Path, rebuilt: Path) -> None:
    places = ["offset", "length"]  # these depend on the version of zlib
    new, old = (pq.read_table(folder / "gold.parquet").drop_columns(places) for folder in (rebuilt, samples))
    assert new.equals(old), "run `python -m data_samples.build` and commit what it writes"


@pytest.mark.parametrize("name", BUILT)
def test_rebuilding_gives_the_same_bytes(samples: Path, rebuilt: Path, name: str) -> None:
    recorded = json.loads((samples / "built_with.json").read_text())
    if recorded != versions():
        pytest.skip(f"bytes depend on versions: built with {recorded}, here {versions()}")
    assert (rebuilt / name).read_bytes() == (samples / name).read_bytes()


def test_building_twice_gives_the_same_bytes(rebuilt: Path, tmp_path: Path) -> None:
    build(tmp_path)
    for name in BUILT:
        assert (rebuilt / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_built_files_are_small(samples: Path) -> None:
    sizes = [(samples / name).stat().st_size for name in BUILT]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 1_500_000


# ---------------------------------------------------------------- what is there
def test_variety(documents: list[Row]) -> None:
    def different(column: str) -> int:
        return len({row[column] for row in documents} - {None})

    assert len(documents) >= 100
    assert different("language") >= 8
    assert different("domain") >= 12
    assert different("format") >= 12
    assert different("charset") >= 10
    assert {row["quality"] for row in documents} == {1, 2, 3, 4, 5}


def test_labels_are_names_of_weborganizer(documents: list[Row]) -> None:
    assert {row["domain"] for row in documents} - {None} <= _TOPICS
    assert {row["format"] for row in documents} - {None} <= _FORMATS


def test_urls_and_record_ids_are_distinct(gold: list[Row], documents: list[Row]) -> None:
    assert len({row["record_id"] for row in gold}) == len(gold)
    assert len({row["url"] for row in documents}) == len(documents)


def test_hosts_are_reserved_for_documentation(gold: list[Row]) -> None:
    hosts = {row["url"].split("/")[2] for row in gold if row["url"]}
    assert all(re.search(r"(^|\.)example\.(org|net|com)$", host) for host in hosts)


def test_every_record_has_its_gold_row_and_every_row_its_record(samples: Path, gold: list[Row]) -> None:
    for name in PARTS:
        data = (samples / name).read_bytes()
        rows = [row for row in gold if row["file"] == name]
        assert _tiled([(row["offset"], row["length"]) for row in rows], len(data))
        for row in rows:
            if row["expected"] == "damaged":
                continue
            head = gzip.decompress(data[row["offset"] : row["offset"] + row["length"]]).split(b"\r\n\r\n")[0].decode()
            assert f"WARC-Record-ID: {row['record_id']}" in head
            assert f"WARC-Type: {row['record_type']}" in head
            assert row["url"] is None or f"WARC-Target-URI: {row['url']}\r\n" in head


def test_one_member_cannot_be_inflated(samples: Path, gold: list[Row]) -> None:
    broken = []
    for row in gold:
        data = (samples / row["file"]).read_bytes()[row["offset"] : row["offset"] + row["length"]]
        try:
            gzip.decompress(data)
        except (zlib.error, gzip.BadGzipFile, EOFError):
            broken.append(row)
    assert [row["expected"] for row in broken] == ["damaged"]
    assert broken[0]["file"] == PARTS[1]


# ---------------------------------------------------------------- what a reader sees
@pytest.fixture(scope="module")
def read(samples: Path) -> dict[str, Any]:
    """What WarcSource makes of the crawl: pages by record id, rejected ranges and drops by file."""
    warc = pytest.importorskip("curate.sources.warc")
    from curate.sources.base import InputFile, ReadOptions

    seen: dict[str, Any] = {"pages": {}, "rejected": {}, "dropped": {}}
    for name in PARTS:
        path = samples / name
        source = warc.WarcSource(InputFile(str(path), name, "warc", path.stat().st_size, ""), ReadOptions())
        with path.open("rb") as file:
            for batch in source.batches(file):
                seen["pages"] |= {row["source_id"]: row for row in batch.rows.to_pylist()}
        seen["rejected"][name] = source.account.rejected
        assert source.account.accounted_bytes == path.stat().st_size
        for drop in source.fates.drops:
            pairs = zip(drop.rows.to_pylist(), drop.reason.to_pylist(), strict=True)
            seen["dropped"] |= {row["source_id"]: reason for row, reason in pairs}
    return seen


def test_documents_and_drops_are_those_that_gold_expects(read: dict[str, Any], gold: list[Row]) -> None:
    assert set(read["pages"]) == {row["record_id"] for row in gold if row["expected"] == "document"}
    expected = {
        row["record_id"]: row["expected"] for row in gold if row["expected"] in ("mime", "http_status", "empty")
    }
    assert read["dropped"] == expected


def test_the_damaged_record_is_the_only_range_that_cannot_be_read(read: dict[str, Any], gold: list[Row]) -> None:
    damaged = next(row for row in gold if row["expected"] == "damaged")
    assert read["rejected"] == {PARTS[0]: [], PARTS[1]: [(damaged["offset"], damaged["length"])]}


def test_charsets_are_found_and_pages_hold_the_gold_text(read: dict[str, Any], documents: list[Row]) -> None:
    for row in documents:
        page = read["pages"][row["record_id"]]
        assert page["read_charset"] == row["charset"], row["url"]
        assert page["read_replacement_ratio"] == 0
        visible = _letters(html.unescape(re.sub(r"<[^>]+>", " ", _as_text(page["html"]))))
        for line in row["main_text"].split("\n"):
            for cell in re.sub(r"^(- |\d+\. )", "", line).split(" | "):
                assert _letters(cell) in visible, (row["url"], line)


def test_legacy_charsets_cannot_be_mistaken_for_ascii(documents: list[Row]) -> None:
    for row in documents:
        if row["charset"] not in ("utf-8", "iso-2022-jp"):
            assert not row["main_text"].encode(codec(row["charset"]), "xmlcharrefreplace").isascii(), row["url"]


# ---------------------------------------------------------------- the other formats
def test_jsonl_and_parquet_hold_the_gold_texts(samples: Path, documents: list[Row]) -> None:
    raw = zstandard.ZstdDecompressor().stream_reader((samples / "jsonl/sample.jsonl.zst").read_bytes()).read()
    lines = [json.loads(line) for line in raw.decode().splitlines()]
    table = pq.read_table(samples / "parquet/sample.parquet").to_pylist()
    wanted = {(_bare(row), row["url"], row["main_text"]) for row in documents if row["main_text"]}
    for rows in (lines, table):
        assert {(row["id"], row["url"], row["text"]) for row in rows} == wanted
        assert len(rows) == len(wanted)


def test_wet_holds_the_texts_and_their_menus(samples: Path, documents: list[Row]) -> None:
    records = gzip.decompress((samples / "wet/sample.warc.wet.gz").read_bytes()).decode().split("WARC/1.1\r\n")[2:]
    texts = {re.search(r"WARC-Target-URI: (.*)\r", r)[1]: r.partition("\r\n\r\n")[2] for r in records}  # type: ignore[index]
    wanted = [row for row in documents if row["main_text"]]
    assert set(texts) == {row["url"] for row in wanted}
    for row in wanted:
        last = re.sub(r"^(- |\d+\. )", "", row["main_text"].split("\n")[-1]).split(" | ")[-1]
        assert _letters(last) in _letters(texts[row["url"]]), row["url"]
        assert len(texts[row["url"]]) > len(row["main_text"]) * 0.9


def test_benchmark_items_are_quoted_where_the_readme_says(samples: Path, documents: list[Row]) -> None:
    items = [json.loads(line) for line in (samples / "benchmark/qa.jsonl").read_text("utf-8").splitlines()]
    texts = [_words(row["main_text"]) for row in documents]
    quoted = [item["id"] for item in items if any(_contains(text, _words(item["question"])) for text in texts)]
    assert len(items) >= 15
    assert quoted == ["qa-01", "qa-02"]
    assert all(len(_words(item["question"])) >= 13 for item in items)


def test_block_lists_name_pages_of_the_crawl(samples: Path, documents: list[Row]) -> None:
    urls = {row["url"] for row in documents}
    hosts = {url.split("/")[2].removeprefix("www.") for url in urls}
    assert set(_entries(samples / "lists/blocked_hosts.txt")) <= hosts
    assert set(_entries(samples / "lists/blocked_urls.txt")) <= urls


# ---------------------------------------------------------------- personal data, duplicates
def test_personal_data_stand_in_the_text_and_pass_their_checks(documents: list[Row]) -> None:
    for row in documents:
        for kind in ("emails", "phones", "cards", "ibans"):
            assert all(value in row["main_text"] for value in row[f"pii_{kind}"]), row["url"]
        assert all(_luhn(card) for card in row["pii_cards"])
        assert all(_mod_97(iban) == 1 for iban in row["pii_ibans"])
        mail = r"[\w.+-]+@[\w.-]*example\.(?:org|net|com)"  # a unit of systemd has an at sign as well
        assert set(re.findall(mail, row["main_text"])) == set(row["pii_emails"]), row["url"]
    for kind in ("emails", "phones", "cards", "ibans"):
        assert sum(bool(row[f"pii_{kind}"]) for row in documents) >= 2, kind


def test_every_family_has_one_first_page_and_copies(documents: list[Row]) -> None:
    for members in _families(documents).values():
        kinds = [row["duplicate_kind"] for row in members]
        assert kinds.count(None) == 1
        assert len(members) >= 2
    assert all(row["duplicate_family"] for row in documents if row["duplicate_kind"])
    assert {row["duplicate_kind"] for row in documents} == {None, "exact", "near", "template"}


def test_copies_are_as_similar_as_they_claim(documents: list[Row]) -> None:
    for members in _families(documents).values():
        first = next(row for row in members if row["duplicate_kind"] is None)
        for row in members:
            similarity = _jaccard(row["main_text"], first["main_text"])
            if row["duplicate_kind"] == "exact":
                assert row["main_text"] == first["main_text"]
            elif row["duplicate_kind"] == "near":
                assert row["main_text"] != first["main_text"]
                assert similarity >= 0.8, (row["url"], similarity)
            elif row["duplicate_kind"] == "template":
                assert 0.1 < similarity < 0.8, (row["url"], similarity)


def test_different_pages_are_different(documents: list[Row]) -> None:
    texts = [(row["duplicate_family"] or row["url"], _shingles(row["main_text"])) for row in documents]
    alike = [
        (a, b)
        for (a, first), (b, second) in itertools.combinations(texts, 2)
        if a != b and first and second and len(first & second) / len(first | second) > 0.05
    ]
    assert alike == []


def test_licences_are_marked_in_the_page(read: dict[str, Any], documents: list[Row]) -> None:
    for row in documents:
        marked = 'rel="license"' in _as_text(read["pages"][row["record_id"]]["html"])
        assert marked == (row["licence"] is not None), row["url"]
    assert len({row["licence"] for row in documents} - {None}) >= 3


def test_one_page_is_nested_two_thousand_elements_deep(read: dict[str, Any]) -> None:
    assert max(_as_text(page["html"]).count("<div>") for page in read["pages"].values()) >= 2000


def test_words_of_gold_columns_are_documented(samples: Path) -> None:
    readme = (samples / "README.md").read_text("utf-8")
    missing = [name for name in pq.read_schema(samples / "gold.parquet").names if f"`{name}`" not in readme]
    assert missing == []


# ---------------------------------------------------------------- helpers
_TOPICS = {
    "Adult", "Art & Design", "Software Development", "Crime & Law", "Education & Jobs", "Hardware", "Entertainment",
    "Social Life", "Fashion & Beauty", "Finance & Business", "Food & Dining", "Games", "Health", "History",
    "Home & Hobbies", "Industrial", "Literature", "Politics", "Religion", "Science & Technology", "Software",
    "Sports & Fitness", "Transportation", "Travel",
}  # fmt: skip
_FORMATS = {
    "Academic Writing", "Content Listing", "Creative Writing", "Customer Support", "Comment Section", "FAQ",
    "Truncated", "Knowledge Article", "Legal Notices", "Listicle", "News Article", "Nonfiction Writing",
    "About Page (Organization)", "News (Organization)", "About Page (Personal)", "Personal Blog", "Product Page",
    "Q&A Forum", "Spam / Ads", "Structured Data", "Documentation", "Audio Transcript", "Tutorial", "User Review",
}  # fmt: skip


def _tiled(ranges: list[tuple[int, int]], size: int) -> bool:
    """Whether the ranges follow one another without gap from 0 to ``size``."""
    at = 0
    for offset, length in sorted(ranges):
        if offset != at:
            return False
        at += length
    return at == size


def _as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _contains(text: list[str], run: list[str]) -> bool:
    return any(text[i : i + len(run)] == run for i in range(len(text) - len(run) + 1))


def _shingles(text: str) -> set[tuple[str, ...]]:
    """Runs of five words; of five characters in scripts without spaces."""
    words = [w for word in _words(text) for w in (word if re.match("[\u3040-\u9fff]", word) else [word])]
    return set(zip(*(words[i:] for i in range(5)), strict=False))


def _jaccard(a: str, b: str) -> float:
    first, second = _shingles(a), _shingles(b)
    return len(first & second) / len(first | second)


def _families(documents: list[Row]) -> dict[str, list[Row]]:
    families: dict[str, list[Row]] = {}
    for row in documents:
        if row["duplicate_family"]:
            families.setdefault(row["duplicate_family"], []).append(row)
    return families


def _bare(row: Row) -> str:
    return str(row["record_id"])[len("<urn:uuid:") : -1]


def _entries(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _luhn(number: str) -> bool:
    digits = [int(c) for c in number if c.isdigit()][::-1]
    return (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0


def _mod_97(iban: str) -> int:
    bare = iban.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97
