"""Thresholds per language, as FineWeb2 published them, stop words of our own, and the names languages go by.

FineWeb2 (arXiv 2506.20920) runs the Gopher and FineWeb filters in every language with thresholds that were fitted to
that language; it turns three rules on duplicates and the one on short lines off, and does not apply C4's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

#: preset → bound → value; None is off.
Thresholds = Mapping[str, Mapping[str, float | None]]

#: Gopher's own stop words (arXiv 2112.11446, section A1.1).
ENGLISH_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, Any]]:
    raw = Path(__file__).with_name("fineweb2.json").read_text("utf-8")
    found: dict[str, dict[str, Any]] = json.loads(raw)["languages"]
    return found


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    """``deu_Latn`` and ``deu`` → ``de``, for the languages of the table."""
    aliases = {}
    for code, row in _table().items():
        aliases[row["from"]] = aliases[row["from"].split("_")[0]] = code
    return {**aliases, "eng": "en", "eng_Latn": "en"}


def language_key(code: str) -> str:
    """The code that the column ``language_code`` holds for a language named by ISO 639-1, 639-3 or as ``deu_Latn``."""
    return _aliases().get(code, code)


def stop_words() -> dict[str, tuple[str, ...]]:
    """Language code → its stop words: Gopher's for English, frequent function words for the others of the table."""
    return {"en": ENGLISH_STOP_WORDS, **{code: tuple(row["stop_words"]) for code, row in _table().items()}}


def fineweb2_languages() -> tuple[str, ...]:
    """Codes of the languages that have FineWeb2 thresholds here."""
    return tuple(_table())


#: Languages whose words FineWeb2 takes from an analyser that splits what stands between spaces: here words are longer
#: and fewer, so that bounds on words and per word do not apply.
_ANALYSED = frozenset({"ko"})


@lru_cache(maxsize=128)
def fineweb2_thresholds(language: str) -> Thresholds:
    """FineWeb2's bounds for ``language``; empty if it has none here (English, for one, which FineWeb covers)."""
    row = _table().get(language)
    if row is None:
        return {}
    off = ("max_dup_paragraph_fraction", "max_dup_paragraph_char_fraction", "max_dup_line_char_fraction")
    shortest, longest = row["mean_word"]
    analysed = language in _ANALYSED
    return {
        "gopher_quality": {
            "min_mean_word_length": None if analysed else shortest,
            "max_mean_word_length": None if analysed else longest,
            "min_alpha_word_ratio": None if analysed else row["alpha_word"],
        },
        "gopher_repetition": {
            **dict.fromkeys(off),
            "max_dup_line_fraction": row["dup_line"],
            **{f"max_top_{n}_gram": v for n, v in zip((2, 3, 4), row["top_grams"], strict=True)},
            **{f"max_dup_{n}_gram": v for n, v in zip(range(5, 11), row["dup_grams"], strict=True)},
        },
        "fineweb": {
            "min_line_punct_ratio": row["line_punct"],
            "max_short_line_ratio": None,
            "max_dup_line_char_ratio": 0.1,
            **({} if analysed else {"max_newline_word_ratio": row["newline_word"]}),
        },
    }
