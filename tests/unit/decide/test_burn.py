"""The floor that rises while misses burn the error budget, and sinks again."""

import math
from collections.abc import Mapping

import pytest

from builders import make_signal
from generation_operator.decide.burn import burnt
from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Burn, Reason, Replicas, Seconds, SignalName, SignalState, Stage

NOW = Seconds(1_700_000_000.0)
STARTUP = 30.0
# successPercent 99: fast above 14.4 %, slow above 6 %
FAST = {SignalName.MISS_RATIO_5M: 0.2, SignalName.MISS_RATIO_1H: 0.15}
SLOW = {SignalName.MISS_RATIO_30M: 0.07, SignalName.MISS_RATIO_6H: 0.061}
OVER = {SignalName.MISS_RATIO_5M: 0.0, SignalName.MISS_RATIO_1H: 0.15}


def draft(desired: int = 8, current: int = 8, *, valid: bool = True) -> Draft:
    return Draft(Replicas(current), Replicas(desired), valid, Stage.DEMAND, None, Reason.WITHIN_RANGE, "asked")


def burn(
    values: Mapping[SignalName, float],
    before: Burn | None = None,
    *,
    asked: Draft | None = None,
    now: float = NOW,
    budget: float = 0.01,
    maximum: int = 20,
) -> tuple[Draft, Burn | None]:
    signals = {name: make_signal(name, None, SignalState.MISSING) for name in SignalName}
    signals |= {name: make_signal(name, value) for name, value in values.items()}
    return burnt(
        asked or draft(),
        before,
        signals,
        error_budget=budget,
        startup_seconds=STARTUP,
        maximum=maximum,
        now=Seconds(now),
    )


@pytest.mark.parametrize(
    ("values", "budget", "floor"),
    [
        ({}, 0.01, None),
        (FAST, 0.01, 10),
        (SLOW, 0.01, 9),
        (FAST | SLOW, 0.01, 10),
        ({SignalName.MISS_RATIO_5M: 0.2}, 0.01, None),  # one window alone never acts
        ({SignalName.MISS_RATIO_1H: 0.2}, 0.01, None),
        (FAST | {SignalName.MISS_RATIO_1H: 0.144}, 0.01, None),  # not more than the factor
        (FAST | {SignalName.MISS_RATIO_5M: 0.1}, 0.01, None),
        (FAST, 0.05, None),
        ({SignalName.MISS_RATIO_5M: 0.95, SignalName.MISS_RATIO_1H: 0.95}, 0.5, 10),  # 14.4 x 50 % is out of reach
        ({SignalName.MISS_RATIO_5M: 0.015, SignalName.MISS_RATIO_1H: 0.015}, 0.0, 10),  # a promise of 100 %
        ({SignalName.MISS_RATIO_5M: 0.001, SignalName.MISS_RATIO_1H: 0.001}, 0.0, None),
    ],
)
def test_both_windows_of_a_pair_raise_a_floor(
    values: Mapping[SignalName, float], budget: float, floor: int | None
) -> None:
    after, state = burn(values, budget=budget)
    assert (state and state.floor) == floor
    assert after.desired == (floor or 8)
    assert (after.reason is Reason.ERROR_BUDGET_BURN) is (floor is not None)
    assert after.floor == (floor or 0)


def test_no_traffic_in_a_window_is_no_burn() -> None:
    signals = {name: make_signal(name, None, SignalState.NO_TRAFFIC) for name in SignalName}
    after, state = burnt(draft(), None, signals, error_budget=0, startup_seconds=30, maximum=20, now=NOW)
    assert (state, after.lines[0].text) == (None, "the error budget lasts")


@pytest.mark.parametrize(
    ("values", "floors"),
    [(FAST, [10, 10, 13, 13, 16, 16, 16]), (SLOW, [9, 9, 10, 10, 10, 10, 10])],
    ids=["fast", "slow"],
)
def test_the_floor_rises_once_per_startup_up_to_its_bound(
    values: Mapping[SignalName, float], floors: list[int]
) -> None:
    state, seen = None, []
    for tick in range(len(floors)):
        after, state = burn(values, state, now=NOW + tick * STARTUP / 2)
        seen.append(int(after.desired))
    assert seen == floors


def test_the_floor_never_passes_the_maximum_and_never_falls_while_it_burns() -> None:
    assert burn(FAST, maximum=9)[0].desired == 9
    state = Burn(10, 20, NOW, NOW)
    after, state_after = burn(FAST, state, now=NOW + 100, maximum=12, asked=draft(9, 9))
    assert state_after is not None
    assert (after.desired, state_after.floor) == (20, 20)


def test_nothing_is_lowered_while_it_burns_however_low_the_floor() -> None:
    after, _ = burn(FAST, Burn(2, 4, NOW, NOW), now=NOW + 1, asked=draft(3, 8))
    assert (after.desired, after.limited_by, after.reason) == (8, Stage.BURN, Reason.ERROR_BUDGET_BURN)
    assert after.message.startswith("Held, 15.00% missed over 1 h and 5 min, 15.0 times what the error budget allows")


def test_more_than_the_floor_passes() -> None:
    after, _ = burn(FAST, asked=draft(15, 8))
    assert (after.desired, after.binder) == (15, Stage.DEMAND)


def test_after_the_burn_the_floor_sinks_and_goes() -> None:
    state: Burn | None = Burn(8, 10, NOW, NOW)
    floors = []
    for tick in range(1, 20):
        after, state = burn(OVER, state, now=NOW + tick * STARTUP, asked=draft(2, 10))
        floors.append(int(after.desired))
    assert floors[:9] == [7, 5, 3, 2, 2, 2, 2, 2, 2]
    assert state is None
    assert burn(OVER, Burn(8, 10, NOW, NOW), now=NOW + 29)[1] == Burn(8, 10, NOW, Seconds(NOW + 29))


def test_a_sinking_floor_holds_and_never_raises() -> None:
    after, _ = burn(OVER, Burn(8, 12, NOW, NOW), now=NOW + 1, asked=draft(2, 8))
    assert (after.desired, after.limited_by) == (8, Stage.BURN)
    assert burn(OVER, Burn(8, 12, NOW, NOW), now=NOW + 1, asked=draft(8, 8))[0].desired == 8


@pytest.mark.parametrize(("later", "kept"), [(0, True), (3599, True), (3600, False), (-1, False)])
def test_without_miss_ratios_a_floor_stays_as_it_is_for_an_hour(later: float, *, kept: bool) -> None:
    before = Burn(8, 10, Seconds(NOW - 100), NOW)
    after, state = burn({}, before, now=NOW + later, asked=draft(2, 10))
    assert (state, after.desired) == ((before, 10) if kept else (None, 2))


@pytest.mark.parametrize(("now", "valid"), [(NOW, False), (math.nan, True), (math.inf, True)])
def test_a_floor_is_left_alone_when_nothing_can_be_judged(now: float, *, valid: bool) -> None:
    before = Burn(8, 10, NOW, NOW)
    after, state = burn(FAST, before, now=now, asked=draft(valid=valid))
    assert (state, after.desired) == (before, 8)


def test_a_clock_that_was_set_back_delays_a_step_by_one_startup() -> None:
    state: Burn | None = Burn(8, 10, Seconds(NOW + 9999), NOW)
    state = burn(FAST, state)[1]
    assert state == Burn(8, 10, NOW, NOW)
    assert burn(FAST, state, now=NOW + STARTUP)[1] == Burn(8, 13, Seconds(NOW + STARTUP), Seconds(NOW + STARTUP))
