"""What one failure of the cluster stops and what it does not, and what the status then says."""

import pytest

from builders import make_service
from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA, SERVICE, SERVICE_ACCOUNT, Manifest
from generation_operator.cluster.ports import ClusterError
from reconcile_world import KEY, World


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
