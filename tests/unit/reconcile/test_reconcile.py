"""From a key to converged children, on a cluster in memory: what is created, kept and restored."""

import copy

from builders import WITH_VPA, make_decision, make_observation, make_service
from generation_operator.api import names as api_names
from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, GENERATION_SERVICE, HPA, SERVICE, VPA
from generation_operator.api.names import MANAGER_BOOTSTRAP, MANAGER_OPERATOR, MANAGER_SCALER
from generation_operator.decide.types import Seconds, State
from generation_operator.desired.available import Available
from generation_operator.observe.store import Autoscaling, Store
from reconcile_world import KEY, NOW, World


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
