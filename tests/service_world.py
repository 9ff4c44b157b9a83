"""The service over a real loopback connection, with nothing outside of this process behind it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from generation_service.adapters.clock import LoopClock
from generation_service.app import ENGINE, create_app
from generation_service.backends import open_backends
from generation_service.engine.engine import Engine
from generation_service.settings import Settings

Client = TestClient[web.Request, web.Application]
WAIT = {"Prefer": "wait=60"}
ALONE: dict[str, Any] = {
    "database_url": "memory:",
    "redis_url": "memory:",
    "generator_url": "built-in:",
    "simulated_latency_milliseconds": 0,
    "simulated_latency_jitter_percent": 0,
}


@asynccontextmanager
async def serving(**values: Any) -> AsyncIterator[tuple[Client, Engine]]:
    """A client and the engine behind it; values are settings."""
    settings = Settings(**ALONE | values)
    clock = LoopClock()
    async with open_backends(settings, clock, time.time, lambda _line: None) as backends:
        app = create_app(settings, backends, clock)
        # The test server cancels handlers of clients that hang up, as `__main__` does.
        async with TestClient(TestServer(app)) as client:
            yield client, app[ENGINE]


def steps(*prompts: str, **inputs: Any) -> dict[str, Any]:
    """A workflow of steps that ask the generator, one after the other."""
    return {
        "steps": [
            {
                "id": f"step-{index}",
                "type": "generate",
                "inputs": {"prompt": prompt} | inputs,
                "depends_on": [f"step-{index - 1}"] if index else [],
            }
            for index, prompt in enumerate(prompts)
        ]
    }


def chat(text: str, **fields: Any) -> dict[str, Any]:
    """A chat completion."""
    return {"messages": [{"role": "user", "content": text}]} | fields


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
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
