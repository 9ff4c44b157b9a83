"""What the service tells about itself: metrics, the guide's endpoints with their keys, and the API's description."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from generation_service.adapters.clock import LoopClock
from generation_service.adapters.http.around import around
from generation_service.performance.activity import Activity
from generation_service.performance.metrics import Metrics
from service_world import WAIT, chat, samples, serving, steps

GUIDE = [
    "/api/performance/status",
    "/api/performance/resources",
    "/api/performance/load",
    "/api/monitoring/metrics",
    "/api/cache/status",
]


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
        "generation_service_shared_queue_length",
        "generation_service_pool_busy{pool=ai_api}",
        "generation_service_scrape_errors_total",
    ):
        assert found[series] == 0, series
    assert found["generation_service_pool_size{pool=ai_api}"] == 5
    assert 5e6 < found["process_resident_memory_bytes"] < 2e9
    assert found["process_cpu_seconds_total"] > 0


async def test_two_apps_in_one_process_count_apart() -> None:
    async with serving() as (first, _), serving() as (second, _):
        await first.post("/v1/workflows", json=steps("x"), headers=WAIT)
        name = "generation_service_requests_total{outcome=success}"
        assert (await samples(first))[name] == 1
        assert (await samples(second))[name] == 0


async def test_durations_land_in_their_buckets() -> None:
    async with serving(simulated_latency_milliseconds=110) as (client, _):
        await client.post("/v1/workflows", json=steps("x"), headers=WAIT)
        found = await samples(client)
    assert found["generation_service_request_duration_seconds_bucket{le=0.1}"] == 0
    assert found["generation_service_request_duration_seconds_bucket{le=5.0}"] == 1
    assert found["generation_service_request_duration_seconds_sum"] >= 0.11


@pytest.mark.parametrize("path", [*GUIDE, "/api/performance/trend", "/api/performance/optimizations"])
async def test_fresh_service_has_no_figures_instead_of_zeros(path: str) -> None:
    async with serving() as (client, _):
        response = await client.get(path)
        body = await response.json()
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
    if path == "/api/monitoring/metrics":
        assert body["metrics"]["success_rate"] is None
        assert body["metrics"]["workflow_execution_time"] is None
    if path == "/api/cache/status":
        assert body["statistics"]["hit_ratio"] is None


async def test_keys_of_the_guide_have_numbers_under_load() -> None:
    async with serving() as (client, _):
        for _ in range(4):
            await client.post("/v1/workflows", json=steps("x"), headers=WAIT)
            await client.post("/v1/chat/completions", json=chat("x"))
        metrics = (await (await client.get("/api/monitoring/metrics")).json())["metrics"]
        cache = (await (await client.get("/api/cache/status")).json())["statistics"]
        status = await (await client.get("/api/performance/status")).json()
        load = await (await client.get("/api/performance/load")).json()
    assert 0 < metrics["workflow_execution_time"] < 30
    assert metrics["success_rate"] == 1
    assert cache["hit_ratio"] == pytest.approx(6 / 8)
    assert cache["l1"]["hits"] == 6
    assert any("memory" in line for line in status["backends"]["stand_ins"])
    assert load["arrived_total"] == 5, "four workflows, and the one chat completion that no cache answered"


@pytest.mark.parametrize("minutes", ["0", "161", "x", ""])
async def test_trend_refuses_a_period_that_is_none(minutes: str) -> None:
    async with serving() as (client, _):
        response = await client.get("/api/performance/trend", params={"minutes": minutes})
        body = await response.json()
    assert response.status == 422
    assert body["errors"][0]["field"] == "minutes"


async def test_load_is_three_lines() -> None:
    async with serving() as (client, _):
        response = await client.get("/load")
        lines = (await response.text()).splitlines()
    assert response.content_type == "text/plain"
    assert len(lines) == 3


async def test_description_covers_every_endpoint_and_every_reference_resolves() -> None:
    async with serving(name="images") as (client, _):
        description = await (await client.get("/openapi.json")).json()
        routes = {
            (route.method.lower(), route.resource.canonical)
            for route in client.app.router.routes()
            if route.resource is not None and route.method not in {"HEAD", "*"}
        }
    assert description["openapi"].startswith("3.1")
    assert description["info"]["title"] == "images"
    described = {(method, path) for path, methods in description["paths"].items() for method in methods}
    assert described == routes
    references = set(_references(description))
    assert "#/components/schemas/Submission" in references
    for reference in references:
        found: Any = description
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    assert {"StepInputs.prompt", "StepInputs.map"} <= set(description["components"]["schemas"])


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return (
            [value["$ref"]] if "$ref" in value else [found for inner in value.values() for found in _references(inner)]
        )
    return [found for inner in value for found in _references(inner)] if isinstance(value, list) else []


async def test_unforeseen_error_is_500_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_request: web.Request) -> web.Response:
        raise RuntimeError("secret")

    app = web.Application()
    app.router.add_get("/broken", around(Metrics("test", Activity(LoopClock())))("/broken", broken))
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/broken")
        text = await response.text()
    assert response.status == 500
    assert response.content_type == "application/problem+json"
    assert "secret" not in text
    assert "secret" in caplog.text
