"""The cheapest replica counts for traffic that is known in advance, in a model that is coarse enough to be solved.

Time goes in steps of a few seconds, and the service is a fluid: what is in the system beyond what would be there if
nobody ever waited (`excess`) is its only state. It grows while fewer requests end than would have ended without
waiting, and decays as those who waited end late. The traffic itself is taken exactly: the requests that would be in
the system, and who has waited too long, which in a first-in-first-out queue only takes counting arrivals. Replicas
cost while they are ready, and a price for each one that is added or taken away.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generation_operator.simulate.result import Ints
from generation_operator.simulate.trace import Floats, Requests

_Singles = NDArray[np.float32]

_LEVELS: Final = 80  # of the excess
_WINDOW_STEPS: Final = 1500  # solved at once; bounds memory to about 50 MB for 20 replicas
_OVERLAP_SECONDS: Final = 600.0  # that a window looks beyond its end
_MEAN_SECONDS: Final = 60.0  # that a mean service time covers at least
_FEW: Final = 20  # requests that are too few for a mean of their own


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, in seconds of one ready replica.

    Attributes:
        up: one more replica: its start-up.
        down: one less: the time it drains.
        miss: one request that waits too long.
    """

    up: float
    down: float
    miss: float


class _Window(NamedTuple):
    """Steps of the trace; arrays are by step, replicas and excess."""

    first: int
    last: int
    below: NDArray[np.int32]  # level below the excess that follows, as an index into a table by replicas and level
    part: _Singles  # of the way from there to the level above
    queue: _Singles  # requests waiting


class FluidModel:
    """One trace and one kind of replica.

    Args:
        requests: the traffic; not empty.
        slots: requests that one replica works on at a time.
        min_replicas: lower bound of the counts.
        max_replicas: upper bound.
        longest_wait: seconds; the state reaches about twice as far.
        step: seconds.
    """

    def __init__(
        self,
        requests: Requests,
        *,
        slots: int,
        min_replicas: int,
        max_replicas: int,
        longest_wait: float,
        step: float,
    ) -> None:
        arrivals, service = requests.arrivals, requests.service
        self.step = step
        self.steps = max(1, math.ceil(requests.duration / step))
        self._arrivals = arrivals
        self._edges: Floats = np.arange(self.steps + 1, dtype=np.float64) * step
        self._middles: Floats = self._edges[:-1] + step / 2
        self._arrived = np.searchsorted(arrivals, self._middles, side="right")
        ended = np.searchsorted(np.sort(arrivals + service), self._middles, side="right")
        self._unhindered = (self._arrived - ended).astype(np.float64)  # in the system if nobody ever waited
        self._mean_service = _means(requests, self._middles)
        peak = float(self._unhindered.max())
        enough = math.ceil(peak / slots) + 1
        self._counts = np.arange(min_replicas, max(min_replicas, min(max_replicas, enough)) + 1)
        self._capacity = (self._counts * slots).astype(np.float64)
        top = max(peak * (0.6 + 2.2 * longest_wait / float(service.mean())), 4.0)
        self._excess: Floats = np.linspace(0.0, top, _LEVELS)
        self._level = float(self._excess[1])
        self._rows = np.arange(len(self._counts)) * _LEVELS
        self._solved: _Window | None = None

    def cheapest(self, prices: Prices, allowed_wait: float, initial: int, fixed_seconds: float) -> Ints:
        """The replicas to have ready in each step.

        Args:
            prices: what to minimise.
            allowed_wait: seconds that a request may wait.
            initial: ready replicas at the start.
            fixed_seconds: from the start; no replica can be ready earlier than that unless it was so at the start.
        """
        counts = np.empty(self.steps, dtype=np.int64)
        current, excess = initial, 0.0
        overlap = math.ceil(_OVERLAP_SECONDS / self.step)
        for first in range(0, self.steps, _WINDOW_STEPS):
            last = min(first + _WINDOW_STEPS, self.steps)
            window = self._window(first, min(last + overlap, self.steps))
            costs = self._costs(window, prices, allowed_wait)
            values = self._values(window, prices, costs)
            for step in range(first, last):
                limit = initial if step * self.step < fixed_seconds else None
                place, excess = self._choice(
                    window,
                    prices,
                    costs[step - first],
                    values[step - first + 1],
                    step=step - first,
                    current=current,
                    excess=excess,
                    limit=limit,
                )
                current = counts[step] = int(self._counts[place])
        return counts

    def _window(self, first: int, last: int) -> _Window:
        """How the excess moves; kept, as a trace of usual length has only one window."""
        if self._solved is not None and (self._solved.first, self._solved.last) == (first, last):
            return self._solved
        shape = (last - first, len(self._counts), _LEVELS)
        window = _Window(
            first,
            last,
            np.empty(shape, dtype=np.int32),
            np.empty(shape, dtype=np.float32),
            np.empty(shape, dtype=np.float32),
        )
        capacity = self._capacity[None, :, None]
        for start in range(first, last, 256):  # in pieces: the arrays in between are twice as wide
            steps = slice(start, min(start + 256, last))
            here = slice(start - first, steps.stop - first)
            unhindered = self._unhindered[steps, None, None]
            present = unhindered + self._excess
            busy = np.minimum(present, capacity)
            left = np.exp(-self.step / self._mean_service[steps])[:, None, None]
            after = np.where(present <= capacity, self._excess * left, self._excess + (unhindered - busy) * (1 - left))
            position = np.clip(after / self._level, 0.0, _LEVELS - 1.001)
            below = position.astype(np.int32)
            window.below[here] = below + self._rows[None, :, None]
            window.part[here] = position - below
            window.queue[here] = present - busy
        self._solved = window
        return window

    def _costs(self, window: _Window, prices: Prices, allowed_wait: float) -> _Singles:
        """Of one step, by replicas and excess. A miss is a request that turns `allowed_wait` old in the queue."""
        steps = slice(window.first, window.last)
        old = np.searchsorted(self._arrivals, self._edges[window.first : window.last + 1] - allowed_wait)
        turning = (old[1:] - old[:-1]).astype(np.float32)[:, None, None]
        young = np.searchsorted(self._arrivals, self._middles[steps] - allowed_wait, side="right")
        recent = (self._arrived[steps] - young).astype(np.float32)[:, None, None]
        # Not a sharp edge: the fluid knows its queue only to about the noise of a count.
        width = np.maximum(np.float32(self._level), np.sqrt(recent + 1))
        costs: _Singles = np.clip((window.queue - recent) / width + np.float32(0.5), 0.0, 1.0)
        costs *= turning * np.float32(prices.miss)
        costs += (self._counts * self.step).astype(np.float32)[None, :, None]
        return costs

    def _values(self, window: _Window, prices: Prices, costs: _Singles) -> _Singles:
        """The least cost from each step on, by the replicas of the step before and the excess: backwards in time."""
        steps = window.last - window.first
        values = np.zeros((steps + 1, len(self._counts), _LEVELS), dtype=np.float32)
        ups = (prices.up * self._counts)[:, None].astype(np.float32)
        downs = (prices.down * self._counts)[:, None].astype(np.float32)
        for step in range(steps - 1, -1, -1):
            following = values[step + 1].reshape(-1)
            below = window.below[step]
            cost = following.take(below + 1)
            lower = following.take(below)
            cost -= lower
            cost *= window.part[step]
            cost += lower
            cost += costs[step]
            raised = np.minimum.accumulate((cost + ups)[::-1], axis=0)[::-1] - ups
            lowered = np.minimum.accumulate(cost - downs, axis=0) + downs
            np.minimum(raised, lowered, out=values[step])
        return values

    def _choice(
        self,
        window: _Window,
        prices: Prices,
        costs: _Singles,
        following: _Singles,
        *,
        step: int,
        current: int,
        excess: float,
        limit: int | None,
    ) -> tuple[int, float]:
        """The best count for one step, as its place among the counts, and the excess after it."""
        level = min(excess / self._level, _LEVELS - 1.001)
        low = int(level)
        high_part = level - low
        weights = ((low, 1 - high_part), (low + 1, high_part))
        positions = np.zeros(len(self._counts))
        for at, weight in weights:
            positions += weight * (window.below[step, :, at] + window.part[step, :, at] - self._rows)
        below = np.minimum(positions.astype(np.int64), _LEVELS - 2)
        part = positions - below
        places = np.arange(len(self._counts))
        totals = following[places, below] * (1 - part) + following[places, below + 1] * part
        totals = totals + sum(weight * costs[:, at] for at, weight in weights)
        change = self._counts - current
        totals = totals + np.where(change > 0, prices.up * change, -prices.down * change)
        if limit is not None:
            totals = np.where((self._counts > limit) & (places > 0), np.inf, totals)
        place = int(totals.argmin())
        return place, float(positions[place]) * self._level


def _means(requests: Requests, moments: Floats) -> Floats:
    """Mean service time of the requests that arrived lately; of all, where there are few."""
    mean = float(requests.service.mean())
    sums = np.concatenate(([0.0], np.cumsum(requests.service)))
    until = np.searchsorted(requests.arrivals, moments)
    since = np.searchsorted(requests.arrivals, moments - max(_MEAN_SECONDS, 4 * mean))
    count = until - since
    means: Floats = np.where(count >= _FEW, (sums[until] - sums[since]) / np.maximum(count, 1), mean)
    return means
