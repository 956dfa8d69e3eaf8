"""What a user can say about duplicate removal, and the parameters that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.errors import ConfigError

#: Hashes that the automatic choice of bands × rows may spend, and the recall it must reach at the threshold itself.
MAX_HASHES = 128
RECALL_AT_THRESHOLD = 0.99


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _power_of_two(partitions: int | None) -> None:
    if partitions is not None and partitions & (partitions - 1):
        raise ValueError("partitions must be a power of two (1, 2, 4 … 1024), or null")


class Preference(_Config):
    """One criterion by which a document is preferred as the survivor.

    Attributes:
        column: a column of the signature table: one of the documents' own, or ``n_words``, ``n_bytes``.
        descending: prefer large values (or late dates) instead of small ones.
        values: for names such as sources: prefer in this order; what is not listed comes after. Null comes last always.
    """

    column: str
    descending: bool = False
    values: tuple[str, ...] | None = None


class Shingle(_Config):
    """What is compared: sets of runs of ``n`` words, or of ``n`` characters (code points)."""

    unit: Literal["words", "characters"] = "words"
    n: int = Field(default=5, ge=1, le=100)


class ExactConfig(_Config):
    """Documents with the same text are one document.

    Attributes:
        lower: compare in lower case.
        text: compare the text in Unicode NFC with whitespace collapsed; a text without a letter, digit or underscore
            equals no other.
        url: documents with the same address (normalised as RFC 3986 allows, http as https) are one document too.
        content: documents whose fetched bytes are the same (column ``content_digest``) are one document too.
        prefer: who survives; then the smallest id.
        partitions: in how many ranges keys are joined, and components settled, each a task of its own: a power of two
            up to 1,024. It decides memory and time, never the result. null: one per 128 MB of input files, as listed.
    """

    text: bool = True
    lower: bool = False
    url: bool = False
    content: bool = False
    prefer: tuple[Preference, ...] = ()
    partitions: int | None = Field(default=None, ge=1, le=1024)

    @model_validator(mode="after")
    def _says_something(self) -> ExactConfig:
        if not self.text and not self.url and not self.content:
            raise ValueError("exact compares nothing: set text, url or content to true, or leave exact out")
        _power_of_two(self.partitions)
        return self


class MinhashConfig(_Config):
    """Documents whose shingle sets have a Jaccard similarity of at least ``threshold`` are near-duplicates.

    Candidates come from MinHash with bands (Broder 1997; Leskovec, Rajaraman, Ullman, chapter 3); every candidate pair
    is then compared by the sets themselves, so the bands decide what can be missed, never what is wrongly dropped.

    Attributes:
        threshold: least Jaccard similarity of a dropped document to its survivor, 0–1.
        shingle: what the sets hold.
        normalisation: ``words``: Unicode NFC, lower case, words are runs of letters, digits and underscores; a document
            with fewer words than a shingle has all of them as its one shingle, one without words equals no other.
            ``datatrove``: its ``simplify_text`` and English words.
        bands: with ``rows``: two documents are candidates if all hashes of at least one band agree. Both or neither;
            without them the most selective pair is taken that finds a pair at the threshold itself with a probability
            of 0.99 or more within 128 hashes (threshold 0.8: 16 × 6, 0.992 at 0.80, 0.9995 at 0.85, 0.99999 at 0.9).
        rows: hashes per band.
        hash_bits: bits of a signature's values; 32 halves a stored signature, the keys of its bands are as good.
        seed: of the permutations.
        prefer: who survives; then the smallest id.
        compatible: signatures equal to datatrove 0.10.1's bit for bit: its normalisation, words, 14 × 8 unless given,
            and no signature for a document with fewer words than a shingle.
        small_bucket: all pairs of a bucket with at most so many documents are compared at once; in larger ones the
            preferred document is compared with all others first, and only those that remain with each other.
        leaders: bound on that: in one bucket at most so many remaining documents are compared with all others. Pairs
            left uncompared by this bound are counted in the report, never passed over silently.
        partitions: in how many ranges keys are joined, and components settled, each a task of its own: a power of two
            up to 1,024. It decides memory and time, never the result. null: one per 128 MB of input files, as listed.
    """

    threshold: float = Field(default=0.8, gt=0, le=1)
    shingle: Shingle = Shingle()
    normalisation: Literal["words", "datatrove"] = "words"
    bands: int | None = Field(default=None, ge=1, le=1024)
    rows: int | None = Field(default=None, ge=1, le=64)
    hash_bits: Literal[32, 64] = 64
    seed: int = Field(default=1, ge=0, lt=2**32)
    prefer: tuple[Preference, ...] = ()
    compatible: bool = False
    small_bucket: int = Field(default=16, ge=2, le=1000)
    leaders: int = Field(default=1000, ge=1)
    partitions: int | None = Field(default=None, ge=1, le=1024)

    @model_validator(mode="before")
    @classmethod
    def _compatible_defaults(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("compatible") and "normalisation" not in data:
            return {**data, "normalisation": "datatrove"}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> MinhashConfig:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("set both bands and rows, or neither")
        if self.compatible and (self.normalisation != "datatrove" or self.shingle.unit != "words"):
            raise ValueError("compatible: true needs normalisation: datatrove and shingles of words")
        if self.compatible and self.hash_bits != 64:
            raise ValueError("compatible: true needs hash_bits: 64, as datatrove's default signatures are")
        _power_of_two(self.partitions)
        return self

    @property
    def plan(self) -> Bands:
        """The bands × rows in force."""
        if self.bands is not None and self.rows is not None:
            return Bands(self.bands, self.rows)
        return Bands(14, 8) if self.compatible else choose_bands(self.threshold)


class DedupStep(_Config):
    """One entry of a config's ``dedup`` list: ``exact: {…}`` or ``minhash: {…}``."""

    exact: ExactConfig | None = None
    minhash: MinhashConfig | None = None

    @model_validator(mode="after")
    def _one(self) -> DedupStep:
        if (self.exact is None) == (self.minhash is None):
            raise ValueError("each entry of dedup names one kind: exact or minhash")
        return self


@dataclass(frozen=True)
class Bands:
    """``bands`` × ``rows`` hashes of a signature."""

    bands: int
    rows: int

    @property
    def hashes(self) -> int:
        return self.bands * self.rows

    def probability(self, similarity: float) -> float:
        """Probability that two documents of this Jaccard similarity become candidates: 1 - (1 - s^rows)^bands."""
        return float(1.0 - (1.0 - similarity**self.rows) ** self.bands)


@lru_cache(maxsize=64)
def choose_bands(threshold: float) -> Bands:
    """The most rows, then the fewest bands, that find a pair at ``threshold`` with probability 0.99 or more.

    More rows mean fewer candidates that verification rejects. Within 128 hashes; where none suffices (very low
    thresholds), 128 bands of one row.
    """
    for rows in range(MAX_HASHES, 0, -1):
        for bands in range(1, MAX_HASHES // rows + 1):
            if Bands(bands, rows).probability(threshold) >= RECALL_AT_THRESHOLD:
                return Bands(bands, rows)
    return Bands(MAX_HASHES, 1)


@dataclass(frozen=True)
class Plan:
    """The exact and the MinHash part of a list of dedup configs; either may be absent."""

    exact: ExactConfig | None
    minhash: MinhashConfig | None

    @property
    def prefer(self) -> tuple[Preference, ...]:
        """The one order of survivors; documents are ranked by it, then by id."""
        given = [part.prefer for part in (self.exact, self.minhash) if part is not None and part.prefer]
        return given[0] if given else ()

    @property
    def partitions(self) -> int | None:
        """Into how many partitions the config wants the work cut; None: let the size of the input decide."""
        given = [part.partitions for part in (self.exact, self.minhash) if part is not None and part.partitions]
        return given[0] if given else None


DedupConfig = ExactConfig | MinhashConfig | DedupStep


def as_plan(configs: Plan | DedupConfig | Sequence[DedupConfig]) -> Plan:
    """One plan from one or several configs.

    Raises:
        ConfigError: no kind, a kind named twice, or two kinds that prefer different survivors.
    """
    if isinstance(configs, Plan):
        return configs
    exact: list[ExactConfig] = []
    minhash: list[MinhashConfig] = []
    for config in [configs] if isinstance(configs, BaseModel) else configs:
        parts = (config.exact, config.minhash) if isinstance(config, DedupStep) else (config,)
        exact += [part for part in parts if isinstance(part, ExactConfig)]
        minhash += [part for part in parts if isinstance(part, MinhashConfig)]
    if len(exact) > 1 or len(minhash) > 1:
        raise ConfigError("dedup: exact and minhash may each be named once")
    if not exact and not minhash:
        raise ConfigError("dedup: nothing to do; name exact or minhash")
    if exact and minhash and exact[0].prefer and minhash[0].prefer and exact[0].prefer != minhash[0].prefer:
        raise ConfigError("dedup: exact and minhash prefer different survivors; give both the same prefer, or one none")
    if exact and minhash and exact[0].partitions and minhash[0].partitions not in (None, exact[0].partitions):
        raise ConfigError("dedup: exact and minhash name different partitions; they are joined together, name one")
    return Plan(exact[0] if exact else None, minhash[0] if minhash else None)
