import math
from dataclasses import dataclass

import numpy as np
import pytest

from fake_service import FakeService, steps
from generation_operator.rivals.keda import Fallback, FallbackBehavior, Memory, ScaledObject
from generation_operator.simulate.baselines.hpa import HpaOnInFlight
from generation_operator.simulate.baselines.keda import Keda
from generation_operator.simulate.ports import Seconds, View


@dataclass
class Outage:
    """Load that can be read only until a moment; `instead` after it."""

    until: Seconds
    load: float
    instead: float | None

    def begin(self, rng: np.random.Generator) -> None:
        pass

    def read(self, view: View, now: Seconds) -> float | None:
        return self.load if now < self.until else self.instead


@pytest.mark.parametrize(
    ("reading", "ignore_null_values", "want"),
    [
        (42.0, True, 42_000),
        (0.0, True, 0),
        (0.0004, True, 0),
        (math.nan, True, 0),
        (math.inf, True, 0),
        (math.nan, False, None),
        (-math.inf, False, None),
        (None, True, None),
    ],
)
def test_what_the_hpa_is_given(reading: float | None, ignore_null_values: bool, want: int | None) -> None:
    scaled_object = ScaledObject(14.0, ignore_null_values=ignore_null_values)
    assert scaled_object.metric(Memory(), reading, 3) == want


@pytest.mark.parametrize(
    ("behavior", "current", "want"),
    [
        (FallbackBehavior.STATIC, 3, 5),
        (FallbackBehavior.STATIC, 8, 5),
        (FallbackBehavior.CURRENT, 3, 3),
        (FallbackBehavior.CURRENT, 8, 8),
        (FallbackBehavior.CURRENT_IF_HIGHER, 3, 5),
        (FallbackBehavior.CURRENT_IF_HIGHER, 8, 8),
        (FallbackBehavior.CURRENT_IF_LOWER, 3, 3),
        (FallbackBehavior.CURRENT_IF_LOWER, 8, 5),
    ],
)
def test_fallback_feigns_a_need_once_the_threshold_is_exceeded(
    behavior: FallbackBehavior, current: int, want: int
) -> None:
    scaled_object = ScaledObject(14.0, fallback=Fallback(failure_threshold=2, replicas=5, behavior=behavior))
    memory = Memory()
    given = [scaled_object.metric(memory, None, current) for _ in range(3)]
    assert given == [None, None, 14_000 * want]


def test_one_good_answer_ends_the_count_of_failures() -> None:
    scaled_object = ScaledObject(14.0, fallback=Fallback(failure_threshold=1, replicas=5))
    memory = Memory()
    readings = [None, 3.0, None, None]
    assert [scaled_object.metric(memory, reading, 2) for reading in readings] == [None, 3000, None, 70_000]


def test_failures_of_the_polling_loop_count_as_well() -> None:
    scaled_object = ScaledObject(14.0, fallback=Fallback(failure_threshold=1, replicas=5))
    memory = Memory()
    assert scaled_object.polled(memory, None, 2, 0.0) == 2
    assert scaled_object.metric(memory, None, 2) == 70_000


@pytest.mark.parametrize(
    ("reading", "current", "min_replicas", "last_active", "want"),
    [
        (None, 4, 0, None, 4),  # unknown
        (None, 0, 2, None, 0),
        (1.0, 0, 0, None, 1),  # in use
        (1.0, 0, 3, None, 3),
        (1.0, 7, 0, None, 7),
        (0.5, 0, 0, 0.0, 0),  # at the activation threshold is not above it
        (0.0, 7, 0, 700.0, 0),  # idle for longer than the cooldown
        (0.0, 7, 0, 700.25, 7),
        (0.0, 7, 0, None, 0),  # never in use
        (0.0, 1, 3, None, 3),
        (0.0, 7, 3, None, 7),
    ],
)
def test_the_loop_that_knows_only_none_and_some(
    reading: float | None, current: int, min_replicas: int, last_active: float | None, want: int
) -> None:
    scaled_object = ScaledObject(14.0, min_replicas=min_replicas, activation_threshold=0.5)
    assert scaled_object.polled(Memory(last_active=last_active), reading, current, 1000.25) == want


def test_from_one_replica_up_keda_is_the_hpa_on_the_same_metric() -> None:
    def load(at: Seconds) -> float:
        return 100 + 90 * math.sin(at / 100)

    for seed in range(5):
        keda = Keda(14.0, min_replicas=2, max_replicas=20)
        hpa = HpaOnInFlight(14.0, min_replicas=2, max_replicas=20)
        ours = steps(FakeService(load).with_replicas(2), keda, 1500, seed)
        # The polling loop's phase is drawn last, so both have the same scrapes and syncs.
        assert ours == steps(FakeService(load).with_replicas(2), hpa, 1500, seed)
        assert len(ours) > 5


def test_it_goes_to_zero_in_one_step_and_comes_back_at_the_next_poll() -> None:
    service = FakeService(lambda at: 80 if at < 100 or at >= 900 else 0).with_replicas(6)
    changes = steps(service, Keda(14.0, min_replicas=0, max_replicas=20), 960)
    before_zero = [count for at, count in changes if at < 380]
    zero = [at for at, count in changes if count == 0]
    back = [(at, count) for at, count in changes if at >= 900]
    assert before_zero == []  # the HPA behind it still waits for its own five minutes
    assert len(zero) == 1
    assert 400 <= zero[0] <= 450  # 300 s after the last poll that saw load
    assert back[0][1] == 1
    assert 900 <= back[0][0] <= 946  # a scrape, and a poll every 30 s
    assert [count for _, count in back[1:2]] == [4]  # then the HPA goes on


def test_a_series_that_disappears_looks_like_no_load() -> None:
    service = FakeService(lambda _: 140).with_replicas(10)
    source = Outage(until=100.0, load=140.0, instead=math.nan)
    changes = steps(service, Keda(14.0, min_replicas=2, max_replicas=20, source=source), 600)
    assert [count for _, count in changes] == [2]


def test_a_failing_query_holds_without_fallback_and_follows_it_with_one() -> None:
    for fallback, want in ((None, []), (Fallback(failure_threshold=3, replicas=15), [15])):
        service = FakeService(lambda _: 140).with_replicas(10)
        source = Outage(until=100.0, load=140.0, instead=None)
        keda = Keda(14.0, min_replicas=2, max_replicas=20, fallback=fallback, source=source)
        assert [count for _, count in steps(service, keda, 600)] == want
