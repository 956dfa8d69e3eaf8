"""A reference sample that does not move: which documents are in it, and what a score means among them.

Scores of different raters are comparable as ranks over one fixed sample. The sample is the ``size`` documents with the
smallest hashes of their ids, so it is the same for every order of shards and every number of workers, partial samples
of shards merge into it, and a corpus of at most ``size`` documents is its own sample. A larger corpus is judged by a
uniform sample: with 95 % certainty every percentile is off by at most √(ln 40 / 2n), 0.43 percentage points at 100,000
documents (Dvoretzky-Kiefer-Wolfowitz).

The percentile of x is the share of the sample below x and half the share equal to x (mid-rank, so the mean over the
sample is 1/2 whatever the ties); between two values of the sample it is read off the straight line between theirs;
below the smallest value it is 0, above the largest 1. It never falls while x rises.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.documents import column
from curate.errors import ConfigError
from curate.select.noise import Floats, hashes
from curate.store.digests import TableDigest

VERSION = 1
SCHEMA = pa.schema(
    [
        column("value", pa.float64(), "a score that occurs in the sample", nullable=False),
        column("weight", pa.int64(), "documents (or tokens) of the sample with this score", nullable=False),
    ]
)
_KEY = b"curate.reference"
_PURPOSE = "reference sample"
#: hidden column with the hashes, while a sample is put together
HASH = "_hash"


def smallest(table: pa.Table, size: int, seed: int) -> pa.Table:
    """The part of a table that can be in the sample, in the order of its hashes (column ``_hash``); ties by id.

    Applied to the concatenation of such parts it gives the sample of all of them. Memory: the table.

    Args:
        table: with ``id``; may already have ``_hash``.
    """
    if HASH not in table.schema.names:
        table = table.append_column(pa.field(HASH, pa.uint64()), pa.array(hashes(table["id"], seed, _PURPOSE)))
    key: npt.NDArray[np.uint64] = table[HASH].to_numpy()
    if len(key) > size:
        limit = np.partition(key, size - 1)[size - 1] if size else np.uint64(0)
        table = table.filter(pa.array(key <= limit))
    return table.sort_by([(HASH, "ascending"), ("id", "ascending")]).slice(0, size)


@dataclass(frozen=True)
class Reference:
    """The distribution of one score over the sample.

    Attributes:
        name: of the score.
        values: the different scores that occur, ascending.
        weights: int64, documents (or tokens) with each.
        documents: documents of the sample with a score.
        about: how the sample was drawn; JSON-able, without dates.
    """

    name: str
    values: Floats
    weights: npt.NDArray[np.int64]
    documents: int
    about: dict[str, Any]

    @classmethod
    def fit(
        cls,
        name: str,
        scores: Floats,
        weights: npt.NDArray[np.int64] | None = None,
        about: dict[str, Any] | None = None,
    ) -> Reference:
        """The distribution of ``scores`` (NaN left out), each counted once or by its weight; -0 counts as 0."""
        known = ~np.isnan(scores)
        values, place = np.unique(scores[known] + 0.0, return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, place, 1 if weights is None else weights[known])
        return cls(name, values, counts, int(known.sum()), about or {})

    def percentiles(self, scores: Floats) -> Floats:
        """Percentile of each score, 0–1; NaN where the score is NaN, or the sample is empty."""
        total = int(self.weights.sum())
        if total == 0:
            return np.full(len(scores), np.nan)
        middle = (np.cumsum(self.weights) - self.weights / 2) / total
        found: Floats = np.interp(scores, self.values, middle, left=0.0, right=1.0)
        found[np.isnan(scores)] = np.nan
        return found

    def below(self, scores: Floats) -> Floats:
        """Share of the sample's weight that is strictly below each score, 0–1; NaN where the score is NaN."""
        return self._share(scores, "left")

    def up_to(self, scores: Floats) -> Floats:
        """Share of the sample's weight at or below each score, 0–1; NaN where the score is NaN."""
        return self._share(scores, "right")

    def _share(self, scores: Floats, side: Any) -> Floats:
        total = int(self.weights.sum())
        if total == 0:
            return np.full(len(scores), np.nan)
        sums = np.concatenate(([0], np.cumsum(self.weights)))
        found: Floats = sums[np.searchsorted(self.values, scores, side=side)] / total
        found[np.isnan(scores)] = np.nan
        return found

    def quantile(self, share: float) -> float:
        """The smallest score at or below which ``share`` (0–1) of the weight lies; NaN if the sample is empty."""
        if not len(self.values):
            return float("nan")
        sums = np.cumsum(self.weights)
        place = int(np.searchsorted(sums, share * int(sums[-1]) - 1e-9 * int(sums[-1]), side="left"))
        return float(self.values[min(place, len(self.values) - 1)])

    def edges(self, n: int) -> Floats:
        """The n − 1 scores behind which the parts 1 … n − 1 of n equal parts of the weight begin.

        A score belongs to part ``searchsorted(edges, score, side="left")``: equal scores share a part, and a part can
        be empty where one score is more frequent than a part is large.
        """
        total = int(self.weights.sum())
        if total == 0:
            return np.empty(0)
        sums = np.cumsum(self.weights)
        wanted = np.array([-(-total * k // n) for k in range(1, n)], np.int64)
        found: Floats = self.values[np.searchsorted(sums, wanted, side="left")]
        return found

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest score of the sample; NaN if it is empty."""
        return (float(self.values[0]), float(self.values[-1])) if len(self.values) else (float("nan"), float("nan"))

    @property
    def digest(self) -> str:
        """Digest of name and distribution."""
        found = TableDigest(SCHEMA)
        found.update(self._plain())
        return f"{found.hexdigest()}:{self.name}"

    def to_table(self) -> pa.Table:
        """The artefact: one row per different score; the schema's metadata say whose, how drawn, and the digest."""
        said = {"name": self.name, "documents": self.documents, "about": self.about, "version": VERSION,
                "digest": self.digest}  # fmt: skip
        return self._plain().replace_schema_metadata({_KEY: json.dumps(said, sort_keys=True)})

    def _plain(self) -> pa.Table:
        return pa.table([pa.array(self.values, pa.float64()), pa.array(self.weights, pa.int64())], schema=SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table, where: str) -> Reference:
        """The reference that ``to_table`` wrote; ConfigError if the table is another one, or was changed."""
        said = (table.schema.metadata or {}).get(_KEY)
        if said is None or table.schema.names != SCHEMA.names:
            raise ConfigError(f"{where} is no reference sample: it lacks the columns or the note of one")
        about = json.loads(said)
        if about.get("version") != VERSION:
            raise ConfigError(f"{where}: a reference of version {about.get('version')}; this program reads {VERSION}")
        values = table["value"].to_numpy(zero_copy_only=False)
        weights = table["weight"].to_numpy(zero_copy_only=False)
        found = cls(about["name"], values, weights, about["documents"], about["about"])
        if found.digest != about["digest"]:
            raise ConfigError(f"{where}: its digest is not that of its values: it was changed or damaged; make it anew")
        return found


def reference_bytes(reference: Reference) -> bytes:
    """The artefact as a Parquet file."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(reference.to_table(), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_reference(path: Path) -> Reference:
    """A frozen reference from a Parquet file; ConfigError if there is none."""
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: no reference sample can be read from it ({type(error).__name__})") from error
    return Reference.from_table(table, str(path))
