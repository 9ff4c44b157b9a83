"""Which pods serve each resource, as last seen.

Whole pods would fill the memory (a few kilobytes each, and they change often); kept is what sampling needs.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from generation_operator.api.names import LABEL_COMPONENT, LABEL_INSTANCE
from generation_operator.api.resource import Key, key_of
from generation_operator.desired.names import Component

ANNOTATION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"


class Pod(NamedTuple):
    """One pod."""

    key: Key
    uid: str
    ip: str  # empty while it has none
    ready: bool  # serves traffic: ready and not on its way out
    cost: str | None  # its deletion cost: where a Deployment is lowered, the smallest goes first


class PodIndex:
    """Pods by the resource that they serve. Not thread-safe: used from one event loop."""

    def __init__(self) -> None:
        self._pods: dict[Key, dict[Key, Pod]] = {}

    def put(self, manifest: Mapping[str, Any]) -> None:
        """Remember a pod; one that is not of a service is ignored."""
        service = _service_of(manifest)
        if service is not None:
            pod = _pod(manifest)
            self._pods.setdefault(service, {})[pod.key] = pod

    def remove(self, manifest: Mapping[str, Any]) -> None:
        """Forget a pod."""
        service = _service_of(manifest)
        if service is None or service not in self._pods:
            return
        self._pods[service].pop(key_of(manifest), None)
        if not self._pods[service]:
            del self._pods[service]

    def replace(self, found: "PodIndex") -> None:
        """Know exactly what was found: what is not in there is gone."""
        self._pods = found._pods  # noqa: SLF001 - of the same class

    def ready(self, service: Key) -> Collection[Pod]:
        """The pods of a service that serve traffic and can be reached."""
        return [pod for pod in self._pods.get(service, {}).values() if pod.ready and pod.ip]


def _service_of(manifest: Mapping[str, Any]) -> Key | None:
    labels = manifest["metadata"].get("labels") or {}
    if labels.get(LABEL_COMPONENT) != Component.SERVICE or not labels.get(LABEL_INSTANCE):
        return None
    return Key(manifest["metadata"]["namespace"], labels[LABEL_INSTANCE])


def _pod(manifest: Mapping[str, Any]) -> Pod:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    ready = any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
    return Pod(
        key_of(manifest),
        metadata["uid"],
        status.get("podIP") or "",
        ready and "deletionTimestamp" not in metadata,
        (metadata.get("annotations") or {}).get(ANNOTATION_COST),
    )
