"""Our autoscaler in the simulator: the same decisions, behind the delays of its sources and engines."""

import numpy as np
import pytest

from fake_service import FakeService, steps
from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.decide import step as deciding
from generation_operator.decide.types import Observation, SignalName, SignalState
from generation_operator.simulate import ours as module
from generation_operator.simulate.ours import DIRECT, FLOOR, Ours, Source, ours
from generation_operator.simulate.plant import PlantConfig, Startup, simulate
from generation_operator.simulate.trace import Requests
from simulation.plant_world import poisson

SPEC = GenerationServiceSpec.model_validate({"image": "x", "scaling": {"minReplicas": 2, "maxReplicas": 20}})


def scaler(engine: str = DIRECT, source: str = Source.PODS, **fields: object) -> Ours:
    return ours("Targets", SPEC, engine=engine, source=source, **fields)  # type: ignore[arg-type]


def first_raise(engine: str, source: str, seed: int) -> float:
    """When replicas are added: one request every 2 s, and from 100 s on a hundred per second."""
    arrivals = np.concatenate([np.arange(0, 100, 2.0), np.arange(100, 160, 0.01)])
    requests = Requests(arrivals, np.full(len(arrivals), 10.0), 160.0)
    run = simulate(requests, scaler(engine, source), PlantConfig(initial_replicas=2), seed)
    return float(np.argmax(run.timeline.replicas > 2))


def test_fresh_load_and_direct_scaling_act_within_a_few_seconds() -> None:
    assert all(100 <= first_raise(DIRECT, Source.PODS, seed) <= 106 for seed in range(5))


def test_prometheus_is_a_scrape_late_and_a_late_one_two() -> None:
    usual = [first_raise(DIRECT, Source.PROMETHEUS, seed) for seed in range(12)]
    late = [first_raise(DIRECT, Source.PROMETHEUS_LATE, seed) for seed in range(12)]
    assert max(usual) > 108
    assert all(100 <= at <= 122 for at in usual)
    assert all(115 <= at <= 137 for at in late)


def test_the_floor_waits_for_the_sync_of_the_hpa() -> None:
    acted = [first_raise(FLOOR, Source.PODS, seed) for seed in range(12)]
    assert all(100 <= at <= 122 for at in acted)
    assert max(acted) > 108


def test_the_floor_goes_down_with_the_decision() -> None:
    service = FakeService(lambda at: 200.0 if at < 100 else 5.0).with_replicas(10)
    assert steps(service, scaler(FLOOR), 900)[-1][1] == 2


def test_beside_direct_scaling_the_hpa_only_raises() -> None:
    # Fully busy at first, so the guard needs what there is; then idle, and it needs next to nothing.
    service = FakeService(lambda at: 40.0 if at < 60 else 0.0).with_replicas(2)
    assert steps(service, scaler(), 400) == [] or service.replicas == 2


def test_without_load_it_ends_at_the_minimum_and_without_replicas_it_is_not_lost() -> None:
    assert steps(FakeService(lambda _: 0.0).with_replicas(9), scaler(), 900)[-1][1] == 2
    assert steps(FakeService(lambda _: 0.0), scaler(), 60)[0][1] == 2


def test_a_quotient_of_nothing_is_no_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Observation] = []

    def spy(*args: object, **kwargs: object) -> object:
        seen.append(args[2])  # type: ignore[arg-type]
        return deciding.step(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "step", spy)
    steps(FakeService(lambda _: 0.0).with_replicas(2), scaler(), 30)
    quiet = seen[-1].signals
    assert quiet[SignalName.WORKFLOW_SERVICE_TIME].state is SignalState.NO_TRAFFIC
    assert quiet[SignalName.MISS_RATIO_1H].state is SignalState.NO_TRAFFIC
    assert quiet[SignalName.QUEUE_LENGTH].value == 0


def test_notes_tell_each_new_decision_with_its_lines() -> None:
    kept = scaler(keep_notes=True)
    run = simulate(poisson(20.0, 600.0, mean_service=10.0), kept, PlantConfig(initial_replicas=4), 1, notes=True)
    assert run.notes
    assert run.scaler == "Targets"
    assert any(note.wanted > 4 for note in run.notes)
    assert all(any(line.startswith("Demand: ") for line in note.lines) for note in run.notes)


def test_more_headroom_costs_more_and_misses_no_more() -> None:
    requests = poisson(15.0, 1800.0, mean_service=10.0)
    config = PlantConfig(startup=Startup(20.0), initial_replicas=8)
    tight, ample = (simulate(requests, scaler(headroom_percent=percent), config, 1) for percent in (0, 60))
    assert ample.pod_seconds > tight.pod_seconds
    assert ample.missed.sum() <= tight.missed.sum()


def test_the_scores_act_on_lower_thresholds_when_asked() -> None:
    requests = poisson(15.0, 1800.0, mean_service=10.0)
    config = PlantConfig(startup=Startup(20.0), initial_replicas=8)
    usual, eager = (simulate(requests, ours("Score", SPEC, score_percent=each), config, 1) for each in (100, 40))
    assert eager.timeline.replicas.max() >= usual.timeline.replicas.max()
    assert not np.array_equal(eager.timeline.replicas, usual.timeline.replicas)
