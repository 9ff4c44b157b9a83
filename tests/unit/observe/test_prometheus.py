"""Reading Prometheus: batching and isolation with a fake client, and the real client against a loopback server."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiohttp import web

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe import prometheus
from generation_operator.observe.prometheus import Client, PrometheusSource
from generation_operator.observe.queries import queries
from generation_operator.observe.signals import Ask, Reading
from prometheus_queries import batch

A, B = Key("x", "a"), Key("y", "b")
ALL = len(batch(60, 60))  # queries of one batch
SIGNALS = [query for query in batch(60, 60) if isinstance(query, SignalName)]


def ask(key: Key = A, url: str | None = "http://one:9090", window: int = 60, age: int = 60) -> Ask:
    return Ask(key, url, window, age)


def answer(value: float, *keys: Key) -> list[dict[str, Any]]:
    return [
        {"metric": {"namespace": key.namespace, "service": key.name}, "value": [1_700_000_000, str(value)]}
        for key in keys
    ]


class FakeClient:
    """Answers every query with 2 for services A and B, unless it has been told to fail or to wait."""

    def __init__(self, *, error: Exception | None = None, until: threading.Event | None = None) -> None:
        self.queries: list[str] = []
        self.closed = False
        self.threads: set[str] = set()
        self.probed = threading.Event()
        self._error = error
        self._until = until

    def custom_query(self, query: str) -> object:
        self.queries.append(query)
        self.threads.add(threading.current_thread().name)
        if self._until is not None:
            self._until.wait(5)
        if self._error is not None:
            raise self._error
        if query == "vector(1)":
            self.probed.set()
        return answer(2, A, B)

    def close(self) -> None:
        self.closed = True


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def source(clients: dict[str, FakeClient], **settings: Any) -> Iterator[PrometheusSource]:
    made: list[str] = []

    def connect(url: str) -> Client:
        assert url not in made, "one client per server"
        made.append(url)
        return clients[url]

    reader = PrometheusSource(connect, **settings)
    try:
        yield reader
    finally:
        reader.close()


async def test_services_with_the_same_settings_share_one_batch_of_queries() -> None:
    client = FakeClient()
    with source({"http://one:9090": client}) as reader:
        readings = await reader.read([ask(A), ask(B), ask(Key("z", "unknown"))])
    assert sorted(client.queries) == sorted(batch(60, 60).values())
    expected = Reading(values=dict.fromkeys(SIGNALS, 2.0), age=2.0, reporting=2)
    assert readings == {A: expected, B: expected, Key("z", "unknown"): Reading()}


async def test_another_window_or_age_is_another_batch() -> None:
    client = FakeClient()
    with source({"http://one:9090": client}) as reader:
        await reader.read([ask(A), ask(B, window=120), ask(Key("z", "c"), age=30)])
    assert sorted(client.queries) == sorted(
        [*batch(60, 60).values(), *batch(120, 60).values(), *batch(60, 30).values()]
    )


async def test_queries_run_in_threads_of_their_own() -> None:
    client = FakeClient()
    with source({"http://one:9090": client}) as reader:
        await reader.read([ask()])
    assert all(name.startswith("prometheus") for name in client.threads)


async def test_nothing_is_asked_when_nobody_asks() -> None:
    with source({}) as reader:
        assert await reader.read([]) == {}


async def test_without_a_url_the_remedy_is_named() -> None:
    with source({}) as reader:
        reading = (await reader.read([ask(url=None)]))[A]
    assert reading == Reading(
        error="PrometheusUnreachable: no Prometheus is named; "
        "set spec.metrics.prometheusURL, or the operator's own Prometheus URL"
    )


async def test_one_failing_server_disturbs_no_other() -> None:
    bad, good = FakeClient(error=ConnectionRefusedError("secret detail")), FakeClient()
    with source({"http://bad": bad, "http://good": good}) as reader:
        readings = await reader.read([ask(A, "http://bad"), ask(B, "http://good")])
        again = await reader.read([ask(A, "http://bad")])
    assert (
        readings[A].error
        == again[A].error
        == (
            "PrometheusUnreachable: http://bad did not answer (ConnectionRefusedError); "
            "check spec.metrics.prometheusURL, or the operator's own Prometheus URL"
        )
    )
    assert len(bad.queries) == 2, "the first failure ends a batch, and a quick failure is tried again at the next read"
    assert readings[B].error is None


async def test_a_url_that_no_client_can_be_made_of_is_an_error_of_its_services_only() -> None:
    with source({"http://good": FakeClient()}) as reader:
        readings = await reader.read([ask(A, "http://other"), ask(B, "http://good")])
    assert (readings[A].error or "").startswith("PrometheusUnreachable: http://other is no URL of a server; ")
    assert readings[B].error is None


async def test_a_slow_server_delays_a_read_once_and_is_not_waited_for_until_it_answers() -> None:
    release = threading.Event()
    slow, good = FakeClient(until=release), FakeClient()
    # One second: long for a busy machine to ask a fake that answers at once, short to wait for one that does not.
    any_failure_is_slow = {"read_seconds": 1.0, "slow_seconds": -1.0}
    with source({"http://slow": slow, "http://good": good}, **any_failure_is_slow) as reader:
        asks = [ask(A, "http://slow"), ask(B, "http://good")]
        readings = await reader.read(asks)
        assert (readings[A].error or "").startswith("PrometheusUnreachable: http://slow did not answer in time; ")
        assert readings[B].error is None

        for _ in range(5):
            assert await reader.read(asks) == readings
            assert await reader.news(asks) == {}
        assert slow.queries.count("vector(1)") == 3, "no more probes than there are threads"
        assert len(good.queries) >= 6 * len(queries(60, 60))

        release.set()
        slow.probed.wait(10)
        # A read may come in the moment in which the answer is on its way out of its thread.
        assert None in [(await reader.read(asks))[A].error for _ in range(3)]


async def test_a_probe_that_fails_changes_nothing() -> None:
    dead = FakeClient(error=ConnectionRefusedError())
    with source({"http://dead": dead}, slow_seconds=-1.0) as reader:
        first = await reader.read([ask(A, "http://dead")])
        for _ in range(3):
            assert await reader.read([ask(A, "http://dead")]) == first
    assert dead.queries.count("vector(1)") > 0


async def test_a_thread_stops_asking_when_nobody_waits_any_more() -> None:
    release, clock = threading.Event(), Clock()
    slow = FakeClient(until=release)
    with source({"http://slow": slow}, read_seconds=0.05, clock=clock) as reader:
        await reader.read([ask(A, "http://slow")])
        clock.now += 1
        release.set()
        await asyncio.sleep(0.1)
        assert len(slow.queries) == 1


class SlowlyAnswering(FakeClient):
    """Takes some time for each answer."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def custom_query(self, query: str) -> object:
        time.sleep(self._seconds)
        return super().custom_query(query)


async def test_a_server_that_goes_on_answering_is_waited_for() -> None:
    client = SlowlyAnswering(0.04)
    with source({"http://one": client}, read_seconds=0.3, clock=time.monotonic) as reader:
        started = time.monotonic()
        readings = await reader.read([ask(A, "http://one")])
        assert time.monotonic() - started > 0.3
    assert readings[A].error is None
    assert readings[A].age == 2.0


async def test_a_server_that_goes_on_answering_is_not_waited_for_for_ever() -> None:
    client = SlowlyAnswering(0.1)
    with source({"http://one": client}, read_seconds=0.2, clock=time.monotonic) as reader:
        readings = await reader.read([ask(A, "http://one")])
        assert "did not answer in time" in str(readings[A].error)
        assert 4 <= len(client.queries) <= 9  # 0.8 s


async def test_a_server_that_nobody_names_any_more_is_let_go() -> None:
    one, two = FakeClient(), FakeClient()
    with source({"http://one": one, "http://two": two}) as reader:
        await reader.read([ask(A, "http://one"), ask(B, "http://two")])
        await reader.news([ask(B, "http://two")])
        assert (one.closed, two.closed) == (True, False)
    assert two.closed


async def test_a_password_in_the_url_is_not_repeated() -> None:
    url = "http://user:p%40ss@prom:9090/path?token=t"
    with source({url: FakeClient(error=OSError())}) as reader:
        error = (await reader.read([ask(url=url)]))[A].error or ""
    assert error.startswith("PrometheusUnreachable: http://prom:9090 did not answer")


# --- the real client against a server on the loopback interface ---------------------------------------------------

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, list[str]]]:
    """A Prometheus that answers as the handler does; yields its URL and the queries that it has got."""
    asked: list[str] = []

    async def query(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["query"])
        return await handler(request)

    app = web.Application()
    app.router.add_get("/api/v1/query", query)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}", asked
    finally:
        await runner.cleanup()


async def read_real(handler: Handler, **settings: Any) -> tuple[Reading, list[str]]:
    async with serving(handler) as (url, asked):
        reader = PrometheusSource(**settings)
        try:
            reading = (await reader.read([ask(url=f"{url}/")]))[A]
        finally:
            reader.close()
    assert url not in (reading.error or "").replace(f"PrometheusUnreachable: {url} ", "")
    return reading, asked


def vector(result: list[dict[str, Any]]) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


async def test_real_client_reads_all_queries() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return vector(answer(4, A))

    reading, asked = await read_real(handler)
    assert reading == Reading(dict.fromkeys(SIGNALS, 4.0), age=4.0, reporting=4)
    assert sorted(asked) == sorted(batch(60, 60).values())


async def test_real_client_takes_an_empty_answer_as_no_samples() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return vector([])

    assert (await read_real(handler))[0] == Reading()


async def test_real_client_tries_a_server_error_once_more() -> None:
    calls = 0

    async def handler(_: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        return web.Response(status=503, headers={"Retry-After": "30"}) if calls == 1 else vector(answer(1, A))

    reading, asked = await read_real(handler)
    assert reading.error is None
    assert len(asked) == ALL + 1


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 503])
async def test_real_client_reports_a_status_and_nothing_of_the_body(status: int) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="internal secret")

    reading, asked = await read_real(handler)
    assert f" answered with HTTP status {status}; " in (reading.error or "")
    assert "secret" not in (reading.error or "")
    assert len(asked) == (2 if status >= 500 else 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b"[]",
        b"null",
        b'{"status": "error", "error": "secret"}',
        b'{"data": {"result": "secret"}}',
        b'{"data": {"result": [{"metric": {}}]}}',
        b"\xff\xfe\x00",
    ],
)
async def test_real_client_survives_garbage(body: bytes) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    error = (await read_real(handler))[0].error or ""
    assert " sent what is no answer to a query; " in error
    assert "secret" not in error


async def test_real_client_reads_no_more_of_an_answer_than_it_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "ANSWER_BYTES", 100_000)
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        endless = web.StreamResponse()
        await endless.prepare(request)
        for _ in range(2_000):  # 131 MB for each query, if anybody takes them
            await endless.write(b" " * 65_536)
            sent += 65_536
        return endless

    reading, asked = await read_real(handler)
    assert (reading.error or "").startswith("PrometheusUnreachable: ")
    # What fits into the sockets' buffers is sent without being read.
    assert sent < len(asked) * 20_000_000


async def test_real_client_never_blocks_the_loop_and_gives_up_in_time() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.6)
        return vector([])

    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.005)

    counting = asyncio.create_task(count_turns())
    started = time.monotonic()
    reading, asked = await read_real(handler, read_seconds=0.2)
    counting.cancel()
    assert " did not answer in time; " in (reading.error or "")
    assert len(asked) == 1
    assert time.monotonic() - started < 5  # far above what it takes, far below eight slow queries with their retries
    assert turns > 5


async def test_real_client_names_a_server_that_is_not_there() -> None:
    async with serving(lambda _: asyncio.sleep(0, web.Response())) as (url, _):
        pass
    reader = PrometheusSource()
    try:
        error = (await reader.read([ask(url=url)]))[A].error or ""
    finally:
        reader.close()
    assert error.startswith(f"PrometheusUnreachable: {url} did not answer (ConnectionError); ")


@pytest.mark.parametrize("url", ["http://", "http://:9090", "http://[::1", "http://host:port", "http://host:99999"])
async def test_real_client_is_not_made_of_nonsense(url: str) -> None:
    reader = PrometheusSource()
    assert " is no URL of a server; " in ((await reader.read([ask(url=url)]))[A].error or "")
    reader.close()


async def test_a_resources_own_queries_are_asked_beside_the_shared_ones() -> None:
    client = FakeClient()
    own = {SignalName.QUEUE_LENGTH: "sum(vllm:num_requests_waiting)"}
    with source({"http://one:9090": client}) as reader:
        readings = await reader.read([Ask(A, "http://one:9090", 60, 60, queries=own), ask(B)])
    assert client.queries.count("sum(vllm:num_requests_waiting)") == 1
    assert (readings[A].own.error or "").startswith(
        "QueryFailed: spec.metrics.queries[QueueLength] gives several series"
    )
    assert readings[A].values == readings[B].values
    assert readings[B].own.error is None


async def test_shares_over_long_windows_are_not_asked_for_with_every_read() -> None:
    clock, client = Clock(), FakeClient()
    with source({"http://one:9090": client}, clock=clock) as reader:
        first = await reader.read([ask(A)])
        asked = len(client.queries)
        clock.now += 5
        assert await reader.read([ask(A)]) == first
    assert sorted(client.queries[asked:]) == sorted(queries(60, 60).values())
