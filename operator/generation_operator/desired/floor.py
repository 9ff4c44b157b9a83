"""The bounds of the HorizontalPodAutoscaler with engine Floor: the operator's only hand on the replica count.

The HPA moves a count that is outside its bounds at its next sync, without metrics and without rate limits. So a raised
minimum scales up. Scaling down is left to the HPA's own metrics; one that has none moves only when the maximum is
lowered as well (seen on a real controller: lowering the minimum alone never does). The maximum comes back as soon as
the count is there: if the operator died with it lowered, nobody could raise.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from generation_operator.api.kinds import HPA, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.desired import names


class Bounds(NamedTuple):
    """minReplicas and maxReplicas of an HPA; 1 <= minimum <= maximum."""

    minimum: int
    maximum: int

    def clamp(self, replicas: int) -> int:
        """The count that an HPA with these bounds moves this one to, whatever its metrics say."""
        return max(self.minimum, min(replicas, self.maximum))


def bounds_of(hpa: Mapping[str, Any]) -> Bounds:
    """The bounds of a live HPA."""
    return Bounds(hpa["spec"].get("minReplicas", 1), hpa["spec"]["maxReplicas"])


def has_metrics(hpa: Mapping[str, Any]) -> bool:
    """Whether the HPA can lower by itself. One that has not said yet is believed to."""
    conditions = (hpa.get("status") or {}).get("conditions") or ()
    return not any(entry["type"] == "ScalingActive" and entry["status"] == "False" for entry in conditions)


def lowers(hpa: Mapping[str, Any]) -> bool:
    """Whether the HPA is allowed to lower the count by its metrics."""
    behavior = hpa["spec"].get("behavior") or {}
    return bool((behavior.get("scaleDown") or {}).get("selectPolicy") != "Disabled")


def follow(live: Bounds, own: Bounds, *, replicas: int, desired: int, step_waits: bool, metrics: bool) -> Bounds:
    """The bounds that bring the count to what was decided.

    desired    | HPA has metrics | minimum | maximum
    above      | any             | desired | own
    below      | yes             | desired | own
    below      | no              | desired | desired
    equal      | any             | desired | own
    equal, because a step waits for the cooldown: as above, but the minimum stays. The HPA may still be on its way to
    the last step, which raising the minimum to the present count would undo.

    Args:
        live: the HPA's bounds now.
        own: minReplicas and maxReplicas of the resource.
        replicas: `spec.replicas` of the Deployment.
        desired: what was decided, within the resource's own bounds.
        step_waits: whether a step is due and only its time has not come.
        metrics: whether the HPA has any.
    """
    desired = own.clamp(desired)
    minimum = own.clamp(min(live.minimum, desired)) if step_waits else desired
    return Bounds(minimum, desired if desired < replicas and not metrics else own.maximum)


def frozen(live: Bounds, own: Bounds, *, replicas: int, lowers: bool) -> Bounds:
    """The bounds within which a paused HPA has no reason to move the count.

    Args:
        live: the HPA's bounds now.
        own: minReplicas and maxReplicas of the resource.
        replicas: `spec.replicas` of the Deployment.
        lowers: whether the HPA may still lower, because it has not been told of the pause yet. Its minimum is all that
            holds the count then. Afterwards the minimum goes down, or it would undo what a person scales by hand.
    """
    minimum = min(live.minimum if lowers else own.minimum, max(1, replicas))
    return Bounds(minimum, max(live.maximum if lowers else own.maximum, replicas))


def manifest(service: GenerationService, bounds: Bounds) -> Manifest:
    """What the floor's field manager applies: the bounds and nothing else."""
    return {
        "apiVersion": HPA.api_version,
        "kind": HPA.kind,
        "metadata": {"name": names.hpa(service.key.name), "namespace": service.key.namespace},
        "spec": {"minReplicas": bounds.minimum, "maxReplicas": bounds.maximum},
    }
