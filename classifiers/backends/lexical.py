"""Raters by rule: RedPajama's signals that Meta-rater combines, readability formulas, compression; no model, no files.

A card takes any of the scores below by their names, in its own order.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from classifiers.cards import Card
from classifiers.contract import Backend, Texts
from classifiers.windows import excerpts
from curate.errors import ConfigError
from curate.stages.base import Context

Floats = npt.NDArray[np.float64]
Counts = Mapping[str, Floats]


class Options(BaseModel):
    """What the card says of the scores: nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lexical(Backend):
    """All labels of a card from counts that are taken once per batch, whatever cards ask for them.

    A text without words has no score but those that need none: null, with the status ``too_short``.
    """

    version: ClassVar[int] = 1
    compiles: ClassVar[bool] = True
    holds_model: ClassVar[bool] = False

    def __init__(self, card: Card) -> None:
        Options.model_validate(card.options)
        unknown = [label.name for label in card.labels if label.name not in SCORES]
        if unknown:
            raise ConfigError(f"card {card.name}: there is no score {unknown[0]}; there are: {', '.join(SCORES)}")
        self._card = card

    def open(self, context: Context) -> None:
        """Loads nothing."""

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        read = _Read(texts, self._card)
        found = {label.name: SCORES[label.name](read) for label in self._card.labels}
        silent = np.zeros(len(texts), np.bool_)
        for values in found.values():
            silent |= ~np.isfinite(values)
        status = pa.array(["too_short" if none else None for none in silent.tolist()], pa.string())
        return {**{name: pa.array(values) for name, values in found.items()}, "status": status}


class _Read:
    """What a card reads of the texts, and its counts; kept beside the texts for other cards of the same window."""

    def __init__(self, texts: Texts, card: Card) -> None:
        self._texts, self._window = texts, card.window

    def _kept(self, what: str, make: Callable[[], Any]) -> Any:
        key = ("lexical", what, self._window.model_dump_json())
        if key not in self._texts.shared:
            self._texts.shared[key] = make()
        return self._texts.shared[key]

    def _said(self) -> Texts:
        found: Texts = self._kept("texts", lambda: Texts.of(excerpts(self._texts, self._window)))
        return found

    @property
    def raw(self) -> Counts:
        """Counts of the texts as they are."""
        from curate.kernels.rule_scores import raw_counts

        found: Counts = self._kept("raw", lambda: raw_counts(self._said().data, self._said().offsets))
        return found

    @property
    def normalised(self) -> Counts:
        """Counts of the texts after normalisation."""
        from curate.kernels.rule_scores import normalised_counts

        found: Counts = self._kept("normalised", lambda: normalised_counts(self._said().strings()))
        return found

    def compression(self) -> Floats:
        """Bytes of each text by bytes after zlib, level 6."""
        said = self._said()
        whole, ends = memoryview(said.data.tobytes()), said.offsets.tolist()
        sizes = [len(zlib.compress(whole[a:b], 6)) if b > a else 0 for a, b in pairwise(ends)]
        return _share(np.diff(said.offsets), np.array(sizes, np.float64))


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any], times: float = 1.0) -> Floats:
    """``times * part / whole``; NaN where there is nothing to divide by."""
    out = np.full(len(whole), np.nan)
    np.divide(times * part, whole, out=out, where=whole > 0)
    return out


def _of_words(values: Floats, counts: Counts) -> Floats:
    """The values where there are normalised words, else NaN."""
    return np.where(counts["normalised_words"] > 0, values, np.nan)


def _formula(per_sentence: float, per_word: float, letters: float, constant: float) -> Callable[[_Read], Floats]:
    """A readability formula: words per sentence, syllables per word, letters per word, each times its factor."""

    def score(read: _Read) -> Floats:
        c = read.raw
        words = c["words"]
        long = per_sentence * _share(words, c["sentences"])
        return long + _share(per_word * c["syllables"] + letters * c["letters"], words) + constant

    return score


def _smog(read: _Read) -> Floats:
    c = read.raw
    return 1.0430 * np.sqrt(_share(c["long_words"], c["sentences"], 30.0)) + 3.1291


def _gunning_fog(read: _Read) -> Floats:
    c = read.raw
    return 0.4 * (_share(c["words"], c["sentences"]) + _share(c["long_words"], c["words"], 100.0))


def _coleman_liau(read: _Read) -> Floats:
    c = read.raw
    return 0.0588 * _share(c["letters"], c["words"], 100.0) - 0.296 * _share(c["sentences"], c["words"], 100.0) - 15.8


#: name → how it is computed; shares of the rules are in percent, as Meta-rater stores them
SCORES: Mapping[str, Callable[[_Read], Floats]] = {
    "rps_doc_word_count": lambda r: _of_words(r.normalised["normalised_words"], r.normalised),
    "rps_doc_num_sentences": lambda r: _of_words(r.raw["rule_sentences"], r.normalised),
    "rps_doc_unigram_entropy": lambda r: _of_words(r.normalised["entropy"], r.normalised),
    "rps_doc_frac_unique_words": lambda r: _share(
        r.normalised["distinct_words"], r.normalised["normalised_words"], 100.0
    ),
    "rps_doc_frac_no_alph_words": lambda r: _share(
        r.raw["raw_words"] - r.raw["alphabetic_words"], r.raw["raw_words"], 100.0
    ),
    "rps_doc_frac_chars_top_2gram": lambda r: _share(
        r.normalised["top_2_chars"], r.normalised["normalised_chars"], 100.0
    ),
    "rps_doc_frac_chars_top_3gram": lambda r: _share(
        r.normalised["top_3_chars"], r.normalised["normalised_chars"], 100.0
    ),
    "rps_lines_uppercase_letter_fraction": lambda r: _share(r.raw["uppercase_fractions"], r.raw["lines"], 100.0),
    "rps_lines_ending_with_terminal_punctution_mark": lambda r: _share(r.raw["terminal_lines"], r.raw["lines"], 100.0),
    "rps_lines_numerical_chars_fraction": lambda r: _share(r.normalised["numerical_fractions"], r.raw["lines"], 100.0),
    "rps_doc_mean_word_length": lambda r: _share(r.normalised["normalised_chars"], r.normalised["normalised_words"]),
    "flesch_ease": _formula(-1.015, -84.6, 0.0, 206.835),
    "flesch_kincaid_grade": _formula(0.39, 11.8, 0.0, -15.59),
    "automated_readability": _formula(0.5, 0.0, 4.71, -21.43),
    "smog": _smog,
    "gunning_fog": _gunning_fog,
    "coleman_liau": _coleman_liau,
    "compression_ratio": lambda r: r.compression(),
}
