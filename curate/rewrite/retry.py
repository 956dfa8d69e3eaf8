"""When to ask again: a budget for retries, waits with jitter drawn from the request, and what a server asks for."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from email.utils import parsedate_to_datetime


def backoff(key: bytes, attempt: int, base_s: float, most_s: float) -> float:
    """Seconds before attempt ``attempt`` + 1: doubling from ``base_s`` to ``most_s``, times 0.5-1 drawn from ``key``.

    The draw is a hash of key and attempt, so that equal runs wait equally and different requests differently.
    """
    draw = int.from_bytes(hashlib.blake2b(key + attempt.to_bytes(4, "big"), digest_size=4).digest(), "big") / 2**32
    return min(most_s, base_s * 2.0 ** min(attempt - 1, 30)) * (0.5 + draw / 2)


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header, given as seconds or as a date; null if there is none that can be read."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) and seconds < 1e9 else None


class RetryBudget:
    """Retries are at most a share of first attempts, plus a trickle: an outage does not multiply the load.

    A bucket holds up to ``reserve`` permits; each first attempt adds ``share``, each second adds ``per_second``; a
    retry takes one and waits while there is none. For one event loop.
    """

    def __init__(
        self,
        share: float = 0.2,
        per_second: float = 5.0,
        reserve: float = 20.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.share = share
        self.per_second = per_second
        self.reserve = reserve
        self.taken = 0
        self._permits = reserve
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._seen: float | None = None

    def first_attempt(self) -> None:
        """Count a request that is sent for the first time."""
        self._permits = min(self.reserve, self._permits + self.share)

    def try_take(self) -> bool:
        """Take a permit if there is one."""
        now = self._clock()
        if self._seen is not None:
            self._permits = min(self.reserve, self._permits + (now - self._seen) * self.per_second)
        self._seen = now
        if self._permits < 1.0:
            return False
        self._permits -= 1.0
        self.taken += 1
        return True

    async def take(self) -> None:
        """Wait for a permit."""
        while not self.try_take():
            await asyncio.sleep(min(1.0, max(0.01, (1.0 - self._permits) / self.per_second)))
