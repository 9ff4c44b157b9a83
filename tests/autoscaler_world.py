"""Services on a cluster in memory, with an autoscaler that decides on them and metrics that a test sets."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from builders import ServiceBuilder
from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, Kind, Manifest
from generation_operator.api.names import MANAGER_BOOTSTRAP
from generation_operator.api.resource import Key, key_of
from generation_operator.cluster.memory import MemoryCluster, Write
from generation_operator.cluster.ports import ClusterError, Scale
from generation_operator.decide.types import Seconds, SignalName
from generation_operator.loops.autoscaler import Autoscaler
from generation_operator.observe.signals import Ask, Reading
from generation_operator.observe.store import Autoscaling, Store

NOW = 1_700_000_000.0
STARTED = "2023-11-14T22:13:20Z"  # NOW, as the status tells it
A, B = Key("default", "a"), Key("default", "b")
DEFAULT_URL = "http://prometheus:9090"

BUSY = {
    SignalName.RESPONSE_TIME: 5.0,
    SignalName.REQUEST_RATE: 500.0,
    SignalName.CPU: 0.95,  # of 1 core
    SignalName.MEMORY: 0.5 * 2**30,  # of 2 GiB
    SignalName.QUEUE_LENGTH: 400.0,
    SignalName.ERROR_RATIO: 0.0,
}
IDLE = BUSY | {
    SignalName.RESPONSE_TIME: 0.05,
    SignalName.REQUEST_RATE: 1.0,
    SignalName.CPU: 0.05,
    SignalName.QUEUE_LENGTH: 0.0,
}
CALM = BUSY | {SignalName.RESPONSE_TIME: 0.5, SignalName.CPU: 0.5}


class FakeMetrics:
    """What Prometheus would say; 100 pods report, so that coverage is never the question here."""

    def __init__(self) -> None:
        self.values: dict[Key, dict[SignalName, float]] = {}
        self.errors: dict[Key, str] = {}
        self.nothing_new: set[Key] = set()
        self.asks: list[Ask] = []
        self.asked = asyncio.Event()
        self.broken: Exception | None = None
        self.meanwhile: Any = None  # called while the answer is under way

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        self.asks = list(asks)
        self.asked.set()
        if self.broken is not None:
            raise self.broken
        if self.meanwhile is not None:
            self.meanwhile()
        return {
            ask.key: Reading(error=self.errors[ask.key])
            if ask.key in self.errors
            else Reading(self.values.get(ask.key, {}), age=3.0, reporting=100)
            for ask in asks
            if ask.key not in self.nothing_new
        }


class Cluster(MemoryCluster):
    """Lets something happen right after a scale was read, and can lose Events."""

    def __init__(self) -> None:
        super().__init__()
        self.after_read: Any = None
        self.event_error: ClusterError | None = None
        self.lost_answer: ClusterError | None = None  # of a write that was carried out
        self.told = asyncio.Event()

    async def get_scale(self, kind: Kind, namespace: str, name: str) -> Scale:
        scale = await super().get_scale(kind, namespace, name)
        if self.after_read is not None:
            self.after_read()
        return scale

    async def scale(self, kind: Kind, namespace: str, name: str, to: int, *, expect: Scale, manager: str) -> Scale:
        scaled = await super().scale(kind, namespace, name, to, expect=expect, manager=manager)
        if self.lost_answer is not None:
            raise self.lost_answer
        return scaled

    async def emit_event(self, event: Manifest) -> None:
        if self.event_error is not None:
            raise self.event_error
        await super().emit_event(event)
        self.told.set()


class FakeRemoval:
    """Notes which steps down were prepared."""

    def __init__(self) -> None:
        self.prepared: list[tuple[Key, int]] = []

    async def prepare(self, service: Key, count: int) -> None:
        self.prepared.append((service, count))


class World:
    """Services with running Deployments, a store that has seen them, and the autoscaler.

    Args:
        services: what there is.
        replicas: how many each of them has.
        policy: by which they are scaled. What Score does follows from one observation alone.
    """

    def __init__(self, *services: ServiceBuilder, replicas: int = 5, policy: str = "Score") -> None:
        self.policy = policy
        self.cluster, self.store, self.metrics, self.removal = Cluster(), Store(), FakeMetrics(), FakeRemoval()
        self.now = NOW
        self.queued: list[Key] = []
        for service in services:
            self.add(service, replicas)
        self.autoscaler = self.restarted()

    def add(self, service: ServiceBuilder, replicas: int = 5) -> None:
        resource = self.cluster.put(service.scaling(policy=self.policy).manifest())
        key = key_of(resource)
        owner = {"uid": resource["metadata"]["uid"], "controller": True}
        labels = {"app": key.name}
        self.cluster.put(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": key.name, "namespace": key.namespace, "ownerReferences": [owner]},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}},
                },
            },
            manager=MANAGER_BOOTSTRAP,
        )
        self.metrics.values[key] = dict(CALM)
        self.watch(key)

    def watch(self, *keys: Key) -> None:
        """Let the Deployments get ready, and everything arrive in the store."""
        for key in keys:
            self.store.put(DEPLOYMENT, self.cluster.set_ready(*key))
            self.store.put(GENERATION_SERVICE, self.peek(GENERATION_SERVICE, key))

    def restarted(self) -> Autoscaler:
        return Autoscaler(
            self.cluster,
            self.store,
            self.metrics,
            self.queued.append,
            removal=self.removal,
            clock=lambda: self.now,
            prometheus_default_url=DEFAULT_URL,
            tick_seconds=15,
        )

    async def tick(self, seconds: float = 15) -> None:
        self.now += seconds
        self.queued.clear()
        await self.autoscaler.tick(Seconds(self.now))

    async def warm(self) -> None:
        """As after some minutes of calm."""
        await self.tick()
        await self.tick()
        self.queued.clear()

    def peek(self, kind: Kind, key: Key) -> Manifest:
        return dict(_run(self.cluster.get(kind, *key)))

    def replicas(self, key: Key = A) -> int:
        return int(self.peek(DEPLOYMENT, key)["spec"]["replicas"])

    def told(self, key: Key = A) -> Autoscaling:
        told = self.store.autoscaling(key)
        assert told is not None
        return told

    @property
    def writes(self) -> list[Write]:
        return self.cluster.writes


def _run(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")
