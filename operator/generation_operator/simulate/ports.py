"""What the simulator gives an autoscaler to see, and what it asks of one.

An autoscaler never looks into the plant: it sees samples that somebody could have taken, each as old as its metrics
path makes it. That is what makes a comparison fair: whoever lives on 30 s old numbers in reality does so here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

Seconds = float  # virtual time, from the start of the trace


class Sample(NamedTuple):
    """What a probe of the whole service would have counted at one moment."""

    at: Seconds
    in_flight: int  # requests in a slot, those of draining replicas included
    queued: int  # requests waiting for a slot
    arrived: int  # requests so far
    served: int  # requests that have left a slot so far
    missed: int  # requests so far that were rejected, gave up, or waited longer than they should
    service_seconds: float  # slot time of the requests that have left a slot so far, summed
    ready: int  # replicas that take requests
    starting: int  # replicas that exist and are not ready yet


@dataclass(slots=True, eq=False)
class Pod:
    """One replica. `usage[k]` is the slot time it has used up to second `k` of its life, in slot-seconds."""

    id: int
    created_at: Seconds
    ready_at: Seconds  # when it takes its first request; may lie in the future
    slots: int
    busy: int = 0  # slots in use now
    draining_since: Seconds | None = None  # takes no new requests, still finishes those it has
    usage: list[float] | None = None

    def is_ready(self, now: Seconds) -> bool:
        """Whether it takes requests."""
        return self.ready_at <= now and self.draining_since is None

    def used(self, at: Seconds) -> float:
        """Slot-seconds used from its creation to `at` (whole seconds of its life, rounded down)."""
        if not self.usage:
            return 0.0
        return self.usage[max(0, min(int(at - self.created_at), len(self.usage) - 1))]


class View(Protocol):
    """The service as its surroundings can see it."""

    slots: int  # per replica

    @property
    def startup_seconds(self) -> Seconds:
        """Mean, from creation to ready, as measured so far; the configured mean before that."""

    @property
    def replicas(self) -> int:
        """`spec.replicas` now."""

    def pods(self) -> Sequence[Pod]:
        """All replicas that exist: starting, ready and (last) draining."""

    def sample(self, at: Seconds) -> Sample:
        """What a probe at `at` counted, to the whole second below; `at` must not lie in the future."""


class Scaler(Protocol):
    """An autoscaler under test. One instance serves one run."""

    name: str

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Get ready for a run; draws the phases of its loops. Returns when `act` is to be called first."""

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Look and decide: the wanted `spec.replicas` (None: leave it), and when to be called next (> now)."""
