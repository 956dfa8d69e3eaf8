"""One request after another through limit, breaker, budget and retries, until it has its one outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from curate.errors import BudgetError, ConfigError, EnvironmentGone
from curate.rewrite.breaker import Breaker, Outage
from curate.rewrite.concurrency import AdaptiveLimit
from curate.rewrite.config import ClientConfig
from curate.rewrite.replies import Course, Parsed, Trouble
from curate.rewrite.requests import Answer, Failure, Outcome, Paid, Request
from curate.rewrite.retry import RetryBudget, backoff
from curate.rewrite.transport import Transport
from curate.rewrite.usage import Budget, BytesOverFour, TokenCounter, Usage, prompt_tokens

#: so many different documents refused, and none answered ever: it is the request's form, not the documents
_REFUSED_FOR_A_REASON = 20
_WORSE: dict[Paid, int] = {"no": 0, "maybe": 1, "yes": 2}


@dataclass(slots=True)
class Stats:
    """What a client did, for the run's report; grows while it works."""

    attempts: int = 0
    answered: int = 0
    replayed: int = 0
    retries: int = 0
    usage: Usage = field(default_factory=Usage)
    wasted: Usage = field(default_factory=Usage)
    failures: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    breaker_opened: int = 0
    highest_limit: int = 0
    last_limit: int = 0


@dataclass(slots=True)
class _Course:
    """Where one request stands."""

    request: Request
    key: bytes
    body: bytes
    deadline: float
    attempts: int = 0
    bad_replies: int = 0
    paid: Paid = "no"
    wasted: Usage = field(default_factory=Usage)

    def note(self, trouble: Trouble) -> None:
        if _WORSE[trouble.paid] > _WORSE[self.paid]:
            self.paid = trouble.paid
        self.wasted += trouble.usage


class Client:
    """Asks one endpoint. ``async with``; for one event loop.

    ``complete`` raises ConfigError, BudgetError or EnvironmentGone where going on makes no sense for any request; all
    that concerns one request alone is a ``Failure``.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        budget: Budget | None = None,
        counter: TokenCounter | None = None,
        hopeless: Callable[[], str | None] = lambda: None,
        stats: Stats | None = None,
    ) -> None:
        self.config = config
        self.stats = stats or Stats()
        self.budget = budget or Budget(config.max_tokens, config.max_cost, config.price)
        self.limit = AdaptiveLimit(config.start_concurrency, config.max_concurrency)
        self.retries = RetryBudget(config.retry_share, config.retries_per_second)
        self.breaker = Breaker(
            config.breaker_failures, config.breaker_cooldown_s, max(30.0, config.breaker_cooldown_s), config.patience_s,
            hopeless,
        )  # fmt: skip
        self._transport = Transport(config)
        self._counter = counter or BytesOverFour()
        self._refused: set[str] = set()
        #: the code of failures for what is not sent because the run is stopping; null while it is not
        self.stopping: str | None = None
        #: tasks whose request is at the server just now
        self.sending: set[asyncio.Task[object] | None] = set()

    async def __aenter__(self) -> Client:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def complete(self, request: Request) -> Outcome:
        """The outcome of ``request``; asks as often as the config allows."""
        config = self.config
        loop = asyncio.get_running_loop()
        state = _Course(
            request, request.key(config.model, config.revision), request.body(config.model, config.dialect),
            loop.time() + config.total_s,
        )  # fmt: skip
        worst = Usage()
        if self.budget.limited:
            worst = Usage(prompt_tokens(request, self._counter), request.sampling.max_tokens)
        self.retries.first_attempt()
        try:
            return await self._until_done(state, worst)
        except asyncio.CancelledError:
            if self.stopping is None:
                raise
            return self._failure(state, self.stopping, "the run is stopping")

    async def _until_done(self, state: _Course, worst: Usage) -> Outcome:
        config = self.config
        while True:
            try:
                async with asyncio.timeout_at(state.deadline):
                    reserved = await self.budget.reserve(worst)
                    try:
                        result = await self._one_attempt(state)
                    except BaseException:
                        self.budget.settle(reserved, Usage())
                        raise
            except TimeoutError:
                return self._failure(state, "deadline", f"{config.total_s:.0f} s in all (total_s)")
            except Outage as outage:
                if config.on_outage == "stop":
                    raise EnvironmentGone(self._gone(str(outage))) from None
                return self._failure(state, "endpoint.down", str(outage))
            self.budget.settle(reserved, result.usage)
            if isinstance(result, Parsed):
                return self._answer(state, result)
            failure = self._judge(state, result)
            if failure is not None:
                return failure
            try:
                async with asyncio.timeout_at(state.deadline):
                    await self._wait(state, result)
            except TimeoutError:
                return self._failure(state, result.code, result.detail)

    async def _one_attempt(self, state: _Course) -> Parsed | Trouble:
        """Get through breaker and limit, send once, and tell both what came of it."""
        while True:
            probe = await self.breaker.passage()
            try:
                taken = await self.limit.acquire()
            except BaseException:
                if probe:
                    self.breaker.abandon()
                raise
            if probe or not self.breaker.is_open:
                break
            self.limit.release(taken, None)
        congested: bool | None = None
        settled = False
        task = asyncio.current_task()
        self.sending.add(task)
        try:
            state.attempts += 1
            self.stats.attempts += 1
            left = state.deadline - asyncio.get_running_loop().time()
            result = await self._transport.attempt(
                state.request, state.body, max(0.001, min(self.config.request_s, left))
            )
            trouble = result if isinstance(result, Trouble) else None
            if trouble is None or trouble.congested or not trouble.down:
                congested = trouble is not None and trouble.congested
            if trouble is not None and trouble.down:
                self.breaker.failed(probe)
            else:
                self.breaker.succeeded()
            settled = True
            if trouble is not None and trouble.congested and trouble.retry_after:
                self.limit.pause(min(trouble.retry_after, self.config.patience_s))
            return result
        finally:
            self.sending.discard(task)
            self.limit.release(taken, congested)
            if not settled:  # cancelled or out of time while the server was at it
                state.paid = "maybe" if state.paid == "no" else state.paid
                if probe:
                    self.breaker.abandon()

    def _judge(self, state: _Course, trouble: Trouble) -> Failure | None:
        """The failure that an attempt's trouble makes of the request, or null if it is to be asked again."""
        config = self.config
        state.note(trouble)
        self.stats.troubles[trouble.code] += 1
        if trouble.course is Course.CONFIG:
            raise ConfigError(
                f"{config.root} refuses what is asked: {trouble.detail}. Check url, model and api_key_env."
            )
        if trouble.course is Course.BUDGET:
            raise BudgetError(f"{config.root}: {trouble.detail}. What is answered is in the journal.")
        if trouble.course is Course.DOCUMENT:
            self._refused_again(state.request, trouble)
            return self._failure(state, trouble.code, trouble.detail, final=trouble.paid != "no")
        if trouble.course is Course.REASK:
            state.bad_replies += 1
            if state.bad_replies >= config.max_bad_replies:
                return self._failure(state, trouble.code, trouble.detail, final=state.paid == "yes")
        if self.stopping is not None or state.attempts >= config.max_attempts:
            return self._failure(state, trouble.code, trouble.detail)
        left = state.deadline - asyncio.get_running_loop().time()
        if trouble.retry_after is not None and trouble.retry_after > left:
            detail = f"{trouble.detail}, to be asked again in {trouble.retry_after:.0f} s, which is beyond total_s"
            return self._failure(state, trouble.code, detail)
        return None

    def _refused_again(self, request: Request, trouble: Trouble) -> None:
        """Documents are refused one by one, but when all are, the config is at fault."""
        if trouble.code != "request.refused" or self.stats.answered or self.stats.replayed:
            return
        self._refused.add(request.document)
        if len(self._refused) >= _REFUSED_FOR_A_REASON:
            raise ConfigError(
                f"{self.config.root} refused all of the first {len(self._refused)} documents: {trouble.detail}. "
                "Check sampling parameters, constraint and dialect."
            )

    async def _wait(self, state: _Course, trouble: Trouble) -> None:
        config = self.config
        pause = backoff(state.key, state.attempts, config.backoff_s, config.max_backoff_s)
        if trouble.retry_after is not None:
            pause = max(pause, trouble.retry_after)
        await asyncio.sleep(pause)
        await self.retries.take()
        self.stats.retries += 1

    def _answer(self, state: _Course, parsed: Parsed) -> Answer:
        request = state.request
        self.stats.answered += 1
        self.stats.usage += parsed.usage
        self.stats.wasted += state.wasted
        return Answer(
            state.key, request.document, request.purpose, request.part, parsed.text, parsed.finish_reason, parsed.usage,
            state.wasted, parsed.logprobs, parsed.model, state.attempts, request.tag,
        )  # fmt: skip

    def _failure(self, state: _Course, code: str, detail: str, final: bool = False) -> Failure:
        request = state.request
        self.stats.failures[code] += 1
        self.stats.wasted += state.wasted
        return Failure(
            state.key, request.document, request.purpose, request.part, code, detail, state.attempts, state.paid,
            state.wasted, final, request.tag,
        )  # fmt: skip

    def _gone(self, reason: str) -> str:
        return (
            f"the language model's server at {self.config.root} is gone: {reason}. What is answered is in the journal; "
            "run the same command again when it is back."
        )

    async def health(self, seconds: float) -> None:
        """Wait until the server is healthy and serves the model of the config; see ``check_health``."""
        from curate.rewrite.health import check_health

        await check_health(self.config, self._transport, seconds, self.breaker.hopeless)
