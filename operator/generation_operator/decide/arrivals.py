"""How many workflows arrive per second, and whether that is growing, as far as the evidence goes.

Counts of random arrivals scatter, the more the shorter one looks. A long look is sharp and late, a short one early and
blurred. So the long one holds, unless a shorter one differs by more than chance explains; then only that part counts
which chance does not explain. All bounds are on the square root of a count, where the scatter of a Poisson count is 1/2
whatever its size (Anscombe 1948); that also keeps every estimate non-decreasing in what was just counted.
"""

import math
from bisect import bisect_left
from itertools import accumulate
from typing import Final, NamedTuple

from generation_operator.decide.memory import Bins

# Standard deviations. A look every 2 s at several spans gives thousands of chances per hour to be fooled; each false
# alarm costs a start-up. 2 was 10 % dearer on smooth public traces at 60 s start-up, 4 was late on flash crowds.
_SURE: Final = 3.2
_LONG_SECONDS: Final = 60.0
_SHORT_SECONDS: Final = (4.0, 10.0, 20.0)
_FALL_SECONDS: Final = 20.0
_TREND_SECONDS: Final = (10.0, 20.0, 40.0, 80.0, 160.0)
# Share of the seconds over which a growth was seen that it is expected to go on. 1 added replicas on noise.
_TRUST: Final = 0.6
_LOOKED_AT: Final = 170  # bins of 2 s: twice the longest trend, and a little


class Estimate(NamedTuple):
    """The arrival rate now, in workflows per second; its certain growth per second, and for how many seconds more.

    A growth seen over some seconds says nothing about more seconds to come than that.
    """

    rate: float
    growth: float
    lasts: float


class _Look(NamedTuple):
    arrived: float
    seconds: float

    @property
    def rate(self) -> float:
        return self.arrived / self.seconds

    def at_least(self, sure: float) -> float:
        """Rate that is exceeded with this certainty."""
        return max(0.0, math.sqrt(self.arrived + 0.375) - sure / 2) ** 2 / self.seconds

    def at_most(self, sure: float) -> float:
        """Rate that is not reached with this certainty."""
        return (math.sqrt(self.arrived + 0.375) + sure / 2) ** 2 / self.seconds


class _Recent:
    """Running totals of the bins from the newest backwards, so that any look at them is two searches."""

    def __init__(self, bins: Bins) -> None:
        seconds, arrived = bins.newest(_LOOKED_AT)
        self._seconds = [0.0, *accumulate(seconds)]
        self._arrived = [0.0, *accumulate(arrived)]

    def look(self, seconds: float, skip: float = 0.0) -> _Look | None:
        """Arrivals over at least `seconds` (or all there are), after leaving out those of the last `skip`."""
        last = len(self._seconds) - 1
        first = bisect_left(self._seconds, skip)
        if first >= last:
            return None
        end = min(last, bisect_left(self._seconds, self._seconds[first] + seconds))
        return _Look(self._arrived[end] - self._arrived[first], self._seconds[end] - self._seconds[first])


def estimate(bins: Bins) -> Estimate | None:
    """The rate of the newest arrivals and its growth; None without any bin.

    Args:
        bins: arrivals, newest last.
    """
    recent = _Recent(bins)
    long, fallen = recent.look(_LONG_SECONDS), recent.look(_FALL_SECONDS)
    if long is None or fallen is None:
        return None
    shorts = [recent.look(seconds) for seconds in _SHORT_SECONDS]
    lasting = min(long.rate, fallen.at_most(_SURE))
    rate = max(lasting, *(short.at_least(_SURE) for short in shorts if short is not None))
    growth, lasts = max(
        ((_growth(recent, seconds), _TRUST * seconds) for seconds in _TREND_SECONDS),
        key=lambda found: found[0] * found[1],
    )
    return Estimate(rate, growth, lasts)


def _growth(recent: _Recent, seconds: float) -> float:
    """Growth per second between the last `seconds` and those before, 0 unless it is certain."""
    late, early = recent.look(seconds), recent.look(seconds, skip=seconds)
    if late is None or early is None or early.seconds < 0.8 * seconds:
        return 0.0
    # Two scatters add up as squares, so each side gets its share of the certainty asked for.
    share = _SURE / math.sqrt(2)
    return max(0.0, late.at_least(share) - early.at_most(share)) / ((late.seconds + early.seconds) / 2)
