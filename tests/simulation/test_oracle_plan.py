"""The clairvoyant plan: it keeps what it promises, uses waiting as capacity, and nobody is cheaper."""

import numpy as np
import pytest

from generation_operator.simulate.baselines.kpa import Kpa
from generation_operator.simulate.baselines.static import Static
from generation_operator.simulate.oracle import Oracle, Schedule, plan
from generation_operator.simulate.plant import PlantConfig, Startup, simulate
from generation_operator.simulate.ports import Scaler
from generation_operator.simulate.serving import Patience
from generation_operator.simulate.trace import Requests
from simulation.plant_world import poisson

BOUNDS = {"min_replicas": 1, "max_replicas": 20}
CONFIG = PlantConfig(
    slots=20, startup=Startup(20.0), patience=Patience(wait_seconds=15.0, timeout_seconds=60.0), initial_replicas=3
)


def two_levels(seed: int = 1) -> Requests:
    """Ten minutes at 4/s, ten at 16/s, ten at 4/s; 10 s each in a slot."""
    rng = np.random.default_rng(seed)
    parts = [np.sort(rng.random(rng.poisson(rate * 600)) * 600) + 600 * place for place, rate in enumerate((4, 16, 4))]
    arrivals = np.concatenate(parts)
    return Requests(arrivals, rng.uniform(5, 15, len(arrivals)), 1800.0)


def outcome(scaler: Scaler, requests: Requests) -> tuple[float, float]:
    """Cost in pod-hours and the share that missed."""
    run = simulate(requests, scaler, CONFIG, 3)
    return run.pod_seconds / 3600, float(run.missed.mean())


def oracle(requests: Requests, attainment: float = 0.99) -> Oracle:
    return Oracle(
        plan(
            requests,
            slots=20,
            startup_seconds=20.0,
            wait_seconds=15.0,
            attainment=attainment,
            initial_replicas=CONFIG.initial_replicas,
            **BOUNDS,
        )
    )


def test_it_keeps_the_attainment_it_was_asked_for() -> None:
    _, missed = outcome(oracle(two_levels()), two_levels())
    assert missed <= 0.01


def test_it_costs_hardly_more_than_the_work_there_was() -> None:
    requests = two_levels()
    cost, _ = outcome(oracle(requests), requests)
    assert cost <= 1.15 * float(requests.service.sum()) / 20 / 3600


@pytest.mark.parametrize(
    "rival",
    [Kpa(14.0, **BOUNDS), Kpa(18.0, **BOUNDS), Static(9), Static(12)],
    ids=["kpa 70 %", "kpa 90 %", "static 9", "static 12"],
)
def test_who_misses_as_little_is_not_cheaper(rival: Scaler) -> None:
    requests = two_levels()
    cost, missed = outcome(rival, requests)
    best, _ = outcome(oracle(requests), requests)
    assert missed > 0.01 or cost >= best


def test_less_attainment_is_not_dearer() -> None:
    requests = two_levels()
    strict, loose = (outcome(oracle(requests, share), requests)[0] for share in (0.999, 0.8))
    assert loose <= strict


def test_a_plan_uses_the_waiting_that_is_allowed() -> None:
    # 30 s of three times the load: with enough to wait it needs no more replicas.
    arrivals = np.sort(np.concatenate([np.arange(0, 600, 0.25), np.arange(300, 330, 0.125)]))
    requests = Requests(arrivals, np.full(len(arrivals), 5.0), 600.0)

    def replica_seconds(wait: float) -> float:
        return cost_of(plan(requests, slots=20, startup_seconds=20.0, wait_seconds=wait, attainment=0.999, **BOUNDS))

    def cost_of(schedule: Schedule) -> float:
        times = [*(at for at, _ in schedule.steps), requests.duration]
        return sum(count * (times[place + 1] - at) for place, (at, count) in enumerate(schedule.steps))

    assert replica_seconds(60.0) < replica_seconds(1.0)


def test_no_traffic_needs_the_minimum() -> None:
    nothing = Requests(np.zeros(0), np.zeros(0), 300.0)
    bounds = {"min_replicas": 2, "max_replicas": 20}
    planned = plan(nothing, slots=20, startup_seconds=20.0, wait_seconds=15.0, attainment=0.99, **bounds)
    assert planned == Schedule(((0.0, 2),), 0.0)


def test_what_cannot_be_kept_still_gives_a_plan_within_the_bounds_that_says_so() -> None:
    requests = poisson(100.0, 300.0, mean_service=10.0)
    bounds = {"min_replicas": 1, "max_replicas": 5}
    planned = plan(requests, slots=1, startup_seconds=20.0, wait_seconds=1.0, attainment=0.999, **bounds)
    assert {count for _, count in planned.steps} <= {1, 2, 3, 4, 5}
    assert planned.missed > 0.5
