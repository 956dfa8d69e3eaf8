"""Writes the English word rules that ``curate.kernels.words`` reads: spaCy's language data, without spaCy's code.

Run in an environment that has spaCy 3.8 and datatrove 0.10.1 (and NumPy):

    $CURATE_PEERS_PYTHON tests/benchmarks/build_english_word_rules.py

Out come, in curate/kernels/assets: ``english_words.json`` (exceptions, affix and URL patterns, the token sequences that
the second pass of exceptions looks for), ``code_points.npz`` (one set of class bits per code point, in shared pages of
256) and ``LICENCE.spacy`` (the notice of the data's origin).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ASSETS = Path(__file__).resolve().parents[2] / "curate" / "kernels" / "assets"
CODE_POINTS = 0x110000

# Order = bit number; curate/kernels/words_rules.py reads the names from the file.
BITS = (
    "prefix",
    "suffix",
    "alpha",
    "lower",
    "upper",
    "dot_left",
    "dot_right",
    "dot_suffix",
    "infix",
    "currency",
    "is_alpha",
    "symbol",
    "word",
    "punct",
    "sentence_end",
)


def bare_tokenizer(nlp: Any) -> Any:
    """spaCy's English tokenizer without exceptions: what it calls splitting by affixes."""
    from spacy.tokenizer import Tokenizer

    old = nlp.tokenizer
    return Tokenizer(
        nlp.vocab,
        rules={},
        prefix_search=old.prefix_search,
        suffix_search=old.suffix_search,
        infix_finditer=old.infix_finditer,
        token_match=old.token_match,
        url_match=old.url_match,
    )


def second_pass(nlp: Any) -> dict[str, list[str]]:
    """exception → its tokens without exceptions, for every exception that an affix pattern touches."""
    bare, own = bare_tokenizer(nlp), nlp.tokenizer
    return {
        text: [token.text for token in bare(text)]
        for text in own.rules
        if " " in text or own.find_prefix(text) or own.find_infix(text) or own.find_suffix(text)
    }


def class_tests(nlp: Any) -> dict[str, Callable[[str], bool]]:
    """For every bit the question that decides it, asked of spaCy's, datatrove's or Python's own tables."""
    from datatrove.utils.text import PUNCTUATION_SET
    from spacy.lang import char_classes as c
    from spacy.pipeline import Sentencizer

    prefix, suffix, infix = nlp.tokenizer.prefix_search, nlp.tokenizer.suffix_search, nlp.tokenizer.infix_finditer
    single = {unit for unit in re.sub(r"\\", "", c.CURRENCY).split("|") if len(unit) == 1}

    def one_of(characters: str) -> Callable[[str], bool]:
        pattern = re.compile(f"[{characters}]")
        return lambda ch: pattern.fullmatch(ch) is not None

    def is_prefix(ch: str) -> bool:
        return all((m := prefix(ch + after)) is not None and m.end() == 1 for after in "x1.")

    def is_suffix(ch: str) -> bool:
        return (m := suffix(ch)) is not None and m.end() - m.start() == 1

    sentence_ends = set(Sentencizer().punct_chars)
    return {
        "prefix": is_prefix,
        "suffix": is_suffix,
        "alpha": one_of(c.ALPHA),
        "lower": one_of(c.ALPHA_LOWER),
        "upper": one_of(c.ALPHA_UPPER),
        "dot_left": one_of(c.ALPHA_LOWER + c.CONCAT_QUOTES),
        "dot_right": one_of(c.ALPHA_UPPER + c.CONCAT_QUOTES),
        "dot_suffix": one_of("0-9" + c.ALPHA_LOWER + r"%²\-\+" + c.PUNCT + f"(?:{c.CONCAT_QUOTES})"),
        "infix": lambda ch: any(True for _ in infix(ch)),
        "currency": lambda ch: ch in single,
        "is_alpha": str.isalpha,
        "symbol": lambda ch: ch in PUNCTUATION_SET,
        "word": lambda ch: ch.isalnum() or ch == "_",
        "punct": lambda ch: unicodedata.category(ch).startswith("P"),
        "sentence_end": lambda ch: ch in sentence_ends,
    }


def class_pages(nlp: Any) -> tuple[Any, Any]:
    """``(pages, index)``: class bits of code point ``c`` are ``pages[index[c >> 8], c & 255]``."""
    bits = np.zeros(CODE_POINTS, np.uint16)
    tests = class_tests(nlp)
    for number, name in enumerate(BITS):
        ask = tests[name]
        for code in range(CODE_POINTS):
            if not 0xD800 <= code <= 0xDFFF and ask(chr(code)):
                bits[code] |= 1 << number
    pages, index = np.unique(bits.reshape(-1, 256), axis=0, return_inverse=True)
    return pages.astype(np.uint16), index.reshape(-1).astype(np.uint16)


def rules(nlp: Any) -> dict[str, Any]:
    """Everything but the class bits, as plain JSON values."""
    from datatrove.pipeline.filters.gopher_quality_filter import STOP_WORDS
    from spacy.lang import char_classes as c
    from spacy.lang.tokenizer_exceptions import URL_PATTERN
    from spacy.symbols import ORTH

    tokenizer = nlp.tokenizer
    if tokenizer.token_match is not None:
        sys.exit("this spaCy has a token_match for English: the algorithm in curate/kernels/words_rules.py has none")
    return {
        "origin": f"spaCy {importlib.metadata.version('spacy')}, spacy.blank('en')",
        "checked_against": f"datatrove {importlib.metadata.version('datatrove')}",
        "unicode": unicodedata.unidata_version,
        "bits": list(BITS),
        "exceptions": {text: [part[ORTH] for part in parts] for text, parts in sorted(tokenizer.rules.items())},
        "second_pass": dict(sorted(second_pass(nlp).items())),
        "prefix": tokenizer.prefix_search.__self__.pattern,
        "suffix": tokenizer.suffix_search.__self__.pattern,
        "infix": tokenizer.infix_finditer.__self__.pattern,
        "url": URL_PATTERN,
        "units": sorted(set(c.UNITS.split("|"))),
        "currencies": sorted(set(c.CURRENCY.replace("\\", "").split("|"))),
        "stop_words": STOP_WORDS,
    }


def licence() -> str:
    """spaCy's licence text as its distribution ships it."""
    for file in importlib.metadata.files("spacy") or []:
        if file.name == "LICENSE" and "dist-info" in str(file):
            return Path(str(file.locate())).read_text("utf-8")
    sys.exit("the installed spaCy ships no LICENSE file")


def main() -> None:
    """Writes the three files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ASSETS)
    folder: Path = parser.parse_args().output
    import spacy

    nlp = spacy.blank("en")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rules(nlp), ensure_ascii=False, indent=0)
    (folder / "english_words.json").write_text(text + "\n", "utf-8")
    pages, index = class_pages(nlp)
    np.savez_compressed(folder / "code_points.npz", pages=pages, index=index)
    head = (
        "english_words.json and the class bits in code_points.npz are language data of spaCy, under this licence:\n\n"
    )
    (folder / "LICENCE.spacy").write_text(head + licence(), "utf-8")


if __name__ == "__main__":
    main()
