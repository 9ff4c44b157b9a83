"""A closed-loop load generator that costs little: prepared bytes over kept-alive connections, answers counted.

aiohttp's client needs 100 us for a request, twice what the server under test needs; this one needs about 10.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit


@dataclass
class Figures:
    """What came back."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], figures: Figures, loop: asyncio.AbstractEventLoop) -> None:
        self._requests = requests
        self._figures = figures
        self._loop = loop
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.stopping = False
        self.closed = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = _content_length(self._buffer[:head])
            end = head + 4 + length
            if len(self._buffer) < end:
                return
            status = int(self._buffer[9:12])
            self._buffer = self._buffer[end:]
            self._figures.latencies.append(self._loop.time() - self._sent)
            self._figures.statuses[status] = self._figures.statuses.get(status, 0) + 1
            if self.stopping:
                assert self._transport is not None
                self._transport.close()
                return
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(exc)

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = self._loop.time()
        self._transport.write(next(self._requests))


def _content_length(head: bytes) -> int:
    start = head.lower().find(b"content-length:")
    if start < 0:
        raise ValueError(f"an answer without a length: {head!r}")
    return int(head[start + 15 : head.find(b"\r\n", start) if b"\r\n" in head[start:] else len(head)])


def post(url: str, body: bytes, **headers: str) -> bytes:
    """The bytes of a request."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def load(url: str, requests: Sequence[bytes], seconds: float, connections: int = 32) -> Figures:
    """Send the requests in turn, over and over, each connection its next one when the last is answered."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    figures = Figures()
    turn = itertools.cycle(requests)
    started = loop.time()
    opened = [
        (await loop.create_connection(lambda: _Connection(turn, figures, loop), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    figures.seconds = loop.time() - started
    counted = len(figures.latencies)
    for connection in opened:
        connection.stopping = True
    await asyncio.wait_for(asyncio.gather(*(connection.closed for connection in opened)), 60)
    del figures.latencies[counted:]
    return figures
