"""The conditions about scaling, row by row, and what the status keeps of writes by hand and past decisions."""

import dataclasses
from typing import Any

import pytest

from builders import WITH_VPA, ServiceBuilder, make_decision, make_observation, make_service
from generation_operator.api.status_schema import STATUS
from generation_operator.decide.types import Decision, Guard, Reason, Seconds, State
from generation_operator.desired.available import Available
from generation_operator.observe.ownership import Manual, Standing
from generation_operator.observe.store import Autoscaling
from generation_operator.reconcile.scaling import conditions, conflicted_before, manual_from_status
from generation_operator.reconcile.status import build, timestamp

NOW = 1_700_000_000.0
RIVAL = Standing(rivals=("ScaledObject theirs",))
MANUAL = Manual(5, Seconds(NOW + 60), "kubectl")
BY_HAND = Standing(manual=MANUAL)
LATER, EARLIER = timestamp(NOW + 60), timestamp(NOW - 60)


def decided(standing: Standing | None = None, *, error: str | None = None, **decision: Any) -> Autoscaling:
    return Autoscaling(
        make_observation(), make_decision(at=NOW, **decision), State(), error, standing=standing or Standing()
    )


def judged(
    kind: str, service: ServiceBuilder, autoscaling: Autoscaling | None, available: Available = WITH_VPA
) -> tuple[str, str, str]:
    found = conditions(service.obj(), autoscaling, available=available)
    (one,) = [condition for condition in found if condition.type == kind]
    return str(one.status), str(one.reason), one.message


def service() -> ServiceBuilder:
    return make_service()


RESIZING = dataclasses.replace(decided(), may_resize=True)
BY_REQUESTS = service().scaling(horizontalPodAutoscaler={"requestsPerSecond": 100})


OFF = dataclasses.replace(decided(), observation=make_observation(guard=Guard(None, "ScalingDisabled")))
FLOOR = service().scaling(engine="Floor")


@pytest.mark.parametrize(
    ("kind", "described", "autoscaling", "expected"),
    [
        ("AbleToScale", service(), decided(), ("True", "ReadyToScale")),
        ("AbleToScale", service(), decided(RIVAL), ("False", "OwnershipConflict")),
        ("AbleToScale", service(), decided(RIVAL, error="503"), ("False", "OwnershipConflict")),
        ("AbleToScale", service(), decided(error="503"), ("False", "ScaleFailed")),
        ("AbleToScale", service().mode("Paused"), decided(RIVAL), ("False", "Paused")),
        ("ScalingActive", service(), decided(), ("True", "FollowingLoad")),
        ("ScalingActive", service(), None, ("Unknown", "NotDecidedYet")),
        ("ScalingActive", service(), decided(RIVAL), ("False", "OwnershipConflict")),
        ("ScalingActive", service(), decided(BY_HAND), ("False", "OverrideInForce")),
        ("ScalingActive", service(), decided(BY_HAND, valid=False), ("False", "OverrideInForce")),
        ("ScalingActive", service(), decided(valid=False), ("False", "MetricsUnavailable")),
        ("ScalingActive", service().mode("Paused"), decided(), ("False", "Paused")),
        ("ScalingActive", service().mode("Recommend"), decided(), ("False", "NotActive")),
        (
            "ScalingActive",
            service().scaling(override={"replicas": 3, "until": LATER}),
            decided(),
            ("False", "OverrideInForce"),
        ),
        (
            "ScalingActive",
            service().scaling(override={"replicas": 3, "until": EARLIER}),
            decided(),
            ("True", "FollowingLoad"),
        ),
        ("ScalingLimited", service(), decided(), ("False", "WithinLimits")),
        ("ScalingLimited", service(), decided(reason=Reason.AT_MAXIMUM), ("True", "AtMaximum")),
        ("ScalingLimited", service(), decided(reason=Reason.BUDGET_EXHAUSTED), ("True", "BudgetExhausted")),
        ("ScalingLimited", service(), decided(reason=Reason.AT_MINIMUM), ("False", "WithinLimits")),  # no harm done
        ("ScalingLimited", service(), None, ("Unknown", "NotDecidedYet")),
        ("OwnershipConflict", service(), decided(), ("False", "NoConflict")),
        ("OwnershipConflict", service(), decided(RIVAL), ("True", "ForeignScaler")),
        ("OwnershipConflict", service(), decided(BY_HAND), ("False", "NoConflict")),
        ("OwnershipConflict", service(), None, ("Unknown", "NotDecidedYet")),
        ("Paused", service(), None, ("False", "NotPaused")),
        ("Paused", service().mode("Paused"), None, ("True", "Paused")),
        ("Paused", service().paused_by_annotation(), None, ("True", "Paused")),
        ("VerticalScalingActive", service(), None, ("False", "RecommendsOnly")),
        ("VerticalScalingActive", service().vertical("Off"), None, ("False", "VerticalOff")),
        ("VerticalScalingActive", service().vertical("Active"), None, ("False", "Resting")),
        ("VerticalScalingActive", service().vertical("Active"), decided(), ("False", "Resting")),
        ("VerticalScalingActive", service().vertical("Active"), RESIZING, ("True", "Resizing")),
        ("VerticalScalingActive", service().vertical("Active").mode("Paused"), RESIZING, ("False", "Paused")),
        ("AbleToScale", BY_REQUESTS, decided(), ("True", "GuardIncomplete")),
        ("AbleToScale", BY_REQUESTS, decided(error="503"), ("False", "ScaleFailed")),
        ("AbleToScale", FLOOR, decided(), ("True", "ReadyToScale")),
        ("AbleToScale", FLOOR, OFF, ("False", "SwitchedOff")),
        ("AbleToScale", service(), OFF, ("True", "ReadyToScale")),  # engine Direct writes the count itself
    ],
)
def test_conditions(
    kind: str, described: ServiceBuilder, autoscaling: Autoscaling | None, expected: tuple[str, str]
) -> None:
    assert judged(kind, described, autoscaling)[:2] == expected


def test_messages_name_the_cause_and_the_remedy() -> None:
    assert "ScaledObject theirs" in judged("OwnershipConflict", service(), decided(RIVAL))[2]
    assert "remove it" in judged("OwnershipConflict", service(), decided(RIVAL))[2]
    assert "kubectl wrote 5 replicas" in judged("ScalingActive", service(), decided(BY_HAND))[2]
    assert "spec.scaling.maxReplicas" in judged("ScalingLimited", service(), decided(reason=Reason.AT_MAXIMUM))[2]
    assert "kubectl scale deployment/a --replicas=2" in judged("AbleToScale", FLOOR, OFF)[2]
    assert "annotation" in judged("Paused", service().paused_by_annotation(), None)[2]
    assert "requestsPerSecond" in judged("AbleToScale", BY_REQUESTS, decided())[2]
    adapter = Available(vertical_pod_autoscaler=True, custom_metrics=True)
    assert judged("AbleToScale", BY_REQUESTS, decided(), adapter)[1] == "ReadyToScale"
    assert judged("VerticalScalingActive", service(), None, Available())[1:] == (
        "ApiMissing",
        "the cluster has no VerticalPodAutoscaler: install it, or set spec.vertical.mode to Off",
    )


def status_of(autoscaling: Autoscaling | None, previous: dict[str, Any] | None = None) -> dict[str, Any]:
    return build(
        service().obj(),
        previous=previous or {},
        deployment=None,
        autoscaling=autoscaling,
        failures=(),
        now=NOW,
        available=WITH_VPA,
    )


def test_what_was_judged_stands_until_the_operator_has_looked_again_after_a_restart() -> None:
    before = status_of(decided(RIVAL))
    assert status_of(None, before) == before
    assert conflicted_before(before)
    assert not conflicted_before(status_of(decided()))
    assert not conflicted_before({})


def test_a_count_by_hand_is_told_and_read_again() -> None:
    status = status_of(decided(BY_HAND))
    assert status["autoscaling"]["override"] == {"replicas": 5, "until": LATER, "manager": "kubectl"}
    assert manual_from_status(status) == MANUAL
    over = status_of(decided(), status)
    assert "override" not in over["autoscaling"]


@pytest.mark.parametrize(
    "override",
    [None, {}, {"replicas": 5, "until": "soon", "manager": "x"}, {"replicas": "5", "until": LATER, "manager": "x"},
     {"replicas": 5, "until": LATER}],
)  # fmt: skip
def test_a_count_by_hand_that_cannot_be_read_is_none(override: Any) -> None:
    assert manual_from_status({"autoscaling": {"override": override}}) is None


def history(*decisions: Decision) -> list[tuple[int, str]]:
    status: dict[str, Any] = {}
    for decision in decisions:
        status = status_of(Autoscaling(make_observation(), decision, State()), status)
    return [(entry["desiredReplicas"], entry["reason"]) for entry in status["autoscaling"]["history"]]


def test_history_tells_what_differed_from_the_one_before_newest_first() -> None:
    stay, up = make_decision(desired=2), make_decision(desired=4, reason=Reason.HIGH_LOAD)
    stale = make_decision(desired=2, valid=False, reason=Reason.MISSING_METRICS)
    assert history(stay, stay, up, up, stale) == [(2, "MissingMetrics"), (4, "HighLoad"), (2, "WithinRange")]


def test_history_is_bounded_as_the_schema_says() -> None:
    told = history(*(make_decision(desired=count) for count in range(50)))
    limit = STATUS["properties"]["autoscaling"]["properties"]["history"]["maxItems"]
    assert [count for count, _ in told] == list(range(49, 49 - limit, -1))
