"""How many requests may be under way: as many as the server takes without complaint."""

from __future__ import annotations

import asyncio
from collections import deque

#: what remains of the limit after a complaint
_CUT = 0.7


class AdaptiveLimit:
    """Additive increase, multiplicative decrease, as TCP does it (Chiu & Jain 1989).

    Doubles per round of answers until the first complaint (429, 503, time-out), then grows by one per round; a
    complaint takes 30 %, once per round: complaints about requests that were sent before the last cut do not cut again.
    It grows only while all of it is used. For one event loop.
    """

    def __init__(self, start: int, most: int, least: int = 1) -> None:
        self.least = least
        self.most = most
        self.limit = float(min(start, most))
        self.active = 0
        self.cuts = 0
        self.highest = self.limit
        self._starting = True
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._not_before = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    async def acquire(self) -> int:
        """Wait for a place; the number that comes back goes to ``release``."""
        while not self._free():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the place that was offered goes to the next one
                raise
        self.active += 1
        return self.cuts

    def release(self, taken: int, congested: bool | None) -> None:
        """Give the place back. ``congested``: the server complained; null: nothing is to be learned from this one."""
        used = self.active >= int(self.limit)
        self.active -= 1
        if congested is False and used and self.limit < self.most:
            self.limit = min(self.most, self.limit + (1.0 if self._starting else 1.0 / self.limit))
            self.highest = max(self.highest, self.limit)
        elif congested:
            self._starting = False
            if taken == self.cuts:
                self.limit = max(float(self.least), self.limit * _CUT)
                self.cuts += 1
        self._wake()

    def pause(self, seconds: float) -> None:
        """Send nothing for so long, because the server asked for it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if until > self._not_before:
            self._not_before = until
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = loop.call_at(until, self._resume)

    def _resume(self) -> None:
        # The alarm may ring a clock tick early: the pause is over because it rang, not because of the time
        self._not_before = 0.0
        self._alarm = None
        self._wake()

    def _free(self) -> bool:
        return not self._not_before and self.active < int(self.limit)

    def _wake(self) -> None:
        """Offer as many waiters a look as there are free places."""
        places = int(self.limit) - self.active
        while places > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                places -= 1
