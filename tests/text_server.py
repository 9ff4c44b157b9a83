"""What a pod would answer, served by the test itself: its /metrics to Prometheus, or its /load to the operator."""

import contextlib
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Of Prometheus: its `targets` and their `labels`.
TargetGroup = Mapping[str, Collection[str]]


@contextlib.contextmanager
def serving(text: Callable[[str], str], address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Answer each `GET path` with `text(path)` until the block ends.

    A connection serves one request (HTTP/1.0), so that nobody is answered any more after the block.

    Args:
        text: called in a thread of its own for each request.
        address: on which to listen.
        port: on which to listen; 0: on a free one.

    Yields:
        the port.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text(self.path).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def announce(targets: Path, groups: Sequence[TargetGroup]) -> None:
    """Tell Prometheus whom to scrape, by a file of targets that it never sees half written."""
    partial = targets.with_suffix(".partial")
    partial.write_text(json.dumps(groups))
    partial.rename(targets)
