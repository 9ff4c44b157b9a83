"""The HTTP surface over a real loopback connection: answers, problems, metrics, hang-ups, shutting down."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from generation_service.adapters.simulated import SimulatedGenerator
from generation_service.app import ENGINE, create_app
from generation_service.domain.workflow import Prompt
from generation_service.engine.engine import Engine
from generation_service.settings import Settings

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serving(**values: Any) -> AsyncIterator[tuple[Client, Engine]]:
    app = create_app(Settings(**{"simulated_latency_milliseconds": 0, "simulated_latency_jitter_percent": 0} | values))
    # The test server cancels handlers of clients that hang up, as `__main__` does.
    async with TestClient(TestServer(app)) as client:
        yield client, app[ENGINE]


def steps(*prompts: str, **inputs: Any) -> dict[str, Any]:
    return {
        "steps": [
            {"id": f"step-{index}", "type": "generate", "inputs": {"prompt": prompt} | inputs}
            for index, prompt in enumerate(prompts)
        ]
    }


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def samples(client: Client) -> dict[str, float]:
    """All samples of /metrics by `name{label=value}`."""
    response = await client.get("/metrics")
    assert response.status == 200
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(await response.text())
        for sample in family.samples
    }


async def test_workflow_is_run_and_answered() -> None:
    async with serving() as (client, _):
        response = await client.post("/v1/workflows", json=steps("hello", "world", max_tokens=3))
        body = await response.json()
    assert response.status == 200
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert body["status"] == "succeeded"
    assert set(body) == {"id", "status", "steps", "queued_seconds", "duration_seconds"}
    assert [step["id"] for step in body["steps"]] == ["step-0", "step-1"]
    assert [step["output"]["tokens"] for step in body["steps"]] == [3, 3]
    assert len(body["steps"][0]["output"]["text"].split()) == 3


async def test_every_workflow_has_an_id_of_its_own() -> None:
    async with serving() as (client, _):
        ids = {(await (await client.post("/v1/workflows", json=steps("x"))).json())["id"] for _ in range(3)}
    assert len(ids) == 3


STEP = {"id": "a", "type": "generate", "inputs": {"prompt": "x"}}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b'{"steps": NaN}', 422, "steps"),
        (b'{"steps": "\\ud800"}', 400, None),
        (b"[" * 100_000, 400, None),
        (b"[]", 422, "(body)"),
        ({}, 422, "steps"),
        ({"steps": []}, 422, "steps"),
        ({"steps": [STEP] * 17}, 422, "steps"),
        ({"steps": {"a": 1}}, 422, "steps"),
        ({"steps": [STEP, STEP]}, 422, "steps[1].id"),
        ({"steps": [STEP | {"id": ""}]}, 422, "steps[0].id"),
        ({"steps": [STEP | {"id": "a b"}]}, 422, "steps[0].id"),
        ({"steps": [STEP | {"id": "x" * 64}]}, 422, "steps[0].id"),
        ({"steps": [STEP | {"type": "paint"}]}, 422, "steps[0].type"),
        ({"steps": [STEP | {"when": "now"}]}, 422, "steps[0].when"),
        ({"steps": [STEP | {"inputs": {}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": ""}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": 1}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": "x" * 100_001}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": "x", "max_tokens": 0}}]}, 422, "steps[0].inputs.max_tokens"),
        ({"steps": [STEP | {"inputs": {"prompt": "x", "max_tokens": "9"}}]}, 422, "steps[0].inputs.max_tokens"),
        ({"steps": [STEP | {"inputs": {"prompt": "x", "max_tokens": 1e9}}]}, 422, "steps[0].inputs.max_tokens"),
        ({"steps": [STEP], "deadline_seconds": 0}, 422, "deadline_seconds"),
        ({"steps": [STEP], "deadline_seconds": 1.5}, 422, "deadline_seconds"),
        ({"steps": [STEP], "priority": 1}, 422, "priority"),
        (b" " * (256 * 1024 + 1), 413, None),
    ],
)
async def test_bad_request_is_a_problem_that_names_the_field(body: Any, status: int, field: str | None) -> None:
    async with serving() as (client, _):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post("/v1/workflows", data=data)
        problem = await response.json()
        after = await samples(client)
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem["type"].startswith("urn:generation-service:problem:")
    assert problem["detail"]
    assert [entry["field"] for entry in problem.get("errors", [])] == ([field] if field else [])
    # The client's fault says nothing about how the service is doing.
    assert after["generation_service_requests_total{outcome=error}"] == 0
    assert after["generation_service_request_duration_seconds_count"] == 0


async def test_thousands_of_bad_fields_get_a_short_answer() -> None:
    async with serving() as (client, _):
        response = await client.post("/v1/workflows", json={f"field{index}": 1 for index in range(5000)})
        problem = await response.json()
    assert len(problem["errors"]) == 20
    assert problem["detail"].endswith("and 4981 more")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/v1/workflows", 405), ("DELETE", "/healthz", 405)]
)
async def test_wrong_path_or_method_is_a_problem_too(method: str, path: str, status: int) -> None:
    async with serving() as (client, _):
        response = await client.request(method, path)
        problem = await response.json()
    assert (response.status, problem["status"]) == (status, status)
    assert ("Allow" in response.headers) == (status == 405)


async def test_full_queue_is_429_with_retry_after_and_counts_as_error() -> None:
    async with serving(concurrent_workflows=1, queue_limit=1, simulated_latency_milliseconds=300) as (client, engine):
        accepted = [asyncio.create_task(client.post("/v1/workflows", json=steps("x"))) for _ in range(2)]
        await until(lambda: engine.queue_length == 1)
        full = await samples(client)
        rejected = await client.post("/v1/workflows", json=steps("x"))
        answers = [(await task).status for task in accepted]
        after = await samples(client)
    assert full["generation_service_queue_length"] == 1
    assert full["generation_service_requests_in_flight"] == 1
    assert rejected.status == 429
    assert int(rejected.headers["Retry-After"]) >= 1
    assert answers == [200, 200]
    assert after["generation_service_requests_total{outcome=error}"] == 1
    assert after["generation_service_requests_total{outcome=success}"] == 2
    assert after["generation_service_request_duration_seconds_count"] == 3
    assert after["generation_service_requests_in_flight"] == 0


async def test_deadline_is_504_and_the_service_limit_is_the_latest() -> None:
    async with serving(simulated_latency_milliseconds=60_000, workflow_deadline_seconds=1) as (client, engine):
        response = await client.post("/v1/workflows", json=steps("x") | {"deadline_seconds": 60})
        assert engine.in_flight == 0
        assert (await samples(client))["generation_service_requests_total{outcome=error}"] == 1
        assert response.status == 504
        assert "deadline of 1 s" in (await response.json())["detail"]


async def test_client_that_hangs_up_frees_its_slot_and_its_place() -> None:
    async with serving(concurrent_workflows=1, simulated_latency_milliseconds=60_000) as (client, engine):
        running = asyncio.create_task(client.post("/v1/workflows", json=steps("x")))
        await until(lambda: engine.in_flight == 1)
        queued = asyncio.create_task(client.post("/v1/workflows", json=steps("x")))
        await until(lambda: engine.queue_length == 1)
        queued.cancel()
        await until(lambda: engine.queue_length == 0)
        running.cancel()
        await until(lambda: engine.in_flight == 0)
        after = await samples(client)
    assert after["generation_service_requests_total{outcome=error}"] == 2


async def test_unforeseen_error_is_500_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_request: web.Request) -> web.Response:
        raise RuntimeError("secret")

    app = create_app(Settings())
    app.router.add_get("/broken", broken)
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/broken")
        text = await response.text()
    assert response.status == 500
    assert response.content_type == "application/problem+json"
    assert "secret" not in text
    assert "secret" in caplog.text


async def test_all_series_exist_before_the_first_request() -> None:
    async with serving(name="images") as (client, _):
        found = await samples(client)
    assert found["generation_service_info{service=images}"] == 1
    for series in (
        "generation_service_requests_total{outcome=success}",
        "generation_service_requests_total{outcome=error}",
        "generation_service_request_duration_seconds_count",
        "generation_service_request_duration_seconds_bucket{le=1.0}",
        "generation_service_queue_length",
        "generation_service_requests_in_flight",
    ):
        assert found[series] == 0, series
    assert 5e6 < found["process_resident_memory_bytes"] < 2e9
    assert found["process_cpu_seconds_total"] > 0


async def test_two_apps_in_one_process_count_apart() -> None:
    async with serving() as (first, _), serving() as (second, _):
        await first.post("/v1/workflows", json=steps("x"))
        name = "generation_service_requests_total{outcome=success}"
        assert (await samples(first))[name] == 1
        assert (await samples(second))[name] == 0


async def test_durations_land_in_their_buckets() -> None:
    async with serving(simulated_latency_milliseconds=110) as (client, _):
        await client.post("/v1/workflows", json=steps("x"))
        found = await samples(client)
    assert found["generation_service_request_duration_seconds_bucket{le=0.1}"] == 0
    assert found["generation_service_request_duration_seconds_bucket{le=5.0}"] == 1
    assert found["generation_service_request_duration_seconds_sum"] >= 0.11


async def test_retiring_replica_is_not_ready_serves_and_closes_connections() -> None:
    async with serving() as (client, engine):
        before = await client.get("/readyz")
        engine.retire()
        ready = await client.get("/readyz")
        health = await client.get("/healthz")
        work = await client.post("/v1/workflows", json=steps("x"))
    assert (before.status, before.headers.get("Connection")) == (200, None)
    assert (ready.status, ready.content_type) == (503, "application/problem+json")
    assert (health.status, work.status) == (200, 200)
    assert {answer.headers["Connection"] for answer in (ready, health, work)} == {"close"}


async def test_request_already_running_closes_its_connection_when_the_replica_retires() -> None:
    async with serving(simulated_latency_milliseconds=200) as (client, engine):
        task = asyncio.create_task(client.post("/v1/workflows", json=steps("x")))
        await until(lambda: engine.in_flight == 1)
        engine.retire()
        answer = await task
    assert (answer.status, answer.headers["Connection"]) == (200, "close")


async def test_draining_replica_refuses_with_retry_after_and_finishes_what_it_has() -> None:
    async with serving(simulated_latency_milliseconds=300) as (client, engine):
        accepted = asyncio.create_task(client.post("/v1/workflows", json=steps("x")))
        await until(lambda: engine.in_flight == 1)
        drain = asyncio.create_task(engine.drain(5))
        await asyncio.sleep(0)
        refused = await client.post("/v1/workflows", json=steps("x"))
        answer = await accepted
        assert await drain == 0
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert answer.status == 200


async def test_drain_out_of_time_still_answers() -> None:
    async with serving(simulated_latency_milliseconds=60_000) as (client, engine):
        accepted = asyncio.create_task(client.post("/v1/workflows", json=steps("x")))
        await until(lambda: engine.in_flight == 1)
        assert await engine.drain(0.05) == 1
        answer = await accepted
    assert answer.status == 503


async def test_body_that_never_comes_does_not_hold_a_slot() -> None:
    async with serving() as (client, engine), aiohttp.ClientSession() as session:

        async def endless() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(60)

        task = asyncio.create_task(session.post(client.make_url("/v1/workflows"), data=endless()))
        await asyncio.sleep(0.05)
        assert (engine.in_flight, engine.queue_length) == (0, 0)
        task.cancel()


class SleepRecorder:
    """A clock that only writes down how long somebody wanted to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_simulated_generator_is_repeatable_and_bounded() -> None:
    clock = SleepRecorder()
    generator = SimulatedGenerator(clock, latency_seconds=2, jitter_percent=10, tokens=8)
    answers = [await generator.generate(Prompt(f"prompt {index}", 100)) for index in range(50)]
    again = [await generator.generate(Prompt(f"prompt {index}", 100)) for index in range(50)]
    assert answers == again
    assert clock.slept[:50] == clock.slept[50:]
    assert all(1.8 <= seconds <= 2.2 for seconds in clock.slept)
    assert len(set(clock.slept)) == 50
    assert {answer.tokens for answer in answers} == {8}
    assert (await generator.generate(Prompt("short", 3))).tokens == 3
