"""Many requests in, as many outcomes out: the door for stages, which know nothing of event loops."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from curate.errors import BudgetError, CurateError, EnvironmentGone
from curate.rewrite.client import Client, Stats
from curate.rewrite.config import ClientConfig
from curate.rewrite.journal import Journal
from curate.rewrite.records import from_record, to_record
from curate.rewrite.requests import Answer, Failure, Outcome, Request
from curate.rewrite.usage import Budget, TokenCounter, Usage

_BATCH = 16


def complete_all(
    requests: Iterable[Request],
    config: ClientConfig,
    *,
    journal: Journal | None = None,
    counter: TokenCounter | None = None,
    stats: Stats | None = None,
    hopeless: Callable[[], str | None] = lambda: None,
    health_s: float | None = None,
    ahead: int | None = None,
) -> Iterator[Outcome]:
    """Exactly one outcome for each request that is taken from ``requests``, in no promised order.

    What the journal holds is not asked again; answers, and failures that were paid for, are in the journal before they
    are handed on. Equal requests under way at once are asked once. Requests are taken in the caller's thread, at most
    ``ahead`` (default: twice the greatest concurrency) beyond what has come back: memory is bounded by those.

    The limits on tokens and money cover what the journal says was spent before. When they are reached, when the config
    is wrong for all requests, or when the server is gone, no more requests are taken; those taken come back,
    as failures ``budget`` or ``stopped`` where they were not sent; then the error is raised.

    Args:
        stats: is filled while it goes on.
        hopeless: says why the server will not come back (``Server.hopeless``), or null.
        health_s: wait so long for a healthy server that serves the right model before anything is sent; null: do not.

    Raises:
        BudgetError, ConfigError, EnvironmentGone: as said above, and at once if there is no healthy server.
    """
    engine = _Engine(config, journal, counter, stats or Stats(), hopeless, health_s)
    most = ahead if ahead is not None else 2 * config.max_concurrency
    try:
        engine.start()
        yield from _flow(iter(requests), engine, max(1, most))
    finally:
        engine.stop()


def _flow(source: Iterator[Request], engine: _Engine, most: int) -> Iterator[Outcome]:
    under_way: dict[bytes, list[Request]] = {}
    held = 0
    open_source = True
    while True:
        batch: list[Request] = []
        while open_source and not engine.stopping and held < most and len(batch) < _BATCH:
            request = next(source, None)
            if request is None:
                open_source = False
                break
            key = request.key(engine.config.model, engine.config.revision)
            known = engine.known(key, request)
            if known is not None:
                yield known
                continue
            held += 1
            under_way.setdefault(key, []).append(request)
            if len(under_way[key]) == 1:
                batch.append(request)
        if batch:
            engine.submit(batch)
        wants_more = open_source and not engine.stopping and held < most
        if not held and not wants_more:
            break
        for outcome in engine.results(wait=not wants_more):
            for i, request in enumerate(under_way.pop(outcome.key)):
                held -= 1
                yield outcome if i == 0 else replace(outcome, attempts=0, tag=request.tag)
    engine.raise_fatal()


class _Engine:
    """A client with its event loop in a thread."""

    def __init__(
        self,
        config: ClientConfig,
        journal: Journal | None,
        counter: TokenCounter | None,
        stats: Stats,
        hopeless: Callable[[], str | None],
        health_s: float | None,
    ) -> None:
        self.config = config
        self.stats = stats
        self._journal = journal
        self._health_s = health_s
        self._hopeless = hopeless
        self._counter = counter
        spent = journal.spent if journal is not None else Usage()
        self._budget = Budget(config.max_tokens, config.max_cost, config.price, spent)
        self._client: Client
        self._out: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._ended = False
        self._fatal: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._work, name="llm-client", daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether no more requests are taken."""
        return self._fatal is not None

    # -- in the caller's thread

    def start(self) -> None:
        """Start the thread; raises what keeps it from working."""
        self._thread.start()
        self._ready.wait()
        self.raise_fatal()

    def known(self, key: bytes, request: Request) -> Outcome | None:
        """The outcome that the journal holds."""
        record = self._journal.get(key) if self._journal is not None else None
        if record is None:
            return None
        self.stats.replayed += 1
        return from_record(record, key, request.tag)

    def submit(self, requests: list[Request]) -> None:
        """Hand requests to the loop."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin, requests)

    def results(self, wait: bool) -> Iterator[Outcome]:
        """Outcomes that are there; at least one if ``wait``."""
        while True:
            try:
                outcome = self._out.get(block=wait)
            except queue.Empty:
                return
            if outcome is None:
                self._out.put(None)
                self.raise_fatal()
                raise RuntimeError("the thread of the language model's client ended early")
            wait = False
            yield outcome

    def raise_fatal(self) -> None:
        """Raise what stopped the run, if anything did."""
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """Give up what is under way and end the thread."""
        if self._loop is not None and not self._ended:
            self._loop.call_soon_threadsafe(self._end.set)
        if self._thread.is_alive():
            self._thread.join()

    # -- in the loop's thread

    def _work(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 -- raised again in the caller's thread
            self._fatal = self._fatal or error
        finally:
            self._ended = True
            self._ready.set()
            self._out.put(None)

    async def _main(self) -> None:
        self._end = asyncio.Event()
        self._client = Client(
            self.config, budget=self._budget, counter=self._counter, hopeless=self._hopeless, stats=self.stats
        )
        async with self._client:
            if self._health_s is not None:
                await self._client.health(self._health_s)
            self._loop = asyncio.get_running_loop()
            self._ready.set()
            await self._end.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, requests: list[Request]) -> None:
        for request in requests:
            task = asyncio.get_running_loop().create_task(self._one(request))
            self._tasks.add(task)
            task.add_done_callback(partial(self._finished, request))

    def _finished(self, request: Request, task: asyncio.Task[None]) -> None:
        """A task that was cancelled, even before its first step, still owes its outcome."""
        self._tasks.discard(task)
        if task.cancelled():
            self._out.put(self._not_sent(request))

    async def _one(self, request: Request) -> None:
        outcome: Outcome | None = None
        try:
            if self._fatal is not None:
                outcome = self._not_sent(request)
            else:
                outcome = await self._client.complete(request)
                self._keep(outcome, request)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 -- raised again in the caller's thread
            self._stop_all(error)
        self._out.put(outcome if outcome is not None else self._not_sent(request))

    def _keep(self, outcome: Outcome, request: Request) -> None:
        client = self._client
        self.stats.breaker_opened = client.breaker.opened
        self.stats.highest_limit, self.stats.last_limit = int(client.limit.highest), int(client.limit.limit)
        if self._journal is not None and (isinstance(outcome, Answer) or outcome.final):
            record, usage = to_record(outcome, request, self.config.model, self.config.revision)
            self._journal.append(outcome.key, record, usage)

    def _stop_all(self, error: BaseException) -> None:
        """The first error counts. What is at the server is waited for, unless the server is gone."""
        if self._fatal is not None:
            return
        self._fatal = error
        self._client.stopping = self._stop_code()
        gone = not isinstance(error, CurateError) or isinstance(error, EnvironmentGone)
        for task in self._tasks:
            if task is asyncio.current_task():
                continue
            if gone or task not in self._client.sending:
                task.cancel()

    def _stop_code(self) -> str:
        return "budget" if isinstance(self._fatal, BudgetError) else "stopped"

    def _not_sent(self, request: Request) -> Failure:
        code = self._stop_code()
        key = request.key(self.config.model, self.config.revision)
        detail = type(self._fatal).__name__
        self.stats.failures[code] += 1
        return Failure(key, request.document, request.purpose, request.part, code, detail, 0, tag=request.tag)
