"""QuaDMix's sampling function: how often a document is taken, from its quality rank within its domain.

Liu et al. 2025 (arXiv 2504.16511). In a domain, r is the share of tokens of documents at least as good (so the best
document has the smallest r, the worst has 1), and with the domain's parameters λ, ω, η, ε a document is taken

    S(r) = (2 / (1 + exp(−λ (ω − r))))^η + ε    for r ≤ ω,        S(r) = ε    for r > ω

times: ⌊S⌋ times for sure and once more with the probability of the rest (``sampling.drawn_copies``). That is the
paper's equation 3: at least 1 + ε above the cut. ``shape="from_zero"`` takes 1 from the bracket before the power, so
that S falls to ε at the cut without a step and never exceeds 1 + ε.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from curate.select.noise import Floats
from curate.select.reference import Reference

Shape = Literal["paper", "from_zero"]


@dataclass(frozen=True)
class Parameters:
    """The sampling function of a domain.

    Attributes:
        steepness: λ, how fast S falls towards the cut; 0 or more.
        share: ω, the share of the domain's tokens that is above the cut, 0–1.
        curvature: η, the power; 0 or more.
        floor: ε, what every document is taken at least; 0 or more.
    """

    steepness: float
    share: float
    curvature: float
    floor: float

    def __post_init__(self) -> None:
        known = (self.steepness, self.share, self.curvature, self.floor)
        if not all(np.isfinite(known)) or min(known) < 0 or self.share > 1:
            raise ValueError("steepness, curvature and floor must be finite and 0 or more, share between 0 and 1")


def expected_copies(ranks: Floats, parameters: Parameters, shape: Shape = "paper") -> Floats:
    """S(r) for each rank, 0 or more; NaN where the rank is NaN."""
    p = parameters
    inside = ranks <= p.share
    slope = 2.0 / (1.0 + np.exp(np.clip(-p.steepness * (p.share - ranks), -700.0, 700.0)))
    if shape == "from_zero":
        slope = np.clip(slope - 1.0, 0.0, None)
    found = np.where(inside, np.where(inside, slope, 0.0) ** p.curvature, 0.0) + p.floor
    return np.where(np.isnan(ranks), np.nan, found)


def quality_ranks(scores: Floats, domain: Reference) -> Floats:
    """Equation 2: the token share of the domain that is at least as good; 0–1, smaller is better; NaN without score.

    Args:
        domain: the domain's scores (larger is better), weighted by tokens. The paper too reads it off a sample
            (10,000 documents).
    """
    return 1.0 - domain.below(scores)


def draw_parameters(
    rng: np.random.Generator, scores: tuple[str, ...], domains: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """One point of the search space, as the paper's algorithm 1 draws it.

    Returns:
        domain → ``weights`` (score → share, summing to 1) and ``parameters`` (λ up to 1000, ω up to 0.1, η up to 1,
        ε up to 0.001).
    """
    globally = rng.random(len(scores))
    globally = globally / globally.sum()
    out: dict[str, dict[str, Any]] = {}
    for domain in domains:
        own = globally * rng.random(len(scores))
        own = own / own.sum()
        u = rng.random(4)
        out[domain] = {
            "weights": dict(zip(scores, own.tolist(), strict=True)),
            "parameters": Parameters(1000 * u[0], 0.1 * u[1], float(u[2]), 0.001 * u[3]),
        }
    return out


def flat(drawn: Mapping[str, Mapping[str, Any]]) -> Floats:
    """The (N + 4) · M numbers of a point, domains by name, for a regressor (``weight_search``)."""
    out: list[float] = []
    for domain in sorted(drawn):
        p = drawn[domain]["parameters"]
        out += [*drawn[domain]["weights"].values(), p.steepness, p.share, p.curvature, p.floor]
    return np.array(out)


def unflat(numbers: Floats, scores: tuple[str, ...], domains: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The point that ``flat`` made numbers of; averages of points are points too."""
    out: dict[str, dict[str, Any]] = {}
    width = len(scores) + 4
    for i, domain in enumerate(sorted(domains)):
        part = numbers[i * width : (i + 1) * width].tolist()
        out[domain] = {
            "weights": dict(zip(scores, part, strict=False)), "parameters": Parameters(*part[len(scores):]),
        }  # fmt: skip
    return out
