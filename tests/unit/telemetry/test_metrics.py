"""The operator's own metrics: what they count, and that each is in the catalogue."""

import re
from collections import Counter

import pytest

from autoscaler_world import BUSY, A, World
from builders import make_service
from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName, SignalState
from generation_operator.loops.autoscaler import Autoscaler
from generation_operator.loops.witness import Phase
from generation_operator.telemetry.catalogue import METRICS, PREFIX, Kind
from generation_operator.telemetry.metrics import Metrics


def values(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_every_metric_is_in_the_catalogue_with_its_type() -> None:
    declared = dict(re.findall(r"# TYPE (\S+) (\S+)", Metrics().text().decode()))
    expected = {PREFIX + spec.name.removesuffix("_total"): spec.kind for spec in METRICS}
    found = {name.removesuffix("_total"): kind for name, kind in declared.items() if not name.endswith("_created")}
    assert found == {name: str(kind) for name, kind in expected.items()}
    assert {spec.name.endswith("_total") for spec in METRICS if spec.kind is Kind.COUNTER} == {True}


async def test_a_tick_is_measured_by_its_parts_and_its_decisions_are_counted() -> None:
    world, metrics = World(make_service("a"), make_service("b")), Metrics()
    world.autoscaler = Autoscaler(
        world.cluster,
        world.store,
        world.metrics,
        world.queued.append,
        removal=world.removal,
        clock=lambda: world.now,
        prometheus_default_url=None,
        tick_seconds=15,
        witness=metrics,
    )
    metrics.watch(leads=lambda: True, queued=lambda: 3, failing=lambda: 1, states=world.store.signal_states)
    world.metrics.values[A] = BUSY
    await world.tick()
    found = values(metrics)
    for phase in Phase:
        assert found[f'generation_operator_tick_duration_seconds_count{{phase="{phase}"}}'] == 1
    assert found['generation_operator_decisions_total{binder="Score",reason="HighLoad"}'] == 1
    assert found['generation_operator_steps_total{direction="up"}'] == 1
    assert found['generation_operator_signals{signal="Cpu",state="Fresh"}'] == 2
    assert found['generation_operator_signals{signal="CacheHitRatio",state="Missing"}'] == 2
    assert found["generation_operator_leader"] == 1
    assert found["generation_operator_queue_depth"] == 3
    assert found["generation_operator_queue_failing"] == 1


def test_a_state_that_no_service_has_any_more_is_zero() -> None:
    metrics, states = Metrics(), Counter({(SignalName.CPU, SignalState.STALE): 2})
    metrics.watch(leads=lambda: False, queued=lambda: 0, failing=lambda: 0, states=lambda: states)
    assert values(metrics)['generation_operator_signals{signal="Cpu",state="Stale"}'] == 2
    states.clear()
    assert values(metrics)['generation_operator_signals{signal="Cpu",state="Stale"}'] == 0


async def test_reconciles_are_measured_by_their_outcome() -> None:
    metrics = Metrics()

    async def reconcile(key: Key) -> None:
        if key == A:
            raise RuntimeError("no")

    measured = metrics.timed(reconcile)
    await measured(Key("n", "other"))
    with pytest.raises(RuntimeError):
        await measured(A)
    found = values(metrics)
    assert found['generation_operator_reconcile_duration_seconds_count{outcome="success"}'] == 1
    assert found['generation_operator_reconcile_duration_seconds_count{outcome="error"}'] == 1


def test_requests_are_measured_by_method_resource_and_status() -> None:
    metrics = Metrics()
    metrics.requested("PATCH", "deployments/scale", 409, 0.01)
    name = (
        'generation_operator_api_request_duration_seconds_count{code="409",method="PATCH",resource="deployments/scale"}'
    )
    assert values(metrics)[name] == 1
