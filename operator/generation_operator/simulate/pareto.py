"""Compare autoscalers where a comparison is fair: at equal cost, and at equal attainment.

Any policy can miss less by costing more. So each is swept over its main knob; the points that no other point of the
same policy beats are its front; and between two points of a front one can buy the mixture (run one setting part of the
time), which mixes misses as it mixes cost. A curve drawn between them would be kinder, the more so the fewer settings
were tried. Beyond the front's ends nothing is known, and nothing is said.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

# Below this a miss ratio is as good as none: one request of 2,000.
NEGLIGIBLE: Final = 0.0005


class Spot(NamedTuple):
    """Cost and misses of one setting."""

    cost: float  # any unit, the same for all
    miss_ratio: float


def front(spots: Sequence[Spot]) -> list[Spot]:
    """The spots that no other one beats in both, cheapest first."""
    best: list[Spot] = []
    for spot in sorted(spots):
        if not best or spot.miss_ratio < best[-1].miss_ratio:
            best.append(spot)
    return best


def misses_at(spots: Sequence[Spot], cost: float) -> float | None:
    """The miss ratio that a policy reaches at a cost; None where it is cheaper than anything that was tried.

    Between two points of the front cost and misses are mixed in the same proportion. Above its dearest point a policy
    can do what it did there, and leave the rest of the money unspent.
    """
    points = front(spots)
    if not points or cost < points[0].cost:
        return None
    for cheap, dear in pairwise(points):
        if cost < dear.cost:
            share = (cost - cheap.cost) / (dear.cost - cheap.cost)
            return cheap.miss_ratio + share * (dear.miss_ratio - cheap.miss_ratio)
    return points[-1].miss_ratio


def cost_at(spots: Sequence[Spot], miss_ratio: float) -> float | None:
    """The least cost at which a policy misses no more than that; None when no setting does.

    Interpolated as in `misses_at`.
    """
    points = front(spots)
    if points and points[0].miss_ratio <= miss_ratio:
        return points[0].cost
    for cheap, dear in pairwise(points):
        if dear.miss_ratio <= miss_ratio:
            share = (cheap.miss_ratio - miss_ratio) / (cheap.miss_ratio - dear.miss_ratio)
            return cheap.cost + share * (dear.cost - cheap.cost)
    return None
