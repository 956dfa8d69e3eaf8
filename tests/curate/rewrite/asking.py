"""What the tests of the client share: a config that waits little, and requests by number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.rewrite.config import ClientConfig
from curate.rewrite.requests import Message, Request, Sampling


def config(url: str, **changes: Any) -> ClientConfig:
    quick: dict[str, Any] = {
        "url": url, "model": "stub", "backoff_s": 0.01, "max_backoff_s": 0.05, "connect_s": 2.0, "request_s": 2.0,
        "total_s": 10.0, "breaker_cooldown_s": 0.05, "patience_s": 5.0, "retries_per_second": 200.0,
    }  # fmt: skip
    return ClientConfig(**(quick | changes))


def request(i: int = 0, **changes: Any) -> Request:
    given: dict[str, Any] = {
        "document": f"{i:032x}", "purpose": "test", "messages": (Message("user", f"document {i}"),),
        "sampling": Sampling(max_tokens=16),
    }  # fmt: skip
    return Request(**(given | changes))


def requests(n: int) -> Iterator[Request]:
    return (request(i) for i in range(n))
