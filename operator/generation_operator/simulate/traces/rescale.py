"""More or fewer requests of the same shape.

Multiplying a trace is not harmless. Copies shifted by up to a minute keep the shape of the minutes and smooth what
happens within them; repeating each request near its place keeps the bursts and makes them as many times higher. The
truth lies between, so both exist. Removing requests at random makes a trace smoother: with a thousandth left, hardly
anything but its rate is.
"""

import math
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from generation_operator.simulate.trace import Floats
from generation_operator.simulate.traces.intensity import RunningTotal
from generation_operator.simulate.traces.source import CountTrace, RequestTrace

Places = NDArray[np.int64]

SHIFT_SECONDS: Final = (1.0, 60.0)
BIN_SECONDS: Final = 10.0  # burstiness is measured and kept per this long
MINUTE: Final = 60.0
_DISTINCT_COPIES: Final = 100  # the mean of more shifted copies hardly differs
_CELLS: Final = 1_000_000
_PEAK_QUANTILE: Final = 0.999  # of the minutes: a single odd minute in a long trace does not set the scale


class Growth(StrEnum):
    """How a trace is made larger."""

    SUPERPOSE = "superpose"  # independent copies: smoother
    REPLICATE = "replicate"  # each request many times: as bursty as the trace, the hard mode


def peak_rate(source: RequestTrace | CountTrace) -> float:
    """Requests per second of the 99.9th percentile of the minutes."""
    edges = np.append(np.arange(0.0, source.duration, MINUTE), source.duration)
    # A short last piece would be a noisy minute.
    if len(edges) > 2 and edges[-1] - edges[-2] < MINUTE / 2:
        edges = edges[:-1]
    return float(np.quantile(_expected(source, edges) / np.diff(edges), _PEAK_QUANTILE))


def rate_between(source: RequestTrace | CountTrace, start: float, end: float) -> float:
    """Mean requests per second between two moments."""
    return float(_expected(source, np.array([start, end]))[0]) / (end - start)


def total(source: RequestTrace | CountTrace) -> float:
    """Requests in the trace."""
    return float(source.counts.sum()) if isinstance(source, CountTrace) else float(len(source.arrivals))


def scaled_requests(
    arrivals: Floats, end: float, factor: float, growth: Growth, rng: np.random.Generator
) -> tuple[Floats, Places]:
    """Arrivals `factor` times as dense, unsorted, and which of the given ones each stems from."""
    if factor <= 1:
        kept = np.flatnonzero(rng.random(len(arrivals)) < factor)
        return arrivals[kept], kept.astype(np.int64)
    if growth is Growth.SUPERPOSE:
        return _superposed(arrivals, factor, rng)
    return _replicated(arrivals, end, factor, rng)


def counted_requests(
    trace: CountTrace, factor: float, growth: Growth, burstiness: float, rng: np.random.Generator
) -> Floats:
    """Arrivals of a Cox process around the rate of a trace, unsorted.

    Counts per 10 s are negative binomial; their variance is `1 + (burstiness - 1) * factor` times their mean. Of
    superposed copies each has its own bursts and its own shift: for them the factor counts only as far as it thins.
    """
    bins = max(1, math.ceil(trace.duration / BIN_SECONDS))
    edges = np.minimum(np.arange(bins + 1) * BIN_SECONDS, trace.duration)
    expected = RunningTotal(trace)
    if factor > 1 and growth is Growth.SUPERPOSE:
        copies = math.ceil(factor)
        shifts = rng.uniform(*SHIFT_SECONDS, min(copies, _DISTINCT_COPIES))
        means = factor * np.mean([expected.between(edges - shift) for shift in shifts], axis=0)
        over = (burstiness - 1.0) * factor / copies
    else:
        means = factor * expected.between(edges)
        over = (burstiness - 1.0) * factor
    if over > 0:
        # A Poisson law whose mean is drawn from a gamma law is a negative binomial one.
        means = np.where(means > 0, rng.gamma(np.maximum(means, 1e-12) / over) * over, 0.0)
    counts = rng.poisson(means)
    starts, widths = np.repeat(edges[:-1], counts), np.repeat(np.diff(edges), counts)
    return starts + widths * rng.random(len(starts))


def _superposed(arrivals: Floats, factor: float, rng: np.random.Generator) -> tuple[Floats, Places]:
    copies = math.ceil(factor)
    moved, places = [arrivals[:0]], [np.zeros(0, dtype=np.int64)]
    # Many copies at a time, or short traces with a large factor would be slow.
    at_a_time = max(1, _CELLS // max(1, len(arrivals)))
    for first in range(0, copies, at_a_time):
        shifts = rng.uniform(*SHIFT_SECONDS, min(at_a_time, copies - first))
        copy, place = np.nonzero(rng.random((len(shifts), len(arrivals))) < factor / copies)
        moved.append(arrivals[place] + shifts[copy])
        places.append(place.astype(np.int64))
    return np.concatenate(moved), np.concatenate(places)


def _replicated(arrivals: Floats, end: float, factor: float, rng: np.random.Generator) -> tuple[Floats, Places]:
    times = np.floor(factor) + (rng.random(len(arrivals)) < factor - np.floor(factor))
    places = np.repeat(np.arange(len(arrivals)), times.astype(np.int64))
    starts = np.floor(arrivals[places] / BIN_SECONDS) * BIN_SECONDS
    return starts + (np.minimum(starts + BIN_SECONDS, end) - starts) * rng.random(len(places)), places


def _expected(source: RequestTrace | CountTrace, edges: Floats) -> Floats:
    if isinstance(source, CountTrace):
        return RunningTotal(source).between(edges)
    return np.diff(np.searchsorted(source.arrivals, edges)).astype(np.float64)
