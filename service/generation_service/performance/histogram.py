"""Durations as counts in logarithmic buckets: bounded memory, mergeable, and a quantile with a known error.

Quantiles of two periods cannot be averaged, but their histograms can be added; everything that says "p95" in this
service comes from here. It must never keep single values, and never answer 0 when it has none: the answer is None.
"""

import math
from array import array
from collections import deque
from collections.abc import Iterable
from typing import Final

from generation_service.ports import Clock

RELATIVE_ERROR: Final = 0.025  # a quantile is at most 2.5 % off the value that it stands for
SHORTEST: Final = 1e-4  # seconds; what is shorter counts as this long (an L1 hit takes about 50 us)
LONGEST: Final = 3600.0  # seconds; what is longer counts as this long

_GROWTH: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)  # upper bound of a bucket over its lower bound
_LOG_GROWTH: Final = math.log(_GROWTH)
_BUCKETS: Final = math.ceil(math.log(LONGEST / SHORTEST) / _LOG_GROWTH) + 1  # 349, so 1.4 kB


class Histogram:
    """How many values fell where. Adding one is O(1); not safe for several threads."""

    __slots__ = ("_counts", "count", "maximum", "total")

    def __init__(self) -> None:
        self._counts = array("I", bytes(4 * _BUCKETS))
        self.count = 0
        self.total = 0.0  # seconds, exact
        self.maximum = 0.0  # seconds, exact; 0 without values

    def observe(self, seconds: float) -> None:
        """Add one value; negative ones and NaN can only come from a broken clock and count as the shortest."""
        if not seconds > SHORTEST:
            seconds = SHORTEST
        elif seconds > LONGEST:
            seconds = LONGEST
        self._counts[math.ceil(math.log(seconds / SHORTEST) / _LOG_GROWTH - 1e-9)] += 1
        self.count += 1
        self.total += seconds
        self.maximum = max(self.maximum, seconds)

    def add(self, other: "Histogram") -> None:
        """Take in all values of another one."""
        if other.count:
            self._counts = array("I", map(int.__add__, self._counts, other._counts))  # noqa: SLF001 - the same class
            self.count += other.count
            self.total += other.total
            self.maximum = max(self.maximum, other.maximum)

    def quantile(self, share: float) -> float | None:
        """The value that `share` (0..1) of all values do not exceed, to `RELATIVE_ERROR`; None without values."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count - 1e-9))  # nearest rank, so that it is a value that occurred
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                # The point of the bucket that is equally far, relatively, from both of its ends.
                return min(self.maximum, SHORTEST * _GROWTH**index * (1 - RELATIVE_ERROR))
        return self.maximum  # not reached: the counts add up to `count`

    @property
    def mean(self) -> float | None:
        """Exact mean; None without values."""
        return self.total / self.count if self.count else None


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """All values of all of them."""
    whole = Histogram()
    for histogram in histograms:
        whole.add(histogram)
    return whole


class SlidingHistogram:
    """The values of the last while: a ring of histograms, of which the oldest is dropped as time goes by.

    Args:
        clock: decides how old a value is.
        window_seconds: values this old are forgotten, at the latest one slice later.
        slices: histograms in the ring; more forget more smoothly and cost 1.4 kB each.
    """

    def __init__(self, clock: Clock, window_seconds: float, slices: int = 6) -> None:
        self._clock = clock
        self._slice_seconds = window_seconds / slices
        self._ring: deque[tuple[int, Histogram]] = deque(maxlen=slices + 1)  # one more is being filled

    def observe(self, seconds: float) -> None:
        """Add a value now."""
        turn = int(self._clock.now() / self._slice_seconds)
        if not self._ring or self._ring[-1][0] != turn:
            self._ring.append((turn, Histogram()))
        self._ring[-1][1].observe(seconds)

    def recent(self) -> Histogram:
        """The values of the window; a new object."""
        oldest = int(self._clock.now() / self._slice_seconds) - (self._ring.maxlen or 1) + 1
        return merged(histogram for turn, histogram in self._ring if turn >= oldest)


class SlidingCount:
    """How often something happened in the last while; as `SlidingHistogram`, for counts."""

    def __init__(self, clock: Clock, window_seconds: float, slices: int = 6) -> None:
        self._clock = clock
        self._slice_seconds = window_seconds / slices
        self._ring: deque[list[int]] = deque(maxlen=slices + 1)  # [turn, count]

    def increase(self) -> None:
        """Count one now."""
        turn = int(self._clock.now() / self._slice_seconds)
        if not self._ring or self._ring[-1][0] != turn:
            self._ring.append([turn, 0])
        self._ring[-1][1] += 1

    def recent(self) -> int:
        """The count over the window."""
        oldest = int(self._clock.now() / self._slice_seconds) - (self._ring.maxlen or 1) + 1
        return sum(count for turn, count in self._ring if turn >= oldest)
