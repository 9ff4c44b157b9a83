"""How many replicas keep waiting within an allowance: the fluid queue, forwards and in hindsight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.decide.queueing import Fleet, Load, sufficed, suffices

STEADY = Load(in_system=150.0, rate=10.0, growth=0.0, growing_seconds=0.0, service_seconds=15.0)


def fleet(ready: int, *arriving: tuple[float, int], startup: float = 20.0) -> Fleet:
    return Fleet(slots=20.0, ready=ready, arriving=arriving, startup_seconds=startup)


def enough(
    load: Load, replicas: int, of: Fleet, *, allowance: float = 12.0, since: float = 0.0, until: float = 60.0
) -> bool:
    return suffices(load, of, replicas, allowance, since=since, until=until)


def test_waiting_that_is_allowed_is_capacity() -> None:
    # 150 busy slots are 7.5 replicas: 8 need no queue, 7 build one up by 0.67/s that 12 s of waiting outlast.
    assert enough(STEADY, 8, fleet(8))
    assert enough(STEADY, 7, fleet(8))
    assert not enough(STEADY, 5, fleet(8))
    assert not enough(STEADY, 7, fleet(8), allowance=0.0)


def test_a_small_service_needs_relatively_more_room_for_scatter() -> None:
    small = Load(15.0, 1.0, 0.0, 0.0, 15.0)
    assert not enough(small, 1, Fleet(16.0, 1, (), 20.0), allowance=1.0)
    assert enough(Load(1500.0, 100.0, 0.0, 0.0, 15.0), 100, Fleet(16.0, 100, (), 20.0), allowance=1.0)


def test_more_replicas_help_only_after_the_start_up() -> None:
    flooded = STEADY._replace(in_system=400.0)
    assert not enough(flooded, 20, fleet(8), since=0.0)
    assert enough(flooded, 20, fleet(8), since=20.0, until=24.0)
    assert not enough(flooded, 9, fleet(8), since=20.0, until=24.0)


def test_replicas_on_their_way_count_from_when_they_are_ready() -> None:
    flooded = STEADY._replace(in_system=320.0)
    assert not enough(flooded, 14, fleet(6, (40.0, 8)), until=30.0)
    assert enough(flooded, 14, fleet(6, (1.0, 8)), since=10.0)
    assert fleet(6, (1.0, 5), (2.0, 3)).total == 14


def test_growth_is_reckoned_with_for_as_long_as_it_lasts() -> None:
    growing = STEADY._replace(growth=0.5, growing_seconds=60.0)
    assert enough(STEADY, 9, fleet(9))
    assert not enough(growing, 9, fleet(9))
    assert enough(growing._replace(growing_seconds=1.0), 9, fleet(9))


def test_an_idle_service_needs_nothing() -> None:
    assert enough(Load(0.0, 0.0, 0.0, 0.0, 15.0), 0, fleet(2))


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(20, True), (10, True), (7, False), (0, False)],
)
def test_hindsight_tells_what_the_last_minutes_would_have_needed(replicas: int, expected: bool) -> None:
    # 15 s at 20/s, 30 s of nothing, twice: 300 busy slots for a moment, 100 on average.
    burst = [(3.0, 60.0)] * 5 + [(3.0, 0.0)] * 10
    assert sufficed(burst * 2, 15.0, 20.0, replicas, 12.0) is expected


def test_hindsight_divides_long_intervals() -> None:
    # 150 arrive within 15 s and are worked off meanwhile; at once they would be 150 above the steady 150.
    assert sufficed([(15.0, 150.0)] * 8, 15.0, 20.0, 8, 1.0)


def test_hindsight_of_nothing_is_no_need() -> None:
    assert sufficed([], 15.0, 20.0, 0, 12.0)


_loads = st.builds(Load, st.floats(0, 1e4), st.floats(0, 1e3), st.floats(0, 10), st.floats(0, 100), st.floats(0.1, 600))
_fleets = st.builds(
    lambda ready, later, startup: Fleet(20.0, ready, ((startup / 2, later),) if later else (), startup),
    st.integers(0, 30),
    st.integers(0, 10),
    st.floats(1, 600),
)


@given(_loads, _fleets, st.integers(0, 60), st.floats(0, 30), st.floats(1, 3))
def test_what_suffices_for_more_suffices_for_less(
    load: Load, of: Fleet, replicas: int, allowance: float, factor: float
) -> None:
    more = load._replace(in_system=load.in_system * factor, rate=load.rate * factor)
    if enough(more, replicas, of, allowance=allowance):
        assert enough(load, replicas, of, allowance=allowance)
