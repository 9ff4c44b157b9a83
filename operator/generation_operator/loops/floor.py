"""Engine Floor: carry out a decision by moving the bounds of the HPA, which alone writes the replica count.

Only bounds that the floor's field manager holds are moved, and never by force: until `reconcile` has handed them over,
or when somebody else has taken them, nothing is written here.
"""

from dataclasses import dataclass

from generation_operator.api.kinds import DEPLOYMENT, HPA, Manifest
from generation_operator.api.names import MANAGER_FLOOR
from generation_operator.api.resource import GenerationService, Key
from generation_operator.api.spec import Engine, Mode
from generation_operator.cluster.ports import ClusterApi
from generation_operator.decide.types import Decision, Replicas, Stage
from generation_operator.desired import floor, names
from generation_operator.desired.floor import Bounds
from generation_operator.observe.store import Store
from generation_operator.reconcile.handover import floor_holds_bounds


def commanded(service: GenerationService, hpa: Manifest | None, replicas: Replicas) -> Replicas:
    """The count to decide on: with engine Floor the one that the HPA moves to at its next sync.

    Else a step would be decided anew, or taken back by the cooldown, until the HPA has carried it out.
    """
    if service.mode is not Mode.ACTIVE or _held(service, hpa) is None or hpa is None:
        return replicas
    return Replicas(floor.bounds_of(hpa).clamp(replicas))


@dataclass(frozen=True, slots=True)
class FloorStep:
    """New bounds for the HPA of one service.

    Attributes:
        cluster: where they are written.
        store: told of the write.
        service: whose HPA it is.
        bounds: what is written.
        is_decided: whether this is the decided step, and not bounds that hold the count where it is.
    """

    cluster: ClusterApi
    store: Store
    service: GenerationService
    bounds: Bounds
    is_decided: bool

    async def write(self) -> bool:
        """Write the bounds. Raises `ConflictError` when somebody else holds them."""
        manifest = floor.manifest(self.service, self.bounds)
        self.store.put(HPA, await self.cluster.apply(manifest, manager=MANAGER_FLOOR, force=False))
        return True

    async def arrived(self) -> bool:
        """Whether the bounds are there."""
        key = _hpa_key(self.service)
        return floor.bounds_of(await self.cluster.get(HPA, key.namespace, key.name)) == self.bounds


def floor_step(cluster: ClusterApi, store: Store, service: GenerationService, decision: Decision) -> FloorStep | None:
    """What is to be written for a decision, None when the bounds are right or not the floor's."""
    hpa = store.glance(HPA, _hpa_key(service))
    deployment = store.glance(DEPLOYMENT, _deployment_key(service))
    live = _held(service, hpa)
    if live is None or hpa is None or deployment is None:
        return None
    replicas = deployment["spec"].get("replicas", 1)
    own = Bounds(service.spec.scaling.min_replicas, service.spec.scaling.max_replicas)
    if service.mode is Mode.PAUSED:
        bounds = floor.frozen(live, own, replicas=replicas, lowers=floor.lowers(hpa))
    else:
        bounds = floor.follow(
            live,
            own,
            replicas=replicas,
            desired=decision.desired,
            step_waits=not decision.changes_replicas and decision.limited_by is Stage.COOLDOWN,
            metrics=floor.has_metrics(hpa),
        )
    if bounds == live:
        return None
    decided = service.mode is Mode.ACTIVE and decision.changes_replicas
    return FloorStep(cluster, store, service, bounds, decided)


def _held(service: GenerationService, hpa: Manifest | None) -> Bounds | None:
    """The bounds of the HPA if they are the floor's to move."""
    if service.spec.scaling.engine is not Engine.FLOOR or hpa is None or not floor_holds_bounds(hpa):
        return None
    return floor.bounds_of(hpa)


def _hpa_key(service: GenerationService) -> Key:
    return Key(service.key.namespace, names.hpa(service.key.name))


def _deployment_key(service: GenerationService) -> Key:
    return Key(service.key.namespace, names.deployment(service.key.name))
