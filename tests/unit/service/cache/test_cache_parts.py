"""The small parts that decide what may be kept, asked and shared."""

import asyncio
from typing import Any

import pytest

from generation_service.adapters.cache.breaker import Breaker
from generation_service.adapters.cache.flights import Flight, Flights
from generation_service.adapters.cache.in_flight import InFlight
from generation_service.adapters.cache.settings import CacheSettings


def test_value_read_before_a_notice_is_not_kept_and_one_read_after_it_is() -> None:
    guard = InFlight()
    before = guard.begin("k")
    guard.spoil("k")
    after = guard.begin("k")
    assert (guard.end(before), guard.end(after)) == (False, True)
    assert len(guard) == 0


def test_reader_that_leaves_does_not_hide_a_notice_from_the_others() -> None:
    guard = InFlight()
    first, second = guard.begin("k"), guard.begin("k")
    guard.end(first)
    guard.spoil("k")
    assert not guard.end(second)


def test_notice_for_one_key_leaves_other_keys_alone_and_a_loss_leaves_none() -> None:
    guard = InFlight()
    one, two = guard.begin("one"), guard.begin("two")
    guard.spoil("one")
    assert (guard.end(one), guard.end(two)) == (False, True)
    three = guard.begin("three")
    guard.spoil_all()
    assert not guard.end(three)


def test_notices_for_keys_that_nobody_reads_take_no_memory() -> None:
    guard = InFlight()
    for number in range(1_000):
        guard.spoil(f"k{number}")
    assert len(guard) == 0


@pytest.mark.parametrize(
    ("outcomes", "closed"),
    [
        pytest.param("ffff", True, id="four-failures"),
        pytest.param("fffff", False, id="five-failures"),
        pytest.param("fsfsfsfsf", False, id="every-second-call-fails"),
        pytest.param("f" + "s" * 19 + "ffff", True, id="an-old-failure-is-forgotten"),
        pytest.param("s" * 100, True, id="all-good"),
    ],
)
def test_breaker_opens_at_five_failures_in_twenty_calls(outcomes: str, closed: bool) -> None:
    breaker = Breaker()
    for outcome in outcomes:
        if outcome == "f":
            breaker.failed()
        else:
            breaker.succeeded()
    assert breaker.closed is closed


def test_open_breaker_stays_open_until_a_probe_and_then_starts_anew() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed()
    for _ in range(20):
        breaker.succeeded()  # calls that were under way
    assert not breaker.closed
    breaker.close()
    for _ in range(4):
        breaker.failed()
    assert (breaker.closed, breaker.opened) == (True, 1)


async def test_newcomer_gets_work_of_its_own_when_the_last_caller_just_left() -> None:
    flights: Flights[int] = Flights()
    begun = 0

    async def work(flight: Flight[int]) -> int:
        nonlocal begun
        begun += 1
        number = begun
        try:
            await asyncio.sleep(0.01 if number > 1 else 60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)  # takes its time to end
            raise
        return number

    first = asyncio.create_task(flights.join("k", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await flights.join("k", work) == 2
    await asyncio.sleep(0.03)
    assert len(flights) == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prefix": "a:b"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"ttl_jitter": 1.0}, "ttl_jitter"),
        ({"early_refresh": -0.1}, "early_refresh"),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        CacheSettings(**changes)
