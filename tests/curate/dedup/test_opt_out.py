"""Opt-out lists name documents by id, address and domain, in whatever spelling either side uses."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from curate.dedup.opt_out import OptOut, OptOutList, address, domain
from curate.errors import ConfigError


def lists(folder: Path, **contents: str) -> OptOut:
    given = []
    for kind, text in contents.items():
        (folder / f"{kind}.txt").write_text(text, encoding="utf-8")
        given.append(OptOutList(kind.partition("_")[0], f"{kind}.txt", folder / f"{kind}.txt"))
    return OptOut(given)


def told(found: OptOut, *urls: str | None, ids: list[str] | None = None) -> list[tuple[str | None, str | None]]:
    n = len(urls)
    ours = pa.array(ids or [f"{i:032x}" for i in range(n)], pa.string())
    labels = found.match(ours, pa.nulls(n, pa.string()), pa.array(urls, pa.string())).labels
    by, entry = labels.column("opt_out_by").to_pylist(), labels.column("opt_out_entry").to_pylist()
    assert labels.column("opt_out_listed").to_pylist() == [b is not None for b in by]
    return list(zip(by, entry, strict=True))


def test_a_domain_names_its_host_and_all_below_and_no_neighbour(tmp_path: Path) -> None:
    found = lists(tmp_path, domain="# asked in May\n\nexample.com\n")
    named = ("http://example.com/a", "https://WWW.Example.COM.:8080/b", "https://u:p@a.b.example.com",
             "//example.com/x", "example.com/y")  # fmt: skip
    others = ("https://notexample.com/", "https://example.com.evil.org/", "https://org/example.com", None, "")
    assert told(found, *named) == [("domain", "domain.txt:3")] * len(named)
    assert told(found, *others) == [(None, None)] * len(others)


def test_the_most_special_domain_is_told(tmp_path: Path) -> None:
    found = lists(tmp_path, domain="example.com\nforum.example.com\n")
    assert told(found, "https://forum.example.com/1", "https://example.com/") == [
        ("domain", "domain.txt:2"), ("domain", "domain.txt:1")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "bücher.example"),
        ("straße.de", "xn--strae-oqa.de"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("*.example.com", "example.com"),
        (".example.com", "example.com"),
        ("https://example.com/path?x", "example.com"),
        ("b%C3%BCcher.example", "bücher.example"),
        ("example.com:8080", "example.com"),
        ("[::1]", "[::1]"),
    ],
)
def test_spellings_of_a_domain_are_one(one: str, other: str) -> None:
    assert domain(one) == domain(other)


def test_domains_that_differ_stay_apart() -> None:
    assert domain("straße.de") != domain("strasse.de")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://example.org/a#top", "https://example.org/a"),
        ("example.org/a", "https://example.org/a"),
        ("https://EXAMPLE.org:443/%61", "https://example.org/a"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/ä"),
    ],
)
def test_spellings_of_an_address_are_one(one: str, other: str) -> None:
    assert address(one) == address(other)


def test_an_address_names_itself_and_not_its_neighbours(tmp_path: Path) -> None:
    found = lists(tmp_path, url="http://example.org/a\n")
    kinds = [by for by, _ in told(found, "https://example.org/a", "https://example.org/a?x=1", "https://example.org/b")]
    assert kinds == ["url", None, None]


def test_ids_are_ours_or_the_inputs_own(tmp_path: Path) -> None:
    found = lists(tmp_path, id="AB" * 16 + "\nOwn-7\n")
    labels = found.match(
        pa.array(["ab" * 16, "00" * 16, "01" * 16]), pa.array([None, "Own-7", "own-7"]), pa.nulls(3, pa.string())
    ).labels
    assert labels.column("opt_out_by").to_pylist() == ["id", "id", None]
    assert labels.column("opt_out_entry").to_pylist() == ["id.txt:1", "id.txt:2", None]


def test_every_entry_that_matches_is_counted_and_the_first_kind_is_told(tmp_path: Path) -> None:
    found = lists(tmp_path, id="7\n8\n", url="https://example.org/a\n", domain="org\nexample.org\nexample.org\nnet\n")
    given = found.match(
        pa.array(["7" * 32, "8" * 32]), pa.array(["7", None]), pa.array(["http://example.org/a", "https://x.org/"])
    )
    assert given.labels.column("opt_out_by").to_pylist() == ["id", "domain"]
    assert {k: v.tolist() for k, v in given.counts.items()} == {"id": [1, 0], "url": [1], "domain": [2, 1, 0]}
    assert found.lines == [2, 1, 4] and found.entries["domain"].places.to_pylist()[1] == "domain.txt:2"


def test_a_document_that_an_entry_names_twice_counts_once(tmp_path: Path) -> None:
    found = lists(tmp_path, id="x\n")
    assert found.match(pa.array(["x"]), pa.array(["x"]), pa.array([None], pa.string())).counts["id"].tolist() == [1]


def test_lists_may_be_gzipped_and_written_on_windows(tmp_path: Path) -> None:
    path = tmp_path / "d.gz"
    path.write_bytes(gzip.compress("\ufeffexample.com\r\n# no\r\n  example.net  ".encode()))
    found = OptOut([OptOutList("domain", "d.gz", path)])
    assert found.entries["domain"].keys.to_pylist() == ["example.com", "example.net"]
    assert found.entries["domain"].places.to_pylist() == ["d.gz:1", "d.gz:3"]


def test_a_list_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"opt_out\.urls: list gone\.txt cannot be read \(No such file"):
        OptOut([OptOutList("url", "gone.txt", tmp_path / "gone.txt")])
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"example.com")[:-9])
    with pytest.raises(ConfigError, match=r"list cut\.gz cannot be read"):
        OptOut([OptOutList("domain", "cut.gz", tmp_path / "cut.gz")])
    (tmp_path / "latin.txt").write_bytes(b"a.com\nb\xfccher.example\n")
    with pytest.raises(ConfigError, match=r"latin\.txt, line 2 is not UTF-8"):
        OptOut([OptOutList("domain", "latin.txt", tmp_path / "latin.txt")])


def test_an_entry_that_would_name_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"opt_out\.domains: domain\.txt, line 2 names nothing"):
        lists(tmp_path, domain="example.com\n*.\n")


def test_nothing_is_named_without_documents_or_entries(tmp_path: Path) -> None:
    nothing = pa.array([], pa.string())
    assert lists(tmp_path, domain="# nobody\n").match(nothing, nothing, nothing).labels.num_rows == 0
    assert told(lists(tmp_path, domain="example.com\n"), None) == [(None, None)]
    assert told(OptOut([]), "https://example.com/") == [(None, None)]
