"""The two joins over ranges of hashes: which seeds occur often enough, and which stretches repeat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.dedup.substring.config import SubstringConfig
from curate.dedup.substring.exchange import Flags, group_file, write_answers
from curate.dedup.substring.texts import NAMES, WINDOWS, range_name
from curate.kernels.substring_groups import equal_pairs, smallest, sums
from curate.store.folder import Folder
from curate.store.shards import Output

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Rows = list[tuple[str, int, int]]

#: Rows joined at a time: about 100 bytes each with all copies.
JOIN_ROWS = 4 << 20
#: How many of the most frequent stretches are told.
TOP = 20


def join_seeds(
    folder: Folder, shards: Sequence[str], config: SubstringConfig, partition: int, partitions: int
) -> tuple[Output, int]:
    """Write which seeds of a key range occur in enough documents (``within``: places).

    Returns:
        the file, and how many seeds do (one that is listed for several blocks of shards counts for each).

    Memory: ``JOIN_ROWS`` seeds at a time (larger ranges are read several times), and a bit per seed of the range.

    Raises:
        FileNotFoundError: a shard was not signed.
    """
    name = NAMES.seeds
    answers: list[tuple[str, int, Flags, Flags]] = []
    for rows, low, high in _pieces(folder, name, shards, partition, partitions, "seed"):
        found = _gather(folder, name, shards, partition, partitions, ["seed", "count"], "seed", low, high)
        keys, counts = found["seed"], found["count"]
        group, heads = equal_pairs(keys, keys)
        active = sums(group, counts, len(heads))[group] >= config.min_occurrences
        _spread(answers, rows, found["source"], found["at"], active, np.zeros(len(active), np.bool_))
    output = write_answers(folder, NAMES.active.format(range_name(partition)), answers, partition)
    return output, sum(int(mask.sum()) for _, _, mask, _ in answers)


def _pieces(
    folder: Folder, name: str, shards: Sequence[str], partition: int, partitions: int, key: str
) -> Iterator[tuple[Rows, int, int]]:
    """The key range in pieces of about ``JOIN_ROWS`` rows: (shard, block, rows) of all, first and last key."""
    rows: Rows = []
    for shard in shards:
        with group_file(folder, name.format(shard), partitions) as file:
            rows += [(shard, block, n) for block in range(file.blocks) if (n := file.rows(block, partition))]
    pieces = max(1, -(-sum(n for _, _, n in rows) // JOIN_ROWS))
    for piece in range(pieces):
        at, of = partition * pieces + piece, partitions * pieces
        yield rows, -(-(at << 64) // of), -(-((at + 1) << 64) // of) - 1


def _gather(
    folder: Folder, name: str, shards: Sequence[str], partition: int, partitions: int, columns: list[str], key: str,
    low: int, high: int,
) -> dict[str, Any]:  # fmt: skip
    """The columns of all rows with keys from ``low`` to ``high``.

    ``source`` numbers the (shard, block) of each row as ``_pieces`` lists them, ``at`` is its row there.
    """
    parts: dict[str, list[Any]] = {c: [] for c in [*columns, "source", "at"]}
    source = 0
    for shard in shards:
        with group_file(folder, name.format(shard), partitions) as file:
            for block in range(file.blocks):
                if not file.rows(block, partition):
                    continue
                table = file.read(block, partition, columns)
                keys = table[key].to_numpy()
                at = np.flatnonzero((keys >= np.uint64(low)) & (keys <= np.uint64(high)))
                for c in columns:
                    parts[c].append(table[c].to_numpy()[at])
                parts["source"].append(np.full(len(at), source, np.int32))
                parts["at"].append(at.astype(np.int32))
                source += 1
    empty = {"source": np.int32, "at": np.int32, "count": np.int64}
    return {c: np.concatenate([np.zeros(0, empty.get(c, np.uint64)), *p]) for c, p in parts.items()}


def _spread(
    answers: list[tuple[str, int, Flags, Flags]], rows: Rows, source: I32, at: I32, flags: Flags, first: Flags
) -> None:
    """Put the flags of a piece at their places in the masks of all (shard, block)."""
    if not answers:
        answers.extend((shard, block, np.zeros(n, np.bool_), np.zeros(n, np.bool_)) for shard, block, n in rows)
    borders = np.searchsorted(source, np.arange(len(rows) + 1))
    for s, (_, _, mask, mask_first) in enumerate(answers):
        part = slice(int(borders[s]), int(borders[s + 1]))
        mask[at[part]] = flags[part]
        mask_first[at[part]] = first[part]


@dataclass(frozen=True)
class Frequent:
    """A stretch that occurs often: its hashes, in how many documents (``within``: places), and where it is first."""

    count: int
    hash: str
    document: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"count": self.count, "hash": self.hash, "first_document": self.document}


def join_windows(
    folder: Folder, shards: Sequence[str], config: SubstringConfig, partition: int, partitions: int
) -> tuple[Output, list[Frequent], int]:
    """Write which stretches of a key range repeat, and which shard has the document with the smallest id.

    Returns:
        the file, the ``TOP`` most frequent stretches (``most_frequent``), and how many different stretches repeat.

    Memory: as ``join_seeds``.
    """
    name, columns = NAMES.windows, WINDOWS.names
    answers: list[tuple[str, int, Flags, Flags]] = []
    top: list[Frequent] = []
    different = 0
    for rows, low, high in _pieces(folder, name, shards, partition, partitions, "a"):
        found = _gather(folder, name, shards, partition, partitions, columns, "a", low, high)
        group, heads = equal_pairs(found["a"], found["b"])
        totals = sums(group, found["count"], len(heads))
        best = smallest(group, found["id_high"], found["id_low"], len(heads))
        is_first = np.zeros(len(group), np.bool_)
        is_first[best] = True
        repeats = totals >= config.min_occurrences
        different += int(repeats.sum())
        top = _top(top, found, heads, totals, best, repeats)
        _spread(answers, rows, found["source"], found["at"], repeats[group], is_first)
    output = write_answers(folder, NAMES.repeats.format(range_name(partition)), answers, partition)
    return output, top, different


def _top(
    top: list[Frequent], found: dict[str, Any], heads: I64, totals: I64, best: I64, repeats: Flags
) -> list[Frequent]:
    """``top`` and the most frequent of a piece: level by level of counts, until there are ``TOP``."""
    chosen = np.flatnonzero(repeats)
    chosen = chosen[np.argsort(-totals[chosen], kind="stable")]
    added: list[Frequent] = []
    start = 0
    while start < len(chosen) and len(added) < TOP:
        count = totals[chosen[start]]
        stop = int(np.searchsorted(-totals[chosen], -count, side="right"))
        level = chosen[start:stop]
        row, owner = heads[level], best[level]
        keys = found["b"][row], found["a"][row], found["id_low"][owner], found["id_high"][owner]
        order = np.lexsort(keys)
        fresh = np.ones(len(order), np.bool_)
        for key in keys[2:]:
            fresh[1:] &= key[order][1:] == key[order][:-1]
        fresh[1:] = ~fresh[1:]
        for at in order[fresh][:TOP].tolist():
            hash_, document = ((int(keys[h][at]), int(keys[low][at])) for h, low in ((1, 0), (3, 2)))
            added.append(Frequent(int(count), _id_text(*hash_), _id_text(*document)))
        start = stop
    return most_frequent([*top, *added])


def most_frequent(found: Iterable[Frequent]) -> list[Frequent]:
    """The ``TOP`` of them, most frequent first, then by document; one stretch per document and count.

    A repeated text of a hundred words has fifty stretches of fifty words, all with the same count and document: the one
    with the smallest hash stands for them.
    """
    least: dict[tuple[int, str], Frequent] = {}
    for one in sorted(found, key=lambda f: (-f.count, f.document, f.hash)):
        least.setdefault((one.count, one.document), one)
    return list(least.values())[:TOP]


def _id_text(high: int, low: int) -> str:
    return f"{high:016x}{low:016x}"
