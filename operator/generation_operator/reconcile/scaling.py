"""The conditions about scaling: whether decisions are made, carried out, limited, or disputed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from generation_operator.api.conditions import Condition, ConditionReason, ConditionStatus, ConditionType
from generation_operator.api.kinds import CUSTOM_METRICS_GROUP
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import Engine, Mode, VerticalMode
from generation_operator.decide.guard import SWITCHED_OFF
from generation_operator.decide.types import Reason, Seconds
from generation_operator.decide.words import replicas
from generation_operator.desired import names
from generation_operator.desired.available import Available
from generation_operator.observe.ownership import Manual
from generation_operator.observe.store import Autoscaling
from generation_operator.reconcile.judging import judged

Verdict = tuple[ConditionStatus, ConditionReason, str]

_NOT_DECIDED: Final = ConditionStatus.UNKNOWN, ConditionReason.NOT_DECIDED_YET, "nothing has been decided yet"
_LIMITS: Final = {
    Reason.AT_MAXIMUM: (
        ConditionReason.AT_MAXIMUM,
        "more replicas are due than maxReplicas allows: raise spec.scaling.maxReplicas, or accept missed targets",
    ),
    Reason.BUDGET_EXHAUSTED: (
        ConditionReason.BUDGET_EXHAUSTED,
        "today's replica-hours pay for no more: raise spec.scaling.budget.replicaHoursPerDay, or accept missed targets",
    ),
}


def conditions(service: GenerationService, autoscaling: Autoscaling | None, *, available: Available) -> list[Condition]:
    """All of them.

    Args:
        service: the parsed resource.
        autoscaling: what was last decided; None before the first tick.
        available: which optional APIs there are.
    """
    return [
        judged(service, ConditionType.ABLE_TO_SCALE, *_able_to_scale(service, autoscaling, available)),
        judged(service, ConditionType.SCALING_ACTIVE, *_scaling_active(service, autoscaling)),
        judged(service, ConditionType.SCALING_LIMITED, *_scaling_limited(autoscaling)),
        judged(service, ConditionType.VERTICAL_SCALING_ACTIVE, *_vertical(service, autoscaling, available)),
        judged(service, ConditionType.OWNERSHIP_CONFLICT, *_ownership_conflict(autoscaling)),
        judged(service, ConditionType.PAUSED, *_paused(service)),
    ]


def manual_from_status(status: Mapping[str, Any]) -> Manual | None:
    """The write by hand that the status tells of; None when it tells of none that can be read."""
    told = (status.get("autoscaling") or {}).get("override") or {}
    try:
        until = datetime.fromisoformat(str(told.get("until"))).timestamp()
    except ValueError:
        return None
    replicas, manager = told.get("replicas"), told.get("manager")
    if not isinstance(replicas, int) or not isinstance(manager, str):
        return None
    return Manual(replicas, Seconds(until), manager)


def conflicted_before(status: Mapping[str, Any]) -> bool:
    """Whether the status tells of a rival."""
    return any(
        condition.get("type") == ConditionType.OWNERSHIP_CONFLICT and condition.get("status") == ConditionStatus.TRUE
        for condition in status.get("conditions") or ()
    )


def _able_to_scale(service: GenerationService, autoscaling: Autoscaling | None, available: Available) -> Verdict:
    """Whether decisions are carried out.

    mode       rivals | last write | the guard's metrics | AbleToScale
    Paused     any    | -          | any                 | False   Paused
    Recommend  any    | -          | any                 | False   NotActive
    Active     ?      | not tried  | any                 | Unknown NotDecidedYet
    Active     some   | -          | any                 | False   OwnershipConflict
    Active     none   | failed     | any                 | False   ScaleFailed
    Active     none   | succeeded  | switched off (*)    | False   SwitchedOff
    Active     none   | succeeded  | one cannot be had   | True    GuardIncomplete
    Active     none   | succeeded  | all can be had      | True    ReadyToScale

    (*) With engine Floor, where the HorizontalPodAutoscaler alone writes the count. Engine Direct raises 0 itself.
    """
    by_mode = _by_mode(service)
    if by_mode is not None:
        return by_mode
    if autoscaling is None:
        return _NOT_DECIDED
    if autoscaling.standing.rivals:
        return (
            ConditionStatus.FALSE,
            ConditionReason.OWNERSHIP_CONFLICT,
            "no replicas are written: see OwnershipConflict",
        )
    if autoscaling.write_error is not None:
        message = f"the replica count could not be written: {autoscaling.write_error}"
        return ConditionStatus.FALSE, ConditionReason.SCALE_FAILED, message
    return _with_the_hpa(service, autoscaling, available)


def _with_the_hpa(service: GenerationService, autoscaling: Autoscaling, available: Available) -> Verdict:
    """Whether the HorizontalPodAutoscaler does its part; the last three rows of `_able_to_scale`."""
    if service.spec.scaling.engine is Engine.FLOOR and autoscaling.observation.guard.reason == SWITCHED_OFF:
        deployment, least = names.deployment(service.key.name), service.spec.scaling.min_replicas
        message = (
            "somebody set 0 replicas, and at 0 the HorizontalPodAutoscaler does nothing: to go on, "
            f"kubectl scale deployment/{deployment} --replicas={least}"
        )
        return ConditionStatus.FALSE, ConditionReason.SWITCHED_OFF, message
    if service.spec.scaling.horizontal_pod_autoscaler.requests_per_second is not None and not available.custom_metrics:
        message = (
            "decisions are carried out. The HorizontalPodAutoscaler goes without requestsPerSecond: the cluster has no "
            f"{CUSTOM_METRICS_GROUP}: install an adapter for it, or remove "
            "spec.scaling.horizontalPodAutoscaler.requestsPerSecond"
        )
        return ConditionStatus.TRUE, ConditionReason.GUARD_INCOMPLETE, message
    return ConditionStatus.TRUE, ConditionReason.READY_TO_SCALE, "decisions are carried out"


def _scaling_active(service: GenerationService, autoscaling: Autoscaling | None) -> Verdict:
    """Whether the replica count follows the load.

    mode       rivals | override | signals  | ScalingActive
    Paused     any    | any      | any      | False   Paused
    Recommend  any    | any      | any      | False   NotActive
    Active     ?      | ?        | ?        | Unknown NotDecidedYet
    Active     some   | any      | any      | False   OwnershipConflict
    Active     none   | in force | any      | False   OverrideInForce
    Active     none   | none     | unusable | False   MetricsUnavailable
    Active     none   | none     | usable   | True    FollowingLoad
    """
    by_mode = _by_mode(service)
    if by_mode is not None:
        return by_mode
    if autoscaling is None:
        return _NOT_DECIDED
    if autoscaling.standing.rivals:
        message = "replicas do not follow the load: see OwnershipConflict"
        return ConditionStatus.FALSE, ConditionReason.OWNERSHIP_CONFLICT, message
    override = _override(service, autoscaling)
    if override is not None:
        return ConditionStatus.FALSE, ConditionReason.OVERRIDE_IN_FORCE, override
    if not autoscaling.decision.valid:
        message = "replicas are held until the signals are fresh: see MetricsAvailable"
        return ConditionStatus.FALSE, ConditionReason.METRICS_UNAVAILABLE, message
    return ConditionStatus.TRUE, ConditionReason.FOLLOWING_LOAD, "replicas follow the load"


def _by_mode(service: GenerationService) -> Verdict | None:
    if service.mode is Mode.PAUSED:
        return ConditionStatus.FALSE, ConditionReason.PAUSED, "mode is Paused: replicas stay as they are"
    if service.mode is Mode.RECOMMEND:
        message = "mode is Recommend: decisions are shown and not carried out"
        return ConditionStatus.FALSE, ConditionReason.NOT_ACTIVE, message
    return None


def _override(service: GenerationService, autoscaling: Autoscaling) -> str | None:
    """Whose word counts instead of the policy's; the spec's comes first, as in the decision."""
    at, chosen, manual = autoscaling.decision.at, service.spec.scaling.override, autoscaling.standing.manual
    if chosen is not None and at < chosen.until_seconds:
        return f"spec.scaling.override asks for {replicas(chosen.replicas)} until {chosen.until}"
    if manual is not None and at < manual.until:
        return f"{manual.manager} wrote {replicas(manual.replicas)}, kept for a time: see status.autoscaling.override"
    return None


def _scaling_limited(autoscaling: Autoscaling | None) -> Verdict:
    """Whether more replicas are due than something that a person can change allows."""
    if autoscaling is None:
        return _NOT_DECIDED
    found = _LIMITS.get(autoscaling.decision.reason)
    if found is None:
        message = "neither maxReplicas nor the budget holds replicas back"
        return ConditionStatus.FALSE, ConditionReason.WITHIN_LIMITS, message
    return ConditionStatus.TRUE, *found


def _vertical(service: GenerationService, autoscaling: Autoscaling | None, available: Available) -> Verdict:
    """Whether requests of memory follow its use.

    mode       API     | paused | time | VerticalScalingActive
    Off        any     | any    | any  | False VerticalOff
    other      missing | any    | any  | False ApiMissing
    Recommend  there   | any    | any  | False RecommendsOnly
    Active     there   | yes    | any  | False Paused
    Active     there   | no     | bad  | False Resting
    Active     there   | no     | good | True  Resizing
    """
    mode = service.spec.vertical.mode
    if mode is VerticalMode.OFF:
        return ConditionStatus.FALSE, ConditionReason.VERTICAL_OFF, "spec.vertical.mode is Off"
    if not available.vertical_pod_autoscaler:
        message = "the cluster has no VerticalPodAutoscaler: install it, or set spec.vertical.mode to Off"
        return ConditionStatus.FALSE, ConditionReason.API_MISSING, message
    if mode is VerticalMode.RECOMMEND:
        message = "a VerticalPodAutoscaler recommends requests and changes nothing"
        return ConditionStatus.FALSE, ConditionReason.RECOMMENDS_ONLY, message
    if service.mode is Mode.PAUSED:
        return ConditionStatus.FALSE, ConditionReason.PAUSED, "paused: requests stay as they are too"
    if autoscaling is None or not autoscaling.may_resize:
        message = (
            "requests are not moved while an error budget burns, while signals are unusable, and for ten minutes "
            "after a step of the replicas"
        )
        return ConditionStatus.FALSE, ConditionReason.RESTING, message
    return ConditionStatus.TRUE, ConditionReason.RESIZING, "a VerticalPodAutoscaler moves requests of memory"


def _ownership_conflict(autoscaling: Autoscaling | None) -> Verdict:
    if autoscaling is None:
        return _NOT_DECIDED
    if not autoscaling.standing.rivals:
        return ConditionStatus.FALSE, ConditionReason.NO_CONFLICT, "nobody else scales this service"
    message = (
        f"also scaled by: {', '.join(autoscaling.standing.rivals)}. The operator writes no replicas until that is "
        "gone: remove it, or set spec.scaling.mode to Recommend"
    )
    return ConditionStatus.TRUE, ConditionReason.FOREIGN_SCALER, message


def _paused(service: GenerationService) -> Verdict:
    if service.paused_by_annotation:
        message = "paused by the annotation generation.dev/paused: remove it to go on"
        return ConditionStatus.TRUE, ConditionReason.PAUSED, message
    if service.mode is Mode.PAUSED:
        return ConditionStatus.TRUE, ConditionReason.PAUSED, "paused by spec.scaling.mode"
    return ConditionStatus.FALSE, ConditionReason.NOT_PAUSED, "not paused"
