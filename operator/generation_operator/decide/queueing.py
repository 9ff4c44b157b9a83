"""How long workflows will wait, given how many replicas there are and will be.

A replica works on `slots` workflows at a time, each for `service` seconds; the rest waits in one queue. Between two
moments the number in the system grows by what arrives and shrinks by what the busy slots finish (the fluid limit of the
M/G/c queue); a workflow that arrives waits until the queue before it has been worked off. Around that mean the number
scatters as arrivals and service times do: `sqrt(rate x time x (1 + cv^2))` (the diffusion limit), which is what small
services need more room for than large ones.

Waiting is capacity. A service whose target leaves 15 s for waiting may run with all slots busy and a queue, where a
fixed utilisation of 70 % would pay for 30 % idle slots.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

# Of the service times; 0.25 is a coefficient of variation of one half. Unknown in general; its square enters a root.
_SERVICE_VARIANCE: Final = 0.25
# Standard deviations of scatter that are kept free. 1 to 2 gave the same front within 1 %.
_SCATTER: Final = 1.5
_HINDSIGHT_STEP: Final = 3.0  # seconds; longer ones would let a whole interval arrive before any of it is worked off
_STEPS: Final = 32  # of the integration; 64 changed no decision on the public traces


class Load(NamedTuple):
    """What has to be worked on."""

    in_system: float  # workflows in a slot or waiting, now
    rate: float  # arrivals per second, now
    growth: float  # of the rate, per second
    growing_seconds: float  # from now
    service_seconds: float

    def rate_at(self, time: float) -> float:
        """Arrivals per second, `time` seconds from now."""
        return self.rate + self.growth * min(time, self.growing_seconds)


class Fleet(NamedTuple):
    """What works on it."""

    slots: float  # usable slots of a replica
    ready: int
    arriving: tuple[tuple[float, int], ...]  # (seconds from now, replicas), soonest first
    startup_seconds: float  # of a replica that is asked for now

    @property
    def total(self) -> int:
        """Replicas that are ready or will be."""
        return self.ready + sum(count for _, count in self.arriving)


def suffices(load: Load, fleet: Fleet, replicas: int, allowance: float, *, since: float, until: float) -> bool:
    """Whether nothing is expected to wait longer than the allowance, scatter included.

    The inner loop of every decision (about ten calls, 32 rounds each), hence the comparisons in place of `min`, `max`.

    Args:
        load: what has to be worked on.
        fleet: what there is. Replicas beyond its total take one start-up time.
        replicas: the count to try.
        allowance: seconds that a workflow may wait for a slot.
        since: arrivals before this, in seconds from now, do not count.
        until: how far to look, in seconds from now.
    """
    step, service, slots = until / _STEPS, load.service_seconds, fleet.slots
    rate, growth, growing_seconds = load.rate, load.growth, load.growing_seconds
    grown = fleet.startup_seconds if replicas > fleet.total else math.inf
    scatter, settled = _SCATTER**2 * rate * (1 + _SERVICE_VARIANCE), 2 * service
    scattered_most = math.sqrt(scatter * settled)
    # A workflow that arrives when this many are in the system waits exactly as long as allowed.
    tolerable = 1 + allowance / service
    arriving, ready, in_system = fleet.arriving, fleet.ready, load.in_system
    for number in range(_STEPS + 1):
        time = number * step
        while arriving and arriving[0][0] <= time:
            ready, arriving = ready + arriving[0][1], arriving[1:]
        capacity = slots * (replicas if time >= grown or replicas < ready else ready)
        if time >= since:
            scattered = math.sqrt(scatter * time) if time < settled else scattered_most
            if in_system + scattered > capacity * tolerable:
                return False
        left = (in_system if in_system < capacity else capacity) / service  # noqa: FURB136 - see above
        growing = time if time < growing_seconds else growing_seconds  # noqa: FURB136
        in_system += step * (rate + growth * growing - left)
        if in_system < 0:
            in_system = 0.0
    return True


def sufficed(
    arrivals: Sequence[tuple[float, float]], service_seconds: float, slots: float, replicas: int, allowance: float
) -> bool:
    """Whether a constant number of replicas would have kept the waits of recent arrivals within the allowance.

    Args:
        arrivals: (seconds, workflows) of consecutive intervals, oldest first.
        service_seconds: mean time in a slot.
        slots: of a replica.
        replicas: the count to try.
        allowance: seconds that a workflow may wait for a slot.
    """
    capacity = slots * replicas
    tolerable = capacity * (1 + allowance / service_seconds)
    covered = sum(seconds for seconds, _ in arrivals)
    # What was in the system before the first interval is not remembered; the mean is the least surprising guess.
    in_system = sum(count for _, count in arrivals) / covered * service_seconds if covered > 0 else 0.0
    for seconds, count in arrivals:
        steps = math.ceil(seconds / _HINDSIGHT_STEP)
        for _ in range(steps):
            busy = in_system if in_system < capacity else capacity  # noqa: FURB136 - called too often for `min`
            worked_off = seconds * busy / service_seconds
            in_system += (count - worked_off) / steps
            if in_system < 0:
                in_system = 0.0
        if in_system > tolerable:
            return False
    return True
