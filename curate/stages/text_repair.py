"""Text with broken encoding repaired by ftfy (``â€™`` becomes ``’``), an extra: ``pip install 'curate[repair]'``.

Settings are ftfy's own, with defaults for training data: what was damaged is repaired, what is merely unusual
(ligatures, curly quotation marks, full-width letters) stays, as in datatrove's FTFYFormatter. Text that ftfy cannot
change is recognised without calling it.

Runs of more than 32 combining marks are cut before ftfy sees them: bringing a run into canonical order takes time with
the square of its length, and no language stacks that many.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate.documents import Batch, column
from curate.errors import ConfigError
from curate.stages.base import Context, Stage, StageConfig

MOST_MARKS = 32
#: Characters that the guess between encodings is made over; a longer text is repaired part by part, cut at line ends.
PART = 100_000
# ASCII text that no setting of ftfy changes: no entity, no escape, no control character, no carriage return, no quote.
_PLAIN = re.compile(r"[\t\n !#-%(-~]*\Z")


class TextRepairConfig(StageConfig):
    """ftfy's settings under their own names (https://ftfy.readthedocs.io/en/latest/config.html)."""

    unescape_html: bool | Literal["auto"] = "auto"
    remove_terminal_escapes: bool = True
    fix_encoding: bool = True
    restore_byte_a0: bool = True
    replace_lossy_sequences: bool = True
    decode_inconsistent_utf8: bool = True
    fix_c1_controls: bool = True
    fix_latin_ligatures: bool = False
    fix_character_width: bool = False
    uncurl_quotes: bool = False
    fix_line_breaks: bool = True
    fix_surrogates: bool = True
    remove_control_chars: bool = True
    normalization: Literal["NFC", "NFD", "NFKC", "NFKD"] | None = "NFC"


@cache
def _stacks() -> re.Pattern[str]:
    """What matches more than ``MOST_MARKS`` combining marks in a row, with the first of them as group 1."""
    marks = [c for c in range(0x300, sys.maxunicode + 1) if unicodedata.combining(chr(c))]
    ranges: list[list[int]] = []
    for c in marks:
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    one = "[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges) + "]"
    return re.compile(f"({one}{{{MOST_MARKS}}}){one}+")


def cut_marks(text: str) -> str:
    """The text with at most ``MOST_MARKS`` combining marks in a row; linear in its length."""
    return _stacks().sub(r"\1", text)


def parts(text: str, size: int = PART) -> list[str]:
    """The text in parts of at most ``size`` characters, cut after line ends, or else after spaces."""
    out: list[str] = []
    start = 0
    while len(text) - start > size:
        end = start + size
        for mark in ("\n", " "):
            at = text.rfind(mark, start + size // 2, end)
            if at >= 0:
                end = at + 1
                break
        out.append(text[start:end])
        start = end
    out.append(text[start:])
    return out


class TextRepair(Stage):
    """Repaired text, and ``text_repair_changed``."""

    name = "text_repair"
    follows = "ftfy 6 (fix_text); defaults near datatrove's FTFYFormatter, with NFC and plain line breaks"
    changes_text = True
    Config = TextRepairConfig
    config: TextRepairConfig
    most_marks: ClassVar[int] = MOST_MARKS

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self._ftfy: Any = None
        self._settings: Any = None

    def adds(self) -> pa.Schema:
        """``text_repair_changed``: whether the text differs from what came in; never null."""
        doc = "whether the repair changed the text"
        return pa.schema([column("text_repair_changed", pa.bool_(), doc, nullable=False)])

    def open(self, context: Context) -> None:
        """Import ftfy; ConfigError if it is not installed."""
        try:
            import ftfy
        except ModuleNotFoundError:
            raise ConfigError("text_repair needs ftfy: pip install 'curate[repair]', or take the stage out") from None
        self._ftfy = ftfy
        settings = self.config.model_dump()
        self._settings = ftfy.TextFixerConfig(**settings, explain=False, max_decode_length=2 * PART)
        _stacks()

    def process(self, batch: Batch) -> Batch:
        """The batch with repaired text."""
        before = batch.column("text").to_pylist()
        after = [self.repair(text or "") for text in before]
        changed = pa.array([a != b for a, b in zip(before, after, strict=True)], pa.bool_())
        field = batch.schema.field("text")
        columns: dict[pa.Field | str, pa.Array] = {field: pa.array(after, field.type), self.adds().field(0): changed}
        return batch.with_columns(columns)

    def repair(self, text: str) -> str:
        """The repaired text, without NUL and lone surrogates."""
        if _PLAIN.match(text):
            return text
        if self._ftfy is None:
            raise RuntimeError("text_repair: open() comes before process()")
        if not text.isascii():
            text = cut_marks(text)
        fixed = "".join(self._ftfy.fix_text(part, self._settings) for part in parts(text))
        return fixed.encode("utf-8", "replace").decode().replace("\0", "")
