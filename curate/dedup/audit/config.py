"""What a user can say about the audit of duplicate removal: what is shown, and what stops the run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Share = Annotated[float, Field(ge=0, le=1)]

#: always tallied beside ``by``: the host of the address, and the year of the fetch where documents have a date
ALWAYS = ("host", "year")
#: tallied if ``by`` is not given, as far as the documents have them
USUAL = ("source", "language_code")


class AuditConfig(BaseModel):
    """Evidence about every removed duplicate, and limits that stop the run before anything is built on the removal.

    Exact copies and near-duplicates are different risks, so they have limits of their own. An exact copy loses nothing
    but its address, and a crawl of the same pages again and again is rightly reduced to a twentieth: only a single
    text that fills much of a corpus is suspicious there (a page that asks for JavaScript, a failed extraction). A
    near-duplicate takes words with it. Limits without a default are for those who know their corpus.

    Attributes:
        sample: removed pairs that are compared again word by word, about as many of each kind and band of similarity;
            0: none, and no text in the audit.
        largest: clusters that are shown with examples.
        examples: removed documents named per cluster.
        by: columns by whose values removal is counted and limited; default: source, and language_code where there is
            one. Hosts and years are counted too, never limited.
        min_documents: corpora and groups with fewer documents cross no limit on a share.
        max_removed_ratio: most of all documents that may be removed, in whatever way (0–1); null: no limit.
        max_removed_ratio_by: likewise for each group of ``by``.
        max_near_ratio: most of the distinct texts (no exact copies, of no known address or fetched bytes) that may be
            removed as near-duplicates. Default 0.75: global removal at 0.8 leaves more of most crawls; where it does
            not, what goes may be better than what stays (Penedo et al. 2024, on the oldest crawls of FineWeb).
        max_near_ratio_by: likewise for each group of ``by``; default 0.9.
        max_cluster_share: largest share of all documents that one cluster may hold, in whatever way; default 0.25.
        max_cluster_size: most documents in one cluster; null: no limit.
        max_near_cluster_size: most near-duplicates for which one document may stand; default 500,000, a template
            rather than a text.
        on_alarm: stop: end with exit 3 before anything after duplicate removal is done; report: say so and go on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    sample: int = Field(default=100, ge=0, le=10_000)
    largest: int = Field(default=20, ge=0, le=1000)
    examples: int = Field(default=3, ge=0, le=20)
    by: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    min_documents: int = Field(default=10_000, ge=1)
    max_removed_ratio: Share | None = None
    max_removed_ratio_by: Share | None = None
    max_near_ratio: Share | None = 0.75
    max_near_ratio_by: Share | None = 0.9
    max_cluster_share: Share | None = 0.25
    max_cluster_size: int | None = Field(default=None, ge=1)
    max_near_cluster_size: int | None = Field(default=500_000, ge=0)
    on_alarm: Literal["stop", "report"] = "stop"

    @field_validator("by")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) < len(value) or set(value) & set(ALWAYS)):
            raise ValueError("name each column once; host and year are always counted")
        return value
