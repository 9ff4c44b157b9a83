"""`gensvc decide`: a filter from observations to decisions, for notebooks and other programs.

One JSON line in, one JSON line out, at once, for as long as lines come. It decides with the operator's own function and
remembers what the operator would remember, and it never stops at a line that it cannot read.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TextIO

from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.decide.policy import Policy
from generation_operator.decide.step import not_carried_out, step
from generation_operator.decide.types import (
    Decision,
    Observation,
    Replicas,
    Seconds,
    Signal,
    SignalName,
    SignalState,
    State,
)

LINE_LIMIT: Final = 65536  # bytes; an observation takes about 1000

SIGNALS: Final = {
    "responseTimeSeconds": SignalName.RESPONSE_TIME,
    "requestsPerSecond": SignalName.REQUEST_RATE,
    "cpuUtilizationPercent": SignalName.CPU,
    "memoryUtilizationPercent": SignalName.MEMORY,
    "queueLength": SignalName.QUEUE_LENGTH,
    "errorRatio": SignalName.ERROR_RATIO,
    "workflowArrivalsPerSecond": SignalName.WORKFLOW_ARRIVALS,
    "workflowServiceSeconds": SignalName.WORKFLOW_SERVICE_TIME,
    "workflowsInFlight": SignalName.WORKFLOWS_IN_FLIGHT,
    "workflowDurationP95Seconds": SignalName.WORKFLOW_DURATION_P95,
    "cachedResponseP95Seconds": SignalName.CACHED_RESPONSE_P95,
    "cacheHitRatio": SignalName.CACHE_HIT_RATIO,
    "missRatio5m": SignalName.MISS_RATIO_5M,
    "missRatio30m": SignalName.MISS_RATIO_30M,
    "missRatio1h": SignalName.MISS_RATIO_1H,
    "missRatio6h": SignalName.MISS_RATIO_6H,
}
_KEYS: Final = {name: key for key, name in SIGNALS.items()}
_OBSERVATION: Final = (
    "at", "replicas", "readyReplicas", "startingReplicas", "reportingPods", "startupSeconds", "signals", "ages",
)  # fmt: skip
# Means and shares: 0/0 when nothing was asked, which is knowledge and no gap.
_OF_REQUESTS: Final = (SignalName.RESPONSE_TIME, SignalName.ERROR_RATIO)
_OF_WORKFLOWS: Final = (
    SignalName.WORKFLOW_SERVICE_TIME,
    SignalName.WORKFLOW_DURATION_P95,
    SignalName.MISS_RATIO_5M,
    SignalName.MISS_RATIO_30M,
    SignalName.MISS_RATIO_1H,
    SignalName.MISS_RATIO_6H,
)
_MOST_REPLICAS: Final = 1_000_000


class MalformedError(ValueError):
    """A line is no observation; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class _Last:
    """The decision before, and what it was made from."""

    before: State
    after: State
    decision: Decision


def decide(spec: GenerationServiceSpec, observations: BinaryIO, output: TextIO) -> int:
    """Answer each line until there are no more. Returns the exit code.

    Args:
        spec: whose policy decides.
        observations: JSON lines in UTF-8.
        output: flushed after each line.
    """
    policy = Policy.of(spec)
    last: _Last | None = None
    try:
        for number, line in enumerate(_lines(observations), start=1):
            try:
                at, observation = observed(line)
            except MalformedError as error:
                answer: dict[str, Any] = {"error": str(error), "line": number}
            else:
                before = _state(last, observation)
                after, decision = step(policy, before, observation, at, counterfactuals=True)
                last = _Last(before, after, decision)
                answer = _told(decision)
            output.write(json.dumps(answer, allow_nan=False) + "\n")
            output.flush()
    except BrokenPipeError:
        # Whoever read has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
    return 0


def observed(line: bytes | None) -> tuple[Seconds, Observation]:
    """The time and the observation that a line tells; None is a line that was too long.

    Raises:
        MalformedError: it tells none.
    """
    if line is None:
        raise MalformedError(f"the line is longer than {LINE_LIMIT} bytes: split it or leave unknown keys out")
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    if not isinstance(told, dict):
        raise MalformedError("not a JSON object: write one observation per line")
    _only(told, _OBSERVATION, "")
    at = _number(told, "at")
    if at is None or not math.isfinite(at):
        raise MalformedError("at: missing or not a number: give the time in seconds")
    replicas = _count(told, "replicas")
    if replicas is None:
        raise MalformedError("replicas: missing: give the replicas that the Deployment asks for")
    ready = _count(told, "readyReplicas")
    reporting = _count(told, "reportingPods")
    startup = _number(told, "startupSeconds")
    return Seconds(at), Observation(
        signals=_signals(_mapping(told, "signals"), _mapping(told, "ages")),
        current=replicas,
        ready=replicas if ready is None else ready,
        starting=_count(told, "startingReplicas") or Replicas(0),
        reporting=reporting,
        startup_seconds=None if startup is None else Seconds(startup),
    )


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Line by line as they come; None in place of one that is too long to be kept in memory."""
    while line := stream.readline(LINE_LIMIT + 1):
        if len(line) <= LINE_LIMIT:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LINE_LIMIT)
        yield None


def _state(last: _Last | None, observation: Observation) -> State:
    """What is remembered: a step counts only if the replicas are what was decided."""
    if last is None:
        return State()
    if observation.current == last.decision.desired:
        return last.after
    return not_carried_out(last.before, last.after)


def _signals(values: Mapping[str, Any], ages: Mapping[str, Any]) -> dict[SignalName, Signal]:
    _only(values, SIGNALS, "signals.")
    _only(ages, SIGNALS, "ages.")
    numbers = {SIGNALS[key]: _number(values, key, "signals.") for key in values}
    quiet = {
        name
        for names, rate in ((_OF_REQUESTS, SignalName.REQUEST_RATE), (_OF_WORKFLOWS, SignalName.WORKFLOW_ARRIVALS))
        for name in names
        if numbers.get(rate) == 0
    }
    signals = {}
    for name, number in numbers.items():
        age = _number(ages, _KEYS[name], "ages.") if _KEYS[name] in ages else 0.0
        usable = number is not None and math.isfinite(number)
        without = SignalState.NO_TRAFFIC if name in quiet else SignalState.MISSING
        signals[name] = Signal(
            name,
            SignalState.FRESH if usable else without,
            number if usable else None,
            Seconds(math.nan if age is None else age),
        )
    return signals


def _number(values: Mapping[str, Any], key: str, path: str = "") -> float | None:
    """A number, NaN if it says so; None for null and for what is absent."""
    value = values.get(key)
    if value is None:
        return None
    if value == "NaN":
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedError(f'{path}{key}: not a number: write a number, null or "NaN"')
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _count(values: Mapping[str, Any], key: str) -> Replicas | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_REPLICAS:
        raise MalformedError(f"{key}: not a count: write a whole number from 0 to {_MOST_REPLICAS}")
    return Replicas(value)


def _mapping(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = told.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedError(f"{key}: not a JSON object: write names and numbers")
    return value


def _only(given: Mapping[str, Any], known: Mapping[str, Any] | tuple[str, ...], path: str) -> None:
    unknown = next((key for key in given if key not in known), None)
    if unknown is not None:
        raise MalformedError(f"{path}{unknown}: unknown: use {', '.join(known)}")


def _told(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "at": decision.at,
        "desired": decision.desired,
        "current": decision.current,
        "valid": decision.valid,
        "binder": str(decision.binder),
        "limitedBy": None if decision.limited_by is None else str(decision.limited_by),
        "reason": str(decision.reason),
        "signals": {
            _KEYS[signal.name]: {"state": str(signal.state), "value": signal.value, "age": signal.age}
            for signal in decision.signals
        },
        "lines": [
            {"stage": str(line.stage), "before": line.before, "after": line.after, "text": line.text}
            for line in decision.lines
        ],
        "counterfactuals": decision.counterfactuals,
    }
