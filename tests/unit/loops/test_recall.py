"""The past is asked for once for each resource that can have one, and never keeps anything from being decided."""

from collections.abc import Mapping

import pytest

from autoscaler_world import A, World
from builders import ServiceBuilder, make_service
from generation_operator.api.kinds import GENERATION_SERVICE
from generation_operator.api.resource import GenerationService, Key, parse
from generation_operator.decide.forecast import SLOT_SECONDS, SLOTS
from generation_operator.loops.recall import Recall
from generation_operator.loops.services import Services
from generation_operator.observe.history import HistoryError, Rates
from generation_operator.observe.store import Autoscaling, Store

NOW = 1_700_000_000.0
DEFAULT = "http://default"
SLOT = int(NOW // SLOT_SECONDS) - 288  # this time yesterday


class History:
    """Knows a rate for one slot of each of its services, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, range, int]] = []
        self.rates: dict[Key, dict[int, float]] = {}
        self.own: Mapping[Key, str] = {}
        self.fails = False

    async def read(self, url: str, slots: range, *, services: int, own: Mapping[Key, str]) -> Rates:
        self.asked.append((url, slots, services))
        self.own = own
        if self.fails:
            raise HistoryError("OSError")
        return self.rates


class Autoscaler:
    def __init__(self) -> None:
        self.told: list[tuple[Key, Mapping[int, float]]] = []

    def remind(self, service: GenerationService, rates: Mapping[int, float]) -> None:
        self.told.append((service.key, rates))


class Recalling:
    """A recall with its fakes."""

    def __init__(self, *services: ServiceBuilder, age: float = 3600.0) -> None:
        self.store, self.history, self.autoscaler, self.now = Store(), History(), Autoscaler(), NOW
        for service in services:
            self.put(service, age)
        self.recall = Recall(
            self.store,
            Services(self.store),
            self.history,
            self.autoscaler,
            clock=lambda: self.now,
            prometheus_default_url=DEFAULT,
        )

    def put(self, service: ServiceBuilder, age: float = 3600.0) -> None:
        manifest = service.manifest()
        made = "2023-11-14T21:13:20Z" if age == 3600.0 else "2023-11-14T22:12:20Z"  # an hour, or a minute, before
        manifest["metadata"]["creationTimestamp"] = made
        self.store.put(GENERATION_SERVICE, manifest)


async def test_each_resource_is_asked_for_once() -> None:
    world = Recalling(make_service("a"), make_service("b"))
    world.history.rates = {Key("default", "a"): {7: 1.5}}
    await world.recall.once()
    await world.recall.once()
    [(url, slots, services)] = world.history.asked
    assert (url, len(slots), services) == (DEFAULT, 8 * 288 - 1, 2)
    assert world.autoscaler.told == [(Key("default", "a"), {7: 1.5})]


async def test_who_brings_a_query_for_arrivals_is_asked_for_with_it() -> None:
    queries = [{"signal": "Cpu", "query": "cpu"}, {"signal": "WorkflowArrivals", "query": "sum(rate(jobs_total[5m]))"}]
    world = Recalling(make_service("a"), make_service("b").spec(metrics={"queries": queries}))
    await world.recall.once()
    assert world.history.own == {Key("default", "b"): "sum(rate(jobs_total[5m]))"}


async def test_one_that_is_made_anew_is_asked_for_again() -> None:
    world = Recalling(make_service("a"))
    await world.recall.once()
    world.put(make_service("a").uid("another"))
    await world.recall.once()
    assert len(world.history.asked) == 2


@pytest.mark.parametrize(
    "service",
    [
        make_service().scaling(policy="Score"),
        make_service().scaling(targets={"forecast": "Disabled"}),
        make_service().spec(port=0),
    ],
    ids=["policy without forecasts", "no forecasts wanted", "not understood"],
)
async def test_what_has_no_use_for_a_past_is_not_asked_for(service: ServiceBuilder) -> None:
    world = Recalling(service)
    await world.recall.once()
    assert world.history.asked == []


async def test_a_resource_that_is_new_has_no_past() -> None:
    world = Recalling(make_service("a"), age=60.0)
    await world.recall.once()
    assert world.history.asked == []


async def test_a_failure_is_tried_again_after_ten_minutes_and_others_go_on() -> None:
    world = Recalling(make_service("a"), make_service("b").spec(metrics={"prometheusURL": "http://other"}))
    world.history.fails = True
    await world.recall.once()
    world.history.fails = False
    world.now += 599
    await world.recall.once()
    assert len(world.history.asked) == 2
    world.now += 1
    await world.recall.once()
    assert sorted(asked[0] for asked in world.history.asked[2:]) == [DEFAULT, "http://other"]


async def test_the_autoscaler_remembers_it_from_the_next_tick_on_and_lowers_nothing_by_it() -> None:
    world = World(make_service("a"))
    await world.warm()
    before = known(world)
    resource = world.store.get(GENERATION_SERVICE, A)
    assert resource is not None
    world.autoscaler.remind(parse(resource), {SLOT: 42.0})
    await world.tick(2.0)
    after = known(world)
    assert after.state.memory.profile.rates[SLOT % SLOTS] == 42.0
    assert after.decision.desired == before.decision.desired


async def test_the_past_of_a_resource_that_is_gone_is_not_anothers() -> None:
    world = World(make_service("a"))
    await world.warm()
    world.autoscaler.remind(make_service("a").uid("another").obj(), {SLOT: 42.0})
    await world.tick(2.0)
    assert 42.0 not in list(known(world).state.memory.profile.rates)


def known(world: World) -> Autoscaling:
    found = world.store.autoscaling(A)
    assert found is not None
    return found
