"""The VerticalPodAutoscaler: it recommends and changes nothing."""

from generation_operator.api.kinds import DEPLOYMENT, VPA, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import VerticalMode
from generation_operator.desired import names
from generation_operator.desired.names import Component


def vpa(service: GenerationService) -> Manifest | None:
    """The recommender's object; None when the resource switches it off."""
    if service.spec.vertical.mode is VerticalMode.OFF:
        return None
    return names.child(VPA, service, names.vpa(service.key.name), Component.SERVICE) | {
        "spec": {
            "targetRef": {
                "apiVersion": DEPLOYMENT.api_version,
                "kind": DEPLOYMENT.kind,
                "name": names.deployment(service.key.name),
            },
            "updatePolicy": {"updateMode": "Off"},
            "resourcePolicy": {
                "containerPolicies": [{"containerName": names.CONTAINER, "controlledResources": ["cpu", "memory"]}]
            },
        }
    }
