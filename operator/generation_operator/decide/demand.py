"""The policy `Targets`: how many replicas the declared targets need.

Every replica that is not needed costs; every workflow that waits longer than its target allows is a miss. So: the
fewest replicas with which no workflow is expected to wait longer than allowed, where more replicas help only after the
time that a new one takes to become ready, and fewer must suffice for long enough that taking them back would not cost
more than it saved.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

from generation_operator.api.model import Switch
from generation_operator.api.spec import Targets
from generation_operator.decide.arrivals import estimate
from generation_operator.decide.draft import Draft
from generation_operator.decide.forecast import Forecast, forecast
from generation_operator.decide.memory import MAX_BINS, Memory
from generation_operator.decide.policy import Policy
from generation_operator.decide.queueing import Fleet, Load, sufficed, suffices
from generation_operator.decide.sampling import NO_SERVICE_SECONDS, followed, sampled
from generation_operator.decide.types import Observation, Reason, Seconds, Signal, SignalName, SignalState, Stage
from generation_operator.decide.words import replicas

# More than any cluster has, so that no load, however absurd, asks for an infinite count.
_MOST_REPLICAS: Final = 1e9
# Slots that are kept free beyond the plan, in %: below 3 % a slow drift at 60 s start-up turned into misses.
_SPARE_PERCENT: Final = 5
# Share of the waiting allowance that a plan may use.
_USABLE_WAIT: Final = 0.8
# Start-ups that take a tenth longer than their mean are ordinary.
_SLOW_STARTUP: Final = 1.1
# Seconds from one decision to the next, and a little: what this decision does not ask for comes that much later.
_REACT_SECONDS: Final = 4.0
# A removed replica must not be needed for this many start-up times, or the start-up costs more than the removal saved.
_REMOVAL_STARTUPS: Final = 3.0
# How far hindsight reaches before experience changes it: a start-up time, and a little.
_HOLD_SECONDS: Final = 15.0
_HOLD_STARTUPS: Final = 1.0


def demanded(
    draft: Draft,
    memory: Memory,
    policy: Policy,
    observation: Observation,
    signals: Mapping[SignalName, Signal],
    *,
    now: Seconds,
) -> tuple[Draft, Memory]:
    """Ask for the replicas that keep the targets; adds the lines of the stages Demand and Forecast.

    Args:
        draft: what the stages so far came to.
        memory: what the last decision remembered.
        policy: the declared targets and the policy's parameters.
        observation: replicas, their start-up, and the signals as they came.
        signals: all signals by name, as `signals.trusted` returns them.
        now: Unix seconds.
    """
    memory = followed(sampled(memory, signals, now), observation, now)
    current_rate = estimate(memory.bins)
    if not draft.valid or current_rate is None or memory.in_system is None:
        text = "metrics not usable" if not draft.valid else "no arrivals observed yet"
        return draft.passed(Stage.DEMAND, text).passed(Stage.FORECAST, text), memory

    service = memory.service_seconds or memory.guessed_service or NO_SERVICE_SECONDS
    fleet = _fleet(memory, policy, observation, _headroom(policy, signals), now)
    allowance = _allowance(policy.targets, service)
    load = Load(memory.in_system, current_rate.rate, 0.0, 0.0, service)
    lasting = replicas_for(load, fleet, draft.current, allowance)
    told = (
        f"{load.rate:.3g}/s x {service:.3g} s = {load.rate * service:.3g} busy slots, {load.in_system:.0f} in the "
        f"system, {fleet.slots:.3g} usable slots per replica, {allowance:.3g} s of waiting allowed: {replicas(lasting)}"
    )
    draft = draft.set_by(Stage.DEMAND, lasting, _reason(lasting, draft), told)

    if policy.scaling.targets.forecast is Switch.ENABLED:
        expected, memory = forecast(memory, current_rate, now, fleet.startup_seconds)
        draft = _foreseen(draft, expected, load, fleet, allowance)
    else:
        draft = draft.passed(Stage.FORECAST, "disabled")
    memory = memory._replace(startup_seconds=fleet.startup_seconds)
    if draft.lowers:
        memory = memory._replace(hindsight=_hindsight(memory, fleet, service, allowance, draft))
    return draft, memory


def replicas_for(load: Load, fleet: Fleet, current: int, allowance: float) -> int:
    """The fewest replicas that keep waiting within the allowance.

    Args:
        load: what has to be worked on.
        fleet: what works on it.
        current: replicas asked for now.
        allowance: seconds that a workflow may wait.
    """
    startup = fleet.startup_seconds
    until = startup + _REACT_SECONDS
    if not suffices(load, fleet, current, allowance, since=startup, until=until):
        # All that can be in the system by then, each in a slot of its own.
        most = load.in_system + load.rate_at(until) * (until + load.service_seconds)
        ceiling = max(current + 1, math.ceil(min(_MOST_REPLICAS, most / fleet.slots)) + 1)
        return _fewest(
            current + 1, ceiling, lambda count: suffices(load, fleet, count, allowance, since=startup, until=until)
        )
    horizon = _REMOVAL_STARTUPS * startup
    return _fewest(0, current, lambda count: suffices(load, fleet, count, allowance, since=0.0, until=horizon))


def _fewest(low: int, high: int, enough: Callable[[int], bool]) -> int:
    """The smallest count from `low` on that suffices; `high` if none below it does."""
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _foreseen(draft: Draft, expected: Forecast, load: Load, fleet: Fleet, allowance: float) -> Draft:
    """Raise for what trusted forecasts expect; never lower."""
    startup = fleet.startup_seconds
    growing = load._replace(growth=expected.growth, growing_seconds=min(startup, expected.lasts))
    if expected.season is not None and expected.season > growing.rate_at(startup):
        growing = load._replace(growth=(expected.season - load.rate) / startup, growing_seconds=startup)
    if growing.growth <= 0:
        return draft.passed(Stage.FORECAST, expected.text)
    foreseen = replicas_for(growing, fleet, draft.current, allowance)
    if foreseen <= draft.desired:
        return draft.passed(Stage.FORECAST, f"{expected.text}: {replicas(foreseen)}, not more")
    message = f"{growing.rate_at(startup):.3g}/s expected in {startup:.0f} s ({expected.text}): {replicas(foreseen)}"
    return draft.set_by(Stage.FORECAST, foreseen, _reason(foreseen, draft), message)


def _hindsight(memory: Memory, fleet: Fleet, service: float, allowance: float, draft: Draft) -> int:
    """The replicas that the recent past would have needed: bursts that come again and again keep theirs."""
    base = _HOLD_SECONDS + _HOLD_STARTUPS * fleet.startup_seconds
    recent: list[tuple[float, float]] = []
    covered = 0.0
    for interval in zip(*memory.bins.newest(MAX_BINS), strict=True):
        recent.append(interval)
        covered += interval[0]
        if covered >= base * memory.hold_scale:
            break
    if covered < base * min(1.0, memory.hold_scale):  # after a start: what was not seen may have needed all of them
        return draft.current
    recent.reverse()
    return _fewest(draft.desired, draft.current, lambda count: sufficed(recent, service, fleet.slots, count, allowance))


def _allowance(targets: Targets, service: float) -> float:
    """Seconds that a workflow may wait, as far as a plan may use them.

    What the duration target leaves after the work itself, but no more than half the target: the target is on the 95th
    percentile, and work that takes longer than its mean needs the rest.
    """
    duration = targets.workflow_duration_seconds
    return _USABLE_WAIT * max(0.05 * duration, min(duration - service, duration / 2))


def _headroom(policy: Policy, signals: Mapping[SignalName, Signal]) -> float:
    """Factor on the slots that a plan asks for: the spare, the user's headroom, and more as the error budget goes.

    Up to half of the last hour's budget may go for nothing; from there to 2.5 times the budget the factor grows to 1.2.
    """
    budget = max(policy.error_budget, 0.001)
    missed = signals[SignalName.MISS_RATIO_1H]
    spent = missed.value / budget if missed.state is SignalState.FRESH and missed.value is not None else 0.0
    steering = 1 + 0.1 * min(2.0, max(0.0, spent - 0.5))
    return max(0.1, (100 + _SPARE_PERCENT) / 100 * (100 + policy.scaling.targets.headroom_percent) / 100 * steering)


def _startup(memory: Memory, policy: Policy, observation: Observation) -> float:
    """Seconds until a new replica is ready: measured on the pods, else learnt from the counts, else assumed."""
    for known in (observation.startup_seconds, memory.learnt_startup):
        if known is not None and 0 < known < math.inf:
            return known
    return policy.scaling.targets.assumed_startup_seconds


def _fleet(memory: Memory, policy: Policy, observation: Observation, headroom: float, now: float) -> Fleet:
    startup = max(1.0, _SLOW_STARTUP * _startup(memory, policy, observation))
    ready = min(observation.ready, observation.current)
    left = observation.current - ready
    arriving = []
    for group in memory.starting:
        count = min(group.replicas, left)
        if count > 0:
            arriving.append((max(0.5, group.since + startup - now), count))
            left -= count
    if left > 0:  # asked for, and not even seen starting
        arriving.append((startup, left))
    return Fleet(policy.targets.concurrent_workflows / headroom, ready, tuple(sorted(arriving)), startup)


def _reason(to: int, draft: Draft) -> Reason:
    if to == draft.current:
        return Reason.WITHIN_RANGE
    return Reason.HIGH_LOAD if to > draft.current else Reason.LOW_LOAD
