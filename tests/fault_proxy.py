"""Stand between the operator and a real API server, and let the network or the server fail as they do in production.

It speaks plain HTTP to the operator and TLS, with the operator's credentials, to the API server. It counts what passes,
so that a test can tell an operator that backs off from one that hammers. It never changes a request or an answer that
no fault was asked for, else a test would prove something about the proxy.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, StreamReader, TCPConnector, web

from kube_http import client_tls, read_config

_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Of one hop, not of the message; the length is set anew for what is forwarded.
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "content-encoding"})
_GONE: Final = {
    "type": "ERROR",
    "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410},
}


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the operator made it."""

    at: float  # monotonic seconds
    method: str
    path: str
    watch: bool

    @property
    def writes(self) -> bool:
        """Whether it changes an object (Events are told, not changed)."""
        return self.method in _WRITES and not self.path.partition("?")[0].endswith("/events")


@dataclass(frozen=True, slots=True)
class Refuse:
    """The API server answers with an error."""

    status: int
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer comes, but late."""

    seconds: float


class Cut(Enum):
    """The network fails."""

    BEFORE = auto()  # the request is lost
    AFTER = auto()  # the request is carried out, the answer is lost
    SILENT = auto()  # nothing comes through, and nobody says so, until the fault ends


Outcome = Refuse | Slow | Cut
Fault = Callable[[Call], Outcome | None]


class FaultProxy:
    """The proxy, running in a thread of its own within `running()`."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.calls: list[Call] = []
        # Called with the number of the write, from 1, and the call; whether the request is lost.
        self.before_write: Callable[[int, Call], bool] | None = None
        # The API server has carried it out, the operator has no answer yet.
        self.after_write: Callable[[int, Call], object] | None = None
        self._folder = folder
        self._config = read_config(kubeconfig)
        self._fault: Fault | None = None
        self._writes = 0
        self._epoch = 0  # counts changes of the fault: whoever is held waits for the next one
        self._gone = 0  # counts calls of `expire_watches`
        self._port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["FaultProxy"]:
        """Serve until the block ends."""
        started, ending = threading.Event(), asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []
        failures: list[BaseException] = []

        def serve() -> None:
            try:
                with asyncio.Runner() as runner:  # ends what is still being served as well
                    loops.append(runner.get_loop())
                    runner.run(self._serve(started, ending))
            except BaseException as error:  # noqa: BLE001 - told in the thread of the test
                failures.append(error)
                started.set()

        thread = threading.Thread(target=serve, name="fault proxy")
        thread.start()
        started.wait(20)
        try:
            if failures:
                raise failures[0]
            yield self
        finally:
            if not failures:
                loops[0].call_soon_threadsafe(ending.set)
            thread.join()

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that leads through the proxy."""
        name = self._config["contexts"][0]["name"]
        path = self._folder / "kubeconfig-of-the-proxy"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": name, "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
                    "users": [{"name": name, "user": {}}],
                    "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                    "current-context": name,
                }
            )
        )
        return path

    @contextlib.contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Let every request suffer what `fault` says about it."""
        self._fault, self._epoch = fault, self._epoch + 1
        try:
            yield
        finally:
            self._fault, self._epoch = None, self._epoch + 1

    def expire_watches(self) -> None:
        """End every open watch as an API server does that has forgotten the version it was started from."""
        self._gone += 1

    def writes_since(self, number: int) -> list[Call]:
        """The writes among the calls from the given one on."""
        return [call for call in self.calls[number:] if call.writes]

    async def _serve(self, started: threading.Event, ending: asyncio.Event) -> None:
        connector = TCPConnector(ssl=client_tls(self._config), limit=0)
        timeout = ClientTimeout(total=None, sock_connect=10)
        async with ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            application = web.Application(client_max_size=2**24)

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._handle(request, session)

            application.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._port = runner.addresses[0][1]
            started.set()
            await ending.wait()
            await session.close()  # first, because it ends the connections that are in use at once
            await runner.cleanup()

    async def _handle(self, request: web.Request, session: ClientSession) -> web.StreamResponse:
        body = await request.read()
        call = Call(time.monotonic(), request.method, request.path_qs, request.query.get("watch", "") in ("true", "1"))
        self.calls.append(call)
        number = 0
        if call.writes:
            self._writes = number = self._writes + 1
        if number and self.before_write is not None and self.before_write(number, call):
            return _cut(request)
        outcome = self._fault(call) if self._fault is not None else None
        if isinstance(outcome, Refuse):
            return _refusal(outcome)
        if isinstance(outcome, Slow):
            await asyncio.sleep(outcome.seconds)
        if outcome is Cut.SILENT:
            await self._until_the_fault_changes()
        if outcome in (Cut.BEFORE, Cut.SILENT):
            return _cut(request)
        try:
            response = await self._forward(request, body, call, session)
        except (OSError, ClientError):  # the real API server does not answer: neither do we
            return _cut(request)
        if number and self.after_write is not None:
            self.after_write(number, call)
        return _cut(request) if outcome is Cut.AFTER else response

    async def _forward(
        self, request: web.Request, body: bytes, call: Call, session: ClientSession
    ) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.casefold() not in _HOP}
        url = self._config["clusters"][0]["cluster"]["server"] + request.raw_path
        async with session.request(request.method, url, headers=headers, data=body or None) as answer:
            if call.watch and answer.status == 200:
                try:
                    return await self._stream(request, answer.content, dict(answer.headers))
                finally:
                    _end(answer)
            content = await answer.read()
        kept = {name: value for name, value in answer.headers.items() if name.casefold() not in _HOP}
        # The encoding belongs to the message here, because the body is passed on as it came.
        if "Content-Encoding" in answer.headers:
            kept["Content-Encoding"] = answer.headers["Content-Encoding"]
        return web.Response(status=answer.status, headers=kept, body=content)

    async def _stream(self, request: web.Request, content: StreamReader, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": headers.get("Content-Type", "application/json")})
        if "Content-Encoding" in headers:
            response.headers["Content-Encoding"] = headers["Content-Encoding"]
        await response.prepare(request)
        gone, call = self._gone, Call(time.monotonic(), request.method, request.path_qs, watch=True)
        pending: asyncio.Task[bytes] | None = None
        try:
            while self._gone == gone:
                if self._fault is not None and isinstance(outcome := self._fault(call), Cut):
                    if outcome is Cut.SILENT:
                        await self._until_the_fault_changes()
                    return _cut(request)
                pending = pending or asyncio.ensure_future(content.readany())
                done, _ = await asyncio.wait({pending}, timeout=0.1)  # seconds within which a fault is noticed
                if not done:
                    continue
                data, pending = pending.result(), None
                if not data:
                    break
                await response.write(data)
            else:
                await response.write(json.dumps(_GONE).encode() + b"\n")
            await response.write_eof()
        except (OSError, ClientError):  # one of both ends has gone
            _cut(request)
        finally:
            if pending is not None:
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError, ClientError):
                    await pending
        return response

    async def _until_the_fault_changes(self) -> None:
        epoch = self._epoch
        while self._epoch == epoch:  # noqa: ASYNC110 - it is set by the thread of the test
            await asyncio.sleep(0.05)


def _refusal(outcome: Refuse) -> web.Response:
    reason = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 503: "ServiceUnavailable"}
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "the test wants this request to fail",
        "reason": reason.get(outcome.status, "InternalError"),
        "code": outcome.status,
    }
    headers = {} if outcome.retry_after is None else {"Retry-After": str(outcome.retry_after)}
    return web.json_response(body, status=outcome.status, headers=headers)


def _end(answer: ClientResponse) -> None:
    """Leave an answer that is not read to its end.

    To close it would be to wait, in the background, for the API server to close its half of the TLS connection; a loop
    that ends meanwhile leaves the socket to the garbage collector, which fails whichever test then runs.
    """
    if answer.connection is not None and answer.connection.transport is not None:
        answer.connection.transport.abort()


def _cut(request: web.Request) -> web.Response:
    """Close the connection without an answer; the response is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
