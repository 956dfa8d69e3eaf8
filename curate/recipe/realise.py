"""From wanted tokens to whole documents: which document is written how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def shuffle_keys(ids: list[str], seed: int, copy: int = 0) -> Keys:
    """A pseudo-random 64-bit key per document that depends on its id, the seed and the copy alone.

    The id is a hash already; splitmix64 (Steele, Lea, Flood 2014) mixes seed and copy into it.
    """
    raw = np.frombuffer(bytes.fromhex("".join(i[:16] for i in ids)), ">u8").astype(np.uint64)
    with np.errstate(over="ignore"):
        z = raw + _GOLDEN * np.uint64((seed * 1_000_003 + copy + 1) & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class Realised:
    """How often each document of a group is written.

    Attributes:
        copies: per document, 0 or more.
        tokens: what that adds up to.
    """

    copies: Ints
    tokens: int


def realise(tokens: Ints, keys: Keys, wanted: float) -> Realised:
    """Whole documents that come as near to ``wanted`` tokens as a pass in random order finds.

    Every document is written ``⌊wanted ÷ available⌋`` times; for the rest documents are taken in the order of ``keys``
    as long as they fit, so that large and small ones are equally likely; then the one document that brings the sum
    nearest is added if that is nearer than leaving it out. Ties are broken by position, so give documents sorted by id.

    Args:
        tokens: per document, at least 0.
        keys: random order, from ``shuffle_keys``.
        wanted: tokens of the group.
    """
    available = int(tokens.sum())
    if available == 0:
        return Realised(np.zeros(len(tokens), np.int64), 0)
    whole = int(wanted // available)
    copies = np.full(len(tokens), whole, np.int64)
    left = wanted - whole * available
    order = np.argsort(keys, kind="stable")
    taken = _prefix_that_fits(tokens[order], left)
    copies[order[taken]] += 1
    left -= int(tokens[order[taken]].sum())
    rest = order[~taken]
    if len(rest) and left > 0:
        nearest = rest[np.argmin(np.abs(tokens[rest] - left))]
        if abs(int(tokens[nearest]) - left) < left:
            copies[nearest] += 1
    return Realised(copies, int((copies * tokens).sum()))


def _prefix_that_fits(tokens: Ints, room: float) -> npt.NDArray[np.bool_]:
    """The longest run from the start that fits, and after it every document that still fits."""
    taken = np.cumsum(tokens) <= room
    left = room - int(tokens[taken].sum())
    for i in np.flatnonzero(~taken):
        if left < 1:
            break
        if tokens[i] <= left:
            taken[i] = True
            left -= int(tokens[i])
    return taken
