"""Answers `GET /load` for simulated pods, which have an address but no process."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Work:
    """What one pod has to do."""

    in_flight: int
    queued: int
    arrivals_per_second: float


@dataclass(slots=True)
class PodLoad:
    """The load of every pod of one service."""

    work: Work
    port: int = 0
    asked: int = 0
    _arrived: float = 0.0
    _at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, work: Work) -> None:
        """Change it from now on."""
        with self._lock:
            self._advance()
            self.work = work

    def text(self) -> bytes:
        """What a pod answers."""
        with self._lock:
            self._advance()
            self.asked += 1
            lines = (
                f"generation_service_load_in_flight {self.work.in_flight}",
                f"generation_service_load_queued {self.work.queued}",
                f"generation_service_load_arrived_total {self._arrived:.0f}",
            )
        return "\n".join((*lines, "")).encode()

    def _advance(self) -> None:
        now = time.monotonic()
        self._arrived += (now - self._at) * self.work.arrivals_per_second
        self._at = now

    @contextlib.contextmanager
    def serving(self, address: str = "127.0.0.1", port: int = 0) -> Iterator["PodLoad"]:
        """Answer on this port of this machine, or on a free one, until the block ends."""
        load = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = load.text()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer((address, port), Handler)
        server.daemon_threads = True
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
