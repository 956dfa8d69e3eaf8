"""Evidence about removed duplicates: sums, clusters, a sample compared again from the texts. Nothing is decided here.

tally_shard  (``audit_tally``)   one shard: tables and checks
audit        (this module)       all shards: the details, the tables of clusters, groups and sampled pairs
crossed      (``audit_alarms``)  limits of the config that the details cross
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.audit.config import AuditConfig
from curate.dedup.audit.ids import ids_of
from curate.dedup.audit.merge import Head, Place, Tallies, fold_samples, merge_clusters, merge_groups
from curate.dedup.audit.pairs import Pairs, allotted, band_name, read_pairs
from curate.dedup.audit.plain import MOST_CHARS, Overlap, disagreement, overlap
from curate.dedup.audit.tally import COPIES, KINDS, NEAR, REMEDY, STRATUM
from curate.dedup.audit.word_diff import word_diff
from curate.dedup.config import Plan
from curate.documents import column
from curate.errors import VerificationError
from curate.store.folder import Folder
from curate.store.shards import Output, write_table

CLUSTERS_NAME = "dedup/clusters.parquet"
REMOVAL_NAME = "dedup/removal.parquet"
SAMPLE_NAME = "dedup/sample.parquet"
#: characters of a text that are quoted for a cluster
_QUOTED = 240
_CACHED_GROUPS = 3

SAMPLED = pa.schema(
    [
        column("removed", pa.string(), "id of the removed document", nullable=False),
        column("survivor", pa.string(), "id of the document that stays in its place", nullable=False),
        column("kind", pa.string(), "exact, url, content or minhash", nullable=False),
        column("stratum", pa.string(), "kind, or band of similarity", nullable=False),
        column("available", pa.int64(), "pairs of the stratum in the run", nullable=False),
        column("similarity", pa.float64(), "as recorded; null for url and content", range_="0–1"),
        column("containment", pa.float64(), "as recorded; null for url and content", range_="0–1"),
        column("compared_similarity", pa.float64(), "computed again from both texts in plain Python; null: too "
               "long, an exact copy, or no shingles are defined", range_="0–1"),
        column("compared_containment", pa.float64(), "likewise", range_="0–1"),
        column("removed_url", pa.string(), "address of the removed document"),
        column("survivor_url", pa.string(), "address of the survivor"),
        column("removed_source", pa.string(), "input file of the removed document", nullable=False),
        column("survivor_source", pa.string(), "input file of the survivor", nullable=False),
        column("same_words", pa.int64(), "words and marks in both texts, in order", nullable=False),
        column("only_removed", pa.int64(), "words and marks that only the removed document has", nullable=False),
        column("only_survivor", pa.int64(), "words and marks that only the survivor has", nullable=False),
        column("uncompared_words", pa.int64(), "words beyond the caps of the diff, both texts", nullable=False),
        column("diff", pa.string(), "JSON: list of [sign, text]; = both, - only removed, + only survivor, … left out",
               nullable=False),
    ]
)  # fmt: skip


class Documents:
    """Single documents of a run by shard number and row; a few row groups are kept, so memory is a few of those."""

    def __init__(self, folder: Folder, shards: Sequence[str]) -> None:
        self._folder, self._shards = folder, shards
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._ends: dict[int, list[int]] = {}

    def at(self, place: Place) -> dict[str, Any]:
        """``id``, ``url``, ``source`` and ``text`` of a document."""
        shard, row = place
        ends = self._ends.get(shard) or self._ends.setdefault(shard, self._row_groups(shard))
        group = int(np.searchsorted(ends, row, side="right"))
        table = self._groups.get((shard, group))
        if table is None:
            table = self._groups[shard, group] = self._read(shard, group)
            while len(self._groups) > _CACHED_GROUPS:
                self._groups.popitem(last=False)
        found: dict[str, Any] = table.slice(row - (ends[group - 1] if group else 0), 1).to_pylist()[0]
        return found

    def _row_groups(self, shard: int) -> list[int]:
        with self._folder.parquet(f"documents/{self._shards[shard]}.parquet") as file:
            rows = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        return [int(n) for n in np.cumsum(rows)]

    def _read(self, shard: int, group: int) -> pa.Table:
        with self._folder.parquet(f"documents/{self._shards[shard]}.parquet") as file:
            return file.read_row_group(group, columns=["id", "url", "source", "text"], use_threads=False)


@dataclass(frozen=True)
class Audit:
    """``details`` is JSON-able; ``outputs`` are the tables that were written beside it."""

    details: dict[str, Any]
    outputs: list[Output]


def audit(folder: Folder, shards: Sequence[str], sums: dict[str, int], plan: Plan, config: AuditConfig,
          pairs_name: str) -> Audit:  # fmt: skip
    """Everything that is known of the removal, checked.

    Args:
        sums: those of all shards' tallies, added.
        pairs_name: the table of pairs.

    Memory: ``ROWS_AT_ONCE`` rows of tallies (about 600 MB at most), or the two longest texts of a sampled pair and a
    few row groups, whichever is more.

    Raises:
        VerificationError: survivors, sizes, pairs or similarities do not agree with each other or with the texts.
    """
    tallies = Tallies(folder, shards)
    threshold = plan.minhash.threshold if plan.minhash is not None else None
    available = {int(k.removeprefix(STRATUM)): n for k, n in sums.items() if k.startswith(STRATUM)}
    drawn = _draw(fold_samples(tallies, config.sample), config.sample)
    survivors = frozenset(ids_of(drawn["high"].to_numpy(), drawn["low"].to_numpy()).to_pylist())
    clusters = merge_clusters(tallies, CLUSTERS_NAME, largest=config.largest, examples=config.examples,
                              wanted=survivors)  # fmt: skip
    groups, removal = merge_groups(tallies, REMOVAL_NAME)
    pairs = read_pairs(folder, pairs_name, drawn, threshold)
    _same_pairs(sums, pairs, pairs_name)
    documents = Documents(folder, shards)
    sampled = _sampled(drawn, available, clusters.places, pairs, documents, plan)
    details = {
        "documents": sums["documents"], "survivors": sums["documents"] - sum(sums[k] for k in KINDS[1:]),
        "removed": {k: sums[k] for k in KINDS[1:]}, "distinct_texts": sums["documents"] - sum(sums[k] for k in COPIES),
        "bytes": sums["bytes"], "removed_bytes": sums["removed_bytes"], "threshold": threshold,
        "least_similarity": pairs.least,
        "sizes": {str(n): clusters.sizes[n] for n in sorted(clusters.sizes)},
        "similarities": {str(n): pairs.similarities[n] for n in sorted(pairs.similarities)},
        "largest": [_shown(head, documents, quoted=config.sample > 0) for head in clusters.largest],
        "most_near": {"survivor": clusters.most_near_survivor, "removed": clusters.most_near},
        "groups": groups,
        "sample": {
            "pairs": len(sampled), "not_compared_again": _too_long(sampled),
            "strata": [{"stratum": band_name(s), "drawn": n, "available": available[s]} for s, n in
                       _strata(drawn).items()],
        },
    }  # fmt: skip
    return Audit(details, [*clusters.outputs, removal, write_table(folder, SAMPLE_NAME, sampled)])


def _too_long(sampled: pa.Table) -> int:
    """Near-duplicates whose similarity was not computed a second time, because of their length."""
    near = pc.equal(sampled["kind"], KINDS[NEAR])
    return int(sampled.filter(near)["compared_similarity"].null_count)


def _draw(candidates: pa.Table, total: int) -> pa.Table:
    """As many of the candidates as asked for, evenly over strata."""
    quota = allotted(_strata(candidates), total)
    stratum = candidates["stratum"].to_numpy()
    starts = np.flatnonzero(np.append(True, stratum[1:] != stratum[:-1])) if len(stratum) else np.zeros(0, np.int64)
    place = np.arange(len(stratum)) - np.repeat(starts, np.diff(np.append(starts, len(stratum))))
    limit = np.array([quota[int(s)] for s in stratum], np.int64)
    return candidates.filter(pa.array(place < limit))


def _strata(table: pa.Table) -> dict[int, int]:
    values, counts = np.unique(table["stratum"].to_numpy(), return_counts=True)
    return {int(s): int(n) for s, n in zip(values, counts, strict=True)}


def _same_pairs(sums: dict[str, int], pairs: Pairs, name: str) -> None:
    """The pairs are those of the labels."""
    labelled = {k: sums[k] for k in KINDS[1:]}
    if pairs.counts != labelled or pairs.digest != sums["digest"]:
        raise VerificationError(
            f"duplicate removal does not hold: {name} explains {sum(pairs.counts.values())} removed documents, the "
            f"labels remove {sum(labelled.values())}, and they are not the same pairs; {REMEDY}"
        )


def _sampled(
    drawn: pa.Table, available: dict[int, int], places: dict[str, Place], pairs: Pairs, documents: Documents, plan: Plan
) -> pa.Table:
    rows = []
    gone = ids_of(drawn["id_high"].to_numpy(), drawn["id_low"].to_numpy()).to_pylist()
    kept = ids_of(drawn["high"].to_numpy(), drawn["low"].to_numpy()).to_pylist()
    for removed, survivor, row in zip(gone, kept, drawn.to_pylist(), strict=True):
        one, two = documents.at((row["shard"], row["row"])), documents.at(places[survivor])
        if (one["id"], two["id"]) != (removed, survivor):
            raise VerificationError(f"documents/ does not hold {removed} and {survivor} where the labels say")
        stratum = int(row["stratum"])
        facts = _compared(KINDS[stratum // 100], one, two, pairs.of_sample.get(removed, (None, None)), plan)
        rows.append({"stratum": band_name(stratum), "available": available[stratum], **facts})
    return pa.Table.from_pylist(rows, schema=SAMPLED)


def _compared(
    kind: str, one: dict[str, Any], two: dict[str, Any], recorded: tuple[float | None, float | None], plan: Plan
) -> dict[str, Any]:
    """One sampled pair, compared again; VerificationError if it does not stand."""
    texts, urls = (one["text"] or "", two["text"] or ""), (one["url"], two["url"])
    found: Overlap | None = None
    if kind != "exact" and plan.minhash is not None and max(map(len, texts)) <= MOST_CHARS:
        found = overlap(plan.minhash, *texts)
    wrong = disagreement(plan, kind, texts, urls, recorded, found)
    if wrong is not None:
        raise VerificationError(
            f"duplicate removal does not hold: the documents {one['id']} and {two['id']} {wrong}; {REMEDY}"
        )
    diff = word_diff(*texts)
    return {
        "removed": one["id"], "survivor": two["id"], "kind": kind, "similarity": recorded[0],
        "containment": recorded[1],
        "compared_similarity": found.similarity if found is not None else None,
        "compared_containment": found.containment if found is not None else None,
        "removed_url": one["url"], "survivor_url": two["url"], "removed_source": one["source"],
        "survivor_source": two["source"], "same_words": diff.same, "only_removed": diff.only_first,
        "only_survivor": diff.only_second, "uncompared_words": diff.uncompared,
        "diff": json.dumps(diff.parts, ensure_ascii=False),
    }  # fmt: skip


def _shown(head: Head, documents: Documents, *, quoted: bool) -> dict[str, Any]:
    """A large cluster as JSON; ``quoted``: with the beginning of its survivor's text."""
    stays = documents.at(head.place)
    examples = []
    for member in head.examples:
        found = documents.at(member.place)
        examples.append({"id": member.id, "url": found["url"], "source": found["source"], "kind": member.kind,
                         "similarity": _rounded(member.similarity), **_beginning(found, quoted)})  # fmt: skip
    removed = head.removed
    return {
        "survivor": head.survivor, "size": head.size, "exact": removed["exact"], "same_url": removed["url"],
        "same_content": removed["content"], "minhash": removed["minhash"], "bytes": head.bytes, "url": stays["url"],
        "source": stays["source"], **_beginning(stays, quoted), "examples": examples,
    }  # fmt: skip


def _beginning(document: dict[str, Any], quoted: bool) -> dict[str, str]:
    return {"beginning": " ".join((document["text"] or "")[: 4 * _QUOTED].split())[:_QUOTED]} if quoted else {}


def _rounded(similarity: float | None) -> float | None:
    """A label's float32 without the digits that it does not have."""
    return None if similarity is None else round(float(similarity), 6)
