"""What the status says, and that it says nothing new while nothing new happens."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import WITH_VPA, ServiceBuilder, make_decision, make_observation, make_service, make_signal
from generation_operator.api.kinds import Manifest
from generation_operator.api.resource import InvalidSpecError
from generation_operator.api.status_schema import STATUS
from generation_operator.cluster.ports import ClusterError
from generation_operator.decide.types import (
    Decision,
    Guard,
    Observation,
    Reason,
    Replicas,
    Seconds,
    SignalName,
    SignalState,
    Spent,
    Stage,
    State,
)
from generation_operator.observe.store import Autoscaling
from generation_operator.reconcile.status import Failure, build, of_invalid, rolled_out, state_from_status

SCORE = make_service().scaling(policy="Score")
NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
Status = dict[str, Any]


def deployment(replicas: int = 2, available: int = 2, **status: Any) -> Manifest:
    counts = {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": available}
    return {
        "metadata": {"name": "a", "namespace": "default", "generation": 1},
        "spec": {"replicas": replicas},
        "status": counts | {"availableReplicas": available} | status,
    }


def decided(
    decision: Decision | None = None,
    *,
    observation: Observation | None = None,
    state: State | None = None,
    write_error: str | None = None,
) -> Autoscaling:
    return Autoscaling(
        observation or make_observation(), decision or make_decision(), state or State(), write_error=write_error
    )


def status_of(service: ServiceBuilder | None = None, **changes: Any) -> Status:
    arguments: dict[str, Any] = {
        "previous": {},
        "deployment": deployment(),
        "autoscaling": decided(),
        "failures": (),
        "now": NOW,
        "available": WITH_VPA,
    }
    return build((service or SCORE).obj(), **arguments | changes)


def condition(status: Status, kind: str) -> tuple[str, str]:
    (found,) = [entry for entry in status["conditions"] if entry["type"] == kind]
    return found["status"], found["reason"]


def message(status: Status, kind: str) -> str:
    (found,) = [entry for entry in status["conditions"] if entry["type"] == kind]
    return str(found["message"])


def violations(value: Any, schema: dict[str, Any], path: str = "status") -> list[str]:
    """What the API server would refuse or drop, as far as the status' schema goes."""
    if schema["type"] == "object":
        if not isinstance(value, dict):
            return [f"{path}: not an object"]
        unknown = [f"{path}.{name}: not in the schema" for name in value if name not in schema["properties"]]
        missing = [f"{path}.{name}: required" for name in schema.get("required", ()) if name not in value]
        known = [name for name in value if name in schema["properties"]]
        inner = [violations(value[name], schema["properties"][name], f"{path}.{name}") for name in known]
        return unknown + missing + [problem for problems in inner for problem in problems]
    if schema["type"] == "array":
        problems = [violations(item, schema["items"], f"{path}[{index}]") for index, item in enumerate(value)]
        return [problem for found in problems for problem in found]
    types: dict[str, type] = {"string": str, "integer": int, "boolean": bool}
    bad = type(value) is not types[schema["type"]]
    bad = bad or (schema["type"] == "string" and len(value) > schema.get("maxLength", 10**9))
    bad = bad or ("enum" in schema and value not in schema["enum"])
    bad = bad or ("minimum" in schema and value < schema["minimum"])
    return [f"{path}: {value!r}"] if bad else []


NEW, FEW = deployment() | {"status": {}}, deployment(2, 1)
ERROR = Failure("Service a", ClusterError(422, "port is taken"))
MISSING = make_decision(valid=False, signals=(make_signal(SignalName.CPU, None, SignalState.MISSING, None),))
STALE = make_decision(valid=False, signals=(make_signal(SignalName.MEMORY, 3.0, SignalState.STALE, 90.0),))
MIXED = make_decision(valid=False, signals=MISSING.signals + STALE.signals)
DOWN = make_observation(metrics_error="PrometheusUnreachable: http://p did not answer")
PARTIAL = make_observation(metrics_error="PartialCoverage: too few pods report")


REACHING = {
    "up": {"thresholds": {"responseTimeMilliseconds": 100}, "scoreAbove": 19},
    "down": {"thresholds": {"responseTimeMilliseconds": 50}},
}


@pytest.mark.parametrize(
    ("service", "changes", "kind", "expected"),
    [
        (make_service(), {}, "Ready", ("True", "AllReady")),
        (make_service(), {"failures": [ERROR]}, "Ready", ("False", "ApplyFailed")),
        (make_service(), {"deployment": None}, "Ready", ("Unknown", "WorkloadUnavailable")),
        (make_service(), {"deployment": deployment(2, 1)}, "Ready", ("False", "WorkloadUnavailable")),
        (make_service(), {"failures": [ERROR], "deployment": None}, "Ready", ("False", "ApplyFailed")),
        (SCORE, {"autoscaling": decided(MISSING)}, "Ready", ("True", "AllReady")),
        (make_service(), {}, "WorkloadAvailable", ("True", "MinimumReplicasAvailable")),
        (make_service(), {"deployment": None}, "WorkloadAvailable", ("Unknown", "DeploymentMissing")),
        (
            make_service(),
            {"deployment": deployment() | {"status": {}}},
            "WorkloadAvailable",
            ("Unknown", "DeploymentMissing"),
        ),
        (
            make_service(),
            {"deployment": deployment(2, 1)},
            "WorkloadAvailable",
            ("False", "MinimumReplicasUnavailable"),
        ),
        # A scale-up in progress is no outage, and somebody may scale below the minimum.
        (make_service(), {"deployment": deployment(8, 2)}, "WorkloadAvailable", ("True", "MinimumReplicasAvailable")),
        (make_service(), {"deployment": deployment(1, 1)}, "WorkloadAvailable", ("True", "MinimumReplicasAvailable")),
        (make_service(), {}, "MetricsAvailable", ("True", "AllSignalsFresh")),
        (make_service(), {"autoscaling": None}, "MetricsAvailable", ("Unknown", "NotObservedYet")),
        (SCORE, {"autoscaling": decided(MISSING)}, "MetricsAvailable", ("False", "SignalsMissing")),
        (SCORE, {"autoscaling": decided(STALE)}, "MetricsAvailable", ("False", "SignalsStale")),
        (SCORE, {"autoscaling": decided(MIXED)}, "MetricsAvailable", ("False", "SignalsMissing")),
        (
            SCORE,
            {"autoscaling": decided(MISSING, observation=DOWN)},
            "MetricsAvailable",
            ("False", "PrometheusUnreachable"),
        ),
        (
            SCORE,
            {"autoscaling": decided(STALE, observation=PARTIAL)},
            "MetricsAvailable",
            ("False", "SignalsStale"),
        ),
        (make_service(), {}, "AbleToScale", ("True", "ReadyToScale")),
        (make_service(), {"autoscaling": None}, "AbleToScale", ("Unknown", "NotDecidedYet")),
        (make_service(), {"autoscaling": decided(write_error="forbidden")}, "AbleToScale", ("False", "ScaleFailed")),
        (make_service().mode("Recommend"), {}, "AbleToScale", ("False", "NotActive")),
        (make_service().mode("Paused"), {}, "AbleToScale", ("False", "Paused")),
        (make_service().paused_by_annotation(), {"autoscaling": None}, "AbleToScale", ("False", "Paused")),
        (make_service(), {}, "TargetsReachable", ("True", "PolicySeesTargets")),
        (SCORE, {}, "TargetsReachable", ("False", "ScoreTooLow")),
        (
            make_service().scaling(policy="Score", score=REACHING),
            {},
            "TargetsReachable",
            ("True", "PolicySeesTargets"),
        ),
    ],
)
def test_conditions(service: ServiceBuilder, changes: dict[str, Any], kind: str, expected: tuple[str, str]) -> None:
    status = status_of(service, **changes)
    assert condition(status, kind) == expected
    assert violations(status, STATUS) == []


def test_messages_name_what_failed_and_where() -> None:
    status = status_of(failures=[ERROR], autoscaling=decided(MIXED, write_error="forbidden"))
    assert message(status, "Ready") == "Service a: port is taken"
    assert message(status, "MetricsAvailable").endswith("missing: Cpu; stale: Memory")
    assert message(status, "AbleToScale").endswith("forbidden")
    down = status_of(autoscaling=decided(MISSING, observation=DOWN))
    assert message(down, "MetricsAvailable").endswith("missing: Cpu; PrometheusUnreachable: http://p did not answer")


def test_conditions_carry_the_generation_that_was_judged() -> None:
    status = status_of(make_service().generation(7))
    assert {entry["observedGeneration"] for entry in status["conditions"]} == {7}
    assert status["observedGeneration"] == 7


def test_counts_and_selector_are_for_the_scale_subresource() -> None:
    status = status_of(deployment=deployment(5, 3))
    assert (status["replicas"], status["readyReplicas"]) == (5, 3)
    labels = make_service().obj().key.name
    assert f"app.kubernetes.io/instance={labels}" in status["selector"].split(",")
    assert status_of(deployment=None)["replicas"] == 0


def test_the_last_decision_is_told_in_full() -> None:
    signals = (
        make_signal(SignalName.CPU, 81.23456, age=3.9),
        make_signal(SignalName.RESPONSE_TIME, None, SignalState.NO_TRAFFIC, None),
    )
    decision = make_decision(
        desired=4,
        current=2,
        limited_by=Stage.BOUNDS,
        reason=Reason.AT_MAXIMUM,
        message="why",
        signals=signals,
    )
    observation = make_observation(guard=Guard(Replicas(3), "cpu"))
    told = status_of(autoscaling=decided(decision, observation=observation, state=State(Seconds(NOW - 60.5))))
    assert told["autoscaling"] == {
        "desiredReplicas": 4,
        "lastScaleTime": "2023-11-14T22:12:19Z",
        "guard": {"replicas": 3, "reason": "cpu"},
        "lastDecision": {
            "id": "d-1",
            "at": "2023-11-14T22:13:20Z",
            "desiredReplicas": 4,
            "currentReplicas": 2,
            "valid": True,
            "binder": "Score",
            "limitedBy": "Bounds",
            "reason": "AtMaximum",
            "message": "why",
            "signals": [
                {"name": "Cpu", "state": "Fresh", "value": "81.23", "ageSeconds": 3},
                {"name": "ResponseTime", "state": "NoTraffic"},
            ],
        },
        "history": [
            {
                "id": "d-1",
                "at": "2023-11-14T22:13:20Z",
                "currentReplicas": 2,
                "desiredReplicas": 4,
                "binder": "Score",
                "limitedBy": "Bounds",
                "reason": "AtMaximum",
            }
        ],
    }
    assert violations(told, STATUS) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (42.0, "42"),
        (0.12345, "0.1235"),
        (12345.6, "12350"),
        (1e9, "1000000000"),
        (2e-7, "2e-07"),
    ],
)
def test_values_have_at_most_four_significant_digits(value: float, text: str) -> None:
    decision = make_decision(signals=(make_signal(SignalName.CPU, value),))
    told = status_of(autoscaling=decided(decision))["autoscaling"]["lastDecision"]["signals"][0]
    assert told["value"] == text


@given(st.floats(-1e300, 1e300), st.floats(-1e6, 1e6))
def test_any_number_fits_the_schema(value: float, age: float) -> None:
    decision = make_decision(signals=(make_signal(SignalName.CPU, value, age=age),))
    told = status_of(autoscaling=decided(decision))
    assert violations(told, STATUS) == []
    number = float(told["autoscaling"]["lastDecision"]["signals"][0]["value"])
    assert number == pytest.approx(value, rel=1e-3)


def test_texts_that_are_too_long_do_not_keep_the_status_from_being_written() -> None:
    failure = Failure("Service a", ClusterError(422, "x" * 40_000))
    observation = make_observation(guard=Guard(None, "g" * 300))
    autoscaling = decided(make_decision(message="m" * 2_000), observation=observation)
    assert violations(status_of(failures=[failure], autoscaling=autoscaling), STATUS) == []
    invalid = of_invalid(make_service().manifest(), InvalidSpecError("y" * 40_000), now=NOW)
    assert violations(invalid, STATUS) == []


BASE = make_decision(signals=(make_signal(SignalName.CPU, 50.0), make_signal(SignalName.MEMORY, 60.0)))


@given(st.floats(0, 1e6), st.floats(0, 600), st.text(max_size=20), st.floats(NOW, NOW + 86400), st.integers(0, 99))
def test_moving_numbers_write_nothing(value: float, age: float, text: str, now: float, current: int) -> None:
    before = status_of(autoscaling=decided(BASE))
    signals = tuple(dataclasses.replace(signal, value=value, age=Seconds(age)) for signal in BASE.signals)
    moved = dataclasses.replace(
        BASE, id=text, at=Seconds(now), message=text, signals=signals, current=Replicas(current)
    )
    assert status_of(autoscaling=decided(moved), previous=before, now=now) == before


@pytest.mark.parametrize(
    "change",
    [
        {"desired": 3},
        {"valid": False},
        {"binder": Stage.BOUNDS},
        {"limited_by": Stage.COOLDOWN},
        {"reason": Reason.HIGH_LOAD},
        {"signals": (BASE.signals[0], make_signal(SignalName.MEMORY, 60.0, SignalState.STALE))},
        {"signals": BASE.signals[:1]},
    ],
)
def test_a_decision_that_says_something_else_is_told(change: dict[str, Any]) -> None:
    before = status_of(autoscaling=decided(BASE))
    after_decision = dataclasses.replace(BASE, id="d-2", at=Seconds(NOW + 5), **change)
    after = status_of(autoscaling=decided(after_decision), previous=before, now=NOW + 5)
    assert after["autoscaling"]["lastDecision"]["id"] == "d-2"
    assert after["autoscaling"]["lastDecision"]["at"] == "2023-11-14T22:13:25Z"


def test_a_restart_changes_nothing_before_the_first_tick() -> None:
    before = status_of(autoscaling=decided(MISSING, state=State(Seconds(NOW - 100))))
    assert status_of(autoscaling=None, previous=before, now=NOW + 100) == before


def test_a_restart_after_a_change_of_mode_does_not_repeat_the_old_mode() -> None:
    before = status_of(make_service().mode("Paused"))
    after = status_of(autoscaling=None, previous=before, now=NOW + 100)
    assert condition(after, "AbleToScale") == ("Unknown", "NotDecidedYet")


def test_the_last_step_survives_a_state_that_does_not_know_it() -> None:
    before = status_of(autoscaling=decided(state=State(Seconds(NOW - 100))))
    after = status_of(autoscaling=decided(state=State()), previous=before)
    assert after["autoscaling"]["lastScaleTime"] == before["autoscaling"]["lastScaleTime"]


@given(st.integers(0, 4_000_000_000))
def test_the_last_step_is_read_back_after_a_restart(at: int) -> None:
    status = status_of(autoscaling=decided(state=State(Seconds(at))))
    assert state_from_status(status) == State(Seconds(at))


@pytest.mark.parametrize("decided_before", [None, {}, {"lastScaleTime": None}, {"lastScaleTime": "?"}])
def test_a_status_that_tells_nothing_gives_the_first_state(decided_before: Any) -> None:
    assert state_from_status({"autoscaling": decided_before}) == State()
    assert state_from_status({}) == State()


def test_an_invalid_spec_changes_only_ready() -> None:
    before = status_of(autoscaling=decided(state=State(Seconds(NOW))))
    resource = make_service().generation(2).manifest() | {"status": before}
    after = of_invalid(resource, InvalidSpecError("spec.port: too big"), now=NOW + 10)
    assert condition(after, "Ready") == ("False", "InvalidSpec")
    assert message(after, "Ready") == "spec.port: too big"
    assert after["observedGeneration"] == 2
    assert after["conditions"][1:] == before["conditions"][1:]
    assert after["autoscaling"] == before["autoscaling"]
    again = of_invalid(resource | {"status": after}, InvalidSpecError("spec.port: too big"), now=NOW + 20)
    assert again == after


def test_transition_times_move_only_when_a_status_flips() -> None:
    before = status_of()
    after = status_of(previous=before, deployment=deployment(2, 1), now=NOW + 60)
    times = {entry["type"]: entry["lastTransitionTime"] for entry in after["conditions"]}
    assert len(times) == 11
    moved = {kind for kind, time in times.items() if time != "2023-11-14T22:13:20Z"}
    assert moved == {"Ready", "WorkloadAvailable"}
    assert times["Ready"] == "2023-11-14T22:14:20Z"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (deployment(), True),
        (deployment(2, 1), False),
        (deployment(updatedReplicas=1), False),
        (deployment(replicas=2) | {"status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 2}}, False),
        (deployment(observedGeneration=0), False),
        (deployment() | {"status": {}}, False),
        (deployment(0, 0) | {"status": {"observedGeneration": 1}}, True),
    ],
)
def test_rolled_out(manifest: Manifest, expected: bool) -> None:
    assert rolled_out(manifest) is expected


def test_what_was_spent_survives_a_restart() -> None:
    spent = Spent(19675, 7200.9, Seconds(NOW))
    status = status_of(autoscaling=decided(state=State(spent=spent)))
    assert status["autoscaling"]["budget"] == {"at": "2023-11-14T22:13:20Z", "usedReplicaSeconds": 7200}
    assert violations(status, STATUS) == []
    assert state_from_status(status) == State(spent=Spent(19675, 7200.0, Seconds(NOW)))


@pytest.mark.parametrize(
    ("spent", "desired", "written"),
    [
        (Spent(19675, 7300.0, Seconds(NOW + 100)), 2, False),  # told by the count and the time since
        (Spent(19675, 7300.0, Seconds(NOW + 100)), 3, True),
        (Spent(19676, 50.0, Seconds(19676 * 86400 + 25)), 2, True),
    ],
)
def test_what_was_spent_is_written_anew_only_with_another_count_or_day(
    spent: Spent, desired: int, *, written: bool
) -> None:
    before = status_of(autoscaling=decided(state=State(spent=Spent(19675, 7200.0, Seconds(NOW)))))
    after = status_of(autoscaling=decided(make_decision(desired=desired), state=State(spent=spent)), previous=before)
    assert (after["autoscaling"]["budget"] != before["autoscaling"]["budget"]) is written


@pytest.mark.parametrize(
    "budget",
    [None, {}, {"at": "?", "usedReplicaSeconds": 1}, {"at": "2023-11-14T22:13:20Z"}, {"usedReplicaSeconds": 1}],
)
def test_what_was_spent_and_cannot_be_read_is_unknown(budget: Any) -> None:
    assert state_from_status({"autoscaling": {"budget": budget}}).spent is None
