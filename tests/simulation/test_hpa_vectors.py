"""Our HPA agrees with the real controller on every recorded case (hack/vectors/README.md tells how they are made)."""

import json
from pathlib import Path
from typing import Any

import pytest

from generation_operator.rivals.hpa_behavior import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    History,
    Loop,
    Policy,
    PolicyType,
    Rules,
    SelectPolicy,
)
from generation_operator.rivals.hpa_calculator import (
    DEFAULT_CPU_READINESS,
    Phase,
    PodMetric,
    PodState,
    Tolerance,
    average_value_replicas,
    external_total,
    per_pod_replicas,
    utilization_replicas,
    value_replicas,
)

VECTORS = Path(__file__).parent / "vectors"

CALCULATOR_KINDS = [
    "utilization",
    "memory-utilization",
    "cpu-value",
    "pods",
    "external-value",
    "external-average",
    "object-value",
    "object-average",
]


@pytest.fixture(scope="module")
def calculator_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / "hpa_calculator.json").read_text())
    return cases


@pytest.fixture(scope="module")
def loop_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / "hpa_loop.json").read_text())
    return cases


@pytest.mark.parametrize("kind", CALCULATOR_KINDS)
def test_counts_are_those_of_the_real_replica_calculator(calculator_cases: list[dict[str, Any]], kind: str) -> None:
    cases = [case for case in calculator_cases if case["kind"] == kind]
    wrong = [(case, got) for case in cases if (got := calculated(case)) != case["want"]]
    assert not wrong, f"{len(wrong)} of {len(cases)}, first: {wrong[0]}"
    assert len(cases) > 400
    assert len({case["want"] for case in cases}) > 10


def test_loops_write_what_the_real_controller_writes(loop_cases: list[dict[str, Any]]) -> None:
    wrong = [(index, got) for index, case in enumerate(loop_cases) if (got := first_difference(case)) is not None]
    assert not wrong, f"{len(wrong)} of {len(loop_cases)}, first: line {wrong[0][0] + 2}, (turn, ours) {wrong[0][1]}"
    assert len(loop_cases) >= 500


def test_the_recorded_loops_reach_every_rule(loop_cases: list[dict[str, Any]]) -> None:
    """Cases that never scale would agree with anything."""
    behaviors = [case["behavior"] for case in loop_cases]
    rules = [rules for behavior in behaviors if behavior for rules in behavior.values()]
    assert behaviors.count(None) > 100
    assert {entry.get("select") for entry in rules} == {None, "Max", "Min", "Disabled"}
    assert {policy[0] for entry in rules for policy in entry.get("policies", [])} == {"Percent", "Pods"}
    ups = downs = 0
    for case in loop_cases:
        current = case["start"]
        for _, replaced, _, want in case["turns"]:
            current = current if replaced is None else replaced
            ups, downs, current = ups + (want > current), downs + (want < current), want
    assert ups > 1000
    assert downs > 1000


def calculated(case: dict[str, Any]) -> int | None:
    current, target, tolerance = case["current"], case["target"], Tolerance(*case["tolerance"])
    pods = [pod(index, row) for index, row in enumerate(case["pods"])]
    metrics = {f"p{index}": PodMetric(value, at, window) for index, value, at, window in case["metrics"]}
    match case["kind"]:
        case "utilization" | "memory-utilization" as kind:
            cpu = DEFAULT_CPU_READINESS if kind == "utilization" else None
            return utilization_replicas(current, target, pods, metrics, 0.0, tolerance=tolerance, cpu=cpu)
        case "cpu-value" | "pods" as kind:
            cpu = DEFAULT_CPU_READINESS if kind == "cpu-value" else None
            return per_pod_replicas(current, target, pods, metrics, 0.0, tolerance=tolerance, cpu=cpu)
        case "external-value" | "object-value":
            return value_replicas(current, sum(case["usage"]), target, pods, tolerance=tolerance)
        case "external-average":
            return average_value_replicas(current, external_total(case["usage"]), target, tolerance=tolerance)
        case "object-average":
            return average_value_replicas(current, case["usage"][0], target, tolerance=tolerance)
    raise AssertionError(f"unknown kind {case['kind']}")


def pod(index: int, row: int | list[Any]) -> PodState:
    if isinstance(row, int):
        return PodState(f"p{index}", Phase.RUNNING, -3600.0, ready=True, ready_changed_at=-3590.0, request=row)
    phase, started, ready, ready_changed_at, request, deleting = row
    return PodState(f"p{index}", Phase(phase), started, ready, ready_changed_at, request, deleting)


def first_difference(case: dict[str, Any]) -> tuple[int, int] | None:
    """The first turn at which ours writes another count, and that count."""
    loop, history = Loop(case["min"], case["max"], behavior(case["behavior"])), History()
    now, current = 0.0, case["start"]
    for index, (wait, replaced, values, want) in enumerate(case["turns"]):
        now += wait
        current = current if replaced is None else replaced
        proposals = [
            None if value is None else average_value_replicas(current, value, target, tolerance=loop.tolerance)
            for value, target in zip(values, case["targets"], strict=True)
        ]
        current = loop.synced(history, current, proposals, now)
        if current != want:
            return index, current
    return None


def behavior(spec: dict[str, Any] | None) -> Behavior | None:
    if spec is None:
        return None
    return Behavior(rules(spec.get("up"), DEFAULT_SCALE_UP), rules(spec.get("down"), DEFAULT_SCALE_DOWN))


def rules(spec: dict[str, Any] | None, default: Rules) -> Rules:
    spec = spec or {}
    policies = tuple(Policy(PolicyType(kind), value, period) for kind, value, period in spec.get("policies", ()))
    return Rules(
        policies or default.policies,
        spec.get("window", default.stabilization_seconds),
        SelectPolicy(spec.get("select", default.select)),
        spec.get("tolerance"),
    )
