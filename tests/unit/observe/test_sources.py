"""Pods at each reading, Prometheus at its own pace: who has something new when, and how old it is."""

import asyncio
from collections.abc import Mapping, Sequence

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.load import Load
from generation_operator.observe.pods import Target
from generation_operator.observe.signals import Ask, FreshLoad, Reading
from generation_operator.observe.sources import Sources

A, B = Key("x", "a"), Key("x", "b")
VALUES = {SignalName.CPU: 0.5}


class FakePrometheus:
    def __init__(self) -> None:
        self.reads = 0
        self.released = asyncio.Event()
        self.released.set()

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        self.reads += 1
        await self.released.wait()
        return {ask.key: Reading(VALUES, 3.0, 2) for ask in asks}


class FakePods:
    def __init__(self) -> None:
        self.loads: dict[Key, Load] = {}
        self.targets: list[Target] = []

    async def sample(self, targets: Sequence[Target]) -> Mapping[Key, Load]:
        self.targets = list(targets)
        return self.loads


class World:
    def __init__(self) -> None:
        self.prometheus, self.pods, self.now = FakePrometheus(), FakePods(), 100.0
        self.sources = Sources(self.prometheus, self.pods, metrics_seconds=5, clock=lambda: self.now)

    async def read(self, *keys: Key, seconds: float = 2.0) -> Mapping[Key, Reading]:
        self.now += seconds
        return await self.sources.read([Ask(key, "http://p", 60, 60, 8000) for key in keys])

    def say(self, key: Key, in_flight: float = 4.0, answered: int = 2) -> None:
        self.pods.loads = {key: Load(in_flight, 1.0, 2.0, self.now + 2.0, 2, answered)}


async def test_prometheus_alone_is_read_at_its_own_pace() -> None:
    world = World()
    assert await world.read(A) == {A: Reading(VALUES, 3.0, 2)}
    assert await world.read(A) == {}
    assert await world.read(A) == {}
    assert await world.read(A) == {A: Reading(VALUES, 3.0, 2)}
    assert world.prometheus.reads == 2
    assert world.pods.targets == [Target(A, 8000)]


async def test_pods_bring_something_new_each_time_and_prometheus_grows_older_beside_it() -> None:
    world = World()
    for age in (3.0, 5.0, 7.0):
        world.say(A)
        assert await world.read(A, B) == {
            A: Reading(VALUES, age, 2, load=FreshLoad(4.0, 1.0, 2.0, 0.0, 2, 2)),
            **({B: Reading(VALUES, 3.0, 2)} if age == 3.0 else {}),
        }


async def test_a_service_whose_turn_it_was_not_keeps_what_its_pods_said() -> None:
    world = World()
    world.say(A)
    await world.read(A)
    world.pods.loads = {}
    reading = (await world.read(A, seconds=6.0))[A]
    assert reading.load == FreshLoad(4.0, 1.0, 2.0, 6.0, 2, 2)
    assert reading.age == 3.0


async def test_pods_that_do_not_answer_bring_nothing_new() -> None:
    world = World()
    await world.read(A)
    world.say(A, answered=0)
    assert await world.read(A) == {}


async def test_a_slow_prometheus_holds_up_nobody_whose_pods_answer() -> None:
    world = World()
    world.prometheus.released.clear()
    world.say(A)
    assert await world.read(A, B) == {A: Reading(load=FreshLoad(4.0, 1.0, 2.0, 0.0, 2, 2))}
    world.prometheus.released.set()
    await asyncio.sleep(0)
    world.say(A)
    readings = await world.read(A, B)
    assert readings == {
        A: Reading(VALUES, 3.0, 2, load=FreshLoad(4.0, 1.0, 2.0, 0.0, 2, 2)),
        B: Reading(VALUES, 3.0, 2),
    }
    assert world.prometheus.reads == 1


async def test_what_is_gone_is_forgotten() -> None:
    world = World()
    world.say(A)
    await world.read(A)
    world.pods.loads = {}
    await world.read(B, seconds=6.0)
    assert await world.read(A, B, seconds=6.0) == {A: Reading(VALUES, 3.0, 2), B: Reading(VALUES, 3.0, 2)}


async def test_closing_ends_a_read_that_is_under_way() -> None:
    world = World()
    world.prometheus.released.clear()
    world.say(A)
    await world.read(A)
    await world.sources.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "metrics"] == []
