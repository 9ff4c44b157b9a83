"""The loop on a cluster in memory: who is written, what is remembered, and that nobody disturbs anybody else."""

import asyncio
import dataclasses
from typing import Any

import pytest

from autoscaler_world import BUSY, CALM, DEFAULT_URL, IDLE, NOW, STARTED, A, B, World
from builders import make_service
from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA
from generation_operator.api.names import MANAGER_SCALER
from generation_operator.api.resource import Key
from generation_operator.cluster.memory import Write
from generation_operator.cluster.ports import ClusterError, ConflictError
from generation_operator.decide.types import Reason, SignalName
from generation_operator.loops.autoscaler import Autoscaler
from generation_operator.observe.signals import Ask


async def test_a_busy_service_gets_its_step() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    await world.tick()
    assert world.replicas() == 7
    assert world.writes == [Write("scale", DEPLOYMENT, A, MANAGER_SCALER)]
    assert world.told().decision.reason is Reason.HIGH_LOAD
    assert world.queued == [A]


async def test_an_idle_service_is_lowered_at_the_second_look() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = IDLE
    await world.tick()
    assert (world.replicas(), world.told().decision.reason) == (5, Reason.WARMING_UP)
    await world.tick()
    assert world.replicas() == 4


async def test_only_a_step_down_is_prepared_with_the_number_of_pods_that_go() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    await world.tick()
    assert world.removal.prepared == []
    world.metrics.values[A] = IDLE
    await world.tick(301)
    await world.tick()
    assert world.replicas() == 6
    assert world.removal.prepared == [(A, 1)]


async def test_a_service_that_brings_nothing_new_is_not_decided_on() -> None:
    world = World(make_service("a"))
    await world.tick()
    before = world.told()
    world.metrics.nothing_new.add(A)
    await world.tick()
    assert world.told() is before


async def test_a_step_is_followed_by_the_cooldown() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    await world.tick()
    await world.tick(299)
    assert (world.replicas(), world.told().decision.reason) == (7, Reason.COOLDOWN)
    await world.tick(1)
    assert world.replicas() == 9


async def test_the_store_shows_a_written_count_before_the_watch_does() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    seen = world.store.get(DEPLOYMENT, A)
    assert seen is not None
    await world.tick()
    assert (world.store.get(DEPLOYMENT, A) or {})["spec"]["replicas"] == 7
    assert seen["spec"]["replicas"] == 5, "manifests in the store are shared and never changed in place"
    await world.tick()
    assert world.told().decision.current == 7


async def test_a_watch_event_during_the_write_is_kept() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    newer = world.peek(DEPLOYMENT, A) | {"spec": {"replicas": 9}}
    newer["metadata"]["resourceVersion"] = "1000"
    world.cluster.after_read = lambda: world.store.put(DEPLOYMENT, newer)
    await world.tick()
    found = world.store.get(DEPLOYMENT, A)
    assert found is not None
    assert found["metadata"]["resourceVersion"] == newer["metadata"]["resourceVersion"]


async def test_a_watch_event_of_before_the_write_comes_too_late() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    older = world.peek(DEPLOYMENT, A)
    await world.tick()
    world.store.put(DEPLOYMENT, older)
    await world.tick()
    assert world.told().decision.current == 7


async def test_an_executed_step_is_told_in_an_event() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    await world.tick()
    [event] = world.cluster.events
    decision = world.told().decision
    assert event["metadata"] == {"name": f"a.{decision.id}", "namespace": "default"}
    assert (event["reason"], event["type"]) == ("ScaledUp", "Normal")
    assert event["message"].startswith("5 -> 7: High load detected (score: 75): ")
    assert event["involvedObject"]["uid"] == world.peek(GENERATION_SERVICE, A)["metadata"]["uid"]
    assert event["firstTimestamp"] == "2023-11-14T22:13:35Z"

    world.metrics.values[A] = IDLE
    await world.tick()
    world.watch(A)
    await world.tick(300)
    assert [event["reason"] for event in world.cluster.events] == ["ScaledUp", "ScaledDown"]


async def test_a_lost_event_changes_nothing() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    world.cluster.event_error = ClusterError(500, "no")
    await world.tick()
    assert (world.replicas(), world.queued) == (7, [A])


@pytest.mark.parametrize("mode", ["Recommend", "Paused"])
async def test_only_an_active_service_is_written(mode: str) -> None:
    world = World(make_service("a").mode(mode))
    world.metrics.values[A] = BUSY
    for _ in range(3):
        await world.tick()
    assert (world.replicas(), world.writes, world.cluster.events) == (5, [], [])
    told = world.told()
    assert (told.decision.desired, told.decision.reason, told.state.last_step_at) == (7, Reason.HIGH_LOAD, None)


async def test_the_pause_annotation_counts_also_when_it_comes_while_prometheus_answers() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    resource = world.peek(GENERATION_SERVICE, A)
    paused = make_service("a").uid(resource["metadata"]["uid"]).paused_by_annotation().manifest()
    world.metrics.meanwhile = lambda: world.store.put(GENERATION_SERVICE, paused)
    await world.tick()
    assert (world.replicas(), world.writes) == (5, [])


async def test_a_count_that_the_hpa_has_moved_is_left_alone_until_it_is_seen() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    raised = world.peek(DEPLOYMENT, A)
    raised["spec"]["replicas"] = 8
    world.cluster.put(raised, manager="kube-controller-manager")
    await world.tick()
    assert (world.replicas(), world.writes, world.told().state.last_step_at) == (8, [], None)
    assert world.told().write_error is None
    world.watch(A)
    await world.tick()
    assert world.replicas() == 10


async def test_a_count_that_moves_between_read_and_write_is_left_alone() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY

    def raise_by_hpa() -> None:
        raised = world.peek(DEPLOYMENT, A)
        raised["spec"]["replicas"] = 8
        world.cluster.put(raised, manager="kube-controller-manager")

    world.cluster.after_read = raise_by_hpa
    await world.tick()
    assert (world.replicas(), world.told().state.last_step_at, world.told().write_error) == (8, None, None)


@pytest.mark.parametrize("verb", ["get_scale", "scale"])
async def test_a_write_that_failed_is_shown_and_tried_again_without_cooldown(verb: str) -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    world.cluster.fail(verb, ClusterError(503, "try later"))
    await world.tick()
    assert (world.replicas(), world.told().write_error) == (5, "503: try later")
    assert world.told().state.last_step_at is None
    assert world.cluster.events == []
    await world.tick()
    assert (world.replicas(), world.told().write_error, world.queued) == (7, None, [A])
    assert world.told().state.last_step_at == world.now


@pytest.mark.parametrize("error", [ClusterError(0, "no answer within 10 s"), ConflictError(409, "retried, modified")])
async def test_a_step_whose_answer_was_lost_is_remembered_as_taken(error: ClusterError) -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    world.cluster.lost_answer = error
    await world.tick()
    assert (world.replicas(), world.told().write_error) == (7, None)
    assert world.told().state.last_step_at == world.now, "or the next tick would step again, without cooldown"
    assert len(world.cluster.events) == 1


async def test_a_conflict_is_no_error() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    world.cluster.fail("scale", ConflictError(409, "modified"))
    await world.tick()
    assert (world.replicas(), world.told().write_error) == (5, None)
    await world.tick()
    assert world.replicas() == 7
    assert world.queued == [A], "the time of the step is news, although the decision reads the same"


async def test_a_write_that_begins_to_fail_is_news() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    world.cluster.fail("scale", ConflictError(409, "modified"), ClusterError(403, "forbidden"))
    await world.tick()
    await world.tick()
    assert (world.told().write_error, world.queued) == ("403: forbidden", [A])


async def test_an_unexpected_failure_of_one_write_disturbs_no_other() -> None:
    world = World(make_service("a"), make_service("b"))
    world.metrics.values |= {A: dict(BUSY), B: dict(BUSY)}

    class BrokenError(Exception):
        pass

    def break_once() -> None:
        world.cluster.after_read = None
        raise BrokenError

    world.cluster.after_read = break_once
    await world.tick()
    assert (world.replicas(A), world.replicas(B)) == (5, 7)
    assert world.told(A).write_error == "the operator failed unexpectedly: see its log"


async def test_services_that_cannot_be_decided_on_disturb_no_other() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    invalid = make_service("invalid").spec(port="many").manifest()
    going = make_service("going").manifest()
    going["metadata"]["deletionTimestamp"] = STARTED
    malformed = make_service("malformed").manifest()
    del malformed["metadata"]["uid"]
    for resource in (invalid, going, malformed, make_service("childless").manifest()):
        world.store.put(GENERATION_SERVICE, resource)
    world.add(make_service("odd"))
    odd = world.peek(DEPLOYMENT, Key("default", "odd")) | {"status": {"readyReplicas": "many"}}
    world.store.put(DEPLOYMENT, odd)
    await world.tick()
    assert world.replicas() == 7
    assert world.queued == [A]
    assert [ask.key.name for ask in world.metrics.asks] == ["a", "childless", "odd"]


@pytest.mark.parametrize("owner", [[], [{"uid": "somebody-else", "controller": True}]])
async def test_a_deployment_of_somebody_else_is_not_scaled(owner: list[dict[str, Any]]) -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    foreign = world.peek(DEPLOYMENT, A)
    foreign["metadata"]["ownerReferences"] = owner
    world.store.put(DEPLOYMENT, foreign)
    await world.tick()
    assert (world.writes, world.store.autoscaling(A)) == ([], None)


async def test_metrics_that_are_not_readable_hold_the_count_and_say_why() -> None:
    world = World(make_service("a"), make_service("b"))
    world.metrics.values |= {A: dict(BUSY), B: dict(BUSY)}
    world.metrics.errors[A] = "PrometheusUnreachable: no"
    await world.tick()
    assert (world.replicas(A), world.replicas(B)) == (5, 7)
    told = world.told(A)
    assert (told.decision.valid, told.observation.metrics_error) == (False, "PrometheusUnreachable: no")


async def test_the_resource_says_which_prometheus_and_how_to_read_it() -> None:
    own = {"prometheusURL": "http://own:9090", "windowSeconds": 120, "maxAgeSeconds": 45}
    world = World(make_service("a"), make_service("b").spec(metrics=own))
    await world.tick()
    assert world.metrics.asks == [Ask(A, DEFAULT_URL, 60, 60), Ask(B, "http://own:9090", 120, 45)]


async def test_the_guards_need_limits_a_scale_down() -> None:
    world = World(make_service("a"))
    await world.warm()
    cpu = {"name": "cpu", "target": {"averageUtilization": 70}, "current": {"averageUtilization": 75}}
    metric = {"type": "Resource", "resource": cpu}
    metadata = {"name": "a", "namespace": "default"}
    world.store.put(HPA, {"metadata": metadata, "spec": {"metrics": [metric]}, "status": {"currentMetrics": [metric]}})
    world.metrics.values[A] = IDLE
    await world.tick()
    assert (world.replicas(), world.told().decision.reason) == (5, Reason.GUARD_NEED)


async def test_nothing_new_is_told_twice() -> None:
    world = World(make_service("a"))
    await world.tick()
    assert world.queued == [A]
    for rate in (501.0, 502.0, 503.0):
        world.metrics.values[A] = CALM | {SignalName.REQUEST_RATE: rate}
        await world.tick()
        assert world.queued == []
    assert world.told().decision.at == world.now, "the store has the newest all the same"
    world.metrics.errors[A] = "PrometheusUnreachable: no"
    await world.tick()
    assert world.queued == [A]
    world.metrics.errors[A] = "PrometheusUnreachable: still no"
    await world.tick()
    assert world.queued == [A]


async def test_after_a_restart_the_cooldown_goes_on() -> None:
    service = make_service("a")
    world = World(service)
    resource = world.peek(GENERATION_SERVICE, A) | {"status": {"autoscaling": {"lastScaleTime": STARTED}}}
    world.store.put(GENERATION_SERVICE, resource)
    world.metrics.values[A] = BUSY
    await world.tick(299)
    assert (world.replicas(), world.told().decision.reason) == (5, Reason.COOLDOWN)
    await world.tick(1)
    assert world.replicas() == 7


async def test_a_restart_never_lowers_at_its_first_look() -> None:
    world = World(make_service("a"))
    await world.warm()
    world.metrics.values[A] = IDLE
    world.autoscaler = world.restarted()
    await world.tick()
    assert world.replicas() == 5
    await world.tick()
    assert world.replicas() == 4


async def test_a_resource_made_anew_under_the_same_name_starts_anew() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    await world.tick()
    world.cluster.remove(GENERATION_SERVICE, *A)
    world.add(make_service("a").uid("another"))
    world.metrics.values[A] = BUSY
    await world.tick()
    assert world.replicas() == 7
    assert world.told().state.last_step_at == world.now


async def test_a_resource_that_is_invalid_for_a_while_keeps_its_cooldown() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    await world.tick()
    valid = world.peek(GENERATION_SERVICE, A)
    world.store.put(GENERATION_SERVICE, valid | {"spec": {"port": "many"}})
    await world.tick()
    world.store.put(GENERATION_SERVICE, valid)
    await world.tick()
    assert world.told().decision.reason is Reason.COOLDOWN


async def test_a_clock_that_was_set_back_holds_a_recommendation_for_one_cooldown_only() -> None:
    world = World(make_service("a").mode("Recommend"))
    status = {"autoscaling": {"lastScaleTime": "2033-11-14T22:13:20Z"}}
    world.store.put(GENERATION_SERVICE, world.peek(GENERATION_SERVICE, A) | {"status": status})
    world.metrics.values[A] = BUSY
    await world.tick()
    assert world.told().decision.reason is Reason.COOLDOWN
    await world.tick(300)
    assert world.told().decision.reason is Reason.HIGH_LOAD


async def test_the_loop_outlives_a_failing_tick() -> None:
    world = World(make_service("a"))
    world.metrics.values[A] = BUSY
    world.metrics.broken = RuntimeError("no")
    quick = Autoscaler(
        world.cluster,
        world.store,
        world.metrics,
        world.queued.append,
        removal=world.removal,
        clock=lambda: NOW,
        prometheus_default_url=None,
        tick_seconds=0.01,
    )
    running = asyncio.create_task(quick.run())
    async with asyncio.timeout(5):
        await world.metrics.asked.wait()
        assert world.replicas() == 5
        world.metrics.broken = None
        await world.cluster.told.wait()
    assert world.replicas() == 7
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_decision_that_is_only_shown_equals_the_one_that_would_act() -> None:
    """The same inputs give the same decision in every mode: try before you trust."""
    decisions = []
    for mode in ("Active", "Recommend", "Paused"):
        world = World(make_service("a").mode(mode))
        world.metrics.values[A] = BUSY
        await world.tick()
        decisions.append(dataclasses.replace(world.told().decision, id=""))
    assert decisions[0] == decisions[1] == decisions[2]


async def test_what_comes_first_is_written_before_what_comes_last_is_decided_on() -> None:
    """A source gives the most urgent first."""
    names = [f"s{number:03}" for number in range(100)]
    world = World(*map(make_service, names))
    await world.warm()
    first, last = Key("default", names[0]), Key("default", names[-1])
    world.metrics.values[first] = dict(BUSY)
    decided_at: list[float] = []
    world.cluster.after_read = lambda: decided_at.append(world.told(last).decision.at)
    await world.tick()
    assert world.replicas(first) > 5
    assert decided_at == [world.now - 15]
    assert world.told(last).decision.at == world.now
