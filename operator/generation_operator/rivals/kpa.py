"""How Knative's autoscaler (KPA) averages what it scrapes and chooses a count from it.

Faithful to knative.dev/serving at the version that hack/vectors/kpa/go.mod names, down to what happens at the edges of
its windows; nothing here may be "improved". What is left out: the scaling metric `rps`, the weighted averages that an
annotation turns on, and the way to and from zero replicas, which is not arithmetic. Times are seconds on the caller's
clock, not negative.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

Seconds = float

TICK_SECONDS: Final = 2.0  # between two decisions, and the resolution of the scale-down delay
SCRAPE_SECONDS: Final = 1.0  # between two scrapes, and the width of a bucket
TARGET_UTILIZATION: Final = 0.7  # container-concurrency-target-percentage
_TARGET_MIN: Final = 0.01  # the smallest target that Knative allows
_DIGITS: Final = 1e6  # averages are rounded to so many parts


@dataclass(frozen=True, slots=True)
class Settings:
    """The autoscaler's ConfigMap and a revision's annotations.

    Attributes:
        total: requests that one replica may have.
        utilization: the part of `total` that is aimed at.
        max_scale_up_rate: the count may grow to at most so many times the ready replicas.
        max_scale_down_rate: it may shrink to at least this part of them (2: one half).
        stable_window: seconds that the usual average covers.
        panic_window_percent: the part of it that the fast average covers.
        panic_threshold: panic begins when the fast average needs so many times the ready replicas.
        scale_down_delay: seconds that a lower count must have been wanted all the time.
        target_burst_capacity: requests that ready replicas should be able to take at once; -1: any number.
        activation_scale: the least count that is not zero; below 2 it means nothing.
        reachable: whether a route leads to the revision.
    """

    total: float
    utilization: float = TARGET_UTILIZATION
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    stable_window: Seconds = 60.0
    panic_window_percent: float = 10.0
    panic_threshold: float = 2.0
    scale_down_delay: Seconds = 0.0
    target_burst_capacity: float = 211.0
    activation_scale: int = 0
    reachable: bool = True

    @property
    def target(self) -> float:
        """Requests that one replica should have."""
        return max(_TARGET_MIN, self.total * self.utilization)

    @property
    def panic_window(self) -> Seconds:
        """The fast average's window: whole seconds, at least one bucket."""
        nanoseconds = int(self.stable_window * 1e9 * self.panic_window_percent / 100)
        return max(float((nanoseconds + 500_000_000) // 1_000_000_000), SCRAPE_SECONDS)


class Averages(NamedTuple):
    """Concurrency of the whole service."""

    stable: float
    panic: float


class Proposal(NamedTuple):
    """What the autoscaler asks for, before bounds."""

    desired: int
    excess_burst_capacity: int  # below 0 the activator stays in the way of requests, to buffer them


class Buckets:
    """Values of the last seconds, one bucket for each.

    The average is over the seconds between the first and the last write, at most over the window: a window that has
    just begun to fill is averaged over what there is. Seconds without a value in between count as 0.
    """

    def __init__(self, window: Seconds) -> None:
        self._window = window
        self._values = [0.0] * math.ceil(window / SCRAPE_SECONDS)
        self._sum = 0.0  # added to and taken from, as the original does: its rounding errors are part of the answer
        self._first = math.nan
        self._last = -math.inf

    def is_empty(self, now: Seconds) -> bool:
        """Whether nothing was written for longer than the window."""
        return math.floor(now) - self._last > self._window

    def record(self, at: Seconds, value: float) -> None:
        """Add a value to its second. One that is older than the window is ignored."""
        second = math.floor(at)
        if second != self._last:
            if second + self._window <= self._last:
                return
            if not self._first <= second:
                self._first = second
            if second > self._last:
                self._clear_up_to(second)
                self._last = second
        self._values[second % len(self._values)] += value
        self._sum += value

    def average(self, now: Seconds) -> float:
        """The mean per second; 0 when nothing was written within the window."""
        second = math.floor(now)
        silent = second - self._last
        if silent >= self._window:
            return 0.0
        total, filled = self._sum, self._last - self._first + 1
        if silent > 0:
            last = int(self._last)
            for passed in range(last + 1, second + 1):
                total -= self._values[passed % len(self._values)]
            return _rounded(total / min(filled, len(self._values) - (second - last)))
        return _rounded(total / min(filled, len(self._values)))

    def _clear_up_to(self, second: int) -> None:
        if second - self._last >= self._window:
            self._first = second
            self._values = [0.0] * len(self._values)
            self._sum = 0.0
            return
        for passed in range(int(self._last) + 1, second + 1):
            place = passed % len(self._values)
            self._sum -= self._values[place]
            self._values[place] = 0.0


class Collector:
    """The two averages over what is scraped."""

    def __init__(self, settings: Settings) -> None:
        self._stable = Buckets(settings.stable_window)
        self._panic = Buckets(settings.panic_window)

    def record(self, at: Seconds, concurrency: float) -> None:
        """What one scrape of all replicas found, their waiting requests included."""
        self._stable.record(at, concurrency)
        self._panic.record(at, concurrency)

    def averages(self, now: Seconds) -> Averages | None:
        """None when nothing was scraped for longer than the stable window."""
        if self._stable.is_empty(now):
            return None
        return Averages(self._stable.average(now), self._panic.average(now))


class Autoscaler:
    """The decisions for one revision, and what must be remembered between them.

    Args:
        settings: may be replaced later through the attribute; a scale-down delay cannot be added or resized then.
        ready: ready replicas at the start. More than one means that this is a restart: it begins in panic, so that
            what it has forgotten does not lower the count.
        now: seconds.
    """

    def __init__(self, settings: Settings, ready: int, now: Seconds) -> None:
        self.settings = settings
        self._panic_since = now if ready > 1 else None
        self._most_in_panic = ready
        self._delay = _LargestOf(settings.scale_down_delay) if settings.scale_down_delay > 0 else None

    @property
    def panics(self) -> bool:
        """Whether the count may only grow."""
        return self._panic_since is not None

    def scale(self, averages: Averages | None, ready: int, now: Seconds) -> Proposal | None:
        """One decision; None when there is nothing to base it on."""
        if averages is None:
            return None
        settings = self.settings
        stable_need = _ceil(averages.stable / settings.target)
        panic_need = _ceil(averages.panic / settings.target)
        stable, panic = (_limited(need, ready, settings) for need in (stable_need, panic_need))
        self._feel(panic_need / max(1, ready) >= settings.panic_threshold, now)
        desired = stable
        if self.panics:
            self._most_in_panic = max(self._most_in_panic, stable, panic)
            desired = self._most_in_panic
        if settings.reachable and self._delay is not None:
            desired = self._delay.recorded(now, desired)
        return Proposal(desired, _excess_burst_capacity(averages.panic, ready, settings))

    def _feel(self, over_threshold: bool, now: Seconds) -> None:
        if over_threshold:
            self._panic_since = now
        elif self._panic_since is not None and self._panic_since + self.settings.stable_window < now:
            self._panic_since = None
            self._most_in_panic = 0


def desired_now(concurrency: float, target: float, ready: int) -> int:
    """What KPA would ask for if it had seen this concurrency for a whole window and were calm.

    Args:
        concurrency: requests of the whole service, waiting ones included.
        target: of them, per replica; > 0.
        ready: ready replicas.
    """
    return _limited(_ceil(concurrency / target), ready, Settings(total=target, utilization=1.0))


def bounded(desired: int, min_replicas: int, max_replicas: int) -> int:
    """Within the revision's bounds; a maximum of 0 is none."""
    desired = max(desired, min_replicas)
    return min(desired, max_replicas) if max_replicas else desired


class _LargestOf:
    """The largest count that was recorded within a window, in slots of one tick each."""

    def __init__(self, window: Seconds) -> None:
        self._slots = math.ceil(window / TICK_SECONDS)
        self._largest: deque[tuple[int, int]] = deque()  # (slot, count), counts falling

    def recorded(self, at: Seconds, count: int) -> int:
        slot = math.floor(at) // int(TICK_SECONDS)
        largest = self._largest
        while largest and largest[-1][1] <= count:
            largest.pop()
        while largest and slot - largest[0][0] >= self._slots:
            largest.popleft()
        largest.append((slot, count))
        return largest[0][1]


def _limited(need: float, ready: int, settings: Settings) -> int:
    """A need within the rates, and raised to the activation scale if there is any need."""
    counted = max(1, ready)
    most = math.ceil(settings.max_scale_up_rate * counted)
    least = math.floor(counted / settings.max_scale_down_rate) if settings.reachable else 0
    count = int(min(max(need, least), most))
    if settings.activation_scale > 1 and need > 0:
        return max(count, settings.activation_scale)
    return count


def _excess_burst_capacity(concurrency: float, ready: int, settings: Settings) -> int:
    if settings.target_burst_capacity == 0:
        return 0
    if settings.target_burst_capacity < 0:
        return -1
    return math.floor(ready * settings.total - settings.target_burst_capacity - concurrency)


def _ceil(value: float) -> float:
    """As a float: what is not finite stays so."""
    return float(math.ceil(value)) if math.isfinite(value) else value


def _rounded(value: float) -> float:
    """To `_DIGITS`, halves away from zero as Go rounds them."""
    scaled = value * _DIGITS
    whole = math.trunc(scaled)
    if abs(scaled - whole) >= 0.5:
        whole += 1 if scaled > 0 else -1
    return whole / _DIGITS
