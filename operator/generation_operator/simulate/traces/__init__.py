"""Recorded traffic: read it from a file, check it, rescale it, and turn it into requests to simulate.

`read` takes a file of a user or of a research project, `realise` makes one random realisation of it. A trace that
cannot be understood is refused with the line and the remedy; it is never guessed at in silence: whatever was mended on
the way is listed in the source's `repairs`.
"""

from generation_operator.simulate.traces.reading import Format, read
from generation_operator.simulate.traces.realise import realise
from generation_operator.simulate.traces.rescale import Growth
from generation_operator.simulate.traces.service_times import ServiceLaw
from generation_operator.simulate.traces.source import CountTrace, RequestTrace, Source, TraceError, compressed, window
from generation_operator.simulate.traces.text import LIMITS, Limits

__all__ = [
    "LIMITS",
    "CountTrace",
    "Format",
    "Growth",
    "Limits",
    "RequestTrace",
    "ServiceLaw",
    "Source",
    "TraceError",
    "compressed",
    "read",
    "realise",
    "window",
]
