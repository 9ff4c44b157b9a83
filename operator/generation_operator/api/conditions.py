"""Condition types and reasons of a `GenerationService`, and how a list of them changes over time.

Kubernetes API conventions: adjectives or past participles in PascalCase, a one-word reason for programs, a message for
people without changing numbers, and a transition time that moves only when the status does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """What is judged."""

    READY = "Ready"  # means that the resource as a whole does its job
    WORKLOAD_AVAILABLE = "WorkloadAvailable"  # means that enough pods of the service answer
    METRICS_AVAILABLE = "MetricsAvailable"  # means that every signal the policy needs is usable
    ABLE_TO_SCALE = "AbleToScale"  # means that decisions can be carried out
    SCALING_ACTIVE = "ScalingActive"  # means that the replica count follows the load
    SCALING_LIMITED = "ScalingLimited"  # means that more replicas are due than maxReplicas or the budget allows
    VERTICAL_SCALING_ACTIVE = "VerticalScalingActive"  # means that memory requests follow the use of memory
    TARGETS_MET = "TargetsMet"  # means that no declared target is missed now
    OWNERSHIP_CONFLICT = "OwnershipConflict"  # means that somebody else scales the same Deployment
    PAUSED = "Paused"  # means that replicas stay as they are, because a person said so
    TARGETS_REACHABLE = "TargetsReachable"  # means that missing a declared target can make the policy add replicas


class ConditionReason(StrEnum):
    """Why a condition is as it is. Closed: consumers may switch over it."""

    ALL_READY = "AllReady"  # means that every child is as the spec says and the workload is available
    INVALID_SPEC = "InvalidSpec"  # means that the spec breaks a rule; children are left as they are
    WORKLOAD_UNAVAILABLE = "WorkloadUnavailable"  # means that Ready waits for WorkloadAvailable
    APPLY_FAILED = "ApplyFailed"  # means that a child could not be written

    MINIMUM_REPLICAS_AVAILABLE = "MinimumReplicasAvailable"  # means that at least minReplicas pods are ready
    MINIMUM_REPLICAS_UNAVAILABLE = "MinimumReplicasUnavailable"  # means that fewer than minReplicas pods are ready
    DEPLOYMENT_MISSING = "DeploymentMissing"  # means that the Deployment does not exist yet

    ALL_SIGNALS_FRESH = "AllSignalsFresh"  # means that recent values cover the pods that serve traffic
    SIGNALS_MISSING = "SignalsMissing"  # means that Prometheus answers but has no value for a signal
    SIGNALS_STALE = "SignalsStale"  # means that values are too old, or too few pods report
    PROMETHEUS_UNREACHABLE = "PrometheusUnreachable"  # means that Prometheus gives no usable answer
    NOT_OBSERVED_YET = "NotObservedYet"  # means that the autoscaler has not looked yet

    READY_TO_SCALE = "ReadyToScale"  # means that the next decision will be carried out
    GUARD_INCOMPLETE = "GuardIncomplete"  # means that a metric that the guard should watch cannot be had
    SWITCHED_OFF = "SwitchedOff"  # means that somebody set 0 replicas, at which the HPA does nothing
    SCALE_FAILED = "ScaleFailed"  # means that the API server refused the last write of replicas
    NOT_ACTIVE = "NotActive"  # means that mode Recommend only shows decisions
    PAUSED = "Paused"  # means that mode Paused, or the annotation, keeps replicas as they are

    NOT_PAUSED = "NotPaused"  # means that neither mode nor annotation pauses

    NO_CONFLICT = "NoConflict"  # means that nobody else scales the Deployment
    FOREIGN_SCALER = "ForeignScaler"  # means that another object, or a field manager, scales the Deployment too
    OWNERSHIP_CONFLICT = "OwnershipConflict"  # means that nothing is written while OwnershipConflict is True

    FOLLOWING_LOAD = "FollowingLoad"  # means that the policy sets the replica count
    OVERRIDE_IN_FORCE = "OverrideInForce"  # means that a person sets the replica count, for a time
    METRICS_UNAVAILABLE = "MetricsUnavailable"  # means that replicas are held because MetricsAvailable is not True

    WITHIN_LIMITS = "WithinLimits"  # means that no limit holds replicas back
    AT_MAXIMUM = "AtMaximum"  # means that maxReplicas holds replicas back
    BUDGET_EXHAUSTED = "BudgetExhausted"  # means that today's replica-hours hold replicas back

    VERTICAL_OFF = "VerticalOff"  # means that no VerticalPodAutoscaler is wanted
    API_MISSING = "ApiMissing"  # means that the cluster lacks an API that the resource asks for
    RECOMMENDS_ONLY = "RecommendsOnly"  # means that recommendations are made and not carried out
    RESIZING = "Resizing"  # means that a VerticalPodAutoscaler moves the memory requests of running pods
    RESTING = "Resting"  # means that requests stay as they are because now is a bad time to change pods

    ALL_TARGETS_MET = "AllTargetsMet"  # means that every target that something was observed of is met
    TARGET_MISSED = "TargetMissed"  # means that at least one target is missed
    NOTHING_OBSERVED = "NothingObserved"  # means that no fresh signal speaks of any target

    POLICY_SEES_TARGETS = "PolicySeesTargets"  # means that the policy adds replicas when a target is missed
    SCORE_TOO_LOW = "ScoreTooLow"  # means that the score of a missed target alone never exceeds its limit

    NOT_DECIDED_YET = "NotDecidedYet"  # means that there is no decision yet


@dataclass(frozen=True, slots=True)
class Condition:
    """One judgement about the resource at one generation."""

    type: ConditionType
    status: ConditionStatus
    reason: ConditionReason
    message: str
    observed_generation: int


def merge(
    previous: Iterable[Mapping[str, Any]], conditions: Iterable[Condition], now_rfc3339: str
) -> list[dict[str, Any]]:
    """The list for `status.conditions`: in the given order, transition times kept unless a status flipped."""
    before = {entry["type"]: entry for entry in previous}
    return [_entry(condition, before.get(condition.type), now_rfc3339) for condition in conditions]


def _entry(condition: Condition, before: Mapping[str, Any] | None, now_rfc3339: str) -> dict[str, Any]:
    unchanged = before is not None and before.get("status") == condition.status
    since = before["lastTransitionTime"] if before is not None and unchanged else now_rfc3339
    return {
        "type": str(condition.type),
        "status": str(condition.status),
        "reason": str(condition.reason),
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": since,
    }
