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


@pytest.mark.parametrize(("seen", "need"), [(None, 3), (2, 3), (4, 3), (8, 6), ("8", 3)])
def test_need_is_that_of_the_replicas_that_the_hpa_saw(seen: object, need: int) -> None:
    hpa = make_hpa(52)
    hpa["status"]["currentReplicas"] = seen
    assert guard_need(hpa, 4) == Guard(Replicas(need), "CpuUtilization")


def test_without_ready_pods_the_need_is_unknown() -> None:
    assert guard_need(make_hpa(95), 0) == Guard(None, "NoReadyPods")


def test_an_unknown_scaling_condition_does_not_hide_the_metric() -> None:
    assert guard_need(make_hpa(95, active="Unknown"), 4).replicas == 6
