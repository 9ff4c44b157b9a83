"""Access logs: nginx (common, combined, with or without the request's duration), Envoy (its default and Istio's), JSON.

Two conventions meet here: nginx stamps a request when it ends, Envoy when it starts. A trace needs the start; without a
duration the end has to do. A log of a real server has a broken line now and then, so a few are forgiven and reported;
more than that means that the format is not what it seems, and the first such line is named.
"""

import json
import math
import re
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from generation_operator.simulate.trace import Floats
from generation_operator.simulate.traces import log_times
from generation_operator.simulate.traces.source import RequestTrace, TraceError, requests_of
from generation_operator.simulate.traces.text import Limits, lines

_FORGIVEN: Final = 0.01  # of the lines
_HOPELESS: Final = 10_000  # broken lines, before the rest of the file is read
_LONGEST: Final = 86_400.0  # no request takes a day; such a number is something else
_STAMP_LOCAL: Final = re.compile(r"\[" + log_times.LOCAL.pattern + r"\]")
_STAMP_ISO: Final = re.compile(r"\[?" + log_times.ISO.pattern + r"(?:\]|\s)")
# request, status, flags, [Istio: details, termination, transport failure], bytes in, bytes out, milliseconds
_ENVOY: Final = re.compile(r'\s*"[^"]*" \d{1,3} \S+ (?:\S+ \S+ (?:"[^"]*"|-) )?\d+ \d+ (\d+)(?=\s|$)')
_REQUEST: Final = re.compile(r'"[A-Z]{3,9} ')
_KEYED: Final = re.compile(r'(?:^|[\s"])(?:rt|request_time)[=:]"?(\d+(?:\.\d+)?)(?=["\s,;]|$)')
_AFTER_QUOTES: Final = re.compile(r"\s+(\d+\.\d+)(?:\s|$)")
_START_KEYS: Final = ("start_time",)
_END_KEYS: Final = ("time", "time_local", "time_iso8601", "@timestamp", "timestamp", "msec", "ts")


class Entry(NamedTuple):
    """One request of a log."""

    stamp: float  # seconds since 1970
    took: float  # seconds, NaN where the log does not say
    at_start: bool  # the stamp is that of the start

    @property
    def arrival(self) -> float:
        """When the request came."""
        return self.stamp if self.at_start or math.isnan(self.took) else self.stamp - self.took


def looks_like_log(line: str) -> bool:
    """Whether a line is one of an access log."""
    return _parse(line) is not None


def read_access_log(path: Path, limits: Limits) -> RequestTrace:
    """The requests of a log, by the time they came."""
    arrivals, took = array("d"), array("d")
    count = bad = first_bad = back = last_bad = number = 0
    previous, whole = -math.inf, True
    for number, line in lines(path, limits, undecodable="replace"):
        entry = _parse(line)
        if entry is None:
            bad, last_bad, first_bad = bad + 1, number, first_bad or number
            if bad >= _HOPELESS and bad > _FORGIVEN * (count + bad):
                break
            continue
        count += 1
        if count > limits.requests:
            raise TraceError(
                f"{path.name}, line {number}: more than {limits.requests:,} requests; cut the log into parts"
            )
        back += entry.stamp < previous
        whole = whole and entry.stamp.is_integer()
        previous = entry.stamp
        arrivals.append(entry.arrival)
        took.append(entry.took)
    cut_off = bad == 1 and last_bad == number and count > 0  # a log that is still being written ends so
    if bad > _FORGIVEN * (count + bad) and not cut_off:
        raise TraceError(
            f"{path.name}, line {first_bad}: no time of a request in it "
            f"({bad} of the {count + bad} lines so far are like that); "
            "known are nginx's combined format, Envoy's default format, and JSON lines with start_time or time"
        )
    service = np.frombuffer(took, dtype=np.float64)
    return requests_of(
        path.name,
        np.frombuffer(arrivals, dtype=np.float64),
        service=np.where(service > 0, service, np.nan) if count else None,
        resolution=1.0 if whole else 0.0,
        from_first=True,
        repairs=_repairs(service, bad=bad, first_bad=first_bad, back=back, whole=whole),
    )


def _repairs(service: Floats, *, bad: int, first_bad: int, back: int, whole: bool) -> tuple[str, ...]:
    said = []
    if bad:
        said.append(f"{bad} lines without a request skipped, the first is line {first_bad}")
    if back:
        said.append(f"{back} lines go back in time, sorted")
    if whole:
        said.append("times are whole seconds, requests are spread within their second")
    unknown = int(np.count_nonzero(np.isnan(service)))
    if unknown < len(service):
        said.append("the time a request took is taken as its time of service, waiting included")
        if unknown:
            said.append(f"{unknown} requests without a duration, drawn from the others")
    return tuple(said)


def _parse(line: str) -> Entry | None:
    parser: Callable[[str], Entry | None] = _parse_json if line.startswith("{") else _parse_text
    try:
        entry = parser(line)
    except (ValueError, OverflowError, RecursionError):
        return None
    return entry if entry is not None and math.isfinite(entry.stamp) and entry.stamp >= 0 else None


def _parse_text(line: str) -> Entry | None:
    found = _STAMP_LOCAL.search(line)
    if found:
        return Entry(log_times.local(found[1]), _request_time(line), at_start=False)
    found = _STAMP_ISO.match(line) or _STAMP_ISO.search(line)
    if not found:
        return None
    stamp = log_times.iso(found)
    envoy = _ENVOY.match(line, found.end())
    if envoy:
        return Entry(stamp, _plausible(float(envoy[1]) / 1000.0), at_start=True)
    # A stamp of this kind could be any log's: an access log has the request in quotation marks.
    return Entry(stamp, _request_time(line), at_start=False) if _REQUEST.search(line) else None


def _request_time(line: str) -> float:
    found = _AFTER_QUOTES.match(line.rpartition('"')[2])
    if not found and ("rt" in line or "request_time" in line):
        found = _KEYED.search(line)
    return _plausible(float(found[1])) if found else math.nan


def _parse_json(line: str) -> Entry | None:
    fields = json.loads(line)
    for key in _START_KEYS:
        if key in fields:
            took = _number(fields.get("duration"))
            return Entry(_stamp(fields[key]), _plausible(took / 1000.0), at_start=True)
    for key in _END_KEYS:
        if key in fields:
            return Entry(_stamp(fields[key]), _plausible(_number(fields.get("request_time"))), at_start=False)
    return None


def _stamp(value: object) -> float:
    if isinstance(value, str):
        found = log_times.LOCAL.search(value)
        if found:
            return log_times.local(found[1])
        matched = log_times.ISO.match(value.strip())
        if matched:
            return log_times.iso(matched)
    return log_times.number(_number(value))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value in {"", "-"}:
        return math.nan
    return float(value)


def _plausible(took: float) -> float:
    return took if 0.0 <= took <= _LONGEST else math.nan
