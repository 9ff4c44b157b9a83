"""Workflows over HTTP: answers, problems, idempotency, lists, cancel, retry, shutting down."""

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from generation_service.adapters.http.wire import BODY_LIMIT_BYTES, WorkflowView
from service_world import WAIT, samples, serving, steps, until

STEP = {"id": "a", "type": "generate", "inputs": {"prompt": "x"}}


async def test_submission_is_accepted_and_can_be_read_at_its_location() -> None:
    async with serving(simulated_latency_milliseconds=100) as (client, _):
        response = await client.post("/v1/workflows", json=steps("hello", "world", max_tokens=3))
        accepted = await response.json()
        location = response.headers["Location"]
        read = await client.get(location, headers=WAIT)
        body = await read.json()
    assert (response.status, accepted["status"]) in {(202, "queued"), (202, "running")}
    assert location == f"/v1/workflows/{accepted['id']}"
    assert (read.status, body["status"], read.headers["Cache-Control"]) == (200, "succeeded", "no-store")
    assert read.headers["X-Generator"] == "built-in", "a stand-in never passes for a model"
    WorkflowView.model_validate(body)
    assert [step["id"] for step in body["steps"]] == ["step-0", "step-1"]
    assert [step["output"]["tokens"] for step in body["steps"]] == [3, 3]
    assert body["duration_seconds"] >= 0.2


async def test_caller_who_prefers_to_wait_gets_the_result_in_place() -> None:
    async with serving() as (client, _):
        response = await client.post("/v1/workflows", json=steps("hello"), headers=WAIT)
        body = await response.json()
    assert (response.status, body["status"]) == (200, "succeeded")
    assert response.headers["Preference-Applied"] == "wait=60"


async def test_wait_that_is_over_answers_202() -> None:
    async with serving(simulated_latency_milliseconds=60_000) as (client, _):
        response = await client.post("/v1/workflows", json=steps("x"), headers={"Prefer": "respond-async, wait=1"})
        assert response.status == 202
        assert (await response.json())["status"] == "running"


async def test_graph_with_all_kinds_of_steps() -> None:
    graph = {
        "steps": [
            {"id": "lines", "type": "python", "inputs": {"function": "split_lines", "arguments": {"text": "a\nb"}}},
            {
                "id": "each",
                "type": "map",
                "depends_on": ["lines"],
                "inputs": {
                    "items_from": "lines.items",
                    "step": {"type": "generate", "inputs": {"template": "About {{ item }}", "max_tokens": 2}},
                },
            },
            {"id": "all", "type": "merge", "depends_on": ["each"], "inputs": {"steps": ["each"], "separator": "|"}},
            {
                "id": "last",
                "type": "prompt",
                "depends_on": ["all"],
                "inputs": {"template": "{{ steps.all.output.text | upper }}"},
            },
        ]
    }
    async with serving() as (client, _):
        body = await (await client.post("/v1/workflows", json=graph, headers=WAIT)).json()
    assert body["status"] == "succeeded", body
    outputs = {step["id"]: step["output"] for step in body["steps"]}
    assert outputs["lines"] == {"items": ["a", "b"]}
    first, second = (item["text"] for item in outputs["each"]["items"])
    assert outputs["last"] == {"text": f"{first}|{second}".upper()}


async def test_beyond_the_limit_of_followers_waits_are_not_granted() -> None:
    async with serving(simulated_latency_milliseconds=60_000, follower_limit=1) as (client, engine):
        first = asyncio.create_task(client.post("/v1/workflows", json=steps("x"), headers=WAIT))
        await until(lambda: engine.notices.waiting == 1)
        second = await client.post("/v1/workflows", json=steps("x"), headers=WAIT)
        body = await second.json()
        read = await client.get(second.headers["Location"], headers=WAIT)
        followed = await client.get(f"/v1/workflows/{body['id']}/events")
        first.cancel()
    assert (second.status, read.status) == (202, 200)
    assert (followed.status, followed.headers["Retry-After"]) == (503, "5")


async def test_every_workflow_has_an_id_of_its_own() -> None:
    async with serving() as (client, _):
        ids = {(await (await client.post("/v1/workflows", json=steps("x"))).json())["id"] for _ in range(3)}
    assert len(ids) == 3


def deep(levels: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return {"steps": [{"id": "a", "type": "map", "inputs": {"items": value, "step": {"type": "prompt"}}}]}


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
        ({"steps": [STEP] * 65}, 422, "steps"),
        ({"steps": {"a": 1}}, 422, "steps"),
        ({"steps": [STEP, STEP]}, 422, "steps[1].id"),
        ({"steps": [STEP | {"id": ""}]}, 422, "steps[0].id"),
        ({"steps": [STEP | {"id": "a b"}]}, 422, "steps[0].id"),
        ({"steps": [STEP | {"id": "x" * 64}]}, 422, "steps[0].id"),
        ({"steps": [STEP | {"type": "paint"}]}, 422, "steps[0].type"),
        ({"steps": [STEP | {"when": "now"}]}, 422, "steps[0].when"),
        ({"steps": [STEP | {"depends_on": ["b"]}]}, 422, "steps[0].depends_on[0]"),
        ({"steps": [STEP | {"depends_on": ["a"]}]}, 422, "steps[0].depends_on"),
        ({"steps": [STEP | {"inputs": {}}]}, 422, "steps[0].inputs"),
        ({"steps": [STEP | {"inputs": {"prompt": ""}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": 1}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": "a\x00b"}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": "x" * 100_001}}]}, 422, "steps[0].inputs.prompt"),
        ({"steps": [STEP | {"inputs": {"prompt": "x", "max_tokens": 0}}]}, 422, "steps[0].inputs.max_tokens"),
        ({"steps": [STEP | {"inputs": {"prompt": "x", "max_tokens": "9"}}]}, 422, "steps[0].inputs.max_tokens"),
        ({"steps": [STEP | {"inputs": {"prompt": "x", "max_tokens": 1e9}}]}, 422, "steps[0].inputs.max_tokens"),
        ({"steps": [STEP], "deadline_seconds": 0}, 422, "deadline_seconds"),
        ({"steps": [STEP], "deadline_seconds": 1.5}, 422, "deadline_seconds"),
        ({"steps": [STEP], "priority": 1}, 422, "priority"),
        (deep(40), 422, "steps[0].inputs"),
        (b" " * (BODY_LIMIT_BYTES + 1), 413, None),
    ],
)
async def test_bad_request_is_a_problem_that_names_the_field(body: Any, status: int, field: str | None) -> None:
    async with serving() as (client, _):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post("/v1/workflows", data=io.BytesIO(data))
        problem = await response.json()
        after = await samples(client)
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem["type"].startswith("urn:generation-service:problem:")
    assert problem["detail"]
    assert [entry["field"] for entry in problem.get("errors", [])] == ([field] if field else [])
    # The client's fault says nothing about how the service is doing.
    assert after["generation_service_requests_total{outcome=error}"] == 0
    assert after["generation_service_workflows_arrived_total"] == 0


async def test_thousands_of_bad_fields_get_a_short_answer() -> None:
    async with serving() as (client, _):
        response = await client.post("/v1/workflows", json={f"field{index}": 1 for index in range(5000)})
        problem = await response.json()
    assert len(problem["errors"]) == 20
    assert problem["detail"].endswith("and 4981 more")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/workflows", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/v1/workflows/not-an-id", 404),
        ("GET", f"/v1/workflows/{uuid.uuid4()}", 404),
        ("GET", f"/v1/workflows/{uuid.uuid4()}/events", 404),
        ("POST", f"/v1/workflows/{uuid.uuid4()}/cancel", 404),
        ("POST", f"/v1/workflows/{uuid.uuid4()}/retry", 404),
        ("GET", "/v1/workflows?status=lost", 422),
        ("GET", "/v1/workflows?limit=0", 422),
        ("GET", "/v1/workflows?limit=%FF", 422),
        ("GET", "/v1/workflows?cursor=nonsense", 422),
    ],
)
async def test_wrong_path_method_or_query_is_a_problem_too(method: str, path: str, status: int) -> None:
    async with serving() as (client, _):
        response = await client.request(method, path)
        problem = await response.json()
    assert (response.status, problem["status"]) == (status, status)
    assert ("Allow" in response.headers) == (status == 405)


async def test_idempotency_key_replays_refuses_other_payloads_and_says_still_running() -> None:
    async with serving(simulated_latency_milliseconds=200) as (client, _):
        headers = {"Idempotency-Key": '"abc"'}
        first = await client.post("/v1/workflows", json=steps("x"), headers=headers)
        workflow_id = (await first.json())["id"]
        running = await client.post("/v1/workflows", json=steps("x"), headers=headers)
        other = await client.post("/v1/workflows", json=steps("y"), headers=headers)
        result = await (await client.get(f"/v1/workflows/{workflow_id}", headers=WAIT)).json()
        replayed = await client.post("/v1/workflows", json=steps("x"), headers=headers | WAIT)
        again = await replayed.json()
        bad = await client.post("/v1/workflows", json=steps("x"), headers={"Idempotency-Key": "a b"})
        after = await samples(client)
    assert (running.status, running.headers["Location"]) == (409, f"/v1/workflows/{workflow_id}")
    assert other.status == 422
    assert (replayed.status, again) == (200, result)
    assert bad.status == 422
    assert after["generation_service_workflows_total{status=succeeded}"] == 1


async def test_list_is_newest_first_and_goes_on_at_its_cursor() -> None:
    async with serving() as (client, _):
        answers = [await client.post("/v1/workflows", json=steps("x"), headers=WAIT) for _ in range(5)]
        ids = [(await answer.json())["id"] for answer in answers]
        first = await (await client.get("/v1/workflows", params={"limit": 3, "status": "succeeded"})).json()
        rest = await (await client.get("/v1/workflows", params={"cursor": first["cursor"]})).json()
        failed = await (await client.get("/v1/workflows", params={"status": "failed"})).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert (rest["cursor"], failed["items"]) == (None, [])


async def test_cancel_stops_a_running_workflow_and_retry_runs_it_again() -> None:
    async with serving(simulated_latency_milliseconds=60_000) as (client, engine):
        body = await (await client.post("/v1/workflows", json=steps("x"))).json()
        path = f"/v1/workflows/{body['id']}"
        await until(lambda: engine.admission.in_flight == 1)
        cancelled = await client.post(f"{path}/cancel")
        ended = await (await client.get(path, headers=WAIT)).json()
        again = await client.post(f"{path}/cancel")
        retried = await client.post(f"{path}/retry")
        await until(lambda: engine.admission.in_flight == 1)
        refused = await client.post(f"{path}/retry")
    assert (cancelled.status, ended["status"], ended["error"]["kind"]) == (202, "cancelled", "cancelled")
    assert again.status == 200
    assert (retried.status, refused.status) == (202, 409)


async def test_full_queue_is_429_with_retry_after_and_counts_as_error() -> None:
    async with serving(concurrent_workflows=1, queue_limit=1, simulated_latency_milliseconds=300) as (client, engine):
        accepted = [asyncio.create_task(client.post("/v1/workflows", json=steps("x"), headers=WAIT)) for _ in range(2)]
        await until(lambda: engine.admission.queue_length == 1)
        full = await samples(client)
        rejected = await client.post("/v1/workflows", json=steps("x"))
        load = await (await client.get("/load")).text()
        answers = [(await task).status for task in accepted]
        after = await samples(client)
    assert full["generation_service_queue_length"] == 1
    assert full["generation_service_requests_in_flight"] == 1
    assert [line.rpartition(" ")[2] for line in load.splitlines()] == ["1", "1", "3"], "answered under overload too"
    assert rejected.status == 429
    assert int(rejected.headers["Retry-After"]) >= 1
    assert answers == [200, 200]
    assert after["generation_service_requests_total{outcome=error}"] == 1
    assert after["generation_service_requests_total{outcome=success}"] == 2
    assert after["generation_service_request_duration_seconds_count"] == 2, "a rejection took no time"
    assert after["generation_service_requests_in_flight"] == 0


async def test_deadline_is_504_and_the_service_limit_is_the_latest() -> None:
    async with serving(simulated_latency_milliseconds=60_000, workflow_deadline_seconds=1) as (client, engine):
        response = await client.post("/v1/workflows", json=steps("x") | {"deadline_seconds": 60}, headers=WAIT)
        assert engine.admission.in_flight == 0
        assert (await samples(client))["generation_service_requests_total{outcome=error}"] == 1
        assert response.status == 504
        assert "deadline of 1 s" in (await response.json())["detail"]


async def test_client_that_hangs_up_while_waiting_leaves_its_workflow_running() -> None:
    async with serving(simulated_latency_milliseconds=200) as (client, engine):
        waiting = asyncio.create_task(client.post("/v1/workflows", json=steps("x"), headers=WAIT))
        await until(lambda: engine.admission.in_flight == 1)
        waiting.cancel()
        await until(lambda: engine.admission.in_flight == 0)
        listed = await (await client.get("/v1/workflows")).json()
    assert [item["status"] for item in listed["items"]] == ["succeeded"]


async def test_retiring_replica_is_not_ready_serves_and_closes_connections() -> None:
    async with serving() as (client, engine):
        before = await client.get("/readyz")
        engine.retire()
        ready = await client.get("/readyz")
        health = await client.get("/healthz")
        work = await client.post("/v1/workflows", json=steps("x"), headers=WAIT)
    assert (before.status, before.headers.get("Connection")) == (200, None)
    assert (ready.status, ready.content_type) == (503, "application/problem+json")
    assert (health.status, work.status) == (200, 200)
    assert {answer.headers["Connection"] for answer in (ready, health, work)} == {"close"}


async def test_draining_replica_refuses_with_retry_after_and_finishes_what_it_has() -> None:
    async with serving(simulated_latency_milliseconds=300) as (client, engine):
        accepted = asyncio.create_task(client.post("/v1/workflows", json=steps("x"), headers=WAIT))
        await until(lambda: engine.admission.in_flight == 1)
        drain = asyncio.create_task(engine.drain(5))
        await asyncio.sleep(0)
        refused = await client.post("/v1/workflows", json=steps("x"))
        answer = await accepted
        assert await drain == 0
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert answer.status == 200


async def test_drain_out_of_time_still_answers() -> None:
    async with serving(simulated_latency_milliseconds=60_000) as (client, engine):
        accepted = asyncio.create_task(client.post("/v1/workflows", json=steps("x"), headers=WAIT))
        await until(lambda: engine.admission.in_flight == 1)
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
        assert (engine.admission.in_flight, engine.admission.queue_length) == (0, 0)
        task.cancel()
