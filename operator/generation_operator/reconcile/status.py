"""The status of a resource, computed from what is known. Pure: the same knowledge gives the same status.

Steady state must write nothing, though every tick sees other numbers. So messages carry no numbers that move, and the
last decision is replaced only when it says something else, not when it says the same about other values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from generation_operator.api.conditions import Condition, ConditionReason, ConditionStatus, ConditionType, merge
from generation_operator.api.kinds import Manifest
from generation_operator.api.resource import GenerationService, InvalidSpecError
from generation_operator.api.spec import Policy
from generation_operator.cluster.ports import ClusterError
from generation_operator.decide.floors import Floor
from generation_operator.decide.reach import gaps
from generation_operator.decide.signals import NEEDED
from generation_operator.decide.types import Decision, Guard, Replicas, Seconds, Signal, SignalState, Spent, State
from generation_operator.desired import names
from generation_operator.desired.available import Available
from generation_operator.observe.ownership import Manual
from generation_operator.observe.store import Autoscaling
from generation_operator.reconcile import scaling, targets
from generation_operator.reconcile.judging import MESSAGE_LENGTH, judged

# What makes a decision another one. The rest of it (id, time, message, values, ages) may differ between equals.
_SAYS: Final = ("desiredReplicas", "valid", "binder", "limitedBy", "reason")

# Lengths that the schema of the status allows. One text too long would keep the whole status from being written.
_DECISION_MESSAGE_LENGTH: Final = 1024
_GUARD_REASON_LENGTH: Final = 256
_MANAGER_LENGTH: Final = 128
_HISTORY_LENGTH: Final = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """A child that could not be written."""

    child: str  # kind and name
    error: ClusterError


def build(
    service: GenerationService,
    *,
    previous: Mapping[str, Any],
    deployment: Manifest | None,
    autoscaling: Autoscaling | None,
    failures: Sequence[Failure],
    now: float,
    available: Available,
) -> dict[str, Any]:
    """The status of a resource whose spec is understood.

    Args:
        service: the parsed resource.
        previous: the status it has, empty at first.
        deployment: the service's Deployment as last seen.
        autoscaling: what was last decided; None before the first tick, which keeps what the status says.
        failures: children that could not be written just now.
        now: Unix seconds, for transition times.
        available: which optional APIs there are.
    """
    told = targets.entries(previous.get("targets") or (), () if autoscaling is None else autoscaling.verdicts)
    workload = _workload_available(service, deployment)
    conditions = [
        _ready(service, workload, failures),
        workload,
        _metrics_available(service, autoscaling),
        *scaling.conditions(service, autoscaling, available=available),
        targets.targets_met(service, told),
        _targets_reachable(service),
    ]
    observed = (deployment or {}).get("status") or {}
    status = {
        "observedGeneration": service.generation,
        "replicas": observed.get("replicas", 0),
        "readyReplicas": observed.get("readyReplicas", 0),
        "selector": names.selector_string(service.key.name),
        "conditions": _conditions(previous.get("conditions") or (), conditions, now),
    }
    decided = _autoscaling(previous.get("autoscaling") or {}, autoscaling)
    return status | ({"targets": told} if told else {}) | ({"autoscaling": decided} if decided else {})


def of_invalid(resource: Manifest, error: InvalidSpecError, *, now: float) -> dict[str, Any]:
    """The status of a resource whose spec is not understood: what runs goes on, and Ready says what to correct."""
    previous = resource.get("status") or {}
    generation = resource["metadata"].get("generation", 0)
    ready = Condition(
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.INVALID_SPEC,
        str(error)[:MESSAGE_LENGTH],
        generation,
    )
    before = previous.get("conditions") or ()
    others = [dict(condition) for condition in before if condition["type"] != ConditionType.READY]
    return {
        **previous,
        "observedGeneration": generation,
        "conditions": merge(before, [ready], timestamp(now)) + others,
    }


def state_from_status(status: Mapping[str, Any]) -> State:
    """What the autoscaler remembers across a restart; nothing when the status tells nothing that can be read."""
    told = status.get("autoscaling") or {}
    budget = told.get("budget") or {}
    stepped, counted = _seconds(told.get("lastScaleTime")), _seconds(budget.get("at"))
    used = budget.get("usedReplicaSeconds")
    if counted is None or not isinstance(used, int):
        return State(last_step_at=stepped)
    return State(last_step_at=stepped, spent=Spent(int(counted // 86400), float(used), counted))


def need_from_status(status: Mapping[str, Any]) -> Replicas | None:
    """The need of the HPA that was held when the status was written."""
    replicas = ((status.get("autoscaling") or {}).get("guard") or {}).get("replicas")
    return Replicas(replicas) if isinstance(replicas, int) else None


def rolled_out(deployment: Mapping[str, Any]) -> bool:
    """Whether all pods of a Deployment are of its latest template and available."""
    status = deployment.get("status") or {}
    replicas = deployment["spec"].get("replicas", 1)
    counts = {status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")}
    return status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0) and counts == {replicas}


def _conditions(
    previous: Sequence[Mapping[str, Any]], conditions: Sequence[Condition], now: float
) -> list[dict[str, Any]]:
    """The new list. After a restart, what was last judged stands until the autoscaler has looked again.

    Else each restart would turn the conditions of all resources Unknown and back. What a mode said does not stand: only
    the mode says it.
    """
    before = {condition["type"]: condition for condition in previous}
    not_judged = (ConditionReason.NOT_OBSERVED_YET, ConditionReason.NOT_DECIDED_YET)
    of_mode = (ConditionReason.PAUSED, ConditionReason.NOT_ACTIVE)
    return [
        dict(before[entry["type"]])
        if entry["reason"] in not_judged and before.get(entry["type"], {}).get("reason", of_mode[0]) not in of_mode
        else entry
        for entry in merge(previous, conditions, timestamp(now))
    ]


def _ready(service: GenerationService, workload: Condition, failures: Sequence[Failure]) -> Condition:
    """Whether the service runs as its spec says.

    spec      children    workload   | Ready
    invalid   -           -          | False   InvalidSpec (see `of_invalid`)
    valid     failed      -          | False   ApplyFailed
    valid     applied     False      | False   WorkloadUnavailable
    valid     applied     Unknown    | Unknown WorkloadUnavailable
    valid     applied     True       | True    AllReady

    Metrics and scaling have conditions of their own: without them the service still answers, at a count that is held.
    """
    if failures:
        message = "; ".join(f"{failure.child}: {failure.error.message}" for failure in failures)
        return judged(service, ConditionType.READY, ConditionStatus.FALSE, ConditionReason.APPLY_FAILED, message)
    if workload.status is not ConditionStatus.TRUE:
        reason = ConditionReason.WORKLOAD_UNAVAILABLE
        return judged(service, ConditionType.READY, workload.status, reason, workload.message)
    return judged(
        service, ConditionType.READY, ConditionStatus.TRUE, ConditionReason.ALL_READY, "the service runs as specified"
    )


def _workload_available(service: GenerationService, deployment: Manifest | None) -> Condition:
    """Whether the guaranteed minimum of replicas is available.

    Not the Deployment's own condition: that one turns False during each scale-up, until the new pods are ready.
    """
    name = names.deployment(service.key.name)
    if deployment is None or not deployment.get("status"):
        verdict = ConditionStatus.UNKNOWN, ConditionReason.DEPLOYMENT_MISSING, f"Deployment {name} does not run yet"
    else:
        minimum = min(service.spec.scaling.min_replicas, deployment["spec"].get("replicas", 1))
        if deployment["status"].get("availableReplicas", 0) >= minimum:
            message = "at least the minimum number of replicas is available"
            verdict = ConditionStatus.TRUE, ConditionReason.MINIMUM_REPLICAS_AVAILABLE, message
        else:
            message = f"fewer replicas than the minimum are available: look at the pods of Deployment {name}"
            verdict = ConditionStatus.FALSE, ConditionReason.MINIMUM_REPLICAS_UNAVAILABLE, message
    return judged(service, ConditionType.WORKLOAD_AVAILABLE, *verdict)


def _metrics_available(service: GenerationService, autoscaling: Autoscaling | None) -> Condition:
    """Whether decisions rest on signals that can be trusted."""
    if autoscaling is None:
        verdict = ConditionStatus.UNKNOWN, ConditionReason.NOT_OBSERVED_YET, "no signal has been read yet"
    elif autoscaling.decision.valid:
        verdict = ConditionStatus.TRUE, ConditionReason.ALL_SIGNALS_FRESH, "the signals that decisions need are fresh"
    else:
        verdict = ConditionStatus.FALSE, *_why_unusable(service, autoscaling)
    return judged(service, ConditionType.METRICS_AVAILABLE, *verdict)


def _why_unusable(service: GenerationService, autoscaling: Autoscaling) -> tuple[ConditionReason, str]:
    error = autoscaling.observation.metrics_error
    signals = [signal for signal in autoscaling.decision.signals if signal.name in NEEDED[service.spec.scaling.policy]]
    missing = [str(signal.name) for signal in signals if signal.state is SignalState.MISSING]
    stale = [str(signal.name) for signal in signals if signal.state is SignalState.STALE]
    lists = [f"{what}: {', '.join(which)}" for what, which in (("missing", missing), ("stale", stale)) if which]
    message = "; ".join(["replicas are held until the signals are fresh", *lists, *([error] if error else [])])
    if error is not None and error.startswith(f"{ConditionReason.PROMETHEUS_UNREACHABLE}:"):
        return ConditionReason.PROMETHEUS_UNREACHABLE, message
    return (ConditionReason.SIGNALS_MISSING if missing else ConditionReason.SIGNALS_STALE), message


def _targets_reachable(service: GenerationService) -> Condition:
    """Whether the policy can see that a target is missed."""
    scaling = service.spec.scaling
    found = list(gaps(scaling.score, service.spec.targets)) if scaling.policy is Policy.SCORE else []
    if not found:
        reason, message = ConditionReason.POLICY_SEES_TARGETS, "a missed target can add replicas"
        return judged(service, ConditionType.TARGETS_REACHABLE, ConditionStatus.TRUE, reason, message)
    reason, message = (
        ConditionReason.SCORE_TOO_LOW,
        "; ".join(f"spec.scaling.score.{gap.field}: {gap.text}" for gap in found),
    )
    return judged(service, ConditionType.TARGETS_REACHABLE, ConditionStatus.FALSE, reason, message)


def _autoscaling(previous: Mapping[str, Any], autoscaling: Autoscaling | None) -> dict[str, Any]:
    if autoscaling is None:
        return dict(previous)
    last_decision = _decision(autoscaling.decision)
    history = list(previous.get("history") or ())
    if "lastDecision" in previous and _says(previous["lastDecision"]) == _says(last_decision):
        last_decision = previous["lastDecision"]
    elif not history or _outcome(history[0]) != _outcome(last_decision):
        history = [_brief(last_decision), *history][:_HISTORY_LENGTH]
    stepped = autoscaling.state.last_step_at
    last_scale_time = previous.get("lastScaleTime") if stepped is None else timestamp(stepped)
    return _without_none(
        {
            "desiredReplicas": autoscaling.decision.desired,
            "lastScaleTime": last_scale_time,
            "guard": _guard(autoscaling.observation.guard),
            "floor": _floor(autoscaling.floor),
            "budget": _budget(previous, autoscaling.decision, autoscaling.state.spent),
            "override": _manual(autoscaling.standing.manual),
            "lastDecision": last_decision,
            "history": history,
        }
    )


def _manual(manual: Manual | None) -> dict[str, Any] | None:
    if manual is None:
        return None
    manager = manual.manager[:_MANAGER_LENGTH]
    return {"replicas": manual.replicas, "until": timestamp(manual.until), "manager": manager}


def _outcome(decision: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes an entry of the history another one: signals that come and go do not."""
    return tuple(decision.get(field) for field in ("desiredReplicas", "reason"))


def _brief(decision: Mapping[str, Any]) -> dict[str, Any]:
    """A decision in the history: the one in force is told in full beside it."""
    fields = ("id", "at", "currentReplicas", "desiredReplicas", "binder", "limitedBy", "reason")
    return {field: decision[field] for field in fields if field in decision}


def _says(decision: Mapping[str, Any]) -> tuple[Any, ...]:
    states = [(signal.get("name"), signal.get("state")) for signal in decision.get("signals") or ()]
    return (*(decision.get(field) for field in _SAYS), states)


def _decision(decision: Decision) -> dict[str, Any]:
    return _without_none(
        {
            "id": decision.id,
            "at": timestamp(decision.at),
            "desiredReplicas": decision.desired,
            "currentReplicas": decision.current,
            "valid": decision.valid,
            "binder": str(decision.binder),
            "limitedBy": None if decision.limited_by is None else str(decision.limited_by),
            "reason": str(decision.reason),
            "message": decision.message[:_DECISION_MESSAGE_LENGTH],
            "signals": [_signal(signal) for signal in decision.signals],
        }
    )


def _signal(signal: Signal) -> dict[str, Any]:
    return _without_none(
        {
            "name": str(signal.name),
            "state": str(signal.state),
            "value": None if signal.value is None else _number(signal.value),
            "ageSeconds": None if signal.age is None else max(0, int(signal.age)),  # clocks may differ
        }
    )


def _budget(previous: Mapping[str, Any], decision: Decision, spent: Spent | None) -> dict[str, Any] | None:
    """What was used of today's budget, and when that was so.

    What was used since can be told from the replica count, so it is written anew only when that or the day changes.
    """
    if spent is None:
        return None
    before: dict[str, Any] = previous.get("budget") or {}
    at = _seconds(before.get("at"))
    if at is not None and at // 86400 == spent.day and previous.get("desiredReplicas") == decision.desired:
        return before
    return {"at": timestamp(spent.at), "usedReplicaSeconds": int(spent.replica_seconds)}


def _floor(floor: Floor | None) -> dict[str, Any] | None:
    return None if floor is None else {"replicas": floor.replicas, "reason": floor.reason}


def _guard(guard: Guard) -> dict[str, Any]:
    return _without_none({"replicas": guard.replicas, "reason": guard.reason[:_GUARD_REASON_LENGTH]})


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """The API server drops nulls; a status that carried them would never equal the stored one."""
    return {name: value for name, value in fields.items() if value is not None}


def _number(value: float) -> str:
    """At most four significant digits, written out: 0.1235, 42, 12350."""
    text = f"{value + 0.0:.4g}"  # + 0.0 turns -0.0 into 0.0
    # `g` writes 12345 as 1.235e+04. Beyond 15 digits the exponent is easier to read.
    return format(Decimal(text), "f") if "e+" in text and abs(value) < 1e15 else text


def _seconds(text: object) -> Seconds | None:
    """Unix seconds of a time in a status; None for what is none."""
    try:
        return Seconds(datetime.fromisoformat(str(text)).timestamp())
    except ValueError:
        return None


def timestamp(seconds: float) -> str:
    """Unix seconds as Kubernetes writes times: RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
