"""How an answer lies in Redis: a fixed header, then the payload as it came.

The header carries the absolute end of the answer on the clock of the Redis server, the one clock that all replicas
share: whoever reads the value knows the time that is left without a second question, and no replica's wall clock
counts. In this process times are of the monotonic clock only. Whatever is not understood is a miss, never an error:
another version of the service may have written it. Nothing here can run code (no pickle).
"""

import struct
from dataclasses import dataclass

VERSION = 1
NEGATIVE = 0x01
_HEADER = struct.Struct(">BBQQI")  # version, flags, end (ms since the epoch), TTL (ms), cost of the load (ms)


@dataclass(frozen=True, slots=True)
class Answer:
    """A kept answer; times are of this process's monotonic clock."""

    value: bytes
    expires_at: float
    ttl_seconds: float  # it had when it was made
    cost_seconds: float  # it took to load
    negative: bool = False

    def age(self, now: float) -> float:
        """Seconds since it was made; never below 0, clocks of two machines agree to a millisecond or so only."""
        return max(0.0, now - (self.expires_at - self.ttl_seconds))


def encode(answer: Answer, *, now: float, server_now: float) -> bytes:
    """Bytes for Redis. `now` and `server_now` (seconds since the epoch there) are the same moment."""
    end = server_now + answer.expires_at - now
    header = _HEADER.pack(
        VERSION,
        NEGATIVE if answer.negative else 0,
        max(0, round(end * 1000)),
        max(0, round(answer.ttl_seconds * 1000)),
        min(2**32 - 1, max(0, round(answer.cost_seconds * 1000))),
    )
    return header + answer.value


def decode(raw: bytes, *, now: float, server_now: float) -> Answer | None:
    """The answer in these bytes; None if it is over, or not ours."""
    if len(raw) < _HEADER.size:
        return None
    version, flags, end, ttl, cost = _HEADER.unpack_from(raw)
    if version != VERSION or flags & ~NEGATIVE:
        return None
    ttl_seconds = ttl / 1000
    # Never longer than it was given: the server's clock may have been set back since the value was written.
    remaining = min(end / 1000 - server_now, ttl_seconds)
    if remaining <= 0:
        return None
    return Answer(raw[_HEADER.size :], now + remaining, ttl_seconds, cost / 1000, bool(flags & NEGATIVE))
