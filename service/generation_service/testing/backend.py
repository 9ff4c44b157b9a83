"""A simulated OpenAI-compatible backend: `python -m generation_service.testing.backend --help`.

Latency, token rate and every way to fail are options, and can be changed while it runs (`PUT /control`). It counts what
was begun, finished and stopped by its client (`GET /counters`), so that a test can see that a generation really ended.
"""

import argparse
import asyncio
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import orjson
from aiohttp import web

MODEL: Final = "simulated"
LONGEST_ANSWER: Final = 100_000  # tokens


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """How the backend behaves. Rates are shares of the requests, 0 to 1."""

    latency_ms: float = 200.0  # to the first token, median
    latency_sigma: float = 0.0  # of the logarithm: 0.3 spreads 95 % over a factor of 1.8 either way
    tokens_per_second: float = 0.0  # after the first; 0: all at once
    tokens: int = 64  # of an answer whose request has no limit
    fail_rate: float = 0.0  # answered with `status`
    status: int = 500
    retry_after: str = ""  # header of failures; empty: none
    hang_rate: float = 0.0  # never answered
    cut_stream_rate: float = 0.0  # streams that end in their middle, without a last event
    garbage_rate: float = 0.0  # answers that are not JSON
    seed: int = 1


@dataclass(slots=True)
class Counters:
    """What happened so far."""

    started: int = 0
    finished: int = 0
    failed: int = 0  # as asked for
    cancelled: int = 0  # the client left
    running: int = 0


class Backend:
    """The handlers and their state."""

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.counters = Counters()
        self._chance = random.Random(settings.seed)  # noqa: S311 - repeatable on purpose

    def table(self) -> Sequence[web.RouteDef]:
        """Everything that is served."""
        return [
            web.post("/v1/chat/completions", self.complete),
            web.get("/v1/models", self.models),
            web.get("/health", self.health),
            web.get("/counters", self.show_counters),
            web.put("/control", self.control),
        ]

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat completion as the settings say."""
        body = await request.read()
        counters = self.counters
        counters.started += 1
        counters.running += 1
        try:
            response = await self._answered(request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            counters.cancelled += 1
            raise
        finally:
            counters.running -= 1
        return response

    async def models(self, _request: web.Request) -> web.Response:
        """The one model."""
        return _json({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "nobody"}]})

    async def health(self, _request: web.Request) -> web.Response:
        """Say that it is there."""
        return _json({"status": "ok"})

    async def show_counters(self, _request: web.Request) -> web.Response:
        """The counters."""
        return _json(asdict(self.counters))

    async def control(self, request: web.Request) -> web.Response:
        """Change settings: a JSON object with some of them."""
        try:
            changes = orjson.loads(await request.read())
            self.settings = replace(self.settings, **changes)
        except (orjson.JSONDecodeError, TypeError) as error:
            return _json({"error": f"send an object with some of the settings: {error}"}, status=422)
        return _json(asdict(self.settings))

    async def _answered(self, request: web.Request, body: bytes) -> web.StreamResponse:
        settings = self.settings
        chance = self._chance.random
        try:
            wanted = orjson.loads(body)
            limit = min(int(wanted.get("max_tokens") or settings.tokens), LONGEST_ANSWER)
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            return _json({"error": {"message": "bad request", "type": "invalid_request_error"}}, status=400)
        if chance() < settings.hang_rate:
            await asyncio.Event().wait()
        await asyncio.sleep(settings.latency_ms / 1000 * math.exp(self._chance.gauss(0, settings.latency_sigma)))
        if chance() < settings.fail_rate:
            self.counters.failed += 1
            headers = {"Retry-After": settings.retry_after} if settings.retry_after else {}
            return _json({"error": {"message": "simulated failure"}}, status=settings.status, headers=headers)
        if wanted.get("stream"):
            return await self._stream(request, limit, cut=chance() < settings.cut_stream_rate)
        if settings.tokens_per_second > 0:
            await asyncio.sleep(limit / settings.tokens_per_second)
        self.counters.finished += 1
        if chance() < settings.garbage_rate:
            return web.Response(text="<html>not what you asked for</html>", content_type="text/html")
        return _json(_whole(limit))

    async def _stream(self, request: web.Request, tokens: int, *, cut: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        pause = 1 / self.settings.tokens_per_second if self.settings.tokens_per_second > 0 else 0.0
        for number in range(tokens):
            if cut and number >= tokens // 2:
                self.counters.failed += 1
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write(b"data: %b\n\n" % orjson.dumps(_part({"content": f"token{number} "}, None)))
            await asyncio.sleep(pause)
        await response.write(b"data: %b\n\ndata: [DONE]\n\n" % orjson.dumps(_part({}, "stop")))
        await response.write_eof()
        self.counters.finished += 1
        return response


def create_backend(settings: BackendSettings) -> web.Application:
    """The application, for use inside a test; its `Backend` is `app[BACKEND]`."""
    backend = Backend(settings)
    app = web.Application(client_max_size=4 * 1024 * 1024)
    app[BACKEND] = backend
    app.add_routes(backend.table())
    return app


BACKEND: Final = web.AppKey("backend", Backend)


def _whole(tokens: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": " ".join(f"token{number}" for number in range(tokens))}
    return {
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1},
    }


def _part(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-simulated",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def _json(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


async def _serve(settings: BackendSettings, host: str, port: int) -> None:
    runner = web.AppRunner(create_backend(settings), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        address = runner.addresses[0]
        sys.stdout.write(f"http://{address[0]}:{address[1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> int:
    """Serve until interrupted; the first line of output is the address."""
    parser = argparse.ArgumentParser(prog="python -m generation_service.testing.backend", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    for field in fields(BackendSettings):
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    options = vars(parser.parse_args())
    host, port = options.pop("host"), options.pop("port")
    try:
        asyncio.run(_serve(BackendSettings(**options), host, port))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        sys.stderr.write(f"backend: {error}; choose another --port\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
