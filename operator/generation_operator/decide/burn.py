"""Keep, and add, replicas while misses use up the error budget faster than it can last.

Two windows must agree: the long one says that it matters, the short one that it still goes on. Burning 14.4 times too
fast over an hour costs 2 % of a month's budget, six times too fast over six hours costs 5 %: the pairs and factors of
the Google SRE workbook, chapter 5.

While a pair burns nothing is lowered and a floor rises. The windows look back, so they go on burning for minutes after
the cure: that is why the floor rises once per start-up time, and never further than to twice the replicas it began with
(1.25 times for the slow pair). When neither burns any more the floor sinks as fast as it rose. Miss ratios that are not
usable neither raise nor lower it; after an hour without any it goes.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from generation_operator.decide.draft import Draft
from generation_operator.decide.signals import USABLE
from generation_operator.decide.types import Burn, Reason, Replicas, Seconds, Signal, SignalName, Stage

# A promise of 100 % has no budget to burn; a thousandth stands in, so that one miss in a thousand is not a burn.
_SMALLEST_BUDGET: Final = 0.001
# With a budget of more than 6.9 % a factor of 14.4 asks for more misses than there are workflows.
_CERTAIN: Final = 0.9
_STEP: Final = 0.25
_FORGET_SECONDS: Final = 3600.0


class _Pair(NamedTuple):
    short: SignalName
    long: SignalName
    factor: float
    most: float  # times the replicas it began with
    step: float  # share of the floor to add at once; at least one replica
    name: str


_PAIRS: Final = (
    _Pair(SignalName.MISS_RATIO_5M, SignalName.MISS_RATIO_1H, 14.4, 2.0, _STEP, "1 h and 5 min"),
    _Pair(SignalName.MISS_RATIO_30M, SignalName.MISS_RATIO_6H, 6.0, 1.25, 0.0, "6 h and 30 min"),
)


def burnt(
    draft: Draft,
    burn: Burn | None,
    signals: Mapping[SignalName, Signal],
    *,
    error_budget: float,
    startup_seconds: float,
    maximum: int,
    now: Seconds,
) -> tuple[Draft, Burn | None]:
    """Raise or hold the count by the error budget's burn.

    Args:
        draft: what the stages so far came to.
        burn: the floor of the last decision.
        signals: all signals by name, as `signals.trusted` returns them.
        error_budget: share of workflows that may miss, 0..1.
        startup_seconds: how long a replica takes to help.
        maximum: maxReplicas.
        now: Unix seconds.
    """
    budget = max(error_budget, _SMALLEST_BUDGET)
    known = [(pair, ratio) for pair in _PAIRS if (ratio := _burning(signals, pair)) is not None]
    over = next(((pair, ratio) for pair, ratio in known if ratio > min(pair.factor * budget, _CERTAIN)), None)
    judged = draft.valid and math.isfinite(now)
    if over is not None and judged:
        pair, ratio = over
        burn = _risen(burn, draft.current, pair, startup_seconds=startup_seconds, maximum=maximum, now=now)
        at_least = max(burn.floor, draft.current)
        why = f"{ratio:.2%} missed over {pair.name}, {ratio / budget:.1f} times what the error budget allows"
        return _kept(draft, at_least, f"{why}: at least {at_least}"), burn
    if burn is None or not judged:
        return draft.passed(Stage.BURN, _quiet(judged=judged, known=bool(known))), burn
    sunk = _sunk(burn, startup_seconds, now, known=bool(known))
    if sunk is None:
        return draft.passed(Stage.BURN, "the error budget lasts again"), None
    at_least = min(sunk.floor, draft.current)
    why = "the error budget burnt until lately" if known else "the error budget burnt, and miss ratios are unknown now"
    return _kept(draft, at_least, f"{why}: at least {at_least}"), sunk


def _quiet(*, judged: bool, known: bool) -> str:
    if not judged:
        return "not judged: metrics not usable"
    return "the error budget lasts" if known else "miss ratios unknown"


def _burning(signals: Mapping[SignalName, Signal], pair: _Pair) -> float | None:
    """The smaller miss ratio of both windows; None when it is not known. Where nothing was asked, nothing missed."""
    short, long = signals[pair.short], signals[pair.long]
    if short.state not in USABLE or long.state not in USABLE:
        return None
    return min(short.value or 0.0, long.value or 0.0)


def _risen(
    burn: Burn | None, current: Replicas, pair: _Pair, *, startup_seconds: float, maximum: int, now: Seconds
) -> Burn:
    """The floor while a pair burns: one step at once, then one per start-up time."""
    if burn is None:
        burn = Burn(current, current, Seconds(now - startup_seconds), now)
    if burn.moved_at > now:  # the clock was set back
        burn = burn._replace(moved_at=now)
    if now - burn.moved_at < startup_seconds:
        return burn._replace(known_at=now)
    most = max(burn.began_with + 1, math.ceil(burn.began_with * pair.most))
    floor = max(burn.floor, min(burn.floor + _step(burn.floor, pair.step), most, maximum))
    return burn._replace(floor=floor, moved_at=now, known_at=now)


def _sunk(burn: Burn, startup_seconds: float, now: Seconds, *, known: bool) -> Burn | None:
    """The floor after the burn; None when it is gone."""
    if not known:
        return burn if 0 <= now - burn.known_at < _FORGET_SECONDS else None
    if 0 <= now - burn.moved_at < startup_seconds:
        return burn._replace(known_at=now)
    floor = burn.floor - _step(burn.floor, _STEP)
    return Burn(burn.began_with, floor, now, now) if floor > 0 else None


def _step(floor: int, share: float) -> int:
    return max(1, math.ceil(floor * share))


def _kept(draft: Draft, at_least: int, message: str) -> Draft:
    """The draft with no fewer replicas than these."""
    draft = draft.with_floor(at_least)
    if draft.desired >= at_least:
        return draft.passed(Stage.BURN, message)
    if at_least > draft.current:
        return draft.set_by(Stage.BURN, at_least, Reason.ERROR_BUDGET_BURN, message)
    return draft.held_by(Stage.BURN, at_least, Reason.ERROR_BUDGET_BURN, f"Held, {message}: {draft.message}")
