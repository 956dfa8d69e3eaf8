"""Which language a text is in, by a fastText model: lid.176 bundled, GlotLID and others by path."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.documents import Batch, column
from curate.errors import ConfigError
from curate.stages.base import Context, Stage, StageConfig
from curate.stages.language_codes import LanguageCode, language_code

_BUNDLED = Path(__file__).parent / "assets" / "lid.176.ftz"
_BUNDLED_DIGEST = "sha256:8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"

_CODE = column("language_code", pa.string(), "language, ISO 639-1 where there is one, else 639-3; null for blank text")
_SCRIPT = column("language_script", pa.string(), "script, ISO 15924; null if the model's labels name none (lid.176)")
_SCORE = column("language_score", pa.float32(), "probability of that label; null for blank text", range_="0–1")
_MARGIN = column(
    "language_margin",
    pa.float32(),
    "language_score minus that of the best label of another language; null for blank text",
    range_="0–1",
)
_TOP = column(
    "language_top",
    pa.string(),
    'the best top_k labels as JSON, [["en",0.8841],["de",0.0123]], with the script where known; null for blank text',
)


class LanguageConfig(StageConfig):
    """Which model, how much text it sees, and what is kept."""

    model: str | None = Field(None, description="path of a fastText model; null: the bundled lid.176.ftz")
    digest: str | None = Field(None, description="sha256:… or xxh3:… of the model; checked before it is loaded")
    keep: tuple[str, ...] | None = Field(None, description="languages to keep (en, eng and eng_Latn mean the same)")
    min_score: float | None = Field(None, ge=0, le=1, description="lowest language_score that is kept")
    top_k: int = Field(3, ge=1, le=100, description="labels in language_top")
    max_chars: int | None = Field(4000, ge=1, description="characters of the text that the model sees; null: all")


class Language(Stage):
    """Language, script, score, margin and the best labels of each text; drops only if ``keep`` or ``min_score`` say so.

    The model sees the first ``max_chars`` characters with newlines as spaces, and is called as fastText's own
    ``predict`` is, so that the same text gives the same probability as there (clipped to 1; it can come out at
    1.00003). On 3,595 real pages (27 languages of documentation, and English web pages) the label of the first 4,000
    characters is that of the whole text on 99.6 % (2,000: 99.4 %, 1,000: 98.7 %, 500: 97.7 %) at half the cost, and
    agrees with the gold label on as many (98.6 % of 2,409). Documents one by one cost the same as fastText's call for
    many lines (0.66 ms each at 2,000 characters), which in some builds repeats the first probability.
    """

    name = "language"
    version = 1
    follows = (
        "fastText language identification (Joulin et al., arXiv:1607.01759, arXiv:1612.03651); FineWeb's use of it "
        "(Penedo et al., arXiv:2406.17557: English at 0.65 or more), on a prefix"
    )
    reasons: ClassVar[dict[str, str]] = {
        "language_not_kept": "the language is not in `keep`, or the text is blank; detail: the code",
        "language_uncertain": "language_score is under min_score; value: the score; detail: the code",
    }
    errors: ClassVar[dict[str, str]] = {"model.score": "the model gave a score that is not a number"}
    Config = LanguageConfig
    config: LanguageConfig

    def adds(self) -> pa.Schema:
        """The five labels."""
        return pa.schema([_CODE, _SCRIPT, _SCORE, _MARGIN, _TOP])

    def assets(self, base: Path) -> Mapping[str, Path]:
        """The model."""
        return {"model": base / self.config.model if self.config.model is not None else _BUNDLED}

    def open(self, context: Context) -> None:
        """Check and load the model; ModelError if it is refused, ConfigError if ``keep`` names what it cannot say."""
        from curate.models import load_fasttext

        digest = self.config.digest
        if digest is None and self.config.model is None:
            digest = _BUNDLED_DIGEST
        self._model = load_fasttext(self.assets(context.base)["model"], digest)
        self._keep = self._kept_codes()

    def close(self) -> None:
        """Let the model go."""
        self._model = None

    def _kept_codes(self) -> frozenset[str] | None:
        if self.config.keep is None:
            return None
        known = {language_code(label).code for label in self._model.getLabels("strict")[0]}
        for name in self.config.keep:
            if language_code(name).code not in known:
                near = difflib.get_close_matches(language_code(name).code, sorted(known), 3, 0.5)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                raise ConfigError(f"stages.language.keep: {name!r} is not among the {len(known)} languages{hint}")
        return frozenset(language_code(name).code for name in self.config.keep)

    def process(self, batch: Batch) -> Batch:
        """The batch with its labels; rows leave for ``keep`` and ``min_score`` only."""
        found = [self._predict(line) for line in self._lines(batch.column("text"))]
        score = np.array([f[0][0] if f else 0.0 for f in found], np.float32)
        batch = self._labelled(batch, found, score)
        broken = ~np.isfinite(score)
        if broken.any():
            batch, score = batch.fail(broken, "model.score"), score[~broken]
        return self._selected(batch)

    def _lines(self, text: pa.Array) -> list[str]:
        """What the model sees of each text: one line."""
        if self.config.max_chars is not None:
            text = pc.utf8_slice_codeunits(text, 0, self.config.max_chars)
        lines: list[str] = pc.utf8_trim_whitespace(pc.replace_substring(text, "\n", " ")).to_pylist()
        return lines

    def _predict(self, line: str) -> list[tuple[float, LanguageCode]]:
        """(probability, label) of the best labels, the best first; empty for blank text."""
        if not line:
            return []
        best = self._model.predict(line + "\n", max(self.config.top_k, 2), 0.0, "strict")
        return [(min(score, 1.0), language_code(label)) for score, label in best]

    def _labelled(self, batch: Batch, found: list[list[tuple[float, LanguageCode]]], score: Any) -> Batch:
        blank = np.array([not f for f in found], bool)
        margin = np.array([_margin(f) for f in found], np.float32)
        return batch.with_columns(
            {
                _CODE: pa.array([f[0][1].code if f else None for f in found], pa.string()),
                _SCRIPT: pa.array([f[0][1].script if f else None for f in found], pa.string()),
                _SCORE: pa.array(score, mask=blank),
                _MARGIN: pa.array(margin, mask=blank),
                _TOP: pa.array([_top(f[: self.config.top_k]) if f else None for f in found], pa.string()),
            }
        )

    def _selected(self, batch: Batch) -> Batch:
        if self._keep is not None:
            kept = pc.is_in(batch.column("language_code"), pa.array(sorted(self._keep), pa.string()))
            detail = pc.fill_null(batch.column("language_code"), "none")
            batch = batch.drop(pc.invert(kept), "language_not_kept", detail=detail)
        if self.config.min_score is not None:
            score = pc.cast(pc.fill_null(batch.column("language_score"), 0.0), pa.float64())
            batch = batch.drop(
                pc.less(score, self.config.min_score),
                "language_uncertain",
                value=score,
                threshold=self.config.min_score,
                detail=pc.fill_null(batch.column("language_code"), "none"),
            )
        return batch


def _margin(found: list[tuple[float, LanguageCode]]) -> float:
    """Score of the best label minus that of the best label of another language."""
    if not found:
        return 0.0
    other = next((score for score, label in found if label.code != found[0][1].code), 0.0)
    return found[0][0] - other


def _top(found: list[tuple[float, LanguageCode]]) -> str:
    return json.dumps([[str(label), round(score, 4)] for score, label in found], separators=(",", ":"))
