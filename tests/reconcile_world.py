"""A reconciler on a cluster in memory, for the tests of `reconcile`."""

from typing import Any

from builders import WITH_VPA, ServiceBuilder
from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, KINDS, Kind, Manifest
from generation_operator.api.names import MANAGER_SCALER
from generation_operator.api.resource import Key, key_of
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.cluster.ports import ClusterError
from generation_operator.desired.available import Available
from generation_operator.observe.store import Store
from generation_operator.reconcile.reconcile import Reconciler

KEY = Key("default", "a")
NOW = 1_700_000_000.0


class Calls(MemoryCluster):
    """Counts reads as well, and can lose the connection for one kind of child."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reads = 0
        self.broken: dict[tuple[Kind, str], ClusterError] = {}

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        self.reads += 1
        return await super().get(kind, namespace, name)

    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        for (kind, name), error in self.broken.items():
            if (kind.kind, name) == (manifest["kind"], manifest["metadata"]["name"]):
                raise error
        return await super().apply(manifest, manager=manager, force=force)


class World:
    """A cluster, a store that follows it when told to, and the reconciler between them."""

    def __init__(self, service: ServiceBuilder, *, available: Available = WITH_VPA, **options: Any) -> None:
        self.cluster = Calls(**options)
        self.store = Store()
        self.now = NOW
        self.available = available
        self.reconciler = self.restarted(self.store)
        self.change(service)

    def restarted(self, store: Store) -> Reconciler:
        self.store = store
        self.reconciler = Reconciler(
            self.cluster,
            store,
            cluster_domain="cluster.local",
            clock=lambda: self.now,
            available=lambda: self.available,
        )
        return self.reconciler

    def change(self, service: ServiceBuilder) -> None:
        manifest = service.manifest()
        del manifest["metadata"]["generation"]  # the cluster counts
        self.cluster.put(manifest)

    async def watch(self) -> None:
        """Everything that the cluster has arrives in the store."""
        for kind in KINDS.values():
            if kind in self.cluster.absent:
                continue
            listed = {key_of(item): item for item in await self.cluster.list(kind)}
            for gone in self.store.keys(kind) - set(listed):
                self.store.remove(kind, gone)
            for item in listed.values():
                self.store.put(kind, item)

    async def reconcile(self) -> list[str]:
        """Reconcile with a store that is up to date; returns what was written."""
        await self.watch()
        before = len(self.cluster.writes)
        await self.reconciler.reconcile(KEY)
        return [f"{write.verb} {write.kind.kind}/{write.key.name}" for write in self.cluster.writes[before:]]

    async def get(self, kind: Kind, name: str = "a") -> Manifest:
        return await self.cluster.get(kind, "default", name)

    async def names(self, kind: Kind) -> list[str]:
        return [item["metadata"]["name"] for item in await self.cluster.list(kind)]

    async def condition(self, kind: str) -> tuple[str, str, str]:
        conditions = (await self.get(GENERATION_SERVICE))["status"]["conditions"]
        (found,) = [entry for entry in conditions if entry["type"] == kind]
        return found["status"], found["reason"], found["message"]

    async def scale(self, to: int) -> None:
        seen = await self.cluster.get_scale(DEPLOYMENT, "default", "a")
        await self.cluster.scale(DEPLOYMENT, "default", "a", to, expect=seen, manager=MANAGER_SCALER)
