"""Similarity of two texts in plain Python, by its definition and nothing else: a check on the compiled kernels.

Shares no code with them but datatrove's normalisation and words, where the config asks for these.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import pyarrow as pa

from curate.dedup.config import ExactConfig, MinhashConfig, Plan
from curate.dedup.exact import normalise_url

#: longer texts are not compared again: their sets of strings would need a gigabyte
MOST_CHARS = 4_000_000
#: two ways to the same number may differ by so much
TOLERANCE = 1e-9
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Overlap:
    """Jaccard similarity of the shingle sets of two texts, and the share of the first's that the second has."""

    similarity: float
    containment: float


def overlap(config: MinhashConfig, removed: str, survivor: str) -> Overlap:
    """The overlap of two texts as the config defines shingles; 0 where one has none."""
    one, two = shingles(config, removed), shingles(config, survivor)
    if not one or not two:
        return Overlap(0.0, 0.0)
    shared = len(one & two)
    return Overlap(shared / (len(one) + len(two) - shared), shared / len(one))


def shingles(config: MinhashConfig, text: str) -> set[tuple[str, ...]] | set[str]:
    """The shingle set of a text; a text shorter than a shingle has all of it as its one shingle."""
    n = config.shingle.n
    if config.shingle.unit == "characters":
        normal = _simple(text) if config.normalisation == "datatrove" else _folded(text).lower()
        normal = " ".join(normal.split())
        if not _WORD.search(normal):
            return set()
        return {normal[i : i + n] for i in range(max(1, len(normal) - n + 1))}
    words = _english(_simple(text)) if config.normalisation == "datatrove" else _WORD.findall(_folded(text).lower())
    if not words or (config.compatible and len(words) < n):
        return set()
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}


def same_text(config: ExactConfig, removed: str, survivor: str) -> bool:
    """Whether two texts are one text to ``exact``."""
    one, two = (" ".join(_folded(text).split()) for text in (removed, survivor))
    return one.lower() == two.lower() if config.lower else one == two


def disagreement(
    plan: Plan,
    kind: str,
    texts: tuple[str, str],
    urls: tuple[str | None, str | None],
    recorded: tuple[float | None, float | None],
    found: Overlap | None,
) -> str | None:
    """What is wrong with a recorded pair (removed, survivor), in words; None if it stands.

    Args:
        recorded: similarity and containment of the pair.
        found: as ``overlap`` has them; needed for near-duplicates.
    """  # fmt: skip
    if kind == "exact":
        if plan.exact is None or not same_text(plan.exact, *texts):
            return "were removed as exact copies, but their texts differ"
    elif kind == "url":
        if None in urls or normalise_url(urls[0] or "") != normalise_url(urls[1] or ""):
            return "were removed for the same address, but their addresses differ"
    elif kind == "minhash" and found is not None:
        similarity, containment = recorded
        if similarity is None or abs(found.similarity - similarity) > TOLERANCE:
            return f"have the recorded similarity {similarity}, but compared again {found.similarity:.9f}"
        if containment is None or abs(found.containment - containment) > TOLERANCE:
            return f"have the recorded containment {containment}, but compared again {found.containment:.9f}"
    return None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _simple(text: str) -> str:
    """datatrove's ``simplify_text`` with its defaults."""
    from curate.kernels.normalise import simplify
    from curate.kernels.strings import string_array, string_buffers

    return str(string_array(*simplify(*string_buffers(pa.array([text], pa.string()))))[0].as_py())


def _english(text: str) -> list[str]:
    from curate.kernels.strings import string_buffers
    from curate.kernels.words import WordSplitter

    return WordSplitter("en").split(*string_buffers(pa.array([text], pa.string()))).texts(0)
