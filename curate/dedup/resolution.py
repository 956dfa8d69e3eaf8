"""From signatures to labels: who is a duplicate of whom, and who stays.

All documents stand in one total order: the preferences of the config, then the id. Each in turn survives, unless one
that already survives has the same text, the same address, or a shingle set verified to be similar enough. So a
document is never dropped for a chain of resemblances: its named survivor is itself similar, and is kept.

Which pairs are verified: all candidates of the bands; then, until nothing is left, (a) pairs within large buckets
whose documents both still stand, and (b) pairs of a survivor with a document that stands although one of its similar
documents was dropped in favour of that survivor (the bands may have missed the pair). The result depends on texts,
ids and the config only, not on shards, batches or workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.config import DedupConfig, MinhashConfig, Plan, as_plan
from curate.dedup.join import Candidates, join, read_candidates
from curate.dedup.survivors import Corpus, Signatures, load_corpus
from curate.dedup.verify import Compared, TextReader, Verifier
from curate.documents import column
from curate.errors import ConfigError
from curate.kernels.clusters import SAME_CONTENT, SAME_TEXT, SAME_URL, SIMILAR, neighbours, open_pairs, survivors

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Open pairs of large buckets per round; 16 bytes each.
_ROOM = 20_000_000

LABELS = pa.schema(
    [
        column("id", pa.string(), "id of the document", nullable=False),
        column("dedup_cluster", pa.string(), "id of the survivor of the document's cluster", nullable=False),
        column("dedup_size", pa.int64(), "documents in the cluster, survivor included", unit="documents",
               range_="1–", nullable=False),
        column("dedup_is_survivor", pa.bool_(), "true if the document stays", nullable=False),
        column("dedup_similarity", pa.float32(), "Jaccard similarity to the survivor, 1 for the same text; null for "
               "survivors and for documents that share only the address or the fetched content", range_="0–1"),
        column("dedup_survivor", pa.string(), "id of the document that stays in its place; null for survivors"),
        column("dedup_kind", pa.string(), "exact (same text), url (same address), content (same bytes fetched) or "
               "minhash; null for survivors"),
    ]
)  # fmt: skip

PAIRS = pa.schema(
    [
        column("removed", pa.string(), "id of the dropped document", nullable=False),
        column("survivor", pa.string(), "id of the document that stays in its place", nullable=False),
        column("similarity", pa.float64(), "verified Jaccard similarity of the two; 1 for the same text, null for url "
               "and content",
               range_="0–1"),
        column("containment", pa.float64(), "share of the dropped document's shingles that the survivor has; as "
               "similarity otherwise", range_="0–1"),
        column("kind", pa.string(), "exact, url, content or minhash", nullable=False),
        column("removed_source_id", pa.string(), "the input's own id of the dropped document; null if it has none"),
        column("survivor_source_id", pa.string(), "the input's own id of the survivor; null if it has none"),
        column("survivor_dump", pa.string(), "name of the earlier run in the index that holds the survivor; null if it "
               "is in this run"),
    ]
)  # fmt: skip

#: Follows ``LABELS`` where documents are compared with those of earlier runs.
EARLIER = column("dedup_survivor_dump", pa.string(), "name of the earlier run in the index that holds the survivor; "
                 "null if it is in this run, and for survivors")  # fmt: skip

_KINDS = {SAME_TEXT: "exact", SAME_URL: "url", SIMILAR: "minhash", SAME_CONTENT: "content"}


@dataclass
class Report:
    """What was done, in numbers; ``uncompared_pairs`` above 0 means that ``leaders`` cut a large bucket short.

    Attributes:
        documents: in all shards.
        survivors: that stay.
        exact: dropped for the same text.
        url: dropped for the same address.
        minhash: dropped as similar.
        candidates: distinct pairs that the bands gave at first.
        compared: pairs verified in all.
        similar: pairs at or above the threshold.
        large_buckets: buckets with more than ``small_bucket`` documents.
        largest_bucket: documents in the largest of them.
        uncompared_pairs: pairs of standing documents that share a bucket and were left uncompared.
        rounds: of verification.
    """

    documents: int = 0
    survivors: int = 0
    exact: int = 0
    url: int = 0
    minhash: int = 0
    content: int = 0
    candidates: int = 0
    compared: int = 0
    similar: int = 0
    large_buckets: int = 0
    largest_bucket: int = 0
    uncompared_pairs: int = 0
    rounds: int = 0

    def add(self, other: Report) -> None:
        """Add what was done elsewhere; the largest bucket and the rounds are those of the worst place."""
        for name, value in other.as_dict().items():
            mine = getattr(self, name)
            setattr(self, name, max(mine, value) if name in ("largest_bucket", "rounds") else mine + value)

    def as_dict(self) -> dict[str, int]:
        """For receipts and JSON."""
        return asdict(self)


class Resolved(NamedTuple):
    """The answer.

    Attributes:
        labels: shard → table of ``LABELS`` (and ``EARLIER``, if there are earlier runs), row-aligned with its
            signature table.
        pairs: ``PAIRS``, one row per dropped document, in the order of survivors.
        report: counts.
    """

    labels: dict[Any, pa.Table]
    pairs: pa.Table
    report: Report


class _Fates(NamedTuple):
    survivor: I64
    kind: npt.NDArray[np.int8]
    edge: I64
    holder: I64


def resolve(
    signatures: Signatures,
    reader: TextReader | None,
    config: Plan | DedupConfig | Sequence[DedupConfig],
    *,
    candidates: Sequence[pa.Table] | None = None,
    memory_mb: float = 512,
) -> Resolved:
    """Labels of all documents of all shards, and the pairs that explain the drops.

    Args:
        signatures: (shard, table or Parquet file of ``sign_shard``) for every shard.
        reader: gives texts for verification; None only if the config has no minhash.
        config: the dedup configs that the shards were signed with.
        candidates: tables of ``candidate_pairs`` of all partitions; None joins here.
        memory_mb: budget for the shingle sets of verification. Beside it: 120 bytes per document, 32 bytes per key of
            a join of at most 4 million keys, 48 bytes per compared pair.

    Raises:
        ConfigError: signatures of other parameters, an unknown column in ``prefer``, or no reader.
        VerificationError: an id that occurs twice, or a shard that holds fewer texts than were signed.
    """
    plan = as_plan(config)
    corpus = load_corpus(signatures, plan)
    if plan.minhash is None:
        return decide(corpus, plan)
    if reader is None:
        raise ConfigError("dedup: minhash verifies its candidates and needs a reader of texts")
    found = join(signatures, corpus, plan) if candidates is None else read_candidates(list(candidates), corpus)
    return decide(corpus, plan, found, Verifier(corpus, reader, plan.minhash, memory_mb))


def decide(corpus: Corpus, plan: Plan, found: Candidates | None = None, verifier: Verifier | None = None) -> Resolved:
    """Labels of the documents of ``corpus``, given all their candidates; both are None without minhash."""
    report = Report(documents=len(corpus) - corpus.fixed)
    if plan.minhash is None or found is None or verifier is None:
        compared = Compared.nothing()
        fates, edges = _decide(corpus, compared, 1.0)
    else:
        compared, fates, edges = _settle(corpus, found, verifier, plan.minhash, report)
    return _answer(corpus, compared, fates, edges, report)


def _settle(
    corpus: Corpus, found: Candidates, verifier: Verifier, config: MinhashConfig, report: Report
) -> tuple[Compared, _Fates, I64]:
    """Verify and decide, in rounds, until no pair that could matter is left."""
    compared = verifier.compare(found.codes)
    report.candidates = len(found.codes)
    report.large_buckets, report.largest_bucket = len(found.borders) - 1, found.largest
    leaders = 1
    while True:
        report.rounds += 1
        fates, edges = _decide(corpus, compared, config.threshold)
        more, beyond = open_pairs(
            found.large, found.borders, _standing(corpus, fates), compared.codes, corpus.fixed, leaders,
            config.leaders, _ROOM,
        )  # fmt: skip
        more = np.unique(np.concatenate([more, _bridges(corpus, compared, fates, edges)]))
        if not len(more):
            report.uncompared_pairs = int(beyond)
            report.compared, report.similar = len(compared.codes), len(edges)
            return compared, fates, edges
        compared = compared.merged(verifier.compare(more))
        leaders *= 4


def _decide(corpus: Corpus, compared: Compared, threshold: float) -> tuple[_Fates, I64]:
    """The fate of every document by the pairs compared so far, and which of those pairs are similar."""
    similarity = compared.similarity
    edges = np.flatnonzero(similarity >= threshold)
    left, right = compared.left[edges], compared.right[edges]
    borders, at = neighbours(len(corpus), left, right)
    groups = corpus.text_group, corpus.url_group, corpus.content_group, corpus.first
    return _Fates(*survivors(*groups, corpus.fixed, left, right, similarity[edges], borders, at)), edges


def _standing(corpus: Corpus, fates: _Fates) -> npt.NDArray[np.bool_]:
    """Per rank, True for a first document of a text that is kept (by itself or by another with that text)."""
    standing = np.zeros(len(corpus), np.bool_)
    standing[corpus.first[fates.holder >= 0]] = True
    return standing


def _bridges(corpus: Corpus, compared: Compared, fates: _Fates, edges: I64) -> U64:
    """Uncompared pairs of a standing document and the survivor that one of its similar documents was dropped for."""
    standing = _standing(corpus, fates)
    left, right = compared.left[edges], compared.right[edges]
    gone = np.concatenate([left, right])
    other = np.concatenate([right, left])
    chosen = (fates.kind[gone] == SIMILAR) & ~standing[gone] & standing[other]
    survivor = corpus.first[corpus.text_group[fates.survivor[gone[chosen]]]]
    other = other[chosen]
    low, high = np.minimum(survivor, other), np.maximum(survivor, other)
    codes = low.astype(np.uint64) << np.uint64(32) | high.astype(np.uint64)
    return np.setdiff1d(codes[(low != high) & (high >= corpus.fixed)], compared.codes)


def _answer(corpus: Corpus, compared: Compared, fates: _Fates, edges: I64, report: Report) -> Resolved:
    dropped = np.flatnonzero(fates.kind != 0)
    similarity = np.full(len(corpus), np.nan)
    containment = np.full(len(corpus), np.nan)
    similarity[fates.kind == SAME_TEXT] = containment[fates.kind == SAME_TEXT] = 1.0
    near = np.flatnonzero(fates.kind == SIMILAR)
    pair = edges[fates.edge[near]] if len(near) else np.zeros(0, np.int64)
    similarity[near] = compared.similarity[pair]
    is_left = compared.left[pair] == corpus.first[corpus.text_group[near]]
    containment[near] = compared.shared[pair] / np.where(is_left, compared.n_left[pair], compared.n_right[pair])
    names = np.array([None, *(_KINDS[k] for k in sorted(_KINDS))], object)
    kind = pa.array(names[fates.kind], pa.string())
    order = dropped[np.lexsort((dropped, fates.survivor[dropped]))]
    report.survivors = report.documents - len(dropped)
    for number, name in _KINDS.items():
        setattr(report, name, int((fates.kind == number).sum()))
    pairs = _pairs(corpus, fates.survivor, order, similarity, containment, kind)
    return Resolved(_labels(corpus, fates, similarity, kind), pairs, report)


def _pairs(corpus: Corpus, survivor: I64, order: I64, similarity: Any, containment: Any, kind: pa.Array) -> pa.Table:
    removed, kept = pa.array(order), pa.array(survivor[order])
    sources = corpus.source_ids if corpus.source_ids is not None else pa.nulls(len(corpus), pa.string())
    arrays = [
        corpus.ids.take(removed),
        corpus.ids.take(kept),
        pa.array(similarity[order], from_pandas=True),
        pa.array(containment[order], from_pandas=True),
        kind.take(removed),
        sources.take(removed),
        sources.take(kept),
        _dumps(corpus).take(kept),
    ]
    return pa.Table.from_arrays(arrays, schema=PAIRS)


def _dumps(corpus: Corpus) -> pa.Array:
    return corpus.dumps if corpus.dumps is not None else pa.nulls(len(corpus), pa.string())


def _labels(corpus: Corpus, fates: _Fates, similarity: Any, kind: pa.Array) -> dict[Any, pa.Table]:
    size = np.bincount(fates.survivor, minlength=len(corpus))[fates.survivor].astype(np.int64)
    stays = fates.kind == 0
    cluster = corpus.ids.take(pa.array(fates.survivor))
    arrays = [
        corpus.ids,
        cluster,
        pa.array(size),
        pa.array(stays),
        pa.array(similarity.astype(np.float32), from_pandas=True),
        pc.if_else(pa.array(stays), None, cluster),
        kind,
    ]
    if corpus.dumps is not None:
        arrays.append(pc.if_else(pa.array(stays), None, corpus.dumps.take(pa.array(fates.survivor))))
    schema = LABELS if corpus.dumps is None else pa.schema([*LABELS, EARLIER])
    table = pa.Table.from_arrays(arrays, schema=schema)
    return {shard: table.take(pa.array(ranks)) for shard, ranks in zip(corpus.shards, corpus.ranks, strict=True)}
