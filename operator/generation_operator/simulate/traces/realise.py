"""From a trace to requests: one random realisation, scaled to the size of the service that is to serve it."""

import math
from dataclasses import replace
from typing import Final

import numpy as np

from generation_operator.simulate.trace import Floats, Requests
from generation_operator.simulate.traces.rescale import (
    BIN_SECONDS,
    SHIFT_SECONDS,
    Growth,
    Places,
    counted_requests,
    peak_rate,
    rate_between,
    scaled_requests,
    total,
)
from generation_operator.simulate.traces.service_times import USUAL_VARIATION, ServiceLaw, ServiceTimes, service_times
from generation_operator.simulate.traces.source import CountTrace, RequestTrace, Source, TraceError, compressed
from generation_operator.simulate.traces.text import LIMITS

# "The first rate" is that of this long: shorter would be a burst or a gap by chance.
_FIRST_SECONDS: Final = 300.0
_USUAL_BURSTINESS: Final = 2.0
_LONGEST_WARM_UP: Final = 86_400.0
_BURSTIEST: Final = 1000.0  # the worst real trace at hand has 71


def realise(
    source: Source,
    *,
    rng: np.random.Generator,
    peak_replicas: float | None = None,
    slots: int = 20,
    planned_utilization: float = 0.7,
    mean_service_seconds: float = 15.0,
    service_distribution: ServiceLaw | None = None,
    service_variation: float = USUAL_VARIATION,
    token_clip_seconds: tuple[float, float] | None = None,
    time_compression: float = 1.0,
    growth: Growth = Growth.SUPERPOSE,
    burstiness: float | None = None,
    warm_up_seconds: float = 600.0,
) -> Requests:
    """One realisation of a trace. The same trace, options and state of `rng` give the same requests.

    Args:
        source: the trace.
        rng: source of all chance.
        peak_replicas: scale the traffic so that the 99.9th percentile of its minutes needs this many replicas; None:
            leave it as it is.
        slots: requests a replica works on at a time.
        planned_utilization: of the slots at that peak.
        mean_service_seconds: of requests whose service time is neither recorded nor known from tokens.
        service_distribution: of such requests. Naming one sets recorded times and tokens aside.
        service_variation: coefficient of variation of lognormal service times.
        token_clip_seconds: bounds of service times that come from tokens.
        time_compression: first let time pass so many times faster; service times stay.
        growth: how to make a trace larger.
        burstiness: of traces that are counts: variance over mean of what comes per 10 s around the recorded rate, 1
            for Poisson arrivals, 1.5 to 3 for web and chat traffic, 17 for a very noisy source. None: 2, or 1 where
            bins are so short that the counts themselves hold the bursts.
        warm_up_seconds: of traffic at the trace's first rate before it, which does not count.

    Raises:
        TraceError: the trace is empty, would become too large, or an option makes no sense.
    """
    source = compressed(source, time_compression)
    burstiness = _usual_burstiness(source) if burstiness is None else burstiness
    _check(planned_utilization, burstiness, warm_up_seconds, slots)
    times = service_times(
        source,
        mean_seconds=mean_service_seconds,
        law=service_distribution,
        variation=service_variation,
        clip_seconds=token_clip_seconds,
    )
    factor = 1.0
    if peak_replicas is not None:
        factor = _factor(source, peak_replicas * slots * planned_utilization, times)
    # Shifted copies leave the first minute half empty: it is made longer by that much and cut off.
    settling = SHIFT_SECONDS[1] if growth is Growth.SUPERPOSE else 0.0
    lead = warm_up_seconds + settling
    rate = rate_between(source, 0.0, min(_FIRST_SECONDS, source.duration))
    _check_size(source, factor * (total(source) + rate * lead))
    if isinstance(source, CountTrace):
        arrivals = counted_requests(_led_counts(source, rate, lead), factor, growth, burstiness, rng)
        places = np.full(len(arrivals), -1, dtype=np.int64)
    else:
        exact, known = _led_requests(source, rate, lead, rng)
        arrivals, of = scaled_requests(exact, lead + source.duration, factor, growth, rng)
        places = known[of]
    arrivals = arrivals - settling
    end = warm_up_seconds + source.duration
    kept = np.flatnonzero((arrivals >= 0) & (arrivals <= end))
    kept = kept[np.argsort(arrivals[kept], kind="stable")]
    return Requests(
        arrivals=arrivals[kept], service=times.of(places[kept], rng), duration=end, scored_from=warm_up_seconds
    )


def _factor(source: Source, busy_slots: float, times: ServiceTimes) -> float:
    """How many times as many requests keep `busy_slots` busy in the 99.9th percentile of the minutes."""
    if not (math.isfinite(busy_slots) and busy_slots > 0):
        raise TraceError(f"peak_replicas: {busy_slots:g} busy slots at the peak make no sense; give a number above 0")
    peak = peak_rate(source)
    if peak <= 0:
        raise TraceError(f"{source.name}: has no requests to scale; choose a part of it with traffic")
    return busy_slots / (peak * times.mean)


def _led_requests(source: RequestTrace, rate: float, lead: float, rng: np.random.Generator) -> tuple[Floats, Places]:
    """The trace after `lead` seconds of Poisson arrivals, and the places of its requests in it (-1: not of it)."""
    before = rng.random(rng.poisson(rate * lead)) * lead
    exact = source.arrivals
    if source.resolution:
        exact = np.minimum(exact + rng.random(len(exact)) * source.resolution, source.duration)
    places = np.concatenate((np.full(len(before), -1, dtype=np.int64), np.arange(len(exact), dtype=np.int64)))
    return np.concatenate((before, exact + lead)), places


def _led_counts(source: CountTrace, rate: float, lead: float) -> CountTrace:
    if lead <= 0:
        return source
    return replace(
        source,
        edges=np.concatenate(([0.0], source.edges + lead)),
        counts=np.concatenate(([rate * lead], source.counts)),
    )


def _usual_burstiness(source: Source) -> float:
    short = isinstance(source, CountTrace) and float(np.median(np.diff(source.edges))) <= BIN_SECONDS
    return 1.0 if short else _USUAL_BURSTINESS


def _check(planned_utilization: float, burstiness: float, warm_up_seconds: float, slots: int) -> None:
    if not 0 < planned_utilization <= 1:
        raise TraceError(f"planned_utilization: is {planned_utilization:g}; give a number above 0 and up to 1")
    if not 1 <= burstiness <= _BURSTIEST:
        raise TraceError(f"burstiness: is {burstiness:g}; give a number from 1 (Poisson) to {_BURSTIEST:g}")
    if not 0 <= warm_up_seconds <= _LONGEST_WARM_UP:
        raise TraceError(f"warm_up_seconds: is {warm_up_seconds:g}; give a number from 0 to {_LONGEST_WARM_UP:g}")
    if slots < 1:
        raise TraceError(f"slots: is {slots}; a replica has at least 1")


def _check_size(source: Source, expected: float) -> None:
    if not expected <= LIMITS.requests:
        raise TraceError(
            f"{source.name}: would become {expected:,.0f} requests, more than {LIMITS.requests:,}; "
            "choose a shorter part of it, a lower peak, or longer service times"
        )
