"""Durations as counts in logarithmic buckets: bounded memory, mergeable, and a quantile with a known error.

Quantiles of two periods cannot be averaged, but their histograms can be added; everything that says "p95" in this
service comes from here. It must never keep single values, and never answer 0 when it has none: the answer is None.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

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
        self.put(bucket(seconds), min(max(SHORTEST, seconds), LONGEST))

    def put(self, index: int, seconds: float) -> None:
        """Add a value whose `bucket` is known: finding it is most of the cost, and several histograms share it."""
        self._counts[index] += 1
        self.count += 1
        self.total += seconds
        if seconds > self.maximum:  # noqa: PLR1730 - half the time of max()
            self.maximum = seconds

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


def bucket(seconds: float) -> int:
    """Which bucket a value falls into; what is out of range, or no number, falls into the nearest or the first."""
    if not seconds > SHORTEST:
        return 0
    if seconds > LONGEST:
        return _BUCKETS - 1
    return math.ceil(math.log(seconds / SHORTEST) / _LOG_GROWTH - 1e-9)


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """All values of all of them."""
    whole = Histogram()
    for histogram in histograms:
        whole.add(histogram)
    return whole


Slice = TypeVar("Slice")


class Sliding(Generic[Slice]):
    """The last while in slices: the oldest is dropped as time goes by, so memory is bounded.

    Args:
        make: an empty slice.
        clock: decides how old a slice is.
        window_seconds: what is this old is forgotten, at the latest one slice later.
        slices: in the window; more forget more smoothly and cost more memory.
    """

    def __init__(self, make: Callable[[], Slice], clock: Clock, window_seconds: float, slices: int = 6) -> None:
        self._make = make
        self._clock = clock
        self._slice_seconds = window_seconds / slices
        self._ring: deque[Slice] = deque(maxlen=slices + 1)  # one more is being filled
        self._turns: deque[int] = deque(maxlen=slices + 1)  # which slice of time each one is
        self._ends = float("-inf")  # of the newest slice

    def current(self) -> Slice:
        """The slice that is being filled."""
        now = self._clock.now()
        if now >= self._ends:
            turn = int(now // self._slice_seconds)
            self._ends = (turn + 1) * self._slice_seconds
            self._ring.append(self._make())
            self._turns.append(turn)
        return self._ring[-1]

    def recent(self) -> list[Slice]:
        """The slices of the window."""
        oldest = int(self._clock.now() // self._slice_seconds) - (self._ring.maxlen or 1) + 1
        return [part for turn, part in zip(self._turns, self._ring, strict=True) if turn >= oldest]
