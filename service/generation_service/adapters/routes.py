"""The HTTP surface: one route for work, three for those who run the service.

Handlers only translate. A client that hangs up cancels its handler (the server is started with `handler_cancellation`),
which cancels its workflow.
"""

import uuid
from collections.abc import Callable, Iterable

from aiohttp import web

from generation_service.adapters.problems import problem
from generation_service.adapters.wire import Submission, encode_result
from generation_service.engine.engine import Engine, Phase


class Routes:
    """Handlers around one engine."""

    def __init__(self, engine: Engine, deadline_seconds: int, render_metrics: Callable[[], tuple[bytes, str]]) -> None:
        self._engine = engine
        self._deadline_seconds = deadline_seconds
        self._render_metrics = render_metrics

    def table(self) -> Iterable[web.RouteDef]:
        """Everything that is served."""
        return [
            web.post("/v1/workflows", self.run_workflow),
            web.get("/healthz", self.health),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def run_workflow(self, request: web.Request) -> web.Response:
        """Run a workflow and answer with its result."""
        submission = Submission.model_validate_json(await request.read())
        result = await self._engine.run(submission.workflow(str(uuid.uuid4()), self._deadline_seconds))
        # Results belong to one caller: no cache on the way may keep them.
        return web.Response(
            body=encode_result(result), content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def health(self, _request: web.Request) -> web.Response:
        """Say that the process and its loop are alive, and nothing more: a restart must not follow from load."""
        return web.Response(text="ok\n")

    async def ready(self, _request: web.Request) -> web.Response:
        """Say whether new requests should be sent here."""
        if self._engine.phase is Phase.SERVING:
            return web.Response(text="ready\n")
        return problem(503, "draining", "This replica is shutting down.", headers={"Retry-After": "1"})

    async def metrics(self, _request: web.Request) -> web.Response:
        """Prometheus' text format."""
        body, content_type = self._render_metrics()
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    async def close_connections_when_retiring(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Let nobody reuse a connection to a replica that is going away.

        A request sent over a kept-alive connection in the moment of its closing is lost; a refused new connection is
        simply tried elsewhere. Runs as a response-prepare signal, which comes too late for `force_close` to add the
        header itself.
        """
        if self._engine.phase is not Phase.SERVING:
            response.headers["Connection"] = "close"
            response.force_close()
