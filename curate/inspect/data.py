"""What a report shows: plain, immutable values, gathered elsewhere and drawn by ``curate.inspect.report``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe


@dataclass(frozen=True)
class FunnelRow:
    """The documents that are left after one stage.

    Attributes:
        documents: left after it; dropped and failed: what it took away.
        tokens, text_bytes: of those left; None where a part of them was never counted.
    """

    name: str
    documents: int
    dropped: int = 0
    failed: int = 0
    tokens: int | None = None
    text_bytes: int | None = None


@dataclass(frozen=True)
class Example:
    """One document, quoted.

    Attributes:
        text: its beginning; None where the run did not keep it.
        value, threshold: what was compared, where a number decided.
        survivor: id of the document that stays in its place.
        notes: further label values, by column.
    """

    id: str
    url: str | None = None
    text: str | None = None
    value: float | None = None
    threshold: float | None = None
    survivor: str | None = None
    detail: str | None = None
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reason:
    """Documents that left for one reason; ``tokens`` is None where a part of them was never counted."""

    stage: str
    reason: str
    documents: int
    meaning: str = ""
    tokens: int | None = None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where something failed: a byte range or row of an input file."""

    source: str
    offset: int
    length: int
    detail: str | None


@dataclass(frozen=True)
class Problem:
    """Records or ranges that failed with one error code."""

    stage: str
    error: str
    records: int
    meaning: str = ""
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Histogram:
    """Counts of a numeric label, of the documents kept and of those that left after it was computed.

    Attributes:
        edges: ``len(kept) + 1`` ascending values; the last bar includes its right edge.
        missing: documents without a finite value.
        log: the edges grow by a factor, not by a step.
    """

    column: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    left: tuple[int, ...]
    missing: int = 0
    log: bool = False
    doc: str = ""
    unit: str = ""

    @property
    def n(self) -> int:
        """Documents in the bars."""
        return sum(self.kept) + sum(self.left)


@dataclass(frozen=True)
class ValueCount:
    """Documents (and tokens, where counted) of the corpus with one value of a label; None is a missing label."""

    value: str | None
    documents: int
    tokens: int | None = None


@dataclass(frozen=True)
class ValueCounts:
    """The values of a label over the corpus, most frequent first."""

    column: str
    rows: tuple[ValueCount, ...]
    doc: str = ""


@dataclass(frozen=True)
class HeatMap:
    """Documents and tokens by two labels; cells that hold nothing are absent."""

    row_column: str
    column_column: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    documents: Mapping[tuple[str, str], int]
    tokens: Mapping[tuple[str, str], int] | None = None


@dataclass(frozen=True)
class Cluster:
    """A family of duplicates and the document that stays."""

    survivor: str
    size: int
    url: str | None = None


@dataclass(frozen=True)
class Removal:
    """Documents of one group and how many of them were removed, by the way in which they were found.

    Attributes:
        value: of the column; None where documents have none.
        exact, url, near, content: removed for the same text, the same address, as near-duplicates, for the same bytes.
        text_bytes, removed_bytes: length of the texts, and of those removed.
    """

    value: str | None
    documents: int
    exact: int
    url: int
    near: int
    text_bytes: int
    removed_bytes: int
    content: int = 0

    @property
    def removed(self) -> int:
        """Documents removed in whatever way."""
        return self.exact + self.url + self.content + self.near

    @property
    def distinct(self) -> int:
        """Documents that are neither an exact copy nor of a known address or content."""
        return self.documents - self.exact - self.url - self.content


@dataclass(frozen=True)
class ClusterMember:
    """A document that was removed in favour of a cluster's survivor; ``beginning`` is None where no text is quoted."""

    id: str
    kind: str
    similarity: float | None = None
    url: str | None = None
    beginning: str | None = None


@dataclass(frozen=True)
class LargeCluster:
    """One of the largest clusters: its survivor, and how many were removed in its favour in each way."""

    survivor: str
    size: int
    exact: int
    same_page: int
    near: int
    url: str | None = None
    source: str = ""
    beginning: str | None = None
    examples: tuple[ClusterMember, ...] = ()


@dataclass(frozen=True)
class RemovedPair:
    """A removed document beside the one that stays, compared again from their texts.

    Attributes:
        stratum, available: the kind or band of similarity that it was drawn from, and the pairs in it.
        compared: similarity as computed again; None if the texts were too long for that.
        same, only_removed, only_survivor, uncompared: words of the diff.
        parts: sign and text: ``=`` both, ``-`` only the removed, ``+`` only the survivor, ``…`` left out.
    """

    removed: str
    survivor: str
    kind: str
    stratum: str
    available: int
    similarity: float | None
    containment: float | None
    compared: float | None
    removed_url: str | None
    survivor_url: str | None
    removed_source: str
    survivor_source: str
    same: int
    only_removed: int
    only_survivor: int
    uncompared: int
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DuplicateAudit:
    """What the audit of duplicate removal found.

    Attributes:
        threshold: least similarity of a near-duplicate; None if none were looked for.
        similarities: hundredth of similarity (80: 0.80 to 0.81) → near-duplicates.
        groups: dimension → number of its values, and those with most removals.
        pairs: the sample, by stratum.
    """

    total: Removal
    threshold: float | None = None
    sizes: Mapping[int, int] = field(default_factory=dict)
    similarities: Mapping[int, int] = field(default_factory=dict)
    largest: tuple[LargeCluster, ...] = ()
    groups: Mapping[str, tuple[int, tuple[Removal, ...]]] = field(default_factory=dict)
    pairs: tuple[RemovedPair, ...] = ()


@dataclass(frozen=True)
class Duplicates:
    """What duplicate removal found.

    Attributes:
        sizes: cluster size → number of clusters, for sizes of at least 2.
        audit: figures of the search, by name.
        detail: clusters, groups and pairs of the audit; None where it was not made.
    """

    documents: int
    sizes: Mapping[int, int] = field(default_factory=dict)
    largest: tuple[Cluster, ...] = ()
    audit: Mapping[str, int] = field(default_factory=dict)
    detail: DuplicateAudit | None = None


@dataclass(frozen=True)
class GroupExamples:
    """Documents of one group of the corpus, quoted."""

    group: str
    documents: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class SourceRow:
    """One input file and where its bytes went."""

    path: str
    kind: str
    size: int
    records: int
    documents: int
    rejected_ranges: int
    rejected_bytes: int
    accounted_bytes: int


@dataclass(frozen=True)
class Sums:
    """The books of the run, as ``curate verify`` adds them up."""

    files: int = 0
    records: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    entered: int = 0
    documents: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    bytes_size: int = 0
    bytes_accounted: int = 0
    bytes_rejected: int = 0


@dataclass(frozen=True)
class ReportData:
    """Everything on a report page.

    Attributes:
        keeps_dropped_text: dropped documents can be quoted.
        token_column: what counted the tokens; None if nothing did.
        mixed: documents and tokens of the written mixture; None if there is none.
        quoted: how many examples were asked for; 0 for a page without text.
        config: the settings that decide the content, as YAML.
    """

    title: str
    run: str
    sums: Sums
    keeps_dropped_text: bool = False
    quoted: int = 5
    token_column: str | None = None
    keep: str | None = None
    funnel: tuple[FunnelRow, ...] = ()
    reasons: tuple[Reason, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    values: tuple[ValueCounts, ...] = ()
    heat: HeatMap | None = None
    duplicates: Duplicates | None = None
    recipe: Recipe | None = None
    mixed: tuple[int, int] | None = None
    groups: tuple[GroupExamples, ...] = ()
    sources: tuple[SourceRow, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[tuple[str, int, str], ...] = ()
    config: str = ""
