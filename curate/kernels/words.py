"""Words of a whole batch of documents, as byte spans and arrays about them; no Python string per word.

``WordSplitter`` gives the words that datatrove's English word tokenizer gives (spaCy's blank "en" without its
whitespace tokens). ``SimpleWords`` gives runs of ``\\w``, for other languages and for shingles. Both return ``Words``.

A chunk between whitespace is split once and then looked up: the table maps it to its tokens, is bounded, and changes
nothing but the time. Exceptions that span several tokens are applied to the whole document afterwards, as in spaCy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels import words_batch as batch
from curate.kernels import words_simple as simple
from curate.kernels.strings import Bytes, Offsets
from curate.kernels.words_data import STOP_WORDS_MOST, english_tables
from curate.kernels.words_english import ALPHABETIC, ENDS_SENTENCE, NON_SYMBOL, PUNCTUATION
from curate.kernels.words_rules import english_rules, neutral_rules
from curate.kernels.words_table import copy_entries

__all__ = ["ALPHABETIC", "ENDS_SENTENCE", "NON_SYMBOL", "PUNCTUATION", "SimpleWords", "WordSplitter", "Words"]

_FIRST_TABLE = 1 << 13
_POOL_PER_ENTRY = 3
"""Token rows kept per table entry before the table is dropped; English chunks have 1.4 tokens on average."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a batch; word ``t`` of document ``d`` has ``documents[d] <= t < documents[d + 1]``.

    Attributes:
        data: UTF-8 bytes of the texts.
        starts, ends: int64, byte span of each word in ``data``; spans do not overlap, and ascend.
        documents: int64, one more than there are documents.
        n_chars: int32, code points of each word.
        flags: uint8, sum of NON_SYMBOL (has a character outside datatrove's PUNCTUATION_SET), ALPHABETIC (has a letter
            as ``str.isalpha`` has it), ENDS_SENTENCE (is one of spaCy's sentence-final signs), PUNCTUATION (only
            characters of Unicode category P).
        hashes: uint64, ``hashing.polynomial`` of the word's bytes (below 2^61 - 1).
        stop_words: uint8, 1 + place in the splitter's stop word list, 0 for all other words.
        text_chars: int64 per document, code points of the whole text, whitespace included.
    """

    data: Bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    documents: Offsets
    n_chars: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint64]
    stop_words: npt.NDArray[np.uint8]
    text_chars: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def texts(self, document: int) -> list[str]:
        """The words of one document as strings: for tests and for showing, not for inner loops."""
        raw = self.data.tobytes() if len(self.documents) == 2 else self.data
        span = slice(self.documents[document], self.documents[document + 1])
        pairs = zip(self.starts[span].tolist(), self.ends[span].tolist(), strict=True)
        return [bytes(raw[a:b]).decode("utf-8") for a, b in pairs]


def _checked(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    data, offsets = np.ascontiguousarray(data, np.uint8), np.ascontiguousarray(offsets, np.int64)
    if len(offsets) == 0:
        raise ValueError("offsets is empty: it needs one entry more than there are documents")
    if offsets[0] < 0 or offsets[-1] > len(data) or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must ascend from 0 to at most {len(data)}, the number of bytes")
    # compiled kernels have one specialisation, for read-only bytes: a view of an Arrow buffer is one
    data = data.view()
    data.flags.writeable = False
    return data, offsets


class _Out:
    """Growing output arrays of one call."""

    def __init__(self, n_bytes: int, n_documents: int) -> None:
        room = n_bytes // 4 + 64
        self.starts = np.empty(room, np.int64)
        self.ends = np.empty(room, np.int64)
        self.rows = np.empty((room, 2), np.uint64)
        self.links = np.empty(room, np.int64)
        self.documents = np.zeros(n_documents + 1, np.int64)

    def grow(self, used: int, least: int) -> None:
        room = max(2 * len(self.starts), least)
        for name in ("starts", "ends", "rows", "links"):
            old = getattr(self, name)
            new = np.empty((room, *old.shape[1:]), old.dtype)
            new[:used] = old[:used]
            setattr(self, name, new)

    def words(self, data: Bytes, offsets: Offsets) -> Words:
        n = int(self.documents[-1])
        n_chars, flags = np.empty(n, np.int32), np.empty(n, np.uint8)
        stop_words, hashes = np.empty(n, np.uint8), np.empty(n, np.uint64)
        batch.columns(self.rows[:n], n_chars, flags, stop_words, hashes)
        text_chars = np.empty(len(offsets) - 1, np.int64)
        batch.code_points(data, offsets, text_chars)
        starts, ends = self.starts[:n].copy(), self.ends[:n].copy()
        return Words(data, starts, ends, self.documents, n_chars, flags, hashes, stop_words, text_chars)


class WordSplitter:
    """English words exactly as datatrove 0.10.1 has them (spaCy 3.8, blank "en"), without spaCy.

    One known difference: spaCy cannot tell the word ``IS_ALPHA`` from an internal symbol; datatrove drops it or not,
    depending on what it has seen before. Here it is a word like any other.

    One splitter serves one thread at a time; it carries nothing but the table from call to call.

    Args:
        language: ``"en"``, or ``"xx"``: the same affixes and infixes without English exceptions, for languages that
            put spaces between words. That is spaCy's language-neutral tokenizer but for a handful of exceptions.
        table_limit: chunks kept before the table is dropped and filled anew; 0 keeps none. 100 to 200 bytes each.
        stop_words: at most 255 words, compared exactly; default: Gopher's eight.

    Raises:
        ValueError: unknown language, negative limit, or too many stop words.
    """

    def __init__(
        self, language: str = "en", table_limit: int = 1 << 19, stop_words: Sequence[str] | None = None
    ) -> None:
        if language not in ("en", "xx"):
            raise ValueError(f"WordSplitter has rules for 'en' and 'xx' only, not for {language!r}: use SimpleWords")
        if table_limit < 0:
            raise ValueError(f"table_limit is {table_limit}: give the number of chunks to keep, 0 for none")
        self._rules = english_rules() if language == "en" else neutral_rules()
        self.stop_words = tuple(self._rules.stop_words if stop_words is None else stop_words)
        if len(self.stop_words) > STOP_WORDS_MOST:
            raise ValueError(f"{len(self.stop_words)} stop words: at most {STOP_WORDS_MOST} are counted apart")
        self._limit = table_limit
        self._compiled, self._trie = english_tables(self.stop_words, language == "xx")
        self._state = np.zeros(8, np.int64)
        self._state[batch.LIMIT] = max(1, table_limit)
        self._scratch = np.empty((3, 1 << 10), np.int64)
        self._forget()

    @property
    def version(self) -> str:
        """Where the rules come from; part of a stage's fingerprint."""
        return self._rules.version

    @property
    def table_entries(self) -> int:
        """Chunks in the table now."""
        return int(self._state[batch.ENTRIES])

    def _forget(self) -> None:
        self._table = np.zeros((_FIRST_TABLE if self._limit else 16, 4), np.uint64)
        self._pool = np.empty((_FIRST_TABLE, 3), np.uint64)
        self._state[batch.ENTRIES] = self._state[batch.POOL] = 0

    def split(self, data: Bytes, offsets: Offsets) -> Words:
        """Words of all documents; text ``d`` is ``data[offsets[d]:offsets[d + 1]]``, valid UTF-8.

        Raises:
            ValueError: offsets that do not ascend or that leave ``data``.
        """
        data, offsets = _checked(data, offsets)
        out = _Out(int(offsets[-1] - offsets[0]), len(offsets) - 1)
        state = self._state
        state[batch.DOCUMENT], state[batch.POSITION], state[batch.TOKENS] = 0, -1, 0
        while code := self._go_on(data, offsets, out):
            length = int(state[batch.CHUNK_END] - state[batch.CHUNK_START])
            if code == batch.MORE_OUTPUT:
                out.grow(int(state[batch.TOKENS]), int(2 * state[batch.TOKENS]) + length + 64)
            elif code == batch.MORE_SCRATCH:
                self._scratch = np.empty((3, 2 * length + 2), np.int64)
            elif code == batch.ASK_PYTHON:
                self._ask(data, int(state[batch.CHUNK_START]), int(state[batch.CHUNK_END]))
            else:
                self._make_room(length)
        return out.words(data, offsets)

    def _go_on(self, data: Bytes, offsets: Offsets, out: _Out) -> int:
        code: int = batch.split_batch(
            data,
            offsets,
            self._state,
            self._table,
            self._pool,
            self._scratch,
            self._compiled,
            self._trie,
            out.starts,
            out.ends,
            out.rows,
            out.links,
            out.documents,
        )
        return code

    def _make_room(self, length: int) -> None:
        """Grows what is full, or drops everything once the limit is reached."""
        entries, pool = int(self._state[batch.ENTRIES]), int(self._state[batch.POOL])
        if entries >= max(1, self._limit) or pool >= _POOL_PER_ENTRY * self._limit + _FIRST_TABLE:
            self._forget()
            pool = 0
        elif entries * 2 >= len(self._table):
            bigger = np.zeros((2 * len(self._table), 4), np.uint64)
            copy_entries(self._table, bigger)
            self._table = bigger
        if len(self._pool) - pool < length:
            bigger = np.empty((max(2 * len(self._pool), pool + 2 * length), 3), np.uint64)
            bigger[:pool] = self._pool[:pool]
            self._pool = bigger

    def _ask(self, data: Bytes, start: int, end: int) -> None:
        """One chunk by the rules' own patterns."""
        words = self._rules.chunk(bytes(data[start:end]).decode("utf-8"))
        ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        batch.add_answer(data, start, end, ends, self._state, self._table, self._pool, self._scratch, self._compiled)


class SimpleWords:
    """Words as Python's ``re.findall(r"\\w+", text)`` finds them: letters, digits and ``_`` of any script.

    Works on code points as they are; texts in different normal forms can give different words.

    Args:
        stop_words: at most 255 words, compared exactly; none by default.
    """

    def __init__(self, stop_words: Sequence[str] = ()) -> None:
        self.stop_words = tuple(stop_words)
        if len(self.stop_words) > STOP_WORDS_MOST:
            raise ValueError(f"{len(self.stop_words)} stop words: at most {STOP_WORDS_MOST} are counted apart")
        self._compiled: Any = simple.simple_tables(self.stop_words)

    def split(self, data: Bytes, offsets: Offsets) -> Words:
        """Words of all documents; see ``WordSplitter.split``."""
        data, offsets = _checked(data, offsets)
        out = _Out(0, len(offsets) - 1)
        simple.count_words(data, offsets, self._compiled[0], self._compiled[1], out.documents)
        out.grow(0, int(out.documents[-1]))
        simple.split_simple(data, offsets, self._compiled, out.documents, out.starts, out.ends, out.rows)
        return out.words(data, offsets)
