"""Kubernetes Events about a resource: the short story that `kubectl describe` tells."""

import hashlib
from collections.abc import Iterator
from typing import Final

from generation_operator.api.kinds import Manifest
from generation_operator.api.names import API_VERSION, KIND, OPERATOR
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import Engine
from generation_operator.decide.types import Decision
from generation_operator.decide.words import replicas
from generation_operator.observe.ownership import Standing
from generation_operator.reconcile.status import timestamp

_MESSAGE_LENGTH: Final = 1024  # longer ones are refused by the API server
_STEPS: Final = {
    (Engine.DIRECT, True): "ScaledUp",
    (Engine.DIRECT, False): "ScaledDown",
    (Engine.FLOOR, True): "FloorRaised",  # the HPA follows at its next sync
    (Engine.FLOOR, False): "FloorLowered",  # the HPA follows when its own metrics allow it, or at once without any
}


def scaled(service: GenerationService, decision: Decision) -> Manifest:
    """The Event of a step that was carried out."""
    reason = _STEPS[service.spec.scaling.engine, decision.desired > decision.current]
    message = f"{decision.current} -> {decision.desired}: {decision.message}"
    return _event(service, decision.id, reason, message, decision.at)


def changed_standing(service: GenerationService, before: Standing, now: Standing, at: float) -> Iterator[Manifest]:
    """The Events of others who came to have a say in the replica count, or lost it."""
    if now.manual is not None and now.manual != before.manual:
        message = (
            f"{now.manual.manager} wrote {replicas(now.manual.replicas)}: kept, within minReplicas and maxReplicas, "
            f"until {timestamp(now.manual.until)}"
        )
        yield _event(service, _identity("manual", message), "ManualScale", message, at)
    if now.rivals and now.rivals != before.rivals:
        message = f"{', '.join(now.rivals)} also scales this service: the operator writes no replicas until it is gone"
        yield _event(service, _identity(str(at), message), "OwnershipConflict", message, at, kind="Warning")
    if before.rivals and not now.rivals:
        message = "nobody else scales this service any more: decisions are carried out again"
        yield _event(service, _identity(str(at), message), "OwnershipRestored", message, at)


def _identity(*parts: str) -> str:
    return hashlib.blake2b("".join(parts).encode(), digest_size=6).hexdigest()


def _event(
    service: GenerationService, identity: str, reason: str, message: str, at: float, *, kind: str = "Normal"
) -> Manifest:
    time = timestamp(at)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{service.key.name}.{identity}", "namespace": service.key.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": service.key.name,
            "namespace": service.key.namespace,
            "uid": service.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message[:_MESSAGE_LENGTH],
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
        "source": {"component": OPERATOR},
    }
