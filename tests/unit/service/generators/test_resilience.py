"""When a generator is asked, asked again, or left alone."""

import pytest

from generation_service.adapters.generators.resilience import Breaker, BreakerState, RetryBudget
from service_fakes import FakeClock


def used(breaker: Breaker, outcomes: str) -> None:
    """`g` is a good call, `b` a bad one."""
    for outcome in outcomes:
        assert breaker.admit()
        breaker.succeeded() if outcome == "g" else breaker.failed()


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("bbbb", BreakerState.CLOSED),  # too few to conclude anything
        ("bbbbb", BreakerState.OPEN),
        ("gbgbgb", BreakerState.OPEN),  # every second call fails: failures in a row would never show it
        ("gggggggbbbbbb", BreakerState.CLOSED),
        ("g" * 20 + "b" * 10, BreakerState.OPEN),
    ],
)
def test_breaker_opens_when_half_of_the_recent_calls_failed(outcomes: str, state: BreakerState) -> None:
    breaker = Breaker(FakeClock(), 5)
    used(breaker, outcomes)
    assert breaker.state is state


async def test_open_breaker_lets_one_call_try_after_its_pause() -> None:
    clock = FakeClock()
    breaker = Breaker(clock, 5)
    used(breaker, "bbbbb")
    assert not breaker.admit()
    await clock.pass_time(4.9)
    assert not breaker.admit()
    assert breaker.seconds_left == pytest.approx(0.1)
    await clock.pass_time(0.1)
    assert state_of(breaker) == BreakerState.HALF_OPEN
    assert (breaker.admit(), breaker.admit()) == (True, False)
    breaker.failed()
    assert state_of(breaker) == BreakerState.OPEN
    await clock.pass_time(5)
    assert breaker.admit()
    breaker.abandoned()
    assert breaker.admit(), "a try whose caller left must not block the next one for ever"
    breaker.succeeded()
    assert state_of(breaker) == BreakerState.CLOSED
    used(breaker, "bbb")
    assert state_of(breaker) == BreakerState.CLOSED, "what was before the recovery is forgotten"


def test_retries_are_a_share_of_the_requests() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(9):
        budget.request()
    assert not budget.spend()
    budget.request()
    assert budget.spend()
    assert not budget.spend()
