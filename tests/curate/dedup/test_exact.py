"""Digests of texts and addresses."""

from __future__ import annotations

import pyarrow as pa
import pytest
import xxhash

from curate.dedup.exact import normalise_url, text_digests, url_digests


def test_digest_is_of_the_normalised_text() -> None:
    digests = text_digests(pa.array(["Caf\u00e9  au\nlait ", "Cafe\u0301 au lait", "café au lait", "x"]), lower=False)
    assert digests[0].as_py() == xxhash.xxh3_128_digest("Caf\u00e9 au lait".encode())
    assert digests[0] == digests[1]
    assert len(set(digests.to_pylist())) == 3


def test_lower_case_is_an_option() -> None:
    digests = text_digests(pa.array(["Καφές ΣΑΣ", "καφές σας"]), lower=True)
    assert digests[0] == digests[1]


def test_texts_without_a_word_have_no_digest() -> None:
    assert text_digests(pa.array(["", "   ", "-- * --", None, "\u200b", "_"]), lower=False).is_valid().to_pylist() == [
        False, False, False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTP://User@Example.ORG:80/a/./b/../c?q=1#top", "https://example.org/a/c?q=1"),
        ("https://example.org", "https://example.org/"),
        ("https://example.org:8443/", "https://example.org:8443/"),
        ("https://example.org/%7euser/%2f?a=%c3%a9", "https://example.org/~user/%2F?a=%C3%A9"),
        ("https://example.org/a/b/..", "https://example.org/a/"),
        ("https://example.org/A?b=2&a=1", "https://example.org/A?b=2&a=1"),
        ("https://example.org./x", "https://example.org/x"),
        ("not a url", "not a url"),
        ("http://[broken/", "http://[broken/"),
    ],
)
def test_addresses_have_one_spelling(url: str, normal: str) -> None:
    assert normalise_url(url) == normal
    assert normalise_url(normal) == normal


def test_no_address_no_digest() -> None:
    found = url_digests(pa.array(["http://a.org", "https://a.org/", None, ""]))
    assert found[0] == found[1]
    assert found.is_valid().to_pylist() == [True, True, False, False]
