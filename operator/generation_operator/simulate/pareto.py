"""Compare autoscalers where a comparison is fair: at equal cost, and at equal attainment.

Any policy can miss less by costing more. So each is swept over its main knob; the points that no other point of the
same policy beats are its front; and between two points of a front one can buy the mixture (run one setting part of the
time). Beyond its ends nothing is known, and nothing is said.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

# Below this a miss ratio is as good as none: one request of 2,000.
NEGLIGIBLE: Final = 0.0005
_FLOOR: Final = 1e-5  # of logarithms


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

    Between two points of the front the logarithm of the misses is interpolated. Above its dearest point a policy can do
    what it did there, and leave the rest of the money unspent.
    """
    points = front(spots)
    if not points or cost < points[0].cost:
        return None
    for cheap, dear in itertools.pairwise(points):
        if cost < dear.cost:
            share = (cost - cheap.cost) / (dear.cost - cheap.cost)
            low, high = (math.log(max(spot.miss_ratio, _FLOOR)) for spot in (cheap, dear))
            mixed = math.exp(low + share * (high - low))
            return mixed if mixed > _FLOOR * 1.001 else 0.0
    return points[-1].miss_ratio


def cost_at(spots: Sequence[Spot], miss_ratio: float) -> float | None:
    """The least cost at which a policy misses no more than that; None when no setting does.

    Interpolated as in `misses_at`.
    """
    points = front(spots)
    if points and points[0].miss_ratio <= miss_ratio:
        return points[0].cost
    for cheap, dear in itertools.pairwise(points):
        if dear.miss_ratio <= miss_ratio:
            low, high, at = (math.log(max(value, _FLOOR)) for value in (cheap.miss_ratio, dear.miss_ratio, miss_ratio))
            share = (low - at) / (low - high) if low > high else 1.0
            return cheap.cost + min(1.0, share) * (dear.cost - cheap.cost)
    return None
