import math
from dataclasses import dataclass

import numpy as np
import pytest

from fake_service import FakeService, steps
from generation_operator.rivals.hpa_behavior import (
    DEFAULT_BEHAVIOR,
    GUIDE_BEHAVIOR,
    Behavior,
    History,
    Loop,
    Policy,
    PolicyType,
    Rules,
)
from generation_operator.rivals.hpa_calculator import (
    PodMetric,
    external_total,
    per_pod_replicas,
    utilization_replicas,
)
from generation_operator.simulate.baselines.hpa import HpaOnCpu, HpaOnInFlight, pod_state
from generation_operator.simulate.baselines.metrics_path import MetricsServer, PrometheusLoad, draw_phase, last_tick
from generation_operator.simulate.ports import Pod, Scaler, Seconds, View


class FirstPhase(np.random.Generator):
    """Draws 0 for every phase."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def integers(self, *_: object, **__: object) -> int:  # type: ignore[override]
        return 0


@dataclass
class Broken:
    """A load source that delivers the same useless answer."""

    answer: float | None

    def begin(self, rng: np.random.Generator) -> None:
        pass

    def read(self, view: View, now: Seconds) -> float | None:
        return self.answer


def from_phase_zero(service: FakeService, scaler: Scaler, until: Seconds) -> list[tuple[Seconds, int]]:
    class Zero:
        name = scaler.name

        def begin(self, view: View, rng: np.random.Generator) -> Seconds:
            return scaler.begin(view, FirstPhase())

        def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
            return scaler.act(view, now)

    return steps(service, Zero(), until)


def test_in_flight_hpa_scales_to_the_load_at_the_first_sync_after_the_scrape() -> None:
    service = FakeService(lambda at: 28 if at < 100 else 140).with_replicas(2)
    scaler = HpaOnInFlight(14.0, min_replicas=2, max_replicas=20, behavior=DEFAULT_BEHAVIOR)
    # Scrape at 105 s, seen from 106 s on, sync at 120 s; at most +4 in 15 s, then doubling.
    assert from_phase_zero(service, scaler, 200) == [(120.0, 6), (135.0, 10)]


def test_without_behavior_the_older_limit_of_twice_the_count_holds() -> None:
    service = FakeService(lambda at: 28 if at < 100 else 140).with_replicas(2)
    assert from_phase_zero(service, HpaOnInFlight(14.0, min_replicas=2, max_replicas=20), 200) == [
        (120.0, 4),
        (135.0, 8),
        (150.0, 10),
    ]


def test_scale_down_waits_for_the_highest_proposal_of_five_minutes_to_age() -> None:
    service = FakeService(lambda at: 140 if at < 100 else 28).with_replicas(10)
    scaler = HpaOnInFlight(14.0, min_replicas=2, max_replicas=20, behavior=DEFAULT_BEHAVIOR)
    # The last proposal of 10 is that of 105 s; at 405 s it no longer counts.
    assert from_phase_zero(service, scaler, 600) == [(405.0, 2)]


def test_guide_behavior_waits_a_minute_to_grow_and_halves_at_most_once_a_minute() -> None:
    service = FakeService(lambda at: 28 if at < 100 else 140 if at < 600 else 28).with_replicas(2)
    scaler = HpaOnInFlight(14.0, min_replicas=2, max_replicas=20, behavior=GUIDE_BEHAVIOR)
    changes = from_phase_zero(service, scaler, 1100)
    assert changes[:2] == [(165.0, 6), (195.0, 10)]
    # The last proposal of 10 is that of 600 s, from the scrape at 585 s: at 900 s it no longer counts.
    assert changes[2:] == [(900.0, 5), (960.0, 2)]


@pytest.mark.parametrize("answer", [None, math.nan, math.inf])
def test_a_metric_that_cannot_be_read_holds(answer: float | None) -> None:
    service = FakeService(lambda _: 1000).with_replicas(3)
    scaler = HpaOnInFlight(14.0, min_replicas=1, max_replicas=20, source=Broken(answer))
    assert steps(service, scaler, 300) == []


def test_counts_outside_the_bounds_are_mended_without_any_metric() -> None:
    for replicas, bound in ((1, 2), (30, 20)):
        service = FakeService(lambda _: 0).with_replicas(replicas)
        scaler = HpaOnInFlight(14.0, min_replicas=2, max_replicas=20, source=Broken(None))
        assert [count for _, count in steps(service, scaler, 30)] == [bound]


def test_cpu_saturates_so_one_step_cannot_see_the_size_of_the_overload() -> None:
    service = FakeService(lambda at: 40 if at < 100 else 4000, startup_seconds=1000.0).with_replicas(4)
    scaler = HpaOnCpu(target_percent=70, min_replicas=2, max_replicas=100, behavior=DEFAULT_BEHAVIOR)
    first, *_ = [count for at, count in steps(service, scaler, 200) if at > 100]
    assert first == 6  # ceil(4 x 100 / 70), not 4000 / 14


def test_cpu_of_a_full_replica_is_its_full_load() -> None:
    service = FakeService(lambda _: 1000).with_replicas(4)
    assert steps(service, HpaOnCpu(min_replicas=2, max_replicas=50, full_load_percent=70.0), 600) == []


def test_starting_replicas_dampen_the_next_step() -> None:
    """While they start they count as idle, so the count does not run away."""
    service = FakeService(lambda _: 4000, startup_seconds=250.0).with_replicas(4)
    scaler = HpaOnCpu(target_percent=70, min_replicas=2, max_replicas=100, behavior=DEFAULT_BEHAVIOR)
    assert [count for at, count in steps(service, scaler, 240)] == [6]


def test_a_fresh_replica_counts_only_after_a_whole_window_of_samples() -> None:
    states = [pod_state(pod, 110.0) for pod in (Pod(0, 0.0, 0.0, 20), Pod(1, 40.0, 90.0, 20))]
    old = PodMetric(1000, 100.0, 15.0)

    def wanted(sampled_at: Seconds) -> int | None:
        return utilization_replicas(2, 50, states, {"0": old, "1": PodMetric(1000, sampled_at, 15.0)}, 110.0)

    assert wanted(104.75) == 2  # it counts as idle: 50 % on average is the target
    assert wanted(105.0) == 4


def test_pods_that_drain_are_not_counted() -> None:
    service = FakeService(lambda _: 0).with_replicas(2)
    service.scale(1, 0.0)
    assert [pod_state(pod, 50.0).deleting for pod in service.pods()] == [False, True]


def test_a_container_has_its_first_cpu_sample_after_ten_seconds() -> None:
    service = FakeService(lambda _: 10).with_replicas(1)
    for second in range(40):
        service.second(float(second))
    service.create(26.0, 60.0)
    server = MetricsServer(100.0)
    server.begin(FirstPhase())  # samples at 0, 15, 30, 45
    assert set(server.read(service, 44.0)) == {"0"}
    assert server.read(service, 44.0)["0"] == PodMetric(500, 30.0, 15.0)
    assert server.read(service, 45.0)["1"].window == 15.0
    service.create(33.0, 60.0)  # its container starts at 35 s
    assert server.read(service, 45.0)["2"].window == 10.0


def test_prometheus_shows_the_last_scrape_only_after_the_lag() -> None:
    service = FakeService(lambda at: at).with_replicas(20)
    for second in range(100):
        service.second(float(second))
    source = PrometheusLoad(scrape_seconds=15.0, lag_seconds=1.0)
    source.begin(FirstPhase())
    assert math.isnan(source.read(service, 0.5))
    assert [source.read(service, now) for now in (1.0, 15.75, 16.0, 75.0, 76.0)] == [0.0, 0.0, 15.0, 60.0, 75.0]


def test_phases_are_random_and_ticks_exact() -> None:
    rng = np.random.default_rng(1)
    phases = [draw_phase(rng, 15.0) for _ in range(200)]
    assert all(0 <= phase < 15 for phase in phases)
    assert len(set(phases)) > 100
    assert all(last_tick(phase + 15.0 * 1000, phase, 15.0) == phase + 15.0 * 1000 for phase in phases)
    assert last_tick(4.9, 5.0, 15.0) is None


def test_runs_with_the_same_seed_are_the_same() -> None:
    def run(seed: int) -> list[tuple[Seconds, int]]:
        service = FakeService(lambda at: 40 + 30 * math.sin(at / 60)).with_replicas(2)
        return steps(service, HpaOnCpu(min_replicas=2, max_replicas=20), 900, seed)

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_a_negative_external_value_goes_all_the_way_up_as_in_the_original() -> None:
    assert external_total([-1]) == 2**63 - 1
    assert external_total([5, -5]) == 0


def test_no_pods_give_no_count() -> None:
    strangers = {"gone": PodMetric(1000, 0.0, 15.0)}
    assert utilization_replicas(3, 70, [], strangers, 0.0) is None
    assert per_pod_replicas(3, 1000, [], strangers, 0.0) is None


def test_events_of_the_other_direction_count_even_after_their_own_policies_forgot_them() -> None:
    """Up events live 15 s for their own policy, but a 60 s policy down still subtracts what they added."""
    down = Rules((Policy(PolicyType.PODS, 2, 60),), stabilization_seconds=0)
    loop, history = Loop(1, 50, Behavior(down=down)), History()
    assert loop.synced(history, 4, [8], 0.0) == 8
    assert loop.synced(history, 8, [1], 30.0) == 2  # 8 - the 4 added within 60 s - 2


def test_history_does_not_grow_without_bound() -> None:
    loop, history = Loop(1, 50, DEFAULT_BEHAVIOR), History()
    current = 2
    for tick in range(5000):
        current = loop.synced(history, current, [2 + tick % 7], 15.0 * tick)
    assert len(history.recommendations) <= 22  # 300 s of syncs, both ends, and the one that is replaced
    assert len(history.ups) <= 3
    assert len(history.downs) <= 3
