import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_service import FakeService, steps
from generation_operator.rivals.kpa import Averages, Collector, Settings, bounded, desired_now
from generation_operator.simulate.baselines.kpa import Kpa, concurrency

TARGET = 14.0


def kpa(**settings: float) -> Kpa:
    return Kpa(TARGET, min_replicas=1, max_replicas=20, **settings)


def jump(before: int, after: int, replicas: int) -> FakeService:
    """The load changes at 100 s."""
    return FakeService(lambda at: before if at < 100 else after).with_replicas(replicas)


def test_a_jump_is_followed_within_seconds_in_steps_of_the_fast_average() -> None:
    """The fast average covers 6 s: 33, 77 and 140 requests at three ticks after the jump from 10 to 140."""
    assert steps(jump(10, 140, 1), kpa(), 300) == [(101.265625, 3), (103.265625, 7), (105.265625, 10)]


def test_below_the_panic_threshold_only_the_slow_average_counts() -> None:
    assert steps(jump(14, 27, 1), kpa(), 300) == [(101.265625, 2)]
    slow = steps(jump(140, 180, 10), kpa(), 300)
    assert [count for _, count in slow] == [11, 12, 13]
    assert 40 < slow[-1][0] - 100 < 60


def test_the_count_may_only_multiply_as_fast_as_replicas_become_ready() -> None:
    assert [count for _, count in steps(jump(10, 140, 1), kpa(max_scale_up_rate=2.0), 300)] == [2, 4, 8, 10]


def test_a_drop_is_followed_as_the_slow_average_falls() -> None:
    changes = steps(jump(140, 14, 10), kpa(), 400)
    assert [count for _, count in changes] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert changes[0][0] == 107.265625
    assert changes[-1][0] == 159.265625


def test_the_delay_holds_back_removals_only() -> None:
    """By its slots of two seconds: the last tick that wanted ten was 60 s before."""
    assert steps(jump(140, 14, 10), kpa(scale_down_delay=60.0), 400)[0] == (165.265625, 9)
    assert steps(jump(10, 140, 1), kpa(scale_down_delay=60.0), 300) == steps(jump(10, 140, 1), kpa(), 300)


def test_after_a_restart_it_keeps_what_there_is_for_a_whole_window() -> None:
    """One replica would do; a rate of 2 then makes two steps of it."""
    assert steps(FakeService(lambda _: 14).with_replicas(5), kpa(), 200) == [(61.265625, 2), (63.265625, 1)]
    assert steps(FakeService(lambda _: 14).with_replicas(5), kpa(), 60) == []


def test_waiting_requests_count_and_those_of_draining_replicas_do_not() -> None:
    service = FakeService(lambda _: 70).with_replicas(3)
    service.second(0.0)
    assert concurrency(service, 0.0) == 70  # 60 in slots, 10 waiting
    service.scale(2, 0.5)
    assert concurrency(service, 0.5) == 50


def test_phases_of_scrapes_and_ticks_differ_from_run_to_run() -> None:
    service = FakeService(lambda _: 0)
    service.second(0.0)
    starts = {kpa().begin(service, np.random.default_rng(seed)) for seed in range(20)}
    assert len(starts) > 10
    assert all(0 <= start < 1 for start in starts)


def test_scaling_to_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"min_replicas is 0: .*give at least 1"):
        Kpa(TARGET, min_replicas=0, max_replicas=20)


@given(
    loads=st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    replicas=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_counts_stay_within_their_bounds(loads: list[int], replicas: int, seed: int) -> None:
    service = FakeService(lambda at: loads[int(at / 10) % len(loads)]).with_replicas(replicas)
    changes = steps(service, Kpa(TARGET, min_replicas=2, max_replicas=9), 120, seed)
    assert all(2 <= count <= 9 for _, count in changes)


def test_without_a_scrape_within_the_window_there_is_no_average() -> None:
    collector = Collector(Settings(TARGET))
    assert collector.averages(0.0) is None
    collector.record(0.0, 30.0)
    assert collector.averages(5.0) == Averages(30.0, 30.0)
    assert collector.averages(59.0) == Averages(30.0, 0.0)
    assert collector.averages(60.0) == Averages(0.0, 0.0)
    assert collector.averages(61.0) is None


@pytest.mark.parametrize(
    ("concurrency", "ready", "want"),
    [
        (0.0, 0, 0),
        (0.0, 1, 0),
        (0.0, 5, 2),  # at most halved
        (14.0, 1, 1),
        (14.1, 1, 2),
        (140.0, 10, 10),
        (20_000.0, 1, 1000),  # at most a thousand times
    ],
)
def test_a_count_for_one_reading(concurrency: float, ready: int, want: int) -> None:
    assert desired_now(concurrency, TARGET, ready) == want


@pytest.mark.parametrize(("desired", "want"), [(0, 2), (2, 2), (5, 5), (9, 9), (10, 9)])
def test_bounds(desired: int, want: int) -> None:
    assert bounded(desired, 2, 9) == want
    assert bounded(desired, 2, 0) == max(2, desired)  # no maximum


@pytest.mark.parametrize(
    ("window", "percent", "want"), [(60.0, 10.0, 6.0), (6.0, 10.0, 1.0), (30.0, 33.3, 10.0), (25.0, 10.0, 3.0)]
)
def test_the_fast_window_is_whole_seconds(window: float, percent: float, want: float) -> None:
    assert Settings(TARGET, stable_window=window, panic_window_percent=percent).panic_window == want
