"""From a key to a converged resource, on a cluster in memory."""

import copy
from typing import Any

import pytest

from builders import UID, WITH_VPA, ServiceBuilder, make_decision, make_observation, make_service
from generation_operator.api import names as api_names
from generation_operator.api.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    GENERATION_SERVICE,
    HPA,
    KINDS,
    SERVICE,
    SERVICE_ACCOUNT,
    VPA,
    Kind,
    Manifest,
)
from generation_operator.api.names import MANAGER_BOOTSTRAP, MANAGER_OPERATOR, MANAGER_SCALER
from generation_operator.api.resource import Key, key_of
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.cluster.ports import ClusterError, ConflictError
from generation_operator.decide.types import Seconds, State
from generation_operator.desired.available import Available
from generation_operator.observe.store import Autoscaling, Store
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


async def test_everything_that_should_exist_is_created() -> None:
    world = World(make_service().replicas(3, 9))
    await world.reconcile()
    assert await world.names(DEPLOYMENT) == ["a", "a-proxy"]
    assert await world.names(SERVICE) == ["a", "a-headless", "a-proxy"]
    assert await world.names(HPA) == await world.names(VPA) == ["a"]
    assert len(await world.names(CONFIG_MAP)) == 1
    assert (await world.get(DEPLOYMENT))["spec"]["replicas"] == 3


async def test_a_second_reconcile_makes_no_call() -> None:
    world = World(make_service())
    await world.reconcile()
    # Not even a read, and with nothing but what the first one left in the store.
    reads, writes = world.cluster.reads, len(world.cluster.writes)
    await world.reconciler.reconcile(KEY)
    assert (world.cluster.reads, len(world.cluster.writes)) == (reads, writes)
    assert await world.reconcile() == []


async def test_a_restart_with_a_full_store_writes_nothing() -> None:
    world = World(make_service())
    await world.reconcile()
    world.restarted(Store())
    world.now += 3600
    assert await world.reconcile() == []


async def test_a_restart_with_an_empty_store_writes_no_child() -> None:
    world = World(make_service())
    await world.reconcile()
    await world.scale(7)
    store = Store()
    store.put(GENERATION_SERVICE, await world.get(GENERATION_SERVICE))
    before = len(world.cluster.writes)
    await world.restarted(store).reconcile(KEY)
    assert world.cluster.writes[before:] == []
    assert (await world.get(DEPLOYMENT))["spec"]["replicas"] == 7


async def test_owners_of_fields_are_as_designed() -> None:
    world = World(make_service())
    await world.reconcile()
    await world.scale(5)
    owners = {
        entry["manager"]: entry["fieldsV1"]["f:spec"]
        for entry in (await world.get(DEPLOYMENT))["metadata"]["managedFields"]
        if "f:spec" in entry["fieldsV1"]
    }
    assert set(owners) == {MANAGER_OPERATOR, MANAGER_SCALER}
    assert set(owners[MANAGER_OPERATOR]) == {"f:selector", "f:strategy", "f:template"}
    assert owners[MANAGER_SCALER] == {"f:replicas": {}}


async def test_only_the_child_that_changed_is_written() -> None:
    world = World(make_service())
    await world.reconcile()
    world.change(make_service().image("generation-service:0.2.0"))
    assert await world.reconcile() == ["apply Deployment/a", "apply_status GenerationService/a"]
    assert await world.reconcile() == []


async def test_a_child_that_somebody_changed_is_restored() -> None:
    world = World(make_service())
    await world.reconcile()
    changed = copy.deepcopy(await world.get(SERVICE))
    changed["spec"]["selector"] = {"app": "other"}
    world.cluster.put(changed)
    assert await world.reconcile() == ["apply Service/a"]
    assert (await world.get(SERVICE))["spec"]["selector"][api_names.LABEL_INSTANCE] == "a"


async def test_a_child_that_somebody_deleted_comes_back() -> None:
    world = World(make_service())
    await world.reconcile()
    world.cluster.remove(HPA, "default", "a")
    assert await world.reconcile() == ["apply HorizontalPodAutoscaler/a"]


async def test_replicas_are_never_reset() -> None:
    world = World(make_service().replicas(2, 20))
    await world.reconcile()
    await world.scale(11)
    world.change(make_service().replicas(3, 20).image("generation-service:0.2.0"))
    await world.reconcile()
    assert (await world.get(DEPLOYMENT))["spec"]["replicas"] == 11


async def test_a_creation_that_was_cut_off_is_finished_at_the_next_reconcile() -> None:
    world = World(make_service())
    await world.reconcile()
    whole = {key: value for key, value in (await world.get(DEPLOYMENT)).items() if key != "status"}
    world.cluster.remove(DEPLOYMENT, "default", "a")
    for field in ("managedFields", "resourceVersion", "uid"):
        whole["metadata"].pop(field)
    await world.cluster.apply(whole, manager=MANAGER_BOOTSTRAP, force=False)  # step 1 and no further
    assert await world.reconcile() == ["apply Deployment/a", "apply Deployment/a"]
    assert await world.reconcile() == []
    assert (await world.get(DEPLOYMENT))["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("before", "after", "deleted"),
    [
        (make_service(), make_service().mode("Recommend"), ["HorizontalPodAutoscaler/a"]),
        (make_service(), make_service().vertical("Off"), ["VerticalPodAutoscaler/a"]),
        (make_service(), make_service().replicas(1, 1), ["PodDisruptionBudget/a"]),
        (make_service(), make_service().proxy(enabled=False), ["Deployment/a-proxy", "Service/a-proxy", "ConfigMap/"]),
        (make_service().mode("Recommend"), make_service(), []),
    ],
)
async def test_what_should_not_exist_any_more_is_deleted(
    before: ServiceBuilder, after: ServiceBuilder, deleted: list[str]
) -> None:
    world = World(before)
    await world.reconcile()
    world.change(after)
    writes = [write.removeprefix("delete ") for write in await world.reconcile() if write.startswith("delete ")]
    assert len(writes) == len(deleted)
    assert all(write.startswith(start) for write, start in zip(writes, deleted, strict=True))
    assert [write for write in await world.reconcile() if "Status" not in write] == []


async def test_the_old_proxy_configuration_stays_until_the_rollout_is_complete() -> None:
    world = World(make_service())
    await world.reconcile()
    world.cluster.set_ready("default", "a-proxy")
    (old,) = await world.names(CONFIG_MAP)
    world.change(make_service().spec(port=9000))
    await world.reconcile()
    assert len(await world.names(CONFIG_MAP)) == 2
    world.cluster.set_ready("default", "a-proxy", updated=0)
    await world.reconcile()
    assert len(await world.names(CONFIG_MAP)) == 2
    world.cluster.set_ready("default", "a-proxy")
    assert f"delete ConfigMap/{old}" in await world.reconcile()
    assert old not in await world.names(CONFIG_MAP)


async def test_the_old_proxy_configuration_stays_while_the_new_deployment_is_refused() -> None:
    world = World(make_service())
    await world.reconcile()
    world.cluster.set_ready("default", "a-proxy")
    world.cluster.broken[DEPLOYMENT, "a-proxy"] = ClusterError(403, "quota")
    world.change(make_service().spec(port=9000))
    with pytest.raises(ClusterError, match="quota"):
        await world.reconcile()
    assert len(await world.names(CONFIG_MAP)) == 2


async def test_objects_of_others_are_never_deleted() -> None:
    world = World(make_service())
    owner = [{"apiVersion": "x/v1", "kind": "X", "name": "a", "uid": UID, "controller": True}]
    labels = {api_names.LABEL_MANAGED_BY: api_names.OPERATOR}
    foreign: dict[str, dict[str, Any]] = {
        "no-owner": {"labels": labels},
        "other-owner": {"labels": labels, "ownerReferences": [owner[0] | {"uid": "other"}]},
        "no-label": {"ownerReferences": owner},
        "other-namespace": {"namespace": "elsewhere", "labels": labels, "ownerReferences": owner},
        "going": {"labels": labels, "ownerReferences": owner, "deletionTimestamp": "2026-01-01T00:00:00Z"},
    }
    for name, metadata in foreign.items():
        head = {"apiVersion": "v1", "kind": "ConfigMap"}
        world.cluster.put(head | {"metadata": {"name": name, "namespace": "default"} | metadata, "data": {}})
    assert [write for write in await world.reconcile() if write.startswith("delete")] == []


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": {api_names.LABEL_MANAGED_BY: "Helm"}},
        {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "X", "name": "x", "uid": "other", "controller": True}]},
    ],
)
async def test_an_object_of_somebody_else_is_not_taken_over(metadata: dict[str, Any]) -> None:
    world = World(make_service())
    head = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "default"} | metadata}
    world.cluster.put(head | {"spec": {"selector": {"app": "mine"}}})
    with pytest.raises(ConflictError, match="belongs to somebody else"):
        await world.reconcile()
    assert (await world.get(SERVICE))["spec"]["selector"] == {"app": "mine"}
    status, reason, message = await world.condition("Ready")
    assert (status, reason) == ("False", "ApplyFailed")
    assert message.startswith("Service a: exists and belongs to somebody else")


async def test_children_that_lost_their_owner_are_adopted() -> None:
    world = World(make_service())
    await world.reconcile()
    await world.scale(6)
    for kind, name in ((DEPLOYMENT, "a"), (SERVICE, "a")):
        orphan = await world.get(kind, name)
        orphan["metadata"]["ownerReferences"] = []
        world.cluster.put(orphan, manager="garbage-collector")
    await world.reconcile()
    adopted = await world.get(DEPLOYMENT)
    assert [reference["uid"] for reference in adopted["metadata"]["ownerReferences"]] == [UID]
    assert adopted["spec"]["replicas"] == 6


@pytest.mark.parametrize("going", ["marked", "gone", "another one of that name"])
async def test_children_of_a_resource_that_is_being_deleted_stay_orphans(going: str) -> None:
    world = World(make_service())
    await world.reconcile()
    orphan = await world.get(SERVICE)
    orphan["metadata"]["ownerReferences"] = []
    world.cluster.put(orphan, manager="garbage-collector")
    await world.watch()
    # The watch of children is ahead: the store does not know yet that the resource is going.
    resource = await world.get(GENERATION_SERVICE)
    if going == "marked":
        resource["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if going == "another one of that name":
        resource["metadata"]["uid"] = "u-2"
    world.cluster.remove(GENERATION_SERVICE, "default", "a")
    if going != "gone":
        world.cluster.put(resource)
    before = len(world.cluster.writes)
    await world.reconciler.reconcile(KEY)
    assert world.cluster.writes[before:] == []


async def test_an_unanswered_question_for_the_resource_is_that_child_s_failure_alone() -> None:
    world = World(make_service())
    await world.reconcile()
    orphan = await world.get(SERVICE)
    orphan["metadata"]["ownerReferences"] = []
    world.cluster.put(orphan, manager="garbage-collector")
    world.cluster.fail("get", ClusterError(503, "overloaded"))
    with pytest.raises(ClusterError, match="overloaded"):
        await world.reconcile()
    assert (await world.condition("Ready"))[2] == "Service a: overloaded"
    assert "apply Service/a" in await world.reconcile()


async def test_one_failing_child_does_not_stop_the_others() -> None:
    world = World(make_service())
    world.cluster.broken[SERVICE, "a"] = ClusterError(422, "port is taken")
    world.cluster.broken[HPA, "a"] = ClusterError(0, "no answer")
    with pytest.raises(ClusterError, match="port is taken"):
        await world.reconcile()
    assert await world.names(DEPLOYMENT) == ["a", "a-proxy"]
    assert await world.condition("Ready") == (
        "False",
        "ApplyFailed",
        "Service a: port is taken; HorizontalPodAutoscaler a: no answer",
    )
    world.cluster.broken.clear()
    await world.reconcile()
    assert (await world.condition("Ready"))[1] != "ApplyFailed"


async def test_a_failing_delete_is_reported_and_repeated() -> None:
    world = World(make_service())
    await world.reconcile()
    world.change(make_service().mode("Recommend"))
    world.cluster.fail("delete", ClusterError(403, "forbidden"))
    with pytest.raises(ClusterError, match="forbidden"):
        await world.reconcile()
    assert (await world.condition("Ready"))[2] == "HorizontalPodAutoscaler a: forbidden"
    assert "delete HorizontalPodAutoscaler/a" in await world.reconcile()


async def test_an_unanswered_read_stops_only_its_child() -> None:
    world = World(make_service())
    world.cluster.fail("get", ClusterError(0, "no answer"))
    with pytest.raises(ClusterError, match="no answer"):
        await world.reconcile()
    assert await world.names(SERVICE_ACCOUNT) == []
    assert await world.names(SERVICE) == ["a", "a-headless", "a-proxy"]
    await world.reconcile()
    assert await world.names(SERVICE_ACCOUNT) == ["a-service"]


async def test_a_missing_vpa_api_is_no_failure() -> None:
    world = World(make_service(), absent=[VPA])  # still believed to be there
    await world.reconcile()
    assert (await world.condition("Ready"))[1] == "WorkloadUnavailable"
    assert await world.names(HPA) == ["a"]


async def test_the_vpa_appears_with_its_api() -> None:
    world = World(make_service(), available=Available(), absent=[VPA])
    await world.reconcile()
    assert (await world.condition("VerticalScalingActive"))[:2] == ("False", "ApiMissing")
    world.cluster.absent.clear()
    world.available = WITH_VPA
    assert await world.reconcile() == ["apply VerticalPodAutoscaler/a", "apply_status GenerationService/a"]
    assert (await world.condition("VerticalScalingActive"))[:2] == ("False", "RecommendsOnly")


async def test_an_invalid_spec_touches_no_child() -> None:
    world = World(make_service())
    await world.reconcile()
    world.change(make_service().replicas(9, 3).image("generation-service:0.2.0"))
    assert await world.reconcile() == ["apply_status GenerationService/a"]
    status, reason, message = await world.condition("Ready")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "minReplicas must not exceed maxReplicas" in message
    assert (await world.get(DEPLOYMENT))["spec"]["template"]["spec"]["containers"][0]["image"].endswith("0.1.0")
    assert await world.reconcile() == []


@pytest.mark.parametrize("deletion", [None, "2026-01-01T00:00:00Z"])
async def test_a_resource_that_is_gone_or_going_needs_nothing(deletion: str | None) -> None:
    world = World(make_service())
    if deletion is None:
        world.cluster.remove(GENERATION_SERVICE, "default", "a")
    else:
        going = make_service().manifest()
        going["metadata"]["deletionTimestamp"] = deletion
        world.cluster.put(going)
    assert await world.reconcile() == []


async def test_a_resource_that_is_deleted_during_its_reconcile_is_no_error() -> None:
    world = World(make_service())
    await world.watch()
    world.cluster.remove(GENERATION_SERVICE, "default", "a")
    await world.reconciler.reconcile(KEY)
    assert await world.names(GENERATION_SERVICE) == []


async def test_a_deletion_seen_while_the_status_is_written_is_not_undone() -> None:
    world = World(make_service("a"))
    write = world.cluster.apply_status

    async def deleted_meanwhile(manifest: Manifest, *, manager: str) -> Manifest:
        written = await write(manifest, manager=manager)
        world.store.remove(GENERATION_SERVICE, KEY)
        return written

    world.cluster.apply_status = deleted_meanwhile  # type: ignore[method-assign]
    await world.reconciler.reconcile(KEY)
    assert world.store.get(GENERATION_SERVICE, KEY) is None


async def test_a_status_that_cannot_be_written_is_an_error() -> None:
    world = World(make_service())
    world.cluster.fail("apply_status", ClusterError(503, "try again"))
    with pytest.raises(ClusterError, match="try again"):
        await world.reconcile()
    assert await world.reconcile() == ["apply_status GenerationService/a"]


async def test_status_follows_the_workload_and_the_decisions() -> None:
    world = World(make_service())
    await world.reconcile()
    assert (await world.condition("Ready"))[0] == "Unknown"
    world.cluster.set_ready("default", "a")
    autoscaling = Autoscaling(make_observation(), make_decision(desired=4), State(Seconds(NOW)))
    await world.watch()
    world.store.put_autoscaling(KEY, autoscaling)
    assert await world.reconcile() == ["apply_status GenerationService/a"]
    assert (await world.condition("Ready"))[:2] == ("True", "AllReady")
    status = (await world.get(GENERATION_SERVICE))["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    assert status["autoscaling"]["desiredReplicas"] == 4
    assert await world.reconcile() == []
