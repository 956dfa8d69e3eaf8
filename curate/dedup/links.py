"""From one range of keys to links between documents, and from all links to components that can be settled apart.

Documents are numbers here: those of earlier runs first, then the rows of the shards, in the order of the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.keys import Entries
from curate.documents import column
from curate.kernels.clusters import equal_groups
from curate.kernels.links import bucket_links, least_keys, number_components, unite

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Places = npt.NDArray[np.int16]

#: What a link says. A pair: candidates, to be compared. A star: copies, or the same address. A bucket: ``left`` is its
#: number, ``right`` one of its members, any two of which are candidates.
PAIR, STAR, BUCKET = 0, 1, 2
KINDS = 3

LINKS = pa.schema(
    [
        column("key", pa.uint64(), "the least key that the two have in common here", nullable=False),
        column("left", pa.int64(), "number of a document; of the bucket, where the section is of buckets",
               nullable=False),
        column("right", pa.int64(), "number of the other document", nullable=False),
    ]
)  # fmt: skip


class Link(NamedTuple):
    """Links of one kind, column by column."""

    key: U64
    left: I64
    right: I64

    def table(self) -> pa.Table:
        """``LINKS``."""
        return pa.Table.from_arrays([pa.array(self.key), pa.array(self.left), pa.array(self.right)], schema=LINKS)

    def take(self, index: npt.NDArray[np.generic] | slice) -> Link:
        """Some of them."""
        return Link(self.key[index], self.left[index], self.right[index])

    @staticmethod
    def of(table: pa.Table) -> Link:
        """The inverse of ``table``."""
        return Link(*(np.array(table.column(name).to_numpy()) for name in LINKS.names))  # writable, as kernels expect

    @staticmethod
    def joined(parts: list[Link]) -> Link:
        """All of them."""
        nothing = Link(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        return Link(*(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True)))

    def once(self) -> Link:
        """Sorted by both documents, each pair once, with its least key."""
        ordered = self.take(np.lexsort((self.key, self.right, self.left)))
        again = np.zeros(len(self.left), np.bool_)
        again[1:] = (ordered.left[1:] == ordered.left[:-1]) & (ordered.right[1:] == ordered.right[:-1])
        return ordered.take(~again)


def link_entries(entries: Entries, small: int, fixed: int = 0) -> tuple[Link, Link, Link]:
    """``(pairs, stars, buckets)`` of the keys of one range.

    Args:
        small: members of a bucket up to which all its pairs are candidates at once.
        fixed: number of documents of earlier runs; they come first, and are not linked with each other.

    Memory: about 64 bytes per entry, and 24 per link.
    """
    keys = entries.keys >> np.uint64(2) | entries.keys << np.uint64(62)  # groups are binned by the lowest bits
    grouped, borders = equal_groups(keys, np.arange(len(keys), dtype=np.int32))
    pairs, pair_keys, stars, star_keys, members, names, ends = bucket_links(
        grouped, borders, entries.keys, entries.documents, entries.texts, fixed, small
    )
    sizes = np.diff(ends)
    order = np.argsort(names, kind="stable")
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    buckets = Link(np.repeat(names, sizes), np.repeat(number, sizes), members)
    return (
        Link(pair_keys, pairs[:, 0], pairs[:, 1]).once(),
        Link(star_keys, stars[:, 0], stars[:, 1]).once(),
        buckets.take(np.argsort(buckets.left, kind="stable")),
    )


def merge_ranges(ranges: Iterable[tuple[Link, Link, Link]]) -> tuple[Link, Link, Link]:
    """The links of several ranges, in their order, as those of one; buckets are numbered through."""
    pairs: list[Link] = []
    stars: list[Link] = []
    buckets: list[Link] = []
    done = 0
    for pair, star, bucket in ranges:
        pairs.append(pair)
        stars.append(star)
        buckets.append(bucket._replace(left=bucket.left + done))
        done += int(bucket.left[-1]) + 1 if len(bucket.left) else 0
    if len(pairs) == 1:
        return pairs[0], stars[0], buckets[0]
    return Link.joined(pairs).once(), Link.joined(stars).once(), Link.joined(buckets)


def merge_parts(parts: Iterable[tuple[Link, Link]]) -> tuple[Link, Link]:
    """Pairs and buckets of one partition of components, of all ranges of keys; buckets are numbered through."""
    all_pairs: list[Link] = []
    all_buckets: list[Link] = []
    done = 0
    for pairs, buckets in parts:
        all_pairs.append(pairs)
        changes = np.cumsum(np.diff(buckets.left, prepend=buckets.left[:1]) != 0)
        all_buckets.append(buckets._replace(left=changes + done))
        done += int(changes[-1]) + 1 if len(changes) else 0
    return Link.joined(all_pairs), Link.joined(all_buckets)


class Components:
    """Which documents are linked, through however many others.

    Feed all links to ``unite``, call ``number``, feed all again to ``measure``; then ``partitions`` says where each
    document goes. A component goes by its least key, which depends on no order of shards. Memory: 9 bytes per document
    of all shards, 10 per component.

    Args:
        documents: how many there are.
    """

    def __init__(self, documents: int) -> None:
        self._of: I64 = np.arange(documents, dtype=np.int64)
        self._compared = np.zeros(documents, np.bool_)
        self._least = np.zeros(0, np.uint64)

    def unite(self, pairs: Link, stars: Link, buckets: Link) -> None:
        """Join the components of linked documents."""
        same = buckets.left[1:] == buckets.left[:-1]
        unite(self._of, np.ascontiguousarray(buckets.right[:-1][same]), np.ascontiguousarray(buckets.right[1:][same]))
        for link in (pairs, stars):
            unite(self._of, link.left, link.right)
        for compared in (pairs.left, pairs.right, buckets.right):
            self._compared[compared] = True

    def number(self) -> int:
        """Number the components of two and more documents; says how many there are."""
        count = int(number_components(self._of))
        self._least = np.full(count, np.uint64((1 << 64) - 1))
        return count

    def measure(self, pairs: Link, stars: Link, buckets: Link) -> None:
        """Find the least key of each component."""
        for link in (pairs, stars, buckets):
            least_keys(self._of, link.right, link.key, self._least)

    def partitions(self, count: int) -> Places:
        """Per component, one of ``count`` partitions (a power of two)."""
        return (_mixed(self._least) & np.uint64(count - 1)).astype(np.int16)

    def members(self, first: int, count: int) -> tuple[npt.NDArray[np.int32], I64, npt.NDArray[np.bool_]]:
        """Of ``count`` documents from ``first``: the linked ones (from 0), their components, which are compared."""
        component = self._of[first : first + count]
        rows = np.flatnonzero(component >= 0)
        return rows.astype(np.int32), component[rows], self._compared[first : first + count][rows]

    def of(self, link: Link) -> I64:
        """The component of each link."""
        found: I64 = self._of[link.right]
        return found


def spread(links: tuple[Link, Link], place: list[Places], partitions: int) -> Iterator[tuple[int, pa.Table]]:
    """The pairs and buckets of one file by the partition of their components.

    Args:
        place: the partition of each pair, and of each row of a bucket.

    Yields:
        (2 · partition for pairs, one more for buckets; ``LINKS``).
    """
    orders = [np.argsort(where, kind="stable") for where in place]
    ends = [
        np.searchsorted(where[order], np.arange(partitions + 1)) for where, order in zip(place, orders, strict=True)
    ]
    for partition in range(partitions):
        for kind, link in enumerate(links):
            chosen = orders[kind][ends[kind][partition] : ends[kind][partition + 1]]
            yield 2 * partition + kind, link.take(chosen).table()


def _mixed(x: U64) -> U64:
    """Murmur3's finaliser: what is left of the least of many keys is evenly spread again."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ x >> np.uint64(33)) * np.uint64(factor)
    return x ^ x >> np.uint64(33)
