"""Bring the service's Deployment to life without ever owning its replica count.

`spec.replicas` must be set once, at creation, and afterwards belong to whoever scales. Server-side apply makes both
halves of that dangerous:

* If one manager applies the Deployment with replicas and later without, it gives up a field that nobody else owns, and
  the API server drops the count to its default, 1.
* If a second manager applies the whole Deployment at creation and keeps it, the two own the template together: a
  variable that the resource no longer has would stay in the pods for ever, because the second manager still wants it.

So the creation takes three applies, each harmless when it is repeated:

1. everything with replicas, as the bootstrap manager, without force: an object that appeared meanwhile is not changed;
2. everything without replicas, as the operator: it becomes a co-owner of all but replicas;
3. replicas alone, with the value just seen, as the bootstrap manager: it gives up everything else. When it does not own
   replicas any more, because somebody scaled since, it gives up everything.

After a crash in between, `managedFields` of the live object tells that steps 2 and 3 are due. No step lowers or resets
a replica count.
"""

from collections.abc import Mapping
from typing import Any, Final

from generation_operator.api.kinds import Manifest
from generation_operator.api.names import MANAGER_BOOTSTRAP, MANAGER_OPERATOR
from generation_operator.cluster.ports import ClusterApi, ConflictError

_ONLY_REPLICAS: Final[Mapping[str, Any]] = {"f:spec": {"f:replicas": {}}}


def narrowing_due(live: Mapping[str, Any]) -> bool:
    """Whether the bootstrap manager owns more than the replica count: a creation was not finished."""
    return any(fields and fields != _ONLY_REPLICAS for fields in _bootstrap_fields(live))


def bootstrap_owns_replicas(live: Mapping[str, Any]) -> bool:
    """Whether nobody has scaled since the creation."""
    return any("f:replicas" in fields.get("f:spec", {}) for fields in _bootstrap_fields(live))


async def create(cluster: ClusterApi, manifest: Manifest, replicas: int) -> Manifest:
    """Create the Deployment with a first replica count; returns it as it is then.

    Raises:
        ConflictError: the Deployment exists already with other values; nothing was changed.
    """
    first = manifest | {"spec": manifest["spec"] | {"replicas": replicas}}
    await cluster.apply(first, manager=MANAGER_BOOTSTRAP, force=False)
    return await hand_over(cluster, manifest)


async def hand_over(cluster: ClusterApi, manifest: Manifest) -> Manifest:
    """Make the operator the owner of everything but the replica count; also finishes a creation that was cut off."""
    live = await cluster.apply(manifest, manager=MANAGER_OPERATOR)
    if not narrowing_due(live):
        return live
    identity = _identity(manifest)
    if bootstrap_owns_replicas(live):
        try:
            replicas = {"spec": {"replicas": live["spec"]["replicas"]}}
            return await cluster.apply(identity | replicas, manager=MANAGER_BOOTSTRAP, force=False)
        except ConflictError:
            # Somebody scaled between the two calls and owns the count now, so there is nothing to lose below.
            pass
    return await cluster.apply(identity, manager=MANAGER_BOOTSTRAP, force=False)


def _identity(manifest: Manifest) -> Manifest:
    metadata = manifest["metadata"]
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
    }


def _bootstrap_fields(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        entry.get("fieldsV1") or {}
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") == MANAGER_BOOTSTRAP
    ]
