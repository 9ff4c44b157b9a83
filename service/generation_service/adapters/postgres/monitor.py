"""How long each statement waits for a connection and how long it runs, in bounded memory.

Wait and execution are kept apart, because a pool that is too small and a query that is too slow need different cures.
Statements go by name: there are few names, and no parameter is ever kept or logged.
"""

import logging
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final, TypeAlias

_LOG = logging.getLogger(__name__)

# Upper bounds in seconds, each 1.6 times the one before: a percentile is at most 60 % above the truth.
BOUNDS: Final = tuple(0.0001 * 1.6**step for step in range(30))  # 0.1 ms ... 83 s
MAX_NAMES: Final = 200  # more are counted together: a defect elsewhere must not become a leak here
OTHER: Final = "other"

Figures: TypeAlias = "dict[str, int | float | None]"
Report: TypeAlias = "dict[str, dict[str, int | float | Figures | None]]"


@dataclass(slots=True)
class Histogram:
    """Durations in fixed buckets; can be added up."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    def percentile(self, share: float) -> float | None:
        """The duration that `share` (0 ... 1) of all do not exceed; None without any."""
        if self.count == 0:
            return None
        wanted = share * self.count
        seen = 0
        for bucket, bound in zip(self.buckets, BOUNDS, strict=False):
            seen += bucket
            if seen >= wanted:
                return min(bound, self.longest)
        return self.longest

    def figures(self) -> Figures:
        """Milliseconds, for people and JSON."""
        return {
            "p50_ms": _milliseconds(self.percentile(0.5)),
            "p95_ms": _milliseconds(self.percentile(0.95)),
            "p99_ms": _milliseconds(self.percentile(0.99)),
            "max_ms": _milliseconds(self.longest) if self.count else None,
        }


@dataclass(slots=True)
class Statistics:
    """What is known about one statement."""

    waited: Histogram = field(default_factory=Histogram)
    ran: Histogram = field(default_factory=Histogram)
    errors: int = 0


class QueryMonitor:
    """Counts statements by name and logs the slow ones.

    Args:
        slow_seconds: a statement that waits or runs longer is logged; lower shows more and costs more log.
    """

    def __init__(self, slow_seconds: float = 0.5) -> None:
        self._slow_seconds = slow_seconds
        self._statistics: dict[str, Statistics] = {}

    def record(self, name: str, *, waited: float, ran: float, failed: bool = False) -> None:
        """Count one execution."""
        if name not in self._statistics and len(self._statistics) >= MAX_NAMES:
            name = OTHER
        statistics = self._statistics.setdefault(name, Statistics())
        statistics.waited.add(waited)
        statistics.ran.add(ran)
        statistics.errors += failed
        if waited > self._slow_seconds or ran > self._slow_seconds:
            _LOG.warning(
                "slow statement %s: %.0f ms for a connection, %.0f ms to run%s",
                name,
                waited * 1000,
                ran * 1000,
                ", failed" if failed else "",
            )

    def report(self) -> Report:
        """All figures by statement name."""
        return {
            name: {
                "count": found.ran.count,
                "errors": found.errors,
                "wait": found.waited.figures(),
                "execution": found.ran.figures(),
            }
            for name, found in sorted(self._statistics.items())
        }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
