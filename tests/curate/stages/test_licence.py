"""What a page says about its own licence, and what it merely mentions."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.documents import Batch
from curate.errors import ConfigError
from curate.stages.licence import Licence, Result, page_licence
from curate.stages.licence_names import from_identifier, from_text, from_url

FILL = "<p>Some words about nothing in particular, to make the article long enough for a middle.</p>" * 60


def page(head: str = "", body: str = "", footer: str = "") -> str:
    return (
        f"<!DOCTYPE html><html><head><title>x</title>{head}</head><body>{FILL}{body}{FILL}"
        f"<footer class='site'>{footer}</footer></body></html>"
    )


def of(head: str = "", body: str = "", footer: str = "") -> Result:
    return page_licence(page(head, body, footer), is_html=True)


@pytest.mark.parametrize(
    ("url", "name", "version", "tier"),
    [
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0", "4.0", "attribution"),
        ("http://creativecommons.org/licenses/by-sa/3.0/deed.de", "CC-BY-SA-3.0", "3.0", "share-alike"),
        ("//creativecommons.org/licenses/by-nc-nd/2.5/pl/", "CC-BY-NC-ND-2.5", "2.5", "no-derivatives"),
        ("creativecommons.org/licenses/by-nc-sa/4.0", "CC-BY-NC-SA-4.0", "4.0", "non-commercial"),
        ("https://i.creativecommons.org/l/by/4.0/88x31.png", "CC-BY-4.0", "4.0", "attribution"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0", "1.0", "permissive"),
        ("https://www.gnu.org/licenses/fdl-1.3.html", "GFDL-1.3", "1.3", "share-alike"),
        ("https://www.gnu.org/copyleft/fdl.html", "GFDL", None, "share-alike"),
        ("https://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0", "2.0", "permissive"),
        ("https://opensource.org/licenses/MIT", "MIT", None, "permissive"),
        ("https://spdx.org/licenses/CC-BY-4.0.html", "CC-BY-4.0", "4.0", "attribution"),
        (
            "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
            "OGL-UK-3.0",
            "3.0",
            "attribution",
        ),
        ("https://opendatacommons.org/licenses/odbl/1-0/", "ODbL-1.0", "1.0", "share-alike"),
    ],
)
def test_urls_are_parsed(url: str, name: str, version: str | None, tier: str) -> None:
    assert from_url(url) == (name, version, tier)


@pytest.mark.parametrize(
    "url",
    ["https://creativecommons.org/about/", "https://evil.org/creativecommons.org/licenses/by/4.0/", "/licenses/by/4.0/",
     "https://creativecommons.org.evil.com/licenses/by/4.0/", "https://x.org/?u=creativecommons.org/licenses/by/4.0/",
     "javascript:creativecommons.org/licenses/by/4.0", "http://[", "", "https://creativecommons.org/licenses/bye/4.0/"],
)  # fmt: skip
def test_urls_that_only_contain_a_licence_are_none(url: str) -> None:
    assert from_url(url) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International License", "CC-BY-NC-SA-4.0"),
        ("Creative Commons Attribution-ShareAlike License", "CC-BY-SA"),
        ("licensed CC BY-NC-ND 3.0 by us", "CC-BY-NC-ND-3.0"),
        (
            "Creative Commons Namensnennung - Nicht-kommerziell - Weitergabe unter gleichen Bedingungen 3.0",
            "CC-BY-NC-SA-3.0",
        ),
        ("licence Creative Commons Attribution - Pas d’Utilisation Commerciale 4.0", "CC-BY-NC-4.0"),
        ("the GNU Free Documentation License, Version 1.2 or any later", "GFDL-1.2"),
        ("under the Apache License, Version 2.0", "Apache-2.0"),
        ("Open Government Licence v3.0", "OGL-UK-3.0"),
    ],
)
def test_phrases_name_their_licence(text: str, name: str) -> None:
    assert [licence.name for licence in from_text(text)] == [name]


def test_identifiers_are_read_as_spdx_writes_them() -> None:
    assert from_identifier("CC-BY-SA-4.0") == ("CC-BY-SA-4.0", "4.0", "share-alike")
    assert from_identifier("GPL-3.0-or-later") == ("GPL-3.0", "3.0", "share-alike")
    assert from_identifier("permission") is None


BY = "https://creativecommons.org/licenses/by/4.0/"
NC = "https://creativecommons.org/licenses/by-nc/4.0/"


@pytest.mark.parametrize(
    ("result", "evidence", "location"),
    [
        (of(head=f'<link rel="license" href="{BY}">'), "rel", "head"),
        (of(body=f"<a href='{BY}' rel='license noopener'>CC</a>"), "rel", "body"),
        (of(footer=f"<A REL=license HREF={BY}>CC</A>"), "rel", "footer"),
        (
            of(head=f'<script type="application/ld+json">{{"@type":"Article","license":"{BY}"}}</script>'),
            "jsonld",
            "head",
        ),
        (of(head=f'<meta name="DC.rights" content="{BY}">'), "meta", "head"),
        (of(head='<meta name="dcterms.license" content="CC-BY-4.0"/>'), "meta", "head"),
        (of(footer=f"<a href='{BY}'>Some rights</a>"), "link", "footer"),
        (of(footer="Content is available under CC BY 4.0."), "phrase", "footer"),
        (
            of(body="<p>This page is licensed under a <b>Creative Commons</b> Attribution 4.0 License.</p>"),
            "phrase",
            "body",
        ),
    ],
)
def test_the_licence_of_the_page_is_found(result: Result, evidence: str, location: str) -> None:
    assert (result.name, result.version, result.tier) == ("CC-BY-4.0", "4.0", "attribution")
    assert (result.evidence, result.location, result.disagreement) == (evidence, location, False)


@pytest.mark.parametrize(
    "body",
    [
        f"<p>Wikimedia likes <a href='{BY}'>this one</a>.</p>",
        "<p>Photo by Ann (CC BY 4.0)</p>",
    ],
)
def test_a_mention_in_the_article_is_not_the_licence_of_the_page(body: str) -> None:
    assert of(body=body) == Result(mentions=1)


@pytest.mark.parametrize(
    "body",
    [
        f'<!-- <a rel="license" href="{BY}">CC</a> -->',
        f'<script>var x = \'<a rel="license" href="{BY}">\';</script>',
        f'<textarea><a rel="license" href="{BY}"></textarea>',
        "<p>You need a driving license to renounce your rights.</p>",
        f"<p data-license='{BY}'>licensed plumber</p>",
    ],
)
def test_comments_scripts_and_other_uses_of_the_word_say_nothing(body: str) -> None:
    assert of(body=body) == Result()


def test_the_licence_of_a_picture_is_a_mention() -> None:
    block = f'{{"@graph":[{{"@type":"WebPage"}},{{"@type":"ImageObject","license":"{NC}"}}]}}'
    assert of(head=f'<script type="application/ld+json">{block}</script>') == Result(mentions=1)


def test_of_licences_that_disagree_the_most_restrictive_counts() -> None:
    got = of(head=f'<link rel="license" href="{BY}">', footer=f'<a rel="license" href="{NC}">x</a>')
    assert (got.name, got.tier, got.disagreement) == ("CC-BY-NC-4.0", "non-commercial", True)
    got = of(footer=f'<a rel="license" href="{BY}">CC</a> All rights reserved.')
    assert (got.name, got.disagreement) == ("CC-BY-4.0", True)


def test_equal_licences_in_several_forms_do_not_disagree() -> None:
    got = of(head=f'<link rel="license" href="{BY}">', footer=f'<a rel="license" href="{BY}deed.en">CC BY</a>')
    assert (got.name, got.evidence, got.disagreement) == ("CC-BY-4.0", "rel", False)


def test_reserved_rights_are_no_licence() -> None:
    assert of(footer="© 2020 Example. All Rights Reserved.") == Result(
        "all-rights-reserved", None, "unknown", "phrase", "footer"
    )


def test_a_marked_licence_that_is_not_known_is_evidence_of_an_unknown_tier() -> None:
    assert of(head='<link rel="license" href="/terms">') == Result(None, None, "unknown", "rel", "head")


def test_plain_text_is_read_by_its_phrases_and_urls() -> None:
    text = "A text about lakes. " * 50
    assert page_licence(text + f"Licensed under {BY}.", is_html=False).name == "CC-BY-4.0"
    assert page_licence(f"{text} Permission is granted under the GNU Free Documentation License, Version 1.3 {text}",
                        is_html=False).name == "GFDL-1.3"  # fmt: skip
    assert page_licence(text, is_html=False) == Result()


def label(columns: dict[str, list[str]]) -> pa.RecordBatch:
    arrays = {k: pa.array(v, pa.string()) for k, v in columns.items()}
    return Licence().process(Batch(pa.RecordBatch.from_pydict(arrays))).rows


def test_html_is_read_where_it_is_and_columns_are_those_declared() -> None:
    rows = label({"html": [page(head=f'<link rel="license" href="{BY}">'), "<p>none"], "text": ["x", "CC BY 4.0"]})
    assert rows.column("licence_name").to_pylist() == ["CC-BY-4.0", None]
    assert rows.column("licence_tier").to_pylist() == ["attribution", "unknown"]
    assert pa.schema(list(rows.schema)[2:]).equals(Licence().adds(), check_metadata=True)
    assert label({"text": ["x " * 500 + "This text is licensed CC BY 4.0."]}).column("licence_version").to_pylist() == [
        "4.0"
    ]
    with pytest.raises(ConfigError, match="before extract_html"):
        label({"other": ["x"]})


@pytest.mark.parametrize(
    "food",
    ["<", "<a ", "<a license ", "licence ", "<!-- licence ", "<script>licence", "a@", "<a rel=license href=", "rights>",
     "creative commons attribution ", "cc by ", "https://creativecommons.org/licenses/by/4.0/ ", "id=license ",
     "<div id=footer license ", "\"license\"", "all rights reserved this page ", "é licence ", "'", "<p class=", "1-",
     "<a href='https://creativecommons.org/licenses/by/4.0/' license>"],
)  # fmt: skip
@pytest.mark.parametrize("is_html", [True, False])
def test_a_megabyte_of_slow_regex_food_takes_less_than_two_seconds(food: str, is_html: bool) -> None:
    text = food * (1_000_000 // len(food.encode())) + " licence"
    started = time.process_time()
    page_licence(text, is_html=is_html)
    assert time.process_time() - started < 2


MARKUP = ["<a ", "rel=license ", "href=", BY, ">", "<!--", "-->", "'", '"', "licence", "é", "<script>", "</script>"]
MARKUP += ['{"license":', "}", "CC BY", "<footer>", "\ud7ff", "application/ld+json"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(MARKUP)))
def test_any_markup_gives_an_answer_and_one_tier(pieces: list[str]) -> None:
    for is_html in (True, False):
        assert page_licence("".join(pieces), is_html=is_html).tier in {
            "permissive", "attribution", "share-alike", "non-commercial", "no-derivatives", "unknown",
        }  # fmt: skip


def test_real_pages_cost_little_and_pages_with_a_marked_cc_licence_are_found(shared: Path) -> None:
    pages = pq.read_table(shared / "data" / "wcxb_dev" / "wcxb_dev.parquet", columns=["html"])["html"].combine_chunks()
    started = time.process_time()
    tiers = label({"html": pages.to_pylist()}).column("licence_tier").to_pylist()
    per_page = (time.process_time() - started) / len(pages)
    assert per_page < 0.02
    assert sum(tier != "unknown" for tier in tiers) >= 15


def test_licence_of_code_samples_is_not_that_of_the_text() -> None:
    cc = '<a href="https://creativecommons.org/licenses/by/4.0/">Creative Commons Attribution 4.0 License</a>'
    code = '<a href="https://www.apache.org/licenses/LICENSE-2.0">Apache 2.0 License</a>'
    found = of(
        footer=f"<p>Except as otherwise noted, the content of this page is licensed under the {cc}, and code samples "
        f"are licensed under the {code}.</p>"
    )
    assert (found.name, found.disagreement, found.mentions) == ("CC-BY-4.0", False, 1)
    # what is said of code alone is better than nothing
    assert of(footer=f"<p>Code samples are licensed under the {code}.</p>").name == "Apache-2.0"


def test_python_documentation_is_under_the_licence_of_its_foundation() -> None:
    found = of(
        footer="<p>This page is licensed under the Python Software Foundation License Version 2.<br>Examples, recipes, "
        "and other code in the documentation are additionally licensed under the Zero Clause BSD License.<br>"
        'See <a href="/license.html">History and License</a> for more information.</p>'
    )
    assert (found.name, found.tier, found.disagreement) == ("PSF-2.0", "permissive", False)


def test_licence_text_that_recommends_another_licence_is_not_under_that_one() -> None:
    said = "If this is what you want to do, use the GNU Lesser General Public License instead of this License."
    found = of(head="", footer=f"<p>{said}</p>")
    assert (found.name, found.mentions) == (None, 1)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("This manual is distributed under the GNU GPL version 2 license.", "GPL-2.0"),
        ("This document is licensed under the GNU GPLv2 or later.", "GPL-2.0"),
        ("This document is released under the GNU GPL.", "GPL"),
        ("This text is licensed under the Zero-Clause BSD license.", "0BSD"),
        ("This text is licensed under the 3-clause BSD license.", "BSD"),
        ("This documentation is released under the PostgreSQL licence.", "PostgreSQL"),
    ],
)
def test_licences_by_their_short_names(said: str, name: str) -> None:
    assert of(body=f"<p>{said}</p>").name == name
