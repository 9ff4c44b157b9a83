"""The HPA's arithmetic, from the HPA as the API server shows it."""

from typing import Any

import pytest

from generation_operator.decide.guard import guard_need
from generation_operator.decide.types import Guard, Replicas


def make_hpa(current: int | None, target: int = 70, *, active: str = "True") -> dict[str, Any]:
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}}]
    return {
        "spec": {
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}},
                }
            ]
        },
        "status": {
            "conditions": [{"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": active}],
            "currentMetrics": metrics if current is not None else [],
        },
    }


@pytest.mark.parametrize(
    ("current", "ready", "need"),
    [
        (70, 4, 4),
        (63, 4, 4),  # ratio 0.9: within the tolerance
        (77, 4, 4),  # ratio 1.1: within the tolerance
        (62, 4, 4),  # 3.54
        (78, 4, 5),  # 4.46
        (140, 4, 8),
        (141, 4, 9),
        (35, 4, 2),
        (36, 4, 3),
        (1, 4, 1),
        (0, 4, 0),
        (90, 1, 2),
    ],
)
def test_need_is_what_the_hpa_controller_computes(current: int, ready: int, need: int) -> None:
    assert guard_need(make_hpa(current), ready) == Guard(Replicas(need), "CpuUtilization")


@pytest.mark.parametrize(
    "hpa",
    [
        None,
        {},
        {"spec": {}, "status": {}},
        {"spec": {"metrics": None}, "status": {"currentMetrics": None, "conditions": None}},
        make_hpa(None),
        make_hpa(95, active="False"),
        make_hpa(95, target=0),
        make_hpa(95) | {"spec": {"metrics": [{"type": "Pods", "pods": {}}]}},
        make_hpa(95) | {"status": {"currentMetrics": [{"type": ""}, {"type": "Resource", "resource": None}]}},
        make_hpa(95) | {"status": {"currentMetrics": [{"type": "Resource", "resource": {"name": "memory"}}]}},
    ],
)
def test_without_the_metric_the_need_is_unknown(hpa: dict[str, Any] | None) -> None:
    assert guard_need(hpa, 4) == Guard(None, "NoMetrics")


def test_a_service_that_was_switched_off_by_hand_is_told_apart() -> None:
    hpa = make_hpa(95, active="False")
    for condition in hpa["status"]["conditions"]:
        condition["reason"] = "ScalingDisabled" if condition["type"] == "ScalingActive" else "ReadyForNewScale"
    assert guard_need(hpa, 0) == Guard(None, "ScalingDisabled")


@pytest.mark.parametrize(("seen", "need"), [(None, 3), (2, 3), (4, 3), (8, 6), ("8", 3)])
def test_need_is_that_of_the_replicas_that_the_hpa_saw(seen: object, need: int) -> None:
    hpa = make_hpa(52)
    hpa["status"]["currentReplicas"] = seen
    assert guard_need(hpa, 4) == Guard(Replicas(need), "CpuUtilization")


def test_without_ready_pods_the_need_is_unknown() -> None:
    assert guard_need(make_hpa(95), 0) == Guard(None, "NoReadyPods")


def test_an_unknown_scaling_condition_does_not_hide_the_metric() -> None:
    assert guard_need(make_hpa(95, active="Unknown"), 4).replicas == 6


def with_metric(hpa: dict[str, Any], kind: str, current: Any, target: Any) -> dict[str, Any]:
    """The HPA with one metric more: memory in % of the request, or requests per second as quantities."""
    if kind == "memory":
        name, inner = "resource", dict[str, Any](name="memory")
        now, wanted = {"averageUtilization": current}, {"type": "Utilization", "averageUtilization": target}
    else:
        name, inner = "pods", {"metric": {"name": "requests_per_second"}}
        now, wanted = {"averageValue": current}, {"type": "AverageValue", "averageValue": target}
    outer = {"type": name.capitalize()}
    hpa["spec"]["metrics"].append(outer | {name: inner | {"target": wanted}})
    hpa["status"]["currentMetrics"].append(outer | {name: inner | {"current": now}})
    return hpa


@pytest.mark.parametrize(
    ("cpu", "kind", "current", "target", "expected"),
    [
        (140, "memory", 40, 80, Guard(Replicas(8), "CpuUtilization")),
        (35, "memory", 160, 80, Guard(Replicas(8), "MemoryUtilization")),
        (35, "memory", None, 80, Guard(Replicas(2), "CpuUtilization")),
        (None, "memory", 160, 80, Guard(Replicas(8), "MemoryUtilization")),
        (35, "requests", "150", "100", Guard(Replicas(6), "RequestsPerSecond")),
        (35, "requests", "150500m", "100", Guard(Replicas(7), "RequestsPerSecond")),
        (35, "requests", "0.11k", "100", Guard(Replicas(4), "RequestsPerSecond")),  # 110: within the tolerance
        (35, "requests", "1", "100", Guard(Replicas(2), "CpuUtilization")),
        (35, "requests", "many", "100", Guard(Replicas(2), "CpuUtilization")),
        (35, "requests", "150", "0", Guard(Replicas(2), "CpuUtilization")),
    ],
)
def test_the_most_demanding_metric_counts(
    cpu: int | None, kind: str, current: Any, target: Any, expected: Guard
) -> None:
    assert guard_need(with_metric(make_hpa(cpu), kind, current, target), 4) == expected
