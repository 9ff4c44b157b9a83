"""Comparisons at equal cost and at equal attainment."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from generation_operator.simulate.pareto import Spot, cost_at, front, misses_at

SPOTS = [Spot(10.0, 0.1), Spot(20.0, 0.01), Spot(30.0, 0.001)]
spots_lists = st.lists(st.builds(Spot, st.floats(0.1, 1000.0), st.floats(0.0, 1.0)), min_size=1, max_size=12)


def test_a_spot_that_another_beats_in_both_is_not_on_the_front() -> None:
    assert front([Spot(20.0, 0.01), Spot(15.0, 0.2), Spot(10.0, 0.1)]) == [Spot(10.0, 0.1), Spot(20.0, 0.01)]


def test_the_front_has_one_spot_per_cost_and_per_miss_ratio() -> None:
    same_cost = [Spot(10.0, 0.2), Spot(10.0, 0.1)]
    same_misses = [Spot(11.0, 0.1), Spot(12.0, 0.1)]
    assert front([*same_cost, *same_misses]) == [Spot(10.0, 0.1)]


def test_the_front_of_nothing_is_empty() -> None:
    assert front([]) == []
    assert misses_at([], 10.0) is None
    assert cost_at([], 0.5) is None


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (9.9, None),  # cheaper than anything that was tried
        (10.0, 0.1),
        (15.0, 0.055),  # half of the time the one, half the other
        (20.0, 0.01),
        (30.0, 0.001),
        (99.0, 0.001),  # dearer: the rest of the money stays unspent
    ],
)
def test_misses_at_equal_cost(cost: float, expected: float | None) -> None:
    found = misses_at(SPOTS, cost)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("miss_ratio", "expected"),
    [
        (0.5, 10.0),  # the cheapest spot does it
        (0.1, 10.0),
        (0.055, 15.0),
        (0.01, 20.0),
        (0.001, 30.0),
        (0.0005, None),  # no setting misses so little
    ],
)
def test_cost_at_equal_attainment(miss_ratio: float, expected: float | None) -> None:
    found = cost_at(SPOTS, miss_ratio)
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_spot_without_misses_is_none_at_all() -> None:
    spots = [Spot(10.0, 0.1), Spot(20.0, 0.0)]
    assert misses_at(spots, 20.0) == 0.0
    assert cost_at(spots, 0.0) == 20.0
    between = misses_at(spots, 15.0)
    assert between is not None
    assert 0.0 < between < 0.1


@given(spots_lists)
def test_no_spot_of_the_front_is_beaten(spots: list[Spot]) -> None:
    for kept in front(spots):
        assert not any(
            other != kept and other.cost <= kept.cost and other.miss_ratio <= kept.miss_ratio for other in spots
        )


@given(spots_lists, st.floats(0.1, 1000.0), st.floats(0.1, 1000.0))
def test_more_money_never_buys_more_misses(spots: list[Spot], one: float, other: float) -> None:
    less, more = misses_at(spots, min(one, other)), misses_at(spots, max(one, other))
    assume(less is not None)
    assert less is not None
    assert more is not None
    assert more <= less + 1e-4


@given(spots_lists, st.floats(1e-4, 1.0))
def test_what_a_policy_costs_at_an_attainment_buys_that_attainment(spots: list[Spot], miss_ratio: float) -> None:
    cost = cost_at(spots, miss_ratio)
    assume(cost is not None)
    assert cost is not None
    misses = misses_at(spots, cost * (1 + 1e-9))
    assert misses is not None
    assert misses <= miss_ratio * 1.001 + 1e-5
