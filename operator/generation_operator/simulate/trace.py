"""Traffic to replay: when requests come, and how long each keeps a slot busy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """One realisation of a trace.

    Attributes:
        arrivals: seconds from the start, sorted, finite, >= 0.
        service: seconds in a slot, one per request, > 0.
        duration: length of the trace in seconds, >= the last arrival.
        scored_from: requests that arrive earlier only warm the system up.
    """

    arrivals: Floats
    service: Floats
    duration: float
    scored_from: float = 0.0
