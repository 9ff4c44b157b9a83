"""Answers `GET /load` for simulated pods, which have an address but no process."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import text_server


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

    def text(self) -> str:
        """What a pod answers."""
        with self._lock:
            self._advance()
            self.asked += 1
            lines = (
                f"generation_service_load_in_flight {self.work.in_flight}",
                f"generation_service_load_queued {self.work.queued}",
                f"generation_service_load_arrived_total {self._arrived:.0f}",
            )
        return "\n".join((*lines, ""))

    def _advance(self) -> None:
        now = time.monotonic()
        self._arrived += (now - self._at) * self.work.arrivals_per_second
        self._at = now

    @contextlib.contextmanager
    def serving(self, address: str = "127.0.0.1", port: int = 0) -> Iterator["PodLoad"]:
        """Answer on this port of this machine, or on a free one, until the block ends."""
        with text_server.serving(lambda _: self.text(), address, port) as self.port:
            yield self
