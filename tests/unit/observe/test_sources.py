"""Pods, news and everything from Prometheus, each at its own pace: who has something new when, and how old it is."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import pytest

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.load import Load
from generation_operator.observe.news import News
from generation_operator.observe.pods import Target
from generation_operator.observe.signals import Ask, FreshLoad, Reading
from generation_operator.observe.sources import Sources

A, B = Key("x", "a"), Key("x", "b")
QUEUE = SignalName.QUEUE_LENGTH
VALUES = {SignalName.CPU: 0.5, QUEUE: 0.0}


class FakePrometheus:
    def __init__(self) -> None:
        self.reads = 0
        self.reading = Reading(VALUES, 3.0, 2)
        self.scraped: dict[Key, News] = {}
        self.broken: Exception | None = None
        self.released = asyncio.Event()
        self.released.set()
        self.never_answers = ""  # the URL of a server
        self.work: Callable[[], None] = lambda: None  # while it reads

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        self.reads += 1
        self.work()
        if self.broken is not None:
            raise self.broken
        if asks[0].url == self.never_answers:
            await asyncio.Event().wait()
        await self.released.wait()
        return {ask.key: self.reading for ask in asks}

    async def news(self, asks: Sequence[Ask]) -> Mapping[Key, News]:
        told, self.scraped = self.scraped, {}
        return {ask.key: told[ask.key] for ask in asks if ask.key in told}


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
        self.sources = Sources(self.prometheus, self.pods, metrics_seconds=5, load_seconds=2, clock=lambda: self.now)

    async def read(self, *keys: Key, seconds: float = 2.0, max_age: int = 60) -> Mapping[Key, Reading]:
        self.now += seconds
        return await self.sources.read([Ask(key, "http://p", 60, max_age, 8000) for key in keys])

    def reads_take(self, seconds: float) -> list[float]:
        """From now on; the times at which they begin are in the list."""
        began: list[float] = []

        def work() -> None:
            began.append(self.now)
            self.now += seconds

        self.prometheus.work = work
        return began

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
    assert readings == {  # as old as it can be: nobody knows when within the 2 s it was evaluated
        A: Reading(VALUES, 5.0, 2, load=FreshLoad(4.0, 1.0, 2.0, 0.0, 2, 2)),
        B: Reading(VALUES, 5.0, 2),
    }
    assert world.prometheus.reads == 1


async def test_a_slow_prometheus_holds_up_nobody_of_another_one() -> None:
    world = World()
    world.prometheus.never_answers = "http://slow"
    asks = [Ask(A, "http://slow", 60, 60), Ask(B, "http://p", 60, 60)]
    for _ in range(3):
        world.now += 5
        assert await world.sources.read(asks) == {B: Reading(VALUES, 3.0, 2)}
    assert world.prometheus.reads == 4
    await world.sources.close()


async def test_a_read_of_a_prometheus_that_nobody_names_any_more_ends() -> None:
    world = World()
    world.prometheus.never_answers = "http://slow"
    await world.sources.read([Ask(A, "http://slow", 60, 60)])
    before = len(asyncio.all_tasks())
    assert await world.sources.read([Ask(A, "http://p", 60, 60)]) == {A: Reading(VALUES, 3.0, 2)}
    assert len(asyncio.all_tasks()) == before - 1
    await world.sources.close()


async def test_what_is_gone_is_forgotten() -> None:
    world = World()
    world.say(A)
    await world.read(A)
    world.pods.loads = {}
    await world.read(B, seconds=6.0)
    assert await world.read(A, B, seconds=6.0) == {A: Reading(VALUES, 3.0, 2), B: Reading(VALUES, 3.0, 2)}


def scraped(age: float = 0.5, queue: float = 40.0) -> News:
    return News({QUEUE: queue}, 1000.0 - age, 1000.0)


async def test_a_load_that_was_just_scraped_is_told_at_once_beside_what_is_known() -> None:
    world = World()
    await world.read(A, B)
    world.prometheus.scraped = {A: scraped()}
    assert await world.read(A, B) == {A: Reading(VALUES | {QUEUE: 40.0}, 0.5, 2)}
    assert await world.read(A, B, seconds=0.5) == {}
    assert world.prometheus.reads == 1


async def test_a_service_that_is_scraped_all_the_time_is_told_of_once_a_second_with_the_newest() -> None:
    world = World()
    await world.read(A)
    told = []
    for number in range(8):
        world.prometheus.scraped = {A: scraped(queue=1.0 + number)}
        told += [reading.values[QUEUE] for reading in (await world.read(A, seconds=0.5)).values()]
    assert told == [2.0, 4.0, 6.0, 8.0]


async def test_news_that_waited_are_not_lost_when_nothing_follows_them() -> None:
    world = World()
    await world.read(A)
    world.prometheus.scraped = {A: scraped()}
    assert await world.read(A, seconds=0.5) == {}
    assert (await world.read(A, seconds=0.5))[A].age == 1.0


async def test_a_read_that_is_older_than_the_news_does_not_take_them_back() -> None:
    world = World()
    world.prometheus.reading = Reading(VALUES | {QUEUE: 1.0}, 3.0, 2)
    await world.read(A)
    world.prometheus.released.clear()
    assert await world.read(A, seconds=5.0) == {}  # it takes its time
    world.prometheus.scraped = {A: scraped(age=0.0)}
    await world.read(A, seconds=1.0)
    world.prometheus.released.set()
    await asyncio.sleep(0)
    reading = (await world.read(A, seconds=1.0))[A]
    assert reading == Reading(VALUES | {QUEUE: 40.0}, 1.0, 2)


async def test_a_read_that_is_newer_than_the_news_replaces_them() -> None:
    world = World()
    world.prometheus.reading = Reading({QUEUE: 1.0}, 3.0, 2)
    await world.read(A)
    world.prometheus.scraped = {A: scraped()}
    await world.read(A)
    assert (await world.read(A, seconds=3.5))[A] == Reading({QUEUE: 1.0}, 3.0, 2)


@pytest.mark.parametrize("queue", [0.0, 5.0])
async def test_less_load_waits_for_the_read_that_tells_how_many_pods_report(queue: float) -> None:
    world = World()
    world.prometheus.reading = Reading({QUEUE: 5.0}, 3.0, 2)
    await world.read(A)
    world.prometheus.scraped = {A: scraped(queue=queue)}
    assert await world.read(A, seconds=1.0) == {}
    world.prometheus.scraped = {A: scraped(queue=6.0)}
    assert (await world.read(A, seconds=1.0))[A].values == {QUEUE: 6.0}
    world.prometheus.scraped = {A: scraped(queue=queue)}
    world.say(A)
    assert (await world.read(A))[A].values == {QUEUE: 6.0}


@pytest.mark.parametrize("reading", [Reading(error="PrometheusUnreachable: gone"), Reading()])
async def test_news_alone_are_no_evidence(reading: Reading) -> None:
    world = World()
    world.prometheus.reading = reading
    await world.read(A)
    world.prometheus.scraped = {A: scraped()}
    assert await world.read(A) == {}


async def test_what_was_read_of_thousands_comes_in_parts_and_news_first() -> None:
    keys = [Key("x", f"s{number:04}") for number in range(4000)]
    world = World()
    assert len(await world.read(*keys)) == 500
    seen: list[Key] = []
    for number in range(7):
        world.prometheus.scraped = {keys[-1 - number]: scraped()}
        readings = list(await world.read(*keys, seconds=0.5))
        assert readings[:2] == [keys[-1 - number], keys[500 * (number + 1)]]
        seen += readings
    assert len(seen) == len(set(seen))
    assert set(seen) == set(keys[500:])


@pytest.mark.parametrize(
    ("takes", "max_age", "period"),
    [(0.5, 60, 5.0), (1.5, 60, 7.5), (4.0, 60, 10.0), (4.0, 12, 6.0), (4.0, 5, 5.0)],
)
async def test_a_prometheus_that_needs_long_is_read_less_often_as_long_as_what_it_says_stays_fresh(
    takes: float, max_age: int, period: float
) -> None:
    world = World()
    began = world.reads_take(takes)
    while len(began) < 6:
        await world.read(A, B, seconds=0.5, max_age=max_age)
    assert [after - before for before, after in pairwise(began)][1:] == [period] * 4


async def test_one_slow_answer_is_not_taken_for_a_server_that_needs_long() -> None:
    world = World()
    for takes in (0.5, 4.0, 0.5):
        began = world.reads_take(takes)
        while not began:
            await world.read(A, seconds=0.5)
    first = world.now - 0.5
    while len(began) < 2:
        await world.read(A, seconds=0.5)
    assert began[1] - first == 5.0


async def test_what_is_read_less_often_comes_in_smaller_parts() -> None:
    keys = [Key("x", f"s{number:04}") for number in range(6000)]
    world = World()
    began = world.reads_take(2.0)
    while len(began) < 2:
        given = len(await world.read(*keys, seconds=0.5))
    assert given == 6000 / 16
    for _ in range(15):
        given += len(await world.read(*keys, seconds=0.5))
    assert (given, len(began)) == (6000, 2)


async def test_a_load_that_the_read_knows_as_well_does_not_wait_for_its_turn() -> None:
    keys = [Key("x", f"s{number:04}") for number in range(1000)]
    last = keys[-1]
    world = World()
    for _ in range(4):
        await world.read(*keys, seconds=0.5)
    world.prometheus.reading = Reading(VALUES | {QUEUE: 40.0}, 3.0, 2)
    world.prometheus.scraped = {last: scraped(queue=40.0)}
    readings = await world.read(*keys, seconds=3.5)
    assert (len(readings), next(iter(readings))) == (251, last)
    assert readings[last].values[QUEUE] == 40.0
    world.prometheus.scraped = {last: scraped(queue=40.0)}
    assert last not in await world.read(*keys, seconds=0.5), "it was given"


async def test_failure_of_one_answer_is_no_reason_to_give_up_asking() -> None:
    world = World()
    world.prometheus.broken = RuntimeError("once")
    with pytest.raises(RuntimeError, match="once"):
        await world.read(A)
    world.prometheus.broken = None
    assert A in await world.read(A, seconds=6.0)


async def test_closing_ends_a_read_that_is_under_way() -> None:
    world = World()
    world.prometheus.released.clear()
    world.say(A)
    await world.read(A)
    await world.sources.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "metrics"] == []
