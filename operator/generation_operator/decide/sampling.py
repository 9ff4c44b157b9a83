"""Turn the signals of one moment into what the policy `Targets` remembers: arrivals, work in the system, start-ups.

Signals come every 2 s from the pods or every 15 s from Prometheus, with rates over two seconds or over a minute. What
is remembered is always the same: how many workflows arrived in each interval between two samples.
"""

import math
from collections.abc import Mapping
from typing import Final

from generation_operator.decide.forecast import profiled
from generation_operator.decide.memory import MAX_STARTING, Bin, Bins, Memory, Starting
from generation_operator.decide.types import Observation, Signal, SignalName, SignalState

NO_SERVICE_SECONDS: Final = 1.0  # before any workflow has ended and none is in a slot
_SAMPLED: Final = (SignalName.QUEUE_LENGTH, SignalName.WORKFLOWS_IN_FLIGHT, SignalName.WORKFLOW_ARRIVALS)
_SAME_SAMPLE_SECONDS: Final = 0.5
_NEWEST_STARTUP: Final = 0.3  # weight of the last start-up in the mean
# What a rate in the very first sample is taken to be the mean of.
_FIRST_SECONDS: Final = 10.0
_GAP_SECONDS: Final = 60.0  # after a longer gap in the samples the arrivals before it say little


def sampled(memory: Memory, signals: Mapping[SignalName, Signal], now: float) -> Memory:
    """The memory with the newest sample, if it is a new one.

    Args:
        memory: what is remembered so far.
        signals: all signals by name, as `signals.trusted` returns them.
        now: seconds on the caller's clock.
    """
    arrivals = _value(signals, SignalName.WORKFLOW_ARRIVALS)
    in_flight = _value(signals, SignalName.WORKFLOWS_IN_FLIGHT)
    queued = _value(signals, SignalName.QUEUE_LENGTH)
    measured = _value(signals, SignalName.WORKFLOW_SERVICE_TIME) or memory.service_seconds
    guessed = memory.guessed_service
    if arrivals and in_flight:
        guessed = in_flight / arrivals  # Little's law; too little while the first workflows are still being worked on
    service = measured or guessed
    in_system = None if in_flight is None and queued is None else (in_flight or 0.0) + (queued or 0.0)
    if in_system is None and arrivals is not None:
        in_system = arrivals * (service or NO_SERVICE_SECONDS)
    if in_system is None:
        return memory
    ages = [signals[name].age for name in _SAMPLED if _value(signals, name) is not None]
    at = now - min((age for age in ages if age is not None), default=0.0)
    memory = memory._replace(service_seconds=measured, guessed_service=guessed)
    if memory.sampled_at is None or memory.in_system is None:
        first = Bins() if arrivals is None else Bins((Bin(_FIRST_SECONDS, arrivals * _FIRST_SECONDS),))
        return memory._replace(sampled_at=at, in_system=in_system, bins=first)
    if at < memory.sampled_at:  # a clock was set back; intervals start anew
        return memory._replace(sampled_at=at, in_system=in_system)
    seconds = at - memory.sampled_at
    if seconds < _SAME_SAMPLE_SECONDS:
        return memory
    left = seconds * min(in_flight if in_flight is not None else in_system, in_system) / (service or seconds)
    flow = max(0.0, in_system - memory.in_system + left)
    count = flow if arrivals is None else _arrived(arrivals, flow if measured else 0.0, seconds)
    bins = memory.bins if seconds <= _GAP_SECONDS else Bins()
    return memory._replace(
        bins=bins.followed_by(Bin(min(seconds, _GAP_SECONDS), count * min(1.0, _GAP_SECONDS / seconds))),
        sampled_at=at,
        in_system=in_system,
        profile=profiled(memory.profile, seconds, count, at),
    )


def _arrived(rate: float, flow: float, seconds: float) -> float:
    """Workflows that arrived between two samples.

    A rate over a window of a minute tells of a burst a minute late; what is in the system tells at once, but scatters
    more, with departures too. So the rate holds unless the other certainly exceeds it.
    """
    certain = max(0.0, math.sqrt(flow + 0.375) - 2.0) ** 2  # 2.8 standard deviations of sqrt, arrivals and departures
    return max(rate * seconds, certain)


def _value(signals: Mapping[SignalName, Signal], name: SignalName) -> float | None:
    signal = signals[name]
    return signal.value if signal.state is SignalState.FRESH else None


def followed(memory: Memory, observation: Observation, now: float) -> Memory:
    """The memory with when the replicas on their way were first seen, and how long the last ones took.

    Those that started first are taken to become ready first. The time is as coarse as the decisions are apart; whoever
    can see the pods themselves gives a better one in the observation.

    Args:
        memory: what is remembered so far.
        observation: how many there are now.
        now: seconds on the caller's clock.
    """
    left = max(0, observation.starting)
    kept: list[Starting] = []
    for group in reversed(memory.starting):  # those that have gone since were the oldest
        count = min(group.replicas, left)
        if count > 0:
            kept.append(Starting(min(group.since, now), count))
            left -= count
    kept.reverse()
    learnt = memory.learnt_startup
    was_first = memory.starting[0].since if memory.starting else now
    is_first = kept[0].since if kept else now
    if observation.ready > memory.ready and is_first > was_first:
        took = now - was_first
        learnt = took if learnt is None else learnt + _NEWEST_STARTUP * (took - learnt)
    if left > 0:
        kept.append(Starting(now, left))
    return memory._replace(starting=tuple(kept[-MAX_STARTING:]), ready=observation.ready, learnt_startup=learnt)
