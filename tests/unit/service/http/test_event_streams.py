"""Server-sent events of a workflow: complete, numbered, resumable, and ended by the replica that must go."""

import asyncio
import json
from typing import Any

import aiohttp

from service_world import serving, steps, until


def parsed(text: str) -> list[dict[str, Any]]:
    """The events of a stream; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append(fields | {"data": json.loads(fields["data"])})
    return found


async def test_stream_tells_everything_from_the_queue_to_the_end() -> None:
    async with serving(simulated_latency_milliseconds=50) as (client, _):
        workflow = await (await client.post("/v1/workflows", json=steps("a", "b"))).json()
        response = await client.get(f"/v1/workflows/{workflow['id']}/events")
        events = parsed(await response.text())
    assert response.content_type == "text/event-stream"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "no-cache" in response.headers["Cache-Control"]
    assert [event["event"] for event in events] == [
        "workflow.queued",
        "workflow.running",
        *["step.running", "step.succeeded"] * 2,
        "workflow.succeeded",
    ]
    assert [int(event["id"]) for event in events] == list(range(1, 8))
    assert [event["data"].get("step") for event in events[2:4]] == ["step-0", "step-0"]


async def test_stream_goes_on_after_the_last_event_that_was_seen() -> None:
    async with serving() as (client, engine):
        workflow = await (await client.post("/v1/workflows", json=steps("a"))).json()
        await until(lambda: engine.admission.in_flight == 0)
        path = f"/v1/workflows/{workflow['id']}/events"
        whole = parsed(await (await client.get(path)).text())
        rest = parsed(await (await client.get(path, headers={"Last-Event-ID": "3"})).text())
        nothing = parsed(await (await client.get(path, headers={"Last-Event-ID": "5"})).text())
        bad = await client.get(path, headers={"Last-Event-ID": "five"})
    assert [event["id"] for event in whole] == ["1", "2", "3", "4", "5"]
    assert rest == whole[3:]
    assert nothing == []
    assert bad.status == 422


async def test_events_come_while_they_happen() -> None:
    async with serving(simulated_latency_milliseconds=300) as (client, engine):
        workflow = await (await client.post("/v1/workflows", json=steps("a"))).json()
        response = await client.get(f"/v1/workflows/{workflow['id']}/events")
        seen = b""
        while b"step.running" not in seen:
            seen += await response.content.readany()
        assert engine.admission.in_flight == 1
        rest = await response.text()
    assert "workflow.succeeded" in rest


async def test_replica_that_goes_ends_its_streams_with_an_event_that_says_resume() -> None:
    async with serving(simulated_latency_milliseconds=60_000) as (client, engine):
        workflow = await (await client.post("/v1/workflows", json=steps("a"))).json()
        await until(lambda: engine.admission.in_flight == 1)
        response = await client.get(f"/v1/workflows/{workflow['id']}/events")
        reading = asyncio.create_task(response.text())
        await engine.drain(0.1)
        events = parsed(await reading)
    assert events[-1]["event"] == "resume"


async def test_reader_that_leaves_is_forgotten() -> None:
    async with serving(simulated_latency_milliseconds=60_000) as (client, engine), aiohttp.ClientSession() as session:
        workflow = await (await client.post("/v1/workflows", json=steps("a"))).json()
        response = await session.get(client.make_url(f"/v1/workflows/{workflow['id']}/events"))
        await response.content.readany()
        assert engine.notices.waiting == 1
        response.close()
        await until(lambda: engine.notices.waiting == 0)
