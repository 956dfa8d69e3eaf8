"""What a selection took: documents and tokens by domain and by length, before and after."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

#: upper ends of the length bands, in tokens; the last is open
BANDS = (128, 512, 2048, 8192, 32768)
NONE = "(none)"


def band_names() -> list[str]:
    """Names of the length bands, shortest first."""
    edges = (0, *BANDS)
    return [*(f"{a}-{b - 1}" for a, b in itertools.pairwise(edges)), f"{BANDS[-1]}+"]


@dataclass
class Taken:
    """Sums over documents; whole numbers, so their order does not matter.

    Attributes:
        domains: domain → (documents, tokens, documents taken, tokens taken, copies' tokens).
        bands: the same by length band.
    """

    domains: dict[str, list[int]] = field(default_factory=dict)
    bands: dict[str, list[int]] = field(default_factory=dict)

    def add(
        self,
        domains: Sequence[str | None] | None,
        tokens: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.bool_],
        copies: npt.NDArray[np.int32] | None = None,
    ) -> None:
        """Count a batch; ``copies`` are how often each is taken, 1 or 0 by default."""
        often = chosen.astype(np.int64) if copies is None else copies.astype(np.int64)
        if domains is not None:
            names = np.array([d if d is not None else NONE for d in domains], dtype=object)
            _count(self.domains, names, tokens, chosen, often)
        bands = np.array(band_names(), dtype=object)[np.searchsorted(np.array(BANDS), tokens, side="right")]
        _count(self.bands, bands, tokens, chosen, often)

    def merge(self, other: dict[str, dict[str, list[int]]]) -> None:
        """Add what ``as_json`` of another one said."""
        for mine, theirs in ((self.domains, other["domains"]), (self.bands, other["bands"])):
            for name, numbers in theirs.items():
                have = mine.setdefault(name, [0] * 5)
                mine[name] = [a + b for a, b in zip(have, numbers, strict=True)]

    def as_json(self) -> dict[str, dict[str, list[int]]]:
        """The sums, for a receipt."""
        return {"domains": dict(sorted(self.domains.items())), "bands": dict(sorted(self.bands.items()))}

    def report(self) -> dict[str, Any]:
        """The sums with shares, for people."""
        total = [sum(v[i] for v in self.bands.values()) for i in range(5)]
        out: dict[str, Any] = {"all": _said(total, total)}
        if self.domains:
            out["by_domain"] = {n: _said(v, total) for n, v in sorted(self.domains.items())}
        out["by_tokens"] = {n: _said(self.bands[n], total) for n in band_names() if n in self.bands}
        return out


def _count(
    into: dict[str, list[int]],
    names: npt.NDArray[np.object_],
    tokens: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
    copies: npt.NDArray[np.int64],
) -> None:
    for name in sorted(set(names.tolist())):
        mask = names == name
        hit = mask & chosen
        sums = (int(mask.sum()), int(tokens[mask].sum()), int(hit.sum()), int(tokens[hit].sum()),
                int((tokens * copies)[mask].sum()))  # fmt: skip
        have = into.setdefault(str(name), [0] * 5)
        into[str(name)] = [a + b for a, b in zip(have, sums, strict=True)]


def _said(numbers: list[int], total: list[int]) -> dict[str, Any]:
    documents, tokens, taken, taken_tokens, copies = numbers
    return {
        "documents": documents,
        "tokens": tokens,
        "taken_documents": taken,
        "taken_tokens": taken_tokens,
        "taken_tokens_with_repeats": copies,
        "share_before": tokens / total[1] if total[1] else 0.0,
        "share_after": copies / total[4] if total[4] else 0.0,
    }
