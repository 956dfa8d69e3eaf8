"""Cutting a text to a number of tokens of a model: exactly with its tokenizer, by bytes without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import ConfigError

__all__ = ["Trimmer"]

#: bytes that count as a token where there is no tokenizer
_BYTES_PER_TOKEN = 4


class Trimmer:
    """Takes the two ends of a text.

    Args:
        tokenizer: a ``tokenizer.json``, or a folder with one; null: a token is taken to be four bytes, so that texts
            are cut elsewhere than the model's authors cut them.
    """

    def __init__(self, tokenizer: Path | None = None) -> None:
        self._tokenizer: Any = None
        if tokenizer is not None:
            from tokenizers import Tokenizer

            file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
            if not file.is_file():
                raise ConfigError(f"tokenizer: {file} is not there; name the model's tokenizer.json, or leave it out")
            self._tokenizer = Tokenizer.from_file(str(file))
            self._tokenizer.no_truncation()

    def ends(self, parts: Sequence[str], most: int, mark: str = "...") -> tuple[str, bool]:
        """The parts joined, or the first and last ``most // 2`` tokens around ``mark``; and whether it was cut.

        Each part is tokenised for itself. A cut falls between characters.
        """
        half = most // 2
        if self._tokenizer is None:
            return _ends_by_bytes("".join(parts), most * _BYTES_PER_TOKEN, half * _BYTES_PER_TOKEN, mark)
        found = self._tokenizer.encode_batch(list(parts), add_special_tokens=False)
        whole, spans, begin = "".join(parts), [], 0
        for part, encoding in zip(parts, found, strict=True):
            spans += [(begin + a, begin + b) for a, b in encoding.offsets]
            begin += len(part)
        if len(spans) <= most:
            return whole, False
        return whole[: spans[half - 1][1]] + mark + whole[spans[-half][0] :], True

    def excerpt(self, text: str, most: int, draw: int) -> tuple[str, bool]:
        """``most`` tokens in a row, and whether the text was cut.

        Args:
            draw: 64 bits that choose the place; 0 takes the beginning.
        """
        if self._tokenizer is None:
            raw = text.encode("utf-8", "replace")
            size = most * _BYTES_PER_TOKEN
            if len(raw) <= size:
                return text, False
            start = draw * (len(raw) - size + 1) >> 64
            return raw[start : start + size].decode("utf-8", "ignore"), True
        spans = self._tokenizer.encode(text, add_special_tokens=False).offsets
        if len(spans) <= most:
            return text, False
        start = draw * (len(spans) - most + 1) >> 64
        return text[spans[start][0] : spans[start + most - 1][1]], True

    def count(self, text: str) -> int:
        """Tokens of a text."""
        if self._tokenizer is None:
            return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _ends_by_bytes(text: str, most: int, half: int, mark: str) -> tuple[str, bool]:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return text, False
    return raw[:half].decode("utf-8", "ignore") + mark + raw[-half:].decode("utf-8", "ignore"), True
