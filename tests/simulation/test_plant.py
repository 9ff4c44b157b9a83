"""The plant: nothing vanishes, replicas cost from creation to their last request, the same seed gives the same run."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation_operator.simulate.plant import MEASURED_MODEL_LOAD, Plant, PlantConfig, Startup, simulate
from generation_operator.simulate.ports import View
from generation_operator.simulate.result import Run
from generation_operator.simulate.serving import Patience
from generation_operator.simulate.trace import Requests
from simulation.plant_world import Plan, exactly, make_config, make_requests, poisson


def run(requests: Requests, config: PlantConfig, *steps: tuple[float, int], seed: int = 0) -> Run:
    return simulate(requests, Plan(*steps), config, seed)


def test_a_request_waits_until_a_slot_is_free() -> None:
    result = run(make_requests([0.0, 1.0, 2.0], 4.0), make_config())
    assert result.waits.tolist() == [0.0, 3.0, 6.0]
    assert result.latencies.tolist() == [4.0, 7.0, 10.0]
    assert result.missed.tolist() == [False, False, True]


def test_slots_work_side_by_side() -> None:
    assert run(make_requests([0.0, 1.0, 2.0], 4.0), make_config(slots=2)).waits.tolist() == [0.0, 0.0, 2.0]


def test_a_client_gives_up_and_has_missed() -> None:
    patience = Patience(wait_seconds=1.0, timeout_seconds=3.0)
    result = run(make_requests([0.0, 1.0, 2.0], 5.0), make_config(patience=patience))
    assert math.isnan(result.waits[1])
    assert result.missed.tolist() == [False, True, True]


def test_a_full_queue_refuses() -> None:
    patience = Patience(wait_seconds=100.0, queue_limit=1)
    result = run(make_requests([0.0, 1.0, 2.0], 10.0), make_config(patience=patience))
    assert result.missed.tolist() == [False, False, True]


def test_a_refused_client_may_come_back_and_counts_from_its_first_arrival() -> None:
    patience = Patience(wait_seconds=100.0, queue_limit=1, retries=2, retry_after_seconds=5.0)
    result = run(make_requests([0.0, 1.0, 2.0], 6.0), make_config(patience=patience))
    assert result.waits.tolist() == [0.0, 5.0, 10.0]
    assert not result.missed.any()


def test_a_client_that_gave_up_too_often_has_missed() -> None:
    patience = Patience(wait_seconds=1.0, timeout_seconds=2.0, retries=1, retry_after_seconds=1.0)
    result = run(make_requests([0.0, 0.5], [50.0, 1.0]), make_config(patience=patience))
    assert result.missed.tolist() == [False, True]


def test_a_new_replica_costs_from_its_creation_and_serves_when_it_is_ready() -> None:
    result = run(make_requests([9.0, 9.0], 40.0), make_config(startup=20.0), (10.0, 2))
    assert result.waits.tolist() == [0.0, 21.0]  # asked for at 10, ready at 30
    assert result.pod_seconds == 100 + 90
    assert result.timeline.starting[15] == 1
    assert result.timeline.ready[31] == 2


def test_a_removed_replica_finishes_what_it_has_and_costs_until_then() -> None:
    result = run(make_requests([5.0, 5.0], 30.0), make_config(replicas=2), (10.0, 1))
    assert result.waits.tolist() == [0.0, 0.0]
    assert result.pod_seconds == pytest.approx(100 + 35, abs=1)
    assert result.timeline.draining[20] == 1
    assert result.timeline.draining[37] == 0


def test_a_removed_replica_takes_nothing_new() -> None:
    result = run(make_requests([5.0, 11.0], [2.0, 8.0]), make_config(replicas=2, slots=1), (10.0, 1))
    assert result.timeline.ready[12] == 1
    assert result.pod_seconds == pytest.approx(100 + 10, abs=1)


def test_a_replica_that_drains_too_long_is_killed_and_its_request_is_a_miss() -> None:
    result = run(make_requests([5.0, 5.0], 90.0), make_config(replicas=2, grace_seconds=20.0), (10.0, 1))
    assert result.missed.tolist().count(True) == 1
    assert result.pod_seconds == pytest.approx(100 + 30, abs=1)


def test_replicas_that_are_not_ready_are_removed_first() -> None:
    result = run(make_requests([0.0], 1.0), make_config(replicas=2, startup=20.0), (10.0, 3), (15.0, 2))
    assert result.timeline.ready[50] == 2
    assert result.pod_seconds == 200 + 5


def test_requests_before_the_scored_part_cost_nothing() -> None:
    requests = make_requests([0.0], 1.0)
    late = Requests(requests.arrivals, requests.service, 100.0, scored_from=40.0)
    assert run(late, make_config(replicas=2)).pod_seconds == 120


def test_a_request_that_waits_at_the_end_counts_by_how_long_it_has_waited() -> None:
    result = run(make_requests([0.0, 10.0, 98.0], 200.0), make_config())
    assert result.missed.tolist() == [False, True, False]


def test_all_gone_means_everything_waits() -> None:
    result = run(make_requests([20.0], 1.0), make_config(startup=5.0), (10.0, 0), (30.0, 1))
    assert result.waits.tolist() == [15.0]


def test_waiting_follows_the_erlang_formula() -> None:
    # M/M/10 at 85 %: Erlang C gives a mean wait of 0.269 service times x 1/(10 - 8.5) = 0.29 s.
    result = run(poisson(8.5, 20_000, mean_service=1.0), make_config(slots=5, replicas=2))
    assert float(np.mean(result.waits)) == pytest.approx(erlang_c_wait(10, 8.5), rel=0.1)


def erlang_c_wait(servers: int, load: float) -> float:
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    waits = blocked / (1 - load / servers * (1 - blocked))
    return waits / (servers - load)


def test_shared_processors_slow_each_other_down() -> None:
    result = run(make_requests([0.0, 0.0], [2.0, 2.0]), make_config(slots=5, processors=1.0))
    assert result.latencies.tolist() == [4.0, 4.0]
    later = run(make_requests([0.0, 1.0], [2.0, 2.0]), make_config(slots=5, processors=1.0))
    assert later.latencies.tolist() == pytest.approx([3.0, 3.0])
    alone = run(make_requests([0.0, 0.0], [2.0, 2.0]), make_config(slots=5, processors=2.0))
    assert alone.latencies.tolist() == [2.0, 2.0]


def test_shared_processors_follow_the_formula_of_processor_sharing() -> None:
    # M/M/1-PS at 60 %: the mean latency is 1 / (1 - 0.6) = 2.5 service times.
    result = run(poisson(0.6, 40_000, mean_service=1.0), make_config(slots=500, processors=1.0))
    assert float(np.nanmean(result.latencies)) == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize(
    ("fields", "missed"),
    [
        ({"patience": Patience(wait_seconds=100.0, queue_limit=0)}, [False, False, True]),
        ({"patience": Patience(wait_seconds=100.0, queue_limit=1)}, [False, False, False]),
        ({"patience": Patience(wait_seconds=100.0, timeout_seconds=0.5)}, [False, False, True]),
        ({"patience": Patience(wait_seconds=1.0)}, [True, True, True]),
    ],
)
def test_shared_processors_have_a_bounded_queue_too(fields: dict[str, Any], missed: list[bool]) -> None:
    result = run(make_requests([0.0, 0.0, 0.0], 5.0), make_config(slots=2, processors=1.0, **fields))
    assert result.missed.tolist() == missed


def test_shared_processors_drain_and_are_killed() -> None:
    requests = make_requests([5.0, 5.0], 30.0)
    drained = run(requests, make_config(slots=5, processors=1.0, replicas=2), (10.0, 1))
    assert not drained.missed.any()
    killed = run(requests, make_config(slots=5, processors=1.0, replicas=2, grace_seconds=5.0), (10.0, 1))
    assert killed.missed.tolist().count(True) == 1


def test_samples_tell_what_a_probe_would_have_counted() -> None:
    plant = Plant(make_requests([0.5, 1.5, 2.5], 10.0), make_config(), np.random.default_rng(0))
    plant.advance(20.0)
    seen = plant.sample(3.9)
    assert (seen.at, seen.in_flight, seen.queued, seen.arrived, seen.served) == (3.0, 1, 2, 3, 0)
    assert plant.sample(-5.0).at == 0.0
    assert plant.sample(11.0).service_seconds == 10.0
    (pod,) = plant.pods()
    assert pod.used(12.0) == pytest.approx(11.0, abs=1)
    assert pod.is_ready(12.0)


def test_the_start_up_time_is_measured() -> None:
    plant = Plant(make_requests([]), make_config(startup=7.0), np.random.default_rng(0))
    assert plant.startup_seconds == 7.0
    plant.scale(3)
    plant.advance(10.0)
    assert plant.startup_seconds == 7.0
    assert plant.replicas == 3
    plant.scale(-4)
    assert plant.replicas == 0


@pytest.mark.parametrize("startup", [Startup(20.0), Startup(60.0), MEASURED_MODEL_LOAD, exactly(3.0)])
def test_start_ups_have_the_mean_that_was_asked_for(startup: Startup) -> None:
    rng = np.random.default_rng(3)
    drawn = [startup.draw(rng) for _ in range(20_000)]
    assert min(drawn) > 0
    assert float(np.mean(drawn)) == pytest.approx(startup.mean_seconds, rel=0.02)


def test_a_scaler_that_does_not_go_forward_is_refused() -> None:
    class Stuck:
        name = "stuck"

        def begin(self, view: View, rng: np.random.Generator) -> float:
            return 1.0

        def act(self, view: View, now: float) -> tuple[int | None, float]:
            return None, now

    with pytest.raises(ValueError, match=r"stuck wants to act at 1\.0 s, which is not after 1\.0 s"):
        simulate(make_requests([1.0]), Stuck(), make_config(), 0)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    requests = poisson(20.0, 300.0, mean_service=5.0)
    config = PlantConfig(slots=20, initial_replicas=2)
    steps = ((30.0, 8), (150.0, 5))
    first, again, other = (simulate(requests, Plan(*steps), config, seed) for seed in (4, 4, 5))
    assert np.array_equal(first.waits, again.waits, equal_nan=True)
    assert first.pod_seconds == again.pod_seconds
    assert not np.array_equal(first.waits, other.waits, equal_nan=True)


_times = st.lists(st.floats(0, 90), max_size=60).map(sorted)
_steps = st.lists(st.tuples(st.floats(0.5, 95), st.integers(0, 6)), max_size=6, unique_by=lambda step: step[0])


@settings(max_examples=60, deadline=None)
@given(
    _times,
    st.floats(0.1, 30),
    _steps.map(sorted),
    st.builds(
        Patience,
        st.floats(0, 20),
        st.floats(1, 50),
        st.one_of(st.none(), st.integers(0, 5)),
        st.integers(0, 2),
        st.floats(0.1, 9),
    ),
    st.sampled_from([None, 1.0, 2.5]),
)
def test_nothing_vanishes(
    times: list[float],
    service: float,
    steps: list[tuple[float, int]],
    patience: Patience,
    processors: float | None,
) -> None:
    config = make_config(slots=2, startup=3.0, patience=patience, processors=processors, grace_seconds=8.0)
    plant = Plant(make_requests(times, service), config, np.random.default_rng(0))
    for at, wanted in steps:
        plant.advance(at)
        plant.scale(wanted)
    plant.advance(100.0)
    result = plant.result("plan", 0, ())
    last = plant.sample(100.0)
    assert last.arrived == len(times)
    assert last.in_flight >= 0
    answered_or_lost = last.served + int(np.isnan(result.waits).sum()) + last.in_flight
    assert answered_or_lost >= len(times) - int(result.missed.sum())
    assert (result.waits[~np.isnan(result.waits)] >= -1e-9).all()
    assert result.pod_seconds >= 0
    # Whoever was answered in time has not missed.
    in_time = ~np.isnan(result.waits) & (result.waits <= patience.wait_seconds)
    assert not (result.missed & ~in_time)[in_time].any()
