"""Around every request: measure it, answer what went wrong, and let nobody keep a connection to a replica that goes."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from generation_service.adapters.http.chat import CACHE_STATUS
from generation_service.adapters.http.problems import answer_to
from generation_service.adapters.http.whole import WholeAnswer
from generation_service.engine.admission import Admission, Phase
from generation_service.ports import CacheStatus


class RequestObserver(Protocol):
    """Counts answers."""

    def http_request(
        self, route: str, status: int, cache_status: CacheStatus | None, seconds: float, *, streamed: bool
    ) -> None:
        """Count one; `streamed`: its duration is the client's or a wait that was asked for, and says nothing."""


def around(observer: RequestObserver) -> Middleware:
    """The one middleware: each one more would cost every request two coroutines."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        status = 499  # the client has gone: nobody saw another one
        cache_status: CacheStatus | None = None
        streamed = False
        try:
            try:
                response = await handler(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
                response = answer_to(request, error)
            status = response.status
            cache_status = response.get(CACHE_STATUS)
            # A response without a body at hand was sent in parts.
            streamed = "Prefer" in request.headers or not isinstance(response, web.Response | WholeAnswer)
        finally:
            resource = request.match_info.route.resource
            route = "other" if resource is None else resource.canonical
            observer.http_request(route, status, cache_status, time.perf_counter() - started, streamed=streamed)
        return response

    return middleware


def last_headers(admission: Admission, generator: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A response-prepare signal for what every answer says.

    What generates the texts: a stand-in must never pass for a model. And a replica that is going away closes its
    kept-alive connections: a request sent over one in the moment of its closing is lost, a refused new connection is
    simply tried elsewhere. The signal comes too late for `force_close` to add the header itself.
    """

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith("/v1/"):
            response.headers["X-Generator"] = generator
        if admission.phase is not Phase.SERVING:
            response.headers["Connection"] = "close"
            response.force_close()

    return add
