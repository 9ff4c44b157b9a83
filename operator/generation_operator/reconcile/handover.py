"""Hand the bounds of the HPA from one field manager to the other when the engine changes, without a step of the count.

`maxReplicas` is a required field and `minReplicas` falls back to 1: a manager that lets go of bounds that nobody else
owns is refused, or lowers the floor under a running service. So the new owner takes them before the old one lets go:

* to Floor: the floor's manager takes the bounds, the present count as minimum; then the operator applies the rest,
  which allows the HPA to lower. In the other order the HPA could lower before the floor is there.
* to Direct: the operator applies everything at once, bounds and an HPA that cannot lower; then the floor's manager
  lets go.

Each step is harmless when it is repeated, and `managedFields` tell which are due after a crash in between.
"""

from collections.abc import Mapping
from typing import Any

from generation_operator.api.kinds import Manifest
from generation_operator.api.names import MANAGER_FLOOR, MANAGER_OPERATOR
from generation_operator.api.resource import GenerationService
from generation_operator.cluster.ports import ClusterApi
from generation_operator.desired import floor
from generation_operator.desired.floor import Bounds
from generation_operator.observe.ownership import owners


def floor_holds_bounds(live: Mapping[str, Any]) -> bool:
    """Whether the bounds are the floor's alone."""
    return all(owners(live, "spec", field) == {(MANAGER_FLOOR, "")} for field in ("minReplicas", "maxReplicas"))


def to_floor_due(live: Mapping[str, Any] | None, manifest: Manifest) -> bool:
    """Whether the bounds have to be taken, or set to the present count, before the manifest may be applied."""
    if live is None or not floor_holds_bounds(live):
        return True
    # Paused until now: the minimum may be far below the count, and the HPA is about to be allowed to lower.
    return not floor.lowers(live) and floor.lowers(manifest)


def floor_holds_any(live: Mapping[str, Any]) -> bool:
    """Whether the floor's manager has not let go of a bound yet."""
    return any((MANAGER_FLOOR, "") in owners(live, "spec", field) for field in ("minReplicas", "maxReplicas"))


async def to_floor(
    cluster: ClusterApi, service: GenerationService, manifest: Manifest, *, create: bool, replicas: int
) -> Manifest:
    """Give the bounds to the floor's manager; returns the HPA as it is then.

    Args:
        cluster: where.
        service: whose HPA it is.
        manifest: the HPA without bounds.
        create: whether there is none yet.
        replicas: the present count, which must not move.
    """
    scaling = service.spec.scaling
    # Whatever the count is, these bounds hold it. Where it should be is for the next decision to say.
    bounds = Bounds(max(1, replicas), max(scaling.max_replicas, replicas))
    if create:
        limits = floor.manifest(service, bounds)["spec"]
        await cluster.apply(manifest | {"spec": manifest["spec"] | limits}, manager=MANAGER_OPERATOR)
    await cluster.apply(floor.manifest(service, bounds), manager=MANAGER_FLOOR)
    return await cluster.apply(manifest, manager=MANAGER_OPERATOR)


async def let_go(cluster: ClusterApi, manifest: Manifest) -> Manifest:
    """Let the floor's manager give up what the operator has applied; returns the HPA as it is then."""
    metadata = {field: manifest["metadata"][field] for field in ("name", "namespace")}
    nothing = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata}
    return await cluster.apply(nothing, manager=MANAGER_FLOOR)
