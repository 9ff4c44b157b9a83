"""Resync makes the store say what is, and never takes ignorance for absence."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from builders import make_service
from generation_operator.api.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    GENERATION_SERVICE,
    POD,
    POD_AUTOSCALER,
    RIVALS,
    SCALED_OBJECT,
    VPA,
    Kind,
    Manifest,
)
from generation_operator.api.names import LABEL_MANAGED_BY, OPERATOR
from generation_operator.api.resource import Key
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.cluster.ports import ClusterError, NotFoundError
from generation_operator.loops.resync import Resync
from generation_operator.observe.ownership import claim_of
from generation_operator.observe.store import Store

A = Key("n", "a")


def child(kind: Kind = CONFIG_MAP, name: str = "a", namespace: str = "n", manager: str = OPERATOR) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": {LABEL_MANAGED_BY: manager}}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


class InterruptedCluster(MemoryCluster):
    """Something happens while a list is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None

    async def list(self, kind: Kind, namespace: str | None = None, **options: Any) -> list[Manifest]:
        found = await super().list(kind, namespace, **options)
        if kind == CONFIG_MAP:
            self.meanwhile()
        return found


@dataclass
class World:
    cluster: InterruptedCluster = field(default_factory=InterruptedCluster)
    store: Store = field(default_factory=Store)
    queued: list[Key] = field(default_factory=list)

    def resync(self, *namespaces: str, seconds: float = 300) -> Resync:
        return Resync(self.cluster, self.store, self.queued.append, namespaces=namespaces, seconds=seconds)


async def test_pods_are_known_after_a_round_and_those_that_are_gone_are_forgotten() -> None:
    world = World()
    labels = {
        LABEL_MANAGED_BY: OPERATOR,
        "app.kubernetes.io/instance": "a",
        "app.kubernetes.io/component": "service",
    }
    for name in ("a-1", "a-2"):
        world.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "n", "labels": labels},
                "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
            }
        )
    await world.resync("n").once()
    assert sorted(pod.key.name for pod in world.store.pods.ready(A)) == ["a-1", "a-2"]
    world.cluster.remove(POD, "n", "a-1")
    await world.resync("n").once()
    assert [pod.key.name for pod in world.store.pods.ready(A)] == ["a-2"]


async def test_first_round_fills_the_store_and_queues_every_resource() -> None:
    world = World()
    for name in ("b", "a"):
        world.cluster.put(make_service(name, "n").manifest())
    world.cluster.put(child())
    await world.resync().once()
    assert world.store.keys(GENERATION_SERVICE) == {Key("n", "a"), Key("n", "b")}
    assert world.store.keys(CONFIG_MAP) == {A}
    assert world.queued == [Key("n", "a"), Key("n", "b")]


async def test_foreign_objects_are_left_out() -> None:
    world = World()
    world.cluster.put(child(manager="helm"))
    await world.resync().once()
    assert world.store.keys(CONFIG_MAP) == frozenset()


async def test_only_named_namespaces_are_looked_at() -> None:
    world = World()
    for namespace in ("one", "two", "three"):
        world.cluster.put(child(namespace=namespace))
    await world.resync("one", "three").once()
    assert world.store.keys(CONFIG_MAP) == {Key("one", "a"), Key("three", "a")}


async def test_what_vanished_without_an_event_is_pruned_and_its_key_queued() -> None:
    world = World()
    world.cluster.put(make_service("a", "n").manifest())
    world.cluster.put(child())
    resync = world.resync()
    await resync.once()
    world.cluster.remove(GENERATION_SERVICE, "n", "a")
    world.cluster.remove(CONFIG_MAP, "n", "a")
    world.queued.clear()
    await resync.once()
    assert world.store.keys(CONFIG_MAP) == world.store.keys(GENERATION_SERVICE) == frozenset()
    assert world.queued == [A]


async def test_object_that_appears_during_the_list_is_not_pruned() -> None:
    world = World()
    world.cluster.meanwhile = lambda: world.store.put(CONFIG_MAP, child())
    await world.resync().once()
    assert world.store.keys(CONFIG_MAP) == {A}


async def test_object_that_goes_during_the_list_does_not_come_back() -> None:
    world = World()
    world.store.put(CONFIG_MAP, world.cluster.put(child()))
    world.cluster.meanwhile = lambda: world.store.remove(CONFIG_MAP, A)
    await world.resync().once()
    assert world.store.keys(CONFIG_MAP) == frozenset()


async def test_version_that_is_newer_than_the_list_is_kept() -> None:
    world = World()
    listed = world.cluster.put(child())
    newer = listed | {"metadata": listed["metadata"] | {"resourceVersion": "99"}}
    world.store.put(CONFIG_MAP, listed)
    world.cluster.meanwhile = lambda: world.store.put(CONFIG_MAP, newer)
    await world.resync().once()
    found = world.store.get(CONFIG_MAP, A)
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "99"


async def test_failed_list_changes_nothing() -> None:
    world = World()
    known = child(DEPLOYMENT)
    world.store.put(DEPLOYMENT, known)
    world.cluster.fail("list", ClusterError(503, "overloaded"))
    with pytest.raises(ClusterError, match="overloaded"):
        await world.resync().once()
    assert world.store.get(DEPLOYMENT, A) == known


async def test_vpa_comes_and_goes_with_its_api() -> None:
    world = World()
    world.cluster.absent.add(VPA)
    resync = world.resync()
    assert not resync.available().vertical_pod_autoscaler
    await resync.once()
    assert not resync.available().vertical_pod_autoscaler
    world.cluster.absent.clear()
    world.cluster.put(child(VPA) | {"spec": {"targetRef": {"kind": "Deployment", "name": "a"}}})
    await resync.once()
    assert resync.available().vertical_pod_autoscaler
    assert world.store.keys(VPA) == {A}
    world.cluster.absent.add(VPA)
    await resync.once()
    assert not resync.available().vertical_pod_autoscaler
    assert world.store.keys(VPA) == frozenset()


class ForbiddingCluster(MemoryCluster):
    """Does not let us see some kind."""

    def __init__(self, kind: Kind, status: int) -> None:
        super().__init__()
        self._kind = kind
        self._status = status

    async def list(self, kind: Kind, namespace: str | None = None, **options: Any) -> list[Manifest]:
        if kind == self._kind:
            raise ClusterError(self._status, "no")
        return await super().list(kind, namespace, **options)


async def test_vpa_that_may_not_be_seen_is_not_available() -> None:
    resync = Resync(ForbiddingCluster(VPA, 403), Store(), lambda _: None, namespaces=(), seconds=1)
    await resync.once()
    assert not resync.available().vertical_pod_autoscaler


async def test_vpa_that_cannot_be_asked_for_now_is_an_error_and_stays_as_known() -> None:
    cluster, store = ForbiddingCluster(VPA, 503), Store()
    store.put(VPA, child(VPA))
    with pytest.raises(ClusterError):
        await Resync(cluster, store, lambda _: None, namespaces=(), seconds=1).once()
    assert store.keys(VPA) == {A}


async def test_missing_crd_is_said_with_the_remedy() -> None:
    world = World()
    world.cluster.absent.add(GENERATION_SERVICE)
    with pytest.raises(NotFoundError, match=r"generationservices\.generation\.dev: apply the CRD"):
        await world.resync().once()


async def test_failed_round_is_logged_and_the_next_one_heals(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.cluster.put(child())
    world.cluster.fail("list", ClusterError(503, "overloaded"))
    task = asyncio.create_task(world.resync(seconds=0.001).run())
    try:
        async with asyncio.timeout(5):
            while not world.store.keys(CONFIG_MAP):  # noqa: ASYNC110 - nothing to wait on
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["resync: 503: overloaded; next round in 0 s"]


async def test_a_later_round_queues_few_resources_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class OverError(Exception):
        pass

    world = World()
    pauses: list[tuple[float, int]] = []

    async def sleep(seconds: float) -> None:
        pauses.append((seconds, len(world.queued)))
        if len(world.queued) == 65:
            raise OverError

    for number in range(65):
        world.cluster.put(make_service(f"s{number:02}").manifest())
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(OverError):
        await world.resync(seconds=300).run()
    assert pauses == [(300, 0), (0.2, 30), (0.2, 60), (300, 65)]


def rival(kind: Kind, target: str = "a", **metadata: Any) -> Manifest:
    field = "targetRef" if kind == VPA else "scaleTargetRef"
    head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x", "namespace": "n"} | metadata}
    return head | {"spec": {field: {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}, "maxReplicas": 3}}


@pytest.mark.parametrize("kind", RIVALS)
async def test_foreign_claims_are_found_and_pruned(kind: Kind) -> None:
    world = World()
    world.cluster.put(rival(kind))
    resync = world.resync()
    await resync.once()
    assert [str(claim) for claim in world.store.claims_on(A)] == [f"{kind.kind} x"]
    assert world.store.keys(kind) == frozenset(), "nothing but the claim is kept"
    world.cluster.remove(kind, "n", "x")
    await resync.once()
    assert world.store.claims_on(A) == ()


@pytest.mark.parametrize("kind", [VPA, SCALED_OBJECT, POD_AUTOSCALER])
@pytest.mark.parametrize("status", [403, 404])
async def test_claims_of_an_api_that_is_gone_or_hidden_are_gone(kind: Kind, status: int) -> None:
    cluster, store = ForbiddingCluster(kind, status), Store()
    store.put_claim(kind, Key("n", "x"), claim_of(kind, rival(kind)))
    await Resync(cluster, store, lambda _: None, namespaces=(), seconds=1).once()
    assert store.claims_on(A) == ()


async def test_claims_that_cannot_be_asked_for_now_stay_as_known() -> None:
    cluster, store = ForbiddingCluster(SCALED_OBJECT, 503), Store()
    store.put_claim(SCALED_OBJECT, Key("n", "x"), claim_of(SCALED_OBJECT, rival(SCALED_OBJECT)))
    with pytest.raises(ClusterError):
        await Resync(cluster, store, lambda _: None, namespaces=(), seconds=1).once()
    assert len(store.claims_on(A)) == 1
