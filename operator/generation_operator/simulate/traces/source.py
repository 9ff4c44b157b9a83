"""What a trace file holds once it is read: either the time of each request, or counts per bin of time.

Everything after the readers works on these two shapes and may rely on them: times are finite, sorted and start near 0,
counts are finite and not negative, bins touch each other.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from generation_operator.simulate.trace import Floats

# Longer than any traffic one would replay; guards the memory for bins against a single wrong time stamp.
LONGEST_SECONDS: Final = 400 * 86_400.0
# Times since 1970 are beyond this (1973), times since the start of a trace never are.
_EPOCH_FROM: Final = 1e8
# A step between two rows that is longer than this many usual ones is a hole in the data, not an uneven clock.
_HOLE: Final = 1.5
_SHORTEST_BIN: Final = 1e-3
_MOST_COMPRESSED: Final = 1000.0


class TraceError(ValueError):
    """A trace that cannot be used; the message says where, why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestTrace:
    """The arrival of each request.

    Attributes:
        name: for people.
        arrivals: seconds, sorted, in [0, duration).
        duration: seconds.
        resolution: arrivals were recorded in steps of this many seconds; 0 when they are exact.
        service: seconds of service per request, NaN where the file did not say; None: not recorded.
        input_tokens: per request; None: not recorded.
        output_tokens: per request, exactly if there are input tokens.
        repairs: what was mended or assumed while reading, one sentence each.
    """

    name: str
    arrivals: Floats
    duration: float
    resolution: float = 0.0
    service: Floats | None = None
    input_tokens: Floats | None = None
    output_tokens: Floats | None = None
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CountTrace:
    """Requests per bin.

    Attributes:
        name: for people.
        edges: seconds, from 0, strictly increasing: bin k reaches from `edges[k]` to `edges[k + 1]`.
        counts: requests in each bin; not whole numbers where they come from a rate.
        repairs: what was mended or assumed while reading, one sentence each.
    """

    name: str
    edges: Floats
    counts: Floats
    repairs: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return float(self.edges[-1])


Source = RequestTrace | CountTrace


def requests_of(
    name: str,
    arrivals: Floats,
    *,
    service: Floats | None = None,
    input_tokens: Floats | None = None,
    output_tokens: Floats | None = None,
    resolution: float | None = None,
    from_first: bool = False,
    repairs: tuple[str, ...] = (),
) -> RequestTrace:
    """Bring arrivals into order.

    Args:
        name: of the trace.
        arrivals: finite seconds in any order.
        service: one per arrival, NaN where unknown.
        input_tokens: one per arrival.
        output_tokens: one per arrival.
        resolution: of the recorded times; None: 1 s if all of them are whole seconds, else exact.
        from_first: count the time from the first arrival in any case (times of day).
        repairs: what has been mended so far.
    """
    if not len(arrivals):
        raise TraceError(f"{name}: has no requests; a trace needs at least one row of data")
    first = float(arrivals.min())
    if from_first or first >= _EPOCH_FROM:
        if not from_first:
            repairs = (*repairs, "times look like seconds since 1970, counted from the first one instead")
        arrivals = arrivals - np.floor(first)
    _check_span(name, float(arrivals.max()))
    order = np.argsort(arrivals, kind="stable")
    if resolution is None:
        resolution = 1.0 if len(arrivals) > 1 and bool(np.all(arrivals == np.floor(arrivals))) else 0.0
        if resolution:
            repairs = (*repairs, "times are whole seconds, requests are spread within their second")
    return RequestTrace(
        name=name,
        arrivals=arrivals[order],
        duration=float(np.floor(arrivals.max())) + 1.0,
        resolution=resolution,
        service=None if service is None or bool(np.isnan(service).all()) else service[order],
        input_tokens=None if input_tokens is None else input_tokens[order],
        output_tokens=None if output_tokens is None else output_tokens[order],
        repairs=repairs,
    )


def counts_of(
    name: str, starts: Floats, values: Floats, *, per_second: bool = False, repairs: tuple[str, ...] = ()
) -> CountTrace:
    """Make touching bins of rows that say when a bin starts; holes between rows are bridged along a straight line.

    Args:
        name: of the trace.
        starts: strictly increasing seconds, two at least.
        values: requests in the bin, or the rate in it.
        per_second: `values` are rates.
        repairs: what has been mended so far.
    """
    _check_span(name, float(starts[-1] - starts[0]))
    if float(starts[0]) >= _EPOCH_FROM and not per_second:
        repairs = (*repairs, "times look like seconds since 1970, counted from the first one instead")
    steps = np.diff(starts)
    if float(steps.min()) < _SHORTEST_BIN:
        at = float(starts[np.argmin(steps)])
        raise TraceError(f"{name}: the bin that starts at {at:g} s is shorter than a millisecond; use wider bins")
    usual = float(np.median(steps))
    widths = np.append(np.where(steps > _HOLE * usual, usual, steps), usual)
    rates = values if per_second else values / widths
    ends = starts + widths
    holes = np.flatnonzero(steps > _HOLE * usual)
    if len(holes):
        missing = float((starts[holes + 1] - ends[holes]).sum())
        repairs = (*repairs, f"{len(holes)} holes in the data ({missing:.0f} s in all) are bridged by straight lines")
    edges = np.append(np.insert(starts, holes + 1, ends[holes]), ends[-1])
    rates = np.insert(rates, holes + 1, (rates[holes] + rates[holes + 1]) / 2)
    # Times before the first row are unknown: a trace starts with it.
    edges = edges - starts[0]
    return CountTrace(name, edges, rates * np.diff(edges), repairs)


def window(source: Source, start: float, end: float) -> Source:
    """The part of a trace between two moments (seconds from its start), with times counted from `start`."""
    if not 0 <= start < end:
        raise TraceError(f"{source.name}: a window from {start:g} s to {end:g} s is empty; it must end after it starts")
    if start >= source.duration:
        raise TraceError(f"{source.name}: lasts {source.duration:g} s, nothing comes after {start:g} s; start earlier")
    end = min(end, source.duration)
    if isinstance(source, CountTrace):
        inner = source.edges[(source.edges > start) & (source.edges < end)]
        edges = np.concatenate(([start], inner, [end]))
        cumulative = np.concatenate(([0.0], np.cumsum(source.counts)))
        counts = np.diff(np.interp(edges, source.edges, cumulative))
        return replace(source, edges=edges - start, counts=counts)
    low, high = np.searchsorted(source.arrivals, [start, end])
    if low == high:
        raise TraceError(f"{source.name}: no requests between {start:g} s and {end:g} s; choose another window")
    chosen = slice(int(low), int(high))
    return replace(
        source,
        arrivals=source.arrivals[chosen] - start,
        duration=end - start,
        service=None if source.service is None else source.service[chosen],
        input_tokens=None if source.input_tokens is None else source.input_tokens[chosen],
        output_tokens=None if source.output_tokens is None else source.output_tokens[chosen],
    )


def compressed(source: Source, factor: float) -> Source:
    """The same requests in a time that is `factor` times shorter; how long each takes to serve stays as it is."""
    if not 1 / _MOST_COMPRESSED <= factor <= _MOST_COMPRESSED:
        raise TraceError(
            f"time_compression: is {factor:g}; give a number from {1 / _MOST_COMPRESSED:g} to {_MOST_COMPRESSED:g}"
        )
    _check_span(source.name, source.duration / factor)
    if isinstance(source, CountTrace):
        return replace(source, edges=source.edges / factor)
    return replace(
        source,
        arrivals=source.arrivals / factor,
        duration=source.duration / factor,
        resolution=source.resolution / factor,
    )


def _check_span(name: str, seconds: float) -> None:
    if seconds > LONGEST_SECONDS:
        raise TraceError(
            f"{name}: spans {seconds / 86_400:,.0f} days, more than {LONGEST_SECONDS / 86_400:.0f}; "
            "if its times are milliseconds, turn them into seconds; otherwise cut a part out"
        )
