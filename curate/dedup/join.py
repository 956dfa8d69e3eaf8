"""From band keys to candidate pairs: partitions by key range, equal keys to buckets, buckets to pairs.

Two documents are candidates if they share a bucket, that is all hashes of one band. A bucket of at most
``small_bucket`` documents gives all its pairs, so a document costs at most (small_bucket - 1) pairs per band. A larger
bucket gives the pairs of its most preferred document with all others, so at most one pair per document and band; it is
kept as a whole too, and after each round of verification the documents that still stand are compared further
(``curate.dedup.resolution``). Nothing is skipped here, whatever the size of a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.config import DedupConfig, MinhashConfig, Plan, as_plan
from curate.dedup.signatures import band_matrix
from curate.dedup.survivors import Corpus, Signatures, load_corpus, table_of
from curate.documents import column
from curate.errors import ConfigError, VerificationError
from curate.kernels.clusters import equal_groups, first_pairs, keys_between

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Keys joined at a time: 2^22 keys need about 130 MB with their copies.
KEYS_PER_PARTITION = 1 << 22

CANDIDATES = pa.schema(
    [
        column("left_id", pa.string(), "the preferred document of the pair", nullable=False),
        column("right_id", pa.string(), "the other document", nullable=False),
        column("bucket", pa.uint64(), "of a large bucket, whose members are its left and all its rights; else null"),
    ]
)


@dataclass(frozen=True)
class Candidates:
    """Candidate pairs as ranks, and the buckets that were too large for all their pairs.

    Attributes:
        codes: sorted, distinct ``left << 32 | right``, left < right.
        large: members of the large buckets, ascending within each.
        borders: bucket ``b`` is ``large[borders[b]:borders[b + 1]]``.
    """

    codes: U64
    large: I64
    borders: I64

    @property
    def largest(self) -> int:
        """Members of the largest of the large buckets; 0 if there is none."""
        return int(np.diff(self.borders).max(initial=0))


def candidate_pairs(
    signatures: Signatures, config: Plan | DedupConfig | list[DedupConfig], *, partition: tuple[int, int] = (0, 1)
) -> pa.Table:
    """Candidate pairs of one key range, as ids; sorted, so that equal inputs give equal tables in any order of shards.

    Args:
        signatures: (shard, table or Parquet file) of every shard.
        config: as the shards were signed.
        partition: (k, n): the k-th of n equal ranges of keys. The pairs of all n ranges together are those of (0, 1),
            though a pair may occur in several.

    Returns:
        ``CANDIDATES``. Memory: the corpus (120 bytes per document) and 32 bytes per key of the range.
    """
    plan = as_plan(config)
    corpus = load_corpus(signatures, plan)
    found = join(signatures, corpus, plan, partition=partition)
    heads = np.repeat(found.large[found.borders[:-1]], np.diff(found.borders))
    star = heads != found.large
    names = np.repeat(np.arange(len(found.borders) - 1, dtype=np.uint64), np.diff(found.borders))
    left = np.concatenate([(found.codes >> np.uint64(32)).astype(np.int64), heads[star]])
    right = np.concatenate([(found.codes & np.uint64(0xFFFFFFFF)).astype(np.int64), found.large[star]])
    bucket = pa.concat_arrays([pa.nulls(len(found.codes), pa.uint64()), pa.array(names[star])])
    take = corpus.ids.take
    return pa.Table.from_arrays([take(pa.array(left)), take(pa.array(right)), bucket], schema=CANDIDATES)


def read_candidates(tables: list[pa.Table], corpus: Corpus) -> Candidates:
    """The tables of ``candidate_pairs`` of all partitions, as ranks.

    Raises:
        VerificationError: a table names a document that the signatures do not.
    """
    order = np.argsort(corpus.ids.to_numpy(zero_copy_only=False).astype("S"), kind="stable")
    names = corpus.ids.to_numpy(zero_copy_only=False).astype("S")[order]

    def ranks(ids: pa.ChunkedArray) -> I64:
        wanted = ids.to_numpy().astype("S")
        at = np.minimum(np.searchsorted(names, wanted), max(len(names) - 1, 0))
        if len(wanted) and (not len(names) or (names[at] != wanted).any()):
            raise VerificationError("dedup: candidate pairs name documents that are not in the signatures")
        found: I64 = order[at].astype(np.int64)
        return found

    codes: list[U64] = []
    large: list[I64] = []
    for table in tables:
        left, right = ranks(table.column("left_id")), ranks(table.column("right_id"))
        codes.append(left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64))
        bucket = table.column("bucket").combine_chunks()
        chosen = bucket.is_valid().to_numpy(zero_copy_only=False)
        keys = bucket.filter(bucket.is_valid()).to_numpy()
        for key in np.unique(keys):
            of_key = keys == key
            large.append(np.unique(np.concatenate([left[chosen][of_key], right[chosen][of_key]])))
    return candidates_of(codes, large)


def join(signatures: Signatures, corpus: Corpus, plan: Plan, *, partition: tuple[int, int] = (0, 1)) -> Candidates:
    """Candidate pairs among documents that are the first of their text, over one range of keys."""
    config = plan.minhash
    if config is None:
        raise ConfigError("dedup: candidate pairs need minhash in the config")
    k, n = partition
    if not 0 <= k < n:
        raise ConfigError(f"dedup: partition {k} of {n} does not exist")
    total = len(corpus) * config.plan.bands // n
    pieces = max(1, -(-total // KEYS_PER_PARTITION))
    ranks = corpus.ranks
    is_first = corpus.first[corpus.text_group] == np.arange(len(corpus))
    codes: list[U64] = []
    large: list[I64] = []
    for piece in range(pieces):
        low, high = _key_range(k * pieces + piece, n * pieces)
        keys, members = _keys_between(signatures, ranks, is_first, config, low, high)
        grouped, borders = equal_groups(keys, members)
        codes.append(np.unique(first_pairs(grouped, borders, config.small_bucket, 0)))
        sizes = np.diff(borders)
        large += [grouped[borders[g] : borders[g + 1]] for g in np.flatnonzero(sizes > config.small_bucket)]
    return candidates_of(codes, large)


def candidates_of(codes: list[U64], large: list[I64]) -> Candidates:
    """Everything once; the same bucket often stands in several bands."""
    once = sorted({members.tobytes() for members in large})
    arrays = [np.frombuffer(members, np.int64) for members in once]
    return Candidates(
        codes=np.unique(np.concatenate([np.zeros(0, np.uint64), *codes])),
        large=np.concatenate([np.zeros(0, np.int64), *arrays]),
        borders=np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64),
    )


def _key_range(k: int, n: int) -> tuple[int, int]:
    """First and last key of the k-th of n ranges."""
    return (k << 64) // n, ((k + 1) << 64) // n - 1


def _keys_between(
    signatures: Signatures,
    ranks: list[I64],
    is_first: npt.NDArray[np.bool_],
    config: MinhashConfig,
    low: int,
    high: int,
) -> tuple[U64, npt.NDArray[np.int32]]:
    """Keys of the range with the ranks of their documents."""
    found = [(np.zeros(0, np.uint64), np.zeros(0, np.int32))]
    for (_, given), rank in zip(signatures, ranks, strict=True):
        matrix, valid = band_matrix(table_of(given, ["bands"]), config)
        found.append(keys_between(matrix, valid & is_first[rank], rank, np.uint64(low), np.uint64(high)))
    return np.concatenate([keys for keys, _ in found]), np.concatenate([members for _, members in found])
