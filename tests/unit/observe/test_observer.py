"""What is read from the Deployment and the HPA."""

from typing import Any

import pytest

from builders import make_service
from generation_operator.decide.types import Guard, Replicas, SignalState
from generation_operator.observe.observer import observe, rollout_in_progress
from generation_operator.observe.signals import Reading


def make_deployment(spec: dict[str, Any], status: dict[str, Any] | None, generation: int = 3) -> dict[str, Any]:
    deployment: dict[str, Any] = {"metadata": {"generation": generation}, "spec": spec}
    return deployment if status is None else deployment | {"status": status}


def test_a_deployment_without_status_has_no_ready_pods() -> None:
    observation = observe(make_service().obj(), make_deployment({"replicas": 4}, None), None, Reading())
    assert (observation.current, observation.ready) == (4, 0)
    assert observation.guard == Guard(None, "NoMetrics")
    assert {signal.state for signal in observation.signals.values()} == {SignalState.MISSING}
    assert (observation.metrics_error or "").startswith("NoSamples: ")


def test_replicas_that_are_not_named_are_one() -> None:
    assert observe(make_service().obj(), make_deployment({}, {}), None, Reading()).current == 1


def test_the_guards_need_follows_the_ready_pods() -> None:
    cpu = {"name": "cpu", "target": {"averageUtilization": 70}, "current": {"averageUtilization": 140}}
    metric = {"type": "Resource", "resource": cpu}
    hpa = {"spec": {"metrics": [metric]}, "status": {"currentMetrics": [metric]}}
    deployment = make_deployment({"replicas": 5}, {"readyReplicas": 3})
    assert observe(make_service().obj(), deployment, hpa, Reading()).guard.replicas == Replicas(6)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4}, False),
        ({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 4}, True),
        ({"observedGeneration": 3, "replicas": 5, "updatedReplicas": 1}, True),
        ({"observedGeneration": 3, "replicas": 4}, True),
        ({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 3}, False),  # a quota refuses the fourth pod
        ({"observedGeneration": 3}, False),  # no pods at all
        ({}, True),
        (None, True),
    ],
)
def test_a_rollout_is_seen_by_its_old_pods(status: dict[str, Any] | None, *, expected: bool) -> None:
    assert rollout_in_progress(make_deployment({"replicas": 4}, status)) is expected
