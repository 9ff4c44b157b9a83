"""The clairvoyant: what the cheapest plan would have cost had the traffic been known one start-up time ahead.

Method: offered occupancy (requests that would be in a slot if none ever waited) against capacity, in steps of a few
seconds. Work beyond the capacity is delayed, and delayed work divided by the capacity is the wait. Dynamic programming
over the replicas and the wait (in classes) finds the plan with the least cost plus a price per miss; a start-up costs
its pod-seconds, a removal those of its draining. The price is searched for until the plan misses what it may.

Known gap: within a class of waits only the cheapest history is kept, and slots are a fluid, so plans are within a few
per cent of the best, not on it. A policy that comes out below the oracle's cost has used that gap.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from generation_operator.simulate.ports import Seconds, View
from generation_operator.simulate.trace import Floats, Requests

_STEP_SECONDS: Final = 5.0
_CLASSES: Final = 8  # of waits within the allowance; one more for those beyond
# The plan's own reserve: start-ups that take a little longer, and the scatter that a fluid does not have.
_USABLE_WAIT: Final = 0.7
_SLOW_STARTUP: Final = 1.15
_SEARCH: Final = 9  # halvings of the price of a miss

Ints = NDArray[np.int64]


class Oracle:
    """`ports.Scaler` that carries out a plan.

    Args:
        requests: what will arrive.
        attainment: share of requests that must not miss, 0..1; the main knob.
        wait_seconds: waiting beyond this misses.
        min_replicas: lower bound.
        max_replicas: upper bound.
    """

    name = "oracle"

    def __init__(
        self,
        requests: Requests,
        attainment: float,
        *,
        wait_seconds: Seconds,
        min_replicas: int,
        max_replicas: int,
    ) -> None:
        self._requests = requests
        self._attainment = attainment
        self._wait_seconds = wait_seconds
        self._bounds = min_replicas, max_replicas
        self._wanted: Ints = np.zeros(0, dtype=np.int64)

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Make the plan."""
        serving = plan(
            self._requests,
            self._attainment,
            slots=view.slots,
            startup_seconds=view.startup_seconds,
            wait_seconds=self._wait_seconds,
            bounds=self._bounds,
        )
        ahead = math.ceil(_SLOW_STARTUP * view.startup_seconds / _STEP_SECONDS)
        padded = np.concatenate([serving, np.full(ahead, serving[-1])])
        # Asked for one start-up time early; and what is needed again within that time is not even removed.
        self._wanted = np.lib.stride_tricks.sliding_window_view(padded, ahead + 1).max(axis=1)
        return 0.0

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """The plan's count for this step."""
        step = min(int(now / _STEP_SECONDS), len(self._wanted) - 1)
        return int(self._wanted[step]), now + _STEP_SECONDS


def plan(
    requests: Requests,
    attainment: float,
    *,
    slots: int,
    startup_seconds: Seconds,
    wait_seconds: Seconds,
    bounds: tuple[int, int],
) -> Ints:
    """Replicas that should serve in each step of 5 s.

    Args:
        requests: what will arrive.
        attainment: share of requests that must not miss.
        slots: of one replica.
        startup_seconds: of one replica; its pod-seconds are paid for.
        wait_seconds: waiting beyond this misses.
        bounds: fewest and most replicas.
    """
    arrived, occupied = _offered(requests)
    counts = np.arange(bounds[0], bounds[1] + 1)
    mean_service = float(requests.service.mean()) if len(requests.service) else 0.0
    model = _Model(counts, slots, startup_seconds, mean_service, _USABLE_WAIT * wait_seconds)
    allowed = (1 - attainment) * arrived.sum()
    low, high = 0.0, 20.0  # pod-seconds per miss; a request is worth some tenths of a pod-second of work
    best, missed = model.cheapest(arrived, occupied, high)
    if missed > allowed:
        return best
    for _ in range(_SEARCH):
        price = math.sqrt(max(low, 1e-3) * high)
        found, missed = model.cheapest(arrived, occupied, price)
        if missed <= allowed:
            best, high = found, price
        else:
            low = price
    return best


def _offered(requests: Requests) -> tuple[Floats, Floats]:
    """Per step: requests that arrive, and the mean number in a slot if none ever waited."""
    steps = max(1, math.ceil(requests.duration / _STEP_SECONDS))
    edges: Floats = np.arange(steps + 1, dtype=np.float64) * _STEP_SECONDS
    arrivals, ends = requests.arrivals, np.sort(requests.arrivals + requests.service)
    arrived = np.diff(np.searchsorted(arrivals, edges)).astype(np.float64)
    # Slot time used up to an edge: the sums of what has arrived, less what of it lies beyond the edge.
    inside = np.searchsorted(arrivals, edges) * edges - _sum_until(arrivals, edges)
    inside -= np.searchsorted(ends, edges) * edges - _sum_until(ends, edges)
    return arrived, np.diff(inside) / _STEP_SECONDS


def _sum_until(times: Floats, edges: Floats) -> Floats:
    totals = np.concatenate([[0.0], np.cumsum(times)])
    return totals[np.searchsorted(times, edges)]


class _Model:
    """Dynamic programming over (replicas, class of the wait)."""

    def __init__(self, counts: Ints, slots: int, startup: float, service: float, allowance: float) -> None:
        self._counts = counts
        self._capacity = counts * float(slots)
        self._allowance = allowance
        steps = counts[None, :] - counts[:, None]
        # A drained replica works on until its last request has left; that of twenty takes about twice the mean.
        self._change = np.where(steps > 0, steps * startup, -steps * 1.2 * service)

    def cheapest(self, arrived: Floats, occupied: Floats, price: float) -> tuple[Ints, float]:
        """The cheapest plan at a price per miss, and how many it misses."""
        size, classes = len(self._counts), _CLASSES + 1
        cost = np.full((size, classes), np.inf)
        cost[:, 0] = 0.0
        delayed, missed = np.zeros((size, classes)), np.zeros((size, classes))
        came_from = np.zeros((len(arrived), size, classes), dtype=np.int32)
        for step in range(len(arrived)):
            # From every (replicas, class) to every count: the count serves this step.
            backlog = np.maximum(0.0, delayed[:, :, None] + (occupied[step] - self._capacity) * _STEP_SECONDS)
            wait = backlog / self._capacity
            late = np.where(wait > self._allowance, arrived[step], 0.0)
            total = cost[:, :, None] + self._change[:, None, :] + self._counts * _STEP_SECONDS + price * late
            kind = np.minimum(np.ceil(wait / self._allowance * _CLASSES), classes - 1).astype(np.int64)
            lost = missed[:, :, None] + late
            cost, delayed, missed, came_from[step] = _kept(total, kind, backlog, lost, classes)
        row, column = divmod(int(np.argmin(cost)), classes)
        result = float(missed[row, column])
        serving = np.zeros(len(arrived), dtype=np.int64)
        for step in range(len(arrived) - 1, -1, -1):
            serving[step] = self._counts[row]
            row, column = divmod(int(came_from[step, row, column]), classes)
        return serving, result


def _kept(
    total: Floats, kind: Ints, backlog: Floats, lost: Floats, classes: int
) -> tuple[Floats, Floats, Floats, NDArray[np.int32]]:
    """Of all ways into each (replicas, class) the cheapest."""
    size = total.shape[2]
    flat = total.reshape(-1, size)
    kinds = kind.reshape(-1, size)
    cost = np.full((size, classes), np.inf)
    source = np.zeros((size, classes), dtype=np.int32)
    for column in range(classes):
        masked = np.where(kinds == column, flat, np.inf)
        chosen = np.argmin(masked, axis=0)
        source[:, column] = chosen
        cost[:, column] = masked[chosen, np.arange(size)]
    columns = np.arange(size)[:, None]
    return cost, backlog.reshape(-1, size)[source, columns], lost.reshape(-1, size)[source, columns], source
