"""What those who run the service ask: alive, ready, load, metrics, and the description of the API."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web

from generation_service.adapters.http.endpoints import Endpoint, Reply
from generation_service.adapters.http.problems import problem
from generation_service.adapters.http.wire import Problem
from generation_service.engine.admission import Phase
from generation_service.engine.engine import Engine
from generation_service.performance.load import CONTENT_TYPE, render_load

# A probe every second from a few proxies must not become a query each.
READY_REMEMBERED_SECONDS: Final = 1.0


class OperationsRoutes:
    """Handlers for machines that watch the service."""

    def __init__(self, engine: Engine, render_metrics: Callable[[], tuple[bytes, str]]) -> None:
        self._engine = engine
        self._render_metrics = render_metrics
        self._description = b"{}"
        self._store_ready = False
        self._asked_at = float("-inf")

    def described_by(self, description: dict[str, Any]) -> None:
        """Take the API's description, which includes these endpoints and is therefore made after them."""
        self._description = orjson.dumps(description)

    async def get_health(self, _request: web.Request) -> web.Response:
        """Say that the process and its loop are alive, and nothing more: a restart must not follow from load."""
        return web.Response(text="ok\n")

    async def get_readiness(self, _request: web.Request) -> web.Response:
        """Say whether new requests should be sent here."""
        if self._engine.admission.phase is not Phase.SERVING:
            return problem(503, "draining", "This replica is shutting down.", headers={"Retry-After": "1"})
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= READY_REMEMBERED_SECONDS:
            self._asked_at = now
            self._store_ready = await self._engine.store.healthy()
        if not self._store_ready:
            return problem(
                503,
                "store-unavailable",
                "The database does not answer; see its own state.",
                headers={"Retry-After": "2"},
            )
        return web.Response(text="ready\n")

    async def get_load(self, _request: web.Request) -> web.Response:
        """Three figures for the autoscaler, at constant cost."""
        admission = self._engine.admission
        body = render_load(admission.in_flight, round(admission.queue_length), admission.arrived)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    async def get_metrics(self, _request: web.Request) -> web.Response:
        """Prometheus' text format. Rendered in a thread: hundreds of series take milliseconds."""
        body, content_type = await asyncio.to_thread(self._render_metrics)
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    async def get_description(self, _request: web.Request) -> web.Response:
        """The API's description."""
        return web.Response(body=self._description, content_type="application/json")

    def endpoints(self) -> list[Endpoint]:
        """What is served, for the router and the description."""
        tag = "operations"
        text = Reply("", content_type="text/plain")
        return [
            Endpoint("GET", "/healthz", self.get_health, "Is the process alive?", tag, {200: text}),
            Endpoint(
                "GET", "/readyz", self.get_readiness, "Should requests be sent here?", tag,
                {200: text, 503: Reply("Draining, or a required dependency is down.", Problem)},
            ),
            Endpoint("GET", "/load", self.get_load, "In flight, queued, arrived", tag, {200: text}),
            Endpoint("GET", "/metrics", self.get_metrics, "Prometheus metrics", tag, {200: text}),
            Endpoint("GET", "/openapi.json", self.get_description, "The API", tag, {200: Reply("OpenAPI 3.1.")}),
        ]  # fmt: skip
