"""URL filter: which addresses leave, for which reason, and which must not."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.documents import IDENTITY, Batch
from curate.errors import ConfigError
from curate.stages.base import Context
from curate.stages.url_filter import UrlFilter, UrlFilterConfig


def documents(*urls: str | None) -> Batch:
    n = len(urls)
    values: dict[str, list[Any]] = {
        "id": [f"{i:032x}" for i in range(n)],
        "url": list(urls),
        "source": ["s"] * n,
        "offset": list(range(n)),
        "length": [1] * n,
        "source_id": [None] * n,
    }
    return Batch(pa.record_batch({f.name: pa.array(values[f.name], f.type) for f in IDENTITY}), stage="url_filter")


def fates(addresses: list[str | None], base: Path | None = None, **config: Any) -> dict[str | None, str]:
    """url → reason for those that left."""
    stage = UrlFilter(UrlFilterConfig(**config))
    stage.open(Context(base=base or Path.cwd()))
    after = stage.process(documents(*addresses))
    gone = {
        url: reason
        for drop in after.fates.drops
        for url, reason in zip(drop.rows.column("url").to_pylist(), drop.reason.to_pylist(), strict=True)
    }
    assert len(after) + sum(d.rows.num_rows for d in after.fates.drops) == len(addresses)
    return gone


@pytest.mark.parametrize(
    "url",
    [
        "http://bad.com",
        "https://bad.com/",
        "//bad.com/x",
        "bad.com/page",
        "HTTP://WWW.BAD.COM:8080/x?y#z",
        "http://user:secret@deep.www.bad.com/",
        "http://ok.org@bad.com/",
        "http://bad.com./x",
        "http://bad.com?q=1",
        "http://bad.com\\x",
        " http://bad.com/x",
        "http://b%61d.com/",
    ],
)
def test_domain_blocks_all_its_hosts_however_written(url: str) -> None:
    assert fates([url], lists=(), hosts=("bad.com",)) == {url: "blocked_host"}


@pytest.mark.parametrize(
    "url",
    [
        "http://notbad.com/",
        "http://bad.com.example.org/",
        "http://example.org/bad.com",
        "http://bad.com@example.org/",
        "http://bad.co/",
        "http://com/",
        "",
        "://",
        "http://",
        "http:///bad",
        "http://[::1]:80/bad.com",
        "mailto:someone",
        "%",
        "http://\ud7ff\u0000.example/",
    ],
)
def test_other_and_malformed_addresses_pass(url: str) -> None:
    assert fates([url], lists=(), hosts=("bad.com",)) == {}


def test_null_address_passes() -> None:
    assert fates([None, "http://bad.com/"], hosts=("bad.com",)) == {"http://bad.com/": "blocked_host"}


def test_empty_batch_keeps_its_schema() -> None:
    stage = UrlFilter()
    stage.open(Context())
    batch = documents()
    assert stage.process(batch).schema == batch.schema


def test_names_in_other_scripts_match_in_both_forms() -> None:
    urls = ["http://bücher.example/", "http://www.BÜCHER.example/x", "http://xn--bcher-kva.example/"]
    assert set(fates([*urls], lists=(), hosts=("bücher.example",))) == set(urls)
    assert set(fates([*urls], lists=(), hosts=("xn--bcher-kva.example",))) == set(urls)


def test_allowed_host_is_blocked_by_nothing() -> None:
    urls: list[str | None] = ["http://good.bad.com/casino.zip", "http://other.bad.com/"]
    assert fates(urls, hosts=("bad.com",), allow_hosts=("good.bad.com",)) == {urls[1]: "blocked_host"}


def test_whole_address_without_scheme_fragment_and_last_slash() -> None:
    urls: list[str | None] = [
        "http://Ex.com/Page/",
        "https://ex.com/Page#part",
        "http://ex.com/page",
        "http://ex.com/Page?q=1",
        "http://ex.com/Page/more",
    ]
    gone = fates(urls, lists=(), urls=("https://ex.com/Page",))
    assert gone == dict.fromkeys(urls[:2], "blocked_url")


def test_extension_counts_in_the_path_only() -> None:
    urls: list[str | None] = [
        "http://ex.com/a/b.JPG",
        "http://ex.com/b.zip?download=1",
        "http://ex.zip",
        "http://ex.com/?f=a.zip",
        "http://ex.com/a.zip/b",
        "http://ex.com/file.html",
        "http://ex.com/.zip#x",
    ]
    assert set(fates(urls)) == {urls[0], urls[1], urls[6]}
    assert set(fates(urls, lists=(), extensions=(".html",)).values()) == {"blocked_extension"}


def test_words_stand_between_other_signs() -> None:
    urls: list[str | None] = [
        "http://ex.com/best-casino-2024",
        "http://CASINO.example/",
        "http://ex.com/?q=casino",
        "http://ex.com/casinograph",
        "http://ex.com/occasion",
        "http://casino:pw@ex.com/",
    ]
    assert fates(urls) == dict.fromkeys(urls[:3], "blocked_word")


def test_soft_words_block_from_the_set_number_of_different_ones_and_are_counted() -> None:
    stage = UrlFilter(UrlFilterConfig(lists=(), soft_words=("red", "green", "blue"), soft_word_count=2))
    stage.open(Context())
    after = stage.process(documents("http://a.b/red/red", "http://a.b/red-green", "http://a.b/blue"))
    (drop,) = after.fates.drops
    assert drop.rows.column("url").to_pylist() == ["http://a.b/red-green"]
    assert (drop.value.to_pylist(), drop.threshold.to_pylist()) == ([2.0], [2.0])
    assert drop.detail.to_pylist() == ["config"]


def test_subwords_are_found_across_signs() -> None:
    urls: list[str | None] = ["http://ex.com/xsh-adyx", "http://ex.com/sha", "http://s.hady.org"]
    assert set(fates(urls, lists=(), subwords=("shady",))) == {urls[0], urls[2]}


def test_lists_in_files_plain_hosts_format_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("# comment\n\n0.0.0.0 ads.example\n*.wild.example\r\n.dot.example.\n! note\n")
    (tmp_path / "words.gz").write_bytes(gzip.compress(b"junk\n"))
    urls: list[str | None] = [
        "http://ads.example/",
        "http://a.wild.example/",
        "http://dot.example/",
        "http://ex.com/junk",
        "http://ex.com/",
        "http://0.0.0.0/",
    ]
    config: dict[str, Any] = {"lists": (), "host_files": ("hosts.txt",), "word_files": ("words.gz",)}
    gone = fates(urls, tmp_path, **config)
    assert gone == {**dict.fromkeys(urls[:3], "blocked_host"), urls[3]: "blocked_word"}
    stage = UrlFilter(UrlFilterConfig(**config))
    assert set(stage.assets(tmp_path)) == {"hosts.txt", "words.gz"}


def test_list_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"junk\n" * 1000)[:-20])
    for name in ("absent.txt", "cut.gz"):
        with pytest.raises(ConfigError, match=name):
            UrlFilter(UrlFilterConfig(host_files=(name,))).open(Context(base=tmp_path))


def test_detail_names_the_list_and_no_fate_holds_a_password() -> None:
    stage = UrlFilter(UrlFilterConfig(hosts=("bad.com",)))
    stage.open(Context())
    (drop,) = stage.process(documents("http://me:secret@bad.com/", "http://ex.com/a.zip")).fates.drops
    assert drop.detail.to_pylist() == ["config", "default"]
    assert not any("secret" in str(x.to_pylist()) for x in (drop.reason, drop.detail, drop.value, drop.threshold))


def test_result_does_not_depend_on_the_batch() -> None:
    urls: list[str | None] = ["http://bad.com/", None, "http://ex.com/x.zip", "http://ex.com/casino", "http://ex.com"]
    single = {k: v for url in urls for k, v in fates([url], hosts=("bad.com",)).items()}
    assert fates(urls, hosts=("bad.com",)) == single


@pytest.mark.slow
def test_datatrove_lists_block_what_datatrove_blocks() -> None:
    """Hosts of its list, one of its soft words twice over, and nothing of ordinary addresses."""
    pytest.importorskip("datatrove")
    ordinary: list[str | None] = [
        "https://en.wikipedia.org/wiki/River",
        "https://docs.python.org/3/library/gzip.html",
        "https://www.bbc.co.uk/news/science-environment",
    ]
    blocked: list[str | None] = ["http://0-livechatlady.com/x", "http://www.bestvideosex.com/"]
    gone = fates([*ordinary, *blocked], lists=("datatrove",))
    assert gone == dict.fromkeys(blocked, "blocked_host")
