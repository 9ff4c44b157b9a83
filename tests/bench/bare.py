"""The least that could do the same job, as servers to compare with: `python -m bench.bare bytes FILE | forward URL`."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web


def returning(body: bytes) -> web.Application:
    """Reads the request, returns bytes that are at hand."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    return app


def forwarding(url: str) -> web.Application:
    """Sends the request on, returns what comes back."""
    session = web.AppKey("session", aiohttp.ClientSession)

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        async with request.app[session].post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            return web.Response(body=await response.read(), content_type="application/json")

    async def open_session(app: web.Application) -> None:
        app[session] = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    app.on_startup.append(open_session)
    return app


async def serve(app: web.Application) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    kind, what = sys.argv[1:]
    uvloop.run(serve(returning(Path(what).read_bytes()) if kind == "bytes" else forwarding(what)))
