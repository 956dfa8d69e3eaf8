"""Waits follow from the request, retries from a budget, places and probes from what the server shows."""

from __future__ import annotations

import asyncio

import pytest

from curate.rewrite.breaker import Breaker, Outage
from curate.rewrite.concurrency import AdaptiveLimit
from curate.rewrite.retry import RetryBudget, backoff, retry_after


def test_waits_double_stay_below_the_cap_and_differ_by_request() -> None:
    a, b = [[backoff(key, n, 1.0, 20.0) for n in range(1, 9)] for key in (b"a", b"b")]
    assert a == [backoff(b"a", n, 1.0, 20.0) for n in range(1, 9)]
    assert a != b
    for n, wait in enumerate(a):
        assert min(20.0, 2.0**n) / 2 <= wait <= min(20.0, 2.0**n)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("soon", None), (None, None),
     ("nan", None), ("inf", None), ("1e300", None)],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=60.0) == seconds


def test_retries_are_a_share_of_first_attempts_once_the_reserve_is_gone() -> None:
    budget = RetryBudget(share=0.2, per_second=0.0001, reserve=5, clock=lambda: 0.0)
    assert sum(budget.try_take() for _ in range(100)) == 5
    granted = 0
    for _ in range(1000):
        budget.first_attempt()
        granted += budget.try_take()
    assert granted in (199, 200)


def test_time_lets_a_trickle_of_retries_through() -> None:
    now = [0.0]
    budget = RetryBudget(share=0.0, per_second=2.0, reserve=1, clock=lambda: now[0])
    taken = []
    for tenth in range(100):
        now[0] = tenth / 10
        taken.append(budget.try_take())
    assert 19 <= sum(taken) <= 21  # ten seconds


def test_the_limit_is_cut_once_for_complaints_of_one_round() -> None:
    async def run() -> tuple[float, float]:
        limit = AdaptiveLimit(start=10, most=100)
        places = [await limit.acquire() for _ in range(10)]
        for place in places[:5]:
            limit.release(place, congested=True)
        first = limit.limit
        for place in places[5:]:
            limit.release(place, congested=True)
        return first, limit.limit

    first, last = asyncio.run(run())
    assert first == last == pytest.approx(7.0)


def test_the_limit_does_not_grow_while_it_is_not_used() -> None:
    async def run() -> float:
        limit = AdaptiveLimit(start=10, most=100)
        for _ in range(50):
            limit.release(await limit.acquire(), congested=False)
        return limit.limit

    assert asyncio.run(run()) == 10.0


def test_a_waiter_that_gives_up_passes_its_place_on() -> None:
    async def run() -> bool:
        limit = AdaptiveLimit(start=1, most=1)
        held = await limit.acquire()
        first, second = [asyncio.create_task(limit.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        limit.release(held, congested=None)  # offers the place to the first
        first.cancel()
        await asyncio.wait_for(second, 1)
        return limit.active == 1

    assert asyncio.run(run())


def test_an_open_breaker_lets_one_probe_through_at_a_time_in_order() -> None:
    async def run() -> list[str]:
        breaker = Breaker(failures=2, cooldown_s=0.02, patience_s=5)
        breaker.failed(False)
        breaker.failed(False)
        assert breaker.is_open
        seen: list[str] = []

        async def pass_through(name: str, good: bool) -> None:
            probe = await breaker.passage()
            seen.append(f"{name}:{probe}")
            await asyncio.sleep(0.01)
            if good or not probe:
                breaker.succeeded()
            else:
                breaker.failed(probe)

        await asyncio.gather(pass_through("a", False), pass_through("b", True), pass_through("c", True))
        assert not breaker.is_open
        return seen

    assert asyncio.run(run()) == ["a:True", "b:True", "c:False"]


def test_patience_ends_and_hopelessness_ends_it_sooner() -> None:
    async def run(breaker: Breaker) -> float:
        breaker.failed(False)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(Outage):
            await breaker.passage()
        return asyncio.get_running_loop().time() - begun

    assert 0.1 <= asyncio.run(run(Breaker(failures=1, cooldown_s=9, patience_s=0.1))) < 1
    assert asyncio.run(run(Breaker(failures=1, cooldown_s=9, patience_s=60, hopeless=lambda: "dead"))) < 0.5
