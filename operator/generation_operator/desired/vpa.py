"""The VerticalPodAutoscaler: it recommends, or moves the memory requests of running pods within bounds.

CPU is left to the HorizontalPodAutoscaler, and limits to the resource: what a replica may use at most is a promise
that scores and targets are relative to.
"""

from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, VPA, Manifest
from generation_operator.api.quantity import parse_quantity
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import GenerationServiceSpec, Mode, VerticalMode
from generation_operator.desired import names
from generation_operator.desired.names import Component

# Of the declared request. An idle replica should not shrink so far that the first requests after it run out of memory.
_LEAST: Final = 4


def vpa(service: GenerationService, *, may_act: bool) -> Manifest | None:
    """The recommender's object; None when the resource switches it off.

    Args:
        service: the parsed resource.
        may_act: whether now is a time at which pods may be changed.
    """
    mode = service.spec.vertical.mode
    if mode is VerticalMode.OFF:
        return None
    acts = mode is VerticalMode.ACTIVE and may_act and service.mode is not Mode.PAUSED
    return names.child(VPA, service, names.vpa(service.key.name), Component.SERVICE) | {
        "spec": {
            "targetRef": {
                "apiVersion": DEPLOYMENT.api_version,
                "kind": DEPLOYMENT.kind,
                "name": names.deployment(service.key.name),
            },
            "updatePolicy": {"updateMode": "InPlaceOrRecreate" if acts else "Off"},
            "resourcePolicy": {"containerPolicies": [_policy(service.spec)]},
        }
    }


def _policy(spec: GenerationServiceSpec) -> dict[str, Any]:
    # Pods are scraped, probed and resized by the name of their container.
    policy: dict[str, Any] = {"containerName": names.CONTAINER}
    if spec.vertical.mode is not VerticalMode.ACTIVE:
        return policy | {"controlledResources": ["cpu", "memory"]}
    most = min(parse_quantity(spec.targets.memory), parse_quantity(spec.resources.limits.memory))
    least = min(parse_quantity(spec.resources.requests.memory) / _LEAST, most)
    return policy | {
        "controlledResources": ["memory"],
        "controlledValues": "RequestsOnly",
        "minAllowed": {"memory": str(int(least))},
        "maxAllowed": {"memory": str(int(most))},
    }
