"""Every statistic that the rule presets compare, as label columns, computed once over the batch in compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.documents import Batch
from curate.kernels.strings import Bytes, Offsets, string_buffers
from curate.stages.base import Context, Stage, StageConfig
from curate.stages.rules.languages import language_key, stop_words
from curate.stages.rules.statistics import GROUPS, STATISTICS, Group

if TYPE_CHECKING:
    from curate.kernels.words import Words, WordSplitter

Values = dict[str, npt.NDArray[Any]]
CutEnds = tuple[npt.NDArray[Any], npt.NDArray[Any]]

#: Languages written without spaces between words: without a segmenter they have no words here.
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo", "dz", "yue", "wuu"})
#: Languages whose published stop words are parts of what stands between spaces.
_PARTS_OF_WORDS = frozenset({"ko"})
_ENGLISH = "en"
#: Chunks that the splitter of one language of many keeps; a hundred bytes each, and a batch may have forty languages.
_KEPT_CHUNKS = 1 << 15


class TextStatsConfig(StageConfig):
    """What to compute, and for which language."""

    groups: tuple[Group, ...] = Field(GROUPS, min_length=1, description="presets whose statistics are computed")
    language: str = Field(
        "en",
        min_length=2,
        description="language of all documents, or `column`: each by its language_code. Decides words and stop words",
    )
    stop_words: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="language → stop words instead of those that come with the rules"
    )
    short_line_chars: int = Field(30, ge=0, description="longest line that counts as short, in characters")
    prefix: str = Field(
        "text_stats", pattern=r"^[a-z][a-z0-9_]*$", description="what column names start with, if the stage runs twice"
    )


class TextStats(Stage):
    """Adds one column per statistic; changes no text and drops nothing.

    Values are those of datatrove 0.10.1's filters with early exit switched off, to the last bit, for English. English
    words are spaCy's. Other languages have the words of spaCy's language-neutral rules, on which FineWeb2's bounds
    were fitted for most of them (it adds a few exceptions per language); they have stop words where the rules bring
    some. Korean words stand between spaces, while FineWeb2's stop words are parts of words: that count is null.
    Languages written without spaces have no words here: what needs words is null, and null never fails a rule; their
    lines, repeated lines and sentences are counted like those of others.
    """

    name = "text_stats"
    follows = "the filters of datatrove 0.10.1: Gopher (arXiv 2112.11446), C4 (JMLR 21/140), FineWeb (arXiv 2406.17557)"
    Config = TextStatsConfig
    reasons: ClassVar = {}

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        settings: Any = self.config
        self._groups = frozenset(settings.groups)
        self._by_column = settings.language == "column"
        published = {code: words for code, words in stop_words().items() if code not in _PARTS_OF_WORDS}
        self._stop_words = {**published, **{language_key(k): v for k, v in settings.stop_words.items()}}
        self._splitters: dict[str, WordSplitter] = {}
        if self._by_column:
            self.requires = ("text", "language_code")  # type: ignore[misc]

    def adds(self) -> pa.Schema:
        """The statistics of the chosen groups."""
        return pa.schema([s.field(self._settings.prefix) for s in STATISTICS if self._groups & s.groups])

    def open(self, context: Context) -> None:
        """Loads the compiled kernels and the rules of the words."""
        if not self._by_column:
            self._splitter(language_key(self._settings.language))

    def close(self) -> None:
        """Forgets the words seen."""
        self._splitters.clear()

    def process(self, batch: Batch) -> Batch:
        """The batch with its statistics."""
        text = batch.column("text")
        values = self._line_values(*string_buffers(text))
        cut = _cut_ends(batch)
        for language, rows in self._languages(batch):
            part = text if rows is None else text.take(pa.array(rows))
            ends = cut if rows is None or cut is None else (cut[0][rows], cut[1][rows])
            for name, found in self._word_values(language, part, ends).items():
                if rows is None:
                    values[name] = found
                    continue
                values.setdefault(name, np.full(len(batch), np.nan))[rows] = found
        _ratios(values)
        skip = len(self._settings.prefix) + 1
        return batch.with_columns({field: _column(field.type, values, field.name[skip:]) for field in self.adds()})

    @property
    def _settings(self) -> Any:
        return self.config

    def _splitter(self, language: str) -> WordSplitter:
        """The splitter of a language, kept with its table of words."""
        if language not in self._splitters:
            from curate.kernels.words import WordSplitter

            known = self._stop_words.get(language, ())
            rules = _ENGLISH if language == _ENGLISH else "xx"
            more = {"table_limit": _KEPT_CHUNKS} if self._by_column and language != _ENGLISH else {}
            self._splitters[language] = WordSplitter(rules, stop_words=known, **more)
        return self._splitters[language]

    def _languages(self, batch: Batch) -> Iterator[tuple[str, npt.NDArray[np.int64] | None]]:
        """Languages of the batch and their rows; None stands for all rows."""
        if not self._by_column:
            yield language_key(self._settings.language), None
            return
        encoded = pc.dictionary_encode(batch.column("language_code").fill_null(""))
        places = encoded.indices.to_numpy(zero_copy_only=False)
        for place, code in enumerate(encoded.dictionary.to_pylist()):
            yield language_key(code), np.flatnonzero(places == place)

    def _line_values(self, data: Bytes, offsets: Offsets) -> Values:
        """What needs no words."""
        from curate.kernels.lines import line_counts
        from curate.kernels.phrases import page_marks

        values: Values = dict(line_counts(data, offsets, short_line_chars=self._settings.short_line_chars))
        values["chars_no_newline"] = values["chars"] - values["newlines"]
        if "c4" in self._groups:
            values.update(page_marks(data, offsets))
        return values

    def _word_values(self, language: str, text: pa.Array, cut: CutEnds | None) -> Values:
        """What needs words; nothing where the language has none here."""
        from curate.kernels import ngrams
        from curate.kernels.sentences import sentences, simple_sentences

        data, offsets = string_buffers(text)
        values: Values = {}
        words = None if language in _UNSPACED else self._splitter(language).split(data, offsets)
        if "c4" in self._groups:
            if words is not None and language == _ENGLISH:
                n = sentences(words, offsets, cut_ends=None if cut is None else cut[1])
            else:
                n = simple_sentences(data, offsets)
            values["n_sentences"] = n if cut is None else n + cut[0]
        if words is None:
            return values
        if self._groups & {"gopher_quality", "fineweb"}:
            values.update(self._counts(language, words))
        if "gopher_repetition" in self._groups:
            for name, value in ngrams.repetition(words).items():
                values[name.replace("duplicated", "dup").replace("grams", "gram")] = value
        return values

    def _counts(self, language: str, words: Words) -> Values:
        """Word counts; no count of stop words where none are known."""
        from curate.kernels.ngrams import counts

        values: Values = dict(counts(words))
        if not self._stop_words.get(language):
            values["n_stop_words"] = np.full(len(words.documents) - 1, np.nan)
        return values


def _cut_ends(batch: Batch) -> CutEnds | None:
    """What ``line_cleaning`` stripped off the ends although C4 counts it; None if that stage did not run."""
    names = ("line_cleaning_blank_ends", "line_cleaning_end_space")
    if not set(names) <= set(batch.schema.names):
        return None
    blank, space = (batch.column(name).to_numpy(zero_copy_only=False) for name in names)
    return blank, space


def _ratios(values: Values) -> None:
    """Adds every share, NaN where the divisor is 0 or unknown."""
    none = np.full(len(values["chars"]), np.nan)
    for statistic in STATISTICS:
        if statistic.ratio is not None:
            above, below = (values.get(name, none) for name in statistic.ratio)
            found = np.full(len(none), np.nan)
            np.divide(above, below, out=found, where=below > 0)
            values[statistic.name] = found
        elif statistic.source:
            values[statistic.name] = values.get(statistic.source, none)


def _column(type_: pa.DataType, values: Values, name: str) -> pa.Array:
    """One statistic as a column of its type; NaN becomes null."""
    value = values.get(name)
    if value is None:
        value = np.full(len(values["chars"]), np.nan)
    null = np.isnan(value)
    if pa.types.is_floating(type_):
        return pa.array(value.astype(np.float64), type_, mask=null)
    whole = np.where(null, 0, value)
    kind: Any = np.bool_ if pa.types.is_boolean(type_) else np.int64
    return pa.array(whole.astype(kind), mask=null).cast(type_)
