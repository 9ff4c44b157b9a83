"""The structural schema of `status`: what the operator writes, bounded so that CEL and etcd stay cheap.

Written by hand and not as models: status is built in one place (`reconcile/status.py`) and never parsed into objects.
"""

from typing import Any, Final

Schema = dict[str, Any]


def _text(description: str, limit: int = 256) -> Schema:
    return {"type": "string", "maxLength": limit, "description": description}


def _count(description: str) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": 0, "description": description}


def _time(description: str) -> Schema:
    return {"type": "string", "format": "date-time", "maxLength": 40, "description": description}


def _object(description: str, **properties: Schema) -> Schema:
    return {"type": "object", "description": description, "properties": properties}


_CONDITION: Final[Schema] = {
    **_object(
        "One judgement about the resource.",
        type=_text("What is judged, for example Ready.", 316),
        status={"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
        reason=_text("Why, in one word for programs.", 1024),
        message=_text("Why, in a sentence for people.", 32768),
        observedGeneration={
            "type": "integer",
            "format": "int64",
            "minimum": 0,
            "description": "The generation of the spec that was judged.",
        },
        lastTransitionTime=_time("When the status last changed."),
    ),
    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
}

_SIGNAL: Final[Schema] = {
    **_object(
        "One signal that the decision was based on.",
        name=_text("Name of the signal, for example ResponseTime.", 64),
        state={
            "type": "string",
            "enum": ["Fresh", "Stale", "Missing", "NoTraffic"],
            "description": "How far it could be trusted.",
        },
        value=_text("Its value when the decision was first taken, as a decimal number.", 32),
        ageSeconds=_count("Age of its newest sample then, in seconds."),
    ),
    "required": ["name", "state"],
}

_DECISION: Final[Schema] = _object(
    "The decision in force, as it was when it was first taken.",
    id=_text("Identifies the decision; the same inputs give the same id.", 64),
    at=_time("When it was first taken."),
    desiredReplicas=_count("Replicas that were decided."),
    currentReplicas=_count("Replicas that there were."),
    valid={"type": "boolean", "description": "False: replicas are held because too little is known."},
    binder=_text("The stage that set the number.", 64),
    limitedBy=_text("The stage that held back what an earlier one asked for.", 64),
    reason=_text("Why, in one word for programs.", 64),
    message=_text("Why, in a sentence for people.", 1024),
    signals={
        "type": "array",
        "maxItems": 32,
        "description": "The signals it was based on.",
        "items": _SIGNAL,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    },
)

_TARGET: Final[Schema] = {
    **_object(
        "One declared target.",
        name=_text("Name of the target, for example WorkflowDuration.", 64),
        target=_text("What is declared, with its unit.", 64),
        observed=_text("What was observed when the verdict last changed, with its unit; absent while nothing is.", 64),
        met={"type": "boolean", "description": "Whether it is met; absent while nothing is observed."},
        budgetRemainingPercent=_count("What is left of the error budget of the last six hours, in percent."),
    ),
    "required": ["name", "target"],
}

_PAST_DECISION: Final[Schema] = _object(
    "A decision that differed from the one before.",
    id=_text("Identifies the decision.", 64),
    at=_time("When it was first taken."),
    currentReplicas=_count("Replicas that there were."),
    desiredReplicas=_count("Replicas that were decided."),
    binder=_text("The stage that set the number.", 64),
    limitedBy=_text("The stage that held back what an earlier one asked for.", 64),
    reason=_text("Why, in one word for programs.", 64),
)

STATUS: Final[Schema] = _object(
    "What the operator sees and does. Written by the operator only.",
    observedGeneration={
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "description": "The generation of the spec that was last acted upon.",
    },
    replicas=_count("Pods of the service that exist."),
    readyReplicas=_count("Pods of the service that are ready."),
    selector=_text("Label selector of the service's pods, for the scale subresource.", 1024),
    conditions={
        "type": "array",
        "maxItems": 32,
        "description": "Judgements about the resource; Ready sums them up.",
        "items": _CONDITION,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    },
    targets={
        "type": "array",
        "maxItems": 16,
        "description": "The declared targets and whether they are met.",
        "items": _TARGET,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    },
    autoscaling=_object(
        "What the autoscaler decided, and what it needs to remember over a restart.",
        desiredReplicas=_count("Replicas that the service should have now."),
        lastScaleTime=_time("When the last step was decided; the cooldown counts from here."),
        guard=_object(
            "What the HorizontalPodAutoscaler beside the operator needs, by its own metric.",
            replicas=_count("Replicas that it needs; absent while it has no metrics."),
            reason=_text("Where the number comes from, or why there is none.", 256),
        ),
        floor=_object(
            "The least that is kept now, whatever the load asks for.",
            replicas=_count("Replicas that are kept."),
            reason=_text("What keeps them: MinReplicas, a schedule, or ErrorBudgetBurn.", 128),
        ),
        budget=_object(
            "What was used of today's replica-hours; kept over a restart.",
            at=_time("Up to when it was counted."),
            usedReplicaSeconds=_count("Replica-seconds that were used from midnight UTC until then."),
        ),
        override=_object(
            "A count that somebody wrote to the Deployment by hand, kept for a time.",
            replicas=_count("Replicas that were written."),
            until=_time("When the policy decides again."),
            manager=_text("Field manager of the write, for example kubectl.", 128),
        ),
        lastDecision=_DECISION,
        history={
            "type": "array",
            "maxItems": 20,
            "description": "The last decisions that differed from the one before, newest first.",
            "items": _PAST_DECISION,
            "x-kubernetes-list-type": "atomic",
        },
    ),
)
