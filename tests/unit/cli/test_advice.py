"""What `gensvc lint` says about specs that are allowed and unwise."""

from datetime import datetime
from typing import Any

import pytest

from builders import make_service
from generation_operator.cli.advice import advice

NOW = datetime.fromisoformat("2026-07-01T12:00:00Z").timestamp()


def schedule(name: str = "day", **changes: Any) -> dict[str, Any]:
    return {"name": name, "start": "0 8 * * MON-FRI", "end": "0 18 * * *", "minReplicas": 4} | changes


def advised(spec: dict[str, Any] | None = None, **scaling: Any) -> list[str]:
    return list(advice(make_service().scaling(**scaling).spec(**spec or {}).obj().spec, NOW))


def test_the_defaults_are_wise() -> None:
    assert advised() == []


@pytest.mark.parametrize(
    ("scaling", "beginning"),
    [
        ({"targets": {"headroomPercent": -10}}, "spec.scaling.targets.headroomPercent: -10 plans with less"),
        ({"horizontalPodAutoscaler": {"cpuPercent": 80}}, "spec.scaling.horizontalPodAutoscaler.cpuPercent: the guard"),
        ({"minReplicas": 4, "maxReplicas": 4}, "spec.scaling.minReplicas: equals maxReplicas, so there are always 4"),
        ({"budget": {"replicaHoursPerDay": 47}}, "spec.scaling.budget.replicaHoursPerDay: 47 does not pay"),
        ({"override": {"replicas": 3, "until": "2026-07-01T12:00:00Z"}}, "spec.scaling.override.until: 2026-07-01T12"),
        ({"override": {"replicas": 21, "until": "2026-07-02T00:00:00Z"}}, "spec.scaling.override.replicas: 21 is outs"),
        ({"schedules": [schedule(minReplicas=2)]}, "spec.scaling.schedules[0].minReplicas: 2 is not above"),
        (
            {"schedules": [schedule(end="* * * * *")]},
            "spec.scaling.schedules[0]: it ends whenever it starts, so it is never active",
        ),
        (
            {"schedules": [schedule(), schedule("noon", start="0 12 * * *", end="0 13 * * *")]},
            "spec.scaling.schedules[1]: it overlaps with schedule day",
        ),
        (
            {"schedules": [schedule("noon", start="0 12 * * *", end="0 13 * * *"), schedule()]},
            "spec.scaling.schedules[1]: it overlaps with schedule noon",
        ),
    ],
)
def test_unwise_scaling_is_one_line_with_its_field(scaling: dict[str, Any], beginning: str) -> None:
    [line] = advised(**scaling)
    assert line.startswith(beginning)


@pytest.mark.parametrize(
    ("spec", "beginning"),
    [
        ({"targets": {"workflowDurationSeconds": 4}}, "spec.targets.workflowDurationSeconds: 4 s is less than"),
        ({"targets": {"successPercent": 100}}, "spec.targets.successPercent: 100 leaves no error budget"),
        ({"metrics": {"windowSeconds": 29}}, "spec.metrics.windowSeconds: 29 s holds fewer than two samples"),
        ({"metrics": {"maxAgeSeconds": 14}}, "spec.metrics.maxAgeSeconds: samples of a Prometheus"),
    ],
)
def test_unwise_objectives_and_metrics_are_one_line(spec: dict[str, Any], beginning: str) -> None:
    [line] = advised(spec)
    assert line.startswith(beginning)


@pytest.mark.parametrize(
    "scaling",
    [
        {"horizontalPodAutoscaler": {"cpuPercent": 81}},
        {"budget": {"replicaHoursPerDay": 48}},
        {"override": {"replicas": 20, "until": "2026-07-01T12:00:01Z"}},
        {"schedules": [schedule(), schedule("night", start="0 20 * * *", end="0 6 * * *")]},
        {"schedules": [schedule(start="* * * * *")]},
    ],
)
def test_what_is_just_wise_enough_is_silent(scaling: dict[str, Any]) -> None:
    assert advised(**scaling) == []


def test_the_scores_blind_spots_are_told_only_where_scores_decide() -> None:
    assert [line.split(":")[0] for line in advised(policy="Score")] == [
        "spec.scaling.score.up.weights.responseTime",
        "spec.scaling.score.up.weights.queueLength",
        "spec.scaling.score.up.thresholds.responseTimeMilliseconds",
    ]
