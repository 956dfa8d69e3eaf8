"""The table of removed pairs, read once from end to end: sums, similarities, and the pairs that are in the sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.audit.ids import ids_of, words_of
from curate.dedup.audit.tally import BANDS_PER_UNIT, CONTENT, EXACT, KINDS, NEAR, REMEDY, URL, pairs_digest
from curate.errors import VerificationError
from curate.store.folder import Folder

#: bins of the histogram of similarities, 0.01 wide; the last holds 1 alone
BINS_PER_UNIT = 100
_COLUMNS = ["removed", "survivor", "similarity", "containment", "kind"]


@dataclass
class Pairs:
    """What the table of pairs says.

    Attributes:
        counts: kind → pairs.
        similarities: number of the bin → near-duplicates.
        digest: as ``pairs_digest`` has it, over all pairs.
        of_sample: removed id → (similarity, containment), as recorded.
        least: smallest similarity of a near-duplicate; None if there is none.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS[1:], 0))
    similarities: dict[int, int] = field(default_factory=dict)
    digest: int = 0
    of_sample: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    least: float | None = None


def read_pairs(folder: Folder, name: str, sample: pa.Table, threshold: float | None) -> Pairs:
    """Read the pairs batch by batch; memory: one batch and the sample.

    Args:
        sample: rows of ``SAMPLE``, whose pairs are picked out.

    Raises:
        VerificationError: a pair contradicts itself or the threshold.
    """
    found = Pairs()
    wanted = pa.array(ids_of(sample["id_high"].to_numpy(), sample["id_low"].to_numpy()))
    for batch in _batches(folder, name):
        kind = np.asarray(pc.fill_null(pc.index_in(batch["kind"], pa.array(KINDS[1:])), -1)).astype(np.int8) + 1
        similarity = np.asarray(pc.fill_null(batch["similarity"], np.nan), np.float64)
        _check(batch, kind, similarity, threshold, name)
        removed, survivor = words_of(batch["removed"], name), words_of(batch["survivor"], name)
        found.digest = (found.digest + pairs_digest(*removed, *survivor, kind)) % (1 << 64)
        for number, count in zip(*np.unique(kind, return_counts=True), strict=True):
            found.counts[KINDS[number]] += int(count)
        near = similarity[kind == NEAR]
        if len(near):
            found.least = min(float(near.min()), found.least if found.least is not None else 1.0)
            bins = np.floor(near * BINS_PER_UNIT + 1e-9).astype(np.int64)
            for number, count in zip(*np.unique(bins, return_counts=True), strict=True):
                found.similarities[int(number)] = found.similarities.get(int(number), 0) + int(count)
        for row in batch.filter(pc.is_in(batch["removed"], wanted)).to_pylist():
            found.of_sample[row["removed"]] = (row["similarity"], row["containment"])
    return found


def band_name(stratum: int) -> str:
    """A stratum in words: ``exact``, ``url``, or the band of similarity of near-duplicates."""
    kind, band = divmod(stratum, 100)
    if kind != NEAR:
        return KINDS[kind]
    low = band / BANDS_PER_UNIT
    return "similarity 1" if low >= 1 else f"similarity {low:.2f} to {low + 1 / BANDS_PER_UNIT:.2f}"


def allotted(available: dict[int, int], total: int) -> dict[int, int]:
    """How many of ``total`` each stratum gets: the same for all, and what small ones leave goes to the others."""
    given = dict.fromkeys(sorted(available), 0)
    left = min(total, sum(available.values()))
    while left:
        open_ = [s for s in given if given[s] < available[s]]
        each = max(1, left // len(open_))
        for stratum in open_:
            more = min(each, available[stratum] - given[stratum], left)
            given[stratum] += more
            left -= more
    return given


def _batches(folder: Folder, name: str) -> Iterator[pa.RecordBatch]:
    with folder.parquet(name) as file:
        yield from file.iter_batches(batch_size=1 << 16, columns=_COLUMNS, use_threads=False)


def _check(
    batch: pa.RecordBatch, kind: npt.NDArray[np.int8], similarity: npt.NDArray[np.float64], threshold: float | None,
    name: str,
) -> None:  # fmt: skip
    containment = np.asarray(pc.fill_null(batch["containment"], np.nan), np.float64)
    known = ~np.isnan(similarity)
    least = threshold if threshold is not None else np.inf
    wrong: tuple[tuple[str, Any], ...] = (
        ("has a kind that is not known", kind == 0),
        ("is removed as an exact copy, but not with similarity 1", (kind == EXACT) & (similarity != 1)),
        ("is removed for its address or bytes, but has a similarity", np.isin(kind, (URL, CONTENT)) & known),
        (f"is removed as similar below the threshold of {threshold}", (kind == NEAR) & ~(similarity >= least)),
        ("is contained in its survivor less than it is similar to it", (kind == NEAR) & ~(containment >= similarity)),
        ("is removed with a containment above 1", (kind == NEAR) & (containment > 1)),
    )
    for what, mask in wrong:
        if mask.any():
            first = batch["removed"][int(np.flatnonzero(mask)[0])].as_py()
            raise VerificationError(
                f"duplicate removal does not hold: document {first} in {name} {what}, and {int(mask.sum()) - 1} more; "
                f"{REMEDY}"
            )
