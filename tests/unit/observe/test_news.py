"""News from Prometheus: what is asked, how the answer is read, and that nothing is told twice or hidden."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.news import News, NewsQueries, news_query, parse_news
from generation_operator.observe.signals import Ask

A, B = Key("x", "a"), Key("y", "b")


def entry(signal: str, value: float, at: float = 1000.0, key: Key = A) -> dict[str, Any]:
    return {
        "metric": {"namespace": key.namespace, "service": key.name, "signal": signal},
        "value": [at, str(value)],
    }


def ask(key: Key = A, window: int = 60) -> Ask:
    return Ask(key, "http://one:9090", window, 60)


class FakeClient:
    """A Prometheus that was asked `at` and last scraped services when `sampled` says."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.at = 1000.0
        self.sampled: dict[Key, float] = {}
        self.error: Exception | None = None
        self.released = threading.Event()
        self.released.set()

    def custom_query(self, query: str) -> object:
        self.queries.append(query)
        self.released.wait(20)
        if self.error is not None:
            raise self.error
        since = float(query.partition(" > ")[2].partition(",")[0])
        new = {key: sampled for key, sampled in self.sampled.items() if sampled > since}
        return [
            row
            for key, sampled in new.items()
            for row in (entry("Sampled", sampled, self.at, key), entry("QueueLength", 7.0, self.at, key))
        ]


class World:
    def __init__(self) -> None:
        self.client, self.now = FakeClient(), 50.0
        self.queries = NewsQueries(lambda: self.now)

    async def news(self, *asks: Ask, seconds: float = 0.5) -> dict[Key, News]:
        self.now += seconds
        self.client.at += seconds
        return await self.queries.ask(self.client, asks)


@contextmanager
def asking() -> Iterator[World]:
    world = World()
    try:
        yield world
    finally:
        world.client.released.set()
        world.queries.close()


def test_the_query_names_each_signal_and_asks_for_newer_samples_only() -> None:
    fresh = "max by (namespace, service) (timestamp(generation_service_info)) > 12.500"
    parts = news_query(75, 12.5).split(" or ")
    assert parts[0] == f'label_replace({fresh}, "signal", "Sampled", "", "")'
    assert [part.rsplit('"', 6)[1] for part in parts[1:]] == ["WorkflowArrivals", "QueueLength", "WorkflowsInFlight"]
    assert all(f" and on (namespace, service) ({fresh}), " in part for part in parts[1:])
    assert "rate(generation_service_workflows_arrived_total[75s])" in parts[1]


def test_an_answer_is_read_by_service() -> None:
    told = parse_news(
        [
            entry("QueueLength", 3),
            entry("Sampled", 998.5),
            entry("WorkflowArrivals", math.nan),
            entry("Cpu", 1),
            entry("QueueLength", 4, key=B),  # of which nobody knows when
            {"metric": {"namespace": "x"}, "value": [1, "2"]},
        ]
    )
    assert told == {A: News({SignalName.QUEUE_LENGTH: 3.0}, 998.5, 1000.0)}
    assert told[A].age == 1.5


@pytest.mark.parametrize("result", [None, {}, [1, "2"], [{"metric": {}, "values": []}], [{"metric": {}}]])
def test_what_is_no_vector_is_refused(result: object) -> None:
    with pytest.raises(ValueError, match="not an instant vector"):
        parse_news(result)


async def test_each_sample_is_told_once() -> None:
    with asking() as world:
        world.client.sampled = {A: 999.0, B: 998.0}
        assert set(await world.news(ask(A), ask(B))) == {A, B}
        assert await world.news(ask(A), ask(B)) == {}
        world.client.sampled[B] = 1001.0
        assert await world.news(ask(A), ask(B)) == {B: News({SignalName.QUEUE_LENGTH: 7.0}, 1001.0, 1001.5)}


async def test_a_sample_that_becomes_visible_late_is_told_all_the_same() -> None:
    with asking() as world:
        world.client.sampled = {A: 1000.0}
        await world.news(ask(A), ask(B))
        world.client.sampled[B] = 999.2  # its scrape began before that of A, and took longer
        assert set(await world.news(ask(A), ask(B))) == {B}


async def test_a_sample_from_the_future_hides_none_that_follow() -> None:
    with asking() as world:
        world.client.sampled = {A: 5000.0}
        assert (await world.news(ask(A), ask(B)))[A].age == 0.0
        world.client.sampled[B] = 1000.5
        assert set(await world.news(ask(A), ask(B))) == {B}


async def test_services_that_nobody_asked_about_are_not_told() -> None:
    with asking() as world:
        world.client.sampled = {A: 999.0, B: 999.0}
        assert set(await world.news(ask(A))) == {A}
        assert set(await world.news(ask(A), ask(B))) == {B}


async def test_each_window_is_a_query_up_to_four() -> None:
    with asking() as world:
        world.client.sampled = {Key("x", str(window)): 999.0 for window in range(10, 16)}
        asks = [ask(Key("x", str(window)), window) for window in range(10, 16)]
        told = await world.news(*asks, ask(Key("x", "14"), 14))
        assert len(world.client.queries) == 4
        assert Key("x", "14") in told, "the most shared window comes first"
        assert len(told) == 4


@pytest.mark.parametrize("error", [ConnectionRefusedError(), ValueError("<html>")])
async def test_a_server_that_fails_tells_nothing_and_is_left_alone_for_a_while(error: Exception) -> None:
    with asking() as world:
        world.client.sampled = {A: 999.0}
        world.client.error = error
        assert await world.news(ask(A)) == {}
        world.client.error = None
        assert await world.news(ask(A)) == {}
        assert len(world.client.queries) == 1
        assert set(await world.news(ask(A), seconds=5.0)) == {A}
