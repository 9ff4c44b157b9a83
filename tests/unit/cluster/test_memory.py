"""What tests rely on beyond the contract: helpers that play controllers, other people and bad luck."""

import pytest

from builders import make_service
from contract.cluster_contract import config_map, deployment, owners_of
from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, GENERATION_SERVICE, VPA
from generation_operator.api.resource import Key
from generation_operator.cluster.memory import MemoryCluster, Write
from generation_operator.cluster.ports import ConflictError, NotFoundError, Scale


async def test_absent_kind_is_not_found_until_it_appears() -> None:
    cluster = MemoryCluster(absent={VPA})
    with pytest.raises(NotFoundError):
        await cluster.list(VPA)
    cluster.absent.clear()
    assert await cluster.list(VPA) == []


async def test_every_write_call_is_recorded_also_those_that_fail_or_change_nothing() -> None:
    cluster = MemoryCluster()
    await cluster.apply(config_map("n"), manager="one")
    await cluster.apply(config_map("n"), manager="one")
    with pytest.raises(NotFoundError):
        await cluster.scale(DEPLOYMENT, "n", "web", 2, expect=Scale(1, "1"), manager="scaler")
    await cluster.delete(CONFIG_MAP, "n", "nobody", uid="x")
    assert cluster.writes == [
        Write("apply", CONFIG_MAP, Key("n", "settings"), "one"),
        Write("apply", CONFIG_MAP, Key("n", "settings"), "one"),
        Write("scale", DEPLOYMENT, Key("n", "web"), "scaler"),
        Write("delete", CONFIG_MAP, Key("n", "nobody")),
    ]


async def test_reading_records_no_write() -> None:
    cluster = MemoryCluster()
    cluster.put(config_map("n"))
    await cluster.get(CONFIG_MAP, "n", "settings")
    assert cluster.writes == []


async def test_what_was_read_cannot_change_the_cluster() -> None:
    cluster = MemoryCluster()
    await cluster.apply(config_map("n", color="red"), manager="one")
    (await cluster.get(CONFIG_MAP, "n", "settings"))["data"]["color"] = "blue"
    assert (await cluster.get(CONFIG_MAP, "n", "settings"))["data"] == {"color": "red"}


async def test_put_skips_validation_so_that_a_bad_resource_can_slip_through() -> None:
    cluster = MemoryCluster()
    cluster.put(make_service("a").replicas(5, 2).manifest())
    (found,) = await cluster.list(GENERATION_SERVICE)
    assert found["spec"]["scaling"] == {"minReplicas": 5, "maxReplicas": 2}


async def test_put_takes_fields_over_as_an_update() -> None:
    cluster = MemoryCluster()
    applied = await cluster.apply(deployment("n", replicas=2), manager="bootstrap")
    applied["spec"]["replicas"] = 7
    edited = cluster.put(applied, manager="kubectl-edit")
    assert owners_of(edited, "f:spec", "f:replicas") == {("kubectl-edit", "Update", "")}
    assert edited["metadata"]["generation"] == 2


async def test_ready_pods_are_reported_as_by_the_deployment_controller() -> None:
    cluster = MemoryCluster()
    await cluster.apply(deployment("n", replicas=3), manager="bootstrap")
    status = cluster.set_ready("n", "web", 1, updated=2)["status"]
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (3, 1, 2)
    assert status["observedGeneration"] == 1
    assert cluster.set_ready("n", "web")["status"]["readyReplicas"] == 3
    assert (await cluster.get(DEPLOYMENT, "n", "web"))["metadata"]["generation"] == 1


async def test_planned_faults_hit_the_next_calls_only() -> None:
    cluster = MemoryCluster()
    cluster.fail("apply", ConflictError(409, "first"), ConflictError(409, "second"))
    for word in ("first", "second"):
        with pytest.raises(ConflictError, match=word):
            await cluster.apply(config_map("n"), manager="one")
    await cluster.apply(config_map("n"), manager="one")


async def test_events_are_kept() -> None:
    cluster = MemoryCluster()
    await cluster.emit_event({"reason": "Scaled"})
    assert cluster.events == [{"reason": "Scaled"}]


async def test_removed_object_is_gone() -> None:
    cluster = MemoryCluster()
    cluster.put(config_map("n"))
    cluster.remove(CONFIG_MAP, "n", "settings")
    assert await cluster.list(CONFIG_MAP) == []
