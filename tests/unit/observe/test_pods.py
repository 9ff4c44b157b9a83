"""Which pods are asked when, what becomes of those that do not answer, and the real probe on loopback."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web

from generation_operator.api.resource import Key
from generation_operator.observe.pod_index import PodIndex
from generation_operator.observe.pods import MOST_PODS, HttpProbe, PodLoads, Target

A, B = Key("x", "a"), Key("x", "b")


def pod(
    number: int, service: Key = A, *, ready: bool = True, component: str = "service", **metadata: Any
) -> dict[str, Any]:
    name = f"{service.name}-{number}"
    labels = {"app.kubernetes.io/instance": service.name, "app.kubernetes.io/component": component}
    return {
        "metadata": {"name": name, "namespace": service.namespace, "uid": name, "labels": labels} | metadata,
        "status": {
            "podIP": f"10.0.{0 if service == A else 1}.{number}",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


class FakePods:
    """A `Probe`: every pod works on one workflow and has had ten, unless it is dead."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.dead: set[str] = set()
        self.endless: set[str] = set()
        self.given_up: list[str] = []

    async def ask(self, url: str) -> bytes | None:
        host = url.removeprefix("http://").partition(":")[0]
        self.asked.append(host)
        if host in self.endless:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up.append(host)
        if host in self.dead:
            return None
        return (
            b"generation_service_load_in_flight 1\ngeneration_service_load_queued 0\n"
            b"generation_service_load_arrived_total 10\n"
        )


class World:
    def __init__(self, *pods: Mapping[str, Any], most: int = 100) -> None:
        self.probe, self.index, self.now = FakePods(), PodIndex(), 100.0
        for manifest in pods:
            self.index.put(manifest)
        self.loads = PodLoads(self.probe, self.index, requests_per_round=most, clock=lambda: self.now)

    async def round(self, *keys: Key) -> dict[Key, tuple[float, int, int]]:
        self.now += 2
        self.probe.asked.clear()
        loads = await self.loads.sample([Target(key, 8000) for key in keys])
        return {key: (load.in_flight, load.expected, load.answered) for key, load in loads.items()}


async def test_every_ready_pod_of_a_small_service_is_asked() -> None:
    world = World(
        pod(1), pod(2), pod(3, ready=False), pod(4, deletionTimestamp="now"), pod(1, B), pod(5, component="proxy")
    )
    assert await world.round(A, B) == {A: (2.0, 2, 2), B: (1.0, 1, 1)}
    assert sorted(world.probe.asked) == ["10.0.0.1", "10.0.0.2", "10.0.1.1"]


async def test_a_service_without_ready_pods_has_no_load() -> None:
    assert await World(pod(1, ready=False)).round(A, B) == {}


async def test_of_many_pods_some_are_asked_and_all_in_time() -> None:
    world = World(*(pod(number) for number in range(40)))
    seen: set[str] = set()
    for _ in range(20):
        assert await world.round(A) == {A: (40.0, MOST_PODS, MOST_PODS)}
        assert len(set(world.probe.asked)) == MOST_PODS
        seen |= set(world.probe.asked)
    assert len(seen) == 40


async def test_services_that_found_no_room_are_first_in_the_next_round() -> None:
    world = World(*(pod(number) for number in range(10)), *(pod(number, B) for number in range(10)), most=16)
    assert set(await world.round(A, B)) == {A}
    assert set(await world.round(A, B)) == {B}
    assert set(await world.round(A, B)) == {A}


async def test_a_pod_that_does_not_answer_lowers_coverage_and_is_left_alone_for_a_while() -> None:
    world = World(pod(1), pod(2))
    world.probe.dead = {"10.0.0.2"}
    for _ in range(3):
        assert await world.round(A) == {A: (2.0, 2, 1)}
        assert sorted(world.probe.asked) == ["10.0.0.1", "10.0.0.2"]
    assert await world.round(A) == {A: (2.0, 2, 1)}
    assert world.probe.asked == ["10.0.0.1"]
    world.now += 30
    world.probe.dead.clear()
    assert await world.round(A) == {A: (2.0, 2, 1)}, "this round has not waited for the try"
    assert sorted(world.probe.asked) == ["10.0.0.1", "10.0.0.2"]
    assert await world.round(A) == {A: (2.0, 2, 2)}


async def test_pods_that_cannot_be_reached_cost_nothing_after_a_few_rounds() -> None:
    world = World(pod(1))
    world.probe.dead = {"10.0.0.1"}
    for _ in range(3):
        assert await world.round(A) == {A: (0.0, 1, 0)}
    assert await world.round(A) == {}
    assert world.probe.asked == []


async def test_pods_that_keep_silent_take_no_turn_from_those_that_answer() -> None:
    silent = [Key("x", f"silent{number:02}") for number in range(40)]
    world = World(pod(1), *(pod(number, key) for number, key in enumerate(silent)), most=16)
    world.probe.dead = {f"10.0.1.{number}" for number in range(40)}
    for _ in range(10):  # three times 41 requests, 16 in a round
        await world.round(A, *silent)
    tries: list[str] = []
    for _ in range(40):  # 80 s, in which each is due twice
        assert await world.round(A, *silent) == {A: (1.0, 1, 1)}
        asked = [host for host in world.probe.asked if host in world.probe.dead]
        assert len(asked) <= 4
        tries += asked
    assert set(tries) == world.probe.dead, "nobody is left for ever"
    assert max(tries.count(host) for host in tries) <= 3


async def test_a_round_does_not_wait_for_a_pod_that_keeps_silent() -> None:
    world = World(pod(1), pod(2))
    world.probe.dead = {"10.0.0.2"}
    for _ in range(3):
        await world.round(A)
    world.now += 30
    world.probe.endless = {"10.0.0.2"}
    for _ in range(2):
        assert await world.round(A) == {A: (2.0, 2, 1)}
    await world.loads.close()
    assert world.probe.given_up == ["10.0.0.2"], "one try at a time, which the end takes back"


async def test_a_pod_with_an_ipv6_address_is_asked_at_it() -> None:
    urls: list[str] = []

    class Probe:
        async def ask(self, url: str) -> bytes | None:
            urls.append(url)
            return None

    index = PodIndex()
    index.put(pod(1) | {"status": {"podIP": "fd00::7", "conditions": [{"type": "Ready", "status": "True"}]}})
    await PodLoads(Probe(), index, requests_per_round=16, clock=lambda: 0.0).sample([Target(A, 9000)])
    assert urls == ["http://[fd00::7]:9000/load"]


def test_what_is_gone_is_forgotten() -> None:
    index = PodIndex()
    index.put(pod(1))
    index.put(pod(2))
    index.remove(pod(1))
    index.remove(pod(9, B))
    assert [entry.uid for entry in index.ready(A)] == ["a-2"]
    found = PodIndex()
    found.put(pod(3))
    index.replace(found)
    assert [entry.uid for entry in index.ready(A)] == ["a-3"]
    index.remove(pod(3))
    assert list(index.ready(A)) == []


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b"x" * 1000)
    return response


async def load(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"generation_service_load_in_flight 1\n")


async def broken(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def elsewhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/")


@pytest.mark.parametrize(
    ("handler", "answer"), [(load, b"generation_service_load_in_flight 1\n"), (broken, None), (elsewhere, None)]
)
async def test_the_probe_gives_the_body_of_a_good_answer_only(handler: Handler, answer: bytes | None) -> None:
    assert await _probed(handler) == answer


async def test_the_probe_reads_no_more_than_an_answer_can_have() -> None:
    body = await _probed(endless)
    assert body is not None
    assert 0 < len(body) <= 4096


async def test_the_probe_takes_a_refused_connection_for_no_answer() -> None:
    probe = HttpProbe(connections=2)
    try:
        assert await probe.ask("http://127.0.0.1:1/load") is None
        assert await probe.ask("http://not an address/") is None
    finally:
        await probe.close()


async def test_a_pod_that_answers_does_not_wait_behind_those_that_keep_silent() -> None:
    taken: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(
        lambda _, writer: taken.append(writer), ["127.0.1.1", "127.0.1.2", "127.0.1.3"], 0
    )
    urls = ["http://{}:{}/load".format(*listener.getsockname()) for listener in silent.sockets]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_get("/load", answer)
    runner, probe = web.AppRunner(app), HttpProbe(connections=4)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        urls.append("http://{}:{}/load".format(*runner.addresses[0]))
        asked = [asyncio.create_task(probe.ask(url)) for url in urls]
        first, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert first == {asked[-1]}, "it has not waited until others gave up"
        assert await asyncio.gather(*asked) == [None, None, None, b"{}"]
        assert len(taken) == 3
    finally:
        await probe.close()
        await runner.cleanup()
        for writer in taken:
            writer.close()
        silent.close()


async def _probed(handler: Handler) -> bytes | None:
    app = web.Application()
    app.router.add_get("/load", handler)
    runner, probe = web.AppRunner(app), HttpProbe(connections=2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return await probe.ask(f"http://{host}:{port}/load")
    finally:
        await probe.close()
        await runner.cleanup()
