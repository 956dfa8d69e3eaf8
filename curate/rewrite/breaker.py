"""A server that is down is asked by one request at a time, not by all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Outage(Exception):
    """The server has not answered for longer than the patience; what follows is for the client to decide."""


class Breaker:
    """Closed while answers come; opens after ``failures`` in a row; then lets one probe through per cool-down.

    A probe that succeeds closes it; one that fails doubles the cool-down up to ``most_s``. Waiters are served in order,
    and a failed probe queues up again at the end, so that no request has to be every probe. For one event loop.

    Args:
        patience_s: after so long without any answer waiting ends with ``Outage``.
        hopeless: says why waiting is in vain (the server's process is gone for good), or null.
    """

    def __init__(
        self,
        failures: int = 5,
        cooldown_s: float = 1.0,
        most_s: float = 30.0,
        patience_s: float = 300.0,
        hopeless: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.failures = failures
        self.cooldown_s = cooldown_s
        self.most_s = most_s
        self.patience_s = patience_s
        self.hopeless = hopeless
        self.opened = 0
        self._in_row = 0
        self._down_since: float | None = None
        self._wait_s = cooldown_s
        self._next_probe = 0.0
        self._probing = False
        self._queue: deque[object] = deque()
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether requests wait."""
        return self._down_since is not None

    async def passage(self) -> bool:
        """Wait until a request may be sent; true if it is the probe. Raises ``Outage``."""
        if self._down_since is None:
            return False
        place = object()
        self._queue.append(place)
        try:
            while self.is_open:
                now = asyncio.get_running_loop().time()
                if reason := self.hopeless():
                    raise Outage(reason)
                if self._queue[0] is place and not self._probing and now >= self._next_probe:
                    self._probing = True
                    return True
                down_s = now - (self._down_since or now)
                left = self.patience_s - down_s
                if left <= 0:
                    raise Outage(f"no answer for {down_s:.0f} s")
                # The first in line wakes for its probe; the rest wait for a change and look around once a second
                wait = self._next_probe - now if self._queue[0] is place and not self._probing else 1.0
                self._changed.clear()
                try:
                    async with asyncio.timeout(min(left, max(wait, 0.001), 1.0)):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            return False
        finally:
            self._queue.remove(place)
            self._changed.set()

    def succeeded(self) -> None:
        """An answer came, of whatever kind: the server is there."""
        self._in_row = 0
        if self._down_since is not None:
            self._down_since = None
            self._wait_s = self.cooldown_s
            self._changed.set()
        self._probing = False

    def failed(self, probe: bool) -> None:
        """No answer came, or one that says that the server is not well."""
        self._in_row += 1
        now = asyncio.get_running_loop().time()
        if self._down_since is None:
            if self._in_row >= self.failures:
                self._down_since = now
                self.opened += 1
                self._next_probe = now + self._wait_s
        elif probe:
            self._wait_s = min(self.most_s, self._wait_s * 2)
            self._next_probe = now + self._wait_s
        if probe:
            self.abandon()

    def abandon(self) -> None:
        """The probe was given up before it showed anything."""
        self._probing = False
        self._changed.set()
