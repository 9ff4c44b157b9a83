"""What the children of a resource are called and how their pods are found.

Nobody else spells a child's name or a selector. A changed name abandons the old child; a changed selector label is
refused by the API server, because the selector of a Deployment is immutable.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from generation_operator.api import names
from generation_operator.api.kinds import Kind, Manifest
from generation_operator.api.resource import GenerationService, Key

CONTAINER: Final = "service"  # the container that the VPA's recommendation and the metrics queries speak of
PROXY_CONTAINER: Final = "nginx"
PORT: Final = "http"
PROXY_PORT: Final = 8080  # above 1023: the proxy runs without privileges
PROXY_SERVICE_PORT: Final = 80


class Component(StrEnum):
    """The two workloads of a resource."""

    SERVICE = "service"
    PROXY = "proxy"


def deployment(name: str) -> str:
    """The Deployment of the service."""
    return name


def service(name: str) -> str:
    """The ClusterIP Service of the service."""
    return name


def headless(name: str) -> str:
    """The headless Service that lists the ready pods in DNS."""
    return f"{name}-headless"


def hpa(name: str) -> str:
    """The HorizontalPodAutoscaler of the service."""
    return name


def vpa(name: str) -> str:
    """The VerticalPodAutoscaler of the service."""
    return name


def service_account(name: str) -> str:
    """The ServiceAccount of the service's pods; every namespace has a `default` that belongs to somebody else."""
    return f"{name}-service"


def pdb(name: str) -> str:
    """The PodDisruptionBudget of the service."""
    return name


def pod_monitor(name: str) -> str:
    """The PodMonitor of the service."""
    return name


def proxy(name: str) -> str:
    """The Deployment and the Service of the proxy."""
    return f"{name}-proxy"


def proxy_config(name: str, content: str) -> str:
    """The proxy's ConfigMap: another content is another object, so a rollout, or a rollback, carries its own."""
    return f"{name}-proxy-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def selector(name: str, component: Component) -> dict[str, str]:
    """Labels that pods are selected by. Immutable: never add one."""
    return {
        names.LABEL_NAME: f"generation-{component}",
        names.LABEL_INSTANCE: name,
        names.LABEL_COMPONENT: str(component),
    }


def labels(name: str, component: Component) -> dict[str, str]:
    """All labels of a child and of its pods."""
    return selector(name, component) | {names.LABEL_MANAGED_BY: names.OPERATOR, names.LABEL_PART_OF: name}


def selector_string(name: str) -> str:
    """The selector of the service's pods in the form that `/scale` and `kubectl -l` take."""
    return ",".join(f"{label}={value}" for label, value in selector(name, Component.SERVICE).items())


def child(kind: Kind, service: GenerationService, name: str, component: Component) -> Manifest:
    """The head that every child starts with: identity, labels and the owner that garbage collection follows."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": service.key.namespace,
            "labels": labels(service.key.name, component),
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": service.key.name,
                    "uid": service.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
    }


def controller_uid(manifest: Mapping[str, Any]) -> str | None:
    """The uid of the object that controls this one, None when nobody does."""
    for reference in manifest["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return None


def is_managed(manifest: Mapping[str, Any]) -> bool:
    """Whether this operator made the object, for whichever resource."""
    return (manifest["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.OPERATOR


def proxy_key(key: Key) -> Key:
    """The key of the proxy's Deployment and Service."""
    return Key(key.namespace, proxy(key.name))
