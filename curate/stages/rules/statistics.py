"""The statistics of ``text_stats``: name, type, meaning, unit, and which preset needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import pyarrow as pa

from curate.documents import column

Group = Literal["gopher_quality", "gopher_repetition", "c4", "fineweb"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class Statistic:
    """One label column, ``text_stats_<name>`` unless the config names another prefix.

    Attributes:
        groups: presets that need it.
        ratio: the two counts it is the quotient of, by the names that the kernels use.
        source: the count it is, where that has another name in the kernels.
    """

    name: str
    type: pa.DataType
    groups: frozenset[str]
    doc: str
    unit: str = ""
    range: str = ""
    ratio: tuple[str, str] | None = None
    source: str = ""

    def field(self, prefix: str) -> pa.Field:
        """The documented column."""
        return column(f"{prefix}_{self.name}", self.type, self.doc, unit=self.unit, range_=self.range)


_QUALITY, _REPETITION, _C4, _FINEWEB = (frozenset({g}) for g in GROUPS)
_ALL = frozenset(GROUPS)
_NO_WORDS = "null in languages written without spaces"
_EMPTY = "null for an empty text"
_SHARE = "characters/character"


def _count(name: str, groups: frozenset[str], doc: str, unit: str, source: str = "") -> Statistic:
    return Statistic(name, pa.int32(), groups, doc, unit, "≥ 0", None, source)


def _ratio(
    name: str, groups: frozenset[str], doc: str, unit: str, ratio: tuple[str, str], range_: str = "0–1"
) -> Statistic:
    return Statistic(name, pa.float64(), groups, doc, unit, range_, ratio)


def _flag(name: str, doc: str, source: str) -> Statistic:
    return Statistic(name, pa.bool_(), _C4, doc, "", "", None, source)


STATISTICS: tuple[Statistic, ...] = (
    _count("n_chars", _ALL, "length of the text", "code points", "chars"),
    _count("n_lines", _ALL, "lines, broken at every Unicode line end", "lines", "lines"),
    # Gopher quality
    _count("n_words", _QUALITY | _FINEWEB, f"words, punctuation included; {_NO_WORDS}", "words"),
    _count("n_non_symbol_words", _QUALITY, f"words that are more than punctuation; {_NO_WORDS}", "words"),
    Statistic(
        "mean_word_length",
        pa.float64(),
        _QUALITY,
        "mean length of those words; null if there is none",
        "code points/word",
        "≥ 1",
    ),
    _ratio("hash_ratio", _QUALITY, "hash signs per word; null without words", "1/word", ("hashes", "n_words"), "≥ 0"),
    _ratio(
        "ellipsis_ratio",
        _QUALITY,
        "ellipses (three dots or the sign) per word; null without words",
        "1/word",
        ("ellipses", "n_words"),
        "≥ 0",
    ),
    _ratio(
        "bullet_line_ratio",
        _QUALITY,
        "share of lines that start with • or -; null for an empty text",
        "lines/line",
        ("bullet_lines", "lines"),
    ),
    _ratio(
        "ellipsis_line_ratio",
        _QUALITY,
        "share of lines that end in an ellipsis; null for an empty text",
        "lines/line",
        ("ellipsis_lines", "lines"),
    ),
    _ratio(
        "alpha_word_ratio",
        _QUALITY,
        "share of words with a letter; null without words",
        "words/word",
        ("n_alpha_words", "n_words"),
    ),
    _count(
        "n_stop_words",
        _QUALITY,
        f"different stop words of the language that occur; null if none are known for it, {_NO_WORDS}",
        "words",
    ),
    # Gopher repetition
    _ratio(
        "dup_paragraph_fraction",
        _REPETITION,
        f"share of paragraphs (blank lines between) that repeat; {_EMPTY}",
        "paragraphs/paragraph",
        ("dup_paragraphs", "paragraphs"),
    ),
    _ratio(
        "dup_paragraph_char_fraction",
        _REPETITION,
        f"characters of such paragraphs by those of the text; {_EMPTY}",
        _SHARE,
        ("dup_paragraph_chars", "chars"),
    ),
    _ratio(
        "dup_line_fraction",
        _REPETITION,
        f"share of lines (newlines between) that repeat; {_EMPTY}",
        "lines/line",
        ("dup_runs", "runs"),
    ),
    _ratio(
        "dup_line_char_fraction",
        _REPETITION,
        f"characters of such lines by those of the text; {_EMPTY}",
        _SHARE,
        ("dup_run_chars", "chars"),
    ),
    *(
        Statistic(
            f"top_{n}_gram",
            pa.float64(),
            _REPETITION,
            f"characters of the most frequent {n} words in a row, "
            "spaces included, times its count, by those of the text; null without words",
            _SHARE,
            "≥ 0; can exceed 1 where occurrences overlap",
        )
        for n in (2, 3, 4)
    ),
    *(
        Statistic(
            f"dup_{n}_gram",
            pa.float64(),
            _REPETITION,
            f"characters of runs of {n} words that occurred before, by those of the text; null without words",
            _SHARE,
            "0–1",
        )
        for n in range(5, 11)
    ),
    # C4
    _count("n_sentences", _C4, "sentences, counted line by line; after line_cleaning as C4 counts them", "sentences"),
    _flag("has_lorem_ipsum", 'the text holds "lorem ipsum", in any case', "lorem_ipsum"),
    _flag("has_curly_brace", "the text holds {", "curly_brace"),
    _flag("curly_brace_first", 'a line holds { and neither it nor an earlier one "lorem ipsum"', "curly_brace_first"),
    _flag(
        "has_javascript",
        'the text holds "javascript", in any case; such lines are gone after line_cleaning',
        "javascript",
    ),
    _flag("has_policy", "the text holds wording of cookie notices or terms of use; gone after line_cleaning", "policy"),
    _count("longest_word", _C4, "longest piece between whitespace", "code points", "longest_word"),
    # FineWeb
    _count(
        "n_nonblank_lines",
        _FINEWEB,
        "lines, broken at newlines, that are not only whitespace",
        "lines",
        "nonblank_lines",
    ),
    _ratio(
        "line_punct_ratio",
        _FINEWEB,
        "share of those lines that end in terminal punctuation of any script; null if there is none",
        "lines/line",
        ("punct_lines", "nonblank_lines"),
    ),
    _ratio(
        "short_line_ratio",
        _FINEWEB,
        "share of those lines of at most short_line_chars characters; null if there is none",
        "lines/line",
        ("short_lines", "nonblank_lines"),
    ),
    _ratio(
        "char_dup_ratio",
        _FINEWEB,
        "characters of those lines that repeat, by those of the text without newlines; null if there is none",
        _SHARE,
        ("dup_line_chars", "chars_no_newline"),
    ),
    _ratio(
        "newline_word_ratio",
        _FINEWEB,
        "newlines per word; null without words",
        "1/word",
        ("newlines", "n_words"),
        "≥ 0",
    ),
)
