"""Tokens and money: what was used, what a run may use, and what it would use."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from curate.errors import BudgetError, ConfigError

if TYPE_CHECKING:
    from curate.rewrite.requests import Request

#: tokens that a chat template adds around each message, for estimates
_TEMPLATE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or several replies; ``estimated`` if a server did not say and bytes/4 was taken."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.estimated or other.estimated,
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Price:
    """Money per million tokens, in whatever currency the config means. Cached prompt tokens count in full."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, usage: Usage) -> float:
        """What ``usage`` costs."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


class TokenCounter(Protocol):
    """Counts tokens before anything is sent; ``method`` says how, for people."""

    method: str

    def count(self, text: str) -> int:
        """Tokens of ``text``."""


class BytesOverFour:
    """The usual rule of thumb: one token is four bytes of UTF-8, rounded up. Too low for scripts beside Latin."""

    method = "bytes/4"

    def count(self, text: str) -> int:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        return -(-size // 4)


class TokenizerFile:
    """Exact counts from a ``tokenizer.json``."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        if not path.is_file():
            raise ConfigError(f"no tokenizer file at {path}; leave it out to estimate tokens as bytes/4")
        self._tokenizer = Tokenizer.from_file(str(path))
        self.method = f"tokenizer {path.name}"

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))


def prompt_tokens(request: Request, counter: TokenCounter) -> int:
    """Tokens of the request's texts and of the template around them."""
    return sum(counter.count(text) for text in request.texts()) + _TEMPLATE_TOKENS * max(1, len(request.messages))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would use at most: answers are counted at their full ``max_tokens``.

    ``known`` requests are answered in the journal already and cost nothing; the other figures leave them out.
    """

    requests: int
    known: int
    prompt_tokens: int
    max_completion_tokens: int
    max_cost: float
    method: str


class _Known(Protocol):
    def __contains__(self, key: bytes) -> bool: ...


def estimate(
    requests: Iterable[Request],
    model: str,
    revision: str | None,
    price: Price,
    counter: TokenCounter | None = None,
    journal: _Known | None = None,
) -> Estimate:
    """One pass over ``requests`` in flat memory."""
    counter = counter or BytesOverFour()
    number = known = prompts = completions = 0
    for request in requests:
        if journal is not None and request.key(model, revision) in journal:
            known += 1
            continue
        number += 1
        prompts += prompt_tokens(request, counter)
        completions += request.sampling.max_tokens
    cost = price.of(Usage(prompts, completions))
    return Estimate(number, known, prompts, completions, cost, counter.method)


class Budget:
    """Lets a request through only if what is spent, what is under way and its own worst case fit together.

    The worst case is the counted prompt and all of ``max_tokens``, so the limit holds up to the error of the counter
    over the requests in flight. For one event loop.
    """

    def __init__(
        self, max_tokens: int | None = None, max_cost: float | None = None, price: Price | None = None,
        spent: Usage | None = None,
    ) -> None:  # fmt: skip
        self.max_tokens = max_tokens
        self.max_cost = max_cost
        self.price = price or Price()
        self.spent = spent or Usage()
        self._reserved = Usage()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_tokens is not None or self.max_cost is not None

    @property
    def cost(self) -> float:
        """Money spent so far."""
        return self.price.of(self.spent)

    async def reserve(self, worst: Usage) -> Usage:
        """Wait until ``worst`` fits; BudgetError when nothing is under way any more and it still does not."""
        while not self._fits(worst):
            if not self._reserved.tokens:
                raise BudgetError(self.exhausted())
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        self._reserved += worst
        return worst

    def settle(self, reserved: Usage, used: Usage) -> None:
        """Give back a reservation and count what was really used."""
        self.spent += used
        self._reserved = Usage(
            self._reserved.prompt_tokens - reserved.prompt_tokens,
            self._reserved.completion_tokens - reserved.completion_tokens,
        )
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def exhausted(self) -> str:
        """What to tell people when the budget stops a run."""
        limits = []
        if self.max_tokens is not None:
            limits.append(f"{self.spent.tokens:,} of {self.max_tokens:,} tokens")
        if self.max_cost is not None:
            limits.append(f"{self.cost:.4f} of {self.max_cost:.4f} in money")
        return (
            f"the budget for the language model is used up: {' and '.join(limits)} spent, and the next request would "
            "not fit. All answers are in the journal; raise the budget and run the same command again."
        )

    def _fits(self, worst: Usage) -> bool:
        total = self.spent + self._reserved + worst
        if self.max_tokens is not None and total.tokens > self.max_tokens:
            return False
        return self.max_cost is None or self.price.of(total) <= self.max_cost
