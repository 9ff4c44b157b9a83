"""What reconcile deletes, what it leaves to others, and what it takes back, on a cluster in memory."""

from typing import Any

import pytest

from builders import UID, ServiceBuilder, make_service
from generation_operator.api import names as api_names
from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, GENERATION_SERVICE, SERVICE
from generation_operator.cluster.ports import ClusterError, ConflictError
from reconcile_world import KEY, World


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
