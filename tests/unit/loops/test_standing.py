"""Others who have a say in the replica count: what the loop does about them, and what it tells."""

from typing import Any

import pytest

from autoscaler_world import BUSY, DEFAULT_URL, IDLE, A, World
from builders import make_service
from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA
from generation_operator.api.resource import Key
from generation_operator.decide.types import Reason, Seconds
from generation_operator.loops.autoscaler import Autoscaler
from generation_operator.observe.ownership import Claim, Manual
from generation_operator.reconcile.status import timestamp

OTHER = Key("default", "other")


def claim(world: World, *, present: bool = True) -> None:
    world.store.put_claim(HPA, OTHER, Claim(HPA, OTHER, "a") if present else None)


def scaled_by(world: World, manager: str, replicas: int) -> None:
    """Somebody writes the count, and the store sees it."""
    manifest = world.peek(DEPLOYMENT, A)
    manifest["spec"]["replicas"] = replicas
    world.cluster.put(manifest, manager=manager)
    world.watch(A)


def reasons(world: World) -> list[str]:
    return [event["reason"] for event in world.cluster.events]


async def test_nothing_is_written_against_a_rival_and_it_heals_by_itself() -> None:
    world = World(make_service("a"))
    await world.warm()
    claim(world)
    world.metrics.values[A] = BUSY
    await world.tick()
    assert (world.replicas(), world.writes) == (5, [])
    assert world.told().standing.rivals == ("HorizontalPodAutoscaler other",)
    assert world.queued == [A], "the status has something new to tell"
    await world.tick()
    assert (reasons(world), world.queued) == (["OwnershipConflict"], [])
    claim(world, present=False)
    await world.tick()
    assert world.replicas() == 7
    assert reasons(world) == ["OwnershipConflict", "ScaledUp", "OwnershipRestored"]
    assert [event["type"] for event in world.cluster.events] == ["Warning", "Normal", "Normal"]


async def test_a_step_against_a_rival_starts_no_cooldown() -> None:
    world = World(make_service("a"))
    claim(world)
    world.metrics.values[A] = BUSY
    await world.tick()
    assert (world.told().decision.reason, world.told().state.last_step_at) == (Reason.HIGH_LOAD, None)


async def test_a_claim_on_another_deployment_concerns_nobody_else() -> None:
    world = World(make_service("a"), make_service("b").uid("b-uid"))
    claim(world)
    world.metrics.values[A] = world.metrics.values[Key("default", "b")] = BUSY
    await world.tick()
    assert (world.replicas(), world.replicas(Key("default", "b"))) == (5, 7)


async def test_a_count_by_hand_is_kept_and_told() -> None:
    world = World(make_service("a"))
    await world.warm()
    scaled_by(world, "kubectl", 3)
    world.metrics.values[A] = BUSY
    await world.tick()
    assert (world.replicas(), world.told().decision.reason) == (3, Reason.OVERRIDE)
    assert world.told().standing.manual == Manual(3, Seconds(world.now + 1800), "kubectl")
    [event] = world.cluster.events
    assert (event["reason"], event["type"]) == ("ManualScale", "Normal")
    assert event["message"] == (
        f"kubectl wrote 3 replicas: kept, within minReplicas and maxReplicas, until {timestamp(world.now + 1800)}"
    )
    await world.tick(1799)
    assert (world.replicas(), reasons(world)) == (3, ["ManualScale"])
    await world.tick(1)
    assert (world.replicas(), reasons(world)) == (5, ["ManualScale", "ScaledUp"])


async def test_a_count_by_hand_is_kept_only_within_the_bounds() -> None:
    world = World(make_service("a").replicas(2, 8))
    await world.warm()
    scaled_by(world, "kubectl", 1)
    await world.tick()
    assert (world.replicas(), world.told().decision.reason) == (2, Reason.BELOW_MINIMUM)


async def test_the_override_of_the_spec_comes_first() -> None:
    until = timestamp(1_800_000_000)
    world = World(make_service("a").scaling(override={"replicas": 6, "until": until}))
    await world.warm()
    scaled_by(world, "kubectl", 3)
    await world.tick()
    assert world.replicas() == 6


async def test_our_own_write_is_not_taken_for_somebody_elses() -> None:
    world = World(make_service("a"))
    await world.warm()
    scaled_by(world, "kubectl", 3)
    await world.tick()
    scaled_by(world, "kubectl", 20)
    await world.tick()
    world.metrics.values[A] = BUSY
    await world.tick(1800)
    assert world.replicas() == 20, "at maxReplicas"
    world.metrics.values[A] = IDLE
    await world.tick(300)
    await world.tick(5)  # before the watch has told who wrote it
    assert world.told().standing.manual is None
    assert reasons(world) == ["ManualScale", "ManualScale", "ScaledDown"]


@pytest.mark.parametrize("manager", ["flux", "k9s"])
async def test_who_keeps_writing_is_named_and_left_alone_until_it_is_quiet(manager: str) -> None:
    world = World(make_service("a"))
    await world.warm()
    scaled_by(world, manager, 3)
    await world.tick()
    assert world.told().standing.rivals == ()
    scaled_by(world, manager, 4)
    await world.tick()
    assert world.told().standing.rivals == (f"field manager {manager}, which keeps writing spec.replicas",)
    world.metrics.values[A] = BUSY
    await world.tick(1801)
    assert world.replicas() == 4, "the time of the override is over, but the rival is not gone"
    await world.tick(900)
    assert world.replicas() == 6


async def test_a_restart_keeps_what_the_status_tells_and_tells_nothing_twice() -> None:
    world = World(make_service("a"))
    await world.warm()
    scaled_by(world, "kubectl", 3)
    claim(world)
    await world.tick()
    assert sorted(reasons(world)) == ["ManualScale", "OwnershipConflict"]
    manual = world.told().standing.manual
    assert manual is not None
    status = {
        "conditions": [{"type": "OwnershipConflict", "status": "True", "reason": "ForeignScaler", "message": ""}],
        "autoscaling": {"override": {"replicas": 3, "until": timestamp(manual.until), "manager": "kubectl"}},
    }
    resource = world.peek(GENERATION_SERVICE, A) | {"status": status}
    world.store.put(GENERATION_SERVICE, resource)
    world.cluster.events.clear()
    world.autoscaler = world.restarted()
    await world.tick()
    assert (reasons(world), world.told().standing.manual) == ([], manual)


async def test_recommend_has_no_rivals_and_no_overrides() -> None:
    """Whoever scales while the operator only shows its decisions is in nobody's way."""
    world = World(make_service("a").mode("Recommend"))
    claim(world)
    scaled_by(world, "flux", 3)
    await world.tick()
    scaled_by(world, "flux", 4)
    world.metrics.values[A] = BUSY
    await world.tick()
    told = world.told()
    assert (told.standing.rivals, told.standing.manual, told.decision.reason) == ((), None, Reason.HIGH_LOAD)
    assert world.cluster.events == []


async def test_how_long_a_count_by_hand_is_kept_can_be_set() -> None:
    world = World(make_service("a"))
    options: dict[str, Any] = {"prometheus_default_url": DEFAULT_URL, "tick_seconds": 15, "keep_manual_seconds": 0}
    world.autoscaler = Autoscaler(
        world.cluster,
        world.store,
        world.metrics,
        world.queued.append,
        removal=world.removal,
        clock=lambda: world.now,
        **options,
    )
    await world.warm()
    scaled_by(world, "kubectl", 3)
    world.metrics.values[A] = BUSY
    await world.tick()
    assert world.replicas() == 5
