"""Kubernetes Events about a resource: the short story that `kubectl describe` tells."""

from typing import Final

from generation_operator.api.kinds import Manifest
from generation_operator.api.names import API_VERSION, KIND, OPERATOR
from generation_operator.api.resource import GenerationService
from generation_operator.decide.types import Decision
from generation_operator.reconcile.status import timestamp

_MESSAGE_LENGTH: Final = 1024  # longer ones are refused by the API server


def scaled(service: GenerationService, decision: Decision) -> Manifest:
    """The Event of a step that was carried out."""
    raised = decision.desired > decision.current
    at = timestamp(decision.at)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{service.key.name}.{decision.id}", "namespace": service.key.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": service.key.name,
            "namespace": service.key.namespace,
            "uid": service.uid,
        },
        "type": "Normal",
        "reason": "ScaledUp" if raised else "ScaledDown",
        "message": f"{decision.current} -> {decision.desired}: {decision.message}"[:_MESSAGE_LENGTH],
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": OPERATOR},
    }
