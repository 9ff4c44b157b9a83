"""The operator's own HTTP endpoints: `/healthz`, `/readyz` and `/metrics` on one port."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Problem = Callable[[], str | None]  # why something is not as it should be; None when it is


@asynccontextmanager
async def serving(
    port: int,
    *,
    alive: Problem,
    ready: Problem,
    metrics: Callable[[], bytes],
    host: str = "0.0.0.0",  # noqa: S104
) -> AsyncIterator[int]:
    """Serve while the context lasts; gives the port, which is a free one when 0 was asked for.

    Args:
        port: TCP port.
        alive: None, or why the process should be ended.
        ready: None, or why it is not ready.
        metrics: in Prometheus' text format.
        host: address to listen on; every one by default, because the kubelet and Prometheus come from outside the pod.

    Raises:
        OSError: the port is taken.
    """

    async def tell_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.router.add_get("/healthz", _probe(alive))
    app.router.add_get("/readyz", _probe(ready))
    app.router.add_get("/metrics", tell_metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _probe(problem: Problem) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        reason = problem()
        return web.Response(status=503, text=f"{reason}\n") if reason else web.Response(text="ok\n")

    return answer
