"""The first replica count: set once, owned by nobody who applies the rest, lost by no crash."""

import itertools
from typing import Any

import pytest

from builders import make_service
from generation_operator.api.kinds import DEPLOYMENT, Manifest
from generation_operator.api.names import MANAGER_BOOTSTRAP, MANAGER_OPERATOR, MANAGER_SCALER
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.cluster.ports import ClusterError, ConflictError
from generation_operator.desired.deployment import deployment
from generation_operator.reconcile.bootstrap import bootstrap_owns_replicas, create, hand_over, narrowing_due

WANTED = deployment(make_service().obj())
ONLY_REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}


class Crash(BaseException):
    """The process ends here."""


class CrashingCluster(MemoryCluster):
    """Ends the process before, or somebody scales before, the given apply (1 is the first)."""

    def __init__(self, *, crash_before: int | None = None, scale_before: int | None = None, to: int = 7) -> None:
        super().__init__()
        self._applies = itertools.count(1)
        self._crash_before, self._scale_before, self._to = crash_before, scale_before, to

    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        number = next(self._applies)
        if number == self._crash_before:
            raise Crash
        if number == self._scale_before:
            await scale(self, self._to)
        return await super().apply(manifest, manager=manager, force=force)


async def scale(cluster: MemoryCluster, to: int) -> None:
    seen = await cluster.get_scale(DEPLOYMENT, "default", "a")
    await cluster.scale(DEPLOYMENT, "default", "a", to, expect=seen, manager=MANAGER_SCALER)


async def live(cluster: MemoryCluster) -> Manifest:
    return await cluster.get(DEPLOYMENT, "default", "a")


def owned(manifest: Manifest, manager: str) -> Any:
    found = [entry["fieldsV1"] for entry in manifest["metadata"]["managedFields"] if entry["manager"] == manager]
    assert len(found) <= 1
    return found[0] if found else {}


async def test_creation_leaves_the_count_with_the_bootstrap_manager_and_all_else_with_the_operator() -> None:
    cluster = MemoryCluster()
    created = await create(cluster, WANTED, 3)
    assert created["spec"]["replicas"] == 3
    assert owned(created, MANAGER_BOOTSTRAP) == ONLY_REPLICAS
    assert "f:replicas" not in owned(created, MANAGER_OPERATOR)["f:spec"]
    assert {"f:selector", "f:strategy", "f:template"} == set(owned(created, MANAGER_OPERATOR)["f:spec"])
    assert not narrowing_due(created)


@pytest.mark.parametrize("crash_before", [2, 3])
async def test_a_creation_that_was_cut_off_is_finished_with_the_same_owners(crash_before: int) -> None:
    cluster = CrashingCluster(crash_before=crash_before)
    with pytest.raises(Crash):
        await create(cluster, WANTED, 3)
    assert narrowing_due(await live(cluster))
    finished = await hand_over(cluster, WANTED)
    assert finished["spec"]["replicas"] == 3
    assert owned(finished, MANAGER_BOOTSTRAP) == ONLY_REPLICAS
    assert not narrowing_due(finished)


@pytest.mark.parametrize("scale_before", [2, 3])
async def test_a_scale_during_creation_is_kept(scale_before: int) -> None:
    cluster = CrashingCluster(scale_before=scale_before)
    created = await create(cluster, WANTED, 3)
    assert created["spec"]["replicas"] == 7
    assert owned(created, MANAGER_BOOTSTRAP) == {}
    assert owned(created, MANAGER_SCALER) == ONLY_REPLICAS
    assert not narrowing_due(created)


@pytest.mark.parametrize("crash_before", [2, 3])
async def test_a_scale_between_crash_and_restart_is_kept(crash_before: int) -> None:
    cluster = CrashingCluster(crash_before=crash_before)
    with pytest.raises(Crash):
        await create(cluster, WANTED, 3)
    await scale(cluster, 9)
    assert not bootstrap_owns_replicas(await live(cluster))
    finished = await hand_over(cluster, WANTED)
    assert finished["spec"]["replicas"] == 9
    assert owned(finished, MANAGER_BOOTSTRAP) == {}


async def test_later_applies_never_touch_the_count() -> None:
    cluster = MemoryCluster()
    await create(cluster, WANTED, 3)
    await scale(cluster, 8)
    changed = deployment(make_service().image("generation-service:0.2.0").obj())
    after = await hand_over(cluster, changed)
    assert after["spec"]["replicas"] == 8
    assert owned(after, MANAGER_SCALER) == ONLY_REPLICAS


async def test_a_variable_that_the_spec_no_longer_has_disappears_from_the_pods() -> None:
    cluster = MemoryCluster()
    await create(cluster, deployment(make_service().env("OLD", "1").obj()), 3)
    after = await hand_over(cluster, WANTED)
    environment = after["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "OLD" not in [variable["name"] for variable in environment]


async def test_an_object_that_appeared_meanwhile_is_not_changed() -> None:
    cluster = MemoryCluster()
    await create(cluster, WANTED, 3)
    await scale(cluster, 8)
    before = await live(cluster)
    with pytest.raises(ConflictError):
        await create(cluster, WANTED, 2)
    assert await live(cluster) == before


async def test_an_error_of_the_last_step_leaves_a_creation_that_can_be_finished() -> None:
    class Failing(CrashingCluster):
        async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
            if manager == MANAGER_BOOTSTRAP and not manifest.get("spec", {}).get("template"):
                self.fail("apply", ClusterError(503, "try again"))
            return await super().apply(manifest, manager=manager, force=force)

    cluster = Failing()
    with pytest.raises(ClusterError, match="try again"):
        await create(cluster, WANTED, 3)
    unfinished = await live(cluster)
    assert unfinished["spec"]["replicas"] == 3
    assert narrowing_due(unfinished)


@pytest.mark.parametrize(
    ("managed_fields", "due", "owns"),
    [
        (None, False, False),
        ([], False, False),
        ([{"manager": MANAGER_OPERATOR, "fieldsV1": {"f:spec": {"f:template": {}}}}], False, False),
        ([{"manager": MANAGER_BOOTSTRAP, "fieldsV1": ONLY_REPLICAS}], False, True),
        ([{"manager": MANAGER_BOOTSTRAP, "fieldsV1": {}}], False, False),
        ([{"manager": MANAGER_BOOTSTRAP}], False, False),
        ([{"manager": MANAGER_BOOTSTRAP, "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {}}}}], True, True),
        ([{"manager": MANAGER_BOOTSTRAP, "fieldsV1": {"f:metadata": {}, **ONLY_REPLICAS}}], True, True),
        ([{"manager": MANAGER_BOOTSTRAP, "fieldsV1": {"f:metadata": {"f:labels": {}}}}], True, False),
    ],
)
def test_what_managed_fields_tell(managed_fields: list[Any] | None, due: bool, owns: bool) -> None:
    manifest = {"metadata": {"managedFields": managed_fields}}
    assert narrowing_due(manifest) is due
    assert bootstrap_owns_replicas(manifest) is owns
