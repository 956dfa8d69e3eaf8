"""Text that resiliparse's main-content mode would lose."""

from __future__ import annotations

import re
import time

import pytest

from curate.stages.html_rescue import rescue, without_guards
from curate.stages.html_worker import HtmlWorker


def extracted(body: str) -> str:
    worker = HtmlWorker("resiliparse", False, 0.1, "default", False, 1 << 20)
    page = f"<html><head><title>t</title></head><body><main>{body}</main></body></html>"
    return worker(page)[0].strip()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p><b>私</b>は<b>猫</b>である</p>", "私は猫である"),
        ("<p><i>A</i> — <b>B</b></p>", "A — B"),
        ("<p><i>A</i>、<b>B</b></p>", "A、B"),
        ("<p>x<b>&mdash;</b>y</p>", "x—y"),
    ],
)
def test_a_lone_character_between_tags_stays(body: str, expected: str) -> None:
    assert extracted(body) == expected


def test_a_list_of_sentences_stays() -> None:
    text = extracted(
        "<p>Three things happened.</p><ul><li>The mill was sold to a baker.</li><li>It burned down.</li></ul>"
    )
    assert "• The mill was sold to a baker." in text and "• It burned down." in text


def test_menus_stay_as_they_were() -> None:
    for page in (
        "<ul><li><a href='/'>Home page of the site</a></li></ul>",
        "<ul><li>Home</li><li>News</li></ul>",
        "<ul><li>one two three<ul><li>a b c</li></ul></li></ul>".replace("a b c", "a"),
        "<UL>text without any items at all</UL>",
        "<ul><li>never closed item of a list",
    ):
        assert rescue(page) == page


def test_an_inner_list_becomes_paragraphs_and_its_outer_list_stays() -> None:
    page = "<ul><li>outer<ul><li>one two three</li></ul></li></ul>"
    assert rescue(page) == "<ul><li>outer<div><p>• one two three</p></div></li></ul>"


def test_guards_never_reach_the_text() -> None:
    assert without_guards("a\u2060\u2060b\u2060c") == "ab\u2060c"
    assert "\u2060" not in extracted("<p>一<b>二</b>三</p>")


def test_guards_never_reach_the_title() -> None:
    worker = HtmlWorker("resiliparse", False, 0.1, "default", False, 1 << 20)
    page = "<html><head><title>猫</title></head><body><main><p>A cat sat there.</p></main></body></html>"
    assert worker(page)[1] == "猫"


def test_hostile_markup_is_linear() -> None:
    import time

    start = time.process_time()
    rescue("<ul>" * 200_000 + "</ul>" * 200_000)
    rescue("<li" * 300_000 + ">" + " " * 1_000_000 + "<")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("<a href='1'>Home</a><a href='2'>about us</a>", "Home about us"),
        ("<div><span><a href='1'>one</a></span><span><a href='2'>two</a></span></div>", "one two"),
        ("<span>Weight</span><span>12 kg</span>", "Weight 12 kg"),
        ("<span>It ended.</span><span>Another began.</span>", "It ended. Another began."),
        ("<b>HOKA</b><b>Clifton</b>", "HOKA Clifton"),
        ("<strong>Size</strong><span>9</span>", "Size 9"),
    ],
)
def test_neighbours_that_style_sheets_keep_apart_are_two_words(html: str, wanted: str) -> None:
    assert re.sub("<[^>]*>", "", rescue(html)) == wanted


@pytest.mark.parametrize(
    "html",
    [
        "<b>W</b><span>elcome</span>",
        "You<b>Tube</b>",
        "<span>S</span><span>Mart</span>",
        "<span>19</span><span>99</span>",
        "<a href='1'>one</a> <a href='2'>two</a>",
        "<a href='1'>one</a><a name='here'></a> two",
        "<pre><span>get</span><span>Value</span><a>x</a><a>y</a></pre>",
        "<code><span>x</span><span>1</span></code>",
        "<p>long</p>" + "</a><a>" * 20,
    ],
)
def test_seams_within_words_and_code_stay(html: str) -> None:
    assert rescue(html) == html


def test_seams_of_hostile_pages_cost_linear_time() -> None:
    began = time.process_time()
    for part in ("</a><a>", "x</a><a href='", "<pre>", "</a><a "):
        rescue(part * 20_000)
    assert time.process_time() - began < 5
