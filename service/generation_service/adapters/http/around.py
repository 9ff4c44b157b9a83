"""Around every request: measure it, answer what went wrong, and let nobody keep a connection to a replica that goes."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from generation_service.adapters.http.endpoints import Handler
from generation_service.adapters.http.problems import answer_to
from generation_service.adapters.http.whole import CACHE_STATUS, WholeAnswer
from generation_service.engine.admission import Admission, Phase
from generation_service.ports import CacheStatus


class RequestObserver(Protocol):
    """Counts answers."""

    def http_request(
        self, route: str, status: int, cache_status: CacheStatus | None, seconds: float, *, streamed: bool
    ) -> None:
        """Count one; `streamed`: its duration is the client's or a wait that was asked for, and says nothing."""


def around(observer: RequestObserver) -> Callable[[str, Handler], Handler]:
    """What `endpoints.routes` puts around each handler. A middleware would not know the route."""

    def answering(route: str, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
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
                if type(response) is WholeAnswer:
                    cache_status = response.cache_status
                else:
                    cache_status = response.get(CACHE_STATUS)
                    # A response without a body at hand was sent in parts.
                    streamed = not isinstance(response, web.Response) or "Prefer" in request.headers
            finally:
                observer.http_request(route, status, cache_status, time.perf_counter() - started, streamed=streamed)
            return response

        return answer

    return answering


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
