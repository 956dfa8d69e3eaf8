"""Texts → inputs of an encoder: tokens within the card's window, and the special tokens around them.

Raters of one pass that read the same tokens (same tokeniser, same window) share them through ``Texts.shared``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xxhash

from classifiers.backends.encoder_options import Ends, Options
from classifiers.windows import Pieces, pieces
from curate.errors import ModelError

if TYPE_CHECKING:
    from classifiers.cards import Window
    from classifiers.texts import Texts

__all__ = ["Inputs", "Tokens", "open_tokens"]

#: characters looked at per token that a head needs, at first
_CHARACTERS = 8
#: tokens before the place where a text was cut that may differ from those of the whole text
_MARGIN = 16
#: texts in one call of the tokeniser, so that the encodings of few are held at a time
_CALL = 256


@dataclass(frozen=True)
class Inputs:
    """What the model reads.

    Attributes:
        ids: tokens of each input, special ones included.
        parts: which document each input is of, and what it counts.
    """

    ids: list[npt.NDArray[np.int32]]
    parts: Pieces


class Tokens:
    """A tokeniser with the window of a card.

    Attributes:
        key: names tokeniser and window fully: what has the same key gives the same inputs.
        most: tokens of the longest input.
    """

    def __init__(self, tokenizer: Any, window: Window, options: Options) -> None:
        self._tokenizer, self._window, self._options = tokenizer, window, options
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._before, self._after = _around(tokenizer) if options.special else ([], [])
        self._between = tokenizer.encode(options.between, add_special_tokens=False).ids if options.between else []
        said = (window.model_dump(), options.special, options.characters, options.ends, options.between)
        self.key = xxhash.xxh3_128_hexdigest(f"{said}\0{tokenizer.to_str()}".encode())
        content = options.ends.tokens if options.ends else window.chunk or window.head + window.middle + window.tail
        joints = sum(size > 0 for size in (window.middle, window.tail)) * len(self._between)
        self.most = content + joints + len(self._before) + len(self._after)

    def inputs(self, texts: Texts) -> Inputs:
        """The inputs of these texts, in their order; a text without a token has none."""
        key = ("encoder inputs", self.key)
        if key not in texts.shared:
            texts.shared[key] = self._inputs(texts)
        return texts.shared[key]  # type: ignore[no-any-return]

    def _inputs(self, texts: Texts) -> Inputs:
        strings = texts.strings()
        if self._options.ends is not None:
            return self._of_ends(strings, self._options.ends)
        if self._options.characters:
            strings = [text[: self._options.characters] for text in strings]
        tokens = self._head_tokens(strings) if self._window.policy == "head" else self._tokens(strings)
        parts = pieces([len(t) for t in tokens], self._window, texts.ids)
        rows = zip(parts.document.tolist(), parts.start.tolist(), parts.end.tolist(), strict=True)
        cuts = [tokens[d][s:e] for d, s, e in rows]
        if self._window.policy in ("chunk_mean", "chunk_max"):
            return Inputs([self._framed(cut) for cut in cuts], parts)
        return self._joined(parts, cuts)

    def _tokens(self, strings: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        found: list[npt.NDArray[np.int32]] = []
        for at in range(0, len(strings), _CALL):
            encoded = self._tokenizer.encode_batch_fast(list(strings[at : at + _CALL]), add_special_tokens=False)
            found.extend(np.array(e.ids, np.int32) for e in encoded)
        return found

    def _head_tokens(self, strings: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Tokens of each text, at least the first that the window needs, without those of a long rest.

        A text is cut at whitespace; the last tokens before the cut are not trusted, and where too few are left the
        text is read twice as far.
        """
        need = self._window.head
        found: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)] * len(strings)
        open_, far = list(range(len(strings))), need * _CHARACTERS
        while open_:
            starts = [_start(strings[i], far) for i in open_]
            tokens = self._tokens(starts)
            left = []
            for i, start, got in zip(open_, starts, tokens, strict=True):
                if len(start) == len(strings[i]) or len(got) >= need + _MARGIN:
                    found[i] = got[:need]
                else:
                    left.append(i)
            open_, far = left, far * 2
        return found

    def _joined(self, parts: Pieces, cuts: list[npt.NDArray[np.int32]]) -> Inputs:
        """One input per document: its pieces, joined."""
        between = np.array(self._between, np.int32)
        documents, first = np.unique(parts.document, return_index=True)
        bounds = [*first.tolist(), len(cuts)]
        ids = []
        for start, end in pairwise(bounds):
            chain = [cuts[start]]
            for cut in cuts[start + 1 : end]:
                chain += [between, cut]
            ids.append(self._framed(np.concatenate(chain) if len(chain) > 1 else chain[0]))
        zero = np.zeros(len(documents), np.int64)
        length = np.array([len(i) for i in ids], np.int64)
        return Inputs(ids, Pieces(documents, zero, length, np.ones(len(documents))))

    def _of_ends(self, strings: Sequence[str], ends: Ends) -> Inputs:
        """FinePDFs-Edu's pieces: cut by tokens, trimmed to whitespace, tokenised again."""
        said: list[str] = []
        document: list[int] = []
        for i, text in enumerate(strings):
            long = len(text) > 2 * ends.characters
            for last in (False, True) if long else (False,):
                piece = self._end(text[-ends.characters :] if last else text[: ends.characters], ends.tokens, last=last)
                if piece:
                    said.append(piece)
                    document.append(i)
        tokens = [t[: ends.tokens] for t in self._tokens(said)]
        keep = [k for k, t in enumerate(tokens) if len(t)]
        of = np.array([document[k] for k in keep], np.int64)
        length = np.array([len(tokens[k]) for k in keep], np.int64)
        parts = Pieces(of, np.zeros_like(length), length, length.astype(np.float64))
        return Inputs([self._framed(tokens[k]) for k in keep], parts)

    def _end(self, text: str, most: int, *, last: bool) -> str:
        """The first (or last) ``most`` tokens of a text, less the word at the cut; the authors cut in any case."""
        spans = self._tokenizer.encode(text, add_special_tokens=False).offsets
        if last:
            text = text[spans[-most][0] :] if len(spans) > most else text
            at = next((k for k, sign in enumerate(text) if sign.isspace()), None)
            return text[at + 1 :] if at is not None else text[10:]
        text = text[: spans[most - 1][1]] if len(spans) > most else text
        at = next((k for k in range(len(text) - 1, -1, -1) if text[k].isspace()), None)
        return text[:at] if at is not None else text[:-10]

    def _framed(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        return np.concatenate([self._before, ids, self._after]).astype(np.int32)


def open_tokens(folder: Path, window: Window, options: Options) -> Tokens:
    """The tokeniser of a model's folder: its ``tokenizer.json``, or what transformers makes of an older vocabulary.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    path = folder / "tokenizer.json"
    try:
        if path.is_file():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(path))
        else:
            from transformers import AutoTokenizer  # type: ignore[import-not-found,unused-ignore]

            made: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            tokenizer = made.backend_tokenizer
    except Exception as error:  # noqa: BLE001 -- the tokenizers library raises plain Exception
        raise ModelError(
            f"{folder}: model refused: its tokeniser cannot be read ({type(error).__name__}); fetch tokenizer.json"
        ) from None
    return Tokens(tokenizer, window, options)


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Special tokens before and after a text."""
    plain, whole = (tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
    for at in range(len(whole) - len(plain) + 1):
        if whole[at : at + len(plain)] == plain:
            return whole[:at], whole[at + len(plain) :]
    raise ModelError("the tokeniser changes a text when it adds its special tokens; it is none that can be read here")


def _start(text: str, most: int) -> str:
    """The text up to the last whitespace before ``most``; all of it if it is not longer or has no whitespace there."""
    if len(text) <= most:
        return text
    for at in range(most, max(0, most - 200), -1):
        if text[at].isspace():
            return text[:at]
    return text
