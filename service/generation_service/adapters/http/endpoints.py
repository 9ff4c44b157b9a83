"""Endpoints as data: the router and the API's description are made from the same list, so they cannot disagree."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from generation_service.performance.catalogue import OTHER

# Label values of the metrics, which are made before the handlers; `app` refuses to start when an endpoint is missing.
ROUTES: Final = (
    "/v1/workflows",
    "/v1/workflows/{id}",
    "/v1/workflows/{id}/events",
    "/v1/workflows/{id}/cancel",
    "/v1/workflows/{id}/retry",
    "/v1/chat/completions",
    "/api/performance/status",
    "/api/performance/resources",
    "/api/performance/load",
    "/api/performance/trend",
    "/api/performance/optimizations",
    "/api/performance/queries",
    "/api/monitoring/metrics",
    "/api/cache/status",
    "/healthz",
    "/readyz",
    "/load",
    "/metrics",
    "/openapi.json",
)

_ANYTHING: Final = "/{path:.*}"  # last in the table
_ANYTHING_CANONICAL: Final = "/{path}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A part of the request outside of its body."""

    name: str
    place: str  # path, query, header
    about: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """One kind of answer. No model: the content type alone is described."""

    about: str
    model: type[BaseModel] | None = None
    content_type: str = "application/json"
    also: tuple[str, ...] = ()  # more content types that the same status may have
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path."""

    method: str
    path: str  # aiohttp's and OpenAPI's notation are the same for `{name}`
    handler: Handler
    summary: str
    tag: str
    replies: Mapping[int, Reply]
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None


def routes(endpoints: Iterable[Endpoint], around: Callable[[str, Handler], Handler]) -> list[web.RouteDef]:
    """What aiohttp's router takes. HEAD is answered wherever GET is.

    Args:
        endpoints: what is served.
        around: makes the handler for a route from the endpoint's own; also from the one that finds nothing.
    """
    table = []
    for endpoint in endpoints:
        handler = around(endpoint.path, endpoint.handler)
        if endpoint.method == "GET":
            table.append(web.get(endpoint.path, handler))
        else:
            table.append(web.route(endpoint.method, endpoint.path, handler))
    table.append(web.route("*", _ANYTHING, around(OTHER, _find_nothing)))
    return table


async def _find_nothing(request: web.Request) -> web.StreamResponse:
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != _ANYTHING_CANONICAL:
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))
    raise web.HTTPNotFound
