"""Both engines, all modes and every switch between them, beside a model of the HPA controller."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler_world import BUSY, CALM, IDLE
from builders import make_service
from engine_world import CONTROLLER, KEY, EngineWorld, run
from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA, Manifest
from generation_operator.api.names import MANAGER_FLOOR, MANAGER_OPERATOR, MANAGER_SCALER
from generation_operator.cluster.ports import ClusterError, ConflictError
from generation_operator.decide.types import Reason
from generation_operator.observe.ownership import owners

FLOOR: dict[str, Any] = {"engine": "Floor", "minReplicas": 2, "maxReplicas": 12}
DIRECT: dict[str, Any] = FLOOR | {"engine": "Direct"}


async def started(replicas: int, cpu_total: int | None = None, **scaling: Any) -> EngineWorld:
    """A service that runs with this count and has been looked at twice."""
    world = EngineWorld(make_service().scaling(**FLOOR | scaling))
    await world.settle()
    await world.scale(replicas, MANAGER_SCALER)
    for _ in range(2):
        await world.pods()
        await world.watch()
        await world.tick()
    world.hpa.cpu_total = cpu_total
    await world.settle()
    return world


async def load(world: EngineWorld, values: dict[Any, float]) -> None:
    """Another load, and the tick that answers to it, after any cooldown."""
    world.metrics.values[KEY] = dict(values)
    await world.tick(300)


@pytest.mark.parametrize("cpu_total", [None, 100], ids=["no metrics", "metrics"])
async def test_floor_scales_up_by_its_minimum(cpu_total: int | None) -> None:
    world = await started(5, cpu_total)
    await load(world, BUSY)
    assert (await world.replicas(), await world.bounds()) == (5, (7, 12)), "the operator itself writes no count"
    await world.hpa.sync(KEY)
    assert await world.replicas() == 7
    assert owners(await world.get(DEPLOYMENT), "spec", "replicas") == {(CONTROLLER, "scale")}
    assert [event["reason"] for event in world.cluster.events] == ["FloorRaised"]


async def test_floor_scales_down_by_the_hpas_own_metrics() -> None:
    world = await started(5, 100)
    await load(world, IDLE)
    assert await world.bounds() == (4, 12)
    await world.hpa.sync(KEY)
    assert await world.replicas() == 4
    assert [event["reason"] for event in world.cluster.events] == ["FloorLowered"]


async def test_floor_scales_down_no_further_than_the_hpa_needs() -> None:
    world = await started(5, 5 * 70)  # each pod is at its target
    await load(world, IDLE)
    await world.hpa.sync(KEY)
    assert await world.replicas() == 5
    assert world.told().decision.reason is Reason.GUARD_NEED


async def test_floor_without_metrics_lowers_the_maximum_until_the_count_is_there() -> None:
    world = await started(5)
    await load(world, IDLE)
    assert await world.bounds() == (4, 4)
    await world.watch()
    await world.tick()
    assert await world.bounds() == (4, 4), "the HPA has not synced yet"
    await world.hpa.sync(KEY)
    assert await world.replicas() == 4
    await world.watch()
    await world.tick()
    assert await world.bounds() == (4, 12), "or nobody could raise while the operator is down"


async def test_floor_decides_on_what_the_hpa_has_been_told_already() -> None:
    world = await started(5)
    await load(world, BUSY)
    before = len(world.cluster.writes)
    for _ in range(3):  # 15 s until the HPA syncs
        await world.watch()
        await world.tick()
    assert (await world.bounds(), len(world.cluster.writes)) == ((7, 12), before)
    assert world.told().decision.current == 7


async def test_floor_lowered_is_not_taken_back_while_the_hpa_is_on_its_way() -> None:
    world = await started(5, 100)
    await load(world, IDLE)
    await world.watch()
    await world.tick()
    assert (world.told().decision.reason, await world.bounds()) == (Reason.COOLDOWN, (4, 12))


async def test_floor_holds_what_the_hpa_raised_while_signals_are_missing() -> None:
    world = await started(5, 5 * 140)
    world.metrics.errors[KEY] = "PrometheusUnreachable: gone"
    await world.hpa.sync(KEY)
    raised = await world.replicas()
    assert raised == 10
    world.hpa.cpu_total = 10
    await world.watch()
    await world.tick()
    await world.hpa.sync(KEY)
    assert await world.replicas() == raised


async def test_bounds_are_written_only_when_they_change() -> None:
    world = await started(5, 100)
    before = len(world.cluster.writes)
    for _ in range(5):
        await world.tick()
        await world.hpa.sync(KEY)
        await world.watch()
    assert world.cluster.writes[before:] == []


async def test_bounds_that_somebody_took_are_left_alone_until_reconcile_has_them_back() -> None:
    world = await started(5, 100)
    hpa = await world.get(HPA)
    hpa["spec"]["minReplicas"] = 3
    world.cluster.put(hpa, manager="kubectl-edit")
    await load(world, BUSY)
    assert await world.bounds() == (3, 12), "seen too late: the write is refused, not forced"
    assert world.told().write_error is None
    await world.watch()
    await world.reconcile()
    assert await world.bounds() == (5, 12)
    await world.watch()
    await world.tick()
    assert await world.bounds() == (7, 12)


@pytest.mark.parametrize("fault", [ClusterError(503, "busy"), ConflictError(409, "modified")])
async def test_floor_write_that_failed_is_tried_again(fault: ClusterError) -> None:
    world = await started(5, 100)
    world.cluster.fail("apply", fault)
    await load(world, BUSY)
    assert await world.bounds() == (5, 12)
    assert world.told().write_error == (None if isinstance(fault, ConflictError) else "503: busy")
    await world.tick()
    assert (await world.bounds(), world.told().write_error) == ((7, 12), None)


async def test_fields_of_the_hpa_belong_to_whom_the_table_says() -> None:
    world = await started(5, 100)
    hpa = await world.get(HPA)
    for field, manager in [
        ("minReplicas", MANAGER_FLOOR),
        ("maxReplicas", MANAGER_FLOOR),
        ("metrics", MANAGER_OPERATOR),
    ]:
        assert owners(hpa, "spec", field) == {(manager, "")}
    world.change(make_service().scaling(**DIRECT))
    await world.settle()
    hpa = await world.get(HPA)
    for field in ("minReplicas", "maxReplicas", "metrics", "behavior"):
        assert owners(hpa, "spec", field) == {(MANAGER_OPERATOR, "")}
    assert await world.bounds() == (2, 12)


SWITCHES = [
    (DIRECT, FLOOR),
    (FLOOR, DIRECT),
    (FLOOR, FLOOR | {"mode": "Paused"}),
    (FLOOR | {"mode": "Paused"}, FLOOR),
    (FLOOR, FLOOR | {"mode": "Recommend"}),
    (FLOOR | {"mode": "Recommend"}, FLOOR),
    (DIRECT, DIRECT | {"mode": "Paused"}),
    (DIRECT | {"mode": "Recommend"}, DIRECT),
    (DIRECT | {"mode": "Paused"}, FLOOR | {"mode": "Paused"}),
]


class CrashError(Exception):
    """The operator dies at a write."""


@pytest.mark.parametrize(("before", "after"), SWITCHES)
@pytest.mark.parametrize("cpu_total", [None, 0, 5 * 70], ids=["no metrics", "no need", "need"])
async def test_switching_engine_or_mode_moves_no_replica(
    before: dict[str, Any], after: dict[str, Any], cpu_total: int | None
) -> None:
    """Whatever the HPA does between any two writes, and wherever the operator dies in between."""
    for survived in range(4):
        world = await started(5, cpu_total, **before)
        assert await world.replicas() == 5
        world.change(make_service().scaling(**after))
        await world.watch()
        _sync_after_each_write(world, dies_after=survived)
        try:
            await world.reconcile()
        except CrashError:
            world.restart()
        world.cluster.apply = type(world.cluster).apply.__get__(world.cluster)  # type: ignore[method-assign]
        await world.settle()
        assert await world.replicas() == 5, f"after {survived} writes"
        # Calm load: the next decisions have no reason either.
        for _ in range(3):
            await world.tick()
            await world.hpa.sync(KEY)
            await world.settle()
        assert await world.replicas() == 5, f"after {survived} writes, some ticks later"


def _sync_after_each_write(world: EngineWorld, *, dies_after: int) -> None:
    apply: Callable[..., Awaitable[Manifest]] = world.cluster.apply
    left = [dies_after]

    async def applied(manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        if left[0] == 0:
            raise CrashError
        left[0] -= 1
        done = await apply(manifest, manager=manager, force=force)
        await world.hpa.sync(KEY)
        return done

    world.cluster.apply = applied  # type: ignore[method-assign]


async def test_pausing_holds_a_step_that_the_hpa_has_not_taken_yet() -> None:
    world = await started(5)
    await load(world, BUSY)
    assert await world.bounds() == (7, 12)
    world.change(make_service().scaling(**FLOOR, mode="Paused"))
    await world.watch()
    await world.tick()
    assert await world.bounds() == (5, 12)
    for _ in range(2):
        await world.settle()
        await world.tick()
    assert (await world.replicas(), await world.bounds()) == (5, (2, 12))
    # What a person does to a paused service stays.
    await world.scale(3)
    await world.settle()
    assert await world.replicas() == 3


async def test_a_count_by_hand_is_the_floor_for_its_time() -> None:
    world = await started(5)
    for count in (8, 4):
        await world.scale(count)
        await world.watch()
        await world.tick()
        await world.settle()
        assert (await world.replicas(), (await world.bounds())[0]) == (count, count)
        assert world.told().decision.reason is Reason.OVERRIDE


@pytest.mark.parametrize("scaling", [DIRECT, FLOOR], ids=["direct", "floor"])
async def test_a_paused_service_stays_whatever_load_and_hpa_say(scaling: dict[str, Any]) -> None:
    world = await started(5, 5 * 200, **scaling, mode="Paused")
    for values in (BUSY, IDLE, CALM):
        await load(world, values)
        await world.settle()
        assert await world.replicas() == 5


@pytest.mark.parametrize("scaling", [DIRECT, FLOOR], ids=["direct", "floor"])
async def test_recommend_writes_no_count_and_no_bound(scaling: dict[str, Any]) -> None:
    world = await started(5, 5 * 200, **scaling, mode="Recommend")
    before = len(world.cluster.writes)
    for values in (BUSY, IDLE):
        await load(world, values)
    assert world.cluster.writes[before:] == []
    assert await world.cluster.list(HPA) == []
    assert world.told().decision.desired != 5


async def test_a_need_that_the_hpa_saw_with_more_replicas_holds_while_these_go() -> None:
    """A utilisation is the mean of the pods that there were: with fewer of them it says less than there is to do."""
    world = await started(8, 8 * 52, **DIRECT, score={"cooldownSeconds": 1})
    world.metrics.values[KEY] = dict(IDLE)
    for _ in range(6):  # one sync of the HPA is as long as three ticks
        await world.tick()
        await world.pods()
        await world.watch()
    lowered = await world.replicas()
    assert lowered < 8
    await world.hpa.sync(KEY)
    assert await world.replicas() == lowered


ACTIONS = ["tick", "tick", "tick", "sync", "sync", "watch", "watch", "pods", "reconcile", "restart", "busy", "idle"]


@given(st.lists(st.one_of(st.sampled_from(ACTIONS), st.integers(-100, 1200)), min_size=5, max_size=80))
@settings(max_examples=60, deadline=None)
def test_operator_and_guard_never_pull_in_opposite_directions(actions: list[str | int]) -> None:
    """However ticks, syncs, watch events, restarts and other loads follow each other."""
    run(_interleaved(actions))


async def _interleaved(actions: list[str | int]) -> None:
    world = await started(8, 100, **DIRECT, score={"cooldownSeconds": 1})
    lowered_knowing: int | str | None = "not lowered"  # by the operator, as the last one who moved the count
    for action in actions:
        before = await world.replicas()
        if isinstance(action, int):
            world.hpa.cpu_total = None if action < 0 else action
        elif action in {"busy", "idle"}:
            world.metrics.values[KEY] = dict(BUSY if action == "busy" else IDLE)
        elif action == "tick":
            known = world.known_cpu_total()
            await world.tick()
            after = await world.replicas()
            if after != before:
                lowered_knowing = known if after < before else "not lowered"
                await world.pods()  # what was removed is gone at once, and what was added counts when it is ready
        elif action == "sync":
            await world.hpa.sync(KEY)
            after = await world.replicas()
            assert after >= before, "the guard lowered"
            if after > before:
                # Only because of what the operator could not know when it lowered.
                assert lowered_knowing != world.hpa.cpu_total, f"lowered to {before}, then raised to {after}"
                lowered_knowing = "not lowered"
        elif action == "restart":
            world.restart()
            await world.watch()
        else:
            await getattr(world, action)()
        assert 2 <= await world.replicas() <= 12


@given(st.lists(st.one_of(st.sampled_from(ACTIONS), st.integers(-100, 1200)), min_size=5, max_size=80))
@settings(max_examples=40, deadline=None)
def test_with_engine_floor_the_hpa_alone_moves_the_count(actions: list[str | int]) -> None:
    run(_floor_interleaved(actions))


async def _floor_interleaved(actions: list[str | int]) -> None:
    world = await started(8, 100)
    for action in actions:
        before = await world.replicas()
        if isinstance(action, int):
            world.hpa.cpu_total = None if action < 0 else action
        elif action in {"busy", "idle"}:
            world.metrics.values[KEY] = dict(BUSY if action == "busy" else IDLE)
        elif action == "sync":
            await world.hpa.sync(KEY)
        elif action == "restart":
            world.restart()
            await world.watch()
        else:
            await getattr(world, action)()
        assert action == "sync" or await world.replicas() == before
        low, high = await world.bounds()
        assert 2 <= low <= high <= 12
        assert 2 <= await world.replicas() <= 12


async def test_status_of_the_resource_survives_it_all() -> None:
    world = await started(5, 100)
    await load(world, BUSY)
    await world.settle()
    status = (await world.get(GENERATION_SERVICE))["status"]
    assert status["autoscaling"]["desiredReplicas"] == 7
