"""spaCy's English word rules: the data, and the algorithm in plain Python.

The data (exceptions, affix patterns, URL pattern) are spaCy's and come from the files in ``assets``; the algorithm is
written from spaCy's documented behaviour (https://spacy.io/usage/linguistic-features#how-tokenizer-works) and checked
token by token against it. The compiled form in ``words_english.py`` does the same; this one resolves what that one
leaves open (possible URLs) and is the yardstick in the tests.

Every step costs time linear in the chunk: a chunk of a million signs must not hold a worker.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

_TAIL = 24
"""Code points before the end that decide a suffix; a run of full stops at the end is added. The longest suffix has
five code points and looks two further back."""


@dataclass(frozen=True)
class EnglishRules:
    """The parsed data; see ``english_rules``."""

    exceptions: dict[str, list[str]]
    second_pass: dict[str, list[str]]
    prefix_pattern: str
    suffix_pattern: str
    infix_pattern: str
    url_pattern: str
    units: list[str]
    currencies: list[str]
    stop_words: list[str]
    version: str

    @cached_property
    def longest_exception(self) -> int:
        """Code points of the longest exception."""
        return max(map(len, self.exceptions))

    @cached_property
    def _prefix(self) -> re.Pattern[str]:
        # "^" means the start of the string even where matching starts later, so it goes; match() anchors by itself
        return re.compile("|".join(part.removeprefix("^") for part in re.split(r"\|(?=\^)", self.prefix_pattern)))

    @cached_property
    def _suffix(self) -> re.Pattern[str]:
        return re.compile(self.suffix_pattern)

    @cached_property
    def _infix(self) -> re.Pattern[str]:
        return re.compile(self.infix_pattern)

    @cached_property
    def _url(self) -> re.Pattern[str]:
        # user info optional and "@"-free: is_url tries the places of "@" itself (the original is quadratic in them)
        protocol, rest = self.url_pattern.split(r"(?:\S+(?::\S*)?@)?")
        return re.compile(f"(?P<protocol>{protocol.removeprefix('^')})(?P<rest>{rest})")

    @cached_property
    def _after_user(self) -> re.Pattern[str]:
        return re.compile(self.url_pattern.split(r"(?:\S+(?::\S*)?@)?")[1])

    def is_url(self, text: str) -> bool:
        """Whether spaCy takes the whole of ``text`` (no whitespace) as one URL or mail address."""
        if "." not in text:
            return False
        if self._url.match(text):
            return True
        # user info is any run of at least one sign before an "@"; the protocol is a special case of it
        at = text.find("@", 1)
        while at >= 0:
            if self._after_user.match(text, at + 1):
                return True
            at = text.find("@", at + 1)
        return False

    def prefix_length(self, text: str, low: int, high: int) -> int:
        """Length of the prefix that is cut off ``text[low:high]``; 0 if none."""
        found = self._prefix.match(text, low, high)
        return found.end() - low if found else 0

    def suffix_length(self, text: str, low: int, high: int) -> int:
        """Length of the suffix that is cut off ``text[low:high]``; 0 if none."""
        dots = high
        while dots > low and text[dots - 1] == ".":
            dots -= 1
        tail = text[max(low, dots - _TAIL) : high]
        found = self._suffix.search(tail)
        return found.end() - found.start() if found else 0

    def chunk(self, text: str, exceptions: bool = True) -> list[str]:
        """Words of one whitespace-free chunk, before the second pass over the document."""
        special = self.exceptions if exceptions else {}
        longest = self.longest_exception
        low, high = 0, len(text)
        prefixes: list[str] = []
        suffixes: list[str] = []

        def is_special(a: int, b: int) -> bool:
            return 0 < b - a <= longest and text[a:b] in special

        while low < high:
            if is_special(low, high):
                break
            prefix = self.prefix_length(text, low, high)
            if prefix and is_special(low + prefix, high):
                prefixes.append(text[low : low + prefix])
                low += prefix
                break
            suffix = self.suffix_length(text, low + prefix, high)
            if suffix and is_special(low, high - suffix):
                suffixes.append(text[high - suffix : high])
                high -= suffix
                break
            if not prefix and not suffix:
                break
            if prefix:
                prefixes.append(text[low : low + prefix])
            if suffix:
                suffixes.append(text[high - suffix : high])
            low, high = low + prefix, high - suffix
        return prefixes + self._core(text[low:high], special) + suffixes[::-1]

    def _core(self, text: str, special: dict[str, list[str]]) -> list[str]:
        """Words of what is left between the affixes."""
        if not text:
            return []
        if text in special:
            return special[text]
        if self.is_url(text):
            return [text]
        words: list[str] = []
        start = 0
        for found in self._infix.finditer(text):
            if found.start() == 0:
                continue
            if found.start() != start:
                words.append(text[start : found.start()])
            words.append(found.group())
            start = found.end()
        if start < len(text):
            words.append(text[start:])
        return words


def _asset(name: str) -> Any:
    return files("curate.kernels").joinpath("assets", name)


@cache
def english_rules() -> EnglishRules:
    """The English rules, read once per process."""
    raw = json.loads(_asset("english_words.json").read_text("utf-8"))
    return EnglishRules(
        exceptions=raw["exceptions"],
        second_pass=raw["second_pass"],
        prefix_pattern=raw["prefix"],
        suffix_pattern=raw["suffix"],
        infix_pattern=raw["infix"],
        url_pattern=raw["url"],
        units=raw["units"],
        currencies=raw["currencies"],
        stop_words=raw["stop_words"],
        version=raw["origin"],
    )


@cache
def neutral_rules() -> EnglishRules:
    """The rules without what is English: exceptions stay if they are one word of signs and single letters.

    spaCy's language-neutral tokenizer ("xx"), which is also the ground of most of its languages, has the same affixes
    and infixes, and as exceptions emoticons, degrees and initials.
    """
    english = english_rules()
    kept = {
        text: words
        for text, words in english.exceptions.items()
        if len(words) == 1 and not re.search("[A-Za-z]{2}", text)
    }
    second = {text: words for text, words in english.second_pass.items() if text in kept}
    return replace(english, exceptions=kept, second_pass=second)


# Bits of a code point's class, in the order of "bits" in english_words.json (a test holds them equal).
PREFIX, SUFFIX, LETTER, LOWER, UPPER, DOT_LEFT, DOT_RIGHT, DOT_SUFFIX = (1 << i for i in range(8))
INFIX, CURRENCY, IS_ALPHA, SYMBOL, WORD, PUNCT, SENTENCE_END = (1 << i for i in range(8, 15))
BIT_NAMES = ["prefix", "suffix", "alpha", "lower", "upper", "dot_left", "dot_right", "dot_suffix", "infix", "currency"]
BIT_NAMES += ["is_alpha", "symbol", "word", "punct", "sentence_end"]


_STORED_UNICODE = "14.0.0"
"""Unicode version of the stored classes; a test holds it equal to the one in english_words.json."""


@cache
def code_point_classes() -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """``(pages, index)``: the class bits of code point ``c`` are ``pages[index[c >> 8], c & 255]``.

    IS_ALPHA, WORD and PUNCT follow the running Python's Unicode version, as datatrove's do.
    """
    with np.load(str(_asset("code_points.npz"))) as stored:
        pages, index = stored["pages"], stored["index"]
    if unicodedata.unidata_version != _STORED_UNICODE:
        return _with_current_unicode(pages, index)
    return np.ascontiguousarray(pages), np.ascontiguousarray(index)


def _with_current_unicode(
    pages: npt.NDArray[np.uint16], index: npt.NDArray[np.uint16]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """The same classes with IS_ALPHA, WORD and PUNCT as the running Python has them."""
    bits = pages[index].reshape(-1) & np.uint16(0xFFFF ^ (IS_ALPHA | WORD | PUNCT))
    every = np.arange(len(bits), dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    for run in re.finditer(r"\w+", every):
        letters = np.fromiter(map(str.isalpha, run.group()), bool, run.end() - run.start())
        bits[run.start() : run.end()] |= WORD | np.where(letters, IS_ALPHA, 0).astype(np.uint16)
    punctuation = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"}
    marks = map(punctuation.__contains__, map(unicodedata.category, every))
    bits[np.fromiter(marks, bool, len(bits))] |= PUNCT
    rows = [row.tobytes() for row in bits.reshape(-1, 256)]
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    fresh = np.frombuffer(b"".join(numbers), np.uint16).reshape(-1, 256).copy()
    return fresh, np.array([numbers[row] for row in rows], np.uint16)
