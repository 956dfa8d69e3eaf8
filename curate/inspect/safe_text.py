"""Crawled text made safe and honest for a page: markup escaped, invisible and reordering characters made visible.

What comes out is HTML whose only elements are ours: ``<span class="chip">U+202E</span>`` in place of a character
that would hide or reorder what a reader sees, and ``<bdi>`` around a value so that it cannot disturb its
surroundings (Unicode Technical Report 36, Trojan Source: Boucher and Anderson 2021).
"""

from __future__ import annotations

import html
import re
import unicodedata
from itertools import pairwise

#: combining marks on one letter that are shown; real scripts stay far below
MAX_MARKS = 32
#: characters that are letters or marks by category and yet leave nothing to see
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_JOINERS = frozenset("\u200c\u200d")
_USERINFO = re.compile(r"(?<=//)([^/?#@\s:]*):[^/?#\s]*@")
_EMPTY_LINES = re.compile(r"(?:[ \t]*\r?\n){3,}")


def escape(text: str, *, lines: bool = False) -> str:
    """``text`` as HTML that shows every character.

    Args:
        lines: keep line feeds and tabs (for text set with ``white-space: pre-wrap``); else they become spaces.
    """
    if text.isascii() and text.isprintable():
        return html.escape(text, quote=True)
    out: list[str] = []
    marks = 0
    for before, char, after in _with_neighbours(text):
        if char in "\n\t":
            out.append(char if lines else " ")
        elif char == "\r" and after == "\n":
            continue
        elif _hidden(char, before, after):
            out.append(chip(char))
        elif unicodedata.combining(char):
            marks += 1
            out.append(_marked(char, marks))
            continue
        else:
            out.append(html.escape(char, quote=True))
        marks = 0
    return "".join(out)


def plain(text: str) -> str:
    """``text`` on one line without any element: for attributes and for drawings, which an element would end."""
    shown = (f"U+{ord(b):04X}" if _hidden(b, a, c) else b for a, b, c in _with_neighbours(" ".join(text.split())))
    return html.escape("".join(shown), quote=True)


def chip(char: str) -> str:
    """The visible stand-in of a character that would not be seen."""
    return f'<span class="chip">U+{ord(char):04X}</span>'


def value(text: str, *, limit: int = 200) -> str:
    """A short value from the data, on one line, cut to ``limit`` characters and isolated from its surroundings."""
    return f"<bdi>{escape(cut(text, limit))}</bdi>"


def address(url: str, *, limit: int = 160) -> str:
    """A URL as text, never as a link; a password in it is masked."""
    return f'<bdi class="url" dir="ltr">{escape(cut(mask_password(url), limit))}</bdi>'


def passage(text: str, *, limit: int = 400) -> str:
    """The beginning of a document as a block in its own direction, lines kept, runs of empty lines closed up."""
    shown = cut(_EMPTY_LINES.sub("\n\n", text[: 8 * limit]).strip(), limit)
    return f'<p class="passage" dir="auto">{escape(shown, lines=True)}</p>'


def mask_password(url: str) -> str:
    """``url`` with the password of its user part replaced by three asterisks."""
    return _USERINFO.sub(r"\1:***@", url)


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters and an ellipsis; never between a letter and its marks."""
    if len(text) <= limit:
        return text
    end = limit
    while end > 1 and (unicodedata.combining(text[end]) or text[end] in _JOINERS or text[end - 1] in _JOINERS
                       or "\ufe00" <= text[end] <= "\ufe0f" or "\U0001f3fb" <= text[end] <= "\U0001f3ff"):  # fmt: skip
        end -= 1
        if limit - end > 2 * MAX_MARKS:  # a pile of marks, not a letter: anywhere will do
            end = limit
            break
    return text[:end] + "…"


def _with_neighbours(text: str) -> list[tuple[str, str, str]]:
    padded = ["", *text, ""]
    return [(a, b, c) for (a, b), c in zip(pairwise(padded), padded[2:], strict=False)]


def _hidden(char: str, before: str, after: str) -> bool:
    """Whether a reader would see nothing, or see the neighbours in another order."""
    if char in _BLANK:
        return True
    category = unicodedata.category(char)
    if category in ("Zl", "Zp", "Cc", "Cs", "Co"):
        return True
    if category == "Cn":
        return ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF  # noncharacters; the rest is merely new
    if category != "Cf":
        return False
    # Persian, Indic and emoji spelling needs the joiners; elsewhere they are there to hide something
    return not (char in _JOINERS and _joining(before) and _joining(after))


def _joining(char: str) -> bool:
    return char != "" and (0x0600 <= ord(char) <= 0x0DFF or ord(char) >= 0x1F000 or char in "\ufe0f❤♀♂⚕")


def _marked(char: str, marks: int) -> str:
    if marks <= MAX_MARKS:
        return char
    return '<span class="chip">+ marks</span>' if marks == MAX_MARKS + 1 else ""
