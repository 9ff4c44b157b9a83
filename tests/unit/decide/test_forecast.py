"""Forecasts earn trust by their own back-test, and only ever say what to reckon with beyond persistence."""

import pytest

from generation_operator.decide.arrivals import Estimate
from generation_operator.decide.forecast import ENOUGH, Forecast, forecast, profiled
from generation_operator.decide.memory import MAX_PENDING, Backtest, Memory, Profile

DAY = 86_400.0
MONDAY = 1_700_438_400.0  # 00:00 UTC
STARTUP = 20.0


def follow(rates: dict[float, Estimate], memory: Memory | None = None) -> tuple[Forecast, Memory]:
    """What is forecast after a sequence of looks."""
    memory, said = memory or Memory(), None
    for at, seen in rates.items():
        said, memory = forecast(memory, seen, MONDAY + at, STARTUP)
    assert said is not None
    return said, memory


def ramp(until: float, slope: float, claimed: float) -> dict[float, Estimate]:
    """A rate that grows by `slope` per second while the trend claims `claimed`."""
    return {float(at): Estimate(10 + slope * at, claimed, 40.0) for at in range(0, int(until), 2)}


def test_a_trend_that_has_not_been_compared_yet_is_not_used() -> None:
    said, memory = follow(ramp(20, 0.5, 0.5))
    assert said.growth == 0
    assert memory.backtest.compared == 0
    assert "not trusted" in said.text


def test_a_trend_that_beats_persistence_is_used() -> None:
    said, _ = follow(ramp(60, 0.5, 0.5))
    assert said.growth == 0.5
    assert said.lasts == 40.0


def test_a_trend_that_was_wrong_is_not_used() -> None:
    said, memory = follow(ramp(120, 0.0, 0.5))
    assert said.growth == 0
    assert memory.backtest.compared == ENOUGH
    assert memory.backtest.trend > memory.backtest.persistence


def test_a_trend_that_equals_persistence_does_not_beat_it() -> None:
    said, _ = follow(ramp(120, 0.0, 0.0))
    assert "trend +0/s per s not trusted" in said.text


def test_the_back_test_stays_bounded() -> None:
    _, memory = follow({at / 10: Estimate(10.0, 0.0, 0.0) for at in range(2000)})
    assert len(memory.backtest.pending) <= MAX_PENDING
    full = Memory(backtest=Backtest(pending=memory.backtest.pending[:1] * MAX_PENDING))
    late = {0.0: Estimate(1.0, 0.0, 0.0)}
    assert len(follow(late, full)[1].backtest.pending) <= MAX_PENDING


def a_day_of(peak: float, at_hour: float) -> Profile:
    """One day of 10/s with an hour of `peak`."""
    profile = Profile()
    for slot in range(289):
        hour = slot / 12
        rate = peak if at_hour <= hour < at_hour + 1 else 10.0
        profile = profiled(profile, 300.0, rate * 300.0, MONDAY + slot * 300.0)
    return profile


def test_yesterday_is_used_once_it_has_beaten_persistence() -> None:
    memory = Memory(profile=a_day_of(30.0, 9.0))
    morning = DAY + 9 * 3600.0
    # The peak comes again: persistence is short by 20/s when it begins.
    looks = {morning - 40 + at: Estimate(10.0 if at < 40 else 30.0, 0.0, 0.0) for at in range(0, 120, 2)}
    early, _ = follow(dict(list(looks.items())[:3]), memory)
    assert early.season is None
    late, after = follow(looks, memory)
    assert late.season == pytest.approx(30.0)
    assert after.backtest.season < after.backtest.persistence_beside_season


def test_yesterday_is_not_used_where_it_was_wrong() -> None:
    memory = Memory(profile=a_day_of(30.0, 9.0))
    morning = DAY + 9 * 3600.0
    said, _ = follow({morning + at: Estimate(10.0, 0.0, 0.0) for at in range(0, 120, 2)}, memory)
    assert said.season is None
    assert "season 30/s not trusted" in said.text


def test_a_week_ago_counts_too_and_what_was_never_seen_does_not() -> None:
    profile = profiled(Profile(), 300.0, 3000.0, MONDAY)
    profile = profiled(profile, 300.0, 600.0, MONDAY + 300.0)
    week_later = profiled(profile, 1.0, 0.0, MONDAY + 7 * DAY)
    said, _ = forecast(Memory(profile=week_later), Estimate(1.0, 0.0, 0.0), MONDAY + 7 * DAY, STARTUP)
    assert "season 10/s" in said.text
    said, _ = forecast(Memory(profile=week_later), Estimate(1.0, 0.0, 0.0), MONDAY + 7.5 * DAY, STARTUP)
    assert "no season yet" in said.text


def test_the_profile_forgets_what_is_older_than_eight_days() -> None:
    profile = profiled(Profile(), 300.0, 3000.0, MONDAY)
    later = profiled(profile, 300.0, 600.0, MONDAY + 30 * DAY)
    assert [rate for rate in later.rates if rate is not None] == []
    assert len(later.rates) == 8 * 288


def test_samples_of_one_slot_are_one_mean() -> None:
    profile = Profile()
    for at in range(0, 300, 15):
        profile = profiled(profile, 15.0, 30.0, MONDAY + at)
    profile = profiled(profile, 15.0, 0.0, MONDAY + 300.0)
    assert [rate for rate in profile.rates if rate is not None] == [2.0]
