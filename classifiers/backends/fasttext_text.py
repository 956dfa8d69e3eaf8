"""How a text becomes the one line that a fastText model reads: named steps, in the order that the card gives.

Every published model was trained on lines made in its own way, and another way gives other scores without any error. A
newline ends what fastText reads, so one of the steps must take newlines away.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

Step = Literal[
    "strip",
    "lowercase",
    "lines_space",
    "words_space",
    "newline_space",
    "newline_remove",
    "newline_escape",
    "newline_two",
    "accents",
    "tokens_space",
    "spaces_one",
]
#: steps after which no newline is left
ENDING: frozenset[str] = frozenset({"lines_space", "words_space", "newline_space", "newline_remove", "newline_escape"})

_MANY_NEWLINES = re.compile(r"\n{3,}")
_MANY_SPACES = re.compile(r" +")
_ESCAPES = str.maketrans({"\n": "\\n", "\t": "\\t", "\r": "\\r"})


def lines_space(text: str) -> str:
    """All lines, joined by one space; ends of lines are those of ``str.splitlines``, form feeds and U+2028 too."""
    return " ".join(text.splitlines())


def words_space(text: str) -> str:
    """All runs of what is no whitespace, joined by one space."""
    return " ".join(text.split())


def accents(text: str) -> str:
    """Compatibility decomposition (NFKD) without combining marks."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")


_STEPS: Mapping[str, Callable[[str], str]] = {
    "strip": str.strip,
    "lowercase": str.lower,
    "lines_space": lines_space,
    "words_space": words_space,
    "newline_space": lambda text: text.replace("\n", " "),
    "newline_remove": lambda text: text.replace("\n", ""),
    "newline_escape": lambda text: text.translate(_ESCAPES),
    "newline_two": lambda text: _MANY_NEWLINES.sub("\n\n", text),
    "accents": accents,
    "spaces_one": lambda text: _MANY_SPACES.sub(" ", text),
}


def preparation(steps: Sequence[str], tokenizer: Path | None = None) -> Callable[[str], str]:
    """The function that applies these steps in order.

    Args:
        tokenizer: ``tokenizer.json`` for ``tokens_space``: each token decoded by itself, joined by spaces.
    """
    chain = [_tokens_space(tokenizer) if step == "tokens_space" else _STEPS[step] for step in steps]

    def prepare(text: str) -> str:
        for step in chain:
            text = step(text)
        return text

    return prepare


def _tokens_space(tokenizer: Path | None) -> Callable[[str], str]:
    from tokenizers import Tokenizer

    if tokenizer is None:
        raise ValueError("tokens_space needs a tokenizer")
    loaded = Tokenizer.from_file(str(tokenizer))
    loaded.no_padding()
    loaded.no_truncation()
    known: dict[int, str] = {}

    def split(text: str) -> str:
        ids = loaded.encode(text, add_special_tokens=False).ids
        for token in set(ids).difference(known):
            known[token] = loaded.decode([token], skip_special_tokens=False)
        return " ".join([known[token] for token in ids])

    return split
