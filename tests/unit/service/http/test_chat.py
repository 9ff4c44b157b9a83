"""Chat completions over HTTP: the OpenAI format, where answers come from, streams that stop with their reader."""

import asyncio
import json
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11

from generation_service.adapters.http import whole
from service_world import chat, samples, serving, until


def data_lines(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


async def test_answer_has_the_openai_shape_and_says_who_answered() -> None:
    async with serving() as (client, _):
        response = await client.post("/v1/chat/completions", json=chat("hello", max_tokens=3))
        body = await response.json()
    assert response.status == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["usage"]["completion_tokens"] == 3
    assert response.headers["X-Generator"] == "built-in"


async def test_header_says_where_the_answer_came_from() -> None:
    async with serving() as (client, _):

        async def ask(**headers: str) -> tuple[str, str]:
            response = await client.post("/v1/chat/completions", json=chat("hello"), headers=headers)
            return response.headers["X-Cache"], await response.text()

        first = await ask()
        hit = await ask()
        refresh = await ask(**{"Cache-Control": "no-cache"})
        bypass = await ask(**{"Cache-Control": "no-store"})
        after = await samples(client)
    assert (first[0], hit[0], refresh[0], bypass[0]) == ("MISS", "HIT-L1", "MISS", "BYPASS")
    assert first[1] == hit[1]
    assert after["generation_service_cache_responses_total{status=HIT-L1}"] == 1
    assert after["generation_service_cached_response_seconds_count{level=l1}"] == 1
    assert after["generation_service_workflows_arrived_total"] == 3, "a cached answer is no work"
    assert after["generation_service_requests_total{outcome=success}"] == 3


async def test_answer_is_the_same_over_every_kind_of_connection() -> None:
    """Those in one piece, with the head that we write, and those that aiohttp composes."""
    async with serving() as (client, _):
        url, body = str(client.make_url("/v1/chat/completions")), json.dumps(chat("hello"))

        async def ask(version: HttpVersion, *headers: str) -> tuple[dict[str, str], str]:
            target = urlsplit(url)
            reader, writer = await asyncio.open_connection(target.hostname, target.port)
            lines = [f"POST {target.path} HTTP/{version.major}.{version.minor}", f"Host: {target.netloc}", *headers]
            writer.write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            found = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
            text = (await reader.readexactly(int(found["Content-Length"]))).decode()
            writer.close()
            assert parsedate_to_datetime(found.pop("Date"))
            return {"status": head.split(" ")[1]} | found, text

        await ask(HttpVersion11)
        kept = await ask(HttpVersion11)
        closed = await ask(HttpVersion11, "Connection: close")
        old = await ask(HttpVersion10)
    assert kept[0]["X-Cache"] == "HIT-L1"
    assert "Connection" not in kept[0]
    assert closed[0].pop("Connection") == "close"
    assert kept == closed == old


async def test_pipelined_requests_are_answered_in_order_whatever_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "LARGEST_BODY", 500)
    async with serving() as (client, _):
        target = urlsplit(str(client.make_url("/v1/chat/completions")))
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        sizes = [3, 60, 5, 60, 3, 7]  # the second of a size comes from the cache
        for size in sizes:
            body = json.dumps(chat("hello", max_tokens=size))
            writer.write(
                f"POST {target.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
        tokens = []
        for _ in sizes:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(next(line for line in head.splitlines() if line.startswith("Content-Length")).split(": ")[1])
            tokens.append(json.loads(await reader.readexactly(length))["usage"]["completion_tokens"])
        writer.close()
    assert tokens == sizes


async def test_requests_that_mean_the_same_share_an_answer_and_others_do_not() -> None:
    async with serving() as (client, _):

        async def ask(body: dict[str, Any]) -> str:
            return (await client.post("/v1/chat/completions", json=body)).headers["X-Cache"]

        assert await ask(chat("x", max_tokens=5, user="a")) == "MISS"
        assert await ask({"user": "b", "max_tokens": 5} | chat("x")) == "HIT-L1"
        assert await ask(chat("x", max_tokens=6)) == "MISS"
        assert await ask(chat("x", max_tokens=5, temperature=0.5)) == "MISS"
        assert await ask(chat("x", max_tokens=5, model="other")) == "MISS"


async def test_stream_ends_with_done_and_is_replayed_from_the_cache() -> None:
    async with serving() as (client, _):
        first = await client.post("/v1/chat/completions", json=chat("hello", stream=True, max_tokens=4))
        lines = data_lines(await first.text())
        second = await client.post("/v1/chat/completions", json=chat("hello", stream=True, max_tokens=4))
        again = data_lines(await second.text())
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("MISS", "HIT-L1")
    assert first.content_type == "text/event-stream"
    assert lines[-1] == "[DONE]"
    assert again == lines
    texts = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]]
    assert len("".join(texts).split()) == 4


async def test_client_that_leaves_stops_the_generation() -> None:
    async with serving(simulated_latency_milliseconds=60_000) as (client, engine), aiohttp.ClientSession() as session:
        url = client.make_url("/v1/chat/completions")
        tasks = [
            asyncio.create_task(session.post(url, json=chat(name, stream=stream)))
            for name, stream in (("a", False), ("b", True))
        ]
        await until(lambda: engine.admission.in_flight == 2)
        for task in tasks:
            task.cancel()
        await until(lambda: engine.admission.in_flight == 0)  # within 5 s; a generation would take 60
        after = await samples(client)
    assert after["generation_service_requests_total{outcome=error}"] == 2


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"[]", 422, "(body)"),
        ({}, 422, "messages"),
        ({"messages": []}, 422, "messages"),
        ({"messages": [{"content": "x"}]}, 422, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x"}], "stream": "yes"}, 422, "stream"),
        ({"messages": [{"role": "user", "content": "x"}], "model": ""}, 422, "model"),
    ],
)
async def test_bad_request_is_a_problem_that_names_the_field(body: Any, status: int, field: str | None) -> None:
    async with serving() as (client, _):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post("/v1/chat/completions", data=data)
        problem = await response.json()
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert [entry["field"] for entry in problem.get("errors", [])] == ([field] if field else [])


async def test_generation_that_takes_too_long_is_504() -> None:
    async with serving(simulated_latency_milliseconds=60_000, workflow_deadline_seconds=1) as (client, engine):
        response = await client.post("/v1/chat/completions", json=chat("x"))
        assert engine.admission.in_flight == 0
    assert response.status == 504


async def test_full_pool_is_429() -> None:
    values = {"simulated_latency_milliseconds": 500, "ai_api_concurrency": 1, "pool_queue_limit": 0}
    async with serving(**values) as (client, engine):
        running = asyncio.create_task(client.post("/v1/chat/completions", json=chat("a")))
        await until(lambda: engine.admission.in_flight == 1)
        await asyncio.sleep(0.05)
        refused = await client.post("/v1/chat/completions", json=chat("b"))
        problem = await refused.json()
        assert (await running).status == 200
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert problem["type"].endswith("pool-full")
