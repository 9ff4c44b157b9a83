"""What a run is worth: what it cost and what was missed, always both.

Misses are counted over requests that arrived, not over those that were answered: a policy that lets clients give up
must not look good for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from generation_operator.simulate.result import Run

_WORST_SECONDS: Final = 300.0
QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Score:
    """One run.

    Attributes:
        pod_seconds: from creation to the last request, starting and draining included.
        work_seconds: slot time that the requests needed, divided by the slots of a replica: the cost of replicas that
            are always busy with every slot. `pod_seconds / work_seconds` compares across traces.
        requests: that arrived in the scored part.
        missed: of these.
        worst_miss_ratio: in the worst five minutes.
        reversals_per_hour: changes of direction of `spec.replicas`.
        waits: quantiles 50, 95 and 99 % of the waiting time in seconds; those never served count as infinite.
        latencies: the same of the time to the answer.
    """

    pod_seconds: float
    work_seconds: float
    requests: int
    missed: int
    worst_miss_ratio: float
    reversals_per_hour: float
    waits: tuple[float, float, float]
    latencies: tuple[float, float, float]

    @property
    def miss_ratio(self) -> float:
        """Of the requests that arrived; 0 when none did."""
        return self.missed / self.requests if self.requests else 0.0

    @property
    def pod_hours(self) -> float:
        """Cost."""
        return self.pod_seconds / 3600


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds and the half-width of its 95 % confidence interval (0 with a single seed)."""

    mean: float
    margin: float


def score(run: Run, slots: int) -> Score:
    """Score the part of a run that counts.

    Args:
        run: what happened.
        slots: of one replica.
    """
    requests = run.requests
    scored = requests.arrivals >= requests.scored_from
    missed, arrivals = run.missed[scored], requests.arrivals[scored]
    hours = (requests.duration - requests.scored_from) / 3600
    return Score(
        pod_seconds=run.pod_seconds,
        work_seconds=float(requests.service[scored].sum()) / slots,
        requests=int(scored.sum()),
        missed=int(missed.sum()),
        worst_miss_ratio=_worst(arrivals, missed),
        reversals_per_hour=_reversals(run) / hours if hours > 0 else 0.0,
        waits=_quantiles(run.waits[scored]),
        latencies=_quantiles(run.latencies[scored]),
    )


# Student's t at 97.5 % for 1, 2, ... degrees of freedom; beyond, the normal value plus what is left of the difference.
_T: Final = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of what the seeds gave, and how far it can be trusted."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return Estimate(mean, 0.0)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    factor = _T[count - 2] if count - 2 < len(_T) else 1.96 + 2.4 / (count - 1)
    return Estimate(mean, factor * deviation / math.sqrt(count))


def _worst(arrivals: np.ndarray, missed: np.ndarray) -> float:
    """The highest miss ratio of any five minutes, looked at once a minute."""
    if not len(arrivals):
        return 0.0
    # The latest start is looked at too, or what comes after the last whole minute would never be seen.
    latest = max(arrivals[-1] - _WORST_SECONDS, arrivals[0])
    starts = np.append(np.arange(arrivals[0], latest, 60.0), latest)
    first = np.searchsorted(arrivals, starts)
    last = np.searchsorted(arrivals, starts + _WORST_SECONDS, side="right")
    before = np.concatenate([[0], np.cumsum(missed)])
    counts = np.maximum(last - first, 1)
    return float(np.max((before[last] - before[first]) / counts))


def _reversals(run: Run) -> int:
    steps = np.sign(np.diff(run.timeline.replicas[run.timeline.at >= run.requests.scored_from]))
    moves = steps[steps != 0]
    return int(np.sum(moves[1:] != moves[:-1]))


def _quantiles(values: np.ndarray) -> tuple[float, float, float]:
    if not len(values):
        return (0.0, 0.0, 0.0)
    # Inverted, not interpolated: between a number and infinity there is nothing.
    p50, p95, p99 = np.quantile(np.nan_to_num(values, nan=np.inf), QUANTILES, method="inverted_cdf")
    return float(p50), float(p95), float(p99)
