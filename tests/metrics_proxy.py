"""Stand between the operator and a real Prometheus, and distort what it answers.

Which distortion it is, is said by the path, so that one proxy serves resources with different ones. It knows nothing of
what is asked: every value of every answer suffers alike, and a query is passed on as it came.
"""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

# Longer than a tick waits for Prometheus (6 s).
_SLOW_SECONDS: Final = 20.0
# Evaluated by a clock that is ahead of the one that samples are stamped by: further than any sample may be old here.
AHEAD_SECONDS: Final = 30.0


class Distortion(StrEnum):
    """What happens to an answer; the first part of the path."""

    NAN = "nan"  # every value is NaN
    ERROR = "error"  # 503, as from a server that is overloaded or replays its log
    SLOW = "slow"  # the answer comes when nobody waits any more
    AHEAD = "ahead"  # evaluated by a clock that is half a minute ahead: every sample looks older, every rate decays


class MetricsProxy:
    """The proxy; it distorts between `begin` and `end`, and is transparent otherwise.

    Args:
        upstream: URL of Prometheus.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = parts.hostname or "", parts.port or 80
        self._over = threading.Event()
        self._over.set()
        self._port = 0

    def url(self, distortion: Distortion) -> str:
        """The Prometheus that answers distorted."""
        return f"http://127.0.0.1:{self._port}/{distortion}"

    def begin(self) -> None:
        """Distort from now on."""
        self._over.clear()

    def end(self) -> None:
        """Let everything through again, at once."""
        self._over.set()

    @contextlib.contextmanager
    def running(self) -> Iterator["MetricsProxy"]:
        """Serve until the block ends."""
        server = _Server(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="metrics proxy")
        thread.start()
        self._port = server.server_port
        try:
            yield self
        finally:
            self.end()
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = 60

            def setup(self) -> None:
                super().setup()
                self._behind = http.client.HTTPConnection(*proxy._upstream, timeout=30)

            def finish(self) -> None:
                self._behind.close()
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                distortion = Distortion(self.path.split("/")[1])
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer(*proxy._ask(self._behind, self, distortion, body))

            def do_POST(self) -> None:
                self.do_GET()

            def _answer(self, status: int, answer: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def _ask(
        self, behind: http.client.HTTPConnection, request: BaseHTTPRequestHandler, distortion: Distortion, body: bytes
    ) -> tuple[int, bytes]:
        """The status and the body of the answer, distorted if it is the time."""
        distorts = not self._over.is_set()
        if distorts and distortion is Distortion.ERROR:
            return 503, b"Service Unavailable"
        if distorts and distortion is Distortion.SLOW:
            self._over.wait(_SLOW_SECONDS)
        path = request.path.removeprefix(f"/{distortion}")
        if distorts and distortion is Distortion.AHEAD:
            path = _later(path)
        headers = {name: request.headers[name] for name in ("Content-Type",) if name in request.headers}
        try:
            behind.request(request.command, path, body or None, headers)
            with behind.getresponse() as response:
                status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException):
            behind.close()
            return 502, b"Bad Gateway"
        return status, _all_nan(answer) if distorts and distortion is Distortion.NAN else answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the operator opens a connection for each of its threads at once

    def handle_error(self, *_: object) -> None:
        """Say nothing: whoever asked does not wait any more."""


def _later(path: str) -> str:
    """The same query, evaluated `AHEAD_SECONDS` later than now, or than the time that it names."""
    asked = parse_qs(urlsplit(path).query).get("time")
    at = float(asked[0]) if asked else time.time()
    # Prometheus reads the first one.
    place, _, query = path.partition("?")
    return f"{place}?time={at + AHEAD_SECONDS:.3f}&{query}"


def _all_nan(answer: bytes) -> bytes:
    """The answer with the same series and the same times, and no value that is a number."""

    def spoilt(value: Any) -> Any:
        match value:
            case [int() | float() as at, str()]:  # a sample
                return [at, "NaN"]
            case list():
                return [spoilt(entry) for entry in value]
            case dict():
                return {name: spoilt(entry) if name != "metric" else entry for name, entry in value.items()}
            case _:
                return value

    return json.dumps(spoilt(json.loads(answer))).encode()
