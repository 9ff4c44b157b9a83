"""How long requests keep a slot busy: as recorded, from their tokens, or drawn from a law."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from generation_operator.simulate.trace import Floats
from generation_operator.simulate.traces.source import CountTrace, RequestTrace, Source, TraceError

# A language model that reads 5,000 tokens and writes 33 tokens a second, and a second for everything around it.
_AROUND_SECONDS: Final = 1.0
_READ_PER_SECOND: Final = 5000.0
_WRITE_SECONDS: Final = 0.03
_SHORTEST: Final = 1e-3
# Image generation pipelines of a public trace: mean/median 1.20 and p95/median 2.35, i.e. a lognormal law with a
# coefficient of variation of 0.56 to 0.67. Exponential times (1.0) would have too many short and too many long ones.
USUAL_VARIATION: Final = 0.6


class ServiceLaw(StrEnum):
    """How drawn service times are distributed."""

    LOGNORMAL = "lognormal"
    EXPONENTIAL = "exponential"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True, eq=False)
class ServiceTimes:
    """Service times of a trace.

    Attributes:
        mean: in seconds.
        recorded: of each request of the trace, NaN where unknown; None: all are drawn.
        law: of the drawn ones.
        variation: coefficient of variation of the lognormal law.
    """

    mean: float
    recorded: Floats | None
    law: ServiceLaw
    variation: float

    def of(self, requests: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """The service times of requests, given by their places in the trace; -1 for one that is not in it."""
        if self.recorded is None:
            return np.maximum(self._drawn(len(requests), rng), _SHORTEST)
        times = np.where(requests >= 0, self.recorded[requests], np.nan)
        unknown = np.isnan(times)
        known = self.recorded[~np.isnan(self.recorded)]
        times[unknown] = rng.choice(known, size=int(np.count_nonzero(unknown)))
        return np.maximum(times, _SHORTEST)

    def _drawn(self, count: int, rng: np.random.Generator) -> Floats:
        match self.law:
            case ServiceLaw.CONSTANT:
                return np.full(count, self.mean)
            case ServiceLaw.EXPONENTIAL:
                return rng.exponential(self.mean, count)
            case ServiceLaw.LOGNORMAL:
                variance = math.log1p(self.variation**2)
                return rng.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance), count)


def service_times(
    source: Source,
    *,
    mean_seconds: float,
    law: ServiceLaw | None,
    variation: float,
    clip_seconds: tuple[float, float] | None,
) -> ServiceTimes:
    """The service times of a trace: its own if it has any and no law is asked for, else its tokens', else a law's."""
    if not (math.isfinite(mean_seconds) and mean_seconds > 0):
        raise TraceError(f"mean_service_seconds: is {mean_seconds:g}; give a number of seconds above 0")
    if not (math.isfinite(variation) and variation >= 0):
        raise TraceError(f"service_variation: is {variation:g}; give a number of at least 0")
    if isinstance(source, CountTrace) or law is not None:
        return ServiceTimes(mean_seconds, None, law or ServiceLaw.LOGNORMAL, variation)
    recorded = _recorded(source, clip_seconds)
    if recorded is None:
        return ServiceTimes(mean_seconds, None, ServiceLaw.LOGNORMAL, variation)
    return ServiceTimes(max(float(np.nanmean(recorded)), _SHORTEST), recorded, ServiceLaw.LOGNORMAL, variation)


def _recorded(source: RequestTrace, clip_seconds: tuple[float, float] | None) -> Floats | None:
    if source.service is not None:
        return source.service
    if source.input_tokens is None or source.output_tokens is None:
        return None
    times = _AROUND_SECONDS + source.input_tokens / _READ_PER_SECOND + _WRITE_SECONDS * source.output_tokens
    if clip_seconds is None:
        return times
    low, high = clip_seconds
    if not 0 < low <= high:
        raise TraceError(f"token_clip_seconds: {low:g} to {high:g} is no range; give 0 < shortest <= longest")
    return np.clip(times, low, high)
