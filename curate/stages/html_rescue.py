"""Small repairs of a page before resiliparse sees it, for text that its main-content mode would lose.

Seen with resiliparse 2.0.1: a text node between tags that holds one character of three or more UTF-8 bytes, or one
entity, vanishes (a word of one ideograph in bold, a dash between two links); a ``<ul>`` near the top of the page is
taken for navigation and vanishes whole, with links in it or without. The effect on accuracy is measured by
``tests/benchmarks/extract_html.py``.
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


def rescue(html: str) -> str:
    """The page with lone characters guarded and textual lists as paragraphs with bullets."""
    if not html.isascii() or "&" in html:
        html = _LONE.sub(rf">{_GUARD}\1{_GUARD}<", html)
    return _lists_as_paragraphs(html)


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
