"""What one simulated run leaves behind: enough to score it, draw it and explain it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation_operator.simulate.trace import Floats, Requests

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The state of the service at each whole second; all arrays have the same length."""

    at: Floats
    arrived: Ints  # so far
    missed: Ints  # so far
    in_flight: Ints
    queued: Ints
    ready: Ints
    starting: Ints
    draining: Ints
    replicas: Ints  # spec.replicas


@dataclass(frozen=True, slots=True)
class Note:
    """What an autoscaler said about one of its decisions, for people."""

    at: float
    wanted: int
    reason: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One autoscaler on one realisation of a trace.

    Attributes:
        waits: seconds each request waited for a slot, NaN if it never got one (rejected, gave up).
        latencies: seconds from arrival to answer, NaN likewise.
        missed: whether each request missed the target: rejected, gave up, or waited longer than allowed.
        pod_seconds: from `requests.scored_from` to the end, starting and draining included.
        notes: decisions that changed something or had a new reason; empty unless asked for.
    """

    scaler: str
    seed: int
    requests: Requests
    waits: Floats
    latencies: Floats
    missed: NDArray[np.bool_]
    pod_seconds: float
    timeline: Timeline
    notes: tuple[Note, ...] = ()
