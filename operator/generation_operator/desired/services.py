"""The two Services in front of the service's pods."""

from typing import Any

from generation_operator.api.kinds import SERVICE, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.desired import names
from generation_operator.desired.names import Component


def cluster_ip(service: GenerationService) -> Manifest:
    """The Service for clients that go past the proxy."""
    name = names.service(service.key.name)
    return names.child(SERVICE, service, name, Component.SERVICE) | {"spec": {"type": "ClusterIP"} | _backend(service)}


def headless(service: GenerationService) -> Manifest:
    """The Service whose DNS name is the list of ready pods; the proxy reads it.

    `publishNotReadyAddresses` stays at its default, false: a pod that starts or drains must not be in the list.
    """
    name = names.headless(service.key.name)
    return names.child(SERVICE, service, name, Component.SERVICE) | {"spec": {"clusterIP": "None"} | _backend(service)}


def _backend(service: GenerationService) -> dict[str, Any]:
    return {
        "selector": names.selector(service.key.name, Component.SERVICE),
        "ports": [{"name": names.PORT, "port": service.spec.port, "targetPort": names.PORT, "protocol": "TCP"}],
    }
