"""Directions, changes and percentiles of a period."""

import pytest

from generation_service.performance.trend import Direction, trend
from performance_fakes import histogram, sample


def test_slope_and_direction_are_those_of_the_line_through_the_samples() -> None:
    found = trend([sample(at=60.0 * minute, memory_mb=100 + 10 * minute) for minute in range(1, 11)], 600.0, 10)
    memory = found.figures["memory_mb"]
    assert memory.slope_per_minute == pytest.approx(10)
    assert (memory.minimum, memory.maximum, memory.average) == (110, 200, 155)
    assert memory.direction is Direction.RISING
    assert found.snapshot_count == 10


@pytest.mark.parametrize(
    ("last", "direction"),
    [(100, Direction.STEADY), (109, Direction.STEADY), (120, Direction.RISING), (80, Direction.FALLING)],
)
def test_small_movements_are_steady(last: float, direction: Direction) -> None:
    values = [100.0, (100 + last) / 2, last]
    samples = [sample(at=float(index), cpu_percent=value) for index, value in enumerate(values, 1)]
    assert trend(samples, 3.0, 1).figures["cpu_percent"].direction is direction


def test_change_is_against_the_period_before() -> None:
    samples = [sample(at=30.0, cpu_percent=20.0), sample(at=90.0, cpu_percent=30.0)]
    assert trend(samples, 120.0, 1).figures["cpu_percent"].change == pytest.approx(0.5)


def test_p95_covers_all_answers_and_is_no_average_of_p95s() -> None:
    samples = [
        sample(at=10.0, responses=histogram(*[0.1] * 990), response_time_p95=0.1),
        sample(at=20.0, responses=histogram(*[10.0] * 10), response_time_p95=10.0),
    ]
    found = trend(samples, 30.0, 1)
    assert found.response_time_p95 == pytest.approx(0.1, rel=0.03)
    assert found.response_count == 1000


def test_response_time_is_compared_with_the_period_before() -> None:
    samples = [sample(at=30.0, responses=histogram(1.0)), sample(at=90.0, responses=histogram(2.0))]
    found = trend(samples, 120.0, 1)
    assert found.response_time_change == pytest.approx(1.0, rel=0.1)
    assert found.response_time_direction is Direction.RISING


@pytest.mark.parametrize("samples", [[], [sample(at=1.0)], [sample(at=1.0), sample(at=2.0)]])
def test_too_few_samples_show_no_direction(samples: list[object]) -> None:
    found = trend(samples, 10.0, 1)  # type: ignore[arg-type]
    assert {movement.direction for movement in found.figures.values()} == {Direction.UNKNOWN}
    assert found.response_time_p95 is None


def test_unknown_values_are_left_out_not_counted_as_zero() -> None:
    samples = [sample(at=1.0, cache_hit_ratio=0.8), sample(at=2.0, cache_hit_ratio=None)]
    assert trend(samples, 10.0, 1).figures["cache_hit_ratio"].average == 0.8


def test_samples_outside_of_the_period_do_not_count() -> None:
    samples = [sample(at=0.0, memory_mb=9000), sample(at=590.0), sample(at=600.0)]
    assert trend(samples, 600.0, 5).figures["memory_mb"].maximum == 100
