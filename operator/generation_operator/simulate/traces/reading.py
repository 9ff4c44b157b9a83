"""Find out what kind of trace a file is, and read it."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Final

from generation_operator.simulate.traces import tables
from generation_operator.simulate.traces.access_log import looks_like_log, read_access_log
from generation_operator.simulate.traces.prometheus_export import read_prometheus
from generation_operator.simulate.traces.source import Source, TraceError
from generation_operator.simulate.traces.text import LIMITS, Limits, head

_PROMETHEUS: Final = re.compile(r'"resultType"\s*:|"status"\s*:\s*"(?:success|error)"')


class Format(StrEnum):
    """What a trace file can be."""

    REQUESTS = "requests"  # CSV: arrival_s[,exec_s][,input_tokens,output_tokens]
    COUNTS = "counts"  # CSV: t_s,count
    ACCESS_LOG = "access-log"  # nginx, Envoy, or JSON lines
    PROMETHEUS = "prometheus"  # answer of a range query; a rate or a counter, told by itself
    PROMETHEUS_RATE = "prometheus-rate"  # requests per second
    PROMETHEUS_COUNTER = "prometheus-counter"  # requests so far


def read(path: Path | str, format: Format | str | None = None, *, limits: Limits = LIMITS) -> Source:  # noqa: A002
    """Read a trace, plain or gzip.

    Args:
        path: of the file.
        format: what it is; None: told by its first line.
        limits: how much is read at most.

    Raises:
        TraceError: the file cannot be used; says where, why and what to do.
    """
    path = Path(path)
    try:
        chosen = detect(path) if format is None else Format(format)
    except ValueError as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"format {str(format)!r} is unknown; choose one of {', '.join(Format)}") from None
    match chosen:
        case Format.REQUESTS:
            return tables.read_requests(path, limits)
        case Format.COUNTS:
            return tables.read_counts(path, limits)
        case Format.ACCESS_LOG:
            return read_access_log(path, limits)
        case Format.PROMETHEUS | Format.PROMETHEUS_RATE | Format.PROMETHEUS_COUNTER:
            counter = None if chosen is Format.PROMETHEUS else chosen is Format.PROMETHEUS_COUNTER
            return read_prometheus(path, limits, counter=counter)


def detect(path: Path) -> Format:
    """The format of a file by its first line that is neither blank nor a comment."""
    line = head(path)
    if line.startswith("{"):
        return _detect_json(path, line)
    names = line.lower().replace('"', "").replace(" ", "").split(",")
    if tables.ARRIVAL in names:
        return Format.REQUESTS
    if tables.TIME in names or tables.COUNT in names:
        return Format.COUNTS
    if looks_like_log(line):
        return Format.ACCESS_LOG
    raise TraceError(
        f"{path.name}: starts with {line[:60]!r}, which is no known kind of trace; give a CSV file with the header "
        f"{tables.ARRIVAL}[,exec_s][,input_tokens,output_tokens] or {tables.TIME},{tables.COUNT}, an access log "
        "(nginx, Envoy, JSON lines), or the saved answer of a Prometheus range query"
    )


def _detect_json(path: Path, line: str) -> Format:
    if looks_like_log(line):
        return Format.ACCESS_LOG
    # An export may be spread over lines or be one line of megabytes: its first 64 KiB are looked at as text.
    if line == "{" or _PROMETHEUS.search(line):
        return Format.PROMETHEUS
    raise TraceError(
        f"{path.name}: starts with {line[:60]!r}, which is neither a Prometheus range query's answer nor a line of a "
        "JSON access log (start_time and duration, or time and request_time); rename its fields"
    )
