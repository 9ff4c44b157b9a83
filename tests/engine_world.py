"""The whole operator on a cluster in memory, beside an HPA controller, with a test as the only clock.

Nothing happens by itself: a test says when the watch delivers, the operator reconciles or ticks, the HPA controller
syncs, pods become ready or the operator restarts, so that any interleaving can be played.
"""

import asyncio
from typing import Any

from autoscaler_world import BUSY, CALM, FakeMetrics, FakeRemoval
from builders import ServiceBuilder
from generation_operator.api.kinds import DEPLOYMENT, HPA, KINDS, Manifest
from generation_operator.api.resource import Key, key_of
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.decide.types import Seconds
from generation_operator.desired.available import Available
from generation_operator.loops.autoscaler import Autoscaler
from generation_operator.observe.store import Autoscaling, Store
from generation_operator.reconcile.reconcile import Reconciler

KEY = Key("default", "a")
NOW = 1_700_000_000.0
CONTROLLER = "kube-controller-manager"
LOADS = {"busy": BUSY, "calm": CALM}


class HpaController:
    """What the real controller does with bounds, behaviour and one CPU metric; no windows, no rate limits.

    Args:
        cluster: where it reads and writes.
    """

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self.cpu_total: int | None = None  # CPU of all pods, in % of one pod's request; None: no metrics API
        self.totals: dict[str, int | None] = {}  # what it was, by the version of the HPA whose status tells it

    async def sync(self, key: Key) -> None:
        """One sync of one HPA."""
        hpas = {key_of(hpa): hpa for hpa in await self._cluster.list(HPA)}
        deployments = {key_of(item): item for item in await self._cluster.list(DEPLOYMENT)}
        if key not in hpas or key not in deployments:
            return
        hpa, deployment = hpas[key], deployments[key]
        current = deployment["spec"]["replicas"]
        ready = (deployment.get("status") or {}).get("readyReplicas", 0)
        usage = None if self.cpu_total is None or ready == 0 else self.cpu_total // ready
        wanted = _desired(hpa["spec"], current, ready, usage)
        told = self._cluster.set_status(HPA, *key, _status(current, wanted, usage), manager=CONTROLLER)
        self.totals[told["metadata"]["resourceVersion"]] = self.cpu_total
        if wanted != current:
            seen = await self._cluster.get_scale(DEPLOYMENT, *key)
            await self._cluster.scale(DEPLOYMENT, *key, wanted, expect=seen, manager=CONTROLLER)


def _desired(spec: Manifest, current: int, ready: int, usage: int | None) -> int:
    low, high = spec["minReplicas"], spec["maxReplicas"]
    if current == 0:
        return 0
    if not low <= current <= high:
        return int(max(low, min(current, high)))  # whatever metrics and behaviour say
    if usage is None:
        return current
    target = spec["metrics"][0]["resource"]["target"]["averageUtilization"]
    tolerated = 9 * target <= 10 * usage <= 11 * target
    wanted = current if tolerated else -(-ready * usage // target)
    ways = {"scaleUp": wanted > current, "scaleDown": wanted < current}
    if any(ways[way] and spec["behavior"][way]["selectPolicy"] == "Disabled" for way in ways):
        return current
    return int(max(low, min(wanted, high)))


def _status(current: int, desired: int, usage: int | None) -> dict[str, Any]:
    status: dict[str, Any] = {"currentReplicas": current, "desiredReplicas": desired}
    active = {"type": "ScalingActive", "status": "False" if usage is None else "True"}
    if usage is None:
        return status | {"conditions": [active]}
    metric = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": usage}}}
    return status | {"conditions": [active], "currentMetrics": [metric]}


class EngineWorld:
    """One service with everything that moves its replica count."""

    def __init__(self, service: ServiceBuilder) -> None:
        self.cluster = MemoryCluster()
        self.hpa = HpaController(self.cluster)
        self.metrics = FakeMetrics()
        self.metrics.values[KEY] = dict(CALM)
        self.now = NOW
        self.change(service)
        self.restart()

    def restart(self) -> None:
        """A new operator that knows nothing but what the cluster has."""
        self.store = Store()
        self.autoscaler = Autoscaler(
            self.cluster,
            self.store,
            self.metrics,
            lambda _: None,
            clock=lambda: self.now,
            removal=FakeRemoval(),
            prometheus_default_url="http://prometheus:9090",
            tick_seconds=5,
        )
        self.reconciler = Reconciler(
            self.cluster, self.store, cluster_domain="x", clock=lambda: self.now, available=Available
        )

    def change(self, service: ServiceBuilder) -> None:
        """A person applies the resource."""
        # Score: what it does follows from one observation, and what it steps is known.
        manifest = service.scaling(policy="Score").proxy(enabled=False).manifest()
        del manifest["metadata"]["generation"]
        self.cluster.put(manifest)

    async def watch(self) -> None:
        """Everything that happened arrives in the store."""
        for kind in KINDS.values():
            listed = {key_of(item): item for item in await self.cluster.list(kind)}
            for gone in self.store.keys(kind) - set(listed):
                self.store.remove(kind, gone)
            for item in listed.values():
                self.store.put(kind, item)

    async def reconcile(self) -> None:
        await self.reconciler.reconcile(KEY)

    async def tick(self, seconds: float = 5) -> None:
        self.now += seconds
        await self.autoscaler.tick(Seconds(self.now))

    async def pods(self) -> None:
        """The Deployment controller catches up: every pod is ready."""
        if any(key_of(item) == KEY for item in await self.cluster.list(DEPLOYMENT)):
            self.cluster.set_ready(*KEY)

    async def settle(self) -> None:
        """Everything that is pending happens, without a tick."""
        for _ in range(2):
            await self.watch()
            await self.reconcile()
            await self.pods()
            await self.hpa.sync(KEY)
            await self.pods()
            await self.watch()

    async def get(self, kind: Any) -> Manifest:
        return await self.cluster.get(kind, *KEY)

    async def replicas(self) -> int:
        return int((await self.get(DEPLOYMENT))["spec"]["replicas"])

    async def bounds(self) -> tuple[int, int]:
        spec = (await self.get(HPA))["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    async def scale(self, to: int, manager: str = "kubectl") -> None:
        """Somebody scales by hand."""
        seen = await self.cluster.get_scale(DEPLOYMENT, *KEY)
        await self.cluster.scale(DEPLOYMENT, *KEY, to, expect=seen, manager=manager)

    def known_cpu_total(self) -> int | None:
        """The CPU by which the operator knows the HPA's need now; None when it knows none."""
        hpa = self.store.get(HPA, KEY) or {"metadata": {"resourceVersion": ""}}
        return self.hpa.totals.get(hpa["metadata"]["resourceVersion"])

    def told(self) -> Autoscaling:
        told = self.store.autoscaling(KEY)
        assert told is not None
        return told


def run(coroutine: Any) -> Any:
    """For hypothesis, whose tests are not asynchronous."""
    return asyncio.run(coroutine)
