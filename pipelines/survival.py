"""The labels by which duplicates are told: which of them mean what in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import WHOLE_DOCUMENTS

if TYPE_CHECKING:
    from pipelines.config import Config


@dataclass(frozen=True)
class Survival:
    """A label that is false for documents that another one stands for.

    Attributes:
        label: the label; a drop by it names the survivor instead of the sentence.
        survivor, similarity: labels with the survivor's id, and how similar it is.
        kind: label that says which entry of `dedup` found it; None if there is one only.
        reasons: entry of `dedup`, which is the stage of the drop → reason of the drop.
        entries: entries of `dedup` with which the label is there.
    """

    label: str
    survivor: str
    similarity: str
    kind: str | None
    reasons: Mapping[str, str]
    entries: tuple[str, ...]


#: in the order in which the labels are made
SURVIVALS = (
    Survival(
        "dedup_is_survivor", "dedup_survivor", "dedup_similarity", "dedup_kind",
        {"exact": "exact_duplicate", "url": "url_duplicate", "content": "content_duplicate",
         "minhash": "near_duplicate"}, WHOLE_DOCUMENTS,
    ),
    Survival(
        "semantic_is_survivor", "semantic_survivor", "semantic_similarity", None, {"semantic": "semantic_duplicate"},
        ("semantic",),
    ),
)  # fmt: skip


def survivors_only(config: Config) -> str | None:
    """The sentence that keeps what no entry of `dedup` found to be a duplicate; None if none looks for whole ones."""
    labels = [s.label for s in SURVIVALS if config.duplicates(*s.entries)]
    return " and ".join(labels) or None
