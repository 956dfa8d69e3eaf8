"""Small repairs of a page before resiliparse sees it, for text that its main-content mode would lose.

Seen with resiliparse 2.0.1: a text node between tags that holds one character of three or more UTF-8 bytes, or one
entity, vanishes (a word of one ideograph in bold, a dash between two links); a ``<ul>`` near the top of the page is
taken for navigation and vanishes whole, with links in it or without; words of neighbouring elements between which a
style sheet makes the gap (menus, tags, table-like rows of spans) come out as one word. The effect on accuracy is
measured by ``tests/benchmarks/extract_html.py``.
"""

from __future__ import annotations

import re

#: word joiner, twice: invisible, no white space, and not found in pairs in real text; taken out again afterwards
_GUARD = "\u2060\u2060"
_LONE = re.compile(r">(\s*(?:[\u0800-\U0010ffff]|&[a-zA-Z]{2,8};|&#\w{2,7};)\s*)<")
_LIST_TAG = re.compile(r"<(/?)ul\b[^>]*>", re.IGNORECASE)
_ITEM = re.compile(r"<li\b[^>]*>", re.IGNORECASE)
_ITEM_END = re.compile(r"</li\s*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
#: what makes a list a menu or a form rather than text
_CONTROLS = re.compile(r"<(?:a|img|input|button|select|nav)\b", re.IGNORECASE)
#: a list of shorter items is more often a menu than text
_MIN_WORDS = 3
_MAX_LIST = 100_000

_INLINE = "a|abbr|b|bdi|big|em|font|i|label|mark|small|span|strong|time|u"
#: an inline element ends and another element begins without anything between; case counts, which halves the time
_SEAM = re.compile(rf"</(?:{_INLINE})>(?=<(?:{_INLINE}|img|svg)\b)")
#: regions in which every character counts: code, formulas, what is no text at all
_EXACT = re.compile(r"<(/?)(?:pre|code|script|style|samp|kbd|textarea|math|title|PRE|CODE|SCRIPT)\b")
_ENDS = frozenset(".!?:;,)")
#: how far around a seam text is looked for: tags, and characters of each
_MOST_TAGS = 12
_LONGEST_TAG = 2000


def rescue(html: str) -> str:
    """The page with lone characters guarded and textual lists as paragraphs with bullets."""
    if not html.isascii() or "&" in html:
        html = _LONE.sub(rf">{_GUARD}\1{_GUARD}<", html)
    return _lists_as_paragraphs(_with_gaps(html))


def _with_gaps(html: str) -> str:
    """The page with a space in each seam where a reader would see a gap.

    Between two links always. Elsewhere only where no word goes on: a small letter or a full stop, then a capital; a
    letter beside a digit. Code and single letters in colour stay whole.
    """
    places = [seam.end() for seam in _SEAM.finditer(html) if _is_gap(html, seam.start(), seam.end())]
    if not places:
        return html
    exact = [(tag.start(), not tag[1]) for tag in _EXACT.finditer(html)]
    parts, done, at, inside = [], 0, 0, False
    for place in places:
        while at < len(exact) and exact[at][0] < place:
            inside, at = exact[at][1], at + 1
        if not inside:
            parts += [html[done:place], " "]
            done = place
    return "".join([*parts, html[done:]])


def _is_gap(html: str, end: int, start: int) -> bool:
    """True if words stand on both sides of the tags around a seam, and they are two.

    Args:
        end: where the last tag before the seam begins; start: where the first tag behind it begins.
    """
    left, links_left = _back(html, end)
    right, links_right = _ahead(html, start)
    if left < 0 or right < 0 or html[left].isspace() or html[right].isspace():
        return False
    if (links_left or html.startswith("</a>", end)) and links_right:
        return True
    one, two = html[left], html[right]
    if two.isupper():
        if one.isupper():  # two in a row, then a word: HOKA Clifton, but not S|Mart
            return html[max(left - 1, 0)].isupper() and html[right + 1 : right + 2].islower()
        return one.islower() or one.isdigit() or one in _ENDS
    return (one.isalpha() and two.isdigit()) or (one.isdigit() and two.isalpha())


def _back(html: str, at: int) -> tuple[int, bool]:
    """Where the last character of text before the tags that end at ``at`` stands (−1: out of sight), and whether a
    link ends among these tags."""
    link = False
    for _ in range(_MOST_TAGS):
        if at <= 0:
            break
        if html[at - 1] != ">":
            return at - 1, link
        at = html.rfind("<", max(0, at - _LONGEST_TAG), at)
        link |= html.startswith("</a>", at)
    return -1, link


def _ahead(html: str, at: int) -> tuple[int, bool]:
    """Where the first character of text behind the tags that begin at ``at`` stands (−1: out of sight), and whether
    a link begins among these tags."""
    link = False
    for _ in range(_MOST_TAGS):
        if at < 0 or at >= len(html):
            break
        if html[at] != "<":
            return at, link
        link |= html.startswith(("<a ", "<a>"), at)
        at = html.find(">", at, at + _LONGEST_TAG) + 1 or -1
    return -1, link


def without_guards(text: str) -> str:
    """The extracted text as it was meant."""
    return text.replace(_GUARD, "") if _GUARD in text else text


def _lists_as_paragraphs(html: str) -> str:
    """Lists without lists, links or controls in them, and with items of a few words, become paragraphs."""
    parts: list[str] = []
    done, opened = 0, None
    for tag in _LIST_TAG.finditer(html):
        if not tag[1]:
            opened = tag
        elif opened is not None:
            items = _items(html[opened.end() : tag.start()])
            if items:
                parts += [html[done : opened.start()], "<div>", *(f"<p>• {item}</p>" for item in items), "</div>"]
                done = tag.end()
            opened = None
    return "".join([*parts, html[done:]]) if parts else html


def _items(body: str) -> list[str]:
    """The items of a textual list; none if it is something else."""
    if len(body) > _MAX_LIST or _CONTROLS.search(body):
        return []
    before, *items = _ITEM.split(body)
    if not items or before.strip():
        return []
    words = sum(len(_TAG.sub(" ", item).split()) for item in items)
    if words < _MIN_WORDS * len(items):
        return []
    return [_ITEM_END.sub("", item) for item in items]
