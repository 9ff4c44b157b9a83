"""One policy against another: at equal cost, at equal attainment, and how sure."""

import math

import numpy as np
import pytest

from generation_operator.simulate.comparison import at_equal_cost, pod_hours_at, usual
from generation_operator.simulate.outcome import Point, Series
from generation_operator.simulate.result import Run, Timeline
from generation_operator.simulate.scoring import Score
from generation_operator.simulate.trace import Requests

NOTHING = np.zeros(0)
COUNTS = np.zeros(0, dtype=np.int64)
EXAMPLE = Run(
    scaler="plan",
    seed=0,
    requests=Requests(NOTHING, NOTHING, 0.0),
    waits=NOTHING,
    latencies=NOTHING,
    missed=np.zeros(0, dtype=np.bool_),
    pod_seconds=0.0,
    timeline=Timeline(NOTHING, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
)


def make_point(knob: float, *runs: tuple[float, float]) -> Point:
    """Runs as (pod-hours, miss ratio), one per seed."""
    never = (math.inf,) * 3
    return Point(
        knob,
        tuple(
            Score(hours * 3600, 1.0, 100_000, round(misses * 100_000), misses, 0.0, never, never)
            for hours, misses in runs
        ),
    )


def make_series(name: str, *points: Point, headline: int = 0) -> Series:
    return Series(name, "knob", points[headline], points, EXAMPLE)


OURS = make_series("Targets", make_point(0, (10.0, 0.01), (12.0, 0.03)))


def test_the_usual_setting_is_taken_over_the_seeds_of_the_sweep() -> None:
    few, all_seeds = make_point(0, (10.0, 0.01)), make_point(0, (10.0, 0.01), (99.0, 0.9))
    series = Series("Targets", "knob", all_seeds, (make_point(-1, (1.0, 0.5)), few), EXAMPLE)
    assert usual(series) is few


def test_a_rival_is_read_off_its_front_at_our_cost() -> None:
    rival = make_series("KPA", make_point(1, (5.0, 0.5), (5.0, 0.5)), make_point(2, (10.0, 0.04), (12.0, 0.06)))
    compared = at_equal_cost(OURS, rival)
    assert (compared.rival, compared.pod_hours, compared.ours) == ("KPA", 11.0, 0.02)
    assert compared.theirs == pytest.approx(0.05)


def test_seeds_are_compared_with_themselves() -> None:
    """The seeds differ widely, the policies by 3 % in each of them: that is certain."""
    rival = make_series("KPA", make_point(1, (10.0, 0.04), (12.0, 0.06)))
    compared = at_equal_cost(OURS, rival)
    assert compared.margin == pytest.approx(0.0, abs=1e-12)
    assert not compared.is_tie


def test_a_difference_within_chance_is_a_tie() -> None:
    rival = make_series("KPA", make_point(1, (10.0, 0.05), (12.0, 0.01)))
    compared = at_equal_cost(OURS, rival)
    assert compared.theirs == pytest.approx(0.03)
    assert compared.is_tie


@pytest.mark.parametrize(("theirs", "is_tie"), [(0.0, True), (0.0005, True), (0.0006, False)])
def test_both_as_good_as_nothing_is_a_tie(theirs: float, is_tie: bool) -> None:
    ours = make_series("Targets", make_point(0, (10.0, 0.0)))
    assert at_equal_cost(ours, make_series("KPA", make_point(1, (9.0, theirs)))).is_tie is is_tie


def test_a_single_seed_leaves_no_margin() -> None:
    ours = make_series("Targets", make_point(0, (10.0, 0.01)))
    compared = at_equal_cost(ours, make_series("KPA", make_point(1, (9.0, 0.01))))
    assert compared.margin is None
    assert not compared.is_tie


def test_a_rival_that_is_never_so_cheap_is_not_extrapolated() -> None:
    compared = at_equal_cost(OURS, make_series("KPA", make_point(1, (20.0, 0.0), (20.0, 0.0))))
    assert (compared.theirs, compared.margin, compared.is_tie) == (None, None, False)


def test_one_seed_in_which_a_rival_is_too_dear_leaves_no_margin() -> None:
    rival = make_series("KPA", make_point(1, (9.0, 0.1), (12.5, 0.1)))  # 10.75 pod-hours on average: below ours
    compared = at_equal_cost(OURS, rival)
    assert compared.theirs == pytest.approx(0.1)
    assert compared.margin is None


def test_cost_at_an_attainment() -> None:
    series = make_series("KPA", make_point(1, (10.0, 0.1)), make_point(2, (20.0, 0.001)))
    assert pod_hours_at(series, 0.99) == pytest.approx(10 + 10 * 0.09 / 0.099)
    assert pod_hours_at(series, 0.9999) is None
