"""News from Prometheus: what is asked, how the answer is read, and that nothing is told twice or hidden."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.news import News, NewsQueries, news_query, parse_news

_QUEUE = "generation_service_queue_length"
A, B = Key("x", "a"), Key("y", "b")


def entry(signal: str, value: float, at: float = 1000.0, key: Key = A) -> dict[str, Any]:
    return {
        "metric": {"namespace": key.namespace, "service": key.name, "signal": signal},
        "value": [at, str(value)],
    }


class FakeClient:
    """A Prometheus that was asked `at` and last scraped services when `sampled` says."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.at = 1000.0
        self.sampled: dict[Key, float] = {}
        self.error: Exception | None = None
        self.takes: Callable[[], None] = lambda: None

    def custom_query(self, query: str) -> object:
        self.queries.append(query)
        self.takes()
        if self.error is not None:
            raise self.error
        since = float(query.partition(" > ")[2].partition(",")[0])
        new = {key: sampled for key, sampled in self.sampled.items() if sampled > since}
        return [
            row
            for key, sampled in new.items()
            for row in (
                entry("Sampled", sampled, self.at, key),
                entry(_QUEUE, 7.0, self.at, key),
            )
        ]


class World:
    def __init__(self) -> None:
        self.client, self.now = FakeClient(), 50.0
        self.queries = NewsQueries(lambda: self.now)

    async def news(self, *keys: Key, seconds: float = 0.5) -> dict[Key, News]:
        self.now += seconds
        self.client.at += seconds
        return await self.queries.ask(self.client, keys)


@contextmanager
def asking() -> Iterator[World]:
    world = World()
    try:
        yield world
    finally:
        world.queries.close()


def test_the_query_asks_for_newer_samples_only() -> None:
    fresh = "max by (namespace, service) (timestamp(generation_service_info)) > 12.500"
    sampled, load = news_query(12.5).split(" or ")
    assert sampled == f'label_replace({fresh}, "signal", "Sampled", "", "")'
    assert load == (
        "sum by (namespace, service, signal) (label_replace("
        '{__name__=~"generation_service_queue_length|generation_service_requests_in_flight"}, '
        '"signal", "$1", "__name__", "(.+)") * on (namespace, pod) group_left (service) '
        "(topk by (namespace, pod) (1, group by (namespace, pod, service) (generation_service_info))"
        f" and on (namespace, service) ({fresh})))"
    )


def test_an_answer_is_read_by_service() -> None:
    told = parse_news(
        [
            entry(_QUEUE, 3),
            entry("Sampled", 998.5),
            entry("generation_service_requests_in_flight", math.nan),
            entry("Cpu", 1),
            entry(_QUEUE, 4, key=B),  # of which nobody knows when
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
        assert set(await world.news(A, B)) == {A, B}
        assert await world.news(A, B) == {}
        world.client.sampled[B] = 1001.0
        assert await world.news(A, B) == {B: News({SignalName.QUEUE_LENGTH: 7.0}, 1001.0, 1001.5)}


async def test_a_sample_that_becomes_visible_late_is_told_all_the_same() -> None:
    with asking() as world:
        world.client.sampled = {A: 1000.0}
        await world.news(A, B)
        world.client.sampled[B] = 999.2  # its scrape began before that of A, and took longer
        assert set(await world.news(A, B)) == {B}


async def test_a_sample_from_the_future_hides_none_that_follow() -> None:
    with asking() as world:
        world.client.sampled = {A: 5000.0}
        assert (await world.news(A, B))[A].age == 0.0
        world.client.sampled[B] = 1000.5
        assert set(await world.news(A, B)) == {B}


async def test_services_that_nobody_asked_about_are_not_told() -> None:
    with asking() as world:
        world.client.sampled = {A: 999.0, B: 999.0}
        assert set(await world.news(A)) == {A}
        assert set(await world.news(A, B)) == {B}


async def test_a_slow_server_is_asked_less_often() -> None:
    with asking() as world:
        world.client.sampled = {A: 999.0}
        world.client.takes = lambda: setattr(world, "now", world.now + 1.0)
        assert set(await world.news(A)) == {A}
        world.client.sampled = {A: 1001.0}
        assert await world.news(A) == {}
        assert await world.news(A, seconds=2.4) == {}
        assert set(await world.news(A, seconds=0.1)) == {A}


async def test_an_answer_that_had_to_wait_is_not_taken_for_a_slow_server() -> None:
    with asking() as world:
        world.client.sampled = {A: 999.0}
        assert set(await world.news(A)) == {A}
        world.client.takes = lambda: setattr(world, "now", world.now + 1.0)
        world.client.sampled = {A: 1001.0}
        assert set(await world.news(A)) == {A}
        world.client.sampled = {A: 1003.0}
        assert set(await world.news(A)) == {A}


@pytest.mark.parametrize("error", [ConnectionRefusedError(), ValueError("<html>")])
async def test_a_server_that_fails_tells_nothing_and_is_left_alone_for_a_while(error: Exception) -> None:
    with asking() as world:
        world.client.sampled = {A: 999.0}
        world.client.error = error
        assert await world.news(A) == {}
        world.client.error = None
        assert await world.news(A) == {}
        assert len(world.client.queries) == 1
        assert set(await world.news(A, seconds=5.0)) == {A}
