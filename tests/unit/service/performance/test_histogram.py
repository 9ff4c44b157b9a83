"""Quantiles with a known error, that can be added up and forget."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.performance.histogram import (
    LONGEST,
    RELATIVE_ERROR,
    SHORTEST,
    Histogram,
    Sliding,
    merged,
)
from performance_fakes import ManualClock, histogram

durations = st.lists(st.floats(SHORTEST, LONGEST), min_size=1, max_size=60)


@given(durations, st.floats(0.01, 1))
def test_quantile_is_within_the_stated_error_of_a_value_that_occurred(values: list[float], share: float) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    estimate = histogram(*values).quantile(share)
    assert estimate is not None
    assert abs(estimate - exact) <= RELATIVE_ERROR * exact * 1.001


@given(durations, durations)
def test_adding_histograms_is_the_same_as_observing_everything_in_one(one: list[float], other: list[float]) -> None:
    added, whole = merged([histogram(*one), histogram(*other)]), histogram(*one, *other)
    assert [added.quantile(share / 20) for share in range(1, 21)] == [
        whole.quantile(share / 20) for share in range(1, 21)
    ]
    assert (added.count, added.maximum) == (whole.count, whole.maximum)
    assert added.total == pytest.approx(whole.total)


def test_p95_of_two_periods_is_not_the_average_of_their_p95s() -> None:
    calm, busy = histogram(*[0.1] * 990), histogram(*[10.0] * 10)
    p95 = merged([calm, busy]).quantile(0.95)
    assert p95 == pytest.approx(0.1, rel=RELATIVE_ERROR)  # the average would be 5


def test_no_values_have_no_quantile_and_no_mean() -> None:
    assert Histogram().quantile(0.95) is None
    assert Histogram().mean is None


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), 1e9, float("inf")])
def test_absurd_values_neither_fail_nor_leave_the_range(value: float) -> None:
    estimate = histogram(value).quantile(0.5)
    assert estimate is not None
    assert 0 < estimate <= LONGEST


def test_window_forgets_old_values_and_keeps_young_ones() -> None:
    clock = ManualClock(0.0)
    sliding = Sliding(Histogram, clock, 60, slices=6)
    sliding.current().observe(1.0)
    clock.time = 59.9
    sliding.current().observe(2.0)
    assert merged(sliding.recent()).count == 2
    clock.time = 75.0
    assert merged(sliding.recent()).count == 1
    clock.time = 1000.0
    assert sliding.recent() == []


def test_window_stays_small_however_long_it_runs() -> None:
    clock = ManualClock(0.0)
    sliding = Sliding(Histogram, clock, 60, slices=6)
    for second in range(10_000):
        clock.time = float(second)
        sliding.current().observe(0.1)
    assert len(sliding.recent()) == 7
    assert 60 <= merged(sliding.recent()).count <= 70
