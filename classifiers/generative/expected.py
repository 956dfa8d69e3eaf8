"""Finer scores from the probabilities of the tokens of an answer.

An integer of five levels ties most documents; the expected digit under the model's own probabilities does not. It is
kept beside the integer, never in its place. A digit that the server does not list has no known probability: it counts
as zero only where all that is not listed comes to at most ``UNSEEN``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from curate.rewrite.requests import TokenLogprob

__all__ = ["UNSEEN", "at_positions", "expected_value", "shares"]

#: probability that may be missing from a list of likeliest tokens
UNSEEN = 0.01


def shares(top: Sequence[tuple[str, float]], names: Mapping[str, str]) -> dict[str, float] | None:
    """Probability of each of the answers ``names.values()``, summing to 1; null if the list does not tell.

    Args:
        top: likeliest tokens with their natural-log probabilities.
        names: spelling of a token → the answer that it stands for; several spellings may stand for one.
    """
    answers = list(dict.fromkeys(names.values()))
    mass = dict.fromkeys(answers, 0.0)
    seen: set[str] = set()
    listed = 0.0
    for token, value in top:
        share = math.exp(min(value, 0.0))
        listed += share
        answer = names.get(token)
        if answer is not None:
            mass[answer] += share
            seen.add(answer)
    total = sum(mass.values())
    if total <= 0.0 or (len(seen) < len(answers) and 1.0 - listed > UNSEEN):
        return None
    return {answer: share / total for answer, share in mass.items()}


def expected_value(top: Sequence[tuple[str, float]], numbers: Mapping[str, float]) -> float | None:
    """Mean of the numbers under the probabilities of the tokens that spell them; null if the list does not tell."""
    found = shares(top, {token: str(number) for token, number in numbers.items()})
    return None if found is None else sum(float(number) * share for number, share in found.items())


def at_positions(
    logprobs: Sequence[TokenLogprob] | None, text: str, positions: Sequence[int]
) -> list[tuple[str, str, Sequence[tuple[str, float]]] | None]:
    """For characters of an answer: what their token holds before and after them, and the likeliest tokens there.

    Null for a character whose token the server does not give, and for all of them where the tokens do not spell the
    answer (ids in place of texts, bytes that are no text).
    """
    missing: list[tuple[str, str, Sequence[tuple[str, float]]] | None] = [None] * len(positions)
    if logprobs is None:
        return missing
    starts, at = [], 0
    for given in logprobs:
        starts.append(at)
        at += len(given.token)
    spelled = "".join(token.token for token in logprobs)
    if not spelled.startswith(text):
        return missing
    owner = {start + i: n for n, start in enumerate(starts) for i in range(len(logprobs[n].token))}
    found = list(missing)
    for i, position in enumerate(positions):
        n = owner[position]
        token = logprobs[n].token
        inside = position - starts[n]
        found[i] = (token[:inside], token[inside + 1 :], logprobs[n].top)
    return found


def digit_values(
    logprobs: Sequence[TokenLogprob] | None, text: str, positions: Sequence[int], ranges: Sequence[tuple[int, int]]
) -> list[float | None]:
    """The expected digit at each position of an answer, for one-digit scores from ``ranges``."""
    out: list[float | None] = []
    for place, (low, high) in zip(at_positions(logprobs, text, positions), ranges, strict=True):
        if place is None or low < 0 or high > 9:
            out.append(None)
            continue
        before, after, top = place
        out.append(expected_value(top, {f"{before}{k}{after}": float(k) for k in range(low, high + 1)}))
    return out
