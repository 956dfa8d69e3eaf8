"""The rule presets: ordered lists of rules, each one column, one bound and one reason.

A preset is evaluated in order and the first rule that fails names the reason, as datatrove 0.10.1's filters do it; each
rule says which reason datatrove gives there. Values, order and comparisons follow:

- ``gopher_quality``, ``gopher_repetition``: Rae et al. 2021 (arXiv 2112.11446), sections A1.1 and table A1.
- ``c4``: Raffel et al. 2020 (JMLR 21/140), the rules for whole pages; those for lines are the stage ``line_cleaning``.
- ``fineweb``: Penedo et al. 2024 (arXiv 2406.17557), section 3.6.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A document fails if its value is below ``low`` or above ``high``; a null value never fails.

    Attributes:
        name: key of the bound, for overrides; two rules of a preset may share one.
        column: label column that is compared; flags count as 0 and 1.
        reason: code written for documents that fail.
        doc: one sentence: what a document that fails is like.
        low: least value that passes; None if there is no such bound.
        high: greatest value that passes, likewise.
        datatrove: the reason that datatrove 0.10.1 gives for the same verdict; empty for rules of our own.
        spare_zero: True if a value of exactly 0 passes whatever the bounds.
    """

    name: str
    column: str
    reason: str
    doc: str
    low: float | None = None
    high: float | None = None
    datatrove: str = ""
    spare_zero: bool = False

    @property
    def threshold(self) -> float | None:
        """The bound; a preset's rule has one."""
        return self.low if self.low is not None else self.high


def _low(name: str, column: str, bound: float, reason: str, datatrove: str, doc: str) -> Rule:
    return Rule(name, f"text_stats_{column}", reason, doc, low=bound, datatrove=datatrove)


def _high(name: str, column: str, bound: float, reason: str, datatrove: str, doc: str) -> Rule:
    return Rule(name, f"text_stats_{column}", reason, doc, high=bound, datatrove=datatrove)


GOPHER_QUALITY = (
    _low("min_words", "n_non_symbol_words", 50, "gopher_too_few_words", "gopher_short_doc",
         "fewer words, not counting those of punctuation alone"),
    _high("max_words", "n_non_symbol_words", 100_000, "gopher_too_many_words", "gopher_long_doc",
          "more words, not counting those of punctuation alone"),
    _low("min_mean_word_length", "mean_word_length", 3, "gopher_mean_word_too_short", "gopher_below_avg_threshold",
         "words too short on average"),
    _high("max_mean_word_length", "mean_word_length", 10, "gopher_mean_word_too_long", "gopher_above_avg_threshold",
          "words too long on average"),
    _high("max_hash_ratio", "hash_ratio", 0.1, "gopher_too_many_hashes", "gopher_too_many_hashes",
          "too many hash signs per word"),
    _high("max_ellipsis_ratio", "ellipsis_ratio", 0.1, "gopher_too_many_ellipses", "gopher_too_many_ellipsis",
          "too many ellipses per word"),
    _high("max_bullet_line_ratio", "bullet_line_ratio", 0.9, "gopher_too_many_bullet_lines", "gopher_too_many_bullets",
          "almost all lines start with a bullet"),
    _high("max_ellipsis_line_ratio", "ellipsis_line_ratio", 0.3, "gopher_too_many_ellipsis_lines",
          "gopher_too_many_end_ellipsis", "too many lines end in an ellipsis"),
    _low("min_alpha_word_ratio", "alpha_word_ratio", 0.8, "gopher_too_few_alphabetic_words",
         "gopher_below_alpha_threshold", "too few words with a letter in them"),
    _low("min_stop_words", "n_stop_words", 2, "gopher_too_few_stop_words", "gopher_enough_stop_words",
         "too few different stop words of its language"),
)  # fmt: skip

GOPHER_REPETITION = (
    _low("min_chars", "n_chars", 1, "gopher_empty", "empty", "no text at all"),
    _high("max_dup_paragraph_fraction", "dup_paragraph_fraction", 0.3, "gopher_duplicate_paragraphs", "dup_para_frac",
          "too many of its paragraphs repeat an earlier one"),
    _high("max_dup_paragraph_char_fraction", "dup_paragraph_char_fraction", 0.2, "gopher_duplicate_paragraph_chars",
          "dup_para_char_frac", "too much of its text is in repeated paragraphs"),
    _high("max_dup_line_fraction", "dup_line_fraction", 0.3, "gopher_duplicate_lines", "dup_line_frac",
          "too many of its lines repeat an earlier one"),
    _high("max_dup_line_char_fraction", "dup_line_char_fraction", 0.2, "gopher_duplicate_line_chars",
          "dup_line_char_frac", "too much of its text is in repeated lines"),
    *(
        _high(f"max_top_{n}_gram", f"top_{n}_gram", bound, f"gopher_top_{n}_gram", f"top_{n}_gram",
              f"its most frequent {n} words in a row make up too much of the text")
        for n, bound in ((2, 0.20), (3, 0.18), (4, 0.16))
    ),
    *(
        _high(f"max_dup_{n}_gram", f"dup_{n}_gram", bound, f"gopher_duplicate_{n}_grams", f"duplicated_{n}_n_grams",
              f"too much of its text is in repeated runs of {n} words")
        for n, bound in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    ),
)  # fmt: skip

# Whichever of "{" and "lorem ipsum" comes first names the reason; hence three rules for two bounds.
C4 = (
    _high("curly_brace", "curly_brace_first", 0, "c4_curly_brace", "curly_bracket", "a curly bracket, as in code"),
    _high("lorem_ipsum", "has_lorem_ipsum", 0, "c4_lorem_ipsum", "lorem_ipsum", "placeholder text"),
    _high("curly_brace", "has_curly_brace", 0, "c4_curly_brace", "curly_bracket", "a curly bracket, as in code"),
    _low("min_sentences", "n_sentences", 5, "c4_too_few_sentences", "too_few_sentences", "too few sentences"),
)  # fmt: skip

FINEWEB = (
    _low("min_lines", "n_nonblank_lines", 1, "fineweb_empty", "empty", "no line with text"),
    _low("min_line_punct_ratio", "line_punct_ratio", 0.12, "fineweb_few_lines_end_a_sentence", "line_punct_ratio",
         "too few lines end in terminal punctuation"),
    _high("max_short_line_ratio", "short_line_ratio", 0.67, "fineweb_too_many_short_lines", "short_line_ratio",
          "too many short lines"),
    _high("max_dup_line_char_ratio", "char_dup_ratio", 0.01, "fineweb_duplicate_line_chars", "char_dup_ratio",
          "too much of its text is in repeated lines"),
    _high("max_newline_word_ratio", "newline_word_ratio", 0.3, "fineweb_list_like", "list_ratio",
          "too many lines for its words, as in lists"),
)  # fmt: skip

#: preset name → its rules, in the order in which they are evaluated.
PRESETS: dict[str, tuple[Rule, ...]] = {
    "gopher_quality": GOPHER_QUALITY,
    "gopher_repetition": GOPHER_REPETITION,
    "c4": C4,
    "fineweb": FINEWEB,
}


def datatrove_reasons() -> dict[str, str]:
    """Our reason code → the reason that datatrove 0.10.1 gives for the same verdict."""
    return {rule.reason: rule.datatrove for rules in PRESETS.values() for rule in rules}


def preset_rows() -> list[dict[str, str]]:
    """One row per rule, in order: preset, bound, column, passes, reason, datatrove's reason, meaning (all text)."""
    return [
        {
            "preset": preset,
            "bound": rule.name,
            "column": rule.column,
            "passes": f"≥ {rule.low:g}" if rule.low is not None else f"≤ {rule.high:g}",
            "reason": rule.reason,
            "datatrove": rule.datatrove,
            "fails": rule.doc,
        }
        for preset, rules in PRESETS.items()
        for rule in rules
    ]


def preset_table() -> str:
    """The presets as a Markdown table, for the documentation."""
    rows = preset_rows()
    head = "| preset | bound | column | passes | reason | in datatrove | a page that fails has |"
    cells = ("preset", "bound", "column", "passes", "reason", "datatrove", "fails")
    rule = "| " + " | ".join(["---"] * len(cells)) + " |"
    body = [
        "| " + " | ".join(row[c] if c in ("passes", "fails") else f"`{row[c]}`" for c in cells) + " |" for row in rows
    ]
    return "\n".join([head, rule, *body]) + "\n"
