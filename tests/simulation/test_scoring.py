"""What a run is worth: both numbers, over requests that arrived."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.simulate.result import Run, Timeline
from generation_operator.simulate.scoring import Estimate, estimate, score
from generation_operator.simulate.trace import Requests

NEVER = float("nan")


def make_run(
    arrivals: Sequence[float],
    *,
    waits: Sequence[float] | None = None,
    missed: Sequence[int] = (),
    replicas: Sequence[int] = (1,),
    duration: float = 3600.0,
    scored_from: float = 0.0,
    pod_seconds: float = 7200.0,
) -> Run:
    """`missed` names requests by their place; `replicas` is the count in each second."""
    times = np.array(arrivals, dtype=np.float64)
    waited = np.zeros(len(times)) if waits is None else np.array(waits, dtype=np.float64)
    is_missed = np.zeros(len(times), dtype=np.bool_)
    is_missed[list(missed)] = True
    counts = np.array(replicas, dtype=np.int64)
    none = np.zeros_like(counts)
    at = np.arange(len(counts), dtype=np.float64)
    service = np.full(len(times), 2.0)
    return Run(
        scaler="plan",
        seed=0,
        requests=Requests(times, service, duration, scored_from),
        waits=waited,
        latencies=waited + service,
        missed=is_missed,
        pod_seconds=pod_seconds,
        timeline=Timeline(at, none, none, none, none, none, none, none, counts),
    )


def test_cost_and_misses_stand_together() -> None:
    result = score(make_run(range(10), missed=[3]), slots=4)
    assert (result.pod_hours, result.miss_ratio) == (2.0, 0.1)


def test_work_is_what_always_busy_replicas_would_cost() -> None:
    assert score(make_run(range(10)), slots=4).work_seconds == 10 * 2.0 / 4


def test_the_warm_up_does_not_count() -> None:
    run = make_run([10.0, 99.9, 100.0, 200.0], waits=[50, 50, 1, 2], missed=[0, 1], scored_from=100.0)
    result = score(run, slots=1)
    assert (result.requests, result.missed, result.worst_miss_ratio) == (2, 0, 0.0)
    assert result.waits == (1.0, 2.0, 2.0)
    assert result.work_seconds == 4.0


def test_one_who_gave_up_waited_for_ever() -> None:
    run = make_run(range(4), waits=[0.5, 1.5, 2.5, NEVER], missed=[3])
    result = score(run, slots=1)
    assert result.waits == (1.5, math.inf, math.inf)
    assert result.latencies == (3.5, math.inf, math.inf)
    assert result.miss_ratio == 0.25


def test_no_requests_miss_nothing() -> None:
    result = score(make_run([]), slots=1)
    assert (result.requests, result.miss_ratio, result.worst_miss_ratio) == (0, 0.0, 0.0)
    assert result.waits == result.latencies == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("arrivals", "missed", "worst"),
    [
        (range(0, 3600, 10), [], 0.0),
        (range(0, 3600, 10), range(360), 1.0),
        (range(0, 3600, 10), range(60, 75), 0.5),  # 150 s of misses within any 300 s
        (range(0, 3600, 10), [359], 1 / 31),  # the very last request is in the last five minutes, ends included
        (range(0, 200, 10), [0], 1 / 20),  # all of it is shorter than five minutes
        ([5.0], [0], 1.0),
        ([0.0, 1.0, 2000.0], [2], 1.0),
    ],
)
def test_worst_five_minutes(arrivals: Sequence[float], missed: Sequence[int], worst: float) -> None:
    assert score(make_run(list(arrivals), missed=missed), slots=1).worst_miss_ratio == pytest.approx(worst, rel=0.04)


@given(missed=st.lists(st.booleans(), min_size=1, max_size=200), gap=st.floats(0.1, 100.0))
def test_the_worst_five_minutes_are_never_better_than_all_of_it_was_bad(missed: list[bool], gap: float) -> None:
    places = [place for place, is_missed in enumerate(missed) if is_missed]
    result = score(make_run([place * gap for place in range(len(missed))], missed=places), slots=1)
    assert 0.0 <= result.worst_miss_ratio <= 1.0
    assert (result.worst_miss_ratio > 0.0) == (result.miss_ratio > 0.0)


@pytest.mark.parametrize(
    ("replicas", "reversals"),
    [
        ([2, 2, 2], 0),
        ([2, 3, 4, 4, 5], 0),
        ([5, 4, 4, 3], 0),
        ([2, 3, 2], 1),
        ([2, 3, 3, 3, 2, 2, 3], 2),
        ([9, 1, 2, 3, 2], 2),
    ],
)
def test_reversals_are_changes_of_direction(replicas: Sequence[int], reversals: int) -> None:
    assert score(make_run([1.0], replicas=replicas), slots=1).reversals_per_hour == reversals


def test_reversals_are_counted_per_scored_hour() -> None:
    up_and_down = [1, 2, 1, 1, 2, 1]
    run = make_run([5.0], replicas=up_and_down, duration=1803.0, scored_from=3.0)
    assert score(run, slots=1).reversals_per_hour == 2.0  # one in half an hour


def test_a_single_seed_gives_no_interval() -> None:
    assert estimate([0.25]) == Estimate(0.25, 0.0)


@pytest.mark.parametrize(
    ("values", "factor"),  # Student's t at 97.5 %
    [([0.0, 2.0], 12.706), ([0.0, 1.0, 2.0], 4.303), ([0.0, 2.0] * 10, 2.093), ([0.0, 2.0] * 50, 1.984)],
)
def test_the_interval_is_students(values: list[float], factor: float) -> None:
    deviation = float(np.std(values, ddof=1))
    result = estimate(values)
    assert result.mean == pytest.approx(np.mean(values))
    assert result.margin == pytest.approx(factor * deviation / math.sqrt(len(values)), rel=5e-3)
