from __future__ import annotations

import re

import pytest

from curate.inspect.data import (
    Cluster,
    ClusterMember,
    DuplicateAudit,
    Duplicates,
    Example,
    FunnelRow,
    GroupExamples,
    HeatMap,
    Histogram,
    LargeCluster,
    Place,
    Problem,
    Reason,
    Removal,
    RemovedPair,
    ReportData,
    SourceRow,
    Sums,
    ValueCount,
    ValueCounts,
)
from curate.inspect.report import render_audit, render_report
from curate.recipe.recipe import NO_RUNS, GroupShare, Recipe
from tests.curate.inspect.hostile import ADDRESSES, MARKUP, Elements


def everywhere(text: str, url: str) -> ReportData:
    """A page on which every string that can come from data, labels, names or messages is ``text``."""
    example = Example(text, url, text, 0.5, 0.25, text, text, ((text, text),))
    share = GroupShare(text, 1.0, 10, 10, 10, 2, 1.0, True)
    recipe = Recipe(
        text, "unimax", NO_RUNS, (text,), text, 10, 10, 4.0, 1.0, 0, text, (share,), {"natural": {text: 1.0}}
    )
    return ReportData(
        title=text, run=text, sums=Sums(1, 3, {text: 1}, 3, 3, 1, 1, 1, 100, 100, 0), keeps_dropped_text=True,
        token_column=text, keep=text, funnel=(FunnelRow(text, 1, 1, 1, 10, 100),),
        reasons=(Reason(text, text, 1, text, 5, (example,)),),
        problems=(Problem(text, text, 1, text, (Place(text, 0, 1, text),)),),
        warnings=(Problem(text, text, 1, text, (Place(text, 0, 1, text),)),),
        histograms=(Histogram(text, (0.0, 1.0, 2.0), (1, 0), (0, 2), 1, False, text, text),),
        values=(ValueCounts(text, (ValueCount(text, 1, 10), ValueCount(None, 1, 0)), text),),
        heat=HeatMap(text, text, (text,), (text,), {(text, text): 1}, {(text, text): 10}),
        duplicates=Duplicates(3, {2: 1}, (Cluster(text, 2, url),), {"exact": 1}, audit(text, url)), recipe=recipe,
        mixed=(2, 10),
        groups=(GroupExamples(text, 1, (example,)),), sources=(SourceRow(text, text, 100, 3, 3, 0, 0, 100),),
        versions={text: text}, steps=((text, 1, text),), config=text,
    )  # fmt: skip


def audit(text: str, url: str) -> DuplicateAudit:
    """An audit in which every string is ``text``."""
    group = Removal(text, 3, 1, 0, 1, 30, 20)
    members = (ClusterMember(text, "minhash", 0.9, url, text),)
    pair = RemovedPair(
        text, text, "minhash", text, 1, 0.9, 0.95, 0.9, url, None, text, text, 5, 1, 1, 0,
        (("=", text), ("-", text), ("+", text), ("…", text)),
    )  # fmt: skip
    return DuplicateAudit(
        group, 0.8, {2: 1}, {90: 1}, (LargeCluster(text, 2, 0, 0, 1, url, text, text, members),),
        {text: (1, (group,)), "host": (1, (group,))}, (pair,),
    )  # fmt: skip


def test_pages_of_the_audit_mark_what_is_lost_by_more_than_colour() -> None:
    page = render_audit("run", audit("words", "https://host/"))
    assert "<del>words</del>" in page and "<ins>words</ins>" in page
    assert 'content: "\\2212"' in page and 'content: "+"' in page and "line-through" in page


PLAIN = Elements(render_report(everywhere("plain", "https://host/")))


@pytest.mark.parametrize("payload", MARKUP, ids=range(len(MARKUP)))
def test_no_element_or_attribute_comes_from_data(payload: str) -> None:
    page = Elements(render_report(everywhere(payload, payload)))
    assert page.found == PLAIN.found
    assert not page.unbalanced and not page.open


@pytest.mark.parametrize("url", ADDRESSES, ids=range(len(ADDRESSES)))
def test_addresses_are_text_never_links(url: str) -> None:
    html = render_report(everywhere("plain", url))
    assert Elements(html).found == PLAIN.found
    assert len(html) < 200_000


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    html = render_report(everywhere("plain", "https://host/"))
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    for (tag, attributes), _ in PLAIN.found.items():
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"}
        for name, text in attributes:
            assert not name.startswith("on") and name not in {"src", "srcset", "action", "xlink:href", "data"}
            assert name != "href" or (text or "").startswith("#")
    assert not re.search(r"@import|url\(|<script", html)


def test_every_link_leads_to_a_section() -> None:
    ids = {v for (_, attributes) in PLAIN.found for n, v in attributes if n == "id"}
    links = {v for (_, attributes) in PLAIN.found for n, v in attributes if n == "href"}
    assert links and {str(v).removeprefix("#") for v in links} <= ids


def test_charts_have_a_title_a_description_and_a_table_and_say_n() -> None:
    html = render_report(everywhere("plain", "https://host/"))
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) == 3
    assert all("<title " in d and "<desc " in d and 'role="img"' in d for d in drawings)
    assert html.count("<figure>") == html.count("<summary>Figures</summary>") == 3
    assert "n = 3 (1 kept, 2 left), exact" in html


def test_bars_of_a_histogram_stand_for_their_counts() -> None:
    html = render_report(everywhere("plain", "https://host/"))
    kept = re.search(r'<rect class="kept" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', html)
    left = re.search(r'<rect class="left" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', html)
    assert kept and left
    assert float(left[1]) == pytest.approx(2 * float(kept[1]), abs=0.2)


def test_columns_and_rows_of_tables_have_scopes() -> None:
    cells = [dict(attributes) for (tag, attributes) in PLAIN.found if tag == "th"]
    assert cells and all(c.get("scope") in {"row", "col"} for c in cells)


def test_text_has_its_own_direction() -> None:
    html = render_report(everywhere("שלום", "https://host/"))
    assert '<p class="passage" dir="auto">שלום</p>' in html
    assert "<bdi>שלום</bdi>" in html


def test_an_empty_run_says_what_to_do() -> None:
    shown = Elements(render_report(ReportData("empty", "empty", Sums()))).shown
    assert "adds up" in shown
    assert "The corpus is empty" in shown
    assert "dedup: [{exact: {}}, {minhash: {threshold: 0.8}}]" in shown
    assert "recipe: {groups: [domain, quality_band]}" in shown


def test_sums_that_do_not_add_up_are_said() -> None:
    shown = Elements(
        render_report(ReportData("x", "x", Sums(entered=3, kept=1, bytes_size=10, bytes_accounted=7)))
    ).shown
    assert "does not add up: 3 in, but 1 kept, dropped or failed" in shown
    assert "3 bytes are not accounted for" in shown


def test_recipe_says_that_no_runs_were_used_and_whom_the_cap_holds_back() -> None:
    shown = Elements(render_report(everywhere("plain", "https://host/"))).shown
    assert NO_RUNS in shown
    assert "1.00 (cap)" in shown
    assert "The mixed shards hold 10 tokens in 2 documents, as the recipe says." in shown
