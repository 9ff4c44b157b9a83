"""What came out of an experiment, in one plain sentence that gives cost and misses together.

It is honest before it is flattering: when a rival does better, or nobody can tell, it says so.
"""

import math
from typing import Final

from generation_operator.simulate.comparison import Comparison, at_equal_cost, spots
from generation_operator.simulate.outcome import Outcome, Point, Series
from generation_operator.simulate.pareto import front

# Not a rival: it knows what will come.
_CLAIRVOYANT: Final = "Oracle"


def sentence(outcome: Outcome) -> str:
    """The first policy against the strongest of the others, at equal cost where that is known."""
    ours, *others = outcome.series
    rivals = [series for series in others if series.name != _CLAIRVOYANT]
    if not any(score.requests for score in ours.headline.scores):
        return f"There was no traffic to miss; {ours.name} cost {_hours(ours.headline)}."
    if not rivals or not outcome.sweep_seeds:
        told = [f"{ours.name} misses {_misses(ours.headline)} at {_hours(ours.headline)}"]
        told += [f"{rival.name} {_misses(rival.headline)} at {_hours(rival.headline)}" for rival in rivals]
        unswept = " (without a sweep, nothing is known at equal cost)" if rivals else ""
        return f"On your traffic, {', '.join(told)}{unswept}."
    compared = [at_equal_cost(ours, rival) for rival in rivals]
    known = [(one.theirs, one) for one in compared if one.theirs is not None]
    if not known:
        return _incomparable(ours, rivals, compared[0])
    misses, strongest = min(known, key=lambda pair: pair[0])
    dearer = [one.rival for one in compared if one.theirs is None]
    return _compared(ours.name, strongest, misses) + (_never(dearer) if dearer else "")


def _compared(ours: str, rival: Comparison, misses: float) -> str:
    own = f"{ours} misses {percent(rival.ours)} at {hours(rival.pod_hours)} pod-hours"
    if rival.is_tie:
        return f"On your traffic, {own}, and {rival.rival} {percent(misses)} at the same cost: a tie."
    if misses < rival.ours:
        return f"On your traffic, {own}, and {rival.rival} does better: it misses {percent(misses)} at the same cost."
    return f"On your traffic, {own}; {rival.rival}, the best of the others, misses {percent(misses)} at the same cost."


def _never(names: list[str]) -> str:
    """Who cannot be compared at that cost, lest somebody thinks that they were left out for winning."""
    *all_but_last, last = names
    told = f"{', '.join(all_but_last)} and {last}" if all_but_last else last
    return f" {told} {'are' if all_but_last else 'is'} never that cheap."


def _incomparable(ours: Series, rivals: list[Series], own: Comparison) -> str:
    """No rival can be had that cheaply: the cheapest setting of any of them, with both of its figures."""
    spot, name = min((front(spots(rival))[0], rival.name) for rival in rivals)
    return (
        f"On your traffic, {ours.name} misses {percent(own.ours)} at {hours(own.pod_hours)} pod-hours; no other policy "
        f"was ever that cheap, the cheapest, {name}, missed {percent(spot.miss_ratio)} at {hours(spot.cost)}."
    )


def percent(ratio: float) -> str:
    """A share of requests: two decimals where there are few."""
    value = ratio * 100
    if 0 < value < 0.01:
        return "less than 0.01 %"
    return f"{value:.1f} %" if value >= 9.95 else f"{value:.2f} %"


def hours(pod_hours: float) -> str:
    """Pod-hours: three digits, and no less than whole ones."""
    digits = 0 if pod_hours >= 100 else 1 if pod_hours >= 10 else 2
    return f"{pod_hours:,.{digits}f}"


def seconds(value: float) -> str:
    """A time; endless for those that were never served."""
    if not math.isfinite(value):
        return "never"
    return f"{value:.1f} s" if value < 99.95 else f"{value:,.0f} s"


def _misses(point: Point) -> str:
    return percent(point.miss_ratio.mean)


def _hours(point: Point) -> str:
    return f"{hours(point.pod_hours.mean)} pod-hours"
